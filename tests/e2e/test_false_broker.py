# SPDX-License-Identifier: Apache-2.0
"""A server that breaks the rules of AMQP. Nobody crashes, hangs or takes it for something else."""

import json
import signal

import pytest
from pika import spec

from support.false_broker import FalseBroker
from support.runner import act, base_config
from support.taskctl import Taskctl
from support.waiting import wait_until


@pytest.fixture
def taskctl(tmp_path, names):
    t = Taskctl(tmp_path, None, names)
    yield t
    t.stop()


OK = {"id": None, "script": "prog", "status": "SUCCESS", "output": "b2s=",
      "additionalProperties": None, "projectId": None, "userId": None, "stdout": "", "stderr": "",
      "requestSHA256": None, "routingKey": None, "useCache": True}


def succeed(session):
    session.deliver(json.dumps({**OK, "id": session.request[0].correlation_id}).encode(),
                    content_type="application/json")


def two_headers(s):
    channel = s.begin_delivery()
    s.header(channel, 10)
    s.header(channel, 10)


def header_of_another_class(s):
    channel = s.begin_delivery()
    s.frame(2, channel, b"\x00\x32\x00\x00" + b"\x00" * 7 + b"\x01" + b"\x00\x00")


def header_out_of_nowhere(s):
    s.header(2, 10)


def body_out_of_nowhere(s):
    s.body(2, b"x")


def body_without_header(s):
    s.body(s.begin_delivery(), b"x")


def body_too_long(s):
    channel = s.begin_delivery()
    s.header(channel, 3)
    s.body(channel, b"four")


def delivery_within_a_delivery(s):
    s.begin_delivery()
    s.begin_delivery()


def return_within_a_delivery(s):
    channel = s.begin_delivery()
    s.method(channel, spec.Basic.Return(312, "NO_ROUTE", "", "x"))


def huge_message(s):
    s.header(s.begin_delivery(), 2 ** 63 - 1)


def more_than_64_bits_can_count(s):
    s.header(s.begin_delivery(), 2 ** 64 - 1)


def method_on_an_unknown_channel(s):
    s.method(29, spec.Basic.Ack(1, False))


def method_on_a_channel_out_of_range(s):
    s.method(60000, spec.Basic.Ack(1, False))


def body_on_an_unknown_channel(s):
    s.body(29, b"x")


def wrong_end_of_frame(s):
    s.frame(8, 0, b"", end=b"\x00")


def unknown_method(s):
    s.frame(1, 0, b"\xff\xff\xff\xff")


def method_cut_short(s):
    s.frame(1, 2, b"\x00\x3c\x00\x3c\x20ta")


def empty_method(s):
    s.frame(1, 1, b"")


def frame_larger_than_agreed(s):
    s.raw(b"\x03\x00\x02\x7f\xff\xff\xff" + b"x" * 1000)


def table_that_lies(s):
    channel = s.begin_delivery()
    s.frame(2, channel, b"\x00\x3c\x00\x00" + b"\x00" * 7 + b"\x01" + b"\x20\x00" +
            b"\xff\xff\xff\xff" + b"\x01aS\xff\xff\xff\xff")


def not_amqp(s):
    s.raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def forced_close(s):
    s.method(0, spec.Connection.Close(320, "CONNECTION_FORCED - broker forced it", 0, 0))


def half_a_frame(s):
    s.raw(b"\x01\x00\x02\x00\x00")
    s.peer.close()


def nothing_more(s):
    s.peer.close()


def close_of_the_answers(s):
    s.method(2, spec.Channel.Close(406, "PRECONDITION_FAILED - of its own", 60, 40))


def cancel_of_the_answers(s):
    s.method(2, spec.Basic.Cancel(s.consumers[2], True))


