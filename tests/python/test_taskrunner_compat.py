# SPDX-License-Identifier: Apache-2.0
"""The module taskrunner: scripts that were written for the ancestor's run unchanged, and what was
broken there (its timeouts, Q7, and leaving while the self-destruct timer runs) works here."""

import inspect
import json
import os
import signal
import subprocess
import sys

import pytest

from pipes import BUILD, DEADLINE, ROOT, Run, environment, python, run

# As such scripts look.
PREFIX = """
import json, os, sys, time
from taskrunner import TaskRunnerInterface
task = TaskRunnerInterface(description="A script")
"""


def script(code):
    return python(PREFIX + code)


@pytest.fixture
def interface():
    sys.path.insert(0, str(ROOT / "taskiface" / "python"))
    sys.dont_write_bytecode = True
    try:
        import taskrunner
        yield taskrunner.TaskRunnerInterface
    finally:
        sys.path.pop(0)


def test_methods_and_arguments(interface):
    """Names, order and defaults, as the ancestor has them."""
    expected = {
        "__init__": [("description", inspect.Parameter.empty)],
        "log": [("msg", inspect.Parameter.empty)],
        "shutdown": [],
        "read_input_bytes_with_timeout": [("timeout_seconds", 30)],
        "read_input_str_with_timeout": [("timeout_seconds", 30)],
        "read_input_dict_with_timeout": [("timeout_seconds", 30)],
        "write_progress_str_with_timeout": [
            ("progress", inspect.Parameter.empty), ("timeout_seconds", 30)],
        "write_progress_dict_with_timeout": [
            ("progress", inspect.Parameter.empty), ("timeout_seconds", 30)],
        "write_output_str_with_timeout": [
            ("output", inspect.Parameter.empty), ("timeout_seconds", 30)],
        "write_output_dict_with_timeout": [
            ("output", inspect.Parameter.empty), ("timeout_seconds", 30)],
        "on_cancellation": [("func", inspect.Parameter.empty)],
        "read_input_with_timeout": [("timeout_seconds", 30)],
        "write_progress_with_timeout": [
            ("progress", inspect.Parameter.empty), ("timeout_seconds", 30)],
        "write_output_with_timeout": [
            ("output", inspect.Parameter.empty), ("timeout_seconds", 30)],
    }
    for name, parameters in expected.items():
        found = list(inspect.signature(getattr(interface, name)).parameters.values())[1:]
        assert [(p.name, p.default) for p in found] == parameters, name


@pytest.mark.parametrize("argv, why", [
    (["--input", "x"], b"--id"),
    (["--id", "1", "--input", "x", "--unknown"], b"--unknown"),
    (["--id", "1", "--input", "x", "--self_destruct_timeout_seconds", "soon"], b"int"),
])
def test_bad_arguments(argv, why):
    done = subprocess.run(script("") + argv, env=environment(), capture_output=True,
                          timeout=DEADLINE)
    assert done.returncode == 2
    assert why in done.stderr


def test_no_input_at_all():
    done = subprocess.run(script("") + ["--id", "1"], env=environment(), capture_output=True,
                          timeout=DEADLINE)
    assert done.returncode == 1
    assert b"ValueError" in done.stderr


@pytest.mark.parametrize("arguments", ["underscores", "hyphens", "none"])
def test_a_whole_task(arguments):
    code = """
task.on_cancellation(lambda: None)
received = task.read_input_dict_with_timeout()
for i in range(5):
    task.write_progress_dict_with_timeout({"progress": i}, 5)
task.write_progress_str_with_timeout("a line")
task.write_output_dict_with_timeout({"response": received, "id": task.id})
task.log("shutting down")
task.shutdown()
sys.exit(0)
"""
    r = run(script(code), b'{"k": "\xc5\xbc"}', arguments=arguments)
    assert (r.status, r.stderr) == (0, b"")
    assert json.loads(r.output) == {"response": {"k": "ż"}, "id": "task-1"}
    lines = r.progress.splitlines()
    assert [json.loads(line) for line in lines[:5]] == [{"progress": i} for i in range(5)]
    assert lines[5] == b"a line"
    assert json.loads(lines[6]) == {"done": True}  # before the output, as the ancestor needs it
    assert r.stdout.endswith(b"shutting down\n")


def test_earlier_names():
    code = """
received = task.read_input_with_timeout()
task.write_progress_with_timeout({"p": 1}, 5)
task.write_output_with_timeout(received)
"""
    r = run(script(code), b'{"a": 1}', arguments="underscores")
    assert r.status == 0
    assert r.records == [{"p": 1}, {"done": True}]
    assert json.loads(r.output) == {"a": 1}


def test_input_as_argument_and_output_to_standard_output():
    code = """
assert task.input == '{"a": "\u017c"}' and task.input_pipe is None
assert task.read_input_bytes_with_timeout() == '{"a": "\u017c"}'.encode()
task.write_progress_dict_with_timeout({"p": 1}, 5)
task.write_output_dict_with_timeout(task.read_input_dict_with_timeout())
assert task.has_written_output
"""
    done = subprocess.run(script(code) + ["--id", "1", "--input", '{"a": "ż"}'], env=environment(),
                          capture_output=True, timeout=DEADLINE)
    assert (done.returncode, done.stderr) == (0, b"")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [{"p": 1}, {"a": "ż"}]


