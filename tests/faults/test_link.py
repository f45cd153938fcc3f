# SPDX-License-Identifier: Apache-2.0
"""The link passes everything when it is whole and nothing when it is cut."""

import select
import socket
import threading

import pytest

from harness.link import Link


def receive(s, n):
    s.settimeout(60)
    got = b""
    while len(got) < n:
        piece = s.recv(n - len(got))
        assert piece, "it ended after %d of %d bytes" % (len(got), n)
        got += piece
    return got


def is_silent(s):
    """Nothing comes. Half a second can only miss a fault, never invent one."""
    return not select.select([s], [], [], 0.5)[0]


@pytest.fixture
def ends():
    """The runner's end, the broker's end, the link between them."""
    server = socket.create_server(("127.0.0.1", 0))
    link = Link(server.getsockname())
    near = socket.create_connection(("127.0.0.1", link.port))
    far, _ = server.accept()
    yield near, far, link
    for s in (near, far, server):
        s.close()
    link.stop()


def test_everything_passes(ends):
    near, far, link = ends
    data = bytes(range(256)) * 20000
    for source, target in ((near, far), (far, near)):
        writer = threading.Thread(target=source.sendall, args=(data,))
        writer.start()
        assert receive(target, len(data)) == data
        writer.join()


@pytest.mark.parametrize("up, down", [(True, True), (True, False), (False, True)])
def test_cut(ends, up, down):
    near, far, link = ends
    link.cut(up, down)
    near.sendall(b"up")
    far.sendall(b"down")
    assert is_silent(far) if up else receive(far, 2) == b"up"
    assert is_silent(near) if down else receive(near, 4) == b"down"
    link.heal()
    assert not up or receive(far, 2) == b"up"
    assert not down or receive(near, 4) == b"down"


def test_close_passes(ends):
    near, far, link = ends
    near.sendall(b"last words")
    near.close()
    assert receive(far, 10) == b"last words"
    assert far.recv(1) == b""


def test_close_does_not_pass_a_cut(ends):
    near, far, link = ends
    link.cut()
    far.sendall(b"last words")
    far.close()
    assert is_silent(near)
    link.heal()
    assert receive(near, 10) == b"last words"
    assert near.recv(1) == b""


def test_nobody_new_while_cut(ends):
    near, far, link = ends
    link.cut(up=True, down=False)
    with socket.create_connection(("127.0.0.1", link.port)) as another:
        assert is_silent(another)


def test_reset(ends):
    near, far, link = ends
    near.sendall(b"x")
    assert receive(far, 1) == b"x"
    link.reset()
    for s in (near, far):
        with pytest.raises(ConnectionResetError):
            s.settimeout(60)
            s.recv(1)
