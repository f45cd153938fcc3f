# SPDX-License-Identifier: Apache-2.0
"""Requests and surroundings that are meant to do harm: nobody else may notice them."""

import base64
import json
import os
import random
import signal
import socket
import uuid

import pika
import pytest

from support.broker import PASSWORD, USER
from support.client import Client, TerariumClient
from support.paths import ACT
from support.runner import act, base_config, program, steps
from support.waiting import wait_until


@pytest.fixture
def on_own_broker(own_broker, names, tmp_path, clients, start_runner):
    """A runner and a client on a broker that the test may ill-treat."""
    def start(**sections):
        clients.append(Client(own_broker, names))
        config = base_config(own_broker, names, tmp_path / "run")
        for key, value in sections.items():
            config[key] = {**config[key], **value} if isinstance(value, dict) else value
        return clients[-1], start_runner(own_broker, clients[-1], config)
    return start


def raw(client, **members):
    """A request as bytes, with what a good one has unless told otherwise."""
    request = {"id": str(uuid.uuid4()), "script": "act", "routingKey": client.names.key,
               "input": base64.b64encode(steps(["output", "x"])).decode(), **members}
    return json.dumps({k: v for k, v in request.items() if v is not ...}).encode()


def still_serves(client):
    assert client.run("act", steps(["output", "well"]))[-1].output == b"well"


# Headers and properties

def test_headers_without_number_and_without_end(runner, client):
    """Tables of a thousand entries, nested ones, all kinds of values."""
    runner()
    deep = {}
    for _ in range(50):
        deep = {"d": deep, "l": [1, None, True]}
    for headers in ({"h%d" % i: i for i in range(1000)}, deep, {"x" * 127: "y" * 60000},
                    {"traceparent": {"a": 1}, "tracestate": 5, "x-delivery-count": "many"},
                    {"x-delivery-count": -1}, {"x-delivery-count": 2 ** 62}):
        id = client.submit("act", steps(["output", "x"]), properties={
            "headers": headers, "priority": 255, "type": "t" * 255, "correlation_id": "\x01\n\"\\"})
        assert client.final(id).output == b"x"
        assert client.final(id).properties.correlation_id == "\x01\n\"\\"
        client.by_id.clear()  # an attempt that a header made up


def test_trace_headers_that_fill_a_frame(runner, client):
    """They are not handed on: the answer itself must fit."""
    runner()
    id = client.submit("act", steps(["output", "x"]), properties={
        "headers": {"traceparent": "t" * 60000, "tracestate": "s" * 69000}})
    assert [r.status for r in client.responses(id)] == ["RUNNING", "SUCCESS"]


@pytest.mark.parametrize("headers", [{"h%d" % i: "v" for i in range(200)},
                                     {"a": "x" * 65000, "b": "y" * 64500}], ids=["many", "long"])
def test_dead_letter_says_why_whatever_else_it_says(runner, client, headers):
    runner()
    client.send(b"{nonsense", content_type="application/json", properties={"headers": headers})
    _, properties, body = client.dead_letter()
    assert body == b"{nonsense"
    assert properties.headers["x-tr-reason"]
    assert properties.headers["x-tr-routing-key"] == client.names.queue


@pytest.mark.parametrize("length", [256, 200000])
def test_routing_key_that_amqp_cannot_carry(runner, client, length):
    """There is nobody to answer: the request is kept as it was."""
    runner()
    body = raw(client, routingKey="k" * length)
    client.send(body, content_type="application/json")
    assert client.dead_letter()[2] == body
    queue = client.private_queue()
    client.send(body, content_type="application/json", properties={"reply_to": queue})
    answer = json.loads(client.get(queue)[2])
    assert answer["status"] == "FAILED"
    still_serves(client)


