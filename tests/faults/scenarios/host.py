# SPDX-License-Identifier: Apache-2.0
"""The runner's own machine is short of something, or holds it up."""

import contextlib
import itertools
import os
import resource
import signal
import subprocess
import time
from pathlib import Path

from harness.history import Allowed
from harness.scene import scenario
from harness.settings import HEARTBEAT, SUSPECT
from support.waiting import wait_until

SLOTS = 4
MIB = 1 << 20


def in_mount_namespace(command):
    """A wrapper that runs `command` first, in which "$0" is the directory that follows."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *user, "--mount", "/bin/sh", "-c", command + ' && exec "$@"']


def inside(runner, *command):
    """Runs a command in the runner's mount namespace."""
    user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
    subprocess.run(["nsenter", "--target", str(runner.pid), *user, "--mount", *command],
                   check=True, stdin=subprocess.DEVNULL, timeout=60)


def short_of(scene, label, tasks, word, begin, end, start=None):
    """Tasks while something is missing, and after. `begin(runner)` takes it away, `end(runner)` gives
    it back, `word` is what the log must say."""
    bed = scene.bed(scene.broker(), label, slots=SLOTS)
    runner = start(bed) if start else bed.start("a")
    bed.send(SLOTS, "ms=10")
    bed.wait_answered(60)
    begin(runner)
    try:
        bed.send(tasks, "ms=50 children=1")
        bed.wait(lambda: word in runner.log, 60, "%s in the log" % word)
        time.sleep(2)
    finally:
        end(runner)
    bed.wait_answered(60 + tasks / 10)
    return bed


def on_tmpfs(bed):
    """The run directory is a file system of its own."""
    wrapper = in_mount_namespace('mount -t tmpfs -o size=256k,nr_inodes=200 none "$0"')
    return bed.start("a", wrapper=[*wrapper, str(bed.directory / "run-a")])


@scenario("run-directory", short=dict(tasks=20), full=dict(tasks=2000))
def run_directory(scene, tasks):
    """The file system of the run directory is full, then read-only, for a while"""
    def fill(runner):
        """First its room, then its inodes."""
        with contextlib.suppress(OSError):
            for i in itertools.count():
                with open(seen_by(runner) / ("filler-%d" % i), "wb", buffering=0) as f:
                    while i == 0 and not is_full(f):
                        pass

    def clear(runner):
        for filler in seen_by(runner).glob("filler-*"):
            filler.unlink()

    def read_only(runner):
        """A mount over the other: that one cannot change while the runner's journal is open."""
        inside(runner, "mount", "--bind", runner.run_directory, runner.run_directory)
        inside(runner, "mount", "-o", "remount,bind,ro", runner.run_directory)

    def writable(runner):
        inside(runner, "umount", runner.run_directory)

    scene.conclude_all([
        (short_of(scene, "full", tasks, "task.no-room", fill, clear, on_tmpfs), None, "full"),
        (short_of(scene, "read-only", tasks, "task.no-room", read_only, writable,
                  on_tmpfs), None, "read-only")])


def seen_by(runner):
    """The run directory as the runner sees it."""
    return Path("/proc/%d/root%s" % (runner.pid, runner.run_directory))


def is_full(file):
    try:
        file.write(bytes(4096))
        return False
    except OSError:
        return True


class Injection:
    """strace makes a system call of the runner's main thread fail, every second time."""

    def __init__(self, call, error):
        self.arguments = ["-e", "trace=" + call, "-e", "inject=%s:error=%s:when=1+2" % (call, error)]
        self.strace = None

    def begin(self, runner):
        self.strace = subprocess.Popen(
            ["strace", "-q", "-o", str(runner.directory / "strace.out"), *self.arguments,
             "-p", str(runner.pid)], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: is_traced(runner.pid) or self.strace.poll() is not None, "strace")
        assert self.strace.poll() is None, "strace cannot attach"

    def end(self, runner):
        self.strace.send_signal(signal.SIGINT)
        self.strace.wait(60)


def is_traced(pid):
    with open("/proc/%d/status" % pid) as f:
        return "TracerPid:\t0\n" not in f.read()


