# SPDX-License-Identifier: Apache-2.0
"""Control messages: tasks and runners are looked at and steered."""

import itertools
import json
import os
import platform
import random
import signal
import time
import uuid

import msgpack
import pytest

from support.client import Client
from support.runner import base_config, steps

HANG = steps(["progress", "started"], ["sleep", 200])
SOON = {"heartbeat": "1s"}


@pytest.fixture(autouse=True)
def ending(start_runner, clients):
    """Nothing is left running at the end."""
    yield
    for client in clients:
        client.control({"op": "kill", "all": True})
        client.control({"op": "undrain", "all": True})


def hang(client, **members):
    id = client.submit("act", HANG, **members)
    client.wait_progress(id)
    return id


def one(client, op, **members):
    answers = client.ask(op, **members)
    assert len(answers) == 1, answers
    return answers[0]


# ---- looking ----

def test_status(runner, client):
    r = runner()
    id = hang(client, group="a group", userId="me", projectId="p", labels=["x"])
    said = one(client, "status", id=id)
    assert (said["id"], said["program"], said["state"]) == (id, "act", "running")
    assert (said["group"], said["user"], said["project"], said["labels"]) == (
        "a group", "me", "p", "x")
    assert (said["runner"], said["queue"], said["attempt"]) == (r.name, client.names.queue, 1)
    assert os.readlink("/proc/%d/exe" % said["pid"])
    assert 0 <= said["running_ms"] <= said["age_ms"]
    assert "stdout" not in said


def test_status_with_the_last_lines(runner, client):
    runner()
    id = client.submit("act", steps(["stdout", "one\ntwo\n\0\xff"], ["stderr", "wrong\n"],
                                    ["progress", "started"], ["sleep", 200]))
    client.wait_progress(id)
    client.wait(lambda: "wrong" in one(client, "status", id=id, tail=1000).get("stderr", ""),
                "the last lines")
    assert one(client, "status", id=id, tail=1000)["stdout"].startswith("one\ntwo\n")
    assert one(client, "status", id=id, tail=3)["stderr"] == "ng\n"


def test_status_of_what_has_ended_and_of_nothing(runner, client):
    runner()
    id = client.submit("act", steps())
    client.final(id)
    client.wait(lambda: one(client, "status", id=id)["result"] == "gone", "that it is gone")
    queue = client.private_queue()
    client.control({"op": "status", "id": str(uuid.uuid4())}, reply_to=queue)
    client.heard()
    assert client.count(queue) == 0


def test_list(runner, client):
    first, second = runner(), runner()
    ids = {hang(client, group="odd" if i % 2 else "even") for i in range(6)}
    said = client.ask("list", runners=2)
    assert {a["id"] for a in said} == ids
    assert {a["runner"] for a in said} <= {first.name, second.name}
    assert len(client.ask("list", runners=2, group="odd")) == 3
    assert client.ask("list", runners=2, group="odd", program="other") == []
    mine = [a["id"] for a in said if a["runner"] == first.name]
    assert {a["id"] for a in client.ask("list", runner=first.name)} == set(mine)


def test_in_messagepack(runner, client):
    runner()
    id = hang(client)
    queue = client.private_queue()
    client.control(msgpack.packb({"op": "status", "id": id, "tail": 10}), reply_to=queue,
                   content_type="application/msgpack")
    _, properties, body = client.get(queue)
    said = msgpack.unpackb(body)
    assert properties.content_type == "application/msgpack"
    assert (said["id"], said["state"], said["attempt"]) == (id, "running", 1)


def test_ping(runner, client):
    r = runner()
    hang(client)
    said = one(client, "ping")
    assert (said["result"], said["runner"], said["host"]) == ("pong", r.name, platform.node())
    assert (said["pid"], said["state"]) == (r.pid, "ready")
    assert said["used"] == 1 and said["free"] == said["slots"] - 1
    assert said["queues"] == "%s:%d" % (client.names.queue, said["slots"])
    assert said["uptime_ms"] >= 0 and said["version"]


