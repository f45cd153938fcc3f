# SPDX-License-Identifier: Apache-2.0
"""A runner under test: starts it, watches it, and sees that it leaves nothing behind."""

import json
import os
import re
import signal
import socket
import subprocess
import uuid

from . import groups, processes
from .broker import PASSWORD, USER
from .paths import ACT, TASKRUNNER
from .waiting import deadline, wait_until

LINE = re.compile(
    r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (error|warn|notice|info|debug) [a-z0-9._-]+"
    r"( [A-Za-z0-9_.-]+=(\"([^\"\\]|\\.)*\"|[^\s\"]*)\u2026?)*( \u2026)?$")

# The runner's helper that cleans up should it be killed; it must end with it.
GUARDIAN = b"taskrunner-grd\n"

# Descriptors the loop may open once, when it first needs them.
LAZY_FDS = 8

# What comes again after a kill is started after two heartbeats. For tests without a broker that restarts:
# a run whose broker is not heard for 6 s of these is killed.
SOON = {"heartbeat": "4s"}


class Notify:
    """The other end of sd_notify."""

    def __init__(self):
        self.name = "\0taskrunner-e2e-" + uuid.uuid4().hex
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.socket.bind(self.name)
        self.socket.setblocking(False)
        self.messages = []

    @property
    def address(self):
        return "@" + self.name[1:]

    def has(self, word):
        while True:
            try:
                self.messages += self.socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return word in self.messages

    def forget(self):
        self.has("")
        self.messages.clear()

    def close(self):
        self.socket.close()


def base_config(broker, names, directory):
    """A configuration with nothing special in it; tests change what they are about."""
    return {
        "name": names.instance(),
        "broker": {"addresses": broker.address, "username": USER, "password": PASSWORD},
        "queues": [{"name": names.queue, "slots": 4}],
        "responses": {"exchange": names.responses},
        "control": {"exchange": names.control, "cancels": names.cancels},
        "events": {"exchange": names.events, "history": ""},
        "dead_letter_queue": names.dead_letters,
        "run_directory": str(directory),
        "limits": {"grace": "5s", "drain": "2s", "shutdown": "20s"},
        "log": {"level": "debug"},
        "programs": {"act": program(ACT)},
    }


def program(*argv, **entry):
    return {"argv": [str(a) for a in argv], **entry}


def act(*steps, **entry):
    """A catalogue entry for programs/act.py that does these steps and does not read its input."""
    return program(ACT, "--steps", json.dumps(steps), **entry)


def steps(*steps, **more):
    """An input for programs/act.py."""
    return json.dumps({"steps": steps, **more}).encode()


