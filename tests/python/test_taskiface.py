# SPDX-License-Identifier: Apache-2.0
"""The Python face: what it writes, when, and what becomes of errors."""

import json
import signal
import subprocess

import pytest

from pipes import DEADLINE, Run, environment, python, run

PREFIX = "import sys, os, json, time, signal, taskiface\ntask = taskiface.Task()\n"


def task(code):
    return python(PREFIX + code)


# --- arguments and environment ---

@pytest.mark.parametrize("argv", [["--id"], ["x", "--input-pipe"], ["--output_pipe"],
                                  ["--self-destruct-timeout-seconds", "x"],
                                  ["--self-destruct-timeout-seconds=-1"]])
def test_bad_arguments(argv):
    done = subprocess.run(
        task("") + argv, env=environment(), capture_output=True, timeout=DEADLINE)
    assert done.returncode == 1
    assert b"ValueError" in done.stderr


@pytest.mark.parametrize("name, value", [
    ("TASKIFACE_ATTEMPT", "0"), ("TASKIFACE_ATTEMPT", "x"), ("TASKIFACE_TIMEOUT_MS", "-1"),
    ("TASKIFACE_TIMEOUT_MS", "1.5"), ("TASKIFACE_GRACE_MS", "\u0663")])
def test_bad_variables(name, value):
    r = run(task("task.output('x')"), env={name: value})
    assert r.status == 1
    assert b"ValueError" in r.stderr
    assert r.output == b""


def test_takes_its_own_arguments_only():
    code = "task.output(json.dumps([task.id, task.attempt, sys.argv[1:]]))"
    r = run(task(code) + ["-a", "--id=other", "--idle", "--", "--id", "kept"],
            arguments="none", env={"TASKIFACE_ATTEMPT": "3"})
    assert json.loads(r.output) == ["other", 3, ["-a", "--idle", "--", "--id", "kept"]]


@pytest.mark.parametrize("arguments", ["hyphens", "underscores", "none"])
def test_every_spelling(arguments):
    code = "task.progress(0.5, 'half'); task.output(task.id.encode() + task.input())"
    r = run(task(code), b" and input", arguments=arguments, task_id="a b=c")
    assert (r.status, r.output, r.stderr) == (0, b"a b=c and input", b"")
    assert r.records == [{"fraction": 0.5, "message": "half"}]


def test_by_hand():
    code = "d = task.input(); task.progress(1, 'x'); task.output(d + task.id.encode())"
    done = subprocess.run(task(code), env=environment(), input=b"typed ", capture_output=True,
                          timeout=DEADLINE)
    assert (done.returncode, done.stdout) == (0, b"typed by-hand")
    assert done.stderr == b'{"fraction":1.0,"message":"x"}\n'


def test_missing_pipe():
    r = run(task("task.input()"), env={"TASKIFACE_INPUT_PIPE": "/nowhere/at/all"},
            arguments="none")
    assert r.status == 1
    assert b"FileNotFoundError" in r.stderr


# --- input ---

def test_input_has_a_deadline():
    code = """
try: task.input(timeout=0.05)
except TimeoutError: task.progress(None, "timed out")
task.output(task.input())
"""
    with Run(task(code), hold_input=True) as r:
        r.wait_for("timed out").end_input(b"late")
        assert r.wait().output == b"late"


def test_input_is_bounded_and_goes_on():
    code = """
try: task.input(max_bytes=3)
except ValueError as e: task.progress(None, str(e))
task.output(task.read(2) + b"|" + task.input() + b"|" + task.input() + task.read())
"""
    r = run(task(code), b"a\0bcd")
    assert r.output == b"a\0|bcd|"
    assert r.records == [{"message": "the input is longer than 3 bytes"}]


def test_stream_and_large_data():
    data = bytes(range(256)) * 32768
    code = """
while True:
    chunk = task.read(100000, timeout=60)
    if not chunk: break
    assert task.write(chunk, timeout=60) == len(chunk)
task.finish()
"""
    r = run(task(code), data)
    assert (r.status, r.stderr) == (0, b"")
    assert r.output == data


# --- progress ---

