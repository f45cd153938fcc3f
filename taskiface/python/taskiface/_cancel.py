# SPDX-License-Identifier: Apache-2.0
"""Cancellation by signal, and self-destruction. Both belong to the process, not to one object."""

import faulthandler
import os
import signal
import threading
from typing import Any, Callable, Dict, Optional

from ._pipes import Pipe, now
from ._records import failure_record

# How long the interpreter has to run the thread of ours before it is taken to hang.
_HANG_SECONDS = 1.0


class Watch:
    """SIGTERM and SIGINT set a flag and make a descriptor readable; they do not end the program.

    A cancellation concerns the process and is never taken back: a later watch finds it.
    """

    _at: Optional[float] = None
    _read_fd = -1
    _write_fd = -1
    _active: Optional["Watch"] = None

    def __init__(self, callback: Optional[Callable[[], Any]],
                 call: Callable[[Callable[[], Any]], None]):
        """callback is called once, through call."""
        if Watch._active is not None:
            raise RuntimeError("cancellation is watched already")
        if Watch._read_fd < 0:
            Watch._read_fd, Watch._write_fd = os.pipe()
        self._callback = callback
        self._call = call
        self._before: Dict[int, Any] = {}
        for number in (signal.SIGTERM, signal.SIGINT):
            if number == signal.SIGINT and signal.getsignal(number) == signal.SIG_IGN:
                continue  # a shell's background job
            self._before[number] = signal.signal(number, self._on_signal)
        Watch._active = self

    def _on_signal(self, number: int, frame: Any) -> None:
        if Watch._at is None:
            Watch._at = now()
            os.write(Watch._write_fd, b"c")  # stays there: the descriptor stays readable
            if self._callback is not None:
                self._call(self._callback)

    @property
    def at(self) -> Optional[float]:
        """When the first signal came."""
        return Watch._at

    @property
    def fd(self) -> int:
        return Watch._read_fd

    def stop(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before.clear()
        Watch._active = None


class SelfDestruct:
    """Ends the process after a time, even if it hangs.

    A thread tells the failure and sends SIGKILL to the process group, if this process leads it,
    else to this process. Where that thread cannot run, because an extension module keeps the
    interpreter lock, the watchdog of the module faulthandler ends the process one second later,
    with status 1 and the traceback of every thread on standard error.
    """

    def __init__(self, progress_path: Optional[str], seconds: float):
        self._progress_path = progress_path
        self._seconds = seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="self-destruct", daemon=True)
        # A signal that this thread took would not wake the main thread, whose handlers it is for.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._thread.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        faulthandler.dump_traceback_later(seconds + _HANG_SECONDS, exit=True, file=2)

    def _run(self) -> None:
        if self._stopped.wait(self._seconds):
            return
        try:
            self._tell()
        except OSError:
            pass
        os.kill(0 if os.getpgrp() == os.getpid() else os.getpid(), signal.SIGKILL)

    def _tell(self) -> None:
        pipe = Pipe(self._progress_path, 2)
        message = "the program ended itself: it was still running after %.3f s" % self._seconds
        pipe.write(failure_record("self-destruct", message), now())
        pipe.close()

    def stop(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        self._stopped.set()
        self._thread.join()
