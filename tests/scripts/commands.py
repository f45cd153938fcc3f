# SPDX-License-Identifier: Apache-2.0
"""Commands as a person runs them, in a terminal or not, and what they leave behind."""

import fcntl
import os
import pathlib
import pty
import re
import signal
import subprocess
import termios
import threading

from support import processes
from support.waiting import deadline, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]

# What a person has in the environment who does not know of taskrunner.
PERSON = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8", "TERM": "xterm",
          "HOME": "/nonexistent"}


# One of them may be a whole build, on a busy machine.
PATIENCE = 5


class Command:
    """Runs in a session of its own and gathers what it prints. All that it leaves should go to scratch,
    its directory for temporary files, by which its processes are known too."""

    def __init__(self, argv, directory, scratch, terminal=False, environment=None, wrapper=()):
        self.scratch = scratch
        self.terminal = terminal
        self.printed = bytearray()
        ours, its = pty.openpty() if terminal else os.pipe()
        self.process = subprocess.Popen(
            [*wrapper, *map(str, argv)], cwd=directory, start_new_session=True,
            stdin=its if terminal else subprocess.DEVNULL, stdout=its, stderr=its,
            preexec_fn=lambda: prepare(terminal),
            env={**PERSON, "TMPDIR": str(scratch), **(environment or {})})
        os.close(its)
        self._ours = ours
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        while True:
            try:
                data = os.read(self._ours, 65536)
            except OSError:  # how a terminal ends
                return
            if not data:
                return
            self.printed += data

    @property
    def text(self):
        """As it would stand in a file: without colours, and without what was written over."""
        text = self.printed.decode(errors="replace").replace("\r\n", "\n")
        text = re.sub(r"\x1b\[[0-9]*m", "", text)
        return re.sub(r"[^\n]*\r\x1b\[K", "", text)

    def wait_for(self, condition, every=0.003):
        """For a text that it prints, or anything else. It must not end before."""
        seen = (lambda: condition in self.printed.decode(errors="replace")) \
            if isinstance(condition, str) else condition
        wait_until(lambda: seen() or self.process.poll() is not None,
                   lambda: "%s in:\n%s" % (condition, self.text),
                   seconds=PATIENCE * deadline(), every=every)
        assert seen(), "it ended before:\n" + self.text
        return self

    def press_ctrl_c(self):
        os.write(self._ours, b"\3")

    def signal(self, number):
        """To all of its group, as a terminal does."""
        os.killpg(self.process.pid, number)

    def close_output(self):
        """Whoever read what it prints has enough."""
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, self._ours)
        os.close(nothing)

    def wait(self):
        try:
            status = self.process.wait(PATIENCE * deadline())
        except subprocess.TimeoutExpired:
            raise AssertionError("it does not end:\n" + self.text) from None
        self._reader.join(deadline())
        assert not self._reader.is_alive(), "something holds its output"
        return status

    def kill(self):
        """Whatever a test that failed has left."""
        self.process.kill()
        self.process.wait()
        sweep(self.scratch)


def sweep(scratch):
    return subprocess.run([ROOT / "tests" / "lib" / "sweep", scratch]).returncode


def prepare(terminal):
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # what runs us in the background may ignore it
    if terminal:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def processes_of(scratch):
    def is_below(pid):
        place = processes.environment(pid).get("TMPDIR", "")
        return place == str(scratch) or place.startswith("%s/" % scratch)
    return [pid for pid in processes.all_pids() if processes.is_alive(pid) and is_below(pid)]


def assert_nothing_left(scratch):
    left = processes_of(scratch)
    assert not left, "processes are left: %s" % [processes.describe(pid) for pid in left]
    files = sorted(str(p) for p in pathlib.Path(scratch).rglob("*"))
    assert not files, "files are left: %s" % files