def test_progress_records():
    code = r"""
task.progress(); task.progress(float("nan")); task.progress(-1); task.progress(7)
task.progress(1/3, 'a"\\\n\x00\u20ac', {"k": [None, True, "\n"]})
task.progress(None, "lone \ud800 surrogate")
task.progress_raw(b"a line\n")
for bad in (lambda: task.progress(0, "", object()), lambda: task.progress(0, "", float("nan")),
            lambda: task.progress(0, "", "\ud800"), lambda: task.progress_raw(b""),
            lambda: task.progress_raw(b"x" * (taskiface.RECORD_MAX + 1))):
    try: bad()
    except (TypeError, ValueError): task.progress(0.5)
"""
    r = run(task(code))
    assert r.stderr == b""
    lines = r.progress.splitlines()
    assert lines[6] == b"a line"
    records = [json.loads(line) for line in lines[:6] + lines[7:]]
    assert records[:4] == [{}, {}, {"fraction": 0}, {"fraction": 1}]
    assert records[4] == {"fraction": 0.333333, "message": 'a"\\\n\0€',
                          "data": {"k": [None, True, "\n"]}}
    assert records[5]["message"].startswith("lone \ufffd")
    assert records[6:] == 5 * [{"fraction": 0.5}]


def test_progress_waits_and_then_drops():
    code = """
task.progress_mode(wait=True, timeout=0.02)
sent = 0
try:
    while True:
        task.progress(None, "x" * 1000); sent += 1
except TimeoutError: pass
task.output(str(sent))
"""
    with Run(task(code), read_progress=False) as r:
        r.wait()
        r.read_now("progress")
        r.wait()
        assert r.records == int(r.output) * [{"message": "x" * 1000}]
        assert len(r.records) > 50


def test_latest_never_waits_and_sends_the_last():
    code = """
task.progress_mode(wait=False)
for i in range(3000): task.progress(None, "step %d" % i)
task.output("done")
task.close()
"""
    with Run(task(code), read_progress=False, pipe_size=4096) as r:
        r.wait_for("done", "output")  # it got so far although nobody read
        r.read_now("progress")
        r.wait()
        assert (r.status, r.stderr) == (0, b"")
        messages = [record["message"] for record in r.records]
        assert messages[-1] == "step 2999"
        assert len(messages) < 3000


def test_long_records_are_never_cut_short():
    code = """
task.progress_mode(wait=False)
task.progress(None, "a" * 300000)
task.progress(None, "older"); task.progress(None, "newest")
task.output("reported")
task.close()
"""
    with Run(task(code), read_progress=False) as r:
        r.wait_for("reported", "output")
        r.read_now("progress")
        r.wait()
        assert r.records == [{"message": "a" * 300000}, {"message": "newest"}]


def test_a_kept_record_is_finished_before_the_next():
    """Standard error takes a page at a time, so that a kept record is begun while there still is
    room: what comes next must not get into it."""
    code = """
read, write = os.pipe()
os.set_blocking(write, False)
filled = os.write(write, bytes(1 << 20))
os.set_blocking(write, True)
os.dup2(write, 2)
task = taskiface.Task([])
task.progress_mode(wait=False)
task.progress(None, "x" * 10000)
got = 0
while got < filled: got += len(os.read(read, filled - got))
task.progress_mode(wait=True)
task.progress(1)
sys.stdout.buffer.write(os.read(read, 1 << 20))
"""
    done = subprocess.run(task(code), env=environment(), capture_output=True, timeout=DEADLINE)
    assert done.returncode == 0
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"message": "x" * 10000}, {"fraction": 1}]


def test_threads_do_not_mix():
    code = """
import threading
def report(who):
    for i in range(200): task.progress(None, "%s %d" % (who, i), "x" * 5000)
threads = [threading.Thread(target=report, args=(c,)) for c in "abcd"]
for t in threads: t.start()
for t in threads: t.join()
"""
    r = run(task(code), pipe_size=4096)
    assert r.stderr == b""
    seen = [record["message"].split() for record in r.records]
    for who in "abcd":
        assert [int(i) for w, i in seen if w == who] == list(range(200))


