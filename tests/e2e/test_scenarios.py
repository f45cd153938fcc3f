# SPDX-License-Identifier: Apache-2.0
"""The nine scenarios of the ancestor's tests, in JSON, in MessagePack and as its own server speaks."""

import os
import random
import uuid

import pytest

from support.runner import steps

pytestmark = pytest.mark.threads

FIVE = [["progress", '{"step": %d}' % i] for i in range(5)]
HANG = [["progress", "started"], ["sleep", 200]]


def test_success_with_five_progress_messages_is_seven_responses(setting):
    responses = setting.client.run(setting.act, steps(*FIVE, ["output", "result \0\xff"]))
    assert [r.status for r in responses] == 6 * ["RUNNING"] + ["SUCCESS"]
    first, *progress, final = responses
    assert (first.output, first.stdout, first.stderr) == (None, "", "")
    assert [r.output for r in progress] == [b'{"step": %d}' % i for i in range(5)]
    assert final.output == b"result \0\xff"
    assert final.cause == ""


def test_what_the_request_held_is_echoed(setting):
    client = setting.client
    properties = {"list": [1, 2.5, None, True, "\u00fc\n"], "map": {"": {}}}
    id = client.submit(setting.act, steps(["progress", "1"]), additionalProperties=properties,
                       projectId="a project", userId="a user", requestSHA256="a digest",
                       useCache=False)
    for r in client.responses(id):
        assert (r.id, r.script, r.routingKey) == (id, setting.act, client.names.key)
        assert (r.projectId, r.userId, r.requestSHA256, r.useCache) == (
            "a project", "a user", "a digest", False)
        assert r.additionalProperties == properties


def test_what_the_request_did_not_hold_is_null(setting):
    for r in setting.client.run(setting.act, steps(), additionalProperties=..., projectId=...,
                                userId=..., requestSHA256=..., useCache=..., timeoutMinutes=...):
        assert (r.projectId, r.userId, r.requestSHA256, r.additionalProperties) == 4 * (None,)
        assert r.useCache is True


def test_failure(setting):
    responses = setting.client.run(
        setting.act, steps(["stdout", "out\n"], ["stderr", "it broke\n"], ["exit", 3]))
    assert [r.status for r in responses] == ["RUNNING", "FAILED"]
    final = responses[-1]
    assert final.cause == "exited"
    assert final.headers["x-tr-exit-code"] == 3
    assert "3" in final.text
    assert (final.stdout, final.stderr) == ("out\n", "it broke\n")


def test_cancel(setting):
    client = setting.client
    id = client.submit(setting.act, steps(*HANG))
    client.wait_progress(id, b"started")
    client.cancel(id)
    client.responses(id)
    assert client.statuses(id) == ["RUNNING", "RUNNING", "CANCELLING", "CANCELLED"]
    assert client.final(id).output is None
    assert client.final(id).cause == "cancelled"


def test_cancel_before_start(setting):
    client = setting.client
    id = str(uuid.uuid4())
    client.before_submit(id)
    client.cancel(id)
    client.heard()
    client.submit(setting.act, steps(*HANG), id=id)
    client.responses(id)
    assert client.statuses(id) == ["CANCELLED"]


def test_large_input_and_output(setting):
    data = random.Random(1).randbytes(3 << 20)
    input = steps(["output_input"], padding=data.decode("latin-1"))
    responses = setting.client.run(setting.act, input)
    assert [r.status for r in responses] == ["RUNNING", "SUCCESS"]
    assert responses[-1].output == input


def test_cancel_ten_times(setting):
    client = setting.client
    id = client.submit(setting.act, steps(*HANG))
    client.wait_progress(id, b"started")
    for _ in range(10):
        client.cancel(id)
    client.responses(id)
    assert client.statuses(id) == ["RUNNING", "RUNNING", "CANCELLING", "CANCELLED"]


def test_cancel_too_late(setting):
    client = setting.client
    id = client.submit(setting.act, steps(["output", "done"]))
    assert client.final(id).status == "SUCCESS"
    client.cancel(id)
    client.heard()
    client.run(setting.act, steps())  # whatever the cancel might do is done by then
    assert client.statuses(id) == ["RUNNING", "SUCCESS"]


def test_spawn_error(setting):
    responses = setting.client.run("no-such-program")
    assert [r.status for r in responses] == ["FAILED"]
    assert responses[0].cause == "not-found"
    assert "no-such-program" in responses[0].text


def test_soak_of_64_mixed_requests(setting):
    """Success, failure, cancel before start and cancel while running, all at once; each answer is
    compared with what its own request asked for."""
    client, rng, expected = setting.client, random.Random(2), {}
    for i in range(64):
        kind = ("success", "failure", "cancelled", "hanging")[rng.randrange(4)]
        expected[str(uuid.uuid4())] = (kind, i)
    for id, (kind, _) in expected.items():
        if kind == "cancelled":
            client.before_submit(id)
            client.cancel(id)
    client.heard()
    for id, (kind, i) in expected.items():
        if kind == "success":
            client.submit(setting.act, steps(["progress", "p%d" % i], ["output", "o%d" % i]), id=id)
        elif kind == "failure":
            client.submit(setting.act, steps(["progress", "p%d" % i], ["exit", 1 + i]), id=id)
        elif kind == "cancelled":
            client.submit(setting.act, steps(["output", "never"]), id=id)
        else:
            client.submit(setting.act, steps(*HANG), id=id)
    hanging = [id for id, (kind, _) in expected.items() if kind == "hanging"]
    while hanging:  # they fill all slots sooner or later, so each is cancelled as soon as it runs
        client.wait(lambda: any(len(client.by_id[id]) >= 2 for id in hanging), "a hanging one")
        for id in [id for id in hanging if len(client.by_id[id]) >= 2]:
            client.cancel(id)
            hanging.remove(id)
    for id, (kind, i) in expected.items():
        responses = client.responses(id)
        statuses = [r.status for r in responses]
        if kind == "success":
            assert statuses == ["RUNNING", "RUNNING", "SUCCESS"]
            assert (responses[1].output, responses[2].output) == (b"p%d" % i, b"o%d" % i)
        elif kind == "failure":
            assert statuses == ["RUNNING", "RUNNING", "FAILED"]
            assert responses[2].headers["x-tr-exit-code"] == 1 + i
        elif kind == "cancelled":
            assert statuses == ["CANCELLED"], (i, responses)
        else:
            assert statuses == ["RUNNING", "RUNNING", "CANCELLING", "CANCELLED"]
    assert os.path.exists("/proc/%d" % setting.runner.pid)
