# SPDX-License-Identifier: Apache-2.0
"""The fault-injection harness as pytest tests: the checker, the parts, and a short form of each scenario."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))


def pytest_addoption(parser):
    parser.addoption("--share", default="1/1", metavar="K/N",
                     help="run only each N-th test, from the K-th on; so N sessions do all of them")


def pytest_collection_modifyitems(config, items):
    k, n = map(int, config.getoption("--share").split("/"))
    items[:] = items[k - 1::n]