# --- output ---

def test_output_once():
    code = """
task.output("ż")
for again in (lambda: task.output("x"), lambda: task.write(b"x")):
    try: again()
    except RuntimeError: task.progress(0)
task.finish()
"""
    r = run(task(code))
    assert r.output == "ż".encode()
    assert len(r.records) == 2


def test_output_has_a_deadline():
    code = """
for part in (b"x" * 1000000, b"x"):
    try: task.progress(None, str(task.write(part, timeout=0.02)))
    except TimeoutError: task.progress(None, "none")
"""
    with Run(task(code), read_output=False) as r:
        r.wait()
        assert [record["message"] for record in r.records] == ["65536", "none"]


def test_reader_that_left():
    code = """
task.write(b"x")
task.progress(None, "began")
task.input()
for call in (lambda: task.write(b"x"), lambda: task.progress(1), lambda: task.fail("a", "b")):
    try: call()
    except BrokenPipeError: print("broken")
"""
    with Run(task(code), hold_input=True) as r:
        r.wait_for("began").stop_reading()
        r.end_input()
        r.wait()
        assert (r.status, r.stdout) == (0, 3 * b"broken\n")


# --- failure ---

def test_fail():
    code = """
task.fail("data", 'line 3: "x"')
try: task.fail("data", "again")
except RuntimeError: task.progress(1)
sys.exit(3)
"""
    r = run(task(code))
    assert r.status == 3
    assert r.records == [{"taskiface": "fail", "kind": "data", "message": 'line 3: "x"'},
                         {"fraction": 1}]


def test_long_failures_are_cut_between_characters():
    r = run(task("task.fail('k' * 99, '€' * 2000)"))
    assert r.records == [{"taskiface": "fail", "kind": "k" * 63, "message": "€" * 1365}]


def test_exception_is_declared():
    code = "with task:\n    task.write(b'part')\n    raise ValueError('no such column: x')"
    r = run(task(code))
    assert r.status == 1
    assert b"Traceback" in r.stderr
    assert r.records == [
        {"taskiface": "fail", "kind": "ValueError", "message": "no such column: x"}]


@pytest.mark.parametrize("leave, status", [("sys.exit(7)", 7), ("raise KeyboardInterrupt", -2),
                                           ("task.fail('a', 'b'); raise OSError('later')", 1)])
def test_what_is_not_declared(leave, status):
    r = run(task("with task:\n    " + leave))
    assert r.status == status
    assert len(r.records) == (1 if "fail" in leave else 0)


# --- cancellation ---

def test_cancel_while_waiting_for_input():
    code = """
task.on_cancel(lambda: task.progress(None, "callback"))
task.progress(None, "ready")
try:
    with task: task.input()
except taskiface.Cancelled:
    print(task.cancelled, "cancelled"); sys.exit(5)
"""
    with Run(task(code), hold_input=True) as r:
        r.wait_for("ready").signal().wait()
        assert r.status == 5
        assert [record["message"] for record in r.records] == ["ready", "callback"]


def test_cancel_ten_times_calls_once():
    code = """
calls = []
task.on_cancel(lambda: calls.append(1))
assert not task.cancelled and task.time_left() is None
task.progress(None, "ready")
import select
assert select.select([task.cancel_fd], [], [], 60)[0]
while task.time_left() is None: pass
left = task.time_left()
assert 0 < left <= 10, left
open(os.environ["TASKIFACE_INPUT_PIPE"], "rb").read()  # until all signals were sent
for i in range(5): os.kill(os.getpid(), signal.SIGINT)
task.output(json.dumps([len(calls), task.cancelled]))
"""
    with Run(task(code), hold_input=True) as r:
        r.wait_for("ready")
        for _ in range(10):
            r.signal()
        r.end_input()
        r.wait()
        assert (r.status, r.stderr) == (0, b"")
        assert json.loads(r.output) == [1, True]


