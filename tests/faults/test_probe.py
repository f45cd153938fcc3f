# SPDX-License-Identifier: Apache-2.0
"""The probe leaves the traces that the checker reads."""

import os
import signal
import subprocess
import threading

import pytest

from harness.history import overlap, read_ledger
from harness.settings import PROBE
from support.waiting import wait_until


@pytest.fixture
def probe(tmp_path):
    """probe(words): starts one by hand, with its pipes served."""
    started = []
    for name in ("input", "output", "progress"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "locks").mkdir()

    def start(words, id="t1", attempt=1):
        pipes = {"TASKIFACE_%s_PIPE" % name.upper(): str(tmp_path / name)
                 for name in ("input", "output", "progress")}
        process = subprocess.Popen(
            [PROBE, str(tmp_path / "ledger"), str(tmp_path / "locks")], stdin=subprocess.DEVNULL,
            env={"TASKIFACE_ID": id, "TASKIFACE_ATTEMPT": str(attempt), **pipes},
            start_new_session=True)
        started.append(process)
        (tmp_path / "input").write_text(words)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.fixture
def runs(tmp_path):
    def read():
        ledger = tmp_path / "ledger"
        return read_ledger(ledger.read_text().splitlines())["t1"] if ledger.exists() else []
    return read


def drain(path):
    got = []

    def read():
        with open(path, "rb") as f:
            got.append(f.read())
    thread = threading.Thread(target=read)
    thread.start()
    return got, thread


def test_start_end_and_output(probe, runs, tmp_path):
    got, thread = drain(tmp_path / "output")
    assert probe("ms=50 output=10000", attempt=3).wait() == 0
    thread.join()
    assert len(got[0]) == 10000
    (run,) = runs()
    assert run.attempt == 3 and not run.is_overlap
    assert run.end - run.start >= 40000


def test_progress(probe, tmp_path):
    got, thread = drain(tmp_path / "progress")
    out, other = drain(tmp_path / "output")
    assert probe("ms=100 progress=20").wait() == 0
    thread.join()
    other.join()
    assert got[0].count(b"\n") in range(3, 6)


def test_overlap_is_seen_though_the_first_is_killed(probe, runs):
    first = probe("ms=60000")
    wait_until(lambda: len(runs()) == 1, "the first")
    probe("ms=60000", attempt=2)
    wait_until(lambda: len(runs()) == 2, "the second")
    first.kill()
    assert [r.is_overlap for r in runs()] == [False, True] and overlap(runs())


def test_no_overlap_after_the_first_was_killed(probe, runs):
    first = probe("ms=60000")
    wait_until(lambda: len(runs()) == 1, "the first")
    first.kill()
    first.wait()
    probe("ms=60000", attempt=2)
    wait_until(lambda: len(runs()) == 2, "the second")
    assert not overlap(runs())


def test_a_child_that_lives_on_counts(probe, runs):
    """The lock is held by the whole tree."""
    first = probe("ms=60000 children=1")
    wait_until(lambda: children(first.pid), "the child")
    (child,) = children(first.pid)
    first.kill()
    first.wait()
    try:
        probe("ms=60000", attempt=2)
        wait_until(lambda: len(runs()) == 2, "the second")
        assert overlap(runs())
    finally:
        os.kill(child, signal.SIGKILL)


def children(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
        return [int(p) for p in f.read().split()]
