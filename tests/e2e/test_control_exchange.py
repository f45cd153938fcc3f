# SPDX-License-Identifier: Apache-2.0
"""The control exchange is missing, is deleted, comes back, or may not be used: tasks go on, and the
runner is heard and reached again as soon as it can be."""

import uuid

import pytest

from support.runner import steps
from support.waiting import wait_until

AWAY = "STATUS=Taking requests; control messages cannot reach it"
WELL = "STATUS=Taking requests"
GIVEN_BACK = {"headers": {"x-tr-holder": "00000000000000aa"}}


@pytest.fixture
def start(runner, client):
    """start(control={…}, broker={…}): a runner that others wait for only 8 s."""
    def start(broker=None, **sections):
        client.may_repeat = True
        return runner(broker={"heartbeat": "4s", **(broker or {})}, **sections)
    return start


@pytest.fixture
def user(broker):
    """user(configure, write, read): one with these rights, which can be changed."""
    made = []

    def permit(name, *rights):
        broker.ctl("set_permissions", name, *rights)

    def make(*rights):
        made.append("user-" + uuid.uuid4().hex[:8])
        broker.ctl("add_user", made[-1], "secret-of-user")
        permit(made[-1], *rights)
        return {"username": made[-1], "password": "secret-of-user"}

    make.permit = permit
    yield make
    for name in made:
        broker.ctl("delete_user", name)


def declare(client):
    client.channel.exchange_declare(client.names.control, "fanout", durable=True)


def delete(client):
    client.channel.exchange_delete(client.names.control)


def gated(client, gate):
    id = client.submit("act", steps(["progress", "up"], ["wait_for", str(gate)], ["output", "x"]))
    client.wait_progress(id)
    return id


def cancels(client, id):
    """Cancels the task, again and again until it has ended."""
    def ended():
        client.cancel(id)
        client.pump(0.2)
        return client.by_id[id] and client.by_id[id][-1].is_final
    client.wait(ended, "the cancel is heard")
    assert client.by_id[id][-1].status == "CANCELLED"


def works(client, n=3):
    for _ in range(n):
        assert client.run("act", steps(["output", "y"]))[-1].output == b"y"


def others(name):
    """Rights for all but what has this name."""
    return "^(?!%s$).*" % name


# What the runner says

def test_question_without_exchange(start, client, names):
    """Nobody can be asked: what waits for that waits, and all else is answered."""
    declare(client)
    r = start(control={"declare": False})
    delete(client)
    asked = client.submit("act", steps(["output", "x"]), properties=GIVEN_BACK)
    r.wait_log(" error response.held ", names.control)
    works(client)
    assert "broker.unavailable" not in r.log and r.log.count("broker.connected") == 2
    declare(client)
    r.wait_log(" notice response.released")
    assert client.final(asked).output == b"x"
    assert r.log.count(" response.held ") == 1


def test_question_declares_its_exchange(start, client, names):
    r = start()
    delete(client)
    asked = client.submit("act", steps(["output", "x"]), properties=GIVEN_BACK)
    works(client)
    assert client.final(asked).output == b"x"
    assert "broker.unavailable" not in r.log and r.log.count("broker.connected") == 2


def test_question_not_permitted(start, client, user, names):
    rights = user(".*", others(names.control), ".*")
    r = start(broker=rights)
    asked = client.submit("act", steps(["output", "x"]), properties=GIVEN_BACK)
    line = r.wait_log(" error response.held ", names.control)
    assert "refused" in line
    works(client)
    assert "broker.unavailable" not in r.log and r.log.count("broker.connected") == 2
    user.permit(rights["username"], ".*", ".*", ".*")
    r.wait_log(" notice response.released")
    assert client.final(asked).output == b"x"
    assert r.log.count(" response.held ") == 1


# What it hears

@pytest.mark.parametrize("declares", [True, False])
def test_made_anew(start, client, names, tmp_path, declares):
    """At once, so that nobody has seen that it was away."""
    declare(client)
    r = start(control={"declare": declares})
    id = gated(client, tmp_path / "gate")
    delete(client)
    declare(client)
    cancels(client, id)
    assert r.log.count("broker.connected") == 2


def test_deleted_and_declared_again(start, client, names, tmp_path):
    """The runner sees that it is gone, says so once, and makes it again."""
    r = start()
    id = gated(client, tmp_path / "gate")
    delete(client)
    line = r.wait_log(" error control.unreachable ", names.control)
    assert "no exchange" in line
    r.wait_log(" notice control.reachable ", names.control)
    client.cancel(id)
    assert client.final(id).status == "CANCELLED"
    assert r.log.count(" control.unreachable ") == r.log.count(" control.reachable ") == 1
    assert r.log.count("broker.connected") == 2


