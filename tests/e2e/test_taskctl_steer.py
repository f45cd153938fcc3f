# SPDX-License-Identifier: Apache-2.0
"""taskctl cancel, kill, pause, resume, hold, play, signal: who is reached, and what is told of it."""

import json
import signal
import time

import msgpack
import pytest

from support.runner import act, program, steps
from support.taskctl import wait_stderr

pytestmark = pytest.mark.usefixtures("all_killed")
HANG = steps(["progress", "started"], ["sleep", 200])
VERBS = ["cancel", "kill", "pause", "resume", "hold", "play", "signal"]


def hang(client, **members):
    id = client.submit("act", HANG, **members)
    client.wait_progress(id)
    return id


def arguments(verb):
    return [verb, "USR1"] if verb == "signal" else [verb]


def records(taskctl, *arguments, **more):
    code, out, err = taskctl(*arguments, "-o", "json", **more)
    return code, [json.loads(line) for line in out.splitlines()], err


# Ids

@pytest.mark.parametrize("verb", ["cancel", "kill"])
def test_end_by_ids(runner, client, taskctl, verb):
    """All are asked at once, each once, and told in sentences and a sum."""
    r = runner()
    ids = [hang(client, id="task-%d" % i) for i in range(3)]
    status, out, err = taskctl(verb, *ids, ids[0])
    assert status == 0
    assert sorted(out.decode().splitlines()) == ["%s: accepted by %s" % (id, r.name) for id in ids]
    assert err == "taskctl: 3 accepted\n"
    for id in ids:
        assert client.final(id).status == "CANCELLED"
    assert taskctl(verb, ids[0]) == (
        1, ("%s: has ended already, says %s\n" % (ids[0], r.name)).encode(), "")


def test_records(runner, client, taskctl):
    """One for each task, of those, too, that nobody has."""
    r = runner()
    id, ended = hang(client), client.submit("act", steps())
    client.final(ended)
    status, said, err = records(taskctl, "cancel", "--wait", "1s", "nobody's", id, ended)
    assert status == 5
    assert {a["id"]: (a["result"], a["runner"], a["instance"]) for a in said} == {
        id: ("accepted", r.name, r.instance), ended: ("gone", r.name, r.instance),
        "nobody's": ("unanswered", None, None)}
    assert {tuple(a) for a in said} == {("id", "result", "state", "error", "runner", "instance")}
    assert "taskctl: 1 accepted · 1 had ended · 1 not answered\n" in err
    client.final(id)
    packed = taskctl("cancel", id, "-o", "msgpack")[1]
    assert msgpack.unpackb(packed)["result"] == "gone"


@pytest.mark.parametrize("verb", VERBS)
def test_id_that_nobody_has(runner, client, taskctl, verb):
    """A cancel is remembered, all else is not, and that is said."""
    r = runner()
    status, out, err = taskctl(*arguments(verb), "never was", "--wait", "600ms")
    assert (status, out) == (5, b"")
    assert "never was: no runner has it (1 answered)" in err
    remembered = verb in ("cancel", "kill")
    assert ("remember it for a day" in err) == remembered
    assert ("Nothing is remembered" in err) == (not remembered)
    id = client.submit("act", steps(), id="never was")
    assert client.final(id).status == ("CANCELLED" if remembered else "SUCCESS")


def test_signal(runner, client, taskctl, tmp_path):
    runner()
    mark = tmp_path / "mark"
    for number, name in enumerate(("USR1", "sigusr1", "10")):
        id = client.submit("act", steps(["on_signal", 10, ["touch", "%s%d" % (mark, number)],
                                         ["exit", 0]], ["progress", "x"], ["sleep", 200]))
        client.wait_progress(id)
        assert taskctl("signal", name, id)[0] == 0
        assert client.final(id).status == "SUCCESS"
        assert tmp_path.joinpath("mark%d" % number).exists()


def test_hold_and_play(runner, client, taskctl):
    r = runner()
    held = client.submit("act", steps(), id="held", hold=True)
    client.wait(lambda: client.ask("list"), "it is here")
    running = hang(client, id="running")
    status, out, err = taskctl("hold", held, running)
    assert status == 1
    assert sorted(out.decode().splitlines()) == [
        "held: accepted by %s" % r.name,
        "running: cannot be held: it is running, says %s" % r.name]
    assert err == "taskctl: 1 accepted · 1 in no state for it\n"
    [said] = records(taskctl, "hold", running)[1]
    assert (said["result"], said["state"]) == ("not-running", "running")
    assert taskctl("play", held)[:2] == (0, ("held: accepted by %s\n" % r.name).encode())
    assert client.final(held).status == "SUCCESS"


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_pause_of_what_waits(runner, client, taskctl, verb):
    r = runner()
    held = client.submit("act", steps(), id="held", hold=True)
    client.wait(lambda: client.ask("list"), "it is here")
    status, out, err = taskctl(verb, held)
    assert (status, err) == (1, "")
    assert out.decode() == "held: cannot be %sd: it is held, says %s\n" % (verb, r.name)
    client.control({"op": "play", "all": True})
    client.final(held)


