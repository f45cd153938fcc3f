# SPDX-License-Identifier: Apache-2.0
"""Requests that are wrong: each gets exactly one clear answer, or goes to the dead letters."""

import base64
import json

import msgpack
import pytest

from support.runner import act, steps
from support.strict import Response

ID = "0f6f5a5e-2a53-4a4b-9a2f-3f0e7f1f6d10"


@pytest.fixture
def sent(runner, client):
    """sent(body, content_type, PROPERTY=…): a runner that gets this body and its client."""
    runner()

    def send(body, content_type="application/json", **properties):
        client.ids.add(ID)
        client.send(body, content_type=content_type, properties=properties)
        return client
    yield send
    assert client.run("act", steps(["output", "still there"]))[-1].output == b"still there"


def request(client, **members):
    """A right request as an object, with some members changed (`...` leaves one out)."""
    all_members = {"id": ID, "script": "act", "input": base64.b64encode(steps()).decode(),
                   "routingKey": client.names.key, **members}
    return {k: v for k, v in all_members.items() if v is not ...}


def failed(client, cause, *words):
    """The one answer is FAILED, for this cause, with these words in its text."""
    responses = client.responses(ID)
    assert [r.status for r in responses] == ["FAILED"]
    assert responses[0].cause == cause, responses
    for word in words:
        assert word in responses[0].text, responses
    return responses[0]


# Without any address: a copy in the dead letters, a line in the log. With one: an answer there.

UNREADABLE = pytest.mark.parametrize("body, content_type", [
    (b"", "application/json"),
    (b"{", "application/json"),
    (b"not json at all", None),
    (b"\xff\xfe\x00", None),
    (b"[1, 2, 3]", "application/json"),
    (b"null", "application/json"),
    (b'"text"', "application/json"),
    (b"{}", "application/json"),
    (b'{"script": "act"}', "application/json"),
    (b'{"id": 5, "script": "act"}', "application/json"),
    (b'{"id": null, "script": "act"}', "application/json"),
    (b"[" * 100000, "application/json"),
    (b'{"a":' * 100000, "application/json"),
    (b"\x80", "application/msgpack"),
    (b"\x81\xa2id", "application/msgpack"),
    (b"\xdf\xff\xff\xff\xff", "application/msgpack"),
    (b"\xc1", "application/msgpack"),
    (b"\x91" * 100000, "application/msgpack"),
    (b"\x81\xa1a" * 100000, "application/msgpack"),
    (b"", "application/msgpack"),
    (b"\x00" * 100, "image/png"),
], ids=lambda v: repr(v[:24]) if v is not None else "none")


@UNREADABLE
def test_unreadable_goes_to_the_dead_letters(sent, body, content_type):
    client = sent(body, content_type)
    _, properties, copy = client.dead_letter()
    assert copy == body
    assert properties.content_type == content_type
    assert client.count(client.names.queue) == 0  # acknowledged, not left to come again


@UNREADABLE
def test_unreadable_is_answered_where_the_message_says(runner, client, body, content_type):
    """Once, and with nothing in the dead letters (which every test looks for at its end)."""
    runner()
    queue = client.private_queue()
    client.send(body, content_type=content_type,
                properties={"reply_to": queue, "correlation_id": "question 5"})
    answer = Response(*client.get(queue))
    assert (answer.status, answer.cause, answer.id) == ("FAILED", "protocol-error", "")
    assert answer.text
    assert answer.properties.correlation_id == "question 5"
    assert answer.properties.content_type == (
        "application/msgpack" if content_type == "application/msgpack" else "application/json")
    assert client.run("act", steps(["output", "x"]))[-1].output == b"x"
    assert client.count(queue) == 0


@pytest.mark.parametrize("properties, told", [
    ({"correlation_id": "c", "message_id": "m"}, "c"), ({"message_id": "m"}, "m"), ({}, None)],
    ids=repr)
def test_what_an_answer_without_an_id_is_known_by(runner, client, properties, told):
    runner()
    queue = client.private_queue()
    client.send(b"{", content_type="application/json", properties={"reply_to": queue, **properties})
    assert client.get(queue)[1].correlation_id == told


def test_empty_reply_to_is_none(sent):
    client = sent(b"{nonsense", reply_to="")
    assert client.dead_letter()[2] == b"{nonsense"