# What it does, and what is told.
BREAKS = [
    (two_headers, "out of place"), (header_of_another_class, ""),
    (header_out_of_nowhere, "out of place"), (body_out_of_nowhere, "out of place"),
    (body_without_header, "out of place"), (body_too_long, "out of place"),
    (delivery_within_a_delivery, "within another"), (return_within_a_delivery, "within another"),
    (huge_message, "are taken"), (more_than_64_bits_can_count, "are taken"),
    (method_on_an_unknown_channel, "never opened"),
    (method_on_a_channel_out_of_range, "never opened"),
    (body_on_an_unknown_channel, "never opened"),
    (wrong_end_of_frame, ""), (unknown_method, ""), (method_cut_short, ""),
    (empty_method, ""), (frame_larger_than_agreed, ""), (table_that_lies, ""), (not_amqp, ""),
    (forced_close, "320 CONNECTION_FORCED - broker forced it"), (half_a_frame, ""),
    (nothing_more, ""), (close_of_the_answers, "406 PRECONDITION_FAILED - of its own"),
    (cancel_of_the_answers, "the queue for answers was deleted"),
]



def played_to_taskctl(taskctl, behave, *arguments):
    with FalseBroker(behave) as false:
        return taskctl(*arguments, url=false.url, defaults=False)


# While a task is followed

@pytest.mark.parametrize("misbehave,told", BREAKS, ids=[b[0].__name__ for b in BREAKS])
def test_connection_is_lost(taskctl, misbehave, told):
    def behave(session, _):
        session.greet()
        session.take_publish()
        misbehave(session)
        session.serve()
    status, out, err = played_to_taskctl(taskctl, behave, "run", "--id", "one", "prog")
    assert (status, out) == (3, b"")
    assert "lost the connection to the broker" in err and told in err, err
    assert "cancel one" in err


def unknown_frame(s):
    s.frame(77, 0, b"")


def heartbeat(s):
    s.frame(8, 0, b"")


def flow(s):
    s.method(s.channel, spec.Channel.Flow(False))
    channel, method = s.expect(spec.Channel.FlowOk)
    assert (channel, method.active) == (s.channel, False)


def ack_of_nothing(s):
    s.method(s.channel, spec.Basic.Ack(0, False))
    s.method(s.channel, spec.Basic.Ack(2 ** 64 - 1, False))


def ack_twice(s):
    s.method(s.channel, spec.Basic.Ack(1, False))
    s.method(s.channel, spec.Basic.Ack(1, True))


def ack_of_more(s):
    s.method(s.channel, spec.Basic.Ack(2 ** 63, True))


def return_of_another(s):
    s.method(s.channel, spec.Basic.Return(312, "NO_ROUTE", "", "x"))
    s.header(s.channel, 3, message_id="of another")
    s.body(s.channel, b"xxx")
    s.method(s.channel, spec.Basic.Return(312, "NO_ROUTE", "", "x"))
    s.header(s.channel, 0)


@pytest.mark.parametrize("oddity", [
    unknown_frame, heartbeat, flow, ack_of_nothing, ack_twice, ack_of_more,
    return_of_another], ids=lambda f: f.__name__)
def test_odd_but_bearable(taskctl, oddity):
    def behave(session, _):
        session.greet()
        session.take_publish()
        oddity(session)
        succeed(session)
        session.serve()
    status, out, err = played_to_taskctl(taskctl, behave, "run", "prog")
    assert (status, out) == (0, b"ok"), err


# One of each type that a header can have, as RabbitMQ writes them.
KINDS = [b"t\x01", b"b\xff", b"B\xff", b"s\xff\xff", b"u\xff\xff", b"I\xff\xff\xff\xff",
         b"i\xff\xff\xff\xff", b"l" + b"\xff" * 8, b"L" + b"\xff" * 8, b"f" + b"\0" * 4,
         b"d" + b"\0" * 8, b"D\x02" + b"\0" * 4, b"S\0\0\0\x02ab", b"x\0\0\0\x02\0\xff",
         b"A\0\0\0\x01V", b"T" + b"\0" * 8, b"F\0\0\0\0", b"V"]


