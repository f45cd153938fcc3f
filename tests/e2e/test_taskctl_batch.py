# SPDX-License-Identifier: Apache-2.0
"""taskctl batch: many tasks from a file, and what interrupts them."""

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

from support.client import Client
from support.runner import SOON, act, base_config, steps
from support.taskctl import Taskctl, wait_stderr
from support.waiting import DEADLINE, wait_until


def rows(text):
    return [json.loads(line) for line in text.splitlines()]


def lines_of(*tasks):
    return b"".join(json.dumps(t).encode() + b"\n" for t in tasks)


def write(path, *tasks):
    path.write_bytes(lines_of(*tasks))
    return str(path)


def say(text, *before):
    return {"program": "act", "input": {"steps": [*before, ["output", text]]}}


def count(mark):
    """How often a task left its mark."""
    return len(mark.read_text().split()) if mark.exists() else 0


class Screen:
    """A terminal for stderr, and what was drawn there."""

    def __init__(self, columns):
        self.ours, self.theirs = pty.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.seen = b""

    def read(self):
        """False where there is nothing for now."""
        if not select.select([self.ours], [], [], 0.1)[0]:
            return False
        self.seen += os.read(self.ours, 65536)
        return True

    def wait(self, words):
        end = time.monotonic() + DEADLINE
        while words not in self.seen.decode(errors="replace"):
            assert time.monotonic() < end, self.seen.decode()
            self.read()

    def end(self, process):
        """Its status, when all is read."""
        end = time.monotonic() + DEADLINE
        while process.poll() is None:
            assert time.monotonic() < end, self.seen.decode()
            self.read()
        while self.read():
            pass
        return process.returncode

    def frames(self):
        """Of the bar, and what else was said."""
        parts = [p.split("\r\n")[0] for p in self.seen.decode().split("\r\x1b[K")]
        return [p for p in parts if p.startswith("[")], [p for p in parts if p.startswith("taskctl: ")]


@contextlib.contextmanager
def screen(columns):
    s = Screen(columns)
    try:
        yield s
    finally:
        os.close(s.ours)
        os.close(s.theirs)


def start_on(screen, taskctl, *arguments):
    return taskctl.start(*arguments, stdout=subprocess.DEVNULL, stderr=screen.theirs,
                         environment={"TERM": "xterm", "LC_ALL": "C.UTF-8"})


def interrupt_twice(process):
    process.send_signal(signal.SIGINT)
    wait_stderr(process, "no more are sent")
    process.send_signal(signal.SIGINT)
    return process


# What comes out

def test_results_in_order(runner, client, taskctl, tmp_path):
    """Whatever ends first; a line for each, and all that there is to know."""
    r = runner()
    file = write(tmp_path / "tasks", say("first", ["sleep", 0.5]), say("second"),
                 {"program": "act", "input": {"steps": [["stderr", "oh"], ["exit", 3]]}, "id": "mine"},
                 {"script": "no-such-program"}, say("x\n\"y\""))
    status, out, err = taskctl("batch", file, "--name", "b")
    assert status == 1
    got = rows(out)
    assert [x["line"] for x in got] == [1, 2, 3, 4, 5]
    assert [x["id"] for x in got] == ["b-1", "b-2", "mine", "b-4", "b-5"]
    assert [x["state"] for x in got] == ["succeeded", "succeeded", "failed", "failed", "succeeded"]
    assert [x["cause"] for x in got] == [None, None, "exited", "not-found", None]
    assert [x["output"] for x in got] == ["first", "second", None, None, "x\n\"y\""]
    assert got[2]["exit_code"] == 3 and got[2]["stderr"] == "oh" and got[2]["message"]
    assert {x["runner"] for x in got} == {r.name}
    assert "5 of 5: succeeded 3 · failed 2" in err.splitlines()[-1]


def test_inputs(runner, client, taskctl):
    """Text as it is, all else as JSON, bytes as base64; outputs that are no text as base64."""
    runner(programs={"back": act(["read"], ["output_input"])})
    tasks = lines_of({"input": "text"}, {"input": {"a": [1, None]}}, {"input_base64": "AP8=", "input": None}, {},
                     {"input": None})
    status, out, err = taskctl("batch", "-q", "--program", "back", "-", input=tasks)
    assert (status, err) == (0, "")
    assert [(x["output"], x["output_base64"]) for x in rows(out)] == [
        ("text", None), ('{"a": [1, null]}', None), (None, "AP8="), ("", None), ("", None)]