@scenario("spawn-errors", short=dict(tasks=40), full=dict(tasks=2000))
def spawn_errors(scene, tasks):
    """EAGAIN and ENOMEM when a task is to be started, and no descriptor left"""
    results = []
    for error in ("EAGAIN", "ENOMEM"):
        injection = Injection("clone,clone3", error)
        results.append((short_of(scene, error, tasks, "task.no-room", injection.begin,
                                 injection.end), None, error))

    def limit_files(soft):
        def change(runner):
            hard = resource.prlimit(runner.pid, resource.RLIMIT_NOFILE)[1]
            n = len(os.listdir("/proc/%d/fd" % runner.pid)) + 2 if soft is None else soft
            resource.prlimit(runner.pid, resource.RLIMIT_NOFILE, (n, hard))
        return change

    results.append((short_of(scene, "EMFILE", tasks, "task.no-room", limit_files(None),
                             limit_files(1024)), None, "EMFILE"))
    scene.conclude_all(results)


@contextlib.contextmanager
def memory_group(name, limit):
    """A control group in which processes have that much memory together."""
    v1 = "/sys/fs/cgroup/memory"
    path = os.path.join(v1 if os.path.isdir(v1) else "/sys/fs/cgroup", name)
    try:
        os.mkdir(path)
    except OSError as problem:
        raise AssertionError("no control group for memory can be made (as root?): %s" % problem)
    try:
        file = "memory.limit_in_bytes" if os.path.isdir(v1) else "memory.max"
        with open(os.path.join(path, file), "w") as f:
            f.write(str(limit))
        yield path
    finally:
        wait_until(lambda: not members(path), "an empty group")
        os.rmdir(path)


def members(group):
    with open(os.path.join(group, "cgroup.procs")) as f:
        return f.read()


@scenario("out-of-memory", short=dict(tasks=20, greedy=2), full=dict(tasks=2000, greedy=50))
def out_of_memory(scene, tasks, greedy):
    """The kernel kills tasks that use too much memory; they fail, and no other does"""
    bed = scene.bed(scene.broker(), slots=SLOTS)
    with memory_group(bed.names.unique, 1024 * MIB) as group:
        runner = bed.start("a", wrapper=["/bin/sh", "-c", 'echo $$ >"$0" && exec "$@"',
                                         group + "/cgroup.procs"])
        load = bed.load(tasks, "ms=50")
        killed = set()
        for _ in range(greedy):
            killed.update(bed.send(1, "grow=4096"))
            bed.wait_answered(60)
        bed.wait_answered(60 + tasks / 10)
        others = {id: final.cause for id, finals in bed.history.finals.items()
                  for final in finals.values() if (final.status == "FAILED") != (id in killed)}
        if others:
            bed.problem("out of memory, but for other tasks, or not at all: %s" % others)
        bed.wait(lambda: "cause=out-of-memory" in runner.log, 60, "cause=out-of-memory in the log")
        load.wait()
        bed.end(runner)
    scene.conclude(bed, Allowed(causes=("out-of-memory",)))


@scenario("stopped-runner",
          short=dict(seconds=8, heartbeat=HEARTBEAT),
          full=[dict(seconds=10, heartbeat=20), dict(seconds=45, heartbeat=20),
                dict(seconds=90, heartbeat=20), dict(seconds=30, heartbeat=HEARTBEAT)])
def stopped_runner(scene, seconds, heartbeat):
    """SIGSTOP of a runner: whoever runs its tasks meanwhile, they do not run beside them"""
    bed = scene.bed(scene.broker(), slots=SLOTS)
    broker = {"heartbeat": "%ds" % heartbeat}
    stopped = bed.start("a", broker=broker)
    bed.wait_running(bed.send(SLOTS, "ms=%d" % (seconds * 1000 + 4000)))
    bed.start("b", broker=broker)
    bed.send(10, "ms=50")
    time.sleep(1.5)
    stopped.told_to_end = True  # its guardian may end it
    os.kill(stopped.pid, signal.SIGSTOP)
    bed.send(10, "ms=50")
    time.sleep(seconds)
    if stopped.is_alive():
        os.kill(stopped.pid, signal.SIGCONT)
    bed.wait_answered(120 + 4 * heartbeat + SUSPECT)
    if not stopped.is_alive():
        stopped.died_at = time.monotonic()
        bed.end(bed.start("a", broker=broker))
    scene.conclude(bed, Allowed(reruns=SLOTS, duplicates=SLOTS))
