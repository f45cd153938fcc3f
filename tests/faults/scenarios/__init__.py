# SPDX-License-Identifier: Apache-2.0
"""All scenarios; importing this lists them (harness/scene.py)."""

from . import broker, cluster, crash, ends, host, kills, network, responses, storm  # noqa: F401
