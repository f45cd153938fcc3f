#!/usr/bin/python3 -IS
# SPDX-License-Identifier: Apache-2.0
"""A program that does what it is told, well or badly, and speaks to its pipes without our library.

It is told by --steps JSON, or else by its input: {"steps": [[word, argument…], …]}. Bytes are given as
text (Latin-1). Whatever it does ends by itself within five minutes.
"""

import json
import os
import signal
import sys
import time

MINUTES_5 = 300


class Actor:
    def __init__(self, argv):
        self.argv = argv
        self.options = {}
        for name, value in zip(argv, argv[1:]):
            if name.startswith("--"):
                self.options[name[2:].replace("_", "-")] = value
        self.input = None
        self.files = {}

    # Pipes

    def path(self, which):
        return self.options.get(which + "-pipe") or \
            os.environ["TASKIFACE_" + which.upper() + "_PIPE"]

    def read(self):
        with open(self.path("input"), "rb") as f:
            self.input = f.read()

    def open(self, which):
        """Opens a pipe for writing and keeps it."""
        if which not in self.files:
            self.files[which] = os.open(self.path(which), os.O_WRONLY)
        return self.files[which]

    def write(self, which, text):
        """Writes to a pipe that stays open: what follows may merge."""
        write_all(self.open(which), as_bytes(text))

    def write_once(self, which, text):
        """Opens, writes, closes."""
        fd = os.open(self.path(which), os.O_WRONLY)
        write_all(fd, as_bytes(text))
        os.close(fd)

    def close(self, which):
        if isinstance(which, int):
            os.close(which)
        else:
            os.close(self.files.pop(which))

    def progress(self, text):
        self.write_once("progress", text)

    def progress_in_pieces(self, size, text):
        """Writes the text piece by piece."""
        data = as_bytes(text)
        for i in range(0, len(data), size):
            write_all(self.open("progress"), data[i:i + size])

    def flood(self, count, size, counter=None):
        """Writes `count` lines of `size` bytes to progress, noting in a file how many went."""
        for i in range(count):
            line = b"%08d " % i
            write_all(self.open("progress"), line + b"x" * (size - len(line) - 1) + b"\n")
            if counter:
                with open(counter + ".new", "w") as f:
                    f.write(str(i + 1))
                os.rename(counter + ".new", counter)

    def output(self, text):
        self.write_once("output", text)

    def output_size(self, size):
        """Writes that many bytes of a pattern."""
        fd = self.open("output")
        block = bytes(range(256)) * 4096
        while size:
            n = os.write(fd, block[:size])
            size -= n
            block = block[n % 256:] + block[:n % 256]

    def output_input(self):
        write_all(self.open("output"), self.input)
        self.close("output")

    def report(self):
        """Outputs what a task can see of itself."""
        fds = {}
        for name in os.listdir("/proc/self/fd"):
            try:
                fds[name] = os.readlink("/proc/self/fd/" + name)
            except OSError:
                pass
        with open("/proc/self/status") as f:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        self.output(json.dumps({
            "argv": self.argv, "environment": dict(os.environ), "directory": os.getcwd(),
            "fds": fds, "pid": os.getpid(), "parent": os.getppid(), "group": os.getpgid(0),
            "session": os.getsid(0), "status": status,
            "limits": open("/proc/self/limits").read(), "umask": os.umask(0o077)}))

    # Standard output and errors

    def stdout(self, text):
        write_all(1, as_bytes(text))

    def stderr(self, text):
        write_all(2, as_bytes(text))

    # Time and others

    def sleep(self, seconds):
        time.sleep(min(seconds, MINUTES_5))

    def compute(self):
        """As much of a processor as there is."""
        end = time.monotonic() + MINUTES_5
        while time.monotonic() < end:
            pass

    def wait_for(self, path):
        """Waits until a file is there."""
        end = time.monotonic() + MINUTES_5
        while not os.path.exists(path):
            if time.monotonic() > end:
                os._exit(75)
            time.sleep(0.01)

    def touch(self, path):
        open(path, "a").close()

    def litter(self, count):
        """Leaves that many files in the task's own directory."""
        place = os.path.dirname(self.path("output"))
        for i in range(count):
            os.close(os.open(os.path.join(place, "litter-%d" % i), os.O_WRONLY | os.O_CREAT))

    def append(self, path, text):
        with open(path, "a") as f:
            f.write(text + "\n")

    # Ends

    def exit(self, code):
        os._exit(code)

    def kill(self, number):
        signal.signal(number, signal.SIG_DFL) if number not in (signal.SIGKILL, signal.SIGSTOP) else 0
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
        os.kill(os.getpid(), number)

    def ignore(self, number):
        signal.signal(number, signal.SIG_IGN)

    def on_signal(self, number, *steps):
        signal.signal(number, lambda *_: self.do(steps))

    # Processes

    def fork(self, *steps):
        """A child does the steps and ends."""
        if os.fork() == 0:
            self.do(steps)
            os._exit(0)

    def daemonize(self, *steps):
        """A grandchild in a session of its own does the steps."""
        pid = os.fork()
        if pid == 0:
            os.setsid()
            if os.fork() == 0:
                self.do(steps)
            os._exit(0)
        os.waitpid(pid, 0)

    def fork_tree(self, processes):
        """Forks and forks, but never more processes than told."""
        while processes > 1:
            half = processes // 2
            if os.fork() == 0:
                processes = half
            else:
                processes -= half
        time.sleep(MINUTES_5)

    def do(self, steps):
        for word, *arguments in steps:
            getattr(self, word.replace("-", "_"))(*arguments)


def as_bytes(text):
    return text.encode("latin-1")


def write_all(fd, data):
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view[:1 << 20]):]


def main():
    signal.alarm(MINUTES_5)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    actor = Actor(sys.argv[1:])
    if "steps" in actor.options:
        steps = json.loads(actor.options["steps"])
    else:
        actor.read()
        told = json.loads(actor.input)
        steps = told["steps"]
    actor.do(steps)
    os._exit(0)


main()
