# SPDX-License-Identifier: Apache-2.0
"""Events of tasks and runners, and what is made from them: they tell everything once and in order, and
nothing depends on them."""

import json
import signal
import time
import uuid

import pika
import pytest

from support.broker import PASSWORD
from support.client import Client
from support.runner import SOON, act, base_config, steps
from support.waiting import wait_until

HANG = steps(["progress", "started"], ["sleep", 200])


class Listener:
    """Takes what comes through the exchange, by a queue of its own."""

    def __init__(self, client, pattern="#"):
        self.client = client
        self.queue = client.private_queue()
        client.channel.exchange_declare(client.names.events, "topic", durable=True)
        client.channel.queue_bind(self.queue, client.names.events, pattern)
        self.all = []
        self.keys = []

    def pump(self):
        while True:
            method, properties, body = self.client.channel.basic_get(self.queue, auto_ack=True)
            if not method:
                return self.all
            assert properties.content_type == "application/json"
            self.all.append(json.loads(body))
            self.keys.append(method.routing_key)

    def of(self, id):
        return [e for e in self.all if e.get("id") == id]

    def kinds(self, id):
        return [e["event"] for e in self.of(id)]

    def wait(self, id, *kinds):
        """Until these, in this order, and nothing else, are there. Any task may have waited a moment,
        while a runner that has just come up reads the cancels; who asks for that is told."""
        def told():
            return [e for e in self.of(id) if e["event"] != "waiting" or "waiting" in kinds]
        self.client.wait(
            lambda: self.pump() is not None and [e["event"] for e in told()] == list(kinds),
            lambda: "%s of %s; so far %r" % (kinds, id, self.of(id)))
        return told()

    def wait_last(self, id, kind):
        self.client.wait(lambda: self.pump() is not None and self.kinds(id)[-1:] == [kind],
                         lambda: "%s of %s; so far %r" % (kind, id, self.of(id)))
        return self.of(id)[-1]


@pytest.fixture
def listener(client):
    return Listener(client)


# What is told of a task

@pytest.mark.threads
def test_success(runner, client, names, listener):
    r = runner()
    id = client.submit("act", steps(["output", "x"]), userId="adam", projectId="p")
    assert client.final(id).status == "SUCCESS"
    started, ended = listener.wait(id, "started", "succeeded")
    common = {"id": id, "program": "act", "user": "adam", "project": "p", "queue": names.queue,
              "runner": r.name, "instance": r.instance, "attempt": 1}
    for e in (started, ended):
        assert common.items() <= e.items()
        assert abs(e["time"] / 1000 - time.time()) < 100
        assert "cause" not in e and e["waited_ms"] == started["waited_ms"] >= 0
    assert set(started) == {*common, "event", "time", "waited_ms"}
    assert set(ended) == {*started, "wall_ms", "cpu_ms", "peak_memory", "exit_code"}
    assert ended["time"] >= started["time"] and ended["exit_code"] == 0
    assert ended["wall_ms"] == client.final(id).headers["x-tr-wall-ms"]
    assert ended["peak_memory"] == client.final(id).headers["x-tr-peak-memory"]
    assert {"task.started.act", "task.succeeded.act"} <= set(listener.keys)


def test_all_ends(runner, client, listener):
    """Each has one final event, with what its response says."""
    runner(programs={"a.b": act(["exit", 0])}, limits={"output": "1KiB"})
    cases = {
        client.submit("act", steps(["exit", 3])): ("failed", "exited"),
        client.submit("act", steps(["kill", 9])): ("failed", "killed"),
        client.submit("act", steps(["sleep", 200]), timeoutSeconds=0.2): ("failed", "timed-out"),
        client.submit("act", steps(["output", "x" * 3000], ["sleep", 200])):
            ("failed", "output-too-large"),
        client.submit("no-such-program"): ("failed", "not-found"),
        client.submit("../act"): ("failed", "refused"),
        client.submit("act", timeoutSeconds="soon"): ("failed", "protocol-error"),
        client.submit("a.b"): ("succeeded", None),
    }
    for id, (kind, cause) in cases.items():
        final = client.final(id)
        event = listener.wait_last(id, kind)
        assert event.get("cause") == cause == final.headers.get("x-tr-cause")
        assert event.get("exit_code") == final.headers.get("x-tr-exit-code")
        assert event.get("signal") == final.headers.get("x-tr-signal")
        ran = [k for k in listener.kinds(id) if k != "waiting"]
        if cause in ("not-found", "refused", "protocol-error"):
            assert ran == [kind]
        elif cause in ("timed-out", "output-too-large"):
            assert ran == ["started", "ending", kind]
            assert listener.of(id)[-2]["cause"] == cause
        else:
            assert ran == ["started", kind]
    assert "task.succeeded.a_b" in listener.keys and "task.failed.___act" in listener.keys


