# SPDX-License-Identifier: Apache-2.0
"""Tasks that are asked for now and looked at later: taskctl submit, wait, result, logs, follow."""

import fcntl
import json
import os
import pty
import re
import select
import struct
import termios
import threading

import pytest

from support.runner import SOON, act, steps
from support.taskctl import Taskctl, wait_stderr, wait_stdout
from support.waiting import DEADLINE, wait_until

HANG = steps(["progress", '{"fraction": 0.25, "message": "started"}'], ["sleep", 200])


def submit(taskctl, *arguments, input=None, **more):
    status, out, err = taskctl("submit", *arguments, *(("-i", "-") if input else ()), input=input,
                               **more)
    assert (status, err) == (0, ""), err
    return out.decode().strip()


def rows(out):
    return [json.loads(line) for line in out.decode().splitlines()]


def kept(client, id):
    return client.count("taskctl." + id)


# Asking

def test_submit_wait_result(runner, client, taskctl):
    """The result is kept for whoever comes, as often as it is asked for."""
    r = runner(programs={"back": act(["read"], ["output_input"])})
    id = submit(taskctl, "back", input=b"\0bytes\xff")
    status, out, err = taskctl("wait", id, "-o", "json")
    row, = rows(out)
    assert (status, err, row["id"], row["state"], row["runner"]) == (0, "", id, "succeeded", r.name)
    for _ in range(3):
        assert taskctl("result", id) == (0, b"\0bytes\xff", "")
    assert taskctl("result", "--remove", id) == (0, b"\0bytes\xff", "")
    status, out, err = taskctl("result", id)
    assert (status, out) == (4, b"") and "nothing is kept for it" in err
    assert taskctl("wait", id)[0] == 4


def test_submit_tells_what_it_made(runner, client, taskctl):
    runner()
    status, out, _ = taskctl("submit", "act", "--id", "mine", "-g", "all of them", "-o", "json", "-i", "-",
                             input=steps())
    assert status == 0
    assert rows(out) == [{"id": "mine", "program": "act", "group": "all of them",
                          "mailbox": "taskctl.mine"}]
    status, out, err = taskctl("submit", "act", "--id", "mine")
    assert (status, out) == (4, b"") and "already" in err


def test_request_has_all_that_is_asked(client, taskctl):
    """No runner: the request is looked at."""
    taskctl("submit", "act", "--id", "x", "-g", "G", "--labels", "gpu,matlab", "-p", "3", "--depth", "4",
            "--hold", "--user", "me", "--project", "P", "-t", "90s")
    method, properties, body = client.channel.basic_get(client.names.queue, auto_ack=True)
    request = json.loads(body)
    assert request == {**request, "id": "x", "script": "act", "group": "G", "labels": ["gpu", "matlab"],
                       "depth": 4, "hold": True, "userId": "me", "projectId": "P",
                       "timeoutSeconds": 90, "routingKey": "taskctl.x"}
    assert properties.priority == 7
    assert properties.reply_to is None
    assert properties.headers["x-tr-sent"] > 1.6e12
    taskctl("submit", "act", "-p", "8", "--depth", "90")
    assert client.channel.basic_get(client.names.queue, auto_ack=True)[1].priority == 9
    taskctl("submit", "act")
    assert client.channel.basic_get(client.names.queue, auto_ack=True)[1].priority is None


@pytest.mark.parametrize("arguments, said", [
    (["-p", "10"], "--priority"), (["--depth", "-1"], "--depth"), (["--depth", "101"], "--depth"),
    (["-g", ""], "--group"), (["--keep", "long"], "--keep")])
def test_wrong_usage(taskctl, client, arguments, said):
    status, out, err = taskctl("submit", "act", *arguments)
    assert (status, out) == (2, b"") and said in err


def test_nowhere_to_go(taskctl, client):
    """Nothing is left behind, and it is told which of the two is missing."""
    status, _, err = taskctl("submit", "--queue", "no-such-queue", "act", "--id", "lost", defaults=False,
                             environment={"TASKCTL_RESPONSES": client.names.responses})
    assert status == 4 and "no queue 'no-such-queue'" in err
    assert taskctl("result", "lost")[0] == 4
    status, _, err = taskctl("submit", "act", "--responses", "no-such-exchange")
    assert status == 4 and "no-such-exchange" in err


# Ends