def test_what_runs_is_paused_or_it_is_said_why_not(runner, client, taskctl):
    """Whatever the runner answers is what is told."""
    runner()
    id = hang(client)
    [heard] = client.ask("pause", id=id)
    _, [said], _ = records(taskctl, "pause", id)
    assert said["result"] == heard["result"] and said["state"] == heard.get("state")
    status, [said], _ = records(taskctl, "resume", id)
    assert (status, said["result"]) == (0, "accepted")


# Filters

def test_filters(runner, client, taskctl):
    other = {"other": act(["progress", "x"], ["sleep", 200])}
    runner(programs=other), runner(programs=other)
    for i in range(6):
        hang(client, id="t%d" % i, group="g%d" % (i % 3), userId="u%d" % i, projectId="p%d" % i)
    def cancelled(*more, n):
        status, said, err = records(taskctl, "cancel", *more)
        assert status == 0 and err == "taskctl: %d accepted\n" % n
        assert {a["result"] for a in said} == {"accepted"}
        ids = sorted(a["id"] for a in said)
        for id in ids:
            assert client.final(id).status == "CANCELLED"
        return ids
    assert cancelled("--group", "g0", n=2) == ["t0", "t3"]
    assert cancelled("--user", "u1", n=1) == ["t1"]
    assert cancelled("--project", "p2", n=1) == ["t2"]
    status, said, err = records(taskctl, "cancel", "--group", "g2", "--user", "u4")
    assert (status, said) == (1, [])
    assert "no task that a runner has fits (runners that answered: 2)" in err
    rest = client.ask("list", runners=2)
    for name in {a["runner"] for a in rest}:
        mine = sorted(a["id"] for a in rest if a["runner"] == name)
        assert cancelled("--runner", name, n=len(mine)) == mine
    id = client.submit("other")
    client.wait_running(id)
    hang(client, id="act")
    assert cancelled("--program", "other", n=1) == [id]
    assert cancelled("--all", n=1) == ["act"]


def test_nobody_is_there(taskctl, client):
    client.channel.exchange_declare(client.names.control, "fanout", durable=True)
    for filter in (["--all"], ["--runner", "x"]):
        status, out, err = taskctl("cancel", *filter, "--wait", "300ms")
        assert (status, out) == (5, b"")
        assert "no runner has answered within 300 ms" in err
    status, out, err = taskctl("pause", "x", "--wait", "300ms")
    assert (status, out) == (5, b"") and "x: no runner has answered: is one running" in err


@pytest.mark.parametrize("verb", VERBS)
def test_no_exchange(taskctl, client, verb):
    """Said once, however many are meant."""
    for which in (["x", "y"], ["--all"]):
        status, out, err = taskctl(*arguments(verb), *which)
        assert (status, out) == (4, b"")
        assert taskctl.names.control in err and err.count("no control exchange") == 1


def test_no_broker(taskctl):
    status, out, err = taskctl("cancel", "--all", url="amqp://127.0.0.1:1")
    assert (status, out) == (3, b"") and "no connection to the broker" in err


def test_runner_that_falls_silent_is_named(client, taskctl):
    """One that says it is there, and then nothing, beside one that answers."""
    client.channel.exchange_declare(client.names.control, "fanout", durable=True)
    queue = client.private_queue()
    client.channel.queue_bind(queue, client.names.control)
    process = taskctl.start("cancel", "--group", "g", "--wait", "3s", "-o", "json")
    def answer(properties, **facts):
        headers = {"x-tr-" + k.replace("_", "-"): v for k, v in facts.items()}
        client.channel.basic_publish("", properties.reply_to, b"", type(properties)(
            correlation_id=properties.correlation_id, headers=headers))
    for _ in range(2):
        _, properties, _ = client.get(queue)
        if properties.headers["x-tr-op"] == "ping":
            for name in ("good", "silent", "lossy"):
                answer(properties, op="ping", result="pong", runner=name, instance=name)
        else:
            answer(properties, op="cancel", id="t", result="accepted", runner="good", instance="good")
            answer(properties, op="cancel", result="end", count="1", runner="good", instance="good")
            answer(properties, op="cancel", result="end", count="3", runner="lossy", instance="lossy")
    status, out, err = taskctl.end(process)
    assert status == 5
    assert [json.loads(line)["id"] for line in out.splitlines()] == ["t"]
    assert "runner silent is there, but has not said all in time" in err
    assert "runner lossy has told of 0 of 3 only" in err
    assert "taskctl: 1 accepted\n" in err