@pytest.mark.parametrize("kind", KINDS, ids=[k[:1].decode() + str(len(k)) for k in KINDS])
def test_headers_of_any_type(taskctl, kind):
    names = ("attempt", "sequence", "cause", "exit-code", "signal", "wall-ms", "cpu-ms",
             "peak-memory", "runner", "errno", "failure-kind")
    table = b"".join(bytes([len("x-tr-" + n)]) + b"x-tr-" + n.encode() + kind for n in names)

    def behave(session, _):
        session.greet()
        session.take_publish()
        body = json.dumps({**OK, "id": session.request[0].correlation_id,
                           "status": "FAILED", "output": "d2h5"}).encode()
        channel = session.begin_delivery()
        session.frame(2, channel, b"\x00\x3c\x00\x00" + len(body).to_bytes(8, "big") +
                      b"\x20\x00" + len(table).to_bytes(4, "big") + table)
        session.body(channel, body)
        session.serve()
    status, out, err = played_to_taskctl(taskctl, behave, "run", "--id", "one", "prog")
    assert (status, out) == (1, b"")
    assert "one failed: why" in err


def test_message_in_many_pieces(taskctl):
    """Empty body frames, too; another channel in between."""
    def behave(session, _):
        session.greet()
        session.take_publish()
        body = json.dumps({**OK, "id": session.request[0].correlation_id}).encode()
        channel = session.begin_delivery()
        session.header(channel, len(body))
        for i in range(len(body)):
            session.body(channel, body[i:i + 1])
            session.body(channel, b"")
            session.method(1, spec.Basic.Ack(1, False))
        session.serve()
    assert played_to_taskctl(taskctl, behave, "run", "prog")[:2] == (0, b"ok")


def test_alarm_and_its_end(taskctl):
    def behave(session, _):
        session.greet()
        session.take_publish()
        session.method(0, spec.Connection.Blocked("low on \x1b[31mdisk"))
        session.method(0, spec.Connection.Unblocked())
        succeed(session)
        session.serve()
    status, out, err = played_to_taskctl(taskctl, behave, "run", "prog")
    assert (status, out) == (0, b"ok")
    assert "takes no messages for now: low on " in err and "\x1b" not in err


@pytest.mark.parametrize("code,text", [
    (405, "RESOURCE_LOCKED - not yours"), (404, "NOT_FOUND - gone")])
def test_queue_that_may_not_be_looked_into(taskctl, code, text):
    """Why nothing happens cannot be told then; it is waited for all the same."""
    def behave(session, _):
        session.greet()
        session.take_publish()
        session.method(session.channel, spec.Basic.Ack(1, False))
        channel, method = session.expect(spec.Queue.Declare)
        assert method.passive
        session.method(channel, spec.Channel.Close(code, text, 50, 10))
        session.expect(spec.Channel.CloseOk)
        succeed(session)
        session.serve()
    status, out, err = played_to_taskctl(taskctl, behave, "run", "prog")
    assert (status, out, err) == (0, b"ok", "")


# Requests that are not taken

def nack(s):
    s.method(s.channel, spec.Basic.Nack(1, False, False))


def nack_multiple(s):
    s.method(s.channel, spec.Basic.Nack(7, True, False))


def returned(s):
    s.method(s.channel, spec.Basic.Return(312, "NO_ROUTE", "", "x"))
    s.header(s.channel, len(s.request[1]), message_id=s.request[0].message_id)
    s.body(s.channel, s.request[1])
    s.method(s.channel, spec.Basic.Ack(1, False))


def too_large(s):
    size = len(s.request[1])
    s.method(s.channel, spec.Channel.Close(
        406, "PRECONDITION_FAILED - message size %d is larger than configured max size 3" % size,
        60, 40))


def not_permitted(s):
    s.method(s.channel, spec.Channel.Close(403, "ACCESS_REFUSED - not there", 60, 40))


