# SPDX-License-Identifier: Apache-2.0
"""Cancelling over the control exchange, and what its senders are told."""

import json
import uuid

import msgpack
import pytest

from support.runner import act, steps

HANG = steps(["progress", "started"], ["sleep", 200])
CANCELLED = ["RUNNING", "RUNNING", "CANCELLING", "CANCELLED"]


def answer(client, queue):
    said = json.loads(client.get(queue)[2])
    assert len(said.pop("instance")) == 16
    return said


def test_answer_of_the_owner(runner, client):
    r = runner()
    queue = client.private_queue()
    id = client.submit("act", HANG)
    client.wait_progress(id)
    client.cancel(id, reply_to=queue, correlation_id="the question")
    _, properties, body = client.get(queue)
    said = json.loads(body)
    assert len(said.pop("instance")) == 16
    assert said == {"op": "cancel", "id": id, "result": "accepted", "runner": r.name}
    assert properties.correlation_id == "the question"
    assert client.final(id).status == "CANCELLED"
    assert client.statuses(id) == CANCELLED


def test_answer_when_it_is_too_late(runner, client):
    """The runner that had the task says so."""
    r = runner()
    queue = client.private_queue()
    id = client.submit("act", steps(["output", "done"]))
    client.final(id)
    client.cancel(id, reply_to=queue)
    assert answer(client, queue) == {
        "op": "cancel", "id": id, "result": "gone", "runner": r.name}
    assert client.statuses(id) == ["RUNNING", "SUCCESS"]


def test_twice(runner, client):
    runner(limits={"grace": "60s"})
    queue = client.private_queue()
    id = client.submit("act", steps(["on_signal", 15, ["sleep", 0.3], ["exit", 9]],
                                    ["progress", "started"], ["sleep", 200]))
    client.wait_progress(id)
    client.cancel(id, reply_to=queue)
    client.cancel(id, reply_to=queue)
    assert answer(client, queue)["result"] == "accepted"
    assert answer(client, queue)["result"] in ("accepted", "gone")
    client.final(id)
    assert client.statuses(id) == CANCELLED


def test_program_that_ends_well_on_sigterm_is_cancelled(runner, client):
    """Exit status 0 after SIGTERM, even with a whole output, is no success: it was told to stop."""
    runner(limits={"grace": "60s"})
    id = client.submit("act", steps(["on_signal", 15, ["output", "part"], ["exit", 0]],
                                    ["progress", "started"], ["sleep", 200]))
    client.wait_progress(id)
    client.cancel(id)
    final = client.final(id)
    assert (final.status, final.output, final.cause) == ("CANCELLED", None, "cancelled")
    assert final.headers["x-tr-exit-code"] == 0


def test_program_that_ignores_sigterm(runner, client):
    runner(limits={"grace": "200ms"})
    id = client.submit("act", steps(["ignore", 15], ["progress", "deaf"], ["sleep", 200]))
    client.wait_progress(id)
    client.cancel(id)
    assert client.final(id).status == "CANCELLED"
    assert client.final(id).headers["x-tr-signal"] == 9


def test_grandchildren_are_told_too(runner, client, tmp_path):
    """SIGTERM goes to the whole group."""
    runner(limits={"grace": "60s"})
    said = tmp_path / "said"
    id = client.submit("act", steps(
        ["fork", ["on_signal", 15, ["append", str(said), "told"], ["exit", 0]],
         ["touch", str(tmp_path / "up")], ["sleep", 200]],
        ["wait_for", str(tmp_path / "up")], ["progress", "started"], ["sleep", 200]))
    client.wait_progress(id)
    client.cancel(id)
    assert client.final(id).status == "CANCELLED"
    assert said.read_text() == "told\n"


def test_progress_after_cancelling_is_still_told(runner, client):
    """Between CANCELLING and CANCELLED a program may say how its clean-up goes, or it may not be
    relayed any more; the last is CANCELLED in any case and the statuses never go back."""
    runner(limits={"grace": "60s"})
    id = client.submit("act", steps(["on_signal", 15, ["progress", "cleaning"], ["exit", 0]],
                                    ["progress", "started"], ["sleep", 200]))
    client.wait_progress(id)
    client.cancel(id)
    client.final(id)
    statuses = client.statuses(id)
    assert [s for s in statuses if s != "RUNNING"] == ["CANCELLING", "CANCELLED"]


def test_queued_request(runner, client):
    """It waits in the queue of a busy runner; nothing of it ever starts."""
    runner(queues=[{"name": client.names.queue, "slots": 1}])
    first = client.submit("act", HANG)
    client.wait_progress(first)
    second = client.submit("act", steps(["output", "never"]))
    client.cancel(second)
    client.cancel(first)
    assert client.final(first).status == "CANCELLED"
    client.final(second)
    assert client.statuses(second) == ["CANCELLED"]
    assert client.final(second).cause == "cancelled"