def test_input_is_exact_and_can_be_asked_for_twice():
    data = bytes(range(256)) * 5000
    code = """
import hashlib
first = task.read_input_bytes_with_timeout()
assert first == task.read_input_bytes_with_timeout(0)
task.write_output_str_with_timeout(hashlib.sha256(first).hexdigest())
"""
    import hashlib
    assert run(script(code), data).output.decode() == hashlib.sha256(data).hexdigest()


def test_output_is_written_once():
    code = """
task.write_output_str_with_timeout("first")
try: task.write_output_dict_with_timeout({})
except ValueError as e: print(e)
"""
    r = run(script(code))
    assert (r.status, r.output) == (0, b"first")
    assert b"already" in r.stdout


# --- timeouts time out (Q7) ---

def test_reading_times_out():
    code = """
for read in (task.read_input_bytes_with_timeout, task.read_input_str_with_timeout,
             task.read_input_dict_with_timeout):
    try: read(timeout_seconds=0.02)
    except TimeoutError as e: task.write_progress_str_with_timeout(str(e))
task.write_output_str_with_timeout(task.read_input_str_with_timeout())
"""
    with Run(script(code), hold_input=True) as r:
        r.wait_for(3 * b"Reading from input pipe timed out\n").end_input(b"late")
        assert r.wait().output == b"late"


def test_writing_progress_times_out():
    code = """
try:
    while True: task.write_progress_dict_with_timeout({"p": "x" * 3000}, 0.02)
except TimeoutError as e: print(e)
"""
    with Run(script(code), read_progress=False) as r:
        r.wait()
        assert (r.status, r.stderr) == (0, b"")
        assert b"Writing to progress pipe timed out" in r.stdout


def test_writing_output_times_out():
    code = """
try: task.write_output_str_with_timeout("x" * 1000000, 0.02)
except TimeoutError as e: print(e)
"""
    with Run(script(code), read_output=False) as r:
        r.wait()
        assert (r.status, r.stderr) == (0, b"")
        assert b"Writing to output pipe timed out" in r.stdout


# --- cancellation and the end ---

@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("waiting", [
    # Not one long sleep: a signal between the interpreter's last look and the system call is only
    # seen after that, which no library can change.
    "task.read_input_bytes_with_timeout(3600)", "while True: time.sleep(0.1)"])
def test_cancellation(number, waiting):
    """Exits with 1 at once, although the self-destruct timer has a day left."""
    code = """
task.on_cancellation(lambda: task.write_progress_dict_with_timeout({"cleanup": 1}, 5))
task.write_progress_str_with_timeout("ready")
""" + waiting
    with Run(script(code), hold_input=True) as r:
        r.wait_for("ready").signal(number).wait()
        assert r.status == 1
        assert r.progress == b'ready\n{"cleanup": 1}\n'


def test_cancellation_while_progress_is_written():
    code = """
task.on_cancellation(lambda: task.write_progress_dict_with_timeout({"cleanup": 1}, 5))
while True: task.write_progress_dict_with_timeout({"x": "y" * 5000}, 5)
"""
    for _ in range(5):
        with Run(script(code)) as r:
            r.wait_for('"x"').signal().wait()
            assert r.status == 1
            assert r.records[-1] == {"cleanup": 1}


def test_shutdown_does_not_exit():
    """Scripts call it before their own sys.exit."""
    r = run(script("task.shutdown(); task.shutdown(); sys.exit(3)"))
    assert r.status == 3


def test_self_destruct():
    r = run(script("time.sleep(3600)") + ["--self_destruct_timeout_seconds", "1"])
    assert r.status == -signal.SIGKILL
    assert r.records[0]["kind"] == "self-destruct"
    r = run(script("task.shutdown(); task.write_output_str_with_timeout('alive')")
            + ["--self-destruct-timeout-seconds=3600"])
    assert (r.status, r.output) == (0, b"alive")


def test_runner_that_stopped_reading_progress():
    """Whoever reads the output alone still gets it."""
    code = """
task.write_progress_str_with_timeout("ready")
task.read_input_bytes_with_timeout()
task.write_output_str_with_timeout("x")
"""
    with Run(script(code), hold_input=True) as r:
        r.wait_for("ready")
        fd = r._streams.pop("progress")
        r._selector.unregister(fd)
        os.close(fd)
        os.close(r._keepers.pop())
        r.end_input()
        r.wait()
        assert (r.status, r.output) == (0, b"x")


# --- the echo task ---

ECHO = BUILD / "tasks" / "echo.py"


def test_echo():
    request = {"include_progress": True, "pause_ms": 0, "text": "ż"}
    r = run([ECHO], json.dumps(request).encode(), arguments="underscores")
    assert (r.status, r.stderr) == (0, b"")
    assert r.records == [{"progress": i} for i in range(5)] + [{"done": True}]
    assert json.loads(r.output) == request


def test_echo_fails():
    r = run([ECHO], b'{"should_fail": false}', arguments="underscores")
    assert (r.status, r.output) == (1, b"")
