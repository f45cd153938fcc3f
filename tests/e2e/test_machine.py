# SPDX-License-Identifier: Apache-2.0
"""The machine is short of something, or sets the runner up in an unusual way."""

import contextlib
import os
import signal
import subprocess

from support import processes
from support.broker import PASSWORD, USER
from support.paths import PROGRAMS
from support.runner import program, steps
from support.waiting import wait_until


def test_few_descriptors(runner, client):
    """What finds no descriptor free waits until one is; it is not the request's fault."""
    r = runner(wrapper=["prlimit", "--nofile=64:64"], log={"level": "info"},
               queues=[{"name": client.names.queue, "slots": 20}])
    ids = [client.submit("act", steps(["sleep", 0.3], ["output", "x"])) for _ in range(30)]
    for id in ids:
        assert [x.status for x in client.responses(id)] == ["RUNNING", "SUCCESS"]
    r.wait_log("task.no-room")


def test_few_inodes(runner, client, tmp_path):
    """The run directory takes two tasks at a time."""
    mount = 'mount -t tmpfs -o nr_inodes=14 none "$0" && exec "$@"'
    r = runner(wrapper=["unshare", "--user", "--map-root-user", "--mount", "/bin/sh", "-c", mount,
                        str(tmp_path / "run")],
               log={"level": "info"}, queues=[{"name": client.names.queue, "slots": 8}])
    ids = [client.submit("act", steps(["sleep", 0.1], ["output", "x"])) for _ in range(12)]
    for id in ids:
        assert [x.status for x in client.responses(id)] == ["RUNNING", "SUCCESS"]
    r.wait_log("task.no-room")


def test_task_without_room_can_be_cancelled(runner, client, tmp_path):
    mount = 'mount -t tmpfs -o nr_inodes=4 none "$0" && exec "$@"'
    r = runner(wrapper=["unshare", "--user", "--map-root-user", "--mount", "/bin/sh", "-c", mount,
                        str(tmp_path / "run")])
    id = client.submit("act", steps())
    r.wait_log("task.no-room", id)
    client.cancel(id)
    assert [x.status for x in client.responses(id)] == ["CANCELLED"]


@contextlib.contextmanager
def slow_removal(runner):
    """Each unlink of the runner's takes 2 ms more."""
    strace = subprocess.Popen(
        ["strace", "-f", "-q", "-o", str(runner.directory / "strace.out"), "-e", "trace=unlinkat",
         "-e", "inject=unlinkat:delay_enter=2000", "-p", str(runner.pid)], stdin=subprocess.DEVNULL)

    def is_traced():
        with open("/proc/%d/status" % runner.pid) as f:
            return "TracerPid:\t0\n" not in f.read()
    try:
        wait_until(lambda: is_traced() or strace.poll() is not None, "strace")
        assert strace.poll() is None, "strace cannot attach"
        yield
    finally:
        strace.send_signal(signal.SIGINT)
        strace.wait()


def test_huge_task_directory(runner, client, tmp_path):
    """What a task left is removed beside the others: they are served meanwhile."""
    r, gate = runner(), tmp_path / "gate"
    id = client.submit("act", steps(["litter", 100000], ["progress", "up"], ["wait_for", str(gate)]))
    client.wait_progress(id)
    with slow_removal(r):
        gate.touch()
        assert client.final(id).status == "SUCCESS"
        for _ in range(5):
            assert client.run("act", steps(["output", "x"]))[-1].output == b"x"
        # All of it would take minutes.
        assert len(r.left_task_files()) > 50000
    wait_until(lambda: not r.left_task_files(), "it is all gone", every=0.2)


def test_run_directory_that_cannot_be_used(runner):
    r = runner(ready=False, run_directory="/proc/nothing/here")
    assert r.wait_end() == 1
    assert "/proc/nothing/here" in r.log


def test_nobody_reads_the_log(runner, client, tmp_path):
    """Its pipe is full: lines are dropped rather than waited for, and counted."""
    fifo = tmp_path / "stderr"
    os.mkfifo(fifo)
    r = runner(wrapper=["/bin/sh", "-c", 'exec "$@" 2<>"$0"', str(fifo)],
               programs={"loud": program("/bin/sh", "-c", "yes 'all work' | head -n 20000")})
    for _ in range(3):
        assert client.run("loud")[-1].status == "SUCCESS"
    with open(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK), "rb") as f:
        f.read()
        client.run("act", steps())
        said = bytearray()
        wait_until(lambda: b"dropped" in said or said.extend(f.read() or b""), "a word about it")
    assert r.process.poll() is None


def test_settings_from_the_environment_alone(start_runner, broker, client, names, tmp_path):
    """No file at all, as in a container."""
    r = start_runner(broker, client, None, name=names.instance(), environment={
        "TASKRUNNER_NAME": names.instance(), "TASKRUNNER_BROKER_ADDRESSES": broker.address,
        "TASKRUNNER_BROKER_USERNAME": USER, "TASKRUNNER_BROKER_PASSWORD": PASSWORD,
        "TASKRUNNER_QUEUES": names.queue + ":2", "TASKRUNNER_RESPONSES_EXCHANGE": names.responses,
        "TASKRUNNER_CONTROL_EXCHANGE": names.control,
        "TASKRUNNER_DEAD_LETTER_QUEUE": names.dead_letters,
        "TASKRUNNER_PROGRAM_DIRECTORIES": "/usr/bin:" + PROGRAMS,
        "TASKRUNNER_RUN_DIRECTORY": str(tmp_path / "run"), "TASKRUNNER_LOG_LEVEL": "debug"})
    r.run_directory = str(tmp_path / "run")
    assert client.run("act.py", steps(["output", "x"]))[-1].output == b"x"


def test_watchdog_is_served(runner, client):
    """A supervisor that set WatchdogSec hears from it as long as the loop turns."""
    r = runner(environment={"WATCHDOG_USEC": "1000000"})
    for _ in range(2):
        r.notify.forget()
        wait_until(lambda: r.notify.has("WATCHDOG=1"), "WATCHDOG=1")
    assert client.run("act", steps())[-1].status == "SUCCESS"


def test_idle_runner_does_not_turn(runner, client):
    """Waiting costs nothing: an idle runner uses almost no processor time."""
    r = runner()
    client.run("act", steps())
    wait_until(lambda: not r.processes(client.ids), "end of the task")

    def ticks():
        fields = processes.stat(r.pid)
        return int(fields[11]) + int(fields[12])
    before = ticks()
    for _ in range(100):
        client.pump(0.02)
    assert ticks() - before < 50  # hundredths of a second, in two seconds