def test_programs(runner, client, tmp_path):
    directory = tmp_path / "programs"
    directory.mkdir()
    for name, mode in (("run-me", 0o755), ("not-me", 0o644), ("me.py", 0o644)):
        (directory / name).write_text("#!/bin/sh\n")
        (directory / name).chmod(mode)
    runner(program_directories=[str(directory)])
    said = {a["program"]: a["from"] for a in client.ask("programs")}
    assert said["run-me"] == said["me.py"] == str(directory)
    assert said["act"] and "not-me" not in said


# ---- steering tasks ----

def test_cancel_of_a_group(runner, client):
    runner(), runner()
    ids = [hang(client, group="g") for _ in range(4)]
    other = hang(client)
    said = client.ask("cancel", runners=2, group="g")
    assert {a["id"] for a in said} == set(ids)
    assert {a["result"] for a in said} == {"accepted"}
    for id in ids:
        assert client.final(id).status == "CANCELLED"
    assert one(client, "status", id=other)["state"] == "running"


def test_kill_gives_no_grace(runner, client):
    runner(limits={"grace": "300s"})
    id = client.submit("act", steps(["ignore", 15], ["progress", "deaf"], ["sleep", 200]))
    client.wait_progress(id)
    assert one(client, "kill", id=id)["result"] == "accepted"
    assert client.final(id).status == "CANCELLED"
    assert client.final(id).headers["x-tr-signal"] == signal.SIGKILL


def test_kill_of_what_is_being_cancelled(runner, client):
    runner(limits={"grace": "300s"})
    id = client.submit("act", steps(["ignore", 15], ["progress", "deaf"], ["sleep", 200]))
    client.wait_progress(id)
    one(client, "cancel", id=id)
    client.wait(lambda: "CANCELLING" in client.statuses(id), "CANCELLING")
    assert one(client, "kill", id=id)["result"] == "accepted"
    assert client.final(id).status == "CANCELLED"


@pytest.mark.parametrize("name", ["USR1", "SIGUSR1", "10", 10])
def test_signal(runner, client, name):
    runner()
    id = client.submit("act", steps(["on_signal", 10, ["progress", "heard"]],
                                    ["progress", "started"], ["sleep", 200]))
    client.wait_progress(id)
    assert one(client, "signal", id=id, signal=name)["result"] == "accepted"
    client.wait_progress(id, b"heard")


def test_signal_that_is_asked_for_twice_is_sent_once(runner, client):
    runner()
    id = client.submit("act", steps(["on_signal", 10, ["progress", "heard"]],
                                    ["progress", "started"], ["sleep", 200]))
    client.wait_progress(id)
    queue = client.private_queue()
    for _ in range(3):
        client.control({"op": "signal", "id": id, "signal": "USR1"}, queue, "one question")
    for _ in range(3):
        assert json.loads(client.get(queue)[2])["result"] == "accepted"
    client.wait_progress(id, b"heard")
    one(client, "signal", id=id, signal="TERM")
    client.final(id)
    assert sum(r.output == b"heard" for r in client.by_id[id]) == 1


def test_no_such_signal(runner, client):
    runner()
    id = hang(client)
    assert "no such signal" in one(client, "signal", id=id, signal="NONE")["error"]
    assert "no such signal" in one(client, "signal", all=True, signal="0")["error"]


# ---- pause and resume ----

def cpu_ms(client, id):
    return one(client, "status", id=id)["cpu_ms"]


@pytest.fixture(params=["auto", "off"])
def paused(request, runner, client):
    """A task that was paused, with and without control groups."""
    r = runner(cgroups=request.param)
    id = client.submit("act", steps(["progress", "started"], ["fork", ["compute"]], ["compute"]))
    client.wait_progress(id)
    client.wait(lambda: cpu_ms(client, id) > 50, "that it computes")
    assert one(client, "pause", id=id)["result"] == "accepted"
    client.wait(lambda: one(client, "status", id=id)["state"] == "paused", "that it is paused")
    return r, id


