# SPDX-License-Identifier: Apache-2.0
"""`taskrunner exec`: the same engine without a broker, for people who write tasks."""

import json
import os
import random
import signal
import subprocess

import pytest

from support.paths import ACT, TASKRUNNER
from support.runner import act, program, sanitizer_environment, sanitizer_reports, steps
from support.waiting import DEADLINE, wait_until


class Exec:
    """One run of the command, with its own temporary directory watched for leftovers."""

    def __init__(self, directory):
        self.directory = directory
        self.temporary = directory / "tmp"
        self.temporary.mkdir()
        self.started = []

    def environment(self, more=None):
        return {**{k: v for k, v in os.environ.items() if not k.startswith("TASKRUNNER_")},
                **sanitizer_environment(self.directory),
                "TASKRUNNER_RUN_DIRECTORY": str(self.temporary), **(more or {})}

    def start(self, *arguments, stdin=subprocess.DEVNULL, environment=None):
        process = subprocess.Popen(
            [TASKRUNNER, "exec", *map(str, arguments)], stdin=stdin, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=self.environment(environment), start_new_session=True)
        self.started.append(process)
        return process

    def run(self, *arguments, input=None, environment=None):
        process = self.start(*arguments, environment=environment,
                             stdin=subprocess.DEVNULL if input is None else subprocess.PIPE)
        out, err = process.communicate(input, timeout=DEADLINE)
        return process.returncode, out, err.decode(errors="replace")

    def check(self):
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.communicate()
        assert sanitizer_reports(self.directory) == ""
        assert os.listdir(self.temporary) == []


@pytest.fixture
def execute(tmp_path):
    e = Exec(tmp_path)
    yield e
    e.check()


def input_file(tmp_path, data):
    file = tmp_path / "input"
    file.write_bytes(data)
    return file


def test_output_and_progress_and_messages(execute, tmp_path):
    """Output to stdout and nothing else there; the rest to stderr."""
    file = input_file(tmp_path, steps(["progress", '{"fraction": 0.5, "message": "half way"}'],
                                      ["stdout", "said\n"], ["stderr", "muttered\n"],
                                      ["output", "the result \0\xff"]))
    status, out, err = execute.run(ACT, "--input", file)
    assert (status, out) == (0, b"the result \0\xff")
    for word in ("half way", "said", "muttered"):
        assert word in err


def test_input_from_stdin(execute):
    status, out, _ = execute.run(ACT, "--input", "-", input=steps(["output", "x"]))
    assert (status, out) == (0, b"x")


def test_large_binary(execute, tmp_path):
    data = random.Random(6).randbytes(20 << 20)
    status, out, _ = execute.run(
        "sh", "--input", input_file(tmp_path, data), "--", "-c",
        'exec cat <"$TASKIFACE_INPUT_PIPE" >"$TASKIFACE_OUTPUT_PIPE"')
    assert status == 0
    assert out == data


def test_arguments_come_before_the_pipes(execute):
    status, out, _ = execute.run(ACT, "--", "--steps", '[["report"]]', "a b", "*")
    argv = json.loads(out)["argv"]
    assert status == 0
    assert argv[:4] == ["--steps", '[["report"]]', "a b", "*"]
    assert "--input-pipe" in argv


@pytest.mark.parametrize("what, expected", [
    ([["exit", 0]], 0), ([["exit", 1]], 1), ([["exit", 42]], 42), ([["kill", 15]], 143),
    ([["kill", 9]], 137), ([["kill", 11]], 139)], ids=repr)
def test_exit_status_is_the_programs(execute, what, expected):
    status, out, err = execute.run(ACT, "--", "--steps", json.dumps(what))
    assert status == expected
    assert out == b""
    assert expected == 0 or "FAILED" in err


def test_program_that_is_not_there(execute):
    status, _, err = execute.run("no-such-program")
    assert status == 127
    assert "no-such-program" in err


def test_program_that_cannot_be_executed(execute, tmp_path):
    file = tmp_path / "text"
    file.write_text("no program\n")
    status, _, err = execute.run(file)
    assert status in (126, 127)
    assert "text" in err


def test_input_that_is_not_there(execute, tmp_path):
    status, _, err = execute.run(ACT, "--input", tmp_path / "none")
    assert status not in (0, 127)
    assert "none" in err


def test_timeout(execute):
    status, _, err = execute.run(ACT, "--timeout", "400ms", "--", "--steps", '[["sleep", 200]]')
    assert status == 124
    assert "timed out" in err


def test_program_of_a_catalogue(execute, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"programs": {"mine": act(["output", "from the catalogue"]),
                                               "sh": program("/bin/sh", "-c", "exit 3")}}))
    status, out, _ = execute.run("--config", config, "mine")
    assert (status, out) == (0, b"from the catalogue")
    assert execute.run("--config", config, "sh")[0] == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_cancels(execute, tmp_path, number):
    up = tmp_path / "up"
    process = execute.start(ACT, "--", "--steps", json.dumps(
        [["fork", ["sleep", 200]], ["touch", str(up)], ["sleep", 200]]))
    wait_until(up.exists, "the program is up")
    process.send_signal(number)
    process.communicate(timeout=DEADLINE)
    assert process.returncode == 130


def test_second_signal_kills(execute, tmp_path):
    up = tmp_path / "up"
    process = execute.start(ACT, "--", "--steps", json.dumps(
        [["ignore", 15], ["touch", str(up)], ["sleep", 200]]))
    wait_until(up.exists, "the program is up")
    process.send_signal(signal.SIGINT)
    os.set_blocking(process.stderr.fileno(), False)
    said = bytearray()

    def cancelling():
        said.extend(process.stderr.read() or b"")
        return b"cancelling" in said
    wait_until(cancelling, "it says that it cancels")
    process.send_signal(signal.SIGINT)
    process.wait(DEADLINE)
    assert process.returncode == 130


def test_killed(execute, tmp_path):
    """kill -9 of the command: its task goes with it, its directory too."""
    up = tmp_path / "up"
    process = execute.start(ACT, "--", "--steps", json.dumps(
        [["daemonize", ["sleep", 200]], ["touch", str(up)], ["sleep", 200]]))
    wait_until(up.exists, "the program is up")
    process.kill()
    process.wait()
    wait_until(lambda: os.listdir(execute.temporary) == [], "its directory is removed")


def test_output_to_nobody(execute):
    """The reader of stdout is gone: an error, no hang, no crash."""
    process = execute.start(ACT, "--", "--steps", '[["output_size", 2000000]]')
    process.stdout.close()
    process.wait(DEADLINE)
    assert process.returncode == 1


def test_in_a_pipeline(execute):
    done = subprocess.run(["/bin/sh", "-c", 'printf "b\\na\\n" | "$0" exec sh --input - -- -c '
                           "'sort <\"$TASKIFACE_INPUT_PIPE\" >\"$TASKIFACE_OUTPUT_PIPE\"' | tr a-z A-Z",
                           TASKRUNNER], capture_output=True, env=execute.environment(),
                          timeout=DEADLINE)
    assert done.stdout == b"A\nB\n"
