# SPDX-License-Identifier: Apache-2.0
"""The class Task: a task as seen from inside its program."""

import json
import os
import sys
from types import TracebackType
from typing import Any, Callable, Dict, List, Optional, Tuple, Type, Union

from ._cancel import SelfDestruct, Watch
from ._pipes import Cancelled, Pipe, deadline_after, now
from ._progress import Sender
from ._records import failure_record, progress_record

FOREVER: Optional[float] = None
RECORD_MAX = 1048576  # longest progress record in bytes

_CHUNK = 65536
_ARGUMENTS = ("--id", "--input-pipe", "--output-pipe", "--progress-pipe",
              "--self-destruct-timeout-seconds")


def _take_arguments(argv: List[str]) -> Tuple[Dict[str, str], List[str]]:
    """Our arguments by name, and the others in their order. The search ends at "--"."""
    found: Dict[str, str] = {}
    kept = argv[:1]
    i = 1
    while i < len(argv) and argv[i] != "--":
        name, equals, value = argv[i].partition("=")
        name = "--" + name[2:].replace("_", "-") if name.startswith("--") else name
        if name not in _ARGUMENTS:
            kept.append(argv[i])
        elif equals:
            found[name] = value
        elif i + 1 < len(argv):
            i += 1
            found[name] = argv[i]
        else:
            raise ValueError("argument %s has no value" % name)
        i += 1
    return found, kept + argv[i:]


def _number(name: str, text: Optional[str], least: int) -> Optional[int]:
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or int(text) < least:
        raise ValueError("%s: a whole number from %d was expected" % (name, least))
    return int(text)