@pytest.mark.parametrize("refuse,told", [
    (nack, "its queue refuses more"), (nack_multiple, "its queue refuses more"),
    (returned, "there is no queue"), (too_large, "larger than the broker takes"),
    (not_permitted, "did not take the request: ACCESS_REFUSED - not there"),
], ids=lambda f: getattr(f, "__name__", ""))
def test_request_is_not_taken(taskctl, refuse, told):
    def behave(session, _):
        session.greet()
        session.take_publish()
        refuse(session)
        session.serve()
    status, out, err = played_to_taskctl(taskctl, behave, "run", "prog")
    assert (status, out) == (4, b"")
    assert told in err


# Cancels

def test_answers_to_a_cancel(taskctl):
    """Each id has its own: good ones, an error, nonsense, and what is nobody's."""
    def behave(session, _):
        session.greet()
        tokens = {}
        for _ in range(4):
            session.take_publish()
            tokens[session.request[0].headers["x-tr-id"]] = session.request[0].correlation_id
        session.deliver(b'{"id":"a","result":"accepted","runner":"r"}', correlation_id="nobody's")
        for id, answer in (("a", b'{"id":"a","result":"accepted","runner":"r\\u001b[2J"}'),
                           ("b", b'{"error":"it says \\u001b[31m no"}'),
                           ("c", b'{"id":"c","result":"gone"}'), ("d", b"{}")):
            session.deliver(answer, correlation_id=tokens[id])
            session.deliver(answer, correlation_id=tokens[id])
        session.serve()
    status, out, err = played_to_taskctl(taskctl, behave, "cancel", "--wait", "1s", *"abcd")
    assert status == 5, err
    assert out.decode().splitlines() == ["a: accepted by r [2J", "c: has ended already, says a runner"]
    assert "b: it says" in err and "\x1b" not in err
    assert "an answer that is not understood" in err and "1 not answered" in err


def lost_before_the_answer(s):
    s.take_publish()
    s.peer.close()


def closed_for_the_cancel(s):
    s.take_publish()
    s.method(3, spec.Channel.Close(403, "ACCESS_REFUSED - not to you", 60, 40))


@pytest.mark.parametrize("misbehave,told", [
    (lost_before_the_answer, "lost the connection"), (closed_for_the_cancel, "not to you"),
], ids=lambda f: getattr(f, "__name__", ""))
def test_cancel_cannot_be_sent(taskctl, misbehave, told):
    def behave(session, _):
        session.greet()
        misbehave(session)
        session.serve()
    status, out, err = played_to_taskctl(taskctl, behave, "cancel", "a")
    assert (status, out) == (3, b"")
    assert told in err


def test_task_that_cannot_be_cancelled_goes_on(taskctl):
    """Ctrl-C does what it can, and the task is followed all the same."""
    def behave(session, _):
        session.greet()
        session.take_publish()
        answer = {**OK, "id": session.request[0].correlation_id}
        session.deliver(json.dumps({**answer, "status": "RUNNING", "output": None}).encode())
        process.send_signal(signal.SIGINT)
        session.take_publish()
        session.method(3, spec.Channel.Close(404, "NOT_FOUND - no exchange", 60, 40))
        assert session.expect(spec.Channel.CloseOk)[0] == 3
        session.deliver(json.dumps(answer).encode())
        session.serve()
    with FalseBroker(behave) as false:
        process = taskctl.start("run", "prog", url=false.url, defaults=False)
        status, out, err = taskctl.end(process)
    assert (status, out) == (0, b"ok")
    assert "it cannot be cancelled: NOT_FOUND - no exchange" in err


