# SPDX-License-Identifier: Apache-2.0
"""Cancels that come before their request and outlive the runners that heard them."""

import json
import time
import uuid

import pika
import pytest

from support.client import Client
from support.runner import base_config, steps
from support.waiting import wait_until

HANG = steps(["progress", "started"], ["sleep", 200])
STREAM = {"x-queue-type": "stream", "x-max-age": "1D", "x-max-length-bytes": 32 * 2 ** 20,
          "x-stream-max-segment-size-bytes": 2 ** 20}


# What a killed runner had taken is started when two heartbeats have passed.
SOON = {"heartbeat": "2s"}


def new_id():
    return str(uuid.uuid4())


def notes(broker, names):
    """All that stands in the stream; what is no JSON as it is."""
    connection = broker.connect()
    try:
        channel = connection.channel()
        found = []
        channel.basic_qos(prefetch_count=1000)
        consume = channel.consume(names.cancels, arguments={"x-stream-offset": "first"},
                                  inactivity_timeout=0.5)
        for method, _, body in consume:
            if method is None:
                break
            channel.basic_ack(method.delivery_tag)
            try:
                found.append(json.loads(body))
            except ValueError:
                found.append(body)
        return found
    finally:
        connection.close()


def said_of(broker, names, id):
    return [n["op"] for n in notes(broker, names)
            if isinstance(n, dict) and n.get("id") == id and n["op"] != "mark"]


def wait_note(broker, names, id, op="cancel"):
    wait_until(lambda: op in said_of(broker, names, id), "a note of %s: %s" % (id, op))


def write(client, *bodies):
    for body in bodies:
        client.channel.basic_publish("", client.names.cancels, body,
                                     pika.BasicProperties(delivery_mode=2))


def note(op, id, ago=0.0):
    return json.dumps({"op": op, "id": id, "time": str(int((time.time() - ago) * 1000)),
                       "instance": "another"}).encode()


def cancelled(client, id):
    client.final(id)
    return client.statuses(id) == ["CANCELLED"]


@pytest.mark.parametrize("kill", [False, True], ids=["ended", "killed"])
def test_outlives_all_runners(runner, broker, client, names, kill):
    first = [runner(broker=SOON), runner(broker=SOON)]
    id, other = new_id(), new_id()
    client.cancel(id)
    client.heard(2)
    if kill:
        wait_note(broker, names, id)
    for r in first:
        r.kill() if kill else r.stop(client)
    client.submit("act", steps(), id=id)
    client.submit("act", steps(), id=other)
    runner(broker=SOON)
    assert cancelled(client, id)
    assert client.final(other).status == "SUCCESS"


def test_runner_that_starts_later_knows_it(runner, broker, client, names):
    first = runner()
    id = new_id()
    client.cancel(id)
    wait_note(broker, names, id)
    second = runner()
    second.wait_log("cancels.read")
    first.stop(client)
    client.submit("act", steps(), id=id)
    assert cancelled(client, id)
    assert client.final(id).headers["x-tr-runner"] == second.name


def test_is_written_once_by_many_runners(runner, broker, client, names):
    """Each waits a little of its own, and writes what it has not seen yet."""
    for r in [runner() for _ in range(4)]:
        r.wait_log("cancels.read")
    ids = [new_id() for _ in range(10)]
    for id in ids:
        client.cancel(id)
    for id in ids:
        wait_note(broker, names, id)
    said = [n["id"] for n in notes(broker, names) if n["op"] == "cancel"]
    assert set(said) == set(ids) and len(said) < 4 * len(ids)


def test_what_was_used_up_counts_no_more(runner, broker, client, names):
    """Neither here, nor with those who start later, nor with one that never saw the request."""
    first, second = runner(), runner()
    id = new_id()
    client.cancel(id)
    wait_note(broker, names, id)
    client.submit("act", steps(), id=id)
    assert cancelled(client, id)
    user = client.final(id).headers["x-tr-runner"]
    wait_note(broker, names, id, "over")
    (first if first.name == user else second).stop(client)
    client.by_id[id].clear()
    client.submit("act", steps(), id=id)
    assert client.final(id).status == "SUCCESS"
    third = runner()
    third.wait_log("cancels.read")
    for r in (first, second):
        if r.name != user:
            r.stop(client)
    client.by_id[id].clear()
    client.submit("act", steps(), id=id)
    assert client.final(id).status == "SUCCESS"
    assert client.final(id).headers["x-tr-runner"] == third.name


