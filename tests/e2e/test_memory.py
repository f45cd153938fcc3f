# SPDX-License-Identifier: Apache-2.0
"""Peak memory in final responses."""

import os

from support.paths import PROGRAMS
from support.runner import program

MIB = 1 << 20


def test_peak_memory_is_that_of_all_processes(runner, client):
    runner(programs={"family": program(os.path.join(PROGRAMS, "family.py"))})
    id = client.submit("family")
    final = client.final(id)
    assert final.status == "SUCCESS"
    assert final.headers["x-tr-peak-memory"] >= 4 * 40 * MIB