def test_answer_that_is_none(taskctl):
    """Whoever listens to cancels may answer nonsense: the task is followed to its end."""
    def behave(session, _):
        session.greet()
        session.take_publish()
        response = {**OK, "id": session.request[0].correlation_id, "output": None}
        session.deliver(json.dumps({**response, "status": "RUNNING"}).encode())
        process.send_signal(signal.SIGINT)
        session.take_publish()
        session.deliver(b"nonsense", correlation_id=session.request[0].correlation_id)
        session.deliver(json.dumps({**response, "status": "CANCELLED"}).encode())
        session.serve()
    with FalseBroker(behave) as false:
        process = taskctl.start("run", "--id", "one", "prog", url=false.url, defaults=False)
        status, out, err = taskctl.end(process)
    assert (status, out) == (130, b""), err
    assert "an answer to the cancel that is not understood" in err and "one was cancelled" in err


def test_answer_that_comes_twice(taskctl):
    """The cancel was repeated because the runner took its time: the second answer is nobody's."""
    def behave(session, _):
        session.greet()
        session.take_publish()
        response = {**OK, "id": session.request[0].correlation_id, "output": None}
        session.deliver(json.dumps({**response, "status": "RUNNING"}).encode())
        process.send_signal(signal.SIGINT)
        for _ in range(2):
            session.take_publish()
        for _ in range(2):
            session.deliver(b'{"id":"one","result":"accepted","runner":"r"}',
                            correlation_id=session.request[0].correlation_id)
        session.deliver(json.dumps({**response, "status": "CANCELLED"}).encode())
        session.serve()
    with FalseBroker(behave) as false:
        process = taskctl.start("run", "--id", "one", "prog", url=false.url, defaults=False)
        status, out, err = taskctl.end(process)
    assert (status, out) == (130, b""), err
    assert "one was cancelled" in err and "understood" not in err


# Connecting

def other_mechanism(s):
    s.greet(mechanisms="EXTERNAL GSSAPI")
    s.serve()


def other_version(s):
    s.receive()
    s.raw(b"AMQP\x00\x00\x08\x00")
    s.peer.close()


def silent_refusal(s):
    s.receive()
    s.method(0, spec.Connection.Start(0, 9, {}, "PLAIN", "en_US"))
    s.expect(spec.Connection.StartOk)
    s.peer.close()


def challenge(s):
    s.receive()
    s.method(0, spec.Connection.Start(0, 9, {}, "PLAIN", "en_US"))
    s.expect(spec.Connection.StartOk)
    s.method(0, spec.Connection.Secure("again"))
    s.serve()


def no_such_vhost(s):
    s.greet()
    s.expect(spec.Connection.Open)
    s.method(0, spec.Connection.Close(530, "NOT_ALLOWED - vhost / not found", 10, 40))
    s.serve()


def close_for_a_channel(s):
    s.greet()
    s.expect(spec.Channel.Open)
    s.method(0, spec.Connection.Close(504, "CHANNEL_ERROR - not now", 20, 10))
    s.serve()


def gone_for_a_channel(s):
    s.greet()
    s.expect(spec.Channel.Open)
    s.peer.close()


def refused_queue(s):
    s.greet()
    channel, _ = s.expect(spec.Queue.Declare)
    s.method(channel, spec.Channel.Close(403, "ACCESS_REFUSED - no queues for you", 50, 10))
    s.serve()


def close_for_a_queue(s):
    s.greet()
    s.expect(spec.Queue.Declare)
    s.method(0, spec.Connection.Close(541, "INTERNAL_ERROR - it broke", 50, 10))
    s.serve()


def gone_for_a_queue(s):
    s.greet()
    s.expect(spec.Queue.Declare)
    s.peer.close()


def other_answer(s):
    s.greet()
    channel, _ = s.expect(spec.Queue.Declare)
    s.method(channel, spec.Queue.BindOk())
    s.serve()