def test_cancel_of_a_running_task_is_used_up_too(runner, broker, client, names):
    """The runners that do not have the task remember its cancel, until it is over."""
    runners = [runner(), runner()]
    for r in runners:
        r.wait_log("cancels.read")
    id = client.submit("act", HANG)
    owner = client.wait_progress(id).headers["x-tr-runner"]
    client.cancel(id)
    assert client.final(id).status == "CANCELLED"
    wait_note(broker, names, id, "over")
    next(r for r in runners if r.name == owner).stop(client)
    client.by_id[id].clear()
    client.submit("act", steps(), id=id)
    assert client.final(id).status == "SUCCESS"


def test_cancel_that_was_too_late_is_used_up_too(runner, broker, client, names):
    runners = [runner(), runner()]
    for r in runners:
        r.wait_log("cancels.read")
    id = client.submit("act", steps())
    owner = client.final(id).headers["x-tr-runner"]
    client.cancel(id)
    wait_note(broker, names, id, "over")
    next(r for r in runners if r.name == owner).stop(client)
    client.by_id[id].clear()
    client.submit("act", steps(), id=id)
    assert client.final(id).status == "SUCCESS"


def test_cancel_that_was_accepted_outlives_the_runner(runner, broker, client, names):
    """Killed before the task has ended: its request comes again, and is not started again."""
    first = runner(limits={"grace": "60s"}, broker=SOON)
    id = client.submit("act", steps(["ignore", 15], ["progress", "deaf"], ["sleep", 200]))
    client.wait_progress(id)
    client.may_repeat = True
    client.cancel(id)
    wait_note(broker, names, id)
    first.kill()
    second = runner(broker=SOON)
    assert client.final(id).status == "CANCELLED"
    assert "task.started" not in second.log


def test_runner_that_was_cut_off_hears_of_it(runner, client):
    """A cancel that its runner did not hear ends the task all the same: another has written it."""
    r = runner()
    r.wait_log("cancels.read")
    id = client.submit("act", HANG)
    client.wait_progress(id)
    write(client, note("cancel", id))
    assert client.final(id).status == "CANCELLED"


def test_restart_of_the_broker(runner, own_broker, names, clients, start_runner, tmp_path):
    clients.append(Client(own_broker, names))
    client = clients[-1]
    config = base_config(own_broker, names, tmp_path / "run")
    config["broker"].update(SOON)
    first = start_runner(own_broker, client, config)
    id, used = new_id(), new_id()
    client.cancel(used)
    wait_note(own_broker, names, used)
    client.submit("act", steps(), id=used)
    assert cancelled(client, used)
    wait_note(own_broker, names, used, "over")
    client.cancel(id)
    wait_note(own_broker, names, id)
    own_broker.down()
    own_broker.start()
    client.reconnect()
    first.wait_log("cancels.read", count=2)
    first.kill()
    client.submit("act", steps(), id=id)
    client.by_id[used].clear()
    client.submit("act", steps(), id=used)
    second = start_runner(own_broker, client, config, name="second")
    assert cancelled(client, id)
    assert client.final(used).status == "SUCCESS"
    second.wait_log("cancels.read")


def test_stream_deleted_while_running(runner, broker, client, names):
    """It is made again, and what the runner remembers is written into it."""
    first = runner(broker=SOON)
    id, later = new_id(), new_id()
    client.cancel(id)
    wait_note(broker, names, id)
    client.channel.queue_delete(names.cancels)
    first.wait_log("cancels.off", "deleted")
    first.wait_log("cancels.read", count=2)
    client.cancel(later)
    for i in (id, later):
        wait_note(broker, names, i)
    first.kill()
    for i in (id, later):
        client.submit("act", steps(), id=i)
    runner(broker=SOON)
    assert cancelled(client, id) and cancelled(client, later)


def test_stream_deleted_while_the_runner_is_away(runner, broker, client, names):
    first = runner()
    id = new_id()
    client.cancel(id)
    wait_note(broker, names, id)
    client.channel.queue_delete(names.cancels)
    broker.ctl("close_all_connections", "test")
    client.reconnect()
    first.wait_log("cancels.read", count=2)
    wait_note(broker, names, id)
    assert client.run("act", steps())[-1].status == "SUCCESS"


def user_with(broker, configure, write_to, read):
    user = "user-" + uuid.uuid4().hex[:8]
    broker.ctl("add_user", user, "secret-of-user")
    broker.ctl("set_permissions", user, configure, write_to, read)
    return {"username": user, "password": "secret-of-user"}


def goes_on_without(r, client):
    """Cancels are remembered as long as the runner lives."""
    id = new_id()
    client.cancel(id)
    hang = client.submit("act", HANG)
    client.wait_progress(hang)
    client.cancel(hang)
    assert client.final(hang).status == "CANCELLED"
    client.submit("act", steps(), id=id)
    assert cancelled(client, id)
    assert r.log.count(" cancels.off ") == 1


