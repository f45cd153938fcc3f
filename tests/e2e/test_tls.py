# SPDX-License-Identifier: Apache-2.0
"""amqps://: whom a client trusts, and what it says when it does not."""

import os
import socket
import subprocess

import pytest

from support.broker import PASSWORD, USER, Broker
from support.paths import TASKCTL
from support.waiting import DEADLINE


def make_certificates(directory):
    """A CA and a server certificate for localhost."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    for name in ("ca", "other"):
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test " + name,
                "-keyout", name + ".key", "-out", name + ".pem")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
            "-keyout", "server.key", "-out", "server.csr")
    (directory / "names").write_text("subjectAltName=DNS:localhost\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", "server.pem")


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tls")
    make_certificates(directory)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    node = Broker(directory / "node")
    with open(node.conf, "a") as f:
        f.write("listeners.ssl.1 = 127.0.0.1:%d\n" % port)
        for key, file in (("cacertfile", "ca.pem"), ("certfile", "server.pem"), ("keyfile", "server.key")):
            f.write("ssl_options.%s = %s\n" % (key, directory / file))
        f.write("ssl_options.verify = verify_none\n")
    node.start()
    node.tls_port = port
    node.files = directory
    yield node
    node.stop()


def ask(url, ca):
    """taskctl for a queue that is not there: status 4 means that it could ask."""
    done = subprocess.run(
        [TASKCTL, "run", "--broker", url, "--queue", "no.such.queue", "x"], timeout=DEADLINE,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "SSL_CERT_FILE": str(ca), "SSL_CERT_DIR": "/nonexistent"})
    assert PASSWORD not in done.stderr
    return done.returncode, done.stderr


def url(scheme, host, port):
    return "%s://%s:%s@%s:%d" % (scheme, USER, PASSWORD, host, port)


def test_trusted(secure):
    status, said = ask(url("amqps", "localhost", secure.tls_port), secure.files / "ca.pem")
    assert status == 4, said


def test_not_trusted(secure):
    status, said = ask(url("amqps", "localhost", secure.tls_port), secure.files / "other.pem")
    assert status == 3 and "not trusted" in said


def test_another_name(secure):
    status, said = ask(url("amqps", "127.0.0.1", secure.tls_port), secure.files / "ca.pem")
    assert status == 3 and "another name than 127.0.0.1" in said


def test_no_tls_there(secure):
    status, said = ask(url("amqps", "localhost", secure.port), secure.files / "ca.pem")
    assert status == 3 and "TLS" in said


def test_tls_where_none_is_spoken(secure):
    status, said = ask(url("amqp", "localhost", secure.tls_port), secure.files / "ca.pem")
    assert status == 3


def test_nobody_there(secure):
    status, said = ask(url("amqps", "localhost", 1), secure.files / "ca.pem")
    assert status == 3 and "refused" in said