@pytest.mark.parametrize("reply_to", ["nobody-has-this-queue", "x" * 255, "amq.rabbitmq.reply-to.x"])
def test_unreadable_with_an_address_that_leads_nowhere(runner, client, reply_to):
    """It is over with that: what cannot be delivered is kept, if the broker says so, or dropped."""
    client.may_repeat = True  # the broker may close the channel
    r = runner()
    client.send(b"{nonsense", content_type="application/json", properties={"reply_to": reply_to})
    r.wait_log("task.finished", "protocol-error")
    assert client.run("act", steps(["output", "x"]))[-1].output == b"x"
    if not reply_to.startswith("amq."):
        assert json.loads(client.dead_letter()[2])["status"] == "FAILED"


def test_unreadable_is_logged(runner, client):
    r = runner()
    client.send(b"{nonsense", content_type="application/json")
    client.dead_letter()
    r.wait_log("warn")


# Where the sender can be told.

@pytest.mark.parametrize("cut", [1, 10])
def test_truncated_json_is_answered(sent, client, cut):
    members = request(client, input=...)
    body = json.dumps({**members, "input": "AAAA" * 10}).encode()
    failed(sent(body[:-cut]), "protocol-error")


@pytest.mark.parametrize("cut", [1, 10])
def test_truncated_msgpack_is_answered(sent, client, cut):
    members = {**request(client, input=...), "input": b"x" * 40}
    failed(sent(msgpack.packb(members)[:-cut], "application/msgpack"), "protocol-error")


def test_something_after_the_json_is_answered(sent, client):
    failed(sent(json.dumps(request(client)).encode() + b"}"), "protocol-error")


@pytest.mark.parametrize("script", [..., None, 5, "", ["act"]], ids=repr)
def test_script_missing_or_wrong(sent, client, script):
    failed(sent(json.dumps(request(client, script=script)).encode()), "protocol-error", "script")


@pytest.mark.parametrize("name, value", [
    ("input", 5), ("input", {"a": 1}), ("input", ["AAAA"]), ("input", True),
    ("timeoutMinutes", "five"), ("timeoutMinutes", 0), ("timeoutMinutes", -1),
    ("timeoutMinutes", 1e30), ("timeoutMinutes", []), ("timeoutSeconds", "5"),
    ("timeoutSeconds", -0.5), ("useCache", "yes"), ("useCache", 1), ("userId", 7),
    ("projectId", {}), ("requestSHA256", False), ("userId", "nul\0inside"),
], ids=repr)
def test_wrong_types(sent, client, name, value):
    failed(sent(json.dumps(request(client, **{name: value})).encode()), "protocol-error", name)


@pytest.mark.parametrize("name, value", [
    ("input", 5), ("timeoutMinutes", "five"), ("useCache", b"\1"), ("script", b"\xff\xfe"),
    ("userId", ["x"]),
], ids=repr)
def test_wrong_types_msgpack(sent, client, name, value):
    members = {**request(client), "input": b"", name: value}
    failed(sent(msgpack.packb(members), "application/msgpack"), "protocol-error", name)


@pytest.mark.parametrize("value", [
    "A", "AA", "AAA", "AA=A", "AAAA=", "=AAA", "AA\nAA", " AAAA", "AA-_", "AAAAA", "!!!!",
    "AB==" + "AAAA",
], ids=repr)
def test_bad_base64(sent, client, value):
    failed(sent(json.dumps(request(client, input=value)).encode()), "protocol-error", "input")


@pytest.mark.parametrize("name", ["id", "script", "input", "routingKey", "something"])
def test_repeated_field(sent, client, name):
    text = json.dumps(request(client))[:-1]
    value = json.loads(text + "}").get(name, "x")
    body = (text + ', "something": "x", %s: %s}' % (json.dumps(name), json.dumps(value))).encode()
    failed(sent(body), "protocol-error", name)


def test_routing_key_of_wrong_type_with_reply_to(runner, client):
    """The address in the body cannot be read, that of the message can."""
    runner()
    queue = client.private_queue()
    client.send(json.dumps(request(client, routingKey=5)).encode(), id=ID,
                content_type="application/json",
                properties={"reply_to": queue, "correlation_id": "c"})
    _, properties, body = client.get(queue)
    assert json.loads(body)["status"] == "FAILED"
    assert properties.correlation_id == "c"


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
@pytest.mark.parametrize("id, echoed", [
    (".", "."), ("..", ".."), ("a/b", "a/b"), ("/etc/passwd", "/etc/passwd"), ("../../x", "../../x"),
    ("", ""), ("x" * 129, ""), ("x" * 100000, ""), ("nul\0inside", ""), (None, ""), (..., ""), (5, ""),
    (["a"], ""), ({"a": 1}, "")], ids=lambda v: repr(v)[:20])
