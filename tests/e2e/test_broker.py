# SPDX-License-Identifier: Apache-2.0
"""The broker goes away, comes back, refuses, has no room; answers by reply_to; dead letters."""

import base64
import datetime
import decimal
import json
import signal
import uuid

import pika
import pytest

from support import processes
from support.client import Client
from support.proxy import Proxy
from support.runner import SOON, act, base_config, steps
from support.strict import Response
from support.waiting import wait_until


@pytest.fixture
def restartable(own_broker, names, tmp_path, clients, start_runner):
    """A runner and a client on a broker that the test may stop."""
    clients.append(Client(own_broker, names))
    config = base_config(own_broker, names, tmp_path / "run")
    return own_broker, clients[-1], start_runner(own_broker, clients[-1], config)


@pytest.mark.threads
def test_broker_restart(restartable):
    """Down and up again: the runner reconnects by itself and serves; fds and memory as before."""
    broker, client, r = restartable
    assert client.run("act", steps(["output", "before"]))[-1].output == b"before"
    fds = processes.count_fds(r.pid) + 1  # the connection for events may come later
    for way in (broker.down, broker.kill):
        way()
        broker.start()
        client.reconnect()
        id = client.submit("act", steps(["output", "after"]))
        assert client.final(id).output == b"after"
        wait_until(lambda: processes.count_fds(r.pid) <= fds, "no more descriptors than before")
    assert r.process.poll() is None


def test_next_address_when_one_is_gone(broker, names, client, tmp_path, start_runner):
    """Nothing is lost on the way from one to the other, and what runs goes on."""
    client.may_repeat = True
    gone, ways = "amqp://127.0.0.1:1", [Proxy(broker.port), Proxy(broker.port)]
    config = base_config(broker, names, tmp_path / "run")
    config["broker"].update(SOON, addresses=[gone, *(way.address for way in ways)])
    try:
        r = start_runner(broker, client, config)
        assert ways[0].sockets and not ways[1].sockets
        running = client.submit("act", steps(["progress", "up"], ["wait_for", str(tmp_path / "go")]))
        client.wait_progress(running)
        ways[0].close()
        ids = [client.submit("act", steps(["output", "x"])) for _ in range(20)]
        assert {client.final(id).output for id in ids} == {b"x"}
        assert ways[1].sockets
        (tmp_path / "go").touch()
        assert client.final(running).status == "SUCCESS"
        assert client.final(running).headers["x-tr-attempt"] == 1
        r.stop(client)
    finally:
        for way in ways:
            way.close()


def test_task_that_runs_over_a_restart(restartable, tmp_path):
    """It gets exactly one final response, whoever of its runs makes it."""
    broker, client, r = restartable
    gate = tmp_path / "gate"
    id = client.submit("act", steps(["progress", "up"], ["wait_for", str(gate)], ["output", "done"]))
    client.wait_progress(id)
    broker.kill()
    broker.start()
    client.reconnect()
    gate.touch()
    assert client.final(id).output == b"done"
    client.run("act", steps())
    assert [x.is_final for x in client.by_id[id]].count(True) == 1


def test_result_that_comes_while_the_broker_is_away(restartable, tmp_path):
    """The program ends in between: its result is kept and told afterwards."""
    broker, client, r = restartable
    gate, done = tmp_path / "gate", tmp_path / "done"
    id = client.submit("act", steps(["progress", "up"], ["wait_for", str(gate)], ["output", "kept"],
                                    ["touch", str(done)]))
    client.wait_progress(id)
    broker.kill()
    gate.touch()
    wait_until(done.exists, "the program's end")
    broker.start()
    client.reconnect()
    assert client.final(id).output == b"kept"


def test_end_while_the_broker_is_away(restartable):
    broker, client, r = restartable
    broker.kill()
    r.wait_log("broker.unavailable")
    r.signal(signal.SIGTERM)
    assert r.wait_end() == 0
    broker.start()
    client.reconnect()


