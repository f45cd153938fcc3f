# SPDX-License-Identifier: Apache-2.0
"""taskctl ps, status, runners, programs: what runners have and are, as people and programs see it."""

import json
import os
import platform
import signal

import msgpack
import pytest

from support.runner import program, steps
from support.taskctl import Taskctl

HANG = steps(["progress", '{"fraction": 0.25, "message": "a quarter"}'], ["sleep", 200])


@pytest.fixture
def taskctl(request, tmp_path, names):
    directory = tmp_path / "taskctl"
    directory.mkdir()
    t = Taskctl(directory, request.getfixturevalue("broker"), names)
    yield t
    t.stop()


@pytest.fixture(autouse=True)
def ending(start_runner, client):
    """Nothing is left running at the end."""
    yield
    client.channel.exchange_declare(client.names.control, "fanout", durable=True)
    client.control({"op": "kill", "all": True})


def hang(client, **members):
    id = client.submit("act", HANG, **members)
    client.wait_progress(id)
    return id


def records(taskctl, *arguments, status=0, **more):
    code, out, err = taskctl(*arguments, "-o", "json", **more)
    assert code == status, (code, err)
    return [json.loads(line) for line in out.splitlines()]


# ps

def test_ps(runner, client, taskctl):
    first, second = runner(), runner()
    ids = [hang(client, id="task-%d" % i, group="g") for i in range(4)]
    status, out, err = taskctl("ps")
    assert (status, err) == (0, "")
    lines = [line.split() for line in out.decode().splitlines()]
    assert lines[0] == ["ID", "PROGRAM", "STATE", "PROGRESS", "AGE", "CPU", "MEMORY", "RUNNER"]
    assert sorted(line[0] for line in lines[1:]) == ids
    assert {line[-1] for line in lines[1:]} <= {first.name, second.name}
    assert {tuple(line[1:3]) for line in lines[1:]} == {("act", "running")}


def test_ps_for_programs(runner, client, taskctl, tmp_path):
    r = runner()
    id = hang(client, group="g", userId="me", projectId="p", labels=["x"])
    [said] = records(taskctl, "ps")
    [heard] = client.ask("list")
    for fact in ("id", "program", "state", "progress", "message", "pid", "runner", "instance"):
        assert said[fact] == heard.get(fact)
    assert (said["id"], said["program"], said["state"]) == (id, "act", "running")
    assert (said["group"], said["user"], said["project"], said["labels"], said["queue"]) == (
        "g", "me", "p", "x", client.names.queue)
    assert (said["runner"], said["instance"], said["attempt"]) == (r.name, r.instance, 1)
    assert said["priority"] is None and said["age_ms"] >= said["running_ms"] >= 0
    assert os.readlink("/proc/%d/exe" % said["pid"]) and said["memory"] >= 0 and said["cpu_ms"] >= 0
    out = taskctl("ps", "-o", "msgpack")[1]
    assert list(msgpack.unpackb(out)) == list(said)


def test_ps_filters_and_order(runner, client, taskctl):
    runner(), runner()
    for i in range(4):
        hang(client, id="task-%d" % i, group="odd" if i % 2 else "even", userId="u%d" % i)
    held = client.submit("act", steps(), id="held", hold=True, group="odd")
    client.wait(lambda: len(client.ask("list", runners=2)) == 5, "all are here")
    ids = lambda *more: [r["id"] for r in records(taskctl, "ps", *more)]
    assert sorted(ids("--group", "odd")) == ["held", "task-1", "task-3"]
    assert ids("--group", "odd", "--state", "running", "--sort", "id") == ["task-1", "task-3"]
    assert ids("--state", "held,paused") == ["held"]
    assert ids("--user", "u2") == ["task-2"]
    assert ids("--program", "other") == []
    assert ids("--sort", "id", "--reverse") == ["task-3", "task-2", "task-1", "task-0", "held"]
    assert ids("--sort", "state", "--group", "odd")[0] == "held"
    assert sorted(ids("--sort", "age"))[1:] == ["task-%d" % i for i in range(4)]
    client.control({"op": "play", "all": True})
    client.final(held)


def test_ps_long_has_all(runner, client, taskctl):
    r = runner()
    hang(client, group="a group")
    out = taskctl("ps", "--long", "--no-header")[1].decode()
    assert r.instance in out and "a group" in out and client.names.queue in out


def test_ps_of_nothing_and_of_nobody(runner, client, taskctl):
    client.channel.exchange_declare(client.names.control, "fanout", durable=True)
    status, out, err = taskctl("ps", "--wait", "300ms")
    assert (status, out) == (5, b"")
    assert "no runner has answered within 300 ms" in err and "is one running" in err
    runner()
    status, out, err = taskctl("ps")
    assert (status, err) == (0, "") and out.split()[0] == b"ID" and len(out.splitlines()) == 1
    assert taskctl("ps", "--no-header") == (0, b"", "")


def test_ps_without_exchange_and_broker(taskctl, client):
    status, out, err = taskctl("ps")
    assert (status, out) == (4, b"") and err.count("no control exchange") == 1
    assert client.names.control in err and "--control" in err
    status, out, err = taskctl("ps", url="amqp://127.0.0.1:1")
    assert (status, out) == (3, b"") and "no connection to the broker" in err


def test_ps_of_a_frozen_runner(runner, client, taskctl):
    """It was there a moment ago; nobody knows what it has, but that it does not answer is told."""
    first, second = runner(), runner()
    ids = [hang(client) for _ in range(4)]
    mine = [a["id"] for a in client.ask("list", runners=2) if a["runner"] == first.name]
    second.process.send_signal(signal.SIGSTOP)
    try:
        said = records(taskctl, "ps", "--wait", "2s")
    finally:
        second.process.send_signal(signal.SIGCONT)
    assert sorted(r["id"] for r in said) == sorted(mine)
    assert sorted(r["id"] for r in records(taskctl, "ps")) == sorted(ids)


@pytest.mark.parametrize("arguments, told", [
    (["x"], "too much"), (["--state", "x"], "--state: 'x'"), (["--state", ""], "--state"),
    (["--state", "held,"], "--state"), (["--sort", "x"], "--sort: 'x'"), (["--wait", "x"], "--wait")])
def test_ps_usage(taskctl, arguments, told):
    status, out, err = taskctl("ps", *arguments)
    assert (status, out) == (2, b"") and told in err