def test_id_that_could_not_name_a_file(sent, client, id, echoed, encoding):
    """Nothing is run and the requester is told, with his id where it is a text that is not too long."""
    body = client.encode({**request(client, id=id), "input": b""}, encoding)
    client = sent(body, client.content_type(encoding), correlation_id="question 5")
    (response,) = client.responses(echoed)
    assert (response.status, response.cause) == ("FAILED", "protocol-error")
    assert "id" in response.text
    assert response.properties.correlation_id == "question 5"
    assert response.properties.content_type == client.content_type(encoding)


def test_id_that_no_answer_could_hold(runner, client):
    """However long it is, the answer fits into a message."""
    runner(limits={"message": "16KiB"})
    client.send(json.dumps(request(client, id="x" * 20000, projectId="p" * 20000)).encode(),
                content_type="application/json")
    (response,) = client.responses("")
    assert (response.status, response.projectId) == ("FAILED", None)
    assert client.count(client.names.queue) == 0


# An address that leads back to the request queue. A response is no request: it is not answered, so
# that nothing goes round, and is kept.

def kept_responses(client, r, n):
    """Statuses of the responses among the dead letters, which are n, and stay n."""
    kept = [client.dead_letter() for _ in range(n)]
    assert all("it is a response" in properties.headers["x-tr-reason"] for _, properties, _ in kept)
    client.run("act", steps(["output", "x"]), routingKey=client.response_queue)
    assert r.log.count(" dead-letter ") == n
    assert client.count(client.names.queue) == 0
    return [Response(method, properties, body).status for method, properties, body in kept]


@pytest.fixture
def looping(runner, client):
    """A runner whose response exchange is the broker's default one: a key is the name of a queue."""
    return runner(responses={"exchange": ""})


def test_unreadable_with_the_request_queue_as_reply_to(looping, client):
    client.send(b"{nonsense", content_type="application/json",
                properties={"reply_to": client.names.queue, "correlation_id": "c"})
    assert kept_responses(client, looping, 1) == ["FAILED"]


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
@pytest.mark.parametrize("by", ["reply_to", "routingKey"])
def test_refused_with_the_request_queue_as_address(looping, client, by, encoding):
    """The response could be read as a request: it has an id, a script and the routing key."""
    queue = client.names.queue
    if by == "reply_to":
        client.submit("no-such-program", routingKey=..., properties={"reply_to": queue},
                      encoding=encoding)
    else:
        client.submit("no-such-program", routingKey=queue, encoding=encoding)
    assert kept_responses(client, looping, 1) == ["FAILED"]


@pytest.mark.parametrize("by", ["reply_to", "routingKey"])
def test_run_with_the_request_queue_as_address(looping, client, tmp_path, by):
    """It runs once."""
    queue, book = client.names.queue, tmp_path / "book"
    work = steps(["append", str(book), "ran"], ["progress", "half"], ["output", "done"])
    if by == "reply_to":
        client.submit("act", work, routingKey=..., properties={"reply_to": queue})
    else:
        client.submit("act", work, routingKey=queue)
    assert sorted(kept_responses(client, looping, 3)) == ["RUNNING", "RUNNING", "SUCCESS"]
    assert book.read_text() == "ran\n"


def test_response_with_an_address_of_its_own(runner, client):
    """Made by hand: it is answered once, and the answer is a response again."""
    r = runner()
    client.send(b"{}", content_type="application/json", properties={
        "headers": {"x-tr-sequence": 1}, "reply_to": client.names.queue})
    client.dead_letter()
    assert client.run("act", steps(["output", "x"]))[-1].output == b"x"
    assert r.log.count("task.finished") == 2


@pytest.mark.parametrize("id", ["x", "x" * 128, "not a uuid", "-rf", "--help", "...", "a\nb",
                                "\u00fc\u20ac", "*", "$(reboot)", "a b'c\"d", "\t", "-"], ids=repr)
def test_any_other_id_is_welcome(runner, client, id):
    runner()
    responses = client.run("act", steps(["output", "fine"]), id=id)
    assert [r.status for r in responses] == ["RUNNING", "SUCCESS"]


def test_deep_properties(sent, client):
    """Nesting that whoever reads the echo could stumble over is refused, less is echoed."""
    deep = json.loads("[" * 400 + "]" * 400)
    client = sent(json.dumps(request(client, additionalProperties=deep)).encode())
    assert client.final(ID).status == "SUCCESS"
    assert client.final(ID).additionalProperties == deep