@pytest.mark.threads
def test_connections_closed_by_the_administrator(restartable):
    """Again and again, with work going on: everything is answered."""
    broker, client, r = restartable
    ids = []
    for i in range(3):
        ids += [client.submit("act", steps(["sleep", 0.2], ["output", "%d" % (len(ids) + k)]))
                for k in range(4)]
        broker.ctl("close_all_connections", "for the test")
        client.reconnect()
    for i, id in enumerate(ids):
        client.wait(lambda: any(x.is_final for x in client.by_id[id]), "final of %s" % id)
        # At least once: a run whose delivery was lost may be done again.
        finals = [x for x in client.by_id[id] if x.is_final]
        assert {x.output for x in finals} == {b"%d" % i}
    wait_until(lambda: not r.processes(ids), "end of all")
    client.by_id.clear()


@pytest.mark.threads
def test_alarm_holds_answers_back_and_loses_none(restartable, tmp_path):
    broker, client, r = restartable
    gate = tmp_path / "gate"
    ids = [client.submit("act", steps(["wait_for", str(gate)], ["output", "x"])) for _ in range(4)]
    for id in ids:
        client.wait_running(id)
    broker.alarm(True)
    gate.touch()
    r.wait_log("blocked")
    broker.alarm(False)
    for id in ids:
        assert client.final(id).output == b"x"


def test_request_queue_deleted(restartable, names):
    """The broker cancels the consumer; the runner declares its queue again and goes on."""
    broker, client, r = restartable
    client.run("act", steps())
    client.channel.queue_delete(names.queue)

    def there():
        probe = broker.connect()
        try:
            probe.channel().queue_declare(names.queue, passive=True)
            return True
        except Exception:
            return False
        finally:
            if probe.is_open:
                probe.close()
    client.wait(there, "the queue is declared again")
    assert client.run("act", steps(["output", "again"]))[-1].output == b"again"


def test_response_exchange_deleted(restartable, names):
    """An answer that has nowhere to go waits until it has."""
    broker, client, r = restartable
    client.may_repeat = True  # the broker closes the channel: what was on its way comes again
    client.run("act", steps())
    client.channel.exchange_delete(names.responses)
    id = client.submit("act", steps(["output", "x"]))
    r.wait_log("NOT_FOUND", names.responses)
    client.channel.exchange_declare(names.responses, "direct", durable=True)
    client.channel.queue_bind(client.response_queue, names.responses, names.key)
    assert client.final(id).output == b"x"
    assert client.run("act", steps(["output", "y"]))[-1].output == b"y"


# Answers to reply_to

def test_reply_to_and_correlation_id(runner, client):
    runner()
    queue = client.private_queue()
    id = client.submit("act", steps(["progress", "p"], ["output", "x"]), routingKey=...,
                       properties={"reply_to": queue, "correlation_id": "corr 1"})
    for status in ("RUNNING", "RUNNING", "SUCCESS"):
        method, properties, body = client.get(queue)
        response = Response(method, properties, body)
        assert (response.id, response.status, response.routingKey) == (id, status, None)
        assert properties.correlation_id == "corr 1"
    assert client.by_id[id] == []


def test_direct_reply_to(runner, client):
    """amq.rabbitmq.reply-to: answers without any queue."""
    runner()
    got = []
    channel = client.connection.channel()
    channel.basic_consume("amq.rabbitmq.reply-to",
                          lambda c, m, p, b: got.append(Response(m, p, b)), auto_ack=True)
    id = str(uuid.uuid4())
    client.ids.add(id)
    channel.basic_publish("", client.names.queue, client.encode(
        {"id": id, "script": "act", "input": steps(["output", "x"])}, "json"),
        pika.BasicProperties(content_type="application/json", reply_to="amq.rabbitmq.reply-to"))
    client.wait(lambda: got and got[-1].is_final, "final response by direct reply-to")
    assert [r.status for r in got] == ["RUNNING", "SUCCESS"]


def test_routing_key_wins_over_reply_to(runner, client):
    """A request with both is answered as the ancestor would."""
    runner()
    queue = client.private_queue()
    id = client.submit("act", steps(["output", "x"]), properties={"reply_to": queue,
                                                                  "correlation_id": "c"})
    assert client.final(id).output == b"x"
    assert client.final(id).properties.correlation_id == "c"
    assert client.count(queue) == 0


