# SPDX-License-Identifier: Apache-2.0
"""What is at the broker already, and not as we would have made it; and answers that fit nowhere."""

import uuid

import pytest

from support.broker import PASSWORD
from support.client import Client
from support.runner import base_config, steps


def refused(runner, *words):
    """A start that finds this says what is wrong, and ends."""
    assert PASSWORD not in runner.wait_log("error", *words)
    assert runner.wait_end() == 1


def test_response_exchange_of_another_type(runner, client, names):
    """The log names setting, exchange and argument, what is wanted and what is."""
    r = runner(ready=False, responses={"type": "topic"})
    refused(r, "responses.exchange " + names.responses, "type", "topic", "direct")


def test_control_exchange_of_another_type(runner, client, names):
    client.channel.exchange_declare(names.control, "topic", durable=True)
    r = runner(ready=False)
    refused(r, "control.exchange " + names.control, "type", "fanout", "topic")


def test_dead_letter_queue_that_differs(runner, client, names):
    queue = names.dead_letters + "-other"
    client.channel.queue_declare(queue, durable=False)
    r = runner(ready=False, dead_letter_queue=queue)
    refused(r, "dead_letter_queue " + queue, "durable")
    client.channel.queue_delete(queue)


def test_exchanges_of_others_are_only_used(runner, client, names):
    """declare: false; their properties are none of our business."""
    client.channel.exchange_delete(names.responses)
    client.channel.exchange_declare(names.responses, "topic", durable=False)
    client.channel.queue_bind(client.response_queue, names.responses, names.key)
    client.channel.exchange_declare(names.control, "direct", durable=False)
    runner(responses={"declare": False}, control={"declare": False})
    assert client.run("act", steps(["output", "x"]))[-1].output == b"x"
    id = client.submit("act", steps(["sleep", 200]))
    client.wait_running(id)
    client.cancel(id)
    assert client.final(id).status == "CANCELLED"


def test_no_control_exchange(runner, client, names):
    """Tasks run all the same, and nothing is declared for cancels."""
    runner(control={"exchange": ""})
    assert client.run("act", steps(["output", "x"]))[-1].output == b"x"
    client.channel.exchange_declare(names.control, "direct", durable=True)  # would fail on a fanout


def test_responses_through_the_default_exchange(runner, client):
    """The routing key is then the name of a queue."""
    runner(responses={"exchange": ""})
    id = client.submit("act", steps(["output", "x"]), routingKey=client.response_queue)
    assert client.final(id).output == b"x"


# Answers

@pytest.fixture
def on_own_broker(own_broker, names, tmp_path, clients, start_runner):
    clients.append(Client(own_broker, names))
    r = start_runner(own_broker, clients[-1], base_config(own_broker, names, tmp_path / "run"))
    return clients[-1], r


def test_answer_that_no_server_takes_in_any_form(on_own_broker, own_broker):
    """It is dropped with an error in the log, and its request is not run again and again."""
    client, r = on_own_broker
    own_broker.ctl("eval", "application:set_env(rabbit, max_message_size, 200).")
    try:
        own_broker.ctl("close_all_connections", "for the test")
        client.reconnect()
        client.wait(lambda: r.log.count("for=requests") >= 2, "the runner's new connection")
        id = str(uuid.uuid4())
        client.send(client.encode({"id": id, "script": "none", "routingKey": client.names.key},
                                  "json"), id=id, content_type="application/json")
        r.wait_log("response.dropped", id)
        client.wait(lambda: client.count(client.names.queue) == 0, "the request's end")
        assert r.log.count("task.finished") == 1
    finally:
        own_broker.ctl("eval", "application:set_env(rabbit, max_message_size, 134217728).")


def test_long_name_is_cut_between_characters(runner, client):
    """What is echoed of a program's name when the answer would be too large."""
    runner(limits={"message": "16KiB"})
    for name in ("ä" * 9000, "a" + "ä" * 9000, "進" * 6000, "ab" + "😀" * 5000):
        final = client.final(client.submit(name))
        assert final.status == "FAILED"
        assert name.startswith(final.script) and 250 < len(final.script.encode()) <= 256