def test_too_deep_properties(sent, client):
    body = json.dumps(request(client)).encode()[:-1]
    body += b', "additionalProperties": ' + b"[" * 20000 + b"]" * 20000 + b"}"
    failed(sent(body), "protocol-error")


def test_unknown_members_are_ignored(sent, client):
    client = sent(json.dumps(request(client, type="GOLLM", extra={"a": [1]}, other=None)).encode())
    assert client.final(ID).status == "SUCCESS"


@pytest.mark.parametrize("script", ["unknown", "act/", "/bin/sh", "sh", "../act", "..", ".", "/",
                                    "act\n", "ACT", "./act", "bin/../act", "~", "act act",
                                    "$HOME", "x" * 5000], ids=lambda v: repr(v[:16]))
def test_program_that_is_not_admitted(sent, client, script):
    client = sent(json.dumps(request(client, script=script)).encode())
    (response,) = client.responses(ID)
    assert response.status == "FAILED"
    assert response.cause in ("not-found", "refused"), response


def test_dots_and_paths_in_a_program_directory(runner, client, tmp_path):
    """Only files directly in the directory, by their plain names."""
    directory = tmp_path / "admitted"
    (directory / "below").mkdir(parents=True)
    outside = tmp_path / "outside"
    for file in (directory / "good", directory / "below" / "hidden", outside,
                 directory / ".dotted"):
        file.write_text("#!/bin/sh\nexit 0\n")
        file.chmod(0o755)
    (directory / "plain.txt").write_text("not a program")
    runner(program_directories=[str(directory)])
    assert client.run("good")[-1].status == "SUCCESS"
    for script in ("../outside", "below/hidden", "below", str(directory / "good"), str(outside),
                   "./good", "good/../good", "..", "plain.txt"):
        responses = client.run(script)
        assert [r.status for r in responses] == ["FAILED"], (script, responses)
        assert responses[0].cause in ("not-found", "exec-failed", "refused"), (script, responses)


def test_input_over_the_limit(runner, client):
    runner(limits={"input": "1KiB"}, programs={"quiet": act(["output", "fine"])})
    assert client.run("quiet", b"x" * 1024)[-1].status == "SUCCESS"
    for encoding in ("json", "msgpack"):
        responses = client.run("quiet", b"x" * 1025, encoding=encoding)
        assert [r.status for r in responses] == ["FAILED"]
        assert responses[0].cause == "refused"


def test_every_field_may_be_absent_but_id_and_script(runner, client):
    """Without an address the final response goes to the dead letters: nobody else would see it."""
    runner(programs={"quiet": act(["output", "kept"])})
    client.send(json.dumps({"id": ID, "script": "quiet"}).encode(), id=ID)
    final = json.loads(client.dead_letter()[2])
    assert (final["status"], base64.b64decode(final["output"])) == ("SUCCESS", b"kept")


def test_content_types(runner, client):
    """JSON and MessagePack are told apart by the content type, or by the first byte."""
    runner()
    for content_type in ("application/json", "application/json; charset=utf-8",
                         "application/vnd.e2e+json", None, "", "text/plain",
                         "application/octet-stream"):
        id = ("json-%r" % (content_type,)).replace("/", " ")
        client.send(client.encode({"id": id, "script": "act", "input": steps(),
                                   "routingKey": client.names.key}, "json"), id, content_type)
        assert client.final(id).status == "SUCCESS"
        assert client.final(id).properties.content_type == "application/json"
    for content_type in ("application/msgpack", "application/x-msgpack", None, "text/plain"):
        id = "msgpack-%s" % (content_type or "none").replace("/", " ")
        client.send(client.encode({"id": id, "script": "act", "input": steps(),
                                   "routingKey": client.names.key}, "msgpack"), id, content_type)
        assert client.final(id).status == "SUCCESS"
        assert client.final(id).properties.content_type == "application/msgpack"


def test_a_thousand_malformed_requests(runner, client):
    """Slowly or in a heap: each is dealt with once."""
    runner()
    client.ids.add(ID)
    for i in range(1000):
        client.send(b"{bad %d" % i, content_type="application/json")
    seen = {client.dead_letter()[2] for _ in range(1000)}
    assert seen == {b"{bad %d" % i for i in range(1000)}
    assert client.run("act", steps())[-1].status == "SUCCESS"