def ticks(pid):
    return sum(map(int, open("/proc/%d/stat" % pid).read().rsplit(")", 1)[1].split()[11:13]))


def test_paused_task_uses_no_cpu(client, paused):
    _, id = paused
    pid = one(client, "status", id=id)["pid"]
    before = ticks(pid)
    time.sleep(0.5)
    assert ticks(pid) == before
    assert one(client, "pause", id=id)["result"] == "accepted"
    assert one(client, "ping")["paused"] == 1
    assert one(client, "resume", id=id)["result"] == "accepted"
    client.wait(lambda: ticks(pid) > before + 5, "that it computes again")
    assert one(client, "status", id=id)["state"] == "running"


def test_paused_task_can_be_cancelled(client, paused):
    _, id = paused
    assert one(client, "cancel", id=id)["result"] == "accepted"
    assert client.final(id).status == "CANCELLED"
    assert client.final(id).headers["x-tr-signal"] == signal.SIGTERM


def test_paused_task_can_be_killed(client, paused):
    _, id = paused
    assert one(client, "kill", id=id)["result"] == "accepted"
    assert client.final(id).status == "CANCELLED"


def test_pause_of_all(runner, client):
    runner(), runner()
    ids = [hang(client) for _ in range(6)]
    assert len(client.ask("pause", runners=2, all=True)) == 6
    client.wait(lambda: {a["state"] for a in client.ask("list", runners=2)} == {"paused"}, "all")
    assert len(client.ask("resume", runners=2, program="act")) == 6
    assert {a["state"] for a in client.ask("list", runners=2)} == {"running"}
    assert len(ids) == 6


def test_paused_task_survives_a_restart_of_the_broker(
        own_broker, names, clients, start_runner, tmp_path):
    clients.append(Client(own_broker, names))
    client = clients[-1]
    config = base_config(own_broker, names, tmp_path / "run")
    config["delivery"] = {"park_after": "1s"}
    r = start_runner(own_broker, client, config)
    id = hang(client)
    pid = one(client, "status", id=id)["pid"]
    assert one(client, "pause", id=id)["result"] == "accepted"
    r.wait_log("request.parked", id)
    own_broker.down()
    own_broker.start()
    client.reconnect()
    r.wait_log("request.adopted", id)
    said = one(client, "status", id=id)
    assert (said["state"], said["pid"], said["attempt"]) == ("paused", pid, 1)
    assert one(client, "resume", id=id)["result"] == "accepted"
    assert one(client, "kill", id=id)["result"] == "accepted"
    assert client.final(id).status == "CANCELLED"


# ---- hold and play ----

def test_held_request_takes_no_slot(runner, client):
    runner(queues=[{"name": client.names.queue, "slots": 1}])
    held = [client.submit("act", steps(["output", "played"]), hold=True) for _ in range(5)]
    client.wait(lambda: len(client.ask("list")) == 5, "all are here")
    assert {a["state"] for a in client.ask("list")} == {"held"}
    assert client.run("act", steps())[-1].status == "SUCCESS"
    assert one(client, "ping")["held"] == 5
    assert one(client, "play", id=held[0])["result"] == "accepted"
    assert client.final(held[0]).output == b"played"
    assert len(client.ask("play", all=True)) == 4
    for id in held:
        assert client.final(id).status == "SUCCESS"


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_held_survives_its_runner(runner, client, how):
    first = runner(broker=SOON)
    id, played = [client.submit("act", steps(), hold=True) for _ in range(2)]
    client.wait(lambda: len(client.ask("list")) == 2, "both are here")
    client.wait(lambda: first.log.count("request.parked") == 2, "both are parked")
    first.kill() if how == "killed" else first.stop(client)
    second = runner(broker=SOON)
    client.wait(lambda: [a["state"] for a in client.ask("list")] == ["held", "held"],
                "both are held again")
    assert one(client, "play", id=played)["result"] == "accepted"
    assert client.final(played).status == "SUCCESS"
    client.wait(lambda: [a["id"] for a in client.ask("list")] == [id], "the played one is over")
    assert second.log.count("task.started") == 1
    one(client, "cancel", id=id)
    assert client.final(id).status == "CANCELLED"