def test_requests_have_what_the_line_says(client, taskctl, tmp_path):
    file = write(tmp_path / "tasks", {"program": "p", "group": "G", "labels": ["a", "b"], "priority": 2,
                                      "depth": 3, "hold": True, "user": "U", "project": "P",
                                      "timeoutSeconds": 1.5})
    client.channel.queue_delete(client.names.control)
    process = taskctl.start("batch", file, "--group", "other")
    _, properties, body = client.get(client.names.queue)
    request = json.loads(body)
    assert request == {**request, "script": "p", "group": "G", "labels": ["a", "b"], "depth": 3,
                       "hold": True, "userId": "U", "projectId": "P", "timeoutSeconds": 1.5}
    assert properties.priority == 5
    process.kill()
    process.wait()


@pytest.mark.parametrize("separator, text, expected", [
    (",", 'a,b\n1,x\n"2 ""q"", r","y\nz"\n', [{"a": "1", "b": "x"}, {"a": '2 "q", r', "b": "y\nz"}]),
    ("\t", 'a\tb\r\n1\t"x\r\n', [{"a": "1", "b": '"x'}])])
def test_tables(runner, client, taskctl, separator, text, expected):
    runner(programs={"back": act(["read"], ["output_input"])})
    status, out, err = taskctl("batch", "-q", "--table", "--program", "back", "-", input=text.encode())
    assert (status, err) == (0, "")
    assert [json.loads(x["output"]) for x in rows(out)] == expected


def test_template(runner, client, taskctl):
    runner(programs={"back": act(["read"], ["output_input"])})
    status, out, _ = taskctl("batch", "-q", "--table", "--program", "back", "-", "--input-template",
                             '{{"n": {n}, "of": "{name}"}', input=b"name,n\nx,1\ny,2\n")
    assert status == 0
    assert [x["output"] for x in rows(out)] == ['{"n": 1, "of": "x"}', '{"n": 2, "of": "y"}']


def test_an_id_again_and_again(runner, client, taskctl):
    """One after the other, each with its own result."""
    runner(programs={"back": act(["read"], ["output_input"])})
    tasks = lines_of(*[{"program": "back", "id": "same", "input": str(i)} for i in range(5)])
    status, out, err = taskctl("batch", "-q", "-", input=tasks)
    assert (status, err) == (0, "")
    assert [(x["id"], x["output"]) for x in rows(out)] == [("same", str(i)) for i in range(5)]


# Files that are none

@pytest.mark.parametrize("text, said", [
    (b'{"program": "act"}\n{"program": \n', ["line 2: "]),
    (b'\n\nnonsense\n[1]\n', ["line 3: ", "line 4: "]),
    (b'{"program": "act", "inptu": 1}\n', ["line 1: there is no such member: inptu"]),
    (b'{"input": "x"}\n', ["line 1: no program is named"]),
    (b'{"program": "act", "id": "a/b"}\n', ["line 1: id: "]),
    (b'{"program": "act", "priority": 10}\n', ["line 1: priority: "]),
    (b'{"program": "act"}\n{"program": "act", "depth": 1.5}', ["line 2: depth: "]),
    (b'{"program": "act"}\n{"program": "act", "input": 1, "input_base64": "AP8="}',
     ["line 2: input and input_base64 are both there"]),
    (b'{"program": "act", "input": 1, "input": 2}', ["line 1: input stands twice"]),
    (b'{"program": "act", "timeoutMinutes": 1, "timeoutSeconds": 2}',
     ["line 1: timeoutMinutes and timeoutSeconds are both there"])])
def test_malformed_lines_are_named(taskctl, client, text, said):
    """And nothing is sent."""
    status, out, err = taskctl("batch", "-", input=text)
    assert (status, out) == (2, b"")
    for words in said:
        assert words in err
    assert "malformed lines: %d; nothing was sent" % len(said) in err
    assert client.count(client.names.queue) == 0