def test_ids_keys_and_scripts_of_odd_bytes(runner, client):
    """Log lines stay lines (checked when the runner ends), answers come."""
    runner()
    for id in ("\x7f\x01\x1b[31m", "a=\"b\" c", "\u202e\U0001f600", "\\", "x\ry", "%s%n%d"):
        id += client.names.unique
        assert client.run("act", steps(["output", "x"], ["stderr", "\x1b[2J"]), id=id)[-1].output == b"x"
        assert client.run("\x1b]0;title\x07\n" + id)[-1].cause == "not-found"


def test_script_with_nul_and_body_without_bytes(runner, client):
    runner()
    id = str(uuid.uuid4())
    client.send(raw(client, id=id, script="act\0x"), id=id)
    assert client.final(id).status == "FAILED"
    for content_type in (None, "application/json", "application/msgpack", "\u00fc", ""):
        client.send(b"", content_type=content_type)
        client.dead_letter()
    still_serves(client)


@pytest.mark.parametrize("reply_to", ["amq.rabbitmq.reply-to", "amq.rabbitmq.reply-to.x",
                                      "amq.rabbitmq.reply-to.a.b.c", "", "x" * 255, "\u00fc" * 100])
def test_reply_to_that_leads_nowhere(runner, client, reply_to):
    client.may_repeat = True  # the broker closes the channel over some: what was on its way comes again
    runner()
    properties = {"reply_to": reply_to, "correlation_id": "c" * 255}
    if reply_to != "amq.rabbitmq.reply-to":  # the broker takes that only from who consumes there
        client.send(raw(client, routingKey=...), content_type="application/json",
                    properties=properties)
        client.channel.basic_publish(client.names.control, "", b"[]",
                                     pika.BasicProperties(**properties))
    still_serves(client)
    if not reply_to.startswith("amq."):
        client.dead_letter()


def test_dead_letter_queue_deleted(runner, client):
    """What cannot be kept is dropped with an error in the log, and nothing else comes of it."""
    r = runner()
    client.channel.queue_delete(client.names.dead_letters)
    client.send(b"{nonsense", content_type="application/json")
    r.wait_log("dead-letter.dropped", "error")
    still_serves(client)
    client.channel.queue_declare(client.names.dead_letters, durable=True)


# Sizes

def test_response_that_no_server_takes(on_own_broker, own_broker):
    """What is echoed may be as long as the whole request was; the answer has more than that."""
    client, r = on_own_broker()
    own_broker.ctl("eval", "application:set_env(rabbit, max_message_size, 20000).")
    try:
        own_broker.ctl("close_all_connections", "for the test")
        client.reconnect()
        client.wait(lambda: r.log.count("for=requests") >= 2, "the runner's new connection")
        for member in ({"additionalProperties": "a"}, {"projectId": "p"}, {"script": "s"}):
            (name, letter), = member.items()
            id = str(uuid.uuid4())
            body = raw(client, id=id, input=..., **{name: ""})
            client.send(raw(client, id=id, input=..., **{name: letter * (19900 - len(body))}), id=id,
                        content_type="application/json")
            assert client.final(id).status == "FAILED"
        big = client.submit("act", steps(["output_size", 30000]), additionalProperties={"a": 1})
        assert client.final(big).cause == "output-too-large"
        assert client.final(big).additionalProperties == {"a": 1}
        still_serves(client)
        client.by_id.clear()  # what was not sent is counted: sequences have gaps
    finally:
        own_broker.ctl("eval", "application:set_env(rabbit, max_message_size, 134217728).")


def test_response_over_our_own_limit(runner, client):
    runner(limits={"message": "16KiB"})
    id = client.submit("act", steps(["progress", "p"], ["output", "x"]),
                       additionalProperties="a" * 20000)
    assert (client.final(id).status, client.final(id).additionalProperties) == ("FAILED", None)
    id = client.submit("s" * 20000)
    assert (client.final(id).status, client.final(id).cause) == ("FAILED", "not-found")


# The ancestor's queues