def test_held_survives_a_lost_connection(runner, broker, client):
    r = runner(broker=SOON)
    id = client.submit("act", steps(), hold=True)
    r.wait_log("request.parked")
    broker.ctl("close_all_connections", "test")
    client.reconnect()
    r.wait_log("runner.ready")
    client.wait(lambda: r.log.count("broker.connected") >= 4, "a new connection")
    client.wait(lambda: [a["state"] for a in client.ask("list")] == ["held"], "that it is held")
    one(client, "play", id=id)
    assert client.final(id).status == "SUCCESS"


def test_hold_of_what_runs(runner, client):
    runner()
    first = hang(client)
    said = one(client, "hold", id=first)
    assert (said["result"], said["state"]) == ("not-running", "running")


def test_cancel_of_what_is_held(runner, client):
    runner()
    id = client.submit("act", steps(), hold=True)
    client.wait(lambda: client.ask("list"), "it is here")
    assert one(client, "cancel", id=id)["result"] == "accepted"
    client.final(id)
    assert client.statuses(id) == ["CANCELLED"]


# ---- steering runners ----

def test_drain_and_undrain(runner, client):
    r = runner(queues=[{"name": client.names.queue, "slots": 2}])
    id = hang(client)
    held = client.submit("act", steps(), hold=True)
    client.wait(lambda: len(client.ask("list")) == 2, "both are here")
    assert one(client, "drain", runner=r.name)["result"] == "accepted"
    assert one(client, "ping")["state"] == "draining"
    client.wait(lambda: [a["id"] for a in client.ask("list")] == [id], "the held one is given back")
    waiting = client.submit("act", steps())
    one(client, "cancel", id=id)
    assert client.final(id).status == "CANCELLED"
    client.wait(lambda: client.count(client.names.queue) == 2, "nothing is taken")
    assert one(client, "undrain", all=True)["result"] == "accepted"
    assert client.final(waiting).status == "SUCCESS"
    client.wait(lambda: one(client, "ping")["held"] == 1, "the held one is back")
    one(client, "play", id=held)
    assert client.final(held).status == "SUCCESS"


def test_drain_of_one_of_two(runner, client):
    first, second = runner(), runner()
    assert len(client.ask("drain", runner=first.name)) == 1
    for _ in range(8):
        assert client.run("act", steps())[-1].headers["x-tr-runner"] == second.name


def test_set_slots(runner, client):
    runner(queues=[{"name": client.names.queue, "slots": 1}])
    ids = [client.submit("act", HANG) for _ in range(6)]
    started = lambda: sum(bool(client.by_id[id]) for id in ids)
    client.wait(lambda: started() == 1, "one runs")
    assert one(client, "set-slots", all=True, slots=4)["result"] == "accepted"
    client.wait(lambda: started() == 4, "four run")
    assert one(client, "ping")["slots"] == 4
    assert one(client, "set-slots", all=True, slots="2", queue=client.names.queue)[
        "result"] == "accepted"
    running = [id for id in ids if client.by_id[id]]
    for id in running[:2]:
        client.cancel(id)
        client.final(id)
    client.heard()
    assert started() == 4
    for id in running[2:]:
        client.cancel(id)
        client.final(id)
    client.wait(lambda: started() == 6, "the last two run")
    assert "no such queue" in one(client, "set-slots", all=True, slots=1, queue="other")["error"]


def test_no_slots_is_a_pause_of_the_queue(runner, client):
    runner()
    one(client, "set-slots", all=True, slots=0)
    id = client.submit("act", steps())
    client.heard()
    assert client.count(client.names.queue) == 1
    one(client, "set-slots", all=True, slots=1)
    assert client.final(id).status == "SUCCESS"