def test_callback_may_report_while_the_program_does():
    """The handler may interrupt a report; the callback's comes after it, and nothing locks up."""
    code = """
done = []
task.on_cancel(lambda: (task.progress(None, "callback"), done.append(1)))
i = 0
while not done:
    task.progress(None, "x%d" % i, "y" * 5000); i += 1
task.progress(None, "end")
"""
    for _ in range(5):
        with Run(task(code)) as r:
            r.wait_for("x10").signal().wait()
            assert r.status == 0
            messages = [record["message"] for record in r.records]
            assert messages.count("callback") == 1 and messages[-1] == "end"


def test_time_left_of_the_run():
    code = "task.output(json.dumps(task.time_left()))"
    assert 0 < json.loads(run(task(code), env={"TASKIFACE_TIMEOUT_MS": "60000"}).output) <= 60
    assert json.loads(run(task(code), env={"TASKIFACE_TIMEOUT_MS": "0"}).output) == 0


@pytest.mark.parametrize("timeout", ["0", "3600000"])
def test_time_left_once_cancelled(timeout):
    """The grace alone counts, also where it is the end of the run that brought the signal."""
    code = """
task.on_cancel()
os.kill(os.getpid(), signal.SIGTERM)
while not task.cancelled: pass
left = task.time_left()
task.output(json.dumps(left))
"""
    for grace, least, most in (("600000", 60, 600), ("0", 0, 0)):
        r = run(task(code), env={"TASKIFACE_TIMEOUT_MS": timeout, "TASKIFACE_GRACE_MS": grace})
        assert r.status == 0, r.stderr
        assert least <= json.loads(r.output) <= most


def test_close_puts_handlers_back():
    code = """
before = signal.getsignal(signal.SIGINT)
task.on_cancel()
try: taskiface.Task([]).on_cancel()
except RuntimeError: print("busy")
task.close()
assert signal.getsignal(signal.SIGINT) is before
assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
assert not task.cancelled and task.cancel_fd == -1
task.close()
task = taskiface.Task([])
task.on_cancel()  # it is free again
task.close()
"""
    r = run(task(code))
    assert (r.stderr, r.stdout, r.status) == (b"", b"busy\n", 0)


# --- self-destruction ---

def test_self_destruct():
    r = run(task("task.self_destruct(3600); task.self_destruct(0.1); time.sleep(3600)"))
    assert r.status == -signal.SIGKILL
    assert r.records == [{
        "taskiface": "fail", "kind": "self-destruct",
        "message": "the program ended itself: it was still running after 0.100 s"}]


def test_self_destruct_takes_the_group():
    code = "import subprocess; task.self_destruct(0.1); subprocess.run(['sleep', '3600'])"
    with Run(task(code)) as r:
        r.wait()  # standard output ends only when the grandchild has ended too
        assert r.status == -signal.SIGKILL


def test_self_destruct_of_a_hung_interpreter():
    """A call that never lets go of the interpreter lock: no Python thread runs any more."""
    code = """
import ctypes
task.self_destruct(0.1)
ctypes.PyDLL(None).pause()
"""
    r = run(task(code))
    assert r.status == 1
    assert b"Timeout" in r.stderr  # and the traceback


def test_self_destruct_by_argument_and_disarmed():
    r = run(task("time.sleep(3600)") + ["--self-destruct-timeout-seconds", "1"])
    assert r.status == -signal.SIGKILL
    code = """
import threading
before = threading.active_count()
task.self_destruct(3600)
assert threading.active_count() == before + 1
task.self_destruct(None)
assert threading.active_count() == before
"""
    assert run(task(code)).status == 0


def test_leaves_no_descriptor_behind():
    code = """
def count(): return len(os.listdir("/proc/self/fd"))
before = count()
for i in range(20):
    t = taskiface.Task()
    t.progress(0.5)
    t.write(b"x")
    t.close()
assert count() == before
"""
    r = run(task(code))
    assert (r.status, r.stderr) == (0, b"")


def test_syntax_of_python_3_8():
    import ast
    import pathlib
    directory = pathlib.Path(__file__).parents[2] / "taskiface" / "python"
    files = sorted(directory.rglob("*.py"))
    assert len(files) > 5
    for file in files:
        ast.parse(file.read_text(), str(file), feature_version=(3, 8))
