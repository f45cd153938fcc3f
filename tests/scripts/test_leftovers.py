# SPDX-License-Identifier: Apache-2.0
"""What tests start is ended, also when they are interrupted."""

import os
import signal
import subprocess
import sys

import pytest

from commands import ROOT, processes_of, sweep
from support import processes
from support.paths import BUILD
from support.waiting import wait_until

LIB = ROOT / "tests" / "lib"


@pytest.fixture
def sleepers():
    started = []

    def start(directory):
        started.append(subprocess.Popen(["setsid", "sleep", "3600"], stdin=subprocess.DEVNULL,
                                        env={**os.environ, "TMPDIR": str(directory)}))
        wait_until(lambda: started[-1].pid in processes_of(directory), "a process with that TMPDIR")
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_sweep(scratch, sleepers):
    ours = [sleepers(scratch), sleepers(scratch / "deeper")]
    other = sleepers(str(scratch) + "-not")
    assert sweep(scratch) == 0
    assert [process.wait() for process in ours] == [-signal.SIGKILL] * 2
    assert other.poll() is None
    assert sweep(scratch) == 0


@pytest.mark.parametrize("mode, name", [(0o1777, "{}"), (0o750, "{}"), (0o700, "."), (0o700, "--help"),
                                        (0o700, "")])
def test_sweep_of_what_is_not_ours(scratch, sleepers, mode, name):
    """Others may have their temporary files there."""
    sleeper = sleepers(scratch)
    scratch.chmod(mode)
    assert sweep(name.format(scratch)) == 1
    scratch.chmod(0o700)
    assert sleeper.poll() is None
    sweep(scratch)


@pytest.mark.parametrize("moment", ["log/node.out", "node.pid", "data/pid"])
def test_broker_that_was_to_start(scratch, start, moment):
    broker = scratch / "broker"
    node = start(LIB / "private-broker", "start", broker).wait_for((broker / moment).exists)
    node.signal(signal.SIGTERM)
    assert node.wait() in (130, -signal.SIGTERM)
    assert processes_of(scratch) == []
    assert subprocess.run([LIB / "private-broker", "stop", broker]).returncode == 0


def test_with_broker(scratch, start):
    command = start(LIB / "with-broker", "sleep", "3600").wait_for(lambda: any(scratch.glob("*/node.pid")))
    command.signal(signal.SIGTERM)
    assert command.wait() == 143


def test_end_to_end_tests(scratch, start):
    """Told to end while a runner works, as ./check does it, they end it and the brokers."""
    environment = {k: v for k, v in os.environ.items() if k.endswith("_OPTIONS")}
    tests = start(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
                  "--basetemp=%s" % (scratch / "pytest"), "tests/e2e/test_cancel.py", directory=ROOT,
                  environment={**environment, "TASKRUNNER_BUILD": BUILD})
    tests.wait_for(lambda: any(processes.read(pid, "comm") == b"taskrunner\n"
                               for pid in processes_of(scratch)), every=0.05)
    tests.signal(signal.SIGTERM)
    assert tests.wait() in (1, 2), tests.text
    assert processes_of(scratch) == []
    subprocess.run(["rm", "-rf", scratch / "pytest"])


def test_check(tree, scratch, start):
    """Ctrl-C while it builds; what was half configured does not break the next run."""
    build = tree / "build-check"
    check = start("./check", "--fast", terminal=True)
    check.wait_for((build / "asan" / "meson-private" / "coredata.dat").exists)
    check.press_ctrl_c()
    assert check.wait() == 130, check.text
    check = start("./check", "--fast", terminal=True)
    check.wait_for(lambda: any(name.endswith(".c.o") for _, _, names in os.walk(build) for name in names))
    check.press_ctrl_c()
    assert check.wait() == 130, check.text
