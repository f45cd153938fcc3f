# SPDX-License-Identifier: Apache-2.0
"""Who asks and who hears the answers. Both go on whatever becomes of the broker, and note what they know."""

import threading
import time
import uuid

import pika

from support.client import Client
from support.strict import Response

from .history import Final

# What a lost connection looks like.
LOST = (pika.exceptions.AMQPError, OSError, EOFError)
AGAIN_SECONDS = 0.2


class Collector(Client):
    """Takes responses, in a thread of its own."""

    def __init__(self, broker, names, history, request_arguments=None, response_arguments=None,
                 prefetch=0):
        self.history = history
        self.request_arguments = request_arguments
        self.response_arguments = response_arguments
        self.prefetch = prefetch
        self.pace = 0.0  # seconds for each response
        self.is_open = threading.Event()
        self.is_open.set()
        self.is_over = threading.Event()
        super().__init__(broker, names)
        self.thread = threading.Thread(target=self._collect, daemon=True)

    def declare(self):
        names = self.names
        self.channel.exchange_declare(names.responses, "direct", durable=True)
        self.channel.queue_declare(names.queue, durable=True, arguments=self.request_arguments)
        self.channel.queue_declare(names.dead_letters, durable=True)
        self.response_queue = "answers-" + names.unique
        self.channel.queue_declare(self.response_queue, durable=True,
                                   arguments=self.response_arguments)
        self.channel.queue_bind(self.response_queue, names.responses, names.key)
        self.channel.basic_qos(prefetch_count=self.prefetch)
        self.channel.basic_consume(self.response_queue, self._on_response)

    def _on_response(self, channel, method, properties, body):
        while not self.is_open.wait(0.1) and not self.is_over.is_set():
            pass
        if self.pace:
            time.sleep(self.pace)
        try:
            response = Response(method, properties, body)
            if response.is_final:
                self.history.add_final(response.id, Final(
                    properties.message_id, response.status, response.cause), time.monotonic())
        except Exception as problem:
            self.history.problems.append("not a response: %s: %.300r" % (problem, body))
        channel.basic_ack(method.delivery_tag)

    def _collect(self):
        while not self.is_over.is_set():
            try:
                self.pump(0.1)
            except LOST:
                self._try_again()

    def _try_again(self):
        while not self.is_over.is_set():
            time.sleep(AGAIN_SECONDS)
            try:
                self.reconnect()
                return
            except LOST:
                pass

    def end(self):
        """Deletes what it declared."""
        self.is_over.set()
        self.thread.join()
        try:
            self.close()
        except LOST:
            self.reconnect()
            self.close()


class Sender:
    """Publishes requests one after the other, each with its confirm. What was on its way when the
    connection was lost is in doubt; another takes its place. It is never sent again: two requests with
    one id would be two tasks to two runners, and that would be our fault."""

    def __init__(self, collector):
        self.collector = collector
        self.history = collector.history
        self.channel = None
        self.connection = None

    def send(self, count, words, rate=None, seconds=600, **members):
        """Gives the ids of `count` requests, with these members, that the broker has confirmed."""
        ids = []
        begin = time.monotonic()
        while len(ids) < count and time.monotonic() < begin + seconds:
            if rate:
                time.sleep(max(0, begin + len(ids) / rate - time.monotonic()))
            id = str(uuid.uuid4())
            if self.send_one(id, words, members):
                ids.append(id)
        self.close()
        if len(ids) < count:
            self.history.problems.append("the broker took only %d of %d requests" % (len(ids), count))
        return ids

    def send_one(self, id, words, members):
        """Whether the broker has confirmed it."""
        c = self.collector
        body = c.encode({"id": id, "script": "probe", "input": words.encode(),
                         "routingKey": c.names.key, **members}, "json")
        properties = pika.BasicProperties(content_type=c.content_type("json"), delivery_mode=2)
        try:
            if not self.channel:
                self._open()
        except LOST:
            self.close()
            time.sleep(AGAIN_SECONDS)
            return False
        # Before it is sent, because it may be answered before it is confirmed.
        with self.history.lock:
            self.history.in_doubt.add(id)
        try:
            self.channel.basic_publish("", c.names.queue, body, properties, mandatory=True)
        except LOST:
            self.close()
            time.sleep(AGAIN_SECONDS)
            return False
        with self.history.lock:
            self.history.in_doubt.remove(id)
            self.history.sent.add(id)
        return True

    def _open(self):
        self.connection = self.collector.broker.connect()
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()

    def close(self):
        connection, self.connection, self.channel = self.connection, None, None
        try:
            if connection:
                connection.close()
        except LOST:
            pass


class Load(threading.Thread):
    """A sender that works beside what a scenario does."""

    def __init__(self, collector, count, words, rate, seconds, members):
        super().__init__(daemon=True)
        self.sender = Sender(collector)
        self.arguments = (count, words, rate, seconds)
        self.members = members
        self.ids = []
        self.start()

    def run(self):
        self.ids = self.sender.send(*self.arguments, **self.members)

    def wait(self):
        self.join()
        return self.ids