@pytest.mark.parametrize("behave,told", [
    (other_mechanism, "does not accept a name and password"),
    (other_version, "no AMQP 0-9-1 server"), (silent_refusal, "during login"), (challenge, ""),
    (no_such_vhost, "530 NOT_ALLOWED - vhost / not found"),
    (close_for_a_channel, "504 CHANNEL_ERROR - not now"),
    (gone_for_a_channel, ""), (refused_queue, "ACCESS_REFUSED - no queues for you"),
    (close_for_a_queue, "541 INTERNAL_ERROR - it broke"), (gone_for_a_queue, ""),
    (other_answer, "timed out"),
], ids=lambda f: getattr(f, "__name__", ""))
def test_connecting(taskctl, behave, told):
    status, out, err = played_to_taskctl(taskctl, lambda s, _: behave(s), "cancel", "a")
    assert (status, out) == (3, b"")
    assert "no connection to the broker: " in err and told in err


# A runner

def plain_config(false, names, tmp_path):
    config = base_config(false, names, tmp_path / "run")
    config["control"]["cancels"] = ""
    return config


class NoClient:
    """In place of a requester: there is no broker to look into."""
    ids = ()


def consumes(session):
    """Greets a runner's connection, and tells whether it is the one that requests come by, on
    channel 1; then it is there to the end of what it sends at first."""
    session.greet()
    _, method = session.expect_first(spec.Basic.Consume, spec.Confirm.Select)
    if isinstance(method, spec.Confirm.Select):
        return False
    while 1 not in session.consumers:
        session.expect_first(spec.Basic.Consume)
    return True


def test_runner_connects_again_and_again(names, tmp_path, start_runner):
    """Whatever comes where requests are awaited: it says so, and tries once more."""
    breaks = [body_out_of_nowhere, table_that_lies, forced_close]
    good = []

    def behave(session, _):
        if consumes(session):
            if breaks:
                breaks.pop(0)(session)
            else:
                good.append(session)
        session.serve()
    with FalseBroker(behave) as false:
        config = plain_config(false, names, tmp_path)
        runner = start_runner(false, NoClient, config, ready=False)
        wait_until(lambda: good, lambda: "it connects again; log:\n" + runner.log)
        assert runner.log.count("broker.consumer-lost") == 3
        runner.signal(signal.SIGTERM)
        assert runner.wait_end() == 0


def close_of_the_publishing_channel(s):
    s.method(s.channel, spec.Channel.Close(406, "PRECONDITION_FAILED - for no reason", 60, 40))


def returned_and_nothing_more(s):
    s.method(s.channel, spec.Basic.Return(312, "NO_ROUTE", "", "x"))
    s.header(s.channel, 0)
    s.peer.close()


def delivery_to_a_publisher(s):
    s.consumers[s.channel] = "nobody"
    s.header(s.begin_delivery(s.channel), 0)
    s.peer.close()


def acks_of_nothing(s):
    ack_of_nothing(s)
    s.peer.close()


@pytest.mark.parametrize("misbehave", [
    close_of_the_publishing_channel, returned_and_nothing_more, delivery_to_a_publisher,
    acks_of_nothing, nack, forced_close, body_out_of_nowhere], ids=lambda f: f.__name__)
def test_runner_publishes_until_it_is_confirmed(names, tmp_path, start_runner, misbehave):
    """The response comes again, the same; only then the request is acknowledged."""
    published, acked = [], []

    def behave(session, _):
        if consumes(session):
            session.deliver(b'{"id":"one","script":"no-such-program"}', 1, reply_to="me")
            session.expect(spec.Basic.Ack)
            acked.append(len(published))
            session.serve()
        while True:
            number = session.take_publish()
            published.append(session.request)
            if len(published) == 1:
                misbehave(session)
            else:
                session.method(session.channel, spec.Basic.Ack(number, False))
    with FalseBroker(behave) as false:
        config = plain_config(false, names, tmp_path)
        runner = start_runner(false, NoClient, config, ready=False)
        wait_until(lambda: acked, lambda: "an acknowledgement; log:\n" + runner.log)
        runner.signal(signal.SIGTERM)
        assert runner.wait_end() == 0
    assert acked == [2]
    first, second = published
    assert first[1] == second[1] and first[0].message_id == second[0].message_id


# A runner that reads the stream of cancels