@pytest.mark.parametrize("text, said", [
    (b'a,b\n1\n', "line 2: it has 1 fields, and the header 2"),
    (b'a,b\n1,"x\n', "line 2: a quote is not closed")])
def test_malformed_rows_are_named(taskctl, client, text, said):
    status, out, err = taskctl("batch", "--table", "--program", "act", "-", input=text)
    assert (status, out) == (2, b"") and said in err


@pytest.mark.parametrize("text", [b"", b"\n \n\n"])
@pytest.mark.parametrize("arguments", [[], ["--table", "--program", "act"]])
def test_nothing_to_do(taskctl, client, text, arguments):
    status, out, err = taskctl("batch", *arguments, "-", input=text)
    assert (status, out) == (0, b"") and "nothing to do" in err


def test_wrong_usage(taskctl, client, tmp_path):
    for arguments in (["--window", "0", "-"], ["--input-template", "x", "-"], ["--retry-failed", "-"],
                      [], ["a", "b"], ["--table", "-"]):
        assert taskctl("batch", *arguments)[0] == 2
    assert taskctl("batch", str(tmp_path / "no-such-file"))[0] == 6


@pytest.mark.parametrize("template", ["x {name", "{{{name", "{name} {", "{{ {{{"])
def test_template_with_an_open_brace(taskctl, client, template):
    status, out, err = taskctl("batch", "--table", "--program", "act", "--input-template", template, "-",
                               input=b"name\nx\n")
    assert (status, out) == (2, b"")
    assert "--input-template: a brace is not closed: '{" in err
    assert client.count(client.names.queue) == 0


@pytest.mark.parametrize("arguments", [[], ["--table", "--program", "act"]])
def test_directory(taskctl, client, tmp_path, arguments):
    status, out, err = taskctl("batch", *arguments, str(tmp_path))
    assert (status, out) == (6, b"")
    assert "cannot read %s: it is a directory" % tmp_path in err


@pytest.mark.parametrize("text", [
    "this is no result\n", "no line break", "", "[1]\n", '{"program": "act"}\n', '{"a": 1}',
    '{"line":1,"id":"x"}\n', '{"line":1,"id":"x","state":"succeeded"}\nmine\n'])
def test_results_that_are_none(taskctl, client, tmp_path, text):
    """A file of somebody else, or the one with the tasks: nothing is done to it."""
    other = tmp_path / "other"
    other.write_text(text)
    status, _, err = taskctl("batch", "--results", str(other), "-", input=lines_of(say("x")),
                             environment={} if text else {"TASKCTL_BROKER": "amqp://127.0.0.1:1"})
    assert other.read_text() == text
    if text:
        line = len(text.splitlines())
        assert status == 2
        assert "%s is no results file of batch (line %d); it is left as it is" % (other, line) in err
    assert client.count(client.names.queue) == 0


def test_results_of_another_batch(taskctl, client, tmp_path):
    other = tmp_path / "other"
    text = '{"line":7,"id":"x","state":"succeeded"}\n'
    other.write_text(text)
    status, _, err = taskctl("batch", "--results", str(other), "-", input=lines_of(say("x")))
    assert status == 2 and "another batch: this one has fewer lines (line 1); it is left as it is" in err
    assert other.read_text() == text


def test_no_queue(taskctl, client):
    status, out, err = taskctl("batch", "--queue", "no-such-queue", "-", defaults=False,
                               input=lines_of(say("x")),
                               environment={"TASKCTL_RESPONSES": client.names.responses})
    assert (status, out) == (4, b"") and "no queue 'no-such-queue'" in err


# Again

def test_what_is_done_is_not_done_again(runner, client, taskctl, tmp_path):
    runner()
    mark, results = tmp_path / "mark", tmp_path / "results"
    fail = {"program": "act", "input": {"steps": [["append", str(mark), "x"], ["exit", 1]]}}
    tasks = [say("a", ["append", str(mark), "a"]), fail, say("b", ["append", str(mark), "b"])]
    file = write(tmp_path / "tasks", *tasks)
    assert taskctl("batch", file, "--results", str(results))[:2] == (1, b"")
    status, out, err = taskctl("batch", file, "--results", str(results))
    assert (status, out) == (1, b"")
    assert "nothing to do: 3 tasks, all done by earlier starts: succeeded 2 · failed 1" in err
    assert sorted(mark.read_text().split()) == sorted("axb")
    # More lines, and one that failed.
    write(tmp_path / "tasks", *tasks, say("c"))
    assert taskctl("batch", file, "--results", str(results), "--retry-failed")[0] == 1
    got = rows(results.read_text())
    assert [(x["line"], x["state"]) for x in got] == [
        (1, "succeeded"), (2, "failed"), (3, "succeeded"), (2, "failed"), (4, "succeeded")]
    assert len({x["id"] for x in got}) == 5