def test_bad_cancellation_queue_disturbs_no_other(terarium, names):
    """One that cannot be declared closes the channel of all."""
    c = terarium().client
    plain = super(TerariumClient, c)
    hang = c.submit(ACT, steps(["progress", "up"], ["sleep", 200]))
    c.wait_progress(hang)
    c.channel.queue_declare("durable-" + names.unique, durable=True)
    odd = ["amq.evil-" + names.unique, "durable-" + names.unique, names.responses,
           c.response_queue]
    for _ in range(5):
        early = str(uuid.uuid4())
        c.before_submit(early)
        c.cancel(early)
        ids = [plain.submit(ACT, steps(["output", "x"]), id=id) for id in odd[:2]]
        c.submit(ACT, steps(["output", "x"]), id=early)
        ids += [plain.submit("no-such-program", id=id) for id in odd[2:]]
        for id in ids:
            assert c.final(id).output is not None
        assert c.final(early).status == "CANCELLED"
        c.by_id.clear()

    def cancelled():
        c.cancel(hang)
        return any(r.is_final for r in c.by_id[hang])
    c.wait(cancelled, "the task is cancelled by its queue")
    assert c.final(hang).status == "CANCELLED"
    c.by_id.clear()
    c.channel.queue_delete("durable-" + names.unique)


def test_missing_cancellation_exchange(terarium, names, broker):
    """Declared by nobody: tasks run without, one after the other and many at once."""
    s = terarium(TASKRUNNER_CANCELLATION_DECLARE="false")
    c = s.client
    c.channel.exchange_delete(names.cancellation)
    for _ in range(3):
        ids = [super(TerariumClient, c).submit(ACT, steps(["output", "x"])) for _ in range(10)]
        for id in ids:
            assert c.final(id).output == b"x"
    assert s.runner.log.count("broker.cancellation-refused") < 120
    c.channel.exchange_declare(names.cancellation, "direct", durable=c.durable)


def test_id_that_names_another_queue(terarium, names):
    """A refused request's own queue is removed, but no other one."""
    c = terarium().client
    c.channel.queue_declare("precious-" + names.unique, durable=True)
    c.channel.basic_publish("", "precious-" + names.unique, b"kept")
    id = super(TerariumClient, c).submit("no-such-program", id="precious-" + names.unique)
    assert c.final(id).status == "FAILED"
    c.run(ACT, steps(["output", "x"]))
    assert c.get("precious-" + names.unique)[2] == b"kept"
    c.channel.queue_delete("precious-" + names.unique)


# The end, whatever the broker does

def test_second_signal_does_not_wait_for_the_broker(on_own_broker, own_broker, tmp_path):
    client, r = on_own_broker(limits={"shutdown": "1h", "grace": "1s"})
    id = client.submit("act", steps(["progress", "up"], ["wait_for", str(tmp_path / "gate")]))
    client.wait_progress(id)
    own_broker.alarm(True)
    (tmp_path / "gate").touch()
    r.wait_log("task.finished")
    r.signal(signal.SIGTERM)
    r.wait_log("runner.stopping")
    r.signal(signal.SIGTERM)
    assert r.wait_end() == 0
    own_broker.alarm(False)


@pytest.mark.parametrize("nth", range(3))
def test_end_while_requests_arrive(terarium, nth, clients):
    """Whatever was not answered is still in its queue, and its cancel too."""
    s = terarium()
    c = s.client
    ids = []
    for i in range(60):
        id = str(uuid.uuid4())
        c.before_submit(id)
        if i % 3 == 0:
            c.cancel(id)
        ids.append(c.submit(ACT, steps(["output", "x"]), id=id))
        if i == 20 + 15 * nth:
            s.runner.signal(signal.SIGTERM)
    assert s.runner.wait_end() == 0
    c.may_repeat = True
    clients.remove(c)
    terarium(c)
    for i, id in enumerate(ids):
        assert c.final(id).status == ("CANCELLED" if i % 3 == 0 else "SUCCESS")