INTERNAL_ERROR = spec.Connection.Close(541, "INTERNAL_ERROR", 0, 0)


def dies_of_the_declaration(session, method):
    if isinstance(method, spec.Queue.Declare):
        session.method(0, INTERNAL_ERROR)


def dies_of_reading(session, method):
    if isinstance(method, spec.Queue.Declare):
        session.method(session.stream, spec.Queue.DeclareOk(method.queue, 0, 0))
    elif isinstance(method, spec.Basic.Consume):
        session.method(0, INTERNAL_ERROR)
    else:
        session.method(session.stream, spec.Basic.QosOk())


def says_nothing(session, method):
    pass


@pytest.mark.parametrize("misbehave, times",
                         [(dies_of_the_declaration, 1), (dies_of_reading, 2), (says_nothing, 1)])
def test_stream_that_is_broken(names, tmp_path, start_runner, misbehave, times):
    """It costs a connection or two, and no task: the runner goes on without."""
    met, acked = [], []

    def behave(session, _):
        session.greet()
        session.expect_first(spec.Connection.Open)
        while True:
            got = session.receive()
            method = getattr(got, "method", None)
            is_stream = getattr(method, "queue", None) == names.cancels
            if is_stream:
                session.stream = got.channel_number
            if got.channel_number == getattr(session, "stream", None):
                met.append(method)
                misbehave(session, method)
            elif isinstance(method, spec.Basic.Publish):
                session.published[got.channel_number] = session.published.get(
                    got.channel_number, 0) + 1
                session.method(got.channel_number,
                               spec.Basic.Ack(session.published[got.channel_number], False))
            elif isinstance(method, spec.Basic.Ack):
                acked.append(method)
            else:
                session.answer(got)
            if isinstance(method, spec.Basic.Consume) and got.channel_number == 1:
                session.deliver(b'{"id":"one","script":"no-such-program"}', 1, reply_to="me")
    with FalseBroker(behave) as false:
        config = base_config(false, names, tmp_path / "run")
        config["broker"]["connect_timeout"] = "2s"
        runner = start_runner(false, NoClient, config, ready=False)
        wait_until(lambda: acked, lambda: "an acknowledgement; log:\n" + runner.log)
        assert runner.log.count(" cancels.off ") == 1
        declared = [m for m in met if isinstance(m, spec.Queue.Declare)]
        assert len(declared) == times
        runner.signal(signal.SIGTERM)
        assert runner.wait_end() == 0


# A runner that asks for cancels in the ancestor's way

REQUEST = json.dumps({"id": "one", "script": "ok"}).encode()


@pytest.fixture
def asking(names, tmp_path, start_runner):
    """asking(false): a runner that looks into a queue for each task."""
    def start(false):
        config = plain_config(false, names, tmp_path)
        config["cancellation"] = {"exchange": names.cancellation}
        config["programs"]["ok"] = act(["output", "ok"])
        return start_runner(false, NoClient, config, ready=False)
    return start


def played_to_asking(asking, play, until):
    """The consuming connections are given to `play` with their number; gives all that was published
    and the log."""
    published, number = [], iter(range(100))

    def behave(session, _):
        if consumes(session):
            play(session, next(number))
            session.serve()
        while True:
            count = session.take_publish()
            if session.request[1]:  # no word to other runners
                published.append(json.loads(session.request[1]))
            session.method(session.channel, spec.Basic.Ack(count, False))
    with FalseBroker(behave) as false:
        runner = asking(false)
        wait_until(until, lambda: "the end of it; log:\n" + runner.log)
        runner.signal(signal.SIGTERM)
        assert runner.wait_end() == 0
        return published, runner.log


def statuses(published):
    return [response["status"] for response in published]


