# SPDX-License-Identifier: Apache-2.0
"""taskctl: what a person and a script see of a task, in every outcome."""

import json
import os
import pty
import signal
import socket
import subprocess
import threading
import uuid

import pika
import pytest
from pika import frame, spec

from support.broker import PASSWORD
from support.runner import act, steps
from support.taskctl import wait_stderr
from support.waiting import DEADLINE, wait_until

HANG = steps(["progress", '{"fraction": 0.25, "message": "started"}'], ["sleep", 200])


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


def read_terminal(fd):
    """All until its other end is closed."""
    seen = b""
    while True:
        try:
            part = os.read(fd, 4096)
        except OSError:
            part = b""
        if not part:
            os.close(fd)
            return seen
        seen += part


def test_bar_on_a_terminal(runner, client, taskctl):
    """Drawn over itself, and nothing that a program says can steer the terminal."""
    runner()
    ours, theirs = pty.openpty()
    process = taskctl.start("run", "act", "-i", "-", stdin=subprocess.PIPE, stderr=theirs,
                            environment={"TERM": "xterm"})
    os.close(theirs)
    process.stdin.write(steps(
        ["progress", '{"fraction": 0.5, "message": "half \\u001b[31m red \\u009b2J"}'], ["sleep", 0.3],
        ["output", "result"]))
    process.stdin.close()
    seen = read_terminal(ours)
    assert process.stdout.read() == b"result"
    process.stdout.close()
    assert process.wait(DEADLINE) == 0
    assert b"] " in seen and b" 50% half  [31m red" in seen
    assert seen.count(b"\x1b") == seen.count(b"\r\x1b[K"), seen
    assert b"\xc2\x9b" not in seen
    assert b"succeeded; wall" in seen.split(b"\x1b[K")[-1]


@pytest.mark.parametrize("terminal", ["dumb", ""])
def test_lines_on_a_terminal_that_can_do_nothing(runner, client, taskctl, terminal):
    runner()
    ours, theirs = pty.openpty()
    process = taskctl.start("run", "-i", "-", "act", stdin=subprocess.PIPE, stderr=theirs,
                            environment={"TERM": terminal})
    os.close(theirs)
    process.stdin.write(steps(["progress", '{"fraction": 0.5, "message": "half"}']))
    process.stdin.close()
    assert read_terminal(ours) == b"progress 50% half\r\n"
    process.stdout.close()
    assert process.wait(DEADLINE) == 0


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
    assert taskctl.names.control in err and err.count("no control exchange") == 1


# Waiting

def test_slot_is_waited_for(runner, client, taskctl):
    runner(queues=[{"name": client.names.queue, "slots": 1}])
    client.wait_running(client.submit("act", HANG, id="first"))
    client.submit("act", steps(), id="between")
    process = taskctl.start("run", "act", "-i", "-", stdin=subprocess.PIPE)
    process.stdin.write(steps(["output", "mine"]))
    process.stdin.close()
    process.stdin = None
    wait_stderr(process, "waiting for a free slot; requests waiting in '%s': 2, runners: 1" %
                client.names.queue)
    client.cancel("first")
    status, out, err = taskctl.end(process)
    assert (status, out) == (0, b"mine")
    client.final("first"), client.final("between")


def test_runner_that_says_nothing_yet(runner, client, taskctl):
    """The program's slots are taken, not those of the queue."""
    runner(programs={"single": act(["sleep", 200], slots=1)})
    client.wait_running(client.submit("single", id="first"))
    process = taskctl.start("run", "single", "--id", "second")
    wait_stderr(process, "a runner has taken the request", "tells nothing yet")
    assert taskctl("cancel", "second")[0] == 0
    assert taskctl.end(process)[0] == 130
    client.cancel("first")
    client.final("first")


# The broker

