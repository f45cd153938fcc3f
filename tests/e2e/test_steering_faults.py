# SPDX-License-Identifier: Apache-2.0
"""Hold, play, drain and slots at bad moments: nothing is stuck, lost, or without bound."""

import uuid

import pika
import pytest

from support.client import Client
from support.runner import base_config, steps
from support.waiting import wait_until

LEASE = {"park_after": "60s", "lease": "60s"}


@pytest.fixture
def fleet(broker, names, tmp_path, clients, start_runner):
    """fleet(n, …): n runners on one queue, and a client; all is killed at the end."""
    used = []

    def start(n, on=broker, slots=4, heartbeat="4s", **sections):
        if not used:
            used.append(Client(on, names))
            clients.append(used[0])
            used[0].may_repeat = True
        runners = []
        for _ in range(n):
            config = base_config(on, names, tmp_path / "run")
            config["broker"]["heartbeat"] = heartbeat
            config["queues"][0]["slots"] = slots
            config["delivery"] = LEASE
            for section, values in sections.items():
                config[section] = {**config.get(section, {}), **values}
            runners.append(start_runner(on, used[0], config, name=config["name"]))
        return (used[0], *runners)

    yield start
    for client in used:
        client.control({"op": "undrain", "all": True})
        client.control({"op": "kill", "all": True})


def given_back_by_another(client, names):
    """A request as another runner gives it back, which says nothing of it: so it is asked about."""
    id = str(uuid.uuid4())
    client.submit("act", steps(["output", "x"]), id=id,
                  properties={"headers": {"x-tr-holder": "00000000000000aa"}})
    return id


def test_drain_and_undrain_while_requests_come(fleet, names):
    """What comes between a drain and the closing of the consumers goes back, or through the same gate
    as everything else."""
    client, r = fleet(1, slots=50, heartbeat="1s")
    ids = []
    for _ in range(40):
        for op in ("drain", "undrain"):
            ids += [given_back_by_another(client, names), client.submit("act", steps())]
            client.control({"op": op, "runner": r.name})
    for id in ids:
        assert client.final(id).status == "SUCCESS"
    assert client.count(names.queue) == 0


def test_fewer_slots_than_run(fleet, names, tmp_path):
    """Nothing more is taken; others get it."""
    gate = tmp_path / "gate"
    client, first = fleet(1)
    running = [client.submit("act", steps(["progress", "up"], ["wait_for", str(gate)]))
               for _ in range(4)]
    for id in running:
        client.wait_progress(id)
    client.ask("set-slots", all=True, slots=0)
    more = [client.submit("act", steps()) for _ in range(6)]
    gate.touch()
    for id in running:
        assert client.final(id).status == "SUCCESS"
    client.heard()
    assert client.count(names.queue) == 6 and client.ask("list") == []
    _, second = fleet(1)
    for id in more:
        assert client.final(id).headers["x-tr-runner"] == second.name
    client.ask("set-slots", runner=first.name, slots=2)
    client.ask("drain", runner=second.name)
    assert client.run("act", steps())[-1].headers["x-tr-runner"] == first.name


@pytest.mark.parametrize("how", [{"op": "drain"}, {"op": "set-slots", "slots": 0}],
                         ids=["drain", "slots"])
def test_lost_connection_of_a_runner_that_takes_nothing(fleet, broker, names, tmp_path, how):
    """What it runs is parked first: without consumers of its queue nothing would bring it home."""
    gate = tmp_path / "gate"
    client, r = fleet(1)
    id = client.submit("act", steps(["progress", "up"], ["wait_for", str(gate)], ["output", "x"]))
    client.wait_progress(id)
    client.ask(all=True, **how)
    r.wait_log("request.parked", id)
    broker.ctl("close_all_connections", "test")
    client.reconnect()
    r.wait_log("request.adopted", id)
    gate.touch()
    assert client.final(id).output == b"x"
    assert r.log.count("task.started") == 1 and "task.fenced" not in r.log