def test_queued_request_that_cannot_be_read(runner, client):
    """What is remembered of cancelled ids does not turn a bad request into a cancelled one twice."""
    runner()
    id = str(uuid.uuid4())
    client.cancel(id)
    client.heard()
    client.send(json.dumps({"id": id, "routingKey": client.names.key}).encode(), id=id,
                content_type="application/json")
    assert client.final(id).status in ("FAILED", "CANCELLED")


def test_cancelled_id_used_again(runner, client):
    """The cancel was for one task: a later request of the same id is answered again, run or not."""
    runner()
    id = str(uuid.uuid4())
    client.cancel(id)
    client.heard()
    client.submit("act", steps(), id=id)
    assert client.final(id).status == "CANCELLED"
    client.by_id[id].clear()
    client.run("act", steps())
    client.run("act", steps())
    client.submit("act", steps(), id=id)
    assert client.final(id).is_final


@pytest.mark.parametrize("body", [
    b" ", b"{", b"nonsense", b"[]", b"{}", b'{"op": "cancel"}', b'{"id": "x"}', b'{"op": 5, "id": "x"}',
    b'{"op": "explode", "id": "x"}', b'{"op": "cancel", "id": ""}', b'{"op": "cancel", "id": 5}',
    b'{"op": "cancel", "id": "../x"}', b'{"op": "cancel", "id": "%s"}' % (b"x" * 200),
    b"\xff" * 100, b"[" * 100000], ids=lambda b: repr(b[:24]))
def test_control_message_that_is_wrong(runner, client, body):
    """Whoever asks is told what is wrong; nothing else happens."""
    runner()
    queue = client.private_queue()
    client.control(body, reply_to=queue)
    said = answer(client, queue)
    assert said.get("error"), said
    assert client.run("act", steps())[-1].status == "SUCCESS"


def test_control_message_in_msgpack(runner, client):
    r = runner()
    queue = client.private_queue()
    id = client.submit("act", HANG)
    client.wait_progress(id)
    client.control(msgpack.packb({"op": "cancel", "id": id}), reply_to=queue,
                   content_type="application/msgpack")
    said = msgpack.unpackb(client.get(queue)[2])
    assert len(said.pop("instance")) == 16
    assert said == {
        "op": "cancel", "id": id, "result": "accepted", "runner": r.name}
    assert client.final(id).status == "CANCELLED"


def test_unknown_id_is_no_matter(runner, client):
    """A thousand cancels for nobody's tasks."""
    runner()
    for i in range(1000):
        client.cancel("nobody-%d" % i)
    assert client.run("act", steps())[-1].status == "SUCCESS"


def test_only_the_owner_answers(runner, client):
    """Two runners hear it, the one that runs the task speaks."""
    runners = {r.name: r for r in (runner(), runner())}
    queue = client.private_queue()
    id = client.submit("act", HANG)
    owner = client.wait_progress(id).headers["x-tr-runner"]
    assert owner in runners
    client.cancel(id, reply_to=queue)
    assert answer(client, queue)["runner"] == owner
    assert client.final(id).status == "CANCELLED"
    client.run("act", steps())
    assert client.count(queue) == 0


def test_cancelled_before_start_with_two_runners(runner, client):
    runner(), runner()
    ids = [str(uuid.uuid4()) for _ in range(10)]
    for id in ids:
        client.cancel(id)
    # Both must have heard it: each answers a cancel of a task of its own.
    for _ in range(4):
        hang = client.submit("act", HANG)
        client.wait_progress(hang)
        client.cancel(hang)
        client.final(hang)
    for id in ids:
        client.submit("act", steps(), id=id)
    for id in ids:
        client.final(id)
        assert client.statuses(id) == ["CANCELLED"]


def test_during_drain(runner, client):
    """The program has ended, a child of it still holds the output: cancelled or done, but once."""
    runner(limits={"drain": "60s"}, programs={"subject": act(
        ["fork", ["open", "output"], ["sleep", 1], ["write", "output", "late"]],
        ["sleep", 0.2], ["progress", "gone"], ["exit", 0])})
    id = client.submit("subject")
    client.wait_progress(id)
    client.cancel(id)
    assert client.final(id).status in ("SUCCESS", "CANCELLED")


def test_race_with_the_end(runner, client):
    """Cancelled just as it ends, fifty times: one final response each, SUCCESS or CANCELLED."""
    runner(log={"level": "info"}, queues=[{"name": client.names.queue, "slots": 8}])
    ids = [client.submit("act", steps(["output", "x"])) for _ in range(50)]
    for id in ids:
        client.wait_running(id)
        client.cancel(id)
    for id in ids:
        final = client.final(id)
        assert (final.status, final.output) in (("SUCCESS", b"x"), ("CANCELLED", None))