class Runner:
    def __init__(self, directory, name, config, arguments=None, environment=None, wrapper=()):
        self.directory = directory
        self.name = name
        self.config_file = directory / (name + ".yaml")
        self.log_file = directory / (name + ".log")
        self.run_directory = None
        self.mark = uuid.uuid4().hex
        self.notify = Notify()
        self.ended = None
        self.told_to_end = False
        if isinstance(config, dict):
            self.write_config(config)
        elif config:
            self.config_file = config
        if config:
            arguments = ["--config", str(self.config_file), *(arguments or [])]
        command = [*wrapper, TASKRUNNER, *(arguments or [])]
        with open(self.log_file, "wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=self.environment(environment), start_new_session=True)
        self.pid = self.process.pid

    def write_config(self, config):
        """YAML holds JSON, so JSON is what is written. $ would be substituted."""
        self.run_directory = config.get("run_directory")
        self.config_file.write_text(json.dumps(config, indent=1).replace("$", "$$"))

    def environment(self, more):
        inherited = {k: v for k, v in os.environ.items()
                     if not k.startswith(("TASKRUNNER_", "TERARIUM_", "TASKIFACE_", "E2E_"))}
        return {**inherited, **sanitizer_environment(self.directory), "E2E_MARK": self.mark,
                "NOTIFY_SOCKET": self.notify.address, **(more or {})}

    # While it runs

    @property
    def log(self):
        return self.log_file.read_text(errors="surrogateescape")

    def wait_ready(self):
        wait_until(lambda: self.notify.has("READY=1") or self.process.poll() is not None,
                   lambda: "READY=1; log:\n" + self.log)
        assert not self.died(), "the runner ended:\n" + self.log
        self.fds = processes.count_fds(self.pid)
        return self

    def wait_log(self, *words, count=1):
        """Waits for a line that holds all of the words and gives it."""
        def lines():
            found = [l for l in self.log.splitlines() if all(w in l for w in words)]
            return found[-1] if len(found) >= count else None
        return wait_until(lines, lambda: "a log line with %s; log:\n%s" % (words, self.log))

    def signal(self, number):
        self.told_to_end |= number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)
        self.process.send_signal(number)

    def died(self):
        """It ended though nobody told it to."""
        return not self.told_to_end and self.process.poll() is not None

    def processes(self, ids=()):
        """Everything that came from this runner and lives, but not the runner itself."""
        found = set(processes.descendants(self.pid))
        found |= set(processes.with_environment("E2E_MARK", {self.mark}))
        found |= set(processes.with_environment("TASKIFACE_ID", set(ids)))
        found.discard(self.pid)
        if self.process.poll() is None:
            found = {p for p in found if processes.read(p, "comm") != GUARDIAN}
        return found

    # Its end

    def wait_end(self, seconds=None):
        try:
            self.ended = self.process.wait(seconds or deadline())
        except subprocess.TimeoutExpired:
            raise AssertionError("the runner does not end; log:\n" + self.log) from None
        return self.ended

    def kill(self):
        self.signal(signal.SIGKILL)
        self.wait_end()

    def stop(self, client):
        """Ends it as an administrator would and checks that nothing is left."""
        try:
            if self.process.poll() is None:
                self._wait_idle(client.ids)
                self.signal(signal.SIGTERM)
                self.wait_end()
                assert sanitizer_reports(self.directory) == "", sanitizer_reports(self.directory)
                assert self.ended == 0, "exit status %s; log:\n%s" % (self.ended, self.log)
            self._check_traces(client.ids)
        finally:
            self._end_by_force(client.ids)

    def _wait_idle(self, ids):
        wait_until(lambda: not self.processes(ids),
                   lambda: "end of %s; log:\n%s" % (
                       [processes.describe(p) for p in self.processes(ids)], self.log))
        wait_until(lambda: not self.left_task_files(),
                   lambda: "directories of tasks are removed: %s" % self.left_task_files())
        wait_until(lambda: processes.count_fds(self.pid) <= self.fds + LAZY_FDS,
                   lambda: "descriptors closed: %s\nlog:\n%s" % (
                       processes.list_fds(self.pid), self.log))

    def _check_traces(self, ids):
        wait_until(lambda: not self.processes(ids), lambda: "no process of a task lives: %s" % [
            processes.describe(p) for p in self.processes(ids)])
        wait_until(lambda: not groups.groups(self.instance),
                   lambda: "control groups are removed: %s" % groups.groups(self.instance))
        assert sanitizer_reports(self.directory) == "", sanitizer_reports(self.directory)
        assert PASSWORD not in self.log, "the password is in the log"
        for line in self.log.splitlines():
            assert LINE.match(line), "not one event in one line: %r" % line

    def left_files(self):
        if not self.run_directory or not os.path.isdir(self.run_directory):
            return []
        return sorted(os.path.join(d, f) for d, ds, fs in os.walk(self.run_directory)
                      for f in ds + fs)

    @property
    def instance(self):
        found = re.search(r" runner.ready .*\binstance=(\w+)", self.log)
        return found and found.group(1)

    @property
    def journal(self):
        return os.path.join(self.run_directory or "", "taskrunner-%s.journal" % self.instance)

    @property
    def leaves_journal(self):
        """To the next runner of the machine: it was killed, ended without a broker, or gave back."""
        return self.ended == -signal.SIGKILL or "lease.left" in self.log or "journal.left" in self.log

    def left_task_files(self):
        """What tasks of this runner have in the run directory."""
        return [f for f in self.left_files()
                if self.instance and "/taskrunner-%s/" % self.instance in f]

    def _end_by_force(self, ids):
        self.notify.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pid in self.processes(ids):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        groups.remove(self.instance)


def sanitizer_environment(directory):
    """Reports go to files, so that none is overlooked, and end the program that made them."""
    path = "log_path=%s:halt_on_error=1" % (directory / "sanitizer")
    return {
        "ASAN_OPTIONS": path + ":detect_leaks=1:quarantine_size_mb=16:exitcode=99",
        "UBSAN_OPTIONS": path + ":print_stacktrace=1:exitcode=99",
        "TSAN_OPTIONS": path + ":second_deadlock_stack=1:exitcode=99",
    }


def sanitizer_reports(directory):
    return "\n".join(p.read_text(errors="replace") for p in sorted(directory.glob("sanitizer.*")))