def test_played_while_a_copy_is_under_way(fleet, own_broker, names, tmp_path):
    """The copy says that it is held. Another follows at once, so that whoever gets it after us knows
    that it was played."""
    def say(**headers):
        connection = own_broker.connect()
        connection.channel().basic_publish(names.control, "", b"", pika.BasicProperties(
            headers={"x-tr-" + name: value for name, value in headers.items()}))
        return connection

    gate = tmp_path / "gate"
    client, first = fleet(1, on=own_broker)
    client.ask("set-slots", all=True, slots=0)
    id = client.submit("act", steps(["wait_for", str(gate)], ["output", "x"]), hold=True)
    client.wait(lambda: client.count(names.queue) == 1, "it is in the queue")
    own_broker.alarm(True)
    said = [say(op="set-slots", all="true", slots="1")]
    first.wait_log("task.held", id)
    said.append(say(op="play", id=id))
    first.wait_log("task.started", id)
    own_broker.alarm(False)
    wait_until(lambda: "request.renewed task=%s copy=2" % id in first.log, "a second copy")
    first.kill()
    gate.touch()
    _, second = fleet(1, on=own_broker)
    assert client.final(id, 60).output == b"x"
    assert client.final(id).headers["x-tr-attempt"] == 2
    for connection in said:
        connection.close()


def test_bound_of_what_is_held(fleet, names):
    """Five are kept without a slot; the sixth takes the only one."""
    client, r = fleet(1, slots=1, limits={"held": 5})
    held = [client.submit("act", steps(), hold=True) for _ in range(30)]
    client.wait(lambda: len(client.ask("list")) == 6, "six are here")
    client.heard()
    assert client.count(names.queue) == 24
    _, second = fleet(1, slots=1, limits={"held": 5})
    client.wait(lambda: len(client.ask("list", runners=2)) == 12, "six more are there")

    def all_have_begun():
        client.ask("play", runners=2, all=True)
        client.pump(0.1)
        return all(client.by_id[id] for id in held)

    client.wait(all_have_begun, "all are played")
    for id in held:
        assert client.final(id).status == "SUCCESS"
    assert {client.final(id).headers["x-tr-runner"] for id in held} == {r.name, second.name}
    # Also those whose copy was under way when they were given back: nobody had to be asked.
    assert "request.suspect" not in r.log + second.log


def test_bytes_of_what_is_held(fleet, names):
    client, r = fleet(1, slots=1, limits={"input": "1MiB"})
    for _ in range(20):
        client.submit("act", b"x" * 600000, hold=True)
    client.wait(lambda: "slot=one" in r.log, "one takes the slot")
    client.heard()
    assert 1 < len(client.ask("list")) < 8


def test_cancel_of_what_is_held_and_not_here(fleet, broker, names):
    """Between two connections it is on its way to the runner; the cancel is done when it has come."""
    client, r = fleet(1)
    ids = [client.submit("act", steps(), hold=True) for _ in range(20)]
    client.wait(lambda: r.log.count("request.parked") == 20, "all are parked")
    for _ in range(3):
        broker.ctl("close_all_connections", "test")
        client.reconnect()
        for id in ids:
            client.cancel(id)

    def all_are_over():  # what nobody heard is said again, as every sender does
        for id in ids:
            if not client.by_id[id]:
                client.cancel(id)
        client.pump(0.2)
        return all(client.by_id[id] for id in ids)

    client.wait(all_are_over, "all are cancelled")
    for id in ids:
        assert client.final(id).status == "CANCELLED"
    assert "task.started" not in r.log


def test_program_of_a_held_request_is_that_of_its_start(fleet, names):
    client, r = fleet(1)
    id = client.submit("later", b"", hold=True)
    client.wait(lambda: client.ask("list"), "it is here")
    with open(r.config_file) as f:
        text = f.read()
    with open(r.config_file, "w") as f:
        f.write(text.replace('"act": {', '"later": {"argv": ["/bin/true"], "pipe_arguments": "none"}, '
                             '"act": {'))
    assert client.ask("reload", all=True)[0]["result"] == "accepted"
    client.ask("play", id=id)
    assert client.final(id).status == "SUCCESS"
