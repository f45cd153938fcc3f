# SPDX-License-Identifier: Apache-2.0
"""`taskrunner exec`: the same engine without a broker, for people who write tasks."""

import json
import os
import random
import re
import signal
import struct
import subprocess
import termios
from fcntl import ioctl

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
            stderr=subprocess.PIPE, env=self.environment(environment), cwd=self.directory,
            start_new_session=True)
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


def unread(file):
    """How many bytes are in a pipe."""
    return struct.unpack("i", ioctl(file, termios.FIONREAD, bytes(4)))[0]


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
    assert sorted(err.splitlines()) == ["muttered", "progress 50% half way", "said"]


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
    assert (err == "") if expected == 0 else err.startswith("taskrunner: the task failed (")


@pytest.mark.parametrize("what, cause", [
    ([["output_size", 70 << 20], ["sleep", 200]], "output-too-large"),
    ([["output_size", 70 << 20], ["exit", 9]], "output-too-large"),
    ([["flood", 1, 2 << 20], ["sleep", 200]], "protocol-error")], ids=repr)
def test_task_that_the_runner_ends_has_failed(execute, what, cause):
    """With a status of ours, not that of our signal."""
    status, out, err = execute.run(ACT, "--", "--steps", json.dumps(what))
    assert (status, out) == (1, b"")
    assert err.startswith(f"taskrunner: the task failed ({cause}): ")
    assert err.count("\n") == 1


def test_program_that_is_not_there(execute, tmp_path):
    assert execute.run("no-such-program")[::2] == (
        127, "taskrunner: program 'no-such-program' was not found in PATH\n")
    assert execute.run("./none/x")[::2] == (
        127, "taskrunner: program './none/x' was not found: No such file or directory\n")
    (tmp_path / "here").touch()
    assert execute.run("here")[::2] == (
        127, "taskrunner: program 'here' was not found in PATH; did you mean ./here?\n")


@pytest.mark.parametrize("mode, content, status, why", [
    (0o600, "#!/bin/sh\n", 126, "it is not executable"),
    (0o700, "no program\n", 126, "neither a binary for this machine nor a script with a #! line"),
    (0o700, "#!/none/sh\n", 127, "the interpreter that its first line names does not exist"),
    (None, None, 126, "it is a directory")], ids=repr)
def test_program_that_cannot_be_executed(execute, tmp_path, mode, content, status, why):
    file = tmp_path / "program"
    if mode is None:
        file.mkdir()
    else:
        file.write_text(content)
        file.chmod(mode)
    result, out, err = execute.run(file)
    assert (result, out) == (status, b"")
    assert err.startswith("taskrunner: the task failed (exec-failed): ")
    assert err.endswith(why + "\n")


def test_path_is_found_from_where_one_stands(execute, tmp_path):
    """Also through "..", and where the file is a link: it is run by the name that it was given."""
    target = tmp_path / "target"
    target.write_text('#!/bin/sh\nprintf "%s" "${0##*/}" >"$TASKIFACE_OUTPUT_PIPE"\n')
    target.chmod(0o700)
    (tmp_path / "link").symlink_to(target)
    assert execute.run("./target")[1] == b"target"
    assert execute.run("tmp/../link")[1] == b"link"


def test_input_that_cannot_be_read(execute, tmp_path):
    assert execute.run(ACT, "--input", "none")[::2] == (
        1, "taskrunner: cannot read none: No such file or directory\n")
    assert execute.run(ACT, "--input", ".")[::2] == (1, "taskrunner: cannot read .: Is a directory\n")
    file = input_file(tmp_path, bytes(2049))
    assert execute.run(ACT, "--input", file, environment={"TASKRUNNER_LIMITS_INPUT": "2KiB"})[::2] == (
        1, f"taskrunner: {file} is too large to be an input: limits.input allows 2KiB\n")