class Task:
    """One task.

    Each pipe, and the id, comes from the first of: the arguments --id, --input-pipe, --output-pipe,
    --progress-pipe (also with underscores, also --id=X), which are taken out of argv (sys.argv
    where none is given); the variables TASKIFACE_ID, TASKIFACE_INPUT_PIPE, …; standard input,
    output and error, for a program that is started by hand. A pipe is opened when it is first used.

    As a context manager it is closed at the end; an exception that leaves the block is declared as
    the failure of the task, with the name of its class as kind and its text as message.

    Times are in seconds; None waits without limit. What is not done in time raises TimeoutError.
    When the other end of a pipe is gone, BrokenPipeError is raised.

    progress, fail, flush, cancelled and time_left may be used by any thread.
    """

    def __init__(self, argv: Optional[List[str]] = None):
        argv = sys.argv if argv is None else argv
        found, kept = _take_arguments(argv)

        def setting(name: str) -> Optional[str]:
            variable = "TASKIFACE_" + name[2:].replace("-", "_").upper()
            return found.get(name, os.environ.get(variable) or None)

        def number(variable: str, least: int) -> Optional[int]:
            return _number(variable, os.environ.get(variable), least)

        self._opened = now()
        self.id: str = setting("--id") or "by-hand"
        #: Which run of this task it is, from 1.
        self.attempt: int = number("TASKIFACE_ATTEMPT", 1) or 1
        self._timeout_ms = number("TASKIFACE_TIMEOUT_MS", 0)
        self._grace_ms = number("TASKIFACE_GRACE_MS", 0)
        self._input = Pipe(setting("--input-pipe"), 0)
        self._output = Pipe(setting("--output-pipe"), 1)
        self._sender = Sender(Pipe(setting("--progress-pipe"), 2))
        self._early = b""  # what an unfinished input() had read
        self._input_ended = False
        self._output_begun = False
        self._output_ended = False
        self._wait_for_progress = True
        self._progress_timeout: Optional[float] = 30.0
        self._watch: Optional[Watch] = None
        self._destruct: Optional[SelfDestruct] = None
        seconds = _number("--self-destruct-timeout-seconds",
                          found.get("--self-destruct-timeout-seconds"), 0)
        argv[:] = kept
        if seconds:
            self.self_destruct(seconds)

    # --- input ---

    def read(self, size: int = _CHUNK, timeout: Optional[float] = FOREVER) -> bytes:
        """The next bytes of the input as they come, at most size; b"" at its end.

        Raises Cancelled once a cancellation was seen (see on_cancel).
        """
        if self._early:
            data, self._early = self._early[:size], self._early[size:]
            return data
        return self._read(size, deadline_after(timeout))

    def _read(self, size: int, deadline: Optional[float]) -> bytes:
        if self._input_ended:
            return b""
        data = self._input.read(size, deadline, self.cancel_fd)
        if not data:
            self._input_ended = True
            self._input.close()
        return data

    def input(self, timeout: Optional[float] = FOREVER, max_bytes: Optional[int] = None) -> bytes:
        """All of the input, or what read() left of it.

        ValueError if it is longer than max_bytes. After TimeoutError what came so far is kept, and
        the next read goes on with it. The input can be read once.
        """
        deadline = deadline_after(timeout)
        chunks = [self._early]
        size = len(self._early)
        try:
            while True:
                if max_bytes is not None and size > max_bytes:
                    raise ValueError("the input is longer than %d bytes" % max_bytes)
                chunk = self._read(_CHUNK, deadline)
                if not chunk:
                    break
                chunks.append(chunk)
                size += len(chunk)
        except BaseException:
            self._early = b"".join(chunks)
            raise
        self._early = b""
        return b"".join(chunks)

    def input_text(self, timeout: Optional[float] = FOREVER) -> str:
        """All of the input as UTF-8 text."""
        return self.input(timeout).decode("utf-8")

    def input_json(self, timeout: Optional[float] = FOREVER) -> Any:
        """All of the input, decoded from JSON."""
        return json.loads(self.input(timeout))

    # --- progress ---

    def progress_mode(self, wait: bool, timeout: Optional[float] = 30.0) -> None:
        """How progress is sent from now on.

        wait=True (at first so): a report waits for room, at most timeout; nothing is lost.
        wait=False: a report never waits; the newest unsent one is kept, and sent by the next one,
        by flush(), or by close(), which waits at most timeout for it.
        """
        self._wait_for_progress = wait
        self._progress_timeout = timeout

    def progress(self, fraction: Optional[float] = None, message: Optional[str] = None,
                 data: Any = None) -> None:
        """Report how far the work is: done of all (0 to 1), text for people, a value for programs
        (anything that JSON can hold). With nothing at all it is a sign of life."""
        self.progress_raw(progress_record(fraction, message, data))

    def progress_raw(self, record: bytes) -> None:
        """Send bytes as they are: a JSON value, a MessagePack map, or a line with its newline."""
        if not 0 < len(record) <= RECORD_MAX:
            raise ValueError("a progress record has 1 to %d bytes" % RECORD_MAX)
        if self._wait_for_progress:
            self._sender.send(record, deadline_after(self._progress_timeout))
        else:
            self._sender.send_latest(record)

    def flush(self, timeout: Optional[float] = FOREVER) -> None:
        """Wait until no progress is left unsent."""
        self._sender.flush(deadline_after(timeout))

    # --- output ---

    def output(self, data: Union[bytes, str], timeout: Optional[float] = FOREVER) -> None:
        """Write the output of the task and end it; text as UTF-8.

        RuntimeError if output was written before. After TimeoutError a part may have been taken:
        leave with an exception or call fail(), lest the part be taken for the whole.
        """
        raw = data.encode("utf-8") if isinstance(data, str) else bytes(data)
        if self._output_begun or self._output_ended:
            raise RuntimeError("output was written already")
        self._output_begun = True
        done = self._output.write(raw, deadline_after(timeout))
        self.finish()
        if done < len(raw):
            raise TimeoutError("%d of %d bytes of output were taken in time" % (done, len(raw)))

    def output_json(self, value: Any, timeout: Optional[float] = FOREVER) -> None:
        """Write a value as JSON (see output)."""
        self.output(json.dumps(value, ensure_ascii=False), timeout)

    def write(self, data: bytes, timeout: Optional[float] = FOREVER) -> int:
        """Write a piece of the output. Gives how many bytes were taken, which is less than all only
        when the time was over; TimeoutError if none were."""
        if self._output_ended:
            raise RuntimeError("the output was ended already")
        self._output_begun = True
        done = self._output.write(data, deadline_after(timeout))
        if done == 0 and len(data) > 0:
            raise TimeoutError("no output was taken in time")
        return done

    def finish(self) -> None:
        """End the output. To exit does the same."""
        self._output_ended = True
        self._output.close()

    # --- failure ---

    def fail(self, kind: Optional[str] = None, message: Optional[str] = None,
             timeout: Optional[float] = 30.0) -> None:
        """Declare that the task has failed: the requester gets the message, and kind (one word, for
        programs), whatever the exit status. Does not end the program.

        RuntimeError if a failure was declared before.
        """
        self._sender.send_failure(failure_record(kind, message), deadline_after(timeout))

    # --- cancellation ---

    def on_cancel(self, callback: Optional[Callable[[], Any]] = None) -> None:
        """From now on SIGTERM and SIGINT do not end the program: they set `cancelled`, make
        `cancel_fd` readable, end reading with Cancelled, and call callback once, in the main
        thread, between two steps of the interpreter. To be called from the main thread.

        The runner sends SIGKILL when the grace time is over (see time_left).
        """
        self._watch = Watch(callback, self._sender.call_outside)

    @property
    def cancelled(self) -> bool:
        """Was a cancellation seen? False where none is watched for."""
        return self._watch is not None and self._watch.at is not None

    @property
    def cancel_fd(self) -> int:
        """A descriptor that is readable from the cancellation on; -1 where none is watched for. Do
        not read from it."""
        return -1 if self._watch is None else self._watch.fd

    def time_left(self) -> Optional[float]:
        """How many seconds the program has.

        Before a cancellation was seen: until the time allowed for the whole run is over; then the
        runner asks it to end. Once one was seen: until the runner kills it, that is what is left of
        the grace time counted from the signal, the same whether it came from a cancel, the end of
        the allowed time or the end of the runner. 0 when it is over, None without limit.
        """
        # From the signal on the runner counts nothing but the grace time.
        if self.cancelled and self._grace_ms is not None:
            assert self._watch is not None and self._watch.at is not None
            end = self._watch.at + self._grace_ms / 1000
        elif self._timeout_ms is not None:
            end = self._opened + self._timeout_ms / 1000
        else:
            return None
        return max(0.0, end - now())

    def self_destruct(self, seconds: Optional[float]) -> None:
        """End the program after so many seconds even if it hangs: a failure of kind "self-destruct"
        is declared, then the process group is killed if this process leads it (it does under the
        runner), else this process. None or 0 disarms. Uses faulthandler.dump_traceback_later."""
        if self._destruct is not None:
            self._destruct.stop()
            self._destruct = None
        if seconds:
            self._destruct = SelfDestruct(self._sender.pipe.path, seconds)

    # --- the end ---

    def close(self) -> None:
        """Send the progress that waits, end the output, put everything back. Again: nothing."""
        try:
            self.flush(self._progress_timeout)
        finally:
            self.self_destruct(None)
            if self._watch is not None:
                self._watch.stop()
                self._watch = None
            self._input.close()
            self.finish()
            self._sender.pipe.close()

    def __enter__(self) -> "Task":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        if error is None:
            self.close()
            return
        try:  # what went wrong first is what counts
            if isinstance(error, Exception) and not isinstance(error, Cancelled):
                self.fail(type(error).__name__, str(error) or type(error).__name__)
            self.close()
        except (OSError, RuntimeError):
            pass