def test_supervisor_that_does_not_read(runner, client):
    """Whoever we tell of our state may hang: nobody waits for him."""
    r = runner()
    full = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    with full, pytest.raises(BlockingIOError):
        while True:
            full.sendto(b"STATUS=full", r.notify.name)
    r.signal(signal.SIGTERM)
    assert r.wait_end() == 0


# Reload

def test_reload_without_a_file(runner, client, broker, names):
    """Started by environment alone, and told to reload."""
    r = runner(wrapper=["/bin/sh", "-c", 'exec "$1"', "sh"], environment={
        "TASKRUNNER_NAME": names.runner, "TASKRUNNER_BROKER_ADDRESSES": broker.address,
        "TASKRUNNER_BROKER_USERNAME": USER, "TASKRUNNER_BROKER_PASSWORD": PASSWORD,
        "TASKRUNNER_QUEUES": names.queue + ":2",
        "TASKRUNNER_RESPONSES_EXCHANGE": names.responses,
        "TASKRUNNER_CONTROL_EXCHANGE": names.control,
        "TASKRUNNER_DEAD_LETTER_QUEUE": names.dead_letters,
        "TASKRUNNER_PROGRAM_DIRECTORIES": os.path.dirname(ACT)})
    r.signal(signal.SIGHUP)
    r.wait_log("config.reloaded", "environment")
    assert client.run("act.py", steps(["output", "x"]))[-1].output == b"x"


def test_reload_says_what_it_is_for(runner, client, names, tmp_path):
    """Tasks that run or wait keep their programs; new queues need a restart, and that is said."""
    r = runner(programs={"act": program(ACT, slots=1)})
    gate = str(tmp_path / "gate")
    ids = [client.submit("act", steps(["wait_for", gate], ["output", "x"])) for _ in range(3)]
    client.wait(lambda: any(client.by_id[id] for id in ids), "one runs")
    config = json.loads(r.config_file.read_text())
    config["queues"] = [{"name": "other-" + names.unique, "slots": 9}]
    config["programs"] = {"new": act(["output", "new"])}
    r.write_config(config)
    r.signal(signal.SIGHUP)
    r.wait_log("config.reloaded", "restart")
    open(gate, "w").close()
    assert [client.final(id).output for id in ids] == 3 * [b"x"]
    assert client.run("new")[-1].output == b"new"
    assert client.run("act")[-1].cause == "not-found"


# Everything at once

KINDS = 8
STRESS = 3000


def send_mixed(client, i, rng):
    """One of all kinds; gives its id and what its final may be."""
    id = "%04d-%s" % (i, client.names.unique)
    kind = i % KINDS
    if kind == 0:
        client.send(raw(client, id=id, input=5), id=id, content_type="application/json")
        return id, {"protocol-error"}
    if kind == 1:
        client.submit("no-such-program", id=id)
        return id, {"not-found"}
    if kind == 2:
        client.submit("fails", id=id)
        return id, {"exited"}
    if kind == 3:
        for _ in range(2):
            client.submit("true", id=id)
        return id, {""}
    if kind == 4:
        client.cancel(id)
        client.submit("true", id=id)
        return id, {"", "cancelled"}
    if kind == 5:
        client.submit("naps", id=id)
        client.cancel("%04d-%s" % (rng.randrange(max(0, i - 200), i + 1) // KINDS * KINDS + 5,
                                   client.names.unique))
        return id, {"", "cancelled"}
    client.submit("true", id=id, encoding=("json", "msgpack")[kind - 6])
    return id, {""}