def test_requester_is_gone(runner, client):
    """Final responses that no queue takes are kept in the dead letters; progress is not."""
    runner()
    id = client.submit("act", steps(["progress", "p"], ["output", "kept"]),
                       routingKey="nobody-" + client.names.unique)
    method, properties, body = client.dead_letter()
    response = Response(method, properties, body)
    assert (response.id, response.status, response.output) == (id, "SUCCESS", b"kept")
    client.run("act", steps())
    assert client.count(client.names.dead_letters) == 0


def test_reply_queue_is_gone(runner, client):
    runner()
    id = client.submit("act", steps(["output", "kept"]), routingKey=...,
                       properties={"reply_to": "gone-" + client.names.unique})
    response = Response(*client.dead_letter())
    assert (response.id, response.status) == (id, "SUCCESS")


def test_without_dead_letter_queue(runner, client):
    """dead_letter_queue: "" drops such things with a line in the log."""
    r = runner(dead_letter_queue="")
    client.send(b"{nonsense", content_type="application/json")
    r.wait_log("warn")
    assert client.run("act", steps())[-1].status == "SUCCESS"


def test_headers_of_the_final_response(runner, client):
    r = runner(programs={"fine": act(["output", "x"])})
    good = client.run("fine")[-1]
    assert good.headers["x-tr-runner"] == r.name
    assert good.headers["x-tr-attempt"] == 1
    assert good.headers["x-tr-sequence"] == 2
    assert good.headers["x-tr-exit-code"] == 0
    for name in ("x-tr-wall-ms", "x-tr-cpu-ms", "x-tr-peak-memory"):
        assert isinstance(good.headers[name], int) and good.headers[name] >= 0
    assert "x-tr-cause" not in good.headers
    assert "x-tr-signal" not in good.headers
    bad = client.run("act", steps(["kill", 11]))[-1]
    assert (bad.headers["x-tr-cause"], bad.headers["x-tr-signal"]) == ("killed", 11)
    assert "x-tr-exit-code" not in bad.headers


def test_trace_context_is_handed_on(runner, client):
    """traceparent and tracestate of the request stand on each of its responses."""
    runner()
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
             "tracestate": "vendor=value"}
    id = client.submit("act", steps(["output", "x"]), properties={"headers": trace})
    for r in client.responses(id):
        assert {k: r.headers.get(k) for k in trace} == trace


def test_strange_headers_do_no_harm(runner, client):
    """Tables in tables, dates, big numbers, long texts."""
    runner()
    headers = {"t": {"a": {"b": [1, "x", None]}}, "d": datetime.datetime(2026, 1, 1),
               "n": 2 ** 62, "dec": decimal.Decimal("1.5"), "long": "x" * 20000, "b": b"\0\1",
               "bool": True, "x-death": [{"count": 5}], "x-tr-attempt": "not a number"}
    id = client.submit("act", steps(["output", "x"]), properties={
        "headers": headers, "message_id": "m" * 255, "app_id": "a", "user_id": None,
        "expiration": "60000", "priority": 9})
    assert client.final(id).output == b"x"


def test_redelivered_request_counts_attempts(runner, client, tmp_path):
    first = runner(broker=SOON)
    id = client.submit("act", steps(["progress", "up"], ["wait_for", str(tmp_path / "go")]))
    assert client.wait_progress(id).headers["x-tr-attempt"] == 1
    first.kill()
    second = runner(broker=SOON)
    again = client.wait(lambda: [r for r in client.by_id[id]
                                 if r.headers["x-tr-runner"] == second.name], "second attempt")
    assert again[0].headers["x-tr-attempt"] >= 2
    (tmp_path / "go").touch()
    assert client.final(id).status == "SUCCESS"


def test_base64_of_every_length(runner, client):
    runner(programs={"quiet": act(["output", "x"])})
    for n in range(0, 10):
        id = client.submit("act", steps(["output_input"], pad="x" * n))
        body = client.final(id).body
        output = json.loads(body)["output"]
        assert len(output) % 4 == 0
        assert base64.b64decode(output, validate=True) == client.final(id).output
