# SPDX-License-Identifier: Apache-2.0
"""A network link between a runner and its broker that can be cut, in either direction or both.

Cut, nothing passes: no byte, no close, no reset, and nobody new is let in. What was sent meanwhile
arrives when the link is whole again, as TCP would see to it; until then a sender notices only that its
buffer is full.
"""

import os
import select
import socket
import struct
import threading

PIECE = 65536
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset


class Way:
    """One direction of a connection."""

    def __init__(self, source, target, is_up):
        self.source = source
        self.target = target
        self.is_up = is_up  # towards the broker
        self.held = b""     # read, and not written yet
        self.is_over = False


class Link:
    def __init__(self, target, host="127.0.0.1"):
        self.target = target
        self.host = host
        self.listener = socket.create_server((host, 0), backlog=64)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.connections = []  # pairs of ways
        self.is_cut = {True: False, False: False}  # up, down
        self.is_closed = False
        self.lock = threading.Lock()
        self.wake_read, self.wake_write = os.pipe()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    @property
    def address(self):
        return "amqp://%s:%d" % (self.host, self.port)

    # What a scenario does

    def cut(self, up=True, down=True):
        """`up`: what the runner sends; `down`: what the broker sends."""
        with self.lock:
            self.is_cut = {True: up, False: down}
        self._wake()

    def heal(self):
        self.cut(False, False)

    def reset(self):
        """All connections end with a reset, on both sides."""
        with self.lock:
            for connection in self.connections:
                abort(connection)
            self.connections.clear()
        self._wake()

    def stop(self):
        self.is_closed = True
        self._wake()
        self.thread.join()
        for connection in self.connections:
            abort(connection)
        self.listener.close()
        os.close(self.wake_read)
        os.close(self.wake_write)

    # The thread

    def _wake(self):
        os.write(self.wake_write, b"x")

    def _serve(self):
        while not self.is_closed:
            poller = select.poll()
            with self.lock:
                for fd, events in self._wanted().items():
                    poller.register(fd, events)
            ready = {fd for fd, _ in poller.poll()}
            if self.wake_read in ready:
                os.read(self.wake_read, PIECE)
            with self.lock:
                self._do(ready)

    def _wanted(self):
        wanted = {self.wake_read: select.POLLIN}
        if not any(self.is_cut.values()):
            wanted[self.listener.fileno()] = select.POLLIN
        for way in self._open_ways():
            fd, event = (way.target, select.POLLOUT) if way.held else (way.source, select.POLLIN)
            wanted[fd.fileno()] = wanted.get(fd.fileno(), 0) | event
        return wanted

    def _open_ways(self):
        return [way for connection in self.connections for way in connection
                if not way.is_over and not self.is_cut[way.is_up]]

    def _do(self, ready):
        if self.listener.fileno() in ready:
            self._accept()
        for way in self._open_ways():
            end = way.target if way.held else way.source
            if end.fileno() in ready:
                self._move(way)

    def _accept(self):
        try:
            near, _ = self.listener.accept()
        except OSError:
            return
        try:
            far = socket.create_connection(self.target, timeout=10)
        except OSError:
            near.close()
            return
        for end in (near, far):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connections.append((Way(near, far, True), Way(far, near, False)))

    def _move(self, way):
        try:
            if way.held:
                way.held = way.held[way.target.send(way.held):]
            else:
                way.held = way.source.recv(PIECE)
                if not way.held:
                    self._pass_on_end(way)
        except BlockingIOError:
            pass
        except OSError:
            self._forget(way)

    def _pass_on_end(self, way):
        way.is_over = True
        way.target.shutdown(socket.SHUT_WR)
        if all(w.is_over for w in self._connection(way)):
            self._forget(way)

    def _connection(self, way):
        return next((c for c in self.connections if way in c), ())

    def _forget(self, way):
        connection = self._connection(way)
        if connection:
            self.connections.remove(connection)
            abort(connection)


def abort(connection):
    for end in (connection[0].source, connection[0].target):
        try:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        except OSError:
            pass
        end.close()
