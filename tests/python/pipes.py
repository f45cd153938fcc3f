# SPDX-License-Identifier: Apache-2.0
"""The runner's side of the three pipes, for tests of what programs do with theirs.

Pipes are opened as the runner opens them: output and progress for reading, with a writer of our own
that keeps them from ending before the program has; input for reading and writing, until the program
has opened it and all was written.
"""

import ctypes
import json
import os
import pathlib
import selectors
import shutil
import signal
import struct
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TASKRUNNER_BUILD", ROOT / "build")).resolve()
PYTHON = "/usr/bin/python3"
SHELL_FACE = ROOT / "taskiface" / "shell" / "taskiface"
DEADLINE = 60.0  # for what must happen: long, and never waited out

_IN_OPEN = 0x20
_libc = ctypes.CDLL(None, use_errno=True)


def environment(**more):
    """A small environment in which the faces are found."""
    env = {
        "PATH": "%s:/usr/bin:/bin" % SHELL_FACE.parent,
        "PYTHONPATH": str(ROOT / "taskiface" / "python"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C.UTF-8",
    }
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS"):
        if name in os.environ:
            env[name] = os.environ[name]
    env.update(more)
    return env


def _watch_open(path):
    fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert fd >= 0
    assert _libc.inotify_add_watch(fd, os.fsencode(path), _IN_OPEN) >= 0
    return fd


class Run:
    """One run of a program. Use as a context manager; wait() gives its end."""

    def __init__(self, argv, input=b"", arguments="hyphens", env=None, pipe_size=None,
                 read_progress=True, read_output=True, hold_input=False, task_id="task-1"):
        """read_progress, read_output: False leaves the pipe open but unread, until read_now().
        hold_input: the input does not end before end_input()."""
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="taskiface-test-"))
        self.paths = {n: str(self.directory / n) for n in ("input", "output", "progress")}
        self.work = self.directory / "work"
        self.work.mkdir()
        self.output = b""
        self.progress = b""
        self.stdout = b""
        self.stderr = b""
        self.status = None
        self._input = memoryview(input)
        self._opened = False
        self._hold_input = hold_input
        self._selector = selectors.DefaultSelector()
        self._keepers = []
        self._streams = {}
        self._open_pipes(pipe_size, read_progress, read_output)
        argv = [str(a) for a in argv] + self._arguments(arguments, task_id)
        self._start(argv, env or {}, task_id)

    def _open_pipes(self, pipe_size, read_progress, read_output):
        for path in self.paths.values():
            os.mkfifo(path, 0o600)
        self._input_fd = os.open(self.paths["input"], os.O_RDWR | os.O_NONBLOCK)
        self._inotify = _watch_open(self.paths["input"])
        self._selector.register(self._inotify, selectors.EVENT_READ, self._on_open)
        if self._input:
            self._selector.register(self._input_fd, selectors.EVENT_WRITE, self._on_writable)
        for name, wanted in (("output", read_output), ("progress", read_progress)):
            fd = os.open(self.paths[name], os.O_RDONLY | os.O_NONBLOCK)
            self._keepers.append(os.open(self.paths[name], os.O_WRONLY))
            if pipe_size:
                _libc.fcntl(fd, 1031, pipe_size)  # F_SETPIPE_SZ
            self._streams[name] = fd
            if wanted:
                self._read_from(name, fd)

    def _arguments(self, spelling, task_id):
        if spelling == "none":
            return []
        join = {"hyphens": "-", "underscores": "_"}[spelling]
        words = ["--id", task_id]
        for name, path in self.paths.items():
            words += ["--%s%spipe" % (name, join), path]
        return words

    def _start(self, argv, env, task_id):
        variables = {"TASKIFACE_ID": task_id, "TASKIFACE_ATTEMPT": "1",
                     "TASKIFACE_GRACE_MS": "10000", "TASKIFACE_ENCODING": "json"}
        for name, path in self.paths.items():
            variables["TASKIFACE_%s_PIPE" % name.upper()] = path
        variables.update(env)
        self.process = subprocess.Popen(
            argv, cwd=self.work, env=environment(**variables), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        self._pidfd = os.pidfd_open(self.process.pid)
        self._selector.register(self._pidfd, selectors.EVENT_READ, self._on_exit)
        for name, stream in (("stdout", self.process.stdout), ("stderr", self.process.stderr)):
            os.set_blocking(stream.fileno(), False)
            self._read_from(name, stream.fileno())

    def _read_from(self, name, fd):
        self._selector.register(fd, selectors.EVENT_READ, lambda: self._on_readable(name, fd))

    # --- events ---

    def _on_open(self):
        data = os.read(self._inotify, 4096)
        if struct.unpack_from("iIII", data)[1] & _IN_OPEN:
            self._opened = True
            self._close_input_if_done()

    def _on_writable(self):
        self._input = self._input[os.write(self._input_fd, self._input):]
        if not self._input:
            self._selector.unregister(self._input_fd)
            self._close_input_if_done()

    def _close_input_if_done(self):
        done = self._opened and not self._input and not self._hold_input
        if done and self._input_fd >= 0:
            os.close(self._input_fd)
            self._input_fd = -1

    def _on_readable(self, name, fd):
        data = os.read(fd, 1 << 20)
        setattr(self, name, getattr(self, name) + data)
        if not data:
            self._selector.unregister(fd)
            self._streams.pop(name, None)
            if name in self.paths:
                os.close(fd)

    def _on_exit(self):
        self.status = self.process.wait()
        self._selector.unregister(self._pidfd)
        for fd in self._keepers:
            os.close(fd)
        self._keepers = []

    def pump(self, done, what):
        """Serve everything until done() or the deadline, which is an error."""
        end = time.monotonic() + DEADLINE
        while not done():
            left = end - time.monotonic()
            if left <= 0:
                raise AssertionError("%s did not happen; stderr: %r" % (what, self.stderr))
            for key, _ in self._selector.select(left):
                if key.fileobj in self._selector.get_map():
                    key.data()

    # --- for tests ---

    @property
    def records(self):
        """The progress lines, decoded from JSON."""
        return [json.loads(line) for line in self.progress.splitlines()]

    def read_now(self, name):
        """Begin to read a pipe that was left alone."""
        self._read_from(name, self._streams[name])

    def end_input(self, data=b""):
        """The last of an input that was held back: little enough to fit."""
        if data:
            assert os.write(self._input_fd, data) == len(data)
        self._hold_input = False
        self._close_input_if_done()

    def stop_reading(self):
        """Close our ends of output and progress, as a runner that has died."""
        for name in ("output", "progress"):
            fd = self._streams.pop(name)
            self._selector.unregister(fd)
            os.close(fd)
        for fd in self._keepers:
            os.close(fd)
        self._keepers = []

    def wait_for(self, text, stream="progress"):
        text = text if isinstance(text, bytes) else text.encode()
        self.pump(lambda: text in getattr(self, stream), "%r on %s" % (text, stream))
        return self

    def signal(self, number=signal.SIGTERM):
        os.killpg(self.process.pid, number)
        return self

    def wait(self):
        """The end of the program and of all that it wrote."""
        def ended():
            open_fds = self._selector.get_map()
            reading = [fd for fd in self._streams.values() if fd in open_fds]
            pipes = [self.process.stdout.fileno(), self.process.stderr.fileno()]
            return self.status is not None and not reading and not any(
                fd in open_fds for fd in pipes)
        self.pump(ended, "the end of the program")
        return self

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        for fd in [self._pidfd, self._inotify, self._input_fd, *self._keepers,
                   *self._streams.values()]:
            if fd >= 0:
                os.close(fd)
        self._selector.close()
        self.process.stdout.close()
        self.process.stderr.close()
        shutil.rmtree(self.directory)


def run(argv, input=b"", **options):
    """Runs a program to its end."""
    with Run(argv, input, **options) as r:
        return r.wait()


def python(code):
    """The argv of a Python program given as text."""
    return [PYTHON, "-c", code]


def sanitizers():
    """What the library was built with, a program that links it must be linked with."""
    symbols = subprocess.run(["nm", str(BUILD / "taskiface" / "libtaskiface.a")],
                             capture_output=True, check=True, text=True).stdout
    return [flag for mark, flag in (("__asan_", "-fsanitize=address"),
                                    ("__ubsan_", "-fsanitize=undefined"),
                                    ("__tsan_", "-fsanitize=thread")) if mark in symbols]


def build(compiler, source, program, *options):
    """Builds a program with the shared libtaskiface of the build directory."""
    library = BUILD / "taskiface"
    subprocess.run([compiler, *options, "-Wall", "-Wextra", "-Wpedantic", "-Werror", str(source),
                    "-I%s" % (ROOT / "taskiface" / "include"), *sanitizers(), "-L%s" % library,
                    "-Xlinker", "-rpath=%s" % library, "-ltaskiface", "-o", str(program)],
                   check=True, timeout=DEADLINE, env=environment())
