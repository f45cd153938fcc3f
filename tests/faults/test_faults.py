# SPDX-License-Identifier: Apache-2.0
"""Each scenario in its short form. What it found is printed; with a failure, the runners' last words too."""

import pytest

import scenarios  # noqa: F401 (lists them)
from harness.scene import SCENARIOS, Brokers, run

TAIL = 4000
# Longest first, so that two sessions that share them end at about the same time.
LONG = ["network-cuts", "redelivery-storm", "crash-points", "closed-connections", "cluster",
        "ends", "full-responses", "broker-restarts", "stopped-runner", "alarm"]


@pytest.fixture(scope="session")
def brokers(tmp_path_factory):
    made = Brokers(tmp_path_factory.mktemp("brokers"))
    yield made
    made.stop()


@pytest.mark.parametrize(
    "name", sorted(SCENARIOS, key=lambda name: LONG.index(name) if name in LONG else len(LONG)))
def test_scenario(name, brokers, tmp_path):
    said = []
    good = run(SCENARIOS[name], False, tmp_path, brokers, said.append)
    print("\n".join(said))
    assert good, "\n".join(said + ["--- %s\n%s" % (log.name, log.read_text(errors="replace")[-TAIL:])
                                   for log in sorted(tmp_path.glob("*/*/*.log"))[:8]])
