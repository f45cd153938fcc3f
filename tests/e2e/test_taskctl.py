# SPDX-License-Identifier: Apache-2.0
"""taskctl: what a person and a script see of a task, in every outcome."""

import json
import os
import pty
import select
import signal
import socket
import subprocess
import threading
import time
import uuid

import pika
import pytest

from support.broker import PASSWORD
from support.paths import TASKCTL
from support.runner import act, sanitizer_environment, sanitizer_reports, steps
from support.waiting import DEADLINE, wait_until

HANG = steps(["progress", '{"fraction": 0.25, "message": "started"}'], ["sleep", 200])


class Taskctl:
    """taskctl with the names of this test."""

    def __init__(self, directory, broker, names):
        self.directory = directory
        self.broker = broker
        self.names = names
        self.started = []

    def start(self, *arguments, stdin=subprocess.DEVNULL, url=None, defaults=True, **more):
        environment = {**os.environ, **sanitizer_environment(self.directory)}
        environment.pop("TASKCTL_BROKER", None)
        if url or self.broker:
            environment["TASKCTL_BROKER"] = url or self.broker.url
        arguments = list(arguments)
        if defaults and arguments[0] == "run":
            arguments[1:1] = ["--queue", self.names.queue]
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


@pytest.fixture
def taskctl(request, tmp_path, names):
    directory = tmp_path / "taskctl"
    directory.mkdir()
    t = Taskctl(directory, request.getfixturevalue("broker"), names)
    yield t
    t.stop()


def wait_stderr(process, *words):
    """Reads stderr until a line holds all of the words."""
    end = time.monotonic() + DEADLINE
    seen = b""
    while time.monotonic() < end:
        if select.select([process.stderr], [], [], 1)[0]:
            byte = os.read(process.stderr.fileno(), 4096)
            seen += byte
            if any(all(w.encode() in line for w in words) for line in seen.splitlines()):
                return seen.decode()
            assert byte, "stderr ended: %s" % seen
    raise AssertionError("%s not seen in %s" % (words, seen))


# Success

@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_output_is_byte_exact(runner, client, taskctl, tmp_path, encoding):
    runner(programs={"back": act(["read"], ["output_input"])})
    data = os.urandom(3 * 1024 * 1024 + 1)
    file = tmp_path / "input"
    file.write_bytes(data)
    status, out, _ = taskctl("run", "back", "--encoding", encoding, "--input", str(file))
    assert (status, out == data) == (0, True)
    status, out, _ = taskctl("run", "back", "--encoding", encoding, "-i", "-", input=data[:1000])
    assert (status, out) == (0, data[:1000])
    status, out, _ = taskctl("run", "back", "--encoding", encoding)
    assert (status, out) == (0, b"")


def test_json_is_the_input_as_it_was_typed(runner, client, taskctl):
    runner(programs={"back": act(["read"], ["output_input"])})
    text = ' {"a": [1, 2.50, "\\u00e9é"]}\n'
    assert taskctl("run", "back", "--json", text)[:2] == (0, text.encode())


def test_progress_lines(runner, client, taskctl):
    runner()
    status, out, err = taskctl("run", "act", "-i", "-", input=steps(
        ["progress", '{"fraction": 0.25, "message": "a quarter"}'], ["progress", '{"fraction": 0.5}'],
        ["progress", '{"message": "no number"}'], ["progress", "just a line\n"],
        ["progress", '{"else": [1]}'], ["stderr", "from stderr\n"], ["stdout", "from stdout"],
        ["output", "result"]))
    assert (status, out) == (0, b"result")
    assert err.splitlines() == [
        "progress 25% a quarter", "progress 50%", "progress no number", "progress just a line",
        'progress {"else": [1]}', "from stdout", "from stderr"]


def test_quiet(runner, client, taskctl):
    runner()
    assert taskctl("run", "-q", "act", "-i", "-", input=steps(
        ["progress", '{"fraction": 0.25}'], ["output", "r"])) == (0, b"r", "")


