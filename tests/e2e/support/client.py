# SPDX-License-Identifier: Apache-2.0
"""Requesters: what sends requests and takes responses, in our way and in the ancestor's."""

import base64
import collections
import contextlib
import json
import time
import uuid

import msgpack
import pika

from .strict import Response
from .waiting import DEADLINE

CONTENT_TYPE = {"json": "application/json", "msgpack": "application/msgpack"}


class Names:
    """Queues and exchanges of one test, used by nobody else."""

    def __init__(self):
        self.unique = uuid.uuid4().hex[:10]
        self.queue = "requests-" + self.unique
        self.responses = "responses-" + self.unique
        self.control = "control-" + self.unique
        self.cancels = "cancels-" + self.unique
        self.events = "events-" + self.unique
        self.history = "history-" + self.unique
        self.dead_letters = "dead-letters-" + self.unique
        self.cancellation = "terarium-cancellation-" + self.unique
        self.key = "requester-" + self.unique
        self.runner = "runner-" + self.unique
        self.instances = 0

    def instance(self):
        self.instances += 1
        return "%s-%d" % (self.runner, self.instances)


class Client:
    """Speaks the protocol of docs/protocol.md."""

    def __init__(self, broker, names, encoding="json"):
        self.broker = broker
        self.names = names
        self.encoding = encoding
        self.by_id = collections.defaultdict(list)
        self.ids = set()
        self.content_types = {}  # by id, of requests that say theirs
        self.problems = []
        self.runners = []  # those that are to answer
        self.may_repeat = False  # after a lost connection what was not acknowledged comes again
        self._connect()

    # Connection

    def _connect(self):
        self.connection = self.broker.connect()
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()
        self.declare()

    def declare(self):
        self.channel.exchange_declare(self.names.responses, "direct", durable=True)
        self.channel.queue_declare(self.names.queue, durable=True)
        self.channel.queue_declare(self.names.dead_letters, durable=True)
        self.response_queue = "answers-" + self.names.unique
        self.channel.queue_declare(self.response_queue, durable=True)
        self.channel.queue_bind(self.response_queue, self.names.responses, self.names.key)
        self.channel.basic_consume(self.response_queue, self._on_response)

    def reconnect(self):
        self.may_repeat = True
        try:
            self.connection.close()
        except pika.exceptions.AMQPError:
            pass
        self._connect()

    def close(self):
        self._delete()
        self.connection.close()

    def _delete(self):
        with contextlib.suppress(pika.exceptions.ChannelClosedByBroker):
            # Not up for some seconds after a restart; then it goes with the broker.
            self.connection.channel().queue_delete(self.names.cancels)
        with contextlib.suppress(pika.exceptions.ChannelClosedByBroker):
            self.connection.channel().queue_delete(self.names.history)
        for queue in (self.names.queue, self.names.dead_letters, self.response_queue):
            self.channel.queue_delete(queue)
        for exchange in (self.names.responses, self.names.control, self.names.events):
            self.channel.exchange_delete(exchange)

    # Requests

    def submit(self, script, input=b"", id=None, encoding=None, properties=None, queue=None,
               **members):
        """Sends a request and gives its id. A member given as `...` is left out."""
        id = id or str(uuid.uuid4())
        encoding = encoding or self.encoding
        request = {"id": id, "script": script, "input": input, "routingKey": self.names.key,
                   **members}
        request = {k: v for k, v in request.items() if v is not ...}
        self.send(self.encode(request, encoding), id=id,
                  content_type=self.content_type(encoding), properties=properties, queue=queue)
        return id

    def encode(self, request, encoding):
        if encoding == "msgpack":
            return msgpack.packb(request, use_bin_type=True)
        if isinstance(request.get("input"), bytes):
            request = {**request, "input": base64.b64encode(request["input"]).decode()}
        return json.dumps(request).encode()

    def content_type(self, encoding):
        return CONTENT_TYPE[encoding]

    def send(self, body, id=None, content_type=None, properties=None, queue=None):
        """Sends a body as it is."""
        if id is not None:
            self.ids.add(id)
            if content_type in CONTENT_TYPE.values():
                self.content_types[id] = content_type
        self.channel.basic_publish(
            "", queue or self.names.queue, body, mandatory=True,
            properties=pika.BasicProperties(content_type=content_type, delivery_mode=2,
                                            **(properties or {})))

    # Responses

    def _on_response(self, channel, method, properties, body):
        try:
            response = Response(method, properties, body)
            assert properties.content_type == self.content_types.get(
                response.id, properties.content_type), "not in the encoding of its request"
        except Exception as problem:  # told by check(), which every test ends with
            self.problems.append("%s: %.500r" % (problem, body))
        else:
            if not (self.may_repeat and self._is_repeated(response)):
                self.by_id[response.id].append(response)
        channel.basic_ack(method.delivery_tag)

    def _is_repeated(self, response):
        return response.properties.message_id in [
            r.properties.message_id for r in self.by_id[response.id]]

    def pump(self, seconds=0.02):
        self.connection.process_data_events(time_limit=seconds)

    def wait(self, condition, what, seconds=None):
        end = time.monotonic() + (seconds or DEADLINE)
        while True:
            value = condition()
            if value:
                return value
            assert not self.problems, self.problems[0]
            for runner in self.runners:
                assert not runner.died(), "the runner died:\n" + runner.log
            if time.monotonic() > end:
                raise AssertionError("waited in vain: %s" % (what() if callable(what) else what))
            self.pump()

    def responses(self, id, seconds=None):
        """All responses of a task, after its final one came."""
        self.wait(lambda: self.by_id[id] and self.by_id[id][-1].is_final,
                  lambda: "final response of %s; so far %r" % (id, self.by_id[id]), seconds)
        return self.by_id[id]

    def final(self, id, seconds=None):
        return self.responses(id, seconds)[-1]

    def wait_running(self, id):
        """Waits for the first RUNNING of a task."""
        return self.wait(
            lambda: next((r for r in self.by_id[id] if r.status == "RUNNING"), None),
            lambda: "RUNNING of %s; so far %r" % (id, self.by_id[id]))

    def wait_progress(self, id, output=None):
        """Waits for a RUNNING with output (that output)."""
        return self.wait(
            lambda: next((r for r in self.by_id[id] if r.status == "RUNNING" and r.output is not None
                          and output in (None, r.output)), None),
            lambda: "progress %r of %s; so far %r" % (output, id, self.by_id[id]))

    def statuses(self, id):
        return [r.status for r in self.by_id[id]]

    def run(self, script, input=b"", **members):
        """Submits and gives all responses."""
        return self.responses(self.submit(script, input, **members))

    # Cancelling

    def before_submit(self, id):
        """What a requester must do before he sends a request that he may want to cancel."""

    def cancel(self, id, reply_to=None, correlation_id=None):
        self.control({"op": "cancel", "id": id}, reply_to, correlation_id)

    def ask(self, op, runners=1, **members):
        """Asks so many runners, and gives their answers without the last word of each ("end")."""
        queue, answers, ended = self.private_queue(), [], 0
        self.control({"op": op, **members}, reply_to=queue)
        while ended < runners:
            said = json.loads(self.get(queue)[2])
            if said.get("result") == "end":
                ended += 1
                assert said["count"] == sum(a["instance"] == said["instance"] for a in answers)
                continue
            answers.append(said)
            ended += "id" not in members and "id" not in said
            ended += "id" in members
        return answers

    def heard(self, runners=1):
        """Waits until so many runners have heard all that was sent to the control exchange so far:
        each tells that it cannot read what follows."""
        queue = self.private_queue()
        self.control(b"?", reply_to=queue)
        for _ in range(runners):
            self.get(queue)

    def control(self, message, reply_to=None, correlation_id=None, content_type="application/json"):
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.channel.basic_publish(
            self.names.control, "", body,
            properties=pika.BasicProperties(content_type=content_type, reply_to=reply_to,
                                            correlation_id=correlation_id))

    # Other queues

    def get(self, queue, seconds=None):
        """Waits for a message of a queue and takes it: (method, properties, body)."""
        def one():
            method, properties, body = self.channel.basic_get(queue, auto_ack=True)
            return (method, properties, body) if method else None
        return self.wait(one, "a message in %s" % queue, seconds)

    def dead_letter(self):
        return self.get(self.names.dead_letters)

    def count(self, queue):
        """Messages ready in a queue."""
        return self.channel.queue_declare(queue, passive=True).method.message_count

    def private_queue(self):
        name = "private-%s" % uuid.uuid4().hex
        self.channel.queue_declare(name, exclusive=True)
        return name

    # What holds after every test

    def check(self):
        """Nothing undecodable came, nothing follows a final response, sequences have no gap, and
        requests and dead letters that the test did not take are none."""
        end = time.monotonic() + DEADLINE
        while self.count(self.response_queue) and time.monotonic() < end:
            self.pump()
        self.pump(0)
        assert not self.problems, "\n".join(self.problems)
        for id, responses in self.by_id.items():
            finals = [i for i, r in enumerate(responses) if r.is_final]
            assert finals in ([], [len(responses) - 1]), \
                "something follows the final response of %s: %r" % (id, responses)
            self._check_headers(id, responses)
        assert self.count(self.names.dead_letters) == 0, "dead letters: %r" % (self.dead_letter(),)

    def _check_headers(self, id, responses):
        sequences = collections.defaultdict(list)
        for r in responses:
            assert r.headers.get("x-tr-runner", "").startswith(self.names.runner), r
            attempt = r.headers.get("x-tr-attempt")
            assert isinstance(attempt, int) and attempt >= 1, r
            sequences[attempt].append(r.headers.get("x-tr-sequence"))
        for attempt, seen in sequences.items():
            assert seen == list(range(1, len(seen) + 1)), \
                "sequence of %s, attempt %s: %s" % (id, attempt, seen)