@pytest.mark.parametrize("arguments, said", [
    ([], "which program? Its name is missing"),
    ([""], "which program? Its name is missing"),
    (["a", "b"], "'b' is too much; arguments of the program stand after --"),
    (["ls", "-l"], "there is no option -l; arguments of the program stand after --"),
    (["ls", "--long=1"], "there is no option --long; arguments of the program stand after --"),
    (["ls", "--i"], "--i is short for several options"),
    (["ls", "--help=1"], "--help takes no value"),
    (["ls", "-t"], "--timeout needs a value"),
    (["ls", "--id"], "--id needs a value"),
    (["ls", "-t", "3 weeks"], "--timeout: '3 weeks' is not a duration such as 90s, 5m or 1.5h"),
    (["ls", "--timeout", "0"], "--timeout: '0' is not a duration such as 90s, 5m or 1.5h"),
    (["ls", "--id", "a/b"], "--id: 1 to 128 bytes without '/', and not '.' or '..'"),
    (["ls", "--id", ".."], "--id: 1 to 128 bytes without '/', and not '.' or '..'"),
    (["ls", "--id", ""], "--id: 1 to 128 bytes without '/', and not '.' or '..'"),
    (["ls", "--pipe-arguments", "x"],
     "--pipe-arguments: 'x' is not one of hyphens, underscores, none")], ids=repr)
def test_command_line_that_is_wrong(execute, arguments, said):
    """One form of message for all, with the right help."""
    assert execute.run(*arguments) == (
        2, b"", f"taskrunner: {said}\nTry 'taskrunner exec --help'.\n")


@pytest.mark.parametrize("arguments, said", [
    (["--what"], "taskrunner: there is no option --what\nTry 'taskrunner --help'.\n"),
    (["-x"], "taskrunner: there is no option -x\nTry 'taskrunner --help'.\n"),
    (["--config"], "taskrunner: --config needs a value\nTry 'taskrunner --help'.\n"),
    (["run"], "taskrunner: 'run' is no command and no option\nTry 'taskrunner --help'.\n"),
    (["-c", "x", "exec", "ls"], "taskrunner: exec comes first: taskrunner exec PROGRAM --config FILE\n"
                                "Try 'taskrunner exec --help'.\n")], ids=repr)
def test_command_line_of_the_runner_that_is_wrong(execute, arguments, said):
    done = subprocess.run([TASKRUNNER, *arguments], capture_output=True, text=True, timeout=DEADLINE,
                          env=execute.environment())
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


@pytest.mark.parametrize("argument", ["--help", "--version", "--print-config", "--check-config", "exec"])
def test_text_that_is_lost_is_no_success(execute, argument):
    arguments = ["exec", "--help"] if argument == "exec" else [argument]
    with open("/dev/full", "w") as full:
        done = subprocess.run([TASKRUNNER, *arguments], stdout=full, stderr=subprocess.PIPE,
                              timeout=DEADLINE, env=execute.environment())
    assert (done.returncode, done.stderr) == (1, b"taskrunner: cannot write to stdout\n")


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
    _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130
    assert err.startswith(b"taskrunner: cancelling; once more to end it at once\n"
                          b"taskrunner: the task was cancelled; wall ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_the_wait_for_stdin(execute, number):
    process = execute.start(ACT, "--input", "-", stdin=subprocess.PIPE)
    process.stdin.write(b"the beginning")
    process.stdin.flush()
    wait_until(lambda: unread(process.stdin) == 0, "it reads its stdin")
    process.send_signal(number)
    process.wait(DEADLINE)
    assert process.returncode == -number


def test_signal_ends_the_wait_for_the_reader_of_the_output(execute):
    """The task is over, its output is larger than the pipe, and nobody reads."""
    process = execute.start(ACT, "--", "--steps", '[["output_size", 2000000]]')
    wait_until(lambda: unread(process.stdout) > 0, "it writes the output")
    process.send_signal(signal.SIGTERM)
    process.wait(DEADLINE)
    assert process.returncode == -signal.SIGTERM
    wait_until(lambda: os.listdir(execute.temporary) == [], "its directory is removed")


def test_under_nohup(execute, tmp_path):
    up, go = tmp_path / "up", tmp_path / "go"
    process = subprocess.Popen(
        ["nohup", TASKRUNNER, "exec", ACT, "--", "--steps", json.dumps(
            [["touch", str(up)], ["wait_for", str(go)], ["output", "fine"]])],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=execute.environment(), start_new_session=True)
    execute.started.append(process)
    wait_until(up.exists, "the program is up")
    process.send_signal(signal.SIGHUP)
    go.touch()
    out, _ = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out) == (0, b"fine")


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