def test_every_end_is_told(runner, client, taskctl):
    runner()
    ids = {name: submit(taskctl, "act", *arguments, input=input) for name, arguments, input in (
        ("good", [], steps(["output", "fine"])), ("bad", [], steps(["stderr", "oh\n"], ["exit", 3])),
        ("late", ["-t", "300ms"], HANG), ("gone", [], HANG))}
    taskctl("cancel", ids["gone"])
    expected = {"good": 0, "bad": 1, "late": 5, "gone": 130}
    for name, status in expected.items():
        assert taskctl("wait", ids[name])[0] == status
        assert taskctl("result", ids[name])[0] == status
    status, out, _ = taskctl("wait", *ids.values(), *ids.values(), "-o", "json")
    assert status == 130
    assert {r["id"]: r["state"] for r in rows(out)} == {
        ids["good"]: "succeeded", ids["bad"]: "failed", ids["late"]: "failed", ids["gone"]: "cancelled"}
    assert {r["cause"] for r in rows(out)} == {None, "exited", "timed-out", "cancelled"}
    status, out, err = taskctl("result", ids["bad"])
    assert out == b"" and "oh" in err.splitlines() and "(exited)" in err


def test_not_ended_yet(runner, client, taskctl):
    runner()
    id = submit(taskctl, "act", input=HANG)
    status, out, err = taskctl("result", id)
    assert (status, out) == (5, b"") and "has not ended yet" in err
    status, out, err = taskctl("wait", id, "--timeout", "300ms")
    assert (status, out) == (5, b"") and "not ended: 1 of 1" in err
    waiting = taskctl.start("result", "--wait", id)
    taskctl("cancel", id)
    assert taskctl.end(waiting)[0] == 130


def test_any(runner, client, taskctl):
    runner()
    slow, quick = submit(taskctl, "act", input=HANG), submit(taskctl, "act", input=steps())
    status, out, _ = taskctl("wait", "--any", slow, quick, "-o", "json")
    assert status == 0 and [r["id"] for r in rows(out)] == [quick]
    taskctl("cancel", slow)
    assert taskctl("wait", slow)[0] == 130


def test_readers_do_not_take_from_each_other(runner, client, taskctl):
    """Each sees everything, in order, however many there are."""
    runner()
    progress = [["progress", '{"message": "record %d"}' % i] for i in range(200)]
    id = submit(taskctl, "act", input=steps(*progress, ["output", "all"]))
    assert taskctl("wait", id)[0] == 0
    before = wait_until(lambda: kept(client, id), "what is kept")
    results = []
    readers = [threading.Thread(target=lambda: results.append(taskctl("result", id)))
               for _ in range(6)]
    [r.start() for r in readers]
    [r.join(DEADLINE) for r in readers]
    assert results == [(0, b"all", "")] * 6
    wait_until(lambda: kept(client, id) == before, "all are back")
    sequence = []
    while True:
        method, properties, body = client.channel.basic_get("taskctl." + id)
        if not method:
            break
        sequence.append(properties.headers["x-tr-sequence"])
    assert sequence == list(range(1, before + 1))


# What it writes

def test_logs_of_what_has_ended(runner, client, taskctl):
    runner()
    id = submit(taskctl, "act", input=steps(["stdout", "to out\n"], ["stderr", "to err\n"], ["exit", 1]))
    taskctl("wait", id)
    for arguments in ([], ["-f"]):
        assert taskctl("logs", id, *arguments) == (0, b"to out\n", "to err\n")
    status, out, err = taskctl("logs", "never was")
    assert (status, out) == (4, b"") and "no runner has it" in err


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "not kept"])
def test_logs_while_it_runs(runner, client, taskctl, tmp_path, kept):
    """Each line once, whoever asked for the task."""
    runner()
    go = [tmp_path / ("go-%d" % i) for i in range(3)]
    work = steps(["stdout", "tick\n"], ["progress", "x"], ["wait_for", str(go[0])], ["stdout", "tick\n"],
                 ["progress", "y"], ["wait_for", str(go[1])], ["stdout", "tick\ntack\n"],
                 ["wait_for", str(go[2])], ["stdout", "end\n"])
    id = submit(taskctl, "act", input=work) if kept else client.submit("act", work)
    wait_until(lambda: taskctl("logs", id)[1] == b"tick\n", "its first line")
    process = taskctl.start("logs", "-f", id)
    wait_stdout(process, "tick")
    go[0].touch()
    go[1].touch()
    seen = wait_stdout(process, "tack")
    go[2].touch()
    if not kept:
        client.final(id)
    status, out, err = taskctl.end(process)
    assert status == 0
    if kept:
        assert seen.endswith("tick\ntack\n") and out == b"end\n"