def test_cancelled(runner, client, listener):
    runner()
    id, early = client.submit("act", HANG), str(uuid.uuid4())
    client.wait_progress(id)
    for _ in range(3):
        client.cancel(id)
    assert client.final(id).status == "CANCELLED"
    told = listener.wait(id, "started", "ending", "cancelled")
    assert [e.get("cause") for e in told] == [None, "cancelled", "cancelled"]
    client.cancel(early)
    client.heard()
    client.submit("act", steps(), id=early)
    assert client.final(early).status == "CANCELLED"
    listener.wait(early, "cancelled")
    assert "waited_ms" not in listener.of(early)[0]


def test_waiting(runner, client, listener):
    """Only what is not started at once has waited."""
    runner(programs={"one": act(["progress", "started"], ["sleep", 200], slots=1)})
    first = client.submit("one")
    client.wait_progress(first)
    second = client.submit("one")
    listener.wait(second, "waiting")
    client.cancel(first)
    client.wait_progress(second)
    listener.wait(second, "waiting", "started")
    client.cancel(second)
    listener.wait(second, "waiting", "started", "ending", "cancelled")
    listener.wait(first, "started", "ending", "cancelled")


@pytest.mark.parametrize("how", ["header", "timestamp", "milliseconds", "nonsense", "none"])
def test_waited(runner, client, listener, how):
    """From when the requester says that he sent it, as far as that can be."""
    runner()
    sent = time.time() - 1000
    properties = {
        "header": {"headers": {"x-tr-sent": int(sent * 1000)}, "timestamp": 5},
        "timestamp": {"timestamp": int(sent)},
        "milliseconds": {"timestamp": int(sent * 1000)},
        "nonsense": {"headers": {"x-tr-sent": 2 ** 62}, "timestamp": 2 ** 63 - 1},
        "none": {},
    }[how]
    id = client.submit("act", steps(), properties=properties)
    client.final(id)
    waited = listener.wait(id, "started", "succeeded")[1]["waited_ms"]
    assert (waited < 900_000) == (how in ("nonsense", "none"))
    assert waited < 1_900_000


def test_given_back(runner, client, listener):
    first = runner(limits={"shutdown": "0"}, broker=SOON)
    id = client.submit("act", HANG)
    client.wait_progress(id)
    client.may_repeat = True
    first.signal(signal.SIGTERM)
    first.wait_end()
    told = listener.wait(id, "started", "ending", "returned")
    assert told[1]["cause"] == "shutting-down"
    before = len(listener.of(id))
    second = runner(broker=SOON)
    client.wait(lambda: listener.pump() and listener.kinds(id)[-1] == "started", "started again")
    client.cancel(id)
    client.final(id)
    listener.wait_last(id, "cancelled")
    again = listener.of(id)[before:]
    assert [e["event"] for e in again if e["event"] != "waiting"] == [
        "started", "ending", "cancelled"]
    assert {(e["runner"], e["attempt"]) for e in again} == {(second.name, 2)}


def test_same_message_again(runner, client, listener):
    """What is answered once more is not told once more."""
    r = runner(broker=SOON)
    id = client.submit("act", steps(["progress", "started"], ["sleep", 2]))
    client.wait_progress(id)
    client.may_repeat = True
    r.notify.forget()
    client.broker.close_all_but_pika()
    assert client.final(id).status == "SUCCESS"
    r.wait_log("broker.connected", "requests", count=2)
    other = client.submit("act", steps())
    client.final(other)
    listener.wait_last(other, "succeeded")
    assert listener.kinds(id).count("succeeded") == 1


def test_runner(runner, client, names, listener):
    r = runner()
    instance, name = r.instance, r.name
    id = client.submit("act", steps(["progress", "started"], ["sleep", 1]))
    client.wait_progress(id)
    r.signal(signal.SIGTERM)
    r.wait_end()
    client.wait(lambda: "succeeded" in [e["event"] for e in listener.pump()], "its end")
    listener.pump()
    told = [(e["event"], key) for e, key in zip(listener.all, listener.keys) if "id" not in e]
    key = name.replace(".", "_")
    # Half a second is all that the last word waits for a busy broker.
    assert told[:2] == [("ready", "runner.ready." + key), ("draining", "runner.draining." + key)]
    assert told[2:] in ([], [("stopped", "runner.stopped." + key)])
    for e in listener.all:
        if "id" not in e:
            assert set(e) == {"event", "runner", "instance", "time"}
            assert (e["runner"], e["instance"]) == (name, instance)
    # The draining is told before what ends in it, and that before the end.
    kinds = [e["event"] for e in listener.all if e["event"] != "stopped"]
    assert kinds[-2:] == ["draining", "succeeded"]