def test_connection_lost_while_asking(asking):
    """The request comes again, and is asked for again."""
    acked = []

    def play(session, number):
        session.deliver(REQUEST, 1, reply_to="me")
        channel, _ = session.expect(spec.Basic.Get)
        if number == 0:
            session.peer.close()
            return
        session.method(channel, spec.Basic.GetEmpty())
        acked.append(session.expect(spec.Basic.Ack))
    published, _ = played_to_asking(asking, play, lambda: acked)
    assert statuses(published) == ["RUNNING", "SUCCESS"]


def test_channel_closed_while_asking(asking):
    """Once: it asks again. Twice, without a word on what is wrong: the task runs unasked."""
    acked = []

    def play(session, number):
        session.deliver(REQUEST, 1, reply_to="me")
        for _ in range(2):
            channel, _ = session.expect(spec.Basic.Get)
            session.method(channel, spec.Channel.Close(406, "PRECONDITION_FAILED - so", 60, 70))
            session.expect(spec.Channel.CloseOk)
        acked.append(session.expect(spec.Basic.Ack))
    published, log = played_to_asking(asking, play, lambda: acked)
    assert statuses(published) == ["RUNNING", "SUCCESS"]
    assert log.count("broker.cancellation-refused") >= 2 and "task.cancellation-unknown" in log


def cancel_waits(session):
    """The runner's question is answered: there is one."""
    session.deliver(REQUEST, 1, reply_to="me")
    channel, _ = session.expect(spec.Basic.Get)
    session.method(channel, spec.Basic.GetOk(1, False, "", "one", 0))
    session.header(channel, 0)
    return channel


def test_connection_lost_while_leaving(asking):
    """The queue of a task that was cancelled before its start is deleted again, until the broker has
    answered."""
    deleted = []

    def play(session, number):
        if number == 0:
            cancel_waits(session)
            session.expect(spec.Queue.Delete)
        else:
            # By now all is sent that is to be sent at first; its question comes after it.
            session.deliver(REQUEST.replace(b"one", b"two"), 1, reply_to="me")
            session.expect(spec.Basic.Get)
            deleted.append(session.deleted)
        if number < 2:
            session.peer.close()
    published, _ = played_to_asking(asking, play, lambda: len(deleted) == 2)
    assert statuses(published) == ["CANCELLED"]
    assert deleted == [["one"], []]


def test_queue_that_cannot_be_left(asking):
    """It may be somebody else's: that is no reason to try for ever, nor for anything else."""
    deleted, other = [], REQUEST.replace(b"one", b"two")

    def play(session, number):
        channel = cancel_waits(session)
        for _ in range(3):
            deleted.append(session.expect(spec.Queue.Delete)[1].queue)
            session.method(channel, spec.Channel.Close(406, "PRECONDITION_FAILED - in use", 50, 40))
            session.expect(spec.Channel.CloseOk)
        session.deliver(other, 1, reply_to="me")
        deleted.append(session.expect(spec.Queue.Delete, spec.Basic.Get)[1].queue)
    _, log = played_to_asking(asking, play, lambda: len(deleted) == 4)
    assert deleted == ["one", "one", "one", "two"]
    assert log.count("broker.cancellation-refused") == 3


def test_end_while_asking(asking, request):
    """It has not started, and goes back to its queue, there and then or as a copy; so does what was
    on its way already."""
    settled = []

    def play(session, number):
        session.deliver(REQUEST, 1, reply_to="me")
        asked, _ = session.expect(spec.Basic.Get)
        request.node.runners[0].signal(signal.SIGTERM)
        session.expect(spec.Basic.Cancel)
        session.deliver(REQUEST.replace(b"one", b"two"), 1, reply_to="me")
        for _ in range(2):
            settled.append(session.expect(spec.Basic.Nack, spec.Basic.Ack)[1])
            session.method(asked, spec.Basic.GetEmpty())
    published, _ = played_to_asking(asking, play, lambda: len(settled) == 2)
    assert not any("status" in message for message in published)
    nacks = [method for method in settled if isinstance(method, spec.Basic.Nack)]
    assert all(method.requeue for method in nacks)
    assert len({message["id"] for message in published}) + len(nacks) == 2
