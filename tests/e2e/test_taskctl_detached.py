# SPDX-License-Identifier: Apache-2.0
"""Tasks that are asked for now and looked at later: taskctl submit, wait, result, logs, follow."""

import json
import threading

import pytest

from support.runner import SOON, act, steps
from support.taskctl import Taskctl, wait_stderr
from support.waiting import DEADLINE, wait_until

HANG = steps(["progress", '{"fraction": 0.25, "message": "started"}'], ["sleep", 200])


@pytest.fixture
def taskctl(request, tmp_path, names):
    directory = tmp_path / "taskctl"
    directory.mkdir()
    t = Taskctl(directory, request.getfixturevalue("broker"), names)
    yield t
    t.stop()


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


# Trouble

def test_wait_through_a_restart_of_the_broker(own_broker, names, tmp_path, clients, start_runner):
    from support.client import Client
    from support.runner import base_config
    taskctl = Taskctl(tmp_path, own_broker, names)
    clients.append(Client(own_broker, names))
    r = start_runner(own_broker, clients[0], base_config(own_broker, names, tmp_path / "run"))
    file = tmp_path / "go"
    id = submit(taskctl, "act", input=steps(["wait_for", str(file)], ["output", "after all"]))
    waiting = taskctl.start("wait", id, "-o", "json")
    wait_until(lambda: kept(clients[0], id), "it runs")
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