def test_bar_on_a_terminal(runner, client, taskctl):
    """Drawn over itself, and nothing that a program says can steer the terminal."""
    runner()
    ours, theirs = pty.openpty()
    process = taskctl.start("run", "act", "-i", "-", stdin=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    process.stdin.write(steps(
        ["progress", '{"fraction": 0.5, "message": "half \\u001b[31m red \\u009b2J"}'], ["sleep", 0.3],
        ["output", "result"]))
    process.stdin.close()
    seen = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        seen += part
    os.close(ours)
    assert process.stdout.read() == b"result"
    process.stdout.close()
    assert process.wait(DEADLINE) == 0
    assert b"] " in seen and b" 50% half  [31m red" in seen
    assert seen.count(b"\x1b") == seen.count(b"\r\x1b[K"), seen
    assert b"\xc2\x9b" not in seen
    assert b"succeeded; wall" in seen.split(b"\x1b[K")[-1]


# Failure

def test_failure_is_told_whole(runner, client, taskctl):
    r = runner()
    status, out, err = taskctl("run", "act", "--id", "the task", "-i", "-", input=steps(
        ["stderr", "what went wrong\n"], ["exit", 3]))
    assert (status, out) == (1, b"")
    lines = err.splitlines()
    assert lines[0] == "what went wrong"
    for word in ("the task failed", "(exited)", "3", "wall", "cpu", "memory", "on " + r.name):
        assert word in lines[-1]


def test_unknown_program(runner, client, taskctl):
    runner()
    status, out, err = taskctl("run", "no-such-program")
    assert (status, out) == (1, b"")
    assert "(not-found)" in err and "no-such-program" in err


def test_timeouts(runner, client, taskctl):
    runner(programs={"quiet": act(["progress", "x"], ["sleep", 200], silence_timeout="300ms")})
    status, _, err = taskctl("run", "act", "--timeout", "300ms", "-i", "-", input=HANG)
    assert status == 5 and "(timed-out)" in err
    status, _, err = taskctl("run", "quiet")
    assert status == 5 and "(silent)" in err


# Cancel

@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_cancels_and_waits(runner, client, taskctl, tmp_path, number):
    r = runner()
    mark = tmp_path / "mark"
    process = taskctl.start("run", "act", "-i", "-", stdin=subprocess.PIPE)
    process.stdin.write(steps(["on_signal", 15, ["touch", str(mark)], ["exit", 0]],
                              ["progress", "started\n"], ["sleep", 200]))
    process.stdin.close()
    process.stdin = None
    wait_stderr(process, "progress started")
    process.send_signal(number)
    status, out, err = taskctl.end(process)
    assert (status, out) == (130, b"")
    assert "was cancelled" in err
    assert mark.exists()
    r.wait_log("task.cancel", "accepted")


def test_second_signal_stops_waiting(runner, client, taskctl):
    runner(limits={"grace": "3s"})
    process = taskctl.start("run", "act", "--id", "stubborn", "-i", "-", stdin=subprocess.PIPE)
    process.stdin.write(steps(["ignore", 15], ["progress", "started\n"], ["sleep", 200]))
    process.stdin.close()
    process.stdin = None
    wait_stderr(process, "progress started")
    process.send_signal(signal.SIGINT)
    wait_stderr(process, "cancelling stubborn")
    process.send_signal(signal.SIGINT)
    status, out, err = taskctl.end(process)
    assert (status, out) == (130, b"")
    assert "may still run" in err
    # Its answer has nobody to go to, and is kept.
    wait_until(lambda: client.count(client.names.dead_letters), "the dead letter")
    assert json.loads(client.dead_letter()[2])["status"] == "CANCELLED"


def test_nobody_takes_it_and_cancel_before_start(runner, client, taskctl):
    """It says why nothing happens; a runner that comes after the cancel learns of it all the same."""
    process = taskctl.start("run", "act", "-i", "-", stdin=subprocess.PIPE)
    process.stdin.write(HANG)
    process.stdin.close()
    process.stdin = None
    wait_stderr(process, "no runner takes requests from '%s'" % client.names.queue)
    client.channel.exchange_declare(client.names.control, "fanout", durable=True)
    process.send_signal(signal.SIGINT)
    wait_stderr(process, "cancelling")
    wait_stderr(process, "no runner has the task yet")
    runner()
    status, out, err = taskctl.end(process)
    assert status == 130 and "was cancelled" in err


def test_cancel_verb(runner, client, taskctl):
    r = runner()
    process = taskctl.start("run", "act", "--id", "one", "-i", "-", stdin=subprocess.PIPE)
    process.stdin.write(HANG)
    process.stdin.close()
    process.stdin = None
    wait_stderr(process, "progress 25% started")
    status, out, err = taskctl("cancel", "one", "one")
    assert (status, out.decode(), err) == (0, "one: accepted by %s\n" % r.name, "")
    assert taskctl.end(process)[0] == 130
    status, out, err = taskctl("cancel", "one")
    assert (status, out.decode()) == (1, "one: has ended already, says %s\n" % r.name)
    status, out, err = taskctl("cancel", "--wait", "200ms", "one", "never was")
    assert status == 5
    assert "one: has ended" in out.decode() and "never was: no runner" in err
    # It is remembered.
    status, _, err = taskctl("run", "act", "--id", "never was", "-i", "-", input=HANG)
    assert status == 130


def test_cancel_without_control_exchange(taskctl, client):
    status, out, err = taskctl("cancel", "x", "y")
    assert (status, out) == (4, b"")
    assert taskctl.names.control in err and err.count("no control exchange") == 2


# The broker

def test_no_such_queue(taskctl, client):
    status, out, err = taskctl("run", "--queue", "no.such.queue", "act", defaults=False)
    assert (status, out) == (4, b"")
    assert "no queue 'no.such.queue'" in err


def test_broker_not_reachable(taskctl):
    status, out, err = taskctl("run", "act", url="amqp://u:%s@127.0.0.1:1" % PASSWORD)
    assert (status, out) == (3, b"")
    assert "127.0.0.1:1" in err and "refused" in err


def test_wrong_password(taskctl, broker):
    for verb in (["run", "act"], ["cancel", "x"]):
        status, _, err = taskctl(*verb, url="amqp://e2e:%sx@127.0.0.1:%d" % (PASSWORD, broker.port))
        assert status == 3
        assert "ACCESS_REFUSED" in err and "check user, password" in err


def test_no_amqp_server(taskctl):
    with socket.create_server(("127.0.0.1", 0)) as server:
        def greet():
            peer, _ = server.accept()
            peer.sendall(b"220 mail.example.org ESMTP\r\n")
            peer.recv(100)
            peer.close()
        thread = threading.Thread(target=greet)
        thread.start()
        status, _, err = taskctl("run", "act", url="amqp://127.0.0.1:%d" % server.getsockname()[1])
        thread.join()
    assert status == 3 and "no AMQP 0-9-1 server" in err


def test_broker_is_lost_while_following(own_broker, names, taskctl):
    connection = own_broker.connect()
    connection.channel().queue_declare(names.queue, durable=True)
    taskctl.broker = own_broker
    process = taskctl.start("run", "--id", "forlorn", "act")
    wait_stderr(process, "no runner takes requests")
    own_broker.kill()
    status, out, err = taskctl.end(process)
    assert (status, out) == (3, b"")
    assert "lost the connection" in err and "taskctl cancel forlorn" in err


def test_request_too_large_for_the_broker(own_broker, names, taskctl, tmp_path):
    own_broker.ctl("eval", "application:set_env(rabbit, max_message_size, 100000).")
    own_broker.connect().channel().queue_declare(names.queue, durable=True)
    taskctl.broker = own_broker
    status, _, err = taskctl("run", "act", "-i", "-", input=b"x" * 100000)
    assert status == 4 and "larger than the broker takes" in err


def test_broker_alarm_is_told(own_broker, names, taskctl):
    own_broker.connect().channel().queue_declare(names.queue, durable=True)
    own_broker.ctl("set_vm_memory_high_watermark", "0")
    taskctl.broker = own_broker
    process = taskctl.start("run", "act")
    wait_stderr(process, "takes no messages for now", "memory")
    process.kill()
    taskctl.end(process)


# Output and input of its own

def test_stdout_that_cannot_be_written(runner, client, taskctl):
    runner()
    big = steps(["output_size", 1000000])
    with open("/dev/full", "wb") as full:
        status, _, err = taskctl("run", "act", "-i", "-", input=big, stdout=full)
    assert status == 6 and "cannot be written" in err
    ours, theirs = os.pipe()
    os.close(ours)
    status, _, err = taskctl("run", "act", "-i", "-", input=big, stdout=theirs)
    os.close(theirs)
    assert status == 6 and "Broken pipe" in err


def test_slow_reader_gets_everything(runner, client, taskctl):
    runner()
    process = taskctl.start("run", "-q", "act", "-i", "-", stdin=subprocess.PIPE)
    process.stdin.write(steps(["output_size", 2000000]))
    process.stdin.close()
    process.stdin = None
    os.set_blocking(process.stdout.fileno(), True)
    got = 0
    while part := os.read(process.stdout.fileno(), 10000):
        got += len(part)
    assert got == 2000000
    assert taskctl.end(process)[0] == 0


def test_input_that_cannot_be_read(taskctl, tmp_path):
    for file in (str(tmp_path), str(tmp_path / "not-there")):
        status, _, err = taskctl("run", "act", "--input", file)
        assert status == 6 and file in err


@pytest.mark.parametrize("arguments", [
    [], ["frobnicate"], ["run"], ["run", ""], ["run", "a", "b"], ["run", "--bogus", "a"],
    ["run", "a", "--input"], ["run", "a", "--timeout", "0"], ["run", "a", "--timeout", "90"],
    ["run", "a", "--timeout", "-1s"], ["run", "a", "--timeout", "fast"], ["run", "a", "--id", ""],
    ["run", "a", "--id", "../x"], ["run", "a", "--id", "x" * 129], ["run", "a", "--json", ""],
    ["run", "a", "--json", '{"a":1} x'], ["run", "a", "--json", "[1", "--id", "x"],
    ["run", "a", "--json", "1", "--input", "-"], ["run", "a", "--encoding", "xml"],
    ["run", "a", "--broker", "nonsense"], ["run", "a", "--broker", "amqp://u:pass-4711@h:x"],
    ["cancel"], ["cancel", "a/b"], ["cancel", "x", "--wait", "soon"], ["cancel", "--bogus"],
])
def test_usage_errors(taskctl, arguments):
    taskctl.broker = None  # none of these gets as far as that
    status, out, err = taskctl(*arguments, defaults=False)
    assert (status, out) == (2, b"")
    assert err and "pass-4711" not in err


def test_program_name_too_long_for_the_runner(runner, client, taskctl):
    runner()
    status, _, err = taskctl("run", "x" * 500)
    assert status == 1 and "failed" in err


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"], ["cancel", "-h"]])
def test_help(taskctl, arguments):
    taskctl.broker = None
    status, out, err = taskctl(*arguments, defaults=False)
    assert (status, err) == (0, "")
    assert b"taskctl" in out
    if arguments[0] in ("run", "cancel"):
        assert b"Exit status" in out
    with open("/dev/full", "wb") as full:
        assert taskctl(*arguments, defaults=False, stdout=full)[0] == 6


# Runners that are not ours

class FakeRunner:
    """Takes one request and answers what it is told."""

    def __init__(self, client):
        self.client = client
        self.channel = client.channel
        delivery = wait_until(lambda: self._get(), "a request")
        self.request = json.loads(delivery[2])
        self.properties = delivery[1]

    def _get(self):
        method, properties, body = self.channel.basic_get(self.client.names.queue, auto_ack=True)
        return (method, properties, body) if method else None

    def raw(self, body, headers=None):
        self.channel.basic_publish("", self.properties.reply_to, body, pika.BasicProperties(
            content_type="application/json", correlation_id=self.properties.correlation_id,
            headers=headers))

    def say(self, status, attempt, sequence, output=None, **headers):
        self.raw(json.dumps({
            "id": self.request["id"], "script": self.request["script"], "status": status,
            "output": output, "additionalProperties": None, "projectId": None, "userId": None,
            "stdout": "", "stderr": "", "requestSHA256": None, "routingKey": None, "useCache": True}),
            {"x-tr-attempt": attempt, "x-tr-sequence": sequence, **headers})


def test_what_the_request_looks_like(client, taskctl):
    process = taskctl.start("run", "prog", "--json", "[1]", "--timeout", "90s")
    fake = FakeRunner(client)
    assert fake.request["script"] == "prog"
    assert fake.request["input"] == "WzFd"
    assert fake.request["timeoutSeconds"] == 90
    assert uuid.UUID(fake.request["id"]).version == 4
    assert "routingKey" not in fake.request
    assert fake.properties.correlation_id == fake.request["id"]
    assert fake.properties.delivery_mode == 2
    assert fake.properties.content_type == "application/json"
    fake.say("SUCCESS", 1, 1, "b2s=")
    assert taskctl.end(process)[:2] == (0, b"ok")


def test_repeats_and_late_ones_are_dropped(client, taskctl):
    process = taskctl.start("run", "prog")
    fake = FakeRunner(client)
    fake.say("RUNNING", 1, 1)
    fake.say("RUNNING", 1, 2, "b25l")
    fake.say("RUNNING", 1, 2, "b25l")
    fake.say("RUNNING", 1, 1)
    fake.say("RUNNING", 2, 1)
    fake.say("RUNNING", 2, 2, "dHdv")
    fake.say("FAILED", 1, 3, "bGF0ZQ==")
    fake.say("RUNNING", 1, 9, "bGF0ZQ==")
    fake.say("SUCCESS", 2, 3, "b2s=")
    fake.say("SUCCESS", 2, 3, "b2s=")
    status, out, err = taskctl.end(process)
    assert (status, out) == (0, b"ok")
    assert err.splitlines() == ["progress one", "taskctl: started again: attempt 2", "progress two"]


@pytest.mark.parametrize("body", [
    b"", b"nonsense", b"{", b"[]", b'{"id":"x"}', b"\x00" * 100, b"\x81", b"{" * 100000],
    ids=["empty", "text", "cut", "array", "few", "zeros", "msgpack", "deep"])
def test_answer_that_is_no_response(client, taskctl, body):
    process = taskctl.start("run", "prog")
    FakeRunner(client).raw(body)
    status, out, err = taskctl.end(process)
    assert (status, out) == (3, b"")
    assert "not understood" in err


def test_response_with_hostile_headers(client, taskctl):
    process = taskctl.start("run", "prog")
    FakeRunner(client).say(
        "FAILED", -(2 ** 62), 2 ** 62, "YSBiCmMgG1szMW0=", **{
            "x-tr-cause": "no such cause", "x-tr-runner": "r" * 5000, "x-tr-wall-ms": -1,
            "x-tr-cpu-ms": "text", "x-tr-peak-memory": 2 ** 62, "x-tr-exit-code": {"a": [1]},
            "x-tr-failure-kind": "\x1b]0;title\x07", **{"h%d" % i: i for i in range(100)}})
    status, out, err = taskctl.end(process)
    assert (status, out) == (1, b"")
    assert "a b c" in err and "\x1b" not in err
    assert err.count("\n") == 1
