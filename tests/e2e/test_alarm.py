# SPDX-License-Identifier: Apache-2.0
"""While the broker has an alarm it reads nothing from who publishes, but for a first message without
a body: by that, tasks are reached and steered all the same."""

import pika
import pytest

from support.client import Client
from support.runner import base_config, steps
from support.taskctl import Taskctl
from support.waiting import wait_until


@pytest.fixture
def alarmed(own_broker, names, tmp_path, clients, start_runner):
    """alarmed(n, …): n runners, each with a task, whose connections are blocked; gives the client, the
    ids of the tasks, and the runners."""
    def start(n=1, of="memory", **sections):
        clients.append(Client(own_broker, names))
        client = clients[-1]
        client.may_repeat = True
        runners, ids = [], []
        for _ in range(n):
            config = base_config(own_broker, names, tmp_path / "run")
            config.update(sections)
            runners.append(start_runner(own_broker, client, config, name=config["name"]))
            ids.append(client.submit("act", steps(
                ["progress", "up"], ["wait_for", str(tmp_path / "talk")], ["progress", "more"],
                ["sleep", 200])))
            client.wait_progress(ids[-1])
        own_broker.alarm(True, of)
        (tmp_path / "talk").touch()
        for r in runners:
            r.wait_log("broker.blocked")
        return client, ids, runners
    return start


@pytest.fixture
def cancel(names):
    """cancel(broker, id, …): on a connection of its own; gives a function that waits for the answer's
    headers."""
    connections = []

    def start(broker, id, **headers):
        connection = broker.connect()
        connections.append((broker, connection))
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        answers = []
        channel.basic_consume(queue, lambda c, m, p, body: answers.append((p, body)), auto_ack=True)
        channel.basic_publish(names.control, "", b"", pika.BasicProperties(
            reply_to=queue, correlation_id="mine",
            headers={"x-tr-op": "cancel", "x-tr-id": id, **headers}))

        def wait():
            wait_until(lambda: connection.process_data_events(0.05) or answers, "an answer")
            (properties, body), = answers
            assert (body, properties.correlation_id) == (b"", "mine")
            return properties.headers
        return wait

    yield start
    for broker, connection in connections:
        broker.recover()  # it does not hear a close before
        connection.close()


@pytest.mark.parametrize("of", ["memory", "disk"])
def test_cancel_is_answered_and_obeyed(alarmed, own_broker, cancel, of):
    client, (id,), (r,) = alarmed(of=of)
    pids = r.processes([id])
    assert pids
    headers = cancel(own_broker, id)()
    assert headers.pop("x-tr-instance")
    assert headers == {"x-tr-op": "cancel", "x-tr-id": id, "x-tr-result": "accepted", "x-tr-runner": r.name}
    assert cancel(own_broker, id)()["x-tr-result"] in ("accepted", "gone")
    wait_until(lambda: not r.processes([id]), "the program is ended")
    own_broker.alarm(False)
    assert client.final(id).status == "CANCELLED"


def test_taskctl_cancel(alarmed, own_broker, names, tmp_path):
    client, (id,), (r,) = alarmed()
    taskctl = Taskctl(tmp_path, own_broker, names)
    try:
        status, out, err = taskctl("cancel", id)
        assert status == 0, err
    finally:
        taskctl.stop()
    wait_until(lambda: not r.processes([id]), "the program is ended")
    own_broker.alarm(False)
    assert client.final(id).status == "CANCELLED"


def test_taskctl_cancel_of_all(alarmed, own_broker, names, tmp_path):
    """Obeyed. That a runner has is all that gets through: of which tasks, cannot be told."""
    client, (id,), (r,) = alarmed()
    taskctl = Taskctl(tmp_path, own_broker, names)
    try:
        status, out, err = taskctl("cancel", "--all", "--wait", "2s")
        assert (status, out) == (5, b""), err
        assert "the broker takes no messages for now" in err
        assert "runner %s has told of 0 of 1 only" % r.name in err
    finally:
        taskctl.stop()
    wait_until(lambda: not r.processes([id]), "the program is ended")
    own_broker.alarm(False)
    assert client.final(id).status == "CANCELLED"


def test_many_cancels(alarmed, own_broker, cancel):
    """Each answer has a connection of its own; what is left when the alarm ends goes the usual way."""
    client, ids, (r,) = alarmed()
    for answer in [cancel(own_broker, ids[0]) for _ in range(10)]:
        assert answer()["x-tr-id"] == ids[0]
    answers = [cancel(own_broker, ids[0]) for _ in range(10)]
    own_broker.alarm(False)
    for answer in answers:
        assert answer()["x-tr-id"] == ids[0]
    assert client.final(ids[0]).status == "CANCELLED"


@pytest.mark.parametrize("headers, problem", [
    ({"x-tr-op": None}, "op is missing"), ({"x-tr-op": "explode"}, "op explode is unknown"),
    ({"x-tr-id": "a/b"}, "id is none"), ({"x-tr-op": 7}, "op is not a text"),
    ({"x-tr-op": "who-has"}, "instance is missing")])
def test_malformed(runner, broker, cancel, headers, problem):
    r = runner()
    headers = cancel(broker, "x", **headers)()
    assert problem in headers["x-tr-error"] and headers["x-tr-runner"] == r.name