def test_output_to_a_full_disk(execute):
    with open("/dev/full", "w") as full:
        done = subprocess.run([TASKRUNNER, "exec", ACT, "--", "--steps", '[["output", "x"]]'],
                              stdout=full, stderr=subprocess.PIPE, timeout=DEADLINE,
                              env=execute.environment())
    assert (done.returncode, done.stderr) == (
        1, b"taskrunner: the task succeeded, but its output cannot be written: "
           b"No space left on device\n")


@pytest.mark.parametrize("steps, redirection, status, err", [
    ([["output", "x"]], ">&-", 1, "taskrunner: the task succeeded, but its output cannot be written: "
                                  "Bad file descriptor\n"),
    ([["stdout", "said\n"]], ">&-", 0, "said\n"),
    ([["stdout", "said\n"], ["exit", 3]], "2>&-", 3, ""),
    ([["output", "x"]], "<&- --input -", 1, "taskrunner: cannot read stdin: Bad file descriptor\n"),
    ([["stdout", "said\n"]], "<&-", 0, "said\n")], ids=repr)
def test_closed_descriptors(execute, steps, redirection, status, err):
    """What was closed is not taken for /dev/null, nor for a file of ours."""
    where, _, options = redirection.partition(" ")
    done = subprocess.run(["/bin/sh", "-c", f'exec "$0" exec "$1" {options} -- --steps "$2" {where}',
                           TASKRUNNER, ACT, json.dumps(steps)], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=DEADLINE, env=execute.environment())
    assert (done.returncode, done.stderr) == (status, err)


def test_messages_to_nobody(execute):
    """As `… 2>&1 | head -c 1`: who writes to a reader that is gone has ended."""
    process = execute.start("yes", "--pipe-arguments", "none")
    assert process.stderr.read(1) == b"y"
    process.stderr.close()
    process.wait(DEADLINE)
    assert process.returncode == 1


def on_a_terminal(execute, *arguments):
    """Runs it with both ends on a terminal; gives its status and what is to be seen then."""
    master, slave = os.openpty()
    process = subprocess.Popen([TASKRUNNER, "exec", *arguments], stdin=slave, stdout=slave,
                               stderr=slave, env=execute.environment(), start_new_session=True)
    execute.started.append(process)
    os.close(slave)
    seen = bytearray()
    while True:
        try:
            seen += os.read(master, 65536)
        except OSError:  # the other side is closed
            break
    os.close(master)
    process.wait(DEADLINE)
    return process.returncode, seen.decode().replace("\r\n", "\n")


def test_on_a_terminal(execute):
    """Each thing on a line of its own, and in the end what it took."""
    status, seen = on_a_terminal(execute, ACT, "--", "--steps", json.dumps(
        [["stdout", "no newline"], ["output", "nor here"]]))
    assert status == 0
    assert re.fullmatch(r"no newline\nnor here\n"
                        r"taskrunner: the task succeeded; wall \d+\.\d{3} s, cpu \d+\.\d{3} s, "
                        r"memory \d+\.\d MiB\n", seen)
    status, seen = on_a_terminal(execute, ACT, "--", "--steps", json.dumps(
        [["stdout", "no newline"], ["exit", 3]]))
    assert status == 3
    assert seen.startswith("no newline\ntaskrunner: the task failed (exited): ")


def test_progress_begins_a_line(execute, tmp_path):
    go = tmp_path / "go"
    process = execute.start(ACT, "--", "--steps", json.dumps(
        [["stdout", "no newline"], ["wait_for", str(go)], ["progress", "a line"]]))
    assert process.stderr.read(10) == b"no newline"
    go.touch()
    _, err = process.communicate(timeout=DEADLINE)
    assert err == b"\nprogress a line\n"


def test_in_a_pipeline(execute):
    done = subprocess.run(["/bin/sh", "-c", 'printf "b\\na\\n" | "$0" exec sh --input - -- -c '
                           "'sort <\"$TASKIFACE_INPUT_PIPE\" >\"$TASKIFACE_OUTPUT_PIPE\"' | tr a-z A-Z",
                           TASKRUNNER], capture_output=True, env=execute.environment(),
                          timeout=DEADLINE)
    assert done.stdout == b"A\nB\n"
