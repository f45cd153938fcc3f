# SPDX-License-Identifier: Apache-2.0
"""A server that speaks AMQP well until it is told to misbehave: what no real broker can be brought
to do, but a broken one, or something between it and us, may."""

import socket
import struct
import threading
import traceback

from pika import frame, spec

PROPERTIES = {"product": "False Broker", "version": "3.10.8", "capabilities": {
    "publisher_confirms": True, "basic.nack": True, "consumer_cancel_notify": True,
    "connection.blocked": True}}


class Gone(Exception):
    """The peer has closed the connection."""


class Session:
    """One connection. The methods that end in a frame's name send one."""

    def __init__(self, peer):
        self.peer = peer
        self.data = b""
        self.consumers = {}  # channel: consumer tag
        self.published = {}  # channel: how many
        self.deleted = []    # queues
        self.channel = None  # of the last publish
        self.request = None  # its properties and body

    # Frames

    def raw(self, data):
        try:
            self.peer.sendall(data)
        except OSError:
            raise Gone from None

    def method(self, channel, method):
        self.raw(frame.Method(channel, method).marshal())

    def header(self, channel, size, **properties):
        self.raw(frame.Header(channel, size, spec.BasicProperties(**properties)).marshal())

    def body(self, channel, data):
        self.raw(frame.Body(channel, data).marshal())

    def frame(self, kind, channel, payload, end=b"\xce"):
        """Any frame, also one that there is not."""
        self.raw(struct.pack(">BHI", kind, channel, len(payload)) + payload + end)

    def receive(self):
        while True:
            used, got = frame.decode_frame(self.data)
            if got:
                self.data = self.data[used:]
                return got
            try:
                more = self.peer.recv(65536)
            except OSError:
                more = b""
            if not more:
                raise Gone
            self.data += more

    def expect(self, *methods):
        """Serves until one of these comes, and gives it with its channel. It is not answered."""
        while True:
            got = self.receive()
            if isinstance(got, frame.Method) and isinstance(got.method, methods):
                return got.channel_number, got.method
            self.answer(got)

    def expect_first(self, *methods):
        """The same, but it is answered, too."""
        while True:
            got = self.receive()
            self.answer(got)
            if isinstance(got, frame.Method) and isinstance(got.method, methods):
                return got.channel_number, got.method

    # What a broker does

    def greet(self, mechanisms="PLAIN", tune=(2047, 131072, 0)):
        assert isinstance(self.receive(), frame.ProtocolHeader)
        self.method(0, spec.Connection.Start(
            version_major=0, version_minor=9, server_properties=PROPERTIES,
            mechanisms=mechanisms, locales="en_US"))
        self.expect(spec.Connection.StartOk)
        self.method(0, spec.Connection.Tune(*tune))
        self.expect(spec.Connection.TuneOk)

    def answer(self, got):
        """Does what a well-behaved broker would."""
        if not isinstance(got, frame.Method):
            return
        channel, method = got.channel_number, got.method
        simple = {
            spec.Connection.Open: spec.Connection.OpenOk, spec.Channel.Open: spec.Channel.OpenOk,
            spec.Channel.Close: spec.Channel.CloseOk, spec.Confirm.Select: spec.Confirm.SelectOk,
            spec.Exchange.Declare: spec.Exchange.DeclareOk, spec.Queue.Bind: spec.Queue.BindOk,
            spec.Basic.Qos: spec.Basic.QosOk}
        if getattr(method, "nowait", False) and not isinstance(method, spec.Basic.Consume):
            return
        if type(method) in simple:
            self.method(channel, simple[type(method)]())
        elif isinstance(method, spec.Queue.Declare):
            self.method(channel, spec.Queue.DeclareOk(method.queue or "amq.gen-false", 0, 1))
        elif isinstance(method, spec.Basic.Consume):
            self.consumers[channel] = method.consumer_tag
            if not method.nowait:
                self.method(channel, spec.Basic.ConsumeOk(method.consumer_tag))
        elif isinstance(method, spec.Queue.Delete):
            self.deleted.append(method.queue)
            self.method(channel, spec.Queue.DeleteOk(0))
        elif isinstance(method, spec.Connection.Close):
            self.method(0, spec.Connection.CloseOk())

    def take_publish(self):
        """Serves until a message has come whole; its number in its channel."""
        self.channel, _ = self.expect(spec.Basic.Publish)
        header = self.receive()
        body = b""
        while len(body) < header.body_size:
            body += self.receive().fragment
        self.request = header.properties, body
        self.published[self.channel] = self.published.get(self.channel, 0) + 1
        return self.published[self.channel]

    def deliver(self, body, channel=None, redelivered=False, **properties):
        """A message for whoever consumes, well-formed."""
        channel = self.begin_delivery(channel, redelivered)
        self.header(channel, len(body), **properties)
        if body:
            self.body(channel, body)

    def begin_delivery(self, channel=None, redelivered=False):
        """Only the method: header and body are to follow."""
        channel = channel or next(iter(self.consumers))
        self.method(channel, spec.Basic.Deliver(
            self.consumers.get(channel, "nobody's"), 1, redelivered, "", "key"))
        return channel

    def confirm_all(self):
        """Takes whatever is published."""
        while True:
            number = self.take_publish()
            self.method(self.channel, spec.Basic.Ack(number, False))

    def serve(self):
        """Behaves until the other end goes."""
        self.expect()


class FalseBroker:
    """Each connection is given to `behave`, with its number from 0; what that raises fails the
    test."""

    def __init__(self, behave):
        self.behave = behave
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.url = "amqp://guest:guest@127.0.0.1:%d" % self.port
        self.address = "amqp://127.0.0.1:%d" % self.port
        self.problems = []
        self.sessions = []
        self.threads = [threading.Thread(target=self._accept)]

    def __enter__(self):
        self.threads[0].start()
        return self

    def _accept(self):
        while True:
            try:
                peer, _ = self.server.accept()
            except OSError:  # we are closing
                return
            session = Session(peer)
            self.sessions.append(session)
            self.threads.append(threading.Thread(
                target=self._serve, args=(session, len(self.sessions) - 1)))
            self.threads[-1].start()

    def _serve(self, session, number):
        try:
            self.behave(session, number)
        except Gone:
            pass
        except BaseException as problem:
            self.problems.append(problem)
        finally:
            session.peer.close()

    def __exit__(self, *what):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self.threads[0].join()
        for session in self.sessions:
            try:
                session.peer.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self.threads[1:]:
            thread.join()
        for problem in self.problems:
            traceback.print_exception(None, problem, problem.__traceback__)
        if not what[0] and self.problems:
            raise self.problems[0]
