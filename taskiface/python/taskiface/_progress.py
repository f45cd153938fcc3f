# SPDX-License-Identifier: Apache-2.0
"""Sending records.

A record waits in `_next` while nothing of it was written; there a newer one may take its place. A
write of at most one page goes whole or not at all. A longer record may go in part: the rest of it
is in `_begun`, and is sent before anything else, so that no record is ever cut short.
"""

import contextlib
import errno
import select
import threading
import time
from typing import Any, Callable, Iterator, Optional

from ._pipes import Deadline, Pipe, now, wait


class Sender:
    """Any thread may use it. Nobody waits with the lock held, so that send_latest never waits."""

    def __init__(self, pipe: Pipe):
        self.pipe = pipe
        self._lock = threading.Lock()
        self._begun = b""
        self._next = b""
        self._failed = False
        self._main_is_inside = False
        self._deferred: Optional[Callable[[], Any]] = None

    @contextlib.contextmanager
    def _section(self) -> Iterator[None]:
        """Holds the lock."""
        main = threading.current_thread() is threading.main_thread()
        if main:
            self._main_is_inside = True
        try:
            with self._lock:
                yield
        finally:
            if main:
                self._main_is_inside = False
                call, self._deferred = self._deferred, None
                if call is not None:
                    call()

    def call_outside(self, call: Callable[[], Any]) -> None:
        """For signal handlers, which run in the main thread between any two of its steps: calls
        now, or, where the main thread is about to use us, as soon as it is done. So the callback
        may report progress."""
        if self._main_is_inside:
            self._deferred = call
        else:
            call()

    def _offer(self, record: bytes) -> bool:
        """Write what there is room for. False: nothing went."""
        n = self.pipe.write_some(memoryview(record))
        self._begun = record[n:] if n else b""
        return n > 0

    def _send_at_once(self, record: bytes) -> Optional[bytes]:
        """Send what waits and then record, as far as that goes without waiting. None: all went;
        else what is left of the record (nothing, once a part of it went). After an error nothing
        is kept, because nothing can be sent any more."""
        try:
            if not self.pipe.try_open_for_writing():
                return record
            while self._begun:
                n = self.pipe.write_some(memoryview(self._begun))
                if n == 0:
                    return record
                self._begun = self._begun[n:]
            if self._next:
                if not self._offer(self._next):
                    return record
                self._next = b""
            if record and not self._begun:
                if not self._offer(record):
                    return record
                record = b""
            return record if record or self._begun else None
        except OSError:
            self._begun = self._next = b""
            raise

    def _wait(self, deadline: Deadline) -> None:
        if self.pipe.fd >= 0:
            wait(self.pipe.fd, select.POLLOUT, deadline)
        elif deadline is not None and now() >= deadline:
            raise TimeoutError(errno.ETIMEDOUT, "nobody opened the pipe in time")
        else:
            time.sleep(0.01)

    def send(self, record: bytes, deadline: Deadline) -> None:
        """Wait for room. TimeoutError: there was none; the record is dropped, unless it is longer
        than a page and was begun, when a later call finishes it."""
        rest: Optional[bytes] = record
        while True:
            with self._section():
                rest = self._send_at_once(rest or b"")
            if rest is None:
                return
            self._wait(deadline)

    def send_latest(self, record: bytes) -> None:
        """Send it now, or keep it until the next call in place of an older one."""
        with self._section():
            self._next = record
            self._send_at_once(b"")

    def flush(self, deadline: Deadline) -> None:
        with self._section():
            waiting = bool(self._begun or self._next)
        if waiting:
            self.send(b"", deadline)

    def send_failure(self, record: bytes, deadline: Deadline) -> None:
        """As send; RuntimeError if one was sent before."""
        with self._section():
            if self._failed:
                raise RuntimeError("a failure was declared already")
            self._failed = True
        try:
            self.send(record, deadline)
        except BaseException:
            self._failed = False
            raise