def test_reload(runner, client, tmp_path):
    r = runner()
    assert one(client, "reload", all=True)["result"] == "accepted"
    r.wait_log("config.reloaded")
    with open(r.config_file, "a") as f:
        f.write("\nunknown: 1\n")
    assert "YAML" in one(client, "reload", all=True)["error"]
    assert client.run("act", steps())[-1].status == "SUCCESS"


# ---- what is no message ----

WRONG = [
    (b"", "op is missing"), (b"\0", "not a JSON object"), (b"[]", "not a JSON object"),
    ({"op": "list", "id": ["x"]}, "not a string"), ({"op": "pause"}, "id is missing"),
    ({"op": "kill", "all": "yes"}, "all can only"), ({"op": "drain"}, "runner is missing"),
    ({"op": "cancel", "id": "a/b"}, "id is none"), ({"op": "cancel", "id": "x", "all": True}, "alone"),
    ({"op": "set-slots", "all": True}, "slots is missing"),
    ({"op": "set-slots", "all": True, "slots": 1e9}, "slots must be"),
    ({"op": "status", "id": "x", "tail": "much"}, "tail must be"),
    ({"op": "cancel", "id": "x", "queued": 60}, "queued goes with"),
    ({"op": "cancel", "all": True, "queued": "for ever"}, "queued must be"),
    ({"op": "hold", "group": "g", "queued": 60}, "queued is for"),
    ({"op": "kill", "group": "g", "usr": "u"}, "has no 'usr'"),
    ({"op": "list", "labels": ["gpu"]}, "has no 'labels'"),
]


@pytest.mark.parametrize("message,problem", WRONG, ids=itertools.count())
def test_malformed(runner, client, message, problem):
    r = runner()
    id = hang(client)
    queue = client.private_queue()
    client.control(message, reply_to=queue)
    said = json.loads(client.get(queue)[2]) if message else client.get(queue)[1].headers
    text = said["error"] if message else said["x-tr-error"]
    assert problem in text and r.name in said.values()
    assert one(client, "status", id=id)["state"] == "running"
    assert one(client, "ping")["slots"] == one(client, "ping")["used"] + one(client, "ping")["free"]


OPS = ["cancel", "kill", "pause", "resume", "hold", "play", "signal", "status", "list", "ping",
       "programs", "drain", "undrain", "set-slots", "reload", "who-has", "holder", "back", "free"]


def mutated(rng, id):
    """A message of some operation with something cut, doubled, exchanged or flipped."""
    message = {"op": rng.choice(OPS), rng.choice(["id", "group", "runner", "all"]): id,
               rng.choice(["signal", "slots", "tail", "queue", "x"]): rng.choice([1, "1", [], {}, -1])}
    body = bytearray(rng.choice([json.dumps(message).encode(), msgpack.packb(message)]))
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(body))
        rng.choice([lambda: body.__delitem__(slice(at, at + 3)),
                    lambda: body.__setitem__(at, rng.randrange(256)),
                    lambda: body.insert(at, rng.randrange(256)),
                    lambda: body.extend(body[:at])])()
    return bytes(body) or b"?"


def test_mutated_messages(runner, client):
    """Whatever comes, nothing but what was asked for well happens, and who asks is answered: those
    that are for this task by mistake are for another id, which nobody has."""
    r = runner(queues=[{"name": client.names.queue, "slots": 3}])
    id = hang(client)
    rng, queue = random.Random(5), client.private_queue()
    for i in range(1500):
        client.control(mutated(rng, "not-" + id), reply_to=queue,
                       content_type=rng.choice(["application/json", "application/msgpack", None]))
    client.heard()
    assert client.count(queue) > 1000  # most were wrong
    assert one(client, "status", id=id)["state"] == "running"
    said = one(client, "ping")
    assert (said["runner"], said["slots"], said["used"], said["state"]) == (r.name, 3, 1, "ready")
    assert client.run("act", steps())[-1].status == "SUCCESS"