def test_status_is_of_the_whole_file(runner, client, taskctl, tmp_path):
    """What an earlier start saw fail is not forgotten because all else went well."""
    runner()
    results = tmp_path / "results"
    tasks = [say("a"), {"program": "act", "input": {"steps": [["exit", 1]]}}]
    file = write(tmp_path / "tasks", *tasks)
    assert taskctl("batch", file, "--results", str(results))[0] == 1
    write(tmp_path / "tasks", *tasks, say("b"))
    status, _, err = taskctl("batch", file, "--results", str(results))
    assert status == 1
    assert "3 of 3: succeeded 2 · failed 1, 2 by earlier starts · " in err.splitlines()[-1]
    # Until it succeeds.
    write(tmp_path / "tasks", tasks[0], say("now"), say("b"))
    status, _, err = taskctl("batch", file, "--results", str(results), "--retry-failed")
    assert status == 0
    assert "3 of 3: succeeded 3, 2 by earlier starts · " in err.splitlines()[-1]
    status, _, err = taskctl("batch", file, "--results", str(results))
    assert status == 0 and "3 tasks, all done by earlier starts: succeeded 3" in err


def check_each_once(results, n):
    got = [x for x in rows(results.read_text()) if not x["interrupted"]]
    assert [x["line"] for x in got] == list(range(1, n + 1))
    assert {x["state"] for x in got} == {"succeeded"}
    assert [x["output"] for x in got] == [str(i) for i in range(n)]