def secret(path, text):
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"], ids=["bare", "line", "crlf"])
def test_password_from_a_file(runner, client, taskctl, tmp_path, broker, end):
    """As an option and as a variable; it takes the place of the one in the address."""
    runner(programs={"ok": act(["output", "ok"])})
    right = secret(tmp_path / "right", PASSWORD + end)
    wrong = secret(tmp_path / "wrong", "wrong")
    taskctl.broker = None
    for who in ("e2e", "e2e:bad"):
        url = "amqp://%s@127.0.0.1:%d" % (who, broker.port)
        assert taskctl("run", "ok", "--password-file", right, url=url)[:2] == (0, b"ok")
        assert taskctl("run", "ok", "--password-file", right, "--broker", url)[:2] == (0, b"ok")
        assert taskctl("run", "ok", url=url, environment={
            "TASKCTL_PASSWORD_FILE": right})[:2] == (0, b"ok")
        assert taskctl("run", "ok", "--password-file", right, url=url, environment={
            "TASKCTL_PASSWORD_FILE": wrong})[:2] == (0, b"ok")
        status, _, err = taskctl("run", "ok", url=url, environment={"TASKCTL_PASSWORD_FILE": wrong})
        assert status == 3 and "the password in " + wrong in err


def test_address_from_a_file(runner, client, taskctl, tmp_path, broker):
    """One line each where there are several."""
    runner(programs={"ok": act(["output", "ok"])})
    file = secret(tmp_path / "url", "amqp://nobody@127.0.0.1:1\n%s\n" % broker.url)
    taskctl.broker = None
    assert taskctl("run", "ok", "--broker-file", file)[:2] == (0, b"ok")
    assert taskctl("run", "ok", environment={"TASKCTL_BROKER_FILE": file})[:2] == (0, b"ok")
    # What is given as an option wins, in either form.
    elsewhere = "amqp://127.0.0.1:1"
    assert taskctl("run", "ok", "--broker-file", file, url=elsewhere)[:2] == (0, b"ok")
    status, _, err = taskctl("run", "ok", "--broker", elsewhere,
                             environment={"TASKCTL_BROKER_FILE": file})
    assert status == 3 and "127.0.0.1:1/" in err


def test_secret_from_a_pipe(runner, client, taskctl, broker):
    """As a shell's <(…) gives it."""
    runner(programs={"ok": act(["output", "ok"])})
    taskctl.broker = None
    ours, theirs = os.pipe()
    os.write(theirs, PASSWORD.encode() + b"\n")
    os.close(theirs)
    assert taskctl("run", "ok", "--password-file", "/dev/fd/%d" % ours, pass_fds=[ours],
                   url="amqp://e2e@127.0.0.1:%d" % broker.port)[:2] == (0, b"ok")
    os.close(ours)


