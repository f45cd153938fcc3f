# SPDX-License-Identifier: Apache-2.0
"""Descriptors and deadlines.

Pipes that we open are non-blocking, and every wait is a poll with what is left of one absolute
deadline. Standard streams are shared with whoever started the program, so their flags are left
alone: we poll first and then move no more than one page, for which poll promises room.
"""

import errno
import math
import os
import select
import time
from typing import Optional

# What a write to a pipe moves whole or not at all (PIPE_BUF).
PAGE = 4096

# The longest single poll. A signal that comes between the interpreter's last look for signals and
# the poll itself does not end the poll, and its handler runs only after it.
_SLICE_MS = 500

# A point in time of now(); None stands for "never".
Deadline = Optional[float]


class Cancelled(Exception):
    """The requester has cancelled the task; raised by what waits for input."""


def now() -> float:
    """Seconds, as the runner counts them: on through suspend, never set back."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def deadline_after(timeout: Optional[float]) -> Deadline:
    """The deadline of a timeout in seconds; None or a negative number: without limit."""
    if timeout is None or timeout < 0 or timeout == math.inf:
        return None
    return now() + timeout


def _poll_ms(deadline: Deadline) -> int:
    if deadline is None:
        return -1
    return max(0, min(math.ceil((deadline - now()) * 1000), 2**31 - 1))


def wait(fd: int, events: int, deadline: Deadline, cancel_fd: int = -1) -> None:
    """Wait until fd is ready. TimeoutError; Cancelled, which goes first, if cancel_fd is."""
    poll = select.poll()
    if fd >= 0:
        poll.register(fd, events)
    if cancel_fd >= 0:
        poll.register(cancel_fd, select.POLLIN)
    while True:
        timeout = _poll_ms(deadline)
        slice_ms = _SLICE_MS if timeout < 0 else min(timeout, _SLICE_MS)
        ready = [number for number, _ in poll.poll(slice_ms)]
        if cancel_fd in ready:
            raise Cancelled("the task was cancelled")
        if ready:
            return
        if timeout == 0:
            raise TimeoutError(errno.ETIMEDOUT, "timed out")


class Pipe:
    """Our end of a pipe; opened when first used. Without a path it is a standard stream."""

    def __init__(self, path: Optional[str], standard_fd: int):
        self.path = None if path is None or path == "-" else path
        self.fd = standard_fd if self.path is None else -1

    def _open(self, flags: int) -> int:
        assert self.path is not None
        return os.open(self.path, flags | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)

    def open_for_reading(self) -> None:
        if self.fd < 0:
            self.fd = self._open(os.O_RDONLY)

    def try_open_for_writing(self) -> bool:
        """False where the pipe has no reader yet, which nothing can be waited on for."""
        if self.fd < 0:
            try:
                self.fd = self._open(os.O_WRONLY)
            except OSError as e:
                if e.errno != errno.ENXIO:
                    raise
                return False
        return True

    def open_for_writing(self, deadline: Deadline) -> None:
        pause = 0.001
        while not self.try_open_for_writing():
            left = math.inf if deadline is None else deadline - now()
            if left <= 0:
                raise TimeoutError(errno.ETIMEDOUT, "nobody opened the pipe in time")
            time.sleep(min(pause, left))
            pause = min(2 * pause, 0.05)

    def read(self, size: int, deadline: Deadline, cancel_fd: int = -1) -> bytes:
        """The next bytes; none at the end. The wait comes first in each round: a pipe that no
        writer has opened yet reads as ended, but is not reported as such by poll."""
        self.open_for_reading()
        while True:
            wait(self.fd, select.POLLIN, deadline, cancel_fd)
            try:
                return os.read(self.fd, size)
            except BlockingIOError:
                pass

    def write_some(self, data: memoryview) -> int:
        """Write what there is room for; 0 where there is none."""
        if self.path is None:
            try:
                wait(self.fd, select.POLLOUT, now())
            except TimeoutError:
                return 0
            data = data[:PAGE]
        try:
            return os.write(self.fd, data)
        except BlockingIOError:
            return 0

    def write(self, data: bytes, deadline: Deadline) -> int:
        """Write until all is written or the time is over; gives how many bytes went."""
        view = memoryview(data)
        done = 0
        try:
            self.open_for_writing(deadline)
            while done < len(view):
                n = self.write_some(view[done:])
                done += n
                if n == 0:
                    wait(self.fd, select.POLLOUT, deadline)
        except TimeoutError:
            pass
        return done

    def close(self) -> None:
        """Close what is ours."""
        if self.path is not None and self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