# Following

def test_follow_in_a_pipe(runner, client, taskctl, tmp_path):
    """A line for each change, and the worst end is the status."""
    runner()
    good = submit(taskctl, "act", input=steps(["progress", '{"fraction": 0.5, "message": "half"}'],
                                              ["stdout", "a line\n"], ["progress", "x"]))
    bad = submit(taskctl, "act", input=steps(["exit", 1]))
    status, out, err = taskctl("follow", good, bad, "-o", "json")
    assert status == 1
    last = {r["id"]: r for r in rows(out)}
    assert last[good]["state"] == "succeeded" and last[good]["log"] == "a line"
    assert (last[bad]["state"], last[bad]["message"]) == ("failed", "exited")
    for form in ("table", "json"):  # not a word on stdout of what nobody knows
        status, out, err = taskctl("follow", "never was", "-o", form)
        assert (status, out) == (4, b"") and "never was: nothing is kept for it" in err
    shorter = submit(taskctl, "act", "--id", "f" + client.names.unique[:8], input=steps())
    assert taskctl("wait", shorter)[0] == 0
    lines = taskctl("follow", shorter, good)[1].decode().splitlines()
    columns = [[m.start() for m in re.finditer(r"(?<=  )\S|^\S", line)] for line in lines]
    assert len(lines) >= 3 and columns[0][1] == len(good) + 2
    assert all(line[1] == columns[0][1] for line in columns), lines
    assert taskctl("follow")[0] == 2
    assert taskctl("follow", "-g", "G", "x")[0] == 2


def test_follow_a_group(runner, client, taskctl, tmp_path):
    """New tasks are taken up, also those that somebody else asked for."""
    runner()
    go = tmp_path / "go"
    work = steps(["progress", '{"fraction": 0.5}'], ["wait_for", str(go)])
    first = submit(taskctl, "act", "-g", client.names.unique, input=work)
    assert taskctl("follow", "-g", "no such group")[0] == 4
    wait_until(lambda: kept(client, first) >= 2, "it runs")
    process = taskctl.start("follow", "-g", client.names.unique, "-o", "json")
    seen = wait_stdout(process, first, '"running"')
    second = submit(taskctl, "act", "-g", client.names.unique, input=work)
    third = client.submit("act", work, group=client.names.unique)
    client.wait_running(third)
    seen += wait_stdout(process, third, '"running"')
    if '"id":"%s"' % second not in seen:
        seen += wait_stdout(process, second, '"running"')
    go.touch()
    client.final(third)
    status, out, _ = taskctl.end(process)
    last = {r["id"]: r["state"] for r in rows(out)}
    assert status == 0
    assert last[first] == last[second] == "succeeded" and last[third] in ("ended", "ending", "running")


def test_follow_on_a_terminal(runner, client, taskctl, tmp_path):
    """Drawn over itself: as a person sees it at the end, each task has one line."""
    runner()
    go = tmp_path / "go"
    ids = [submit(taskctl, "act", "--id", "task-%d-%s" % (i, client.names.unique), input=steps(
        ["progress", '{"fraction": 0.5, "message": "half"}'], ["wait_for", str(go)])) for i in range(3)]
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    process = taskctl.start("follow", *ids, stdout=theirs, environment={"TERM": "xterm"})
    os.close(theirs)
    screen = Screen(ours)
    wait_until(lambda: screen.read() and all(any(
        id in line and "running" in line and "50%" in line and "half" in line
        for line in screen.lines) for id in ids), lambda: screen.lines)
    go.touch()
    wait_until(lambda: not screen.read() or False, lambda: screen.lines)
    assert process.wait(DEADLINE) == 0
    for id in ids:
        assert [("succeeded" in line) for line in screen.lines if id in line] == [True]
    assert "succeeded 3" in "".join(screen.lines)
    process.stderr.close()
    os.close(ours)


def test_follow_of_more_than_has_room(runner, client, taskctl, tmp_path):
    """How many tasks are not seen is told."""
    runner()
    go = tmp_path / "go"
    ids = [submit(taskctl, "act", "--id", "task-%d" % i, input=steps(["wait_for", str(go)]))
           for i in range(7)]
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 8, 60, 0, 0))
    process = taskctl.start("follow", *ids, stdout=theirs, environment={"TERM": "xterm"})
    os.close(theirs)
    screen = Screen(ours)
    wait_until(lambda: screen.read() and len(screen.lines) == 7 and "running 4" in screen.lines[6],
               lambda: screen.lines)
    assert [line.split()[0] for line in screen.lines[:5]] == ["ID", *ids[:4]]
    assert screen.lines[5] == "… 3 more"
    go.touch()
    wait_until(lambda: not screen.read(), lambda: screen.lines)
    assert process.wait(DEADLINE) == 0
    assert screen.lines[5:7] == ["… 3 more", "succeeded 7"]
    process.stderr.close()
    os.close(ours)


