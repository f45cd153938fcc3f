# SPDX-License-Identifier: Apache-2.0
"""A way to the broker on which the last word of a runner can get lost."""

import socket
import threading

BASIC_CONSUME = b"\x00\x3c\x00\x14"
BASIC_ACK = b"\x00\x3c\x00\x50"
HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"
BASIC_QOS_OK = b"\x00\x3c\x00\x0b"


class Proxy:
    """Forwards TCP connections. Once told to, it lets nothing more through to the broker on those that
    consume, so that acknowledgements are sent and never arrive. Or it ends these right behind the
    broker's next answer to a ping. Or it lets nobody in. Or what publishes is told nothing for a
    while, but that the broker lives."""

    def __init__(self, port):
        self.broker = ("127.0.0.1", port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "amqp://127.0.0.1:%d" % self.listener.getsockname()[1]
        self.sockets = []
        self.consuming = []  # pairs of sockets
        self.swallows = False
        self.ends_at_pong = False
        self.lets_in = True
        self.lets_confirms_through = threading.Event()
        self.lets_confirms_through.set()
        self.ack_is_lost = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        """Ends the connections that consume. What is made anew is forwarded whole."""
        self.swallows = False
        pairs, self.consuming = self.consuming, []
        for pair in pairs:
            shut(*pair)

    def close(self):
        self.lets_confirms_through.set()
        shut(self.listener, *self.sockets)
        for s in [self.listener, *self.sockets]:
            s.close()

    def _accept(self):
        while True:
            try:
                peer, _ = self.listener.accept()
                if not self.lets_in:
                    peer.close()
                    continue
                broker = socket.create_connection(self.broker)
            except OSError:
                return
            self.sockets += [peer, broker]
            threading.Thread(target=self._to_broker, args=(peer, broker), daemon=True).start()
            threading.Thread(target=self._to_peer, args=(broker, peer), daemon=True).start()

    def _to_broker(self, peer, broker):
        consumes, seen = False, b""
        for data in read(peer):
            seen = seen[-3:] + data
            if not consumes and BASIC_CONSUME in seen:
                consumes = True
                self.consuming.append((peer, broker))
            if not (consumes and self.swallows):
                send(broker, data)
            elif BASIC_ACK in seen:
                self.ack_is_lost.set()
        shut(broker)

    def _to_peer(self, broker, peer):
        kept = b""
        for data in read(broker):
            publishes = (peer, broker) not in self.consuming
            if publishes and not self.lets_confirms_through.is_set() and data != HEARTBEAT:
                kept += data
                continue
            if self.lets_confirms_through.is_set():
                data, kept = kept + data, b""
            send(peer, data)
            if self.ends_at_pong and BASIC_QOS_OK in data and (peer, broker) in self.consuming:
                break
        shut(peer)


def read(s):
    try:
        while data := s.recv(65536):
            yield data
    except OSError:
        pass


def send(s, data):
    try:
        s.sendall(data)
    except OSError:
        pass


def shut(*sockets):
    for s in sockets:
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