class TerariumClient(Client):
    """Behaves as the ancestor's server does."""

    durable = False  # its default; the response exchange it declares durable all the same

    def __init__(self, broker, names):
        names.type = names.unique
        names.queue = "terarium-request-queue-" + names.type
        super().__init__(broker, names, "json")

    def declare(self):
        self.channel.queue_declare(self.names.queue, durable=self.durable)
        self.channel.exchange_declare(self.names.responses, "direct", durable=True)
        self.channel.exchange_declare(self.names.cancellation, "direct", durable=self.durable)
        self.channel.queue_declare(self.names.dead_letters, durable=True)
        self.response_queue = "terarium-response-queue-" + self.names.unique
        self.channel.queue_declare(self.response_queue, durable=True)
        self.channel.queue_bind(self.response_queue, self.names.responses, self.names.key)
        self.channel.basic_consume(self.response_queue, self._on_response)

    def _delete(self):
        super()._delete()
        self.channel.exchange_delete(self.names.cancellation)

    def submit(self, script, input=b"", id=None, **members):
        id = id or str(uuid.uuid4())
        self.before_submit(id)
        # The enum's name travels as `type`, which we do not know and ignore.
        return super().submit(script, input, id=id,
                              **{"type": "E2E", "userId": "adam", "useCache": True,
                                 "projectId": "6f0a9a7c-5f0a-4c1c-9a53-62d1d5b7a3e0",
                                 "requestSHA256": "c2hh", "timeoutMinutes": 5,
                                 "additionalProperties": {"a": [1, None]}, **members})

    def content_type(self, encoding):
        return "text/plain"

    def before_submit(self, id):
        """Declares the task's own cancellation queue, as the server does for every request."""
        self.channel.queue_declare(id, durable=self.durable, auto_delete=True)
        self.channel.queue_bind(id, self.names.cancellation, id)

    def cancel(self, id):
        self.channel.basic_publish(self.names.cancellation, id, b"")

    def heard(self):
        """A cancel is in its queue before the request is in its own."""