@pytest.mark.parametrize("rights", [
    ("^(?!cancels-).*", ".*", ".*"), (".*", ".*", "^(?!cancels-).*")], ids=["declare", "read"])
def test_no_permission(runner, broker, client, names, rights):
    r = runner(broker=user_with(broker, *rights))
    line = r.wait_log(" error cancels.off ", names.cancels)
    assert "refused" in line
    goes_on_without(r, client)


def test_no_permission_to_write(runner, broker, client, names):
    """Then it cannot be known when it was read to its end, so requests wait for some seconds; what it
    says counts nevertheless."""
    client.channel.queue_declare(names.cancels, durable=True, arguments=STREAM)
    id = new_id()
    write(client, note("cancel", id))
    r = runner(broker=user_with(broker, ".*", "^(?!amq.default$).*", ".*"), delivery={"ack": "hold"})
    client.submit("act", steps(), id=id)
    other = client.submit("act", steps())
    assert client.final(other).status == "SUCCESS"
    r.wait_log(" warn cancels.late ", names.cancels)
    assert cancelled(client, id)


@pytest.mark.parametrize("arguments", [{}, {"x-queue-type": "stream", "x-max-age": "1h"}],
                         ids=["classic", "other arguments"])
def test_another_queue_of_that_name(runner, client, names, arguments):
    """As on a server that has no streams. Named, and not fatal; what is in it is left alone."""
    client.channel.queue_declare(names.cancels, durable=True, arguments=arguments)
    client.channel.basic_publish("", names.cancels, b"of somebody else")
    r = runner()
    line = r.wait_log(" error cancels.off ", names.cancels)
    assert "inequivalent arg" in line
    goes_on_without(r, client)
    if not arguments:
        assert client.count(names.cancels) == 1


def test_switched_off(runner, client, names):
    r = runner(control={"cancels": ""})
    client.cancel(new_id())
    assert client.run("act", steps())[-1].status == "SUCCESS"
    assert "cancels." not in r.log.replace(names.cancels, "")
    with pytest.raises(pika.exceptions.ChannelClosedByBroker):
        client.connection.channel().queue_declare(names.cancels, passive=True)


def test_a_thousand(runner, broker, client, names):
    first = runner(broker=SOON)
    ids = ["cancelled-%d-%s" % (i, names.unique) for i in range(1000)]
    for id in ids:
        client.cancel(id)
    wait_until(lambda: sum(n["op"] == "cancel" for n in notes(broker, names)) >= 1000,
               "a thousand notes")
    first.kill()
    asked = ids[::100] + ids[-1:]
    for id in asked:
        client.submit("act", steps(), id=id)
    runner(broker=SOON)
    for id in asked:
        assert cancelled(client, id)


GARBAGE = [b"", b"{", b"nonsense", b"[]", b"{}", b"\x00" * 1000, b"\xff" * 100, b"x" * 1000000,
           b'{"op":"cancel"}', b'{"op":"cancel","id":"x"}', b'{"op":"cancel","id":"x","time":5}',
           b'{"op":"cancel","id":"../x","time":"5"}', b'{"op":"explode","id":"x","time":"5"}',
           b'{"op":"cancel","id":"x","time":"-5"}', b'{"op":"cancel","id":"x","time":"9e99"}',
           b'{"op":"cancel","id":"x","time":"99999999999999999999"}',
           b'{"op":"mark","id":"1","time":"5"}', b"[" * 100000]


def test_garbage_in_the_stream(runner, client, names):
    client.channel.queue_declare(names.cancels, durable=True, arguments=STREAM)
    before, after, ahead, old = (new_id() for _ in range(4))
    write(client, note("cancel", before), *GARBAGE, note("cancel", ahead, ago=-7200),
          note("cancel", old, ago=90000), note("cancel", after))
    r = runner()
    line = r.wait_log("cancels.read")
    assert "ignored=%d" % (len(GARBAGE) + 1) in line
    r.wait_log(" warn cancels.malformed ", names.cancels)
    assert r.log.count("cancels.malformed") <= 3
    for id in (before, after, ahead, old):
        client.submit("act", steps(), id=id)
    assert cancelled(client, before) and cancelled(client, after)
    for id in (ahead, old):
        assert client.final(id).status == "SUCCESS"
    write(client, *GARBAGE)
    assert client.run("act", steps())[-1].status == "SUCCESS"


def test_notes_that_come_late(runner, client, names):
    """One that was written by a runner whose clock, or connection, is behind: it was used up."""
    client.channel.queue_declare(names.cancels, durable=True, arguments=STREAM)
    id = new_id()
    write(client, note("cancel", id, ago=60), note("over", id, ago=40), note("cancel", id, ago=50))
    runner()
    client.submit("act", steps(), id=id)
    assert client.final(id).status == "SUCCESS"