def test_no_payload(runner, client, listener):
    runner()
    id = client.submit("act", steps(["output", "secret-output"], ["stderr", "secret-stderr"],
                                    ["progress", "secret-progress"], note="secret-input"),
                       additionalProperties="secret-properties")
    client.final(id)
    listener.wait(id, "started", "succeeded")
    assert "secret" not in json.dumps(listener.all) and PASSWORD not in json.dumps(listener.all)


# Nothing depends on them

def user_with(broker, configure, write_to, read):
    user = "user-" + uuid.uuid4().hex[:8]
    broker.ctl("add_user", user, "secret-of-user")
    broker.ctl("set_permissions", user, configure, write_to, read)
    return {"username": user, "password": "secret-of-user"}


def still_works(client, n=5):
    for id in [client.submit("act", steps()) for _ in range(n)]:
        assert client.final(id).status == "SUCCESS"


@pytest.mark.threads
def test_exchange_deleted_while_running(runner, client, names, listener):
    r = runner()
    client.final(client.submit("act", steps()))
    client.channel.exchange_delete(names.events)
    still_works(client)
    assert "NOT_FOUND" in r.wait_log(" error events.off ", names.events)

    def comes_again():
        Listener.__init__(listener, client)
        id = client.submit("act", steps())
        client.final(id)
        end = time.monotonic() + 2
        while time.monotonic() < end and not listener.kinds(id):
            client.pump()
            listener.pump()
        return listener.kinds(id)
    wait_until(comes_again, "events through an exchange that was made again")
    assert r.log.count("events.off") == 1


@pytest.mark.parametrize("rights", [
    ("^(?!events-).*", ".*", ".*"), (".*", "^(?!events-).*", ".*")], ids=["declare", "write"])
def test_no_permission(runner, broker, client, names, rights):
    r = runner(broker=user_with(broker, *rights))
    still_works(client)
    assert "refused" in r.wait_log(" error events.off ", names.events)
    still_works(client)
    assert r.log.count("events.off") == 1


def test_exchange_of_somebody_else(runner, broker, client, names, listener):
    """Without the right to declare it, it is used where it is there."""
    r = runner(broker=user_with(broker, "^(?!events-).*", ".*", ".*"))
    id = client.submit("act", steps())
    client.final(id)
    listener.wait(id, "started", "succeeded")
    assert "events.off" not in r.log


def test_exchange_of_another_type(runner, client, names):
    client.channel.exchange_declare(names.events, "fanout", durable=True)
    r = runner()
    assert "inequivalent arg" in r.wait_log(" error events.off ", names.events)
    still_works(client)


def test_switched_off(runner, client, names):
    r = runner(events={"exchange": ""})
    still_works(client)
    assert "events." not in r.log
    with pytest.raises(pika.exceptions.ChannelClosedByBroker):
        client.connection.channel().exchange_declare(names.events, passive=True)


def test_alarm(runner, own_broker, names, clients, start_runner, tmp_path):
    """What happens in it is not told, and nothing waits for that."""
    clients.append(Client(own_broker, names))
    client = clients[-1]
    listener = Listener(client)
    r = start_runner(own_broker, client, base_config(own_broker, names, tmp_path / "run"))
    go = tmp_path / "go"
    id = client.submit("act", steps(["progress", "started"], ["wait_for", str(go)]))
    client.wait_progress(id)
    listener.wait(id, "started")
    own_broker.alarm(True)
    go.touch()
    r.wait_log("task.finished")
    r.wait_log("broker.blocked")
    assert listener.kinds(id)[-1] == "started"
    own_broker.alarm(False)
    r.wait_log("broker.unblocked")
    assert client.final(id).status == "SUCCESS"
    listener.wait_last(id, "succeeded")


def test_what_is_too_much_is_dropped(runner, broker, client, names):
    """Said once for all that is dropped in a row; what waits for the broker has a bound, and responses
    do not wait for it."""
    r = runner(broker=user_with(broker, ".*", "^(?!events-).*", ".*"))
    client.final(client.submit("no-such-program"))
    r.wait_log(" error events.off ")
    ids = ["dropped-%d-%s" % (i, names.unique) for i in range(7000)]
    for id in ids:
        client.submit("no-such-program", id=id)
    for id in ids:
        assert client.final(id).status == "FAILED"
    r.wait_log(" warn events.dropped ")
    assert 1 <= r.log.count("events.dropped") < 50