def test_repeated_answers_are_told_once(client, taskctl):
    """The question is put again while nobody answers; then both may be answered."""
    client.channel.exchange_declare(client.names.control, "fanout", durable=True)
    queue = client.private_queue()
    client.channel.queue_bind(queue, client.names.control)
    process = taskctl.start("kill", "--all", "-o", "json")
    for _ in range(2):
        _, properties, _ = client.get(queue)
        ping = properties.headers["x-tr-op"] == "ping"
        for facts in 2 * ([{"result": "pong"}] if ping else [
                {"id": "t", "result": "accepted"}, {"result": "end", "count": "1"}]):
            headers = {"x-tr-" + k: v for k, v in {**facts, "runner": "r", "instance": "i"}.items()}
            client.channel.basic_publish("", properties.reply_to, b"", type(properties)(
                correlation_id=properties.correlation_id, headers=headers))
    status, out, err = taskctl.end(process)
    assert (status, err) == (0, "taskctl: 1 accepted\n")
    assert len(out.splitlines()) == 1


def test_answers_of_an_enemy(client, taskctl):
    """What is no answer is told, and nothing that it says steers the terminal."""
    client.channel.exchange_declare(client.names.control, "fanout", durable=True)
    queue = client.private_queue()
    client.channel.queue_bind(queue, client.names.control)
    process = taskctl.start("pause", "x", "--wait", "20s")
    _, properties, _ = client.get(queue)
    for body in (b"{", b"{}", b"\xff", b'{"result": 1.5e999}'):
        client.channel.basic_publish("", properties.reply_to, body, type(properties)(
            correlation_id=properties.correlation_id))
    client.channel.basic_publish("", properties.reply_to, json.dumps(
        {"id": "x", "error": "\x1b[31m\nred", "runner": "\x1b]0;r\x07"}).encode(),
        type(properties)(correlation_id=properties.correlation_id))
    status, out, err = taskctl.end(process)
    assert (status, out) == (3, b"")
    assert "not understood" in err and "red" in err and "\x1b" not in err


# Usage

@pytest.mark.parametrize("given, told", [
    (["cancel"], "which tasks?"), (["cancel", "x", "--all"], "not both"), (["kill", "a/b"], "'a/b'"),
    (["pause", "--wait", "soon", "x"], "--wait"), (["signal"], "which signal?"),
    (["signal", "NONE", "x"], "'NONE' is no signal"), (["signal", "0", "x"], "'0' is no signal"),
    (["signal", "USR1"], "which tasks?"), (["hold", "--all", "--group"], "group"),
    (["play", "--output", "x", "y"], "output")])
def test_usage(taskctl, given, told):
    status, out, err = taskctl(*given)
    assert (status, out) == (2, b"")
    assert told in err


# Very many

def test_hundreds_of_ids(runner, client, taskctl):
    """All asked at once: it takes no more than the one wait for those that nobody has."""
    runner()
    held = [client.submit("act", steps(), hold=True) for _ in range(200)]
    client.wait(lambda: len(client.ask("list")) == 200, "all are here")
    unknown = ["unknown-%d" % i for i in range(200)]
    status, said, err = records(taskctl, "cancel", *held, *unknown, "--wait", "1s")
    assert status == 5
    assert {a["id"]: a["result"] for a in said} == {
        **{id: "accepted" for id in held}, **{id: "unanswered" for id in unknown}}
    assert "taskctl: 200 accepted · 200 not answered\n" in err
    for id in held:
        assert client.final(id).status == "CANCELLED"


def test_a_thousand_tasks(runner, client, taskctl, capsys):
    """ps lists each of them, cancel --all ends all, and nothing is left."""
    n = 1000
    r = runner(queues=[{"name": client.names.queue, "slots": n}],
               programs={"nap": program("/bin/sh", "-c", "exec sleep 250")})
    begin = time.monotonic()
    ids = {client.submit("nap") for _ in range(n)}
    started = lambda: r.log.count(" task.started ")
    client.wait(lambda: started() == n, lambda: "%d of %d are started" % (started(), n), 300)
    up = time.monotonic()
    status, listed, err = records(taskctl, "ps")
    looked = time.monotonic()
    assert (status, err) == (0, "")
    assert len(listed) == n and {a["id"] for a in listed} == ids
    assert {a["state"] for a in listed} == {"running"}
    status, said, err = records(taskctl, "cancel", "--all", "--wait", "60s")
    asked = time.monotonic()
    assert (status, err) == (0, "taskctl: %d accepted\n" % n)
    assert {a["id"] for a in said} == ids and {a["result"] for a in said} == {"accepted"}
    client.wait(lambda: all(client.by_id[id] and client.by_id[id][-1].is_final for id in ids),
                "all final responses")
    ended = time.monotonic()
    assert {client.by_id[id][-1].status for id in ids} == {"CANCELLED"}
    client.wait(lambda: not r.processes(ids), "no process is left")
    assert records(taskctl, "ps")[:2] == (0, [])
    with capsys.disabled():
        print("\n%d tasks: started in %.2f s, ps %.3f s, cancel --all %.3f s, all ended after %.3f s"
              % (n, up - begin, looked - up, asked - looked, ended - looked))
