# SPDX-License-Identifier: Apache-2.0
"""The class that task scripts of Terarium's task runner are written with.

Such scripts run unchanged. What differs: timeouts do time out, the arguments may be written with
hyphens as well, what an argument does not say is taken from the variables TASKIFACE_…, and the
self-destruct timer does not keep a script from exiting. New programs had better use taskiface.
"""

import argparse
import json
import os
import signal
import sys
from typing import Any, Callable, Dict, Optional

from taskiface._cancel import SelfDestruct
from taskiface._pipes import Pipe, deadline_after
from taskiface._progress import Sender

_CHUNK = 1 << 20


def _parse_arguments(description: str) -> argparse.Namespace:
    variables = os.environ
    task_id = variables.get("TASKIFACE_ID") or None
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--id", required=task_id is None, default=task_id,
                        help="the id of the request")
    parser.add_argument("--input", help="the input itself, in place of a pipe")
    for name in ("input", "output", "progress"):
        parser.add_argument("--%s_pipe" % name, "--%s-pipe" % name,
                            default=variables.get("TASKIFACE_%s_PIPE" % name.upper()) or None,
                            help="the path of the %s pipe" % name)
    parser.add_argument("--self_destruct_timeout_seconds", "--self-destruct-timeout-seconds",
                        type=int, default=24 * 60 * 60,
                        help="after so many seconds the process is killed (default: a day)")
    return parser.parse_args()


class TaskRunnerInterface:
    """Reads the arguments of the program, and arms the self-destruct timer.

    ValueError if there is neither --input nor --input_pipe.
    """

    def __init__(self, description: str):
        args = _parse_arguments(description)
        self.id: str = args.id
        self.input: Optional[str] = args.input
        self.input_pipe: Optional[str] = args.input_pipe
        self.output_pipe: Optional[str] = args.output_pipe
        self.progress_pipe: Optional[str] = args.progress_pipe
        self.has_written_output = False
        if self.input is None and self.input_pipe is None:
            raise ValueError("Either `input` or `input_pipe` must be specified")
        self._input = Pipe(self.input_pipe, 0)
        self._received = bytearray()
        self._received_all = False
        self._sender = Sender(Pipe(self.progress_pipe, 1))
        self._destruct: Optional[SelfDestruct] = SelfDestruct(
            self.progress_pipe, args.self_destruct_timeout_seconds)

    def log(self, msg: str) -> None:
        """A line on standard output, at once."""
        print(msg, flush=True)

    def shutdown(self) -> None:
        """Disarm the self-destruct timer. Does not exit."""
        if self._destruct is not None:
            self._destruct.stop()
            self._destruct = None

    # --- input ---

    def read_input_bytes_with_timeout(self, timeout_seconds: float = 30) -> bytes:
        """All of the input. A second call gives the same again."""
        if self.input is not None:
            return self.input.encode("utf-8", "surrogateescape")
        deadline = deadline_after(timeout_seconds)
        try:
            while not self._received_all:
                chunk = self._input.read(_CHUNK, deadline)
                self._received += chunk
                self._received_all = not chunk
        except TimeoutError:
            raise TimeoutError("Reading from input pipe timed out") from None
        self._input.close()
        return bytes(self._received)

    def read_input_str_with_timeout(self, timeout_seconds: float = 30) -> str:
        return self.read_input_bytes_with_timeout(timeout_seconds).decode("utf-8")

    def read_input_dict_with_timeout(self, timeout_seconds: float = 30) -> Any:
        return json.loads(self.read_input_str_with_timeout(timeout_seconds))

    # --- progress ---

    def write_progress_str_with_timeout(self, progress: str, timeout_seconds: float = 30) -> None:
        """One progress message: a JSON text, or a line. Without a pipe it is printed."""
        if self.progress_pipe is None:
            self.log(progress)
            return
        record = progress.encode("utf-8") + b"\n"
        try:
            self._sender.send(record, deadline_after(timeout_seconds))
        except TimeoutError:
            raise TimeoutError("Writing to progress pipe timed out") from None

    def write_progress_dict_with_timeout(self, progress: Dict[str, Any],
                                         timeout_seconds: float = 30) -> None:
        self.write_progress_str_with_timeout(json.dumps(progress), timeout_seconds)

    # --- output ---

    def write_output_str_with_timeout(self, output: str, timeout_seconds: float = 30) -> None:
        """The output, once (ValueError). Without a pipe it is printed."""
        if self.has_written_output:
            raise ValueError("Output has already been written")
        self.has_written_output = True
        if self.output_pipe is None:
            self.log(output)
            return
        self._end_progress(timeout_seconds)
        raw = output.encode("utf-8")
        pipe = Pipe(self.output_pipe, 1)
        done = pipe.write(raw, deadline_after(timeout_seconds))
        pipe.close()
        if done < len(raw):
            raise TimeoutError("Writing to output pipe timed out")

    def _end_progress(self, timeout_seconds: float) -> None:
        """A runner that does not need to be told may have left this pipe already."""
        if self.progress_pipe is not None:
            try:
                self.write_progress_dict_with_timeout({"done": True}, timeout_seconds)
            except BrokenPipeError:
                pass

    def write_output_dict_with_timeout(self, output: Any, timeout_seconds: float = 30) -> None:
        self.write_output_str_with_timeout(json.dumps(output), timeout_seconds)

    # --- cancellation ---

    def on_cancellation(self, func: Callable[[], Any]) -> None:
        """SIGINT and SIGTERM call func and then exit with status 1."""

        def end() -> None:
            func()
            sys.exit(1)

        def on_signal(number: int, frame: Any) -> None:
            self._sender.call_outside(end)

        signal.signal(signal.SIGINT, on_signal)
        signal.signal(signal.SIGTERM, on_signal)

    # --- names of earlier versions ---

    read_input_with_timeout = read_input_dict_with_timeout
    write_progress_with_timeout = write_progress_dict_with_timeout
    write_output_with_timeout = write_output_dict_with_timeout