@pytest.mark.parametrize("kills", [1, 3])
def test_killed_and_started_again(runner, client, taskctl, tmp_path, kills):
    """Each task has one result, in order, whenever it is killed."""
    runner()
    results = tmp_path / "results"
    n = 60
    file = write(tmp_path / "tasks", *[say(str(i), ["sleep", 0.02]) for i in range(n)])
    for kill in range(kills):
        process = taskctl.start("batch", file, "--results", str(results), "--window", "10")
        wait_until(lambda: results.exists() and
                   len(results.read_bytes().splitlines()) > (kill + 1) * n // 6, "some are done")
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if kill == 0:
            with open(results, "ab") as f:
                f.write(b'{"line": 9999, "half a li')
    status, _, err = taskctl("batch", file, "--results", str(results), "--window", "10")
    assert status == 0, err
    check_each_once(results, n)


def test_results_that_came_while_nobody_was_there(runner, client, taskctl, tmp_path):
    """They are kept at the broker, and not done again."""
    runner()
    results, mark, go = tmp_path / "results", tmp_path / "mark", tmp_path / "go"
    file = write(tmp_path / "tasks", *[
        say(str(i), ["append", str(mark), "."], ["wait_for", str(go)]) for i in range(4)])
    arguments = ["batch", file, "--results", str(results), "--name", client.names.unique]
    process = taskctl.start(*arguments)
    wait_until(lambda: count(mark) == 4, "all run")
    process.kill()
    process.communicate()
    go.touch()
    wait_until(lambda: client.count("taskctl." + client.names.unique) == 4, "all have ended")
    status, _, err = taskctl(*arguments)
    assert status == 0, err
    check_each_once(results, 4)
    assert count(mark) == 4


def test_restart_of_the_broker(own_broker, names, tmp_path, clients, start_runner):
    taskctl = Taskctl(tmp_path, own_broker, names)
    clients.append(Client(own_broker, names))
    start_runner(own_broker, clients[0], base_config(own_broker, names, tmp_path / "run"))
    results = tmp_path / "results"
    n = 60
    file = write(tmp_path / "tasks", *[say(str(i), ["sleep", 0.05]) for i in range(n)])
    process = taskctl.start("batch", file, "--results", str(results), "--window", "8")
    wait_until(lambda: results.exists() and len(results.read_bytes().splitlines()) > 10, "some")
    own_broker.down()
    own_broker.start()
    clients[0].reconnect()
    status, _, err = taskctl.end(process)
    assert status == 0, err
    assert "connecting again" in err
    check_each_once(results, n)
    taskctl.stop()


def test_runner_killed(runner, client, taskctl, tmp_path):
    first = runner(broker=SOON)
    results = tmp_path / "results"
    n = 40
    file = write(tmp_path / "tasks", *[say(str(i), ["sleep", 0.05]) for i in range(n)])
    process = taskctl.start("batch", file, "--results", str(results), "--window", "8")
    wait_until(lambda: results.exists() and len(results.read_bytes().splitlines()) > 5, "some")
    first.kill()
    runner(broker=SOON)
    status, _, err = taskctl.end(process)
    assert status == 0, err
    check_each_once(results, n)


# Ctrl-C

def test_first_interrupt_waits_second_cancels(runner, client, taskctl, tmp_path):
    runner()
    results, mark, go = tmp_path / "results", tmp_path / "mark", tmp_path / "go"
    file = write(tmp_path / "tasks", *[
        say(str(i), ["append", str(mark), "."], ["wait_for", str(go)]) for i in range(20)])
    process = taskctl.start("batch", file, "--results", str(results), "--window", "3")
    wait_until(lambda: count(mark) == 3, "three run")
    process.send_signal(signal.SIGINT)
    wait_stderr(process, "no more are sent")
    go.touch()
    assert taskctl.end(process)[0] == 130
    check_each_once(results, 3)
    os.unlink(go)
    process = taskctl.start("batch", file, "--results", str(results), "--window", "3")
    wait_until(lambda: count(mark) == 6, "three more run")
    status, _, err = taskctl.end(interrupt_twice(process))
    assert status == 130
    assert "3 of 20: succeeded 3 · interrupted 3, 3 by earlier starts" in err.splitlines()[-1]
    assert [(x["line"], x["state"], x["interrupted"]) for x in rows(results.read_text())] == [
        (1, "succeeded", False), (2, "succeeded", False), (3, "succeeded", False),
        (4, "cancelled", True), (5, "cancelled", True), (6, "cancelled", True)]
    # They are done by the next start, at once.
    go.touch()
    status, _, err = taskctl("batch", file, "--results", str(results), "--window", "3")
    assert status == 0, err
    check_each_once(results, 20)
    assert count(mark) == 3 + 3 + 17


def test_what_ended_behind_what_was_cancelled(runner, client, taskctl, tmp_path):
    """Its results wait at the broker, so that the next start has all in order, and does no finished
    one again."""
    runner()
    results, mark, go = tmp_path / "results", tmp_path / "mark", tmp_path / "go"
    file = write(tmp_path / "tasks", *[
        say(str(i), ["append", str(mark), "x%d" % i], *([] if i % 2 else [["wait_for", str(go)]]))
        for i in range(6)])
    with screen(100) as s:
        process = start_on(s, taskctl, "batch", file, "--results", str(results))
        s.wait("succeeded 3")
        process.send_signal(signal.SIGINT)
        s.wait("no more are sent")
        process.send_signal(signal.SIGINT)
        assert s.end(process) == 130
    assert [(x["line"], x["interrupted"]) for x in rows(results.read_text())] == [
        (1, True), (3, True), (5, True)]
    go.touch()
    status, _, err = taskctl("batch", file, "--results", str(results))
    assert status == 0, err
    check_each_once(results, 6)
    assert sorted(mark.read_text().split()) == ["x0", "x0", "x1", "x2", "x2", "x3", "x4", "x4", "x5"]


@pytest.mark.parametrize("signals", [2, 3])
def test_interrupted_again_and_again(runner, client, taskctl, tmp_path, signals):
    """Whatever was cancelled, or ended too soon for that: one result of each line, in order."""
    runner()
    results = tmp_path / "results"
    n = 80
    file = write(tmp_path / "tasks", *[say(str(i), ["sleep", 0.02 * (i % 3)]) for i in range(n)])

    def finished():
        text = results.read_text() if results.exists() else ""
        return [x for x in rows(text[:text.rfind("\n") + 1]) if not x["interrupted"]]

    for start in range(4):
        process = taskctl.start("batch", file, "--results", str(results), "--window", "12")
        wait_until(lambda: len(finished()) > start * n // 8, "some are done")
        process.send_signal(signal.SIGINT)
        wait_stderr(process, "no more are sent")
        for _ in range(1, signals):
            process.send_signal(signal.SIGINT)
        assert taskctl.end(process)[0] == 130
        lines = [x["line"] for x in finished()]
        assert lines == list(range(1, len(lines) + 1))
    status, _, err = taskctl("batch", file, "--results", str(results), "--window", "12")
    assert status == 0, err
    check_each_once(results, n)


def test_third_interrupt(runner, client, taskctl, tmp_path):
    """It does not wait for tasks that take their time to end; they are done again all the same."""
    runner(limits={"grace": "100s", "drain": "100ms"})
    results, mark, go = tmp_path / "results", tmp_path / "mark", tmp_path / "go"
    file = write(tmp_path / "tasks", *[
        say(str(i), ["ignore", 15], ["append", str(mark), "."], ["wait_for", str(go)]) for i in range(2)])
    process = taskctl.start("batch", file, "--results", str(results))
    wait_until(lambda: count(mark) == 2, "both run")
    interrupt_twice(process)
    wait_stderr(process, "once more to stop waiting")
    process.send_signal(signal.SIGINT)
    assert taskctl.end(process)[0] == 130
    assert [(x["line"], x["interrupted"]) for x in rows(results.read_text())] == [(1, True), (2, True)]
    go.touch()
    status, _, err = taskctl("batch", file, "--results", str(results))
    assert status == 0, err
    check_each_once(results, 2)
    assert count(mark) == 4


def test_cancelled_by_somebody_else(runner, client, taskctl, tmp_path):
    """On purpose: that is a result, also while we are interrupted."""
    runner()
    results, mark, go = tmp_path / "results", tmp_path / "mark", tmp_path / "go"
    file = write(tmp_path / "tasks", *[
        say(str(i), ["append", str(mark), "."], ["wait_for", str(go)]) for i in range(3)])
    process = taskctl.start("batch", file, "--results", str(results), "--name", client.names.unique)
    wait_until(lambda: count(mark) == 3, "all run")
    assert taskctl("cancel", client.names.unique + "-1")[0] == 0
    process.send_signal(signal.SIGINT)
    wait_stderr(process, "no more are sent")
    assert taskctl("cancel", client.names.unique + "-2")[0] == 0
    go.touch()
    assert taskctl.end(process)[0] == 130
    written = results.read_text()
    assert [(x["line"], x["state"], x["interrupted"]) for x in rows(written)] == [
        (1, "cancelled", False), (2, "cancelled", False), (3, "succeeded", False)]
    status, _, err = taskctl("batch", file, "--results", str(results), "--name", client.names.unique)
    assert status == 1 and "all done by earlier starts: succeeded 1 · cancelled 2" in err
    assert results.read_text() == written and count(mark) == 3


def test_cancelled_lines_of_earlier_versions(runner, client, taskctl, tmp_path):
    """They do not say whose wish it was: better once too often than never. The end is torn."""
    runner()
    results = tmp_path / "results"
    file = write(tmp_path / "tasks", *[say(str(i)) for i in range(4)])
    record = '{"line":%d,"id":"x-%d","program":"act","state":"%s","cause":%s%s}\n'
    before = (record % (1, 1, "succeeded", "null", "") + record % (2, 2, "cancelled", '"cancelled"', "") +
              record % (3, 3, "cancelled", '"cancelled"', ',"interrupted":false'))
    results.write_text(before + '{"line":4,"id":"x-4","program":"act","state":"canc')
    status, _, err = taskctl("batch", file, "--results", str(results))
    assert status == 1
    assert "4 of 4: succeeded 3 · cancelled 1, 2 by earlier starts" in err
    assert results.read_text().startswith(before)
    assert [(x["line"], x["state"]) for x in rows(results.read_text())[3:]] == [
        (2, "succeeded"), (4, "succeeded")]


def test_interrupted_without_a_file(runner, client, taskctl, tmp_path):
    """There is no next start: whoever reads gets a line for all that were asked for."""
    runner()
    mark = tmp_path / "mark"
    file = write(tmp_path / "tasks", *[
        say(str(i), ["append", str(mark), "."], *([["sleep", 100]] if i != 1 else [])) for i in range(3)])
    process = taskctl.start("batch", file)
    wait_until(lambda: count(mark) == 3, "all run")
    status, out, _ = taskctl.end(interrupt_twice(process))
    assert status == 130
    assert [(x["line"], x["interrupted"]) for x in rows(out) if x["line"] != 2] == [(1, True), (3, True)]
    assert [x["line"] for x in rows(out)] == [1, 2, 3]


# What is shown

PARTS = r"(failed|cancelled|running|waiting|succeeded) \d+"


@pytest.mark.parametrize("columns, cells, always", [
    (200, 24, r"(\S+/s · [^·]+ left · )?\d+ of 400"), (80, 10, r"(\S+/s · [^·]+ left · )?\d+ of 400"),
    (40, 5, r"(\S+/s · [^·]+ left|0 of 400)"), (24, 3, r"(\S+/s|0 of 400)"), (8, 0, "")])
def test_progress_fits(runner, client, taskctl, tmp_path, columns, cells, always):
    """Rate and remaining time first; what has no room is left out, and nothing is cut."""
    runner()
    fail = {"program": "act", "input": {"steps": [["exit", 1]]}}
    file = write(tmp_path / "tasks", *[fail if i % 3 == 2 else say("x", ["sleep", 0.05])
                                       for i in range(400)])
    with screen(columns) as s:
        process = start_on(s, taskctl, "batch", file, "--results", str(tmp_path / "results"))
        wait_until(lambda: (s.read(), (tmp_path / "results").exists() and
                            len((tmp_path / "results").read_bytes().splitlines()) > 60)[1], "some are done")
        process.send_signal(signal.SIGINT)
        assert s.end(process) == 130
    frames, lines = s.frames()
    if cells == 0:
        assert frames == []
        return
    assert len(frames) > 3
    form = r"\[[#.]{%d}\] +\d+%% %s( · .*)?" % (cells, always)
    for frame in frames:
        assert len(frame) < columns, frame
        assert re.fullmatch(form, frame), frame
        for part in frame.split("] ")[1].split("% ")[1].split(" · "):
            assert re.fullmatch(r"\S+/s|.* left|\d+ of 400|" + PARTS, part), frame
    if columns >= 80:
        assert any("/s · " in f and " left · " in f and "failed" in f and "running" in f for f in frames)
    assert re.fullmatch(r"taskctl: \d+ of 400: (%s · )+\S+/s" % PARTS, lines[-1]), lines


def test_two_at_once(runner, client, taskctl, tmp_path):
    runner()
    results, go = tmp_path / "results", tmp_path / "go"
    file = write(tmp_path / "tasks", say("0", ["wait_for", str(go)]))
    process = taskctl.start("batch", file, "--results", str(results))
    wait_until(lambda: results.exists(), "it writes")
    status, _, err = taskctl("batch", file, "--results", str(results))
    assert status == 6 and "another taskctl" in err
    go.touch()
    assert taskctl.end(process)[0] == 0


# Much

def test_many(runner, client, taskctl, tmp_path):
    """A file that is larger than what is in memory of it."""
    runner(programs={"true": {"argv": ["/bin/true"]}}, queues=[{"name": client.names.queue, "slots": 8}],
           log={"level": "info"})
    n = 2000
    file = tmp_path / "tasks"
    file.write_bytes(lines_of(*[{"program": "true", "input": "x" * 1000} for _ in range(n)]))
    results = tmp_path / "results"
    process = taskctl.start("batch", str(file), "--results", str(results), "--window", "50")
    status, _, err = taskctl.end(process)
    assert status == 0, err
    assert [x["line"] for x in rows(results.read_text())] == list(range(1, n + 1))
    wait_until(lambda: client.count(client.names.dead_letters) == 0, "nothing was left over")
