# SPDX-License-Identifier: Apache-2.0
"""taskctl under test."""

import json
import os
import select
import subprocess
import time

from .broker import PASSWORD
from .paths import TASKCTL
from .runner import sanitizer_environment, sanitizer_reports
from .waiting import DEADLINE


class Taskctl:
    """taskctl with the names of this test."""

    def __init__(self, directory, broker, names):
        self.directory = directory
        self.broker = broker
        self.names = names
        self.started = []

    def settings(self, **settings):
        """Writes the file."""
        (self.directory / "taskctl.yaml").write_text(json.dumps(settings))

    def start(self, *arguments, stdin=subprocess.DEVNULL, url=None, defaults=True,
              environment={}, **more):
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("TASKCTL_")}
        # No settings but those of this test.
        environment = {**inherited, **sanitizer_environment(self.directory),
                       "XDG_CONFIG_HOME": str(self.directory), **environment}
        if (url or self.broker) and "TASKCTL_BROKER" not in environment:
            environment["TASKCTL_BROKER"] = url or self.broker.url
        arguments = list(arguments)
        if defaults and arguments[0] in ("run", "submit", "batch"):
            arguments[1:1] = ["--queue", self.names.queue]
        if defaults and arguments[0] in ("submit", "wait", "result", "logs", "follow", "batch"):
            arguments[1:1] = ["--responses", self.names.responses]
        if defaults and arguments[0] in ("cancel", "kill"):
            arguments[1:1] = ["--cancels", self.names.cancels]
        if defaults:
            arguments[1:1] = ["--control", self.names.control]
        more = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
        process = subprocess.Popen([TASKCTL, *arguments], stdin=stdin, env=environment, **more)
        self.started.append(process)
        return process

    def __call__(self, *arguments, input=None, **more):
        """Runs it to its end: status, stdout, stderr."""
        stdin = subprocess.DEVNULL if input is None else subprocess.PIPE
        return self.end(self.start(*arguments, stdin=stdin, **more), input)

    def end(self, process, input=None):
        out, err = process.communicate(input, timeout=DEADLINE)
        err = (err or b"").decode()
        assert PASSWORD not in err
        return process.returncode, out, err

    def stop(self):
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait()
        assert sanitizer_reports(self.directory) == ""


def wait_stdout(process, *words):
    """Reads stdout until a line holds all of the words."""
    return wait_pipe(process.stdout, *words)


def wait_stderr(process, *words):
    """Reads stderr until a line holds all of the words."""
    return wait_pipe(process.stderr, *words)


def wait_pipe(pipe, *words):
    end = time.monotonic() + DEADLINE
    seen = b""
    while time.monotonic() < end:
        if select.select([pipe], [], [], 1)[0]:
            byte = os.read(pipe.fileno(), 4096)
            seen += byte
            if any(all(w.encode() in line for w in words) for line in seen.splitlines()):
                return seen.decode()
            assert byte, "it ended: %s" % seen
    raise AssertionError("%s not seen in %s" % (words, seen))