def test_deleted_by_who_owns_it(start, client, names, tmp_path):
    """declare: false. Tasks that run go on, others are begun, and readiness tells it."""
    declare(client)
    r = start(control={"declare": False})
    running, gate = gated(client, tmp_path / "gate"), tmp_path / "gate"
    delete(client)
    r.wait_log(" error control.unreachable ", names.control)
    wait_until(lambda: r.notify.has(AWAY), "readiness tells it")
    works(client)
    gate.touch()
    assert client.final(running).output == b"x"
    id = client.submit("act", steps(["sleep", 200]))
    client.wait_running(id)
    r.notify.forget()
    declare(client)
    r.wait_log(" notice control.reachable ", names.control)
    wait_until(lambda: r.notify.has(WELL), "readiness tells it")
    client.cancel(id)
    assert client.final(id).status == "CANCELLED"
    assert r.log.count(" control.unreachable ") == 1 and r.log.count("broker.connected") == 2


def test_missing_from_the_start(start, client, broker, names):
    """Said once, also when the connection is lost; the runner is ready."""
    r = start(control={"declare": False})
    assert r.notify.has(AWAY)
    works(client)
    broker.close_all_but_pika()
    r.wait_log("broker.connected", "for=requests", count=2)
    works(client)
    assert r.log.count(" control.unreachable ") == 1
    declare(client)
    r.wait_log(" notice control.reachable ", names.control)
    id = client.submit("act", steps(["sleep", 200]))
    client.cancel(id)
    assert client.final(id).status == "CANCELLED"


@pytest.mark.parametrize("declares", [True, False])
def test_binding_refused(start, client, user, names, declares):
    """It is there, and may not be listened to; until it may."""
    declare(client)
    rights = user(".*", ".*", others(names.control))
    r = start(broker=rights, control={"declare": declares})
    line = r.wait_log(" error control.unreachable ", names.control)
    assert "refused" in line
    assert r.notify.has(AWAY)
    works(client)
    user.permit(rights["username"], ".*", ".*", ".*")
    r.wait_log(" notice control.reachable ", names.control)
    assert [a["runner"] for a in client.ask("ping")] == [r.name]
    assert r.log.count(" control.unreachable ") == 1


def test_declaration_not_permitted(start, client, user, names, tmp_path):
    """One that is there will do. When it is gone, both reasons are said, each once."""
    declare(client)
    r = start(broker=user(others(names.control), ".*", ".*"))
    id = gated(client, tmp_path / "gate")
    assert "control.unreachable" not in r.log
    delete(client)
    r.wait_log(" error control.unreachable ", "no exchange")
    r.wait_log(" error control.unreachable ", "refused")
    works(client)
    declare(client)
    r.wait_log(" notice control.reachable ", names.control)
    client.cancel(id)
    assert client.final(id).status == "CANCELLED"
    assert r.log.count(" control.unreachable ") == 2 and r.log.count("broker.connected") == 2


def test_made_anew_as_another(start, broker, client, names, tmp_path):
    """What somebody else made of another type is no reason to take no requests."""
    r = start()
    id = gated(client, tmp_path / "gate")
    delete(client)
    client.channel.exchange_declare(names.control, "direct", durable=True)
    cancels(client, id)
    broker.close_all_but_pika()
    r.wait_log("broker.connected", "for=requests", count=2)
    works(client)
    assert client.ask("ping")


def test_question_that_nobody_could_hear(start, client, names, tmp_path):
    """The exchange was made anew just before it: asked again, who runs the task answers, and it is not
    started twice."""
    a = start()
    gate = tmp_path / "gate"
    input = steps(["progress", "up"], ["wait_for", str(gate)], ["output", "x"])
    id = client.submit("act", input)
    client.wait_progress(id)
    client.ask("set-slots", all=True, slots=1)
    b = start()
    delete(client)
    declare(client)
    client.submit("act", input, id=id, properties=GIVEN_BACK)
    b.wait_log(" request.suspect ", id)
    b.wait_log(" request.found ", id)
    gate.touch()
    assert client.final(id).output == b"x"
    assert "task.started" not in b.log


def test_word_that_cannot_be_said(start, client, broker, names, tmp_path):
    """After a lost connection nobody else may begin a task, or it must end: where the others cannot be
    told, it is killed, and its request is not kept for ever but comes again."""
    declare(client)
    r = start(control={"declare": False}, delivery={"ack": "hold"})
    gate = tmp_path / "gate"
    id = gated(client, gate)
    delete(client)
    broker.close_all_but_pika()
    r.wait_log(" error task.fenced ", id)
    gate.touch()
    declare(client)
    final = client.final(id)
    assert final.output == b"x" and final.headers["x-tr-attempt"] == 2