class Screen:
    """What a terminal shows: lines, and the sequences that taskctl uses."""

    def __init__(self, fd):
        self.fd, self.lines, self.row, self.column = fd, [""], 0, 0

    def read(self):
        """False at the end."""
        if not select.select([self.fd], [], [], 0.05)[0]:
            return True
        try:
            text = os.read(self.fd, 65536).decode()
        except OSError:
            return False
        for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", text):
            self.take(part)
        return True

    def take(self, part):
        if part == "\r":
            self.column = 0
        elif part == "\n":
            self.row += 1
            self.lines += [""] * (self.row + 1 - len(self.lines))
        elif part.endswith("A") and part[0] == "\x1b":
            self.row -= int(part[2:-1])
            assert self.row >= 0, "above the top"
        elif part == "\x1b[K":
            self.lines[self.row] = self.lines[self.row][:self.column]
        elif part == "\x1b[J":
            self.lines[self.row] = self.lines[self.row][:self.column]
            del self.lines[self.row + 1:]
        elif part[0] != "\x1b":
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[:self.column] + part + line[self.column + len(part):]
            self.column += len(part)


# Queues

def test_queues(runner, client, taskctl):
    runner(queues=[{"name": client.names.queue, "slots": 1}])
    client.wait_running(client.submit("act", HANG, id="runs"))
    submit(taskctl, "act", "--id", "waits", input=steps())
    status, out, err = taskctl("queues", "--dead-letters", client.names.dead_letters, "-o", "json")
    assert status == 0, err
    assert rows(out) == [
        {"queue": client.names.queue, "waiting": 1, "consumers": 1},
        {"queue": client.names.dead_letters, "waiting": 0, "consumers": 0}]
    client.cancel("runs")
    client.final("runs")
    assert taskctl("wait", "waits")[0] == 0
    status, out, err = taskctl("queues", "no-such-queue")
    assert (status, out) == (4, b"") and "no-such-queue" in err


def test_queues_without_a_runner(taskctl, client):
    status, _, err = taskctl("queues")
    assert status == 4 and "no runner has answered" in err
    client.channel.exchange_declare(client.names.control, "fanout", durable=True)
    status, out, err = taskctl("queues")
    assert (status, out) == (5, b"") and err.count("no runner has answered") == 1
    assert "is one running" in err and "Name the queues" in err


# Trouble

def test_wait_through_a_restart_of_the_broker(own_broker, names, tmp_path, clients, start_runner):
    from support.client import Client
    from support.runner import base_config
    taskctl = Taskctl(tmp_path, own_broker, names)
    clients.append(Client(own_broker, names))
    r = start_runner(own_broker, clients[0], base_config(own_broker, names, tmp_path / "run"))
    file = tmp_path / "go"
    id = submit(taskctl, "act", input=steps(["wait_for", str(file)], ["output", "after all"]))
    over = submit(taskctl, "act", input=steps(["output", "x"]))
    waiting = taskctl.start("wait", id, over, "-o", "json")
    wait_stdout(waiting, over)  # it has looked for both
    own_broker.down()
    wait_stderr(waiting, "lost the connection", "connecting again")
    own_broker.start()
    clients[0].reconnect()
    file.touch()
    status, out, _ = taskctl.end(waiting)
    assert status == 0 and [x["id"] for x in rows(out)] == [id]
    assert taskctl("result", id)[:2] == (0, b"after all")
    taskctl.stop()


def test_runner_killed(runner, client, taskctl, tmp_path):
    """What comes of the second run is the result."""
    first = runner(broker=SOON)
    file = tmp_path / "go"
    id = submit(taskctl, "act", input=steps(["progress", "x"], ["wait_for", str(file)], ["output", "second"]))
    wait_until(lambda: kept(client, id) >= 2, "it runs")
    waiting = taskctl.start("wait", id, "-o", "json")
    first.kill()
    file.touch()
    runner(broker=SOON)
    status, out, _ = taskctl.end(waiting)
    row, = rows(out)
    assert (status, row["state"], row["attempt"]) == (0, "succeeded", 2)
    assert taskctl("result", id)[:2] == (0, b"second")