def test_three_thousand_while_connections_are_closed(on_own_broker, own_broker, names):
    """Each gets exactly one final response, and nothing is left over."""
    client, r = on_own_broker(
        queues=[{"name": names.queue, "slots": 16}],
        log={"level": "notice"},
        programs={"true": program("/bin/true"), "fails": program("/bin/false"),
                  "naps": program("/bin/sleep", "0.3", pipe_arguments="none")})
    client.may_repeat = True
    rng = random.Random(4711)
    expected = {}
    for i in range(STRESS):
        id, causes = send_mixed(client, i, rng)
        expected[id] = causes
        if i % 20 == 0:
            client.pump(0)
        if i in (500, 1000, 2000, STRESS - 1):
            own_broker.close_all_but_pika()
    client.wait(lambda: all(any(x.is_final for x in client.by_id[id]) for id in expected),
                lambda: "finals of %s" % [id for id in expected if not any(
                    x.is_final for x in client.by_id[id])][:20])
    assert r.log.count("broker.consumer-lost") >= 2
    client.wait(lambda: client.count(names.queue) == 0, "no request is left")
    client.run("true")
    client.pump(0.2)
    for id, causes in expected.items():
        finals = [x for x in client.by_id[id] if x.is_final]
        # A copy that comes when the first has ended is a request of its own.
        is_twin = int(id[:4]) % KINDS == 3
        assert len(finals) == 1 or is_twin and len(finals) == 2, (id, client.by_id[id])
        assert finals[0].cause in causes, (id, finals)
    # Runs that were counted again are no matter here.
    client.by_id.clear()


def test_cancellation_queues_while_connections_are_closed(terarium, broker, names):
    """The same in the ancestor's way: what was cancelled before it was sent never runs."""
    c = terarium().client
    c.may_repeat = True
    rng = random.Random(815)
    kinds = {}
    for i in range(400):
        kind = rng.choice(["early", "late", "plain", "odd"])
        id = "%s%04d-%s" % ("amq." if kind == "odd" else "", i, names.unique)
        kinds[id] = kind
        if i in (100, 102, 200, 300):
            broker.close_all_but_pika()
        if kind == "odd":  # no queue may have that name
            super(TerariumClient, c).submit("/bin/true", id=id)
            continue
        c.before_submit(id)
        if kind == "early":
            c.cancel(id)
        c.submit("/bin/true", id=id)
        if kind == "late":
            c.cancel(id)
    for id, kind in kinds.items():
        c.wait(lambda: any(x.is_final for x in c.by_id[id]), lambda: "final of %s %s" % (kind, id))
        (final,) = [x for x in c.by_id[id] if x.is_final]
        assert final.status in {"early": ["CANCELLED"], "late": ["CANCELLED", "SUCCESS"],
                                "plain": ["SUCCESS"], "odd": ["SUCCESS"]}[kind], (id, final)
    c.by_id.clear()


# Names that harm broker or connection

@pytest.mark.parametrize("reply_to", ["amq.rabbitmq.reply-to.!!!.x", "amq.rabbitmq.reply-to.YWJj.x"])
def test_forged_reply_to_over_which_the_server_falls(runner, client, reply_to):
    """RabbitMQ 3.10 closes the connection of who publishes there; others must be answered."""
    client.may_repeat = True  # what was not confirmed by then is sent again
    runner()
    for _ in range(2):
        client.send(raw(client, routingKey=...), content_type="application/json",
                    properties={"reply_to": reply_to})
    ids = [client.submit("act", steps(["output", "x"])) for _ in range(5)]
    for id in ids:
        assert client.final(id).output == b"x"
    assert json.loads(client.dead_letter()[2])["status"] == "SUCCESS"
    assert json.loads(client.dead_letter()[2])["status"] == "SUCCESS"


def test_routing_key_with_nul(runner, client):
    """Control messages may have any; the connection is not lost over it."""
    r = runner()
    id = client.submit("act", steps(["progress", "up"], ["sleep", 200]))
    client.wait_progress(id)
    client.channel.basic_publish(client.names.control, "a\0b", json.dumps(
        {"op": "cancel", "id": id}).encode())
    assert client.final(id).status == "CANCELLED"
    assert "consumer-lost" not in r.log