class Listener:
    """A broker that only listens to who is coming."""

    def __init__(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = "amqp://127.0.0.1:%d" % self.server.getsockname()[1]

    def hear(self):
        """What one sends who wants to log in."""
        peer, _ = self.server.accept()
        peer.recv(8)
        peer.sendall(frame.Method(0, spec.Connection.Start(0, 9, {}, "PLAIN", "en_US")).marshal())
        heard = peer.recv(4096)
        peer.close()
        return heard

    def __enter__(self):
        self.heard = []
        self.thread = threading.Thread(target=lambda: self.heard.append(self.hear()))
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.thread.join(DEADLINE)
        self.server.close()


# Who names the broker, who names a password, and does the one get to see the other?
@pytest.mark.parametrize("of_broker, of_password, seen", [
    ("--broker", "environment", False), ("--broker-file", "environment", False),
    ("--broker", "file", False), ("--broker-file", "file", False),
    ("environment", "file", False), ("file", "environment", False),
    ("environment", "environment", True), ("file", "file", True),
    ("--broker", "--password-file", True), ("environment", "--password-file", True),
    ("file", "--password-file", True),
])
def test_password_goes_only_to_its_broker(taskctl, tmp_path, of_broker, of_password, seen):
    password = secret(tmp_path / "password", PASSWORD)
    taskctl.broker = None
    with Listener() as listener:
        named = {of_broker: {"broker": listener.url}}
        named.setdefault(of_password, {})["password_file"] = password
        options = []
        if of_broker == "--broker-file":
            options += ["--broker-file", secret(tmp_path / "url", listener.url)]
        if of_broker == "--broker":
            options += ["--broker", listener.url]
        if of_password == "--password-file":
            options += ["--password-file", password]
        taskctl.settings(**named.get("file", {}))
        status, _, _ = taskctl("run", "act", *options, environment={
            "TASKCTL_" + key.upper(): value for key, value in named.get("environment", {}).items()})
    assert status == 3
    assert b"PLAIN" in listener.heard[0]
    assert (PASSWORD.encode() in listener.heard[0]) == seen


def test_settings_of_a_person(runner, client, taskctl, tmp_path, broker):
    """Everything that is needed from the file; what is said elsewhere counts more."""
    runner(programs={"ok": act(["output", "ok"])})
    taskctl.broker = None
    taskctl.settings(broker="amqp://e2e@127.0.0.1:%d" % broker.port,
                     password_file=secret(tmp_path / "password", PASSWORD + "\n"),
                     queue=client.names.queue, control=client.names.control)
    assert taskctl("run", "ok", defaults=False) == (0, b"ok", "")
    status, _, err = taskctl("run", "ok", "--queue", "no.such.queue", defaults=False)
    assert status == 4 and "no.such.queue" in err
    status, _, err = taskctl("run", "ok", defaults=False, environment={
        "TASKCTL_QUEUE": "no.such.queue"})
    assert status == 4 and "no.such.queue" in err
    status, _, err = taskctl("run", "ok", defaults=False, environment={
        "TASKCTL_BROKER": "amqp://127.0.0.1:1"})
    assert status == 3 and "127.0.0.1:1/" in err


def test_settings_that_are_wrong(taskctl, tmp_path):
    """The file, the line, the key, and never a secret."""
    taskctl.broker = None
    file = str(taskctl.directory / "taskctl.yaml")
    (taskctl.directory / "taskctl.yaml").write_text("queue: q\nbrokr: amqp://u:pass-4711@h\n")
    status, out, err = taskctl("run", "act", defaults=False)
    assert (status, out) == (2, b"")
    assert err.startswith("taskctl: %s:2: brokr: there is no such key" % file) and "4711" not in err
    # Help is there all the same.
    assert taskctl("run", "--help", defaults=False)[0] == 0
    for wrong, told in (
            ({"broker": "http://u:pass-4711@h"}, ": broker: "),
            ({"broker_file": str(tmp_path / "none")}, ": broker_file: cannot open"),
            ({"broker": "amqp://h", "broker_file": "/x"}, ": broker_file exclude each other"),
            ({"password_file": str(tmp_path)}, ": password_file: cannot")):
        taskctl.settings(**wrong)
        status, _, err = taskctl("run", "act", defaults=False)
        assert status in (2, 6) and err.startswith("taskctl: " + file) and told in err, err
        assert "4711" not in err


@pytest.mark.parametrize("content", [b"", b"\n", b"a\0b", b"x" * 65537],
                         ids=["empty", "line", "nul", "large"])
def test_secret_that_is_none(taskctl, tmp_path, content):
    taskctl.broker = None
    file = tmp_path / "secret"
    file.write_bytes(content)
    for option in ("--broker-file", "--password-file"):
        status, out, err = taskctl("run", "act", option, str(file), defaults=False)
        assert (status, out) == (6 if len(content) > 65536 else 2, b"")
        assert err.startswith("taskctl: %s: %s " % (option, file)) and err.count("\n") == 1


def test_secret_that_cannot_be_read(taskctl, tmp_path):
    taskctl.broker = None
    for option, variable in (("--broker-file", "TASKCTL_BROKER_FILE"),
                             ("--password-file", "TASKCTL_PASSWORD_FILE")):
        for file in (str(tmp_path), str(tmp_path / "not-there")):
            status, _, err = taskctl("cancel", "x", option, file, defaults=False)
            assert status == 6 and option + ": cannot" in err and file in err
            status, _, err = taskctl("cancel", "x", defaults=False, environment={variable: file})
            assert status == 6 and variable + ": cannot" in err and file in err


def test_address_in_a_file_is_never_shown(taskctl, tmp_path):
    """Nor is what stands there in its place."""
    taskctl.broker = None
    for text in ("amqp://u:pass-4711@h:x", "pass-4711", "amqp://u:pass-4711@[::1"):
        file = secret(tmp_path / "url", text)
        status, _, err = taskctl("run", "act", "--broker-file", file, defaults=False)
        assert status == 2 and "--broker-file: " + file in err and "pass-4711" not in err


def test_broker_named_twice(taskctl, tmp_path):
    taskctl.broker = None
    file = secret(tmp_path / "url", "amqp://127.0.0.1:1")
    status, _, err = taskctl("run", "act", "--broker", "amqp://h", "--broker-file", file,
                             defaults=False)
    assert status == 2 and "--broker and --broker-file exclude each other" in err
    status, _, err = taskctl("run", "act", defaults=False, environment={
        "TASKCTL_BROKER": "amqp://h", "TASKCTL_BROKER_FILE": file})
    assert status == 2 and "TASKCTL_BROKER and TASKCTL_BROKER_FILE exclude each other" in err
    # Empty is as not given.
    status, _, err = taskctl("run", "act", defaults=False, environment={
        "TASKCTL_BROKER": "", "TASKCTL_PASSWORD_FILE": "", "TASKCTL_BROKER_FILE": file})
    assert status == 3 and "127.0.0.1:1/" in err


def test_no_such_queue(taskctl, client):
    status, out, err = taskctl("run", "--queue", "no.such.queue", "act", defaults=False)
    assert (status, out) == (4, b"")
    assert "no queue 'no.such.queue'" in err


def test_broker_not_reachable(taskctl):
    status, out, err = taskctl("run", "act", url="amqp://u:%s@127.0.0.1:1" % PASSWORD)
    assert (status, out) == (3, b"")
    assert "127.0.0.1:1" in err and "refused" in err


def test_broker_not_reachable_by_whom_it_was_named(taskctl, tmp_path):
    """Whoever has named it is told, so that it can be mended there."""
    address = "amqp://u:%s@127.0.0.1:1" % PASSWORD
    status, out, err = taskctl("ps", environment={"TASKCTL_BROKER": address})
    assert (status, out) == (3, b"")
    assert "this address is from TASKCTL_BROKER; is the broker up" in err and "--broker URL" in err
    taskctl.broker = None
    assert "from --broker; is the broker up" in taskctl("ps", "--broker", address)[2]
    file = secret(tmp_path / "address", address)
    assert "from --broker-file (%s); is" % file in taskctl("ps", "--broker-file", file)[2]
    taskctl.settings(broker=address)
    assert "from %s/taskctl.yaml: broker; is" % taskctl.directory in taskctl("ps")[2]


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
    own_broker.alarm(True)
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


@pytest.mark.parametrize("arguments,told", [
    (["--verbose"], "there is no option '--verbose'"), (["walk"], "there is no verb 'walk'"),
    (["run", "a", "b"], "'b' is too much"), (["run", "--bogus=pass-4711", "a"], "option --bogus"),
    (["run", "-x", "a"], "no option -x"), (["run", "-qz", "a"], "no option -z"),
    (["run", "--quiet=pass-4711", "a"], "--quiet takes no value"),
    (["run", "--quiet", "-xq", "a"], "no option -x"),
    (["run", "a", "--br", "x"], "--br is short for several options"),
    (["run", "a", "-t"], "--timeout needs a value"), (["run", "a", "--inp"], "--input needs a value"),
    (["cancel", "x", "-w"], "--wait needs a value"), (["cancel", "-q", "x"], "no option -q"),
    (["run", "a", "--json", "[1"], "ends too early"), (["run", "a", "--json", "[1}"], "byte 3"),
    (["run", "a", "--json", "1 2"], "byte 3"), (["run", "a", "--json", '"a'], "ends too early"),
    (["run", "a", "--json", "tru"], "ends too early"), (["run", "a", "--json", "{} }"], "byte 4"),
])
def test_usage_errors_say_what_is_wrong(taskctl, arguments, told):
    taskctl.broker = None
    status, out, err = taskctl(*arguments, defaults=False)
    assert (status, out) == (2, b"")
    assert told in err and "pass-4711" not in err
    assert err.endswith(" --help'.\n") and err.count("\n") == 2


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