# What is kept

def kept(broker, names):
    """All that stands in the stream."""
    connection = broker.connect()
    try:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=1000)
        found = []
        for method, _, body in channel.consume(
                names.history, arguments={"x-stream-offset": "first"}, inactivity_timeout=0.5):
            if method is None:
                return found
            channel.basic_ack(method.delivery_tag)
            found.append(json.loads(body))
    finally:
        connection.close()


def wait_kept(broker, names, *pairs):
    """Until events with these kinds and ids are kept, in this order."""
    def found():
        return [(e["event"], e.get("id")) for e in kept(broker, names)
                if (e["event"], e.get("id")) in pairs]
    wait_until(lambda: found() == list(pairs), lambda: "%s; so far %s" % (pairs, found()))


def test_history(runner, broker, client, names):
    """It is there when all runners are gone."""
    r = runner(events={"history": names.history})
    id = client.submit("act", steps())
    client.final(id)
    wait_kept(broker, names, ("started", id), ("succeeded", id))
    r.stop(client)
    wait_kept(broker, names, ("started", id), ("succeeded", id))
    # As docs/protocol.md has it.
    client.channel.queue_declare(names.history, durable=True, arguments={
        "x-queue-type": "stream", "x-max-age": "7D", "x-max-length-bytes": 2 ** 30,
        "x-stream-max-segment-size-bytes": 64 * 2 ** 20})


def test_history_outlives_the_broker(own_broker, names, clients, start_runner, tmp_path):
    clients.append(Client(own_broker, names))
    client = clients[-1]
    config = base_config(own_broker, names, tmp_path / "run")
    config["events"]["history"] = names.history
    r = start_runner(own_broker, client, config)
    before, after = client.submit("act", steps()), str(uuid.uuid4())
    client.final(before)
    wait_kept(own_broker, names, ("started", before), ("succeeded", before))
    own_broker.down()
    own_broker.start()
    client.reconnect()
    r.wait_log("broker.connected", "requests", count=2)
    client.submit("act", steps(), id=after)
    assert client.final(after).status == "SUCCESS"
    wait_kept(own_broker, names, ("started", before), ("succeeded", before), ("started", after),
              ("succeeded", after))
    # A stream may come up later than its broker: then the history is off for that long.
    assert "events.off" not in r.log


def test_no_permission_to_keep(runner, broker, client, names, listener):
    """Events are published all the same."""
    r = runner(broker=user_with(broker, "^(?!history-).*", ".*", ".*"),
               events={"history": names.history})
    assert "refused" in r.wait_log(" error history.off ", names.history)
    id = client.submit("act", steps())
    client.final(id)
    listener.wait(id, "started", "succeeded")
    assert r.log.count("history.off") == 1 and "events.off" not in r.log


@pytest.mark.parametrize("arguments", [
    {}, {"x-queue-type": "stream"}, {"x-queue-type": "stream", "x-max-age": "1h"}],
    ids=["classic", "without limits", "other limits"])
def test_another_queue_of_that_name(runner, broker, client, names, listener, arguments):
    """A stream with other limits will do; into anything else nothing is put."""
    client.channel.queue_declare(names.history, durable=True, arguments=arguments)
    r = runner(events={"history": names.history})
    assert "inequivalent arg" in r.wait_log(" error history.off ", names.history)
    id = client.submit("act", steps())
    client.final(id)
    listener.wait(id, "started", "succeeded")
    if arguments:
        wait_kept(broker, names, ("started", id), ("succeeded", id))
    else:
        assert client.count(names.history) == 0
    assert r.log.count("history.off") == 1


def test_limits_of_history(runner, broker, client, names):
    runner(events={"history": names.history, "max_age": "90m", "max_bytes": "4MiB"})
    id = client.submit("act", steps())
    client.final(id)
    wait_kept(broker, names, ("started", id), ("succeeded", id))
    client.channel.queue_declare(names.history, durable=True, arguments={
        "x-queue-type": "stream", "x-max-age": "5400s", "x-max-length-bytes": 4 * 2 ** 20,
        "x-stream-max-segment-size-bytes": 2 ** 20})


def test_terarium_has_none(terarium, names):
    setting = terarium()
    id = setting.client.submit(setting.act if hasattr(setting, "act") else "true")
    setting.client.final(id)
    assert "events." not in setting.runner.log
    with pytest.raises(pika.exceptions.ChannelClosedByBroker):
        setting.client.connection.channel().exchange_declare("task-events", passive=True)
