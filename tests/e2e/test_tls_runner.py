# SPDX-License-Identifier: Apache-2.0
"""amqps:// to a server that wants to know who comes: the runner's broker.tls, libtaskclient's options."""

import os
import signal
import socket
import subprocess

import pytest

from support.broker import PASSWORD, USER, Broker
from support.client import Client
from support.runner import base_config, sanitizer_environment, sanitizer_reports, steps
from support.waiting import DEADLINE
from test_tls import make_certificates


def make_client_certificate(directory, name, ca):
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=" + name,
            "-keyout", name + ".key", "-out", name + ".csr")
    openssl("x509", "-req", "-in", name + ".csr", "-CA", ca + ".pem", "-CAkey", ca + ".key",
            "-CAcreateserial", "-days", "2", "-out", name + ".pem")


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    """A server that takes only clients with a certificate of its CA."""
    directory = tmp_path_factory.mktemp("tls-runner")
    make_certificates(directory)
    make_client_certificate(directory, "client", "ca")
    make_client_certificate(directory, "stranger", "other")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    node = Broker(directory / "node")
    with open(node.conf, "a") as f:
        f.write("listeners.ssl.1 = 127.0.0.1:%d\n" % port)
        for key, value in (("cacertfile", directory / "ca.pem"), ("verify", "verify_peer"),
                           ("certfile", directory / "server.pem"),
                           ("keyfile", directory / "server.key"), ("fail_if_no_peer_cert", "true")):
            f.write("ssl_options.%s = %s\n" % (key, value))
    node.start()
    node.tls_port = port
    node.files = directory
    yield node
    node.stop()


@pytest.fixture
def start(strict, names, tmp_path, clients, start_runner):
    """start(ca=…, cert=…, key=…): a runner with these files, and its client, which needs no TLS."""
    def start(ready=True, host="localhost", insecure=None, **files):
        clients.append(Client(strict, names))
        config = base_config(strict, names, tmp_path / "run")
        tls = {name + "_file": str(strict.files / file) for name, file in files.items()}
        if insecure is not None:
            tls["insecure"] = insecure
        config["broker"] = {"addresses": "amqps://%s:%d" % (host, strict.tls_port),
                            "username": USER, "password": PASSWORD, "tls": tls}
        return start_runner(strict, clients[-1], config, ready=ready), clients[-1]
    return start


MINE = {"cert": "client.pem", "key": "client.key"}


def test_both_know_each_other(start):
    r, client = start(ca="ca.pem", **MINE)
    assert client.run("act", steps(["output", "x"]))[-1].output == b"x"


def test_insecure_trusts_anybody(start):
    """Neither the CA nor the name is looked at."""
    r, client = start(ca="other.pem", host="127.0.0.1", insecure=True, **MINE)
    assert client.run("act", steps(["output", "x"]))[-1].output == b"x"


@pytest.mark.parametrize("settings,told", [
    ({"ca": "other.pem", **MINE}, ["not trusted"]),
    ({"ca": "ca.pem", "host": "127.0.0.1", **MINE}, ["another name than 127.0.0.1"]),
    ({"ca": "ca.pem"}, ["closed the connection", "TLS handshake", "want a client certificate",
                        "cert_file and key_file are not set"]),
    ({"ca": "ca.pem", "cert": "stranger.pem", "key": "stranger.key"},
     ["closed the connection", "TLS handshake", "accept the client certificate", "stranger.pem"]),
    ({"ca": "server.csr", **MINE}, ["cannot load the CA certificates", "server.csr"]),
    ({"ca": "ca.key", **MINE}, ["cannot load the CA certificates", "ca.key"]),
    ({"ca": "ca.pem", "cert": "server.csr", "key": "client.key"},
     ["cannot load the client certificate", "server.csr"]),
    ({"ca": "ca.pem", "cert": "client.pem", "key": "stranger.key"},
     ["cannot load the client certificate", "stranger.key"]),
    ({"ca": "ca.pem", "cert": "client.key", "key": "client.pem"},
     ["cannot load the client certificate", "client.key"]),
], ids=["other-ca", "other-name", "no-certificate", "stranger", "no-ca", "ca-is-a-key",
        "no-cert", "key-of-another", "swapped"])
def test_refused(start, settings, told):
    """It says why, and goes on trying: certificates get replaced while it waits."""
    r, _ = start(ready=False, **settings)
    r.wait_log("error", "broker.unavailable", "localhost" if "host" not in settings else "127.0.0.1",
               *told)
    assert not r.notify.has("READY=1")
    r.signal(signal.SIGTERM)
    r.wait_end()


# connect BROKER USER PASSWORD CA CERTIFICATE KEY INSECURE
CONNECT = r"""
#include <stdio.h>
#include <string.h>
#include <taskclient.h>

int main(int argc, char **argv)
{
	struct taskclient_options options = { 0 };
	struct taskclient_error err = { 0 };
	struct taskclient *client = NULL;

	if (argc != 8)
		return 2;
	options.broker = argv[1];
	options.user = argv[2];
	options.password = argv[3];
	options.ca_file = argv[4];
	options.cert_file = *argv[5] ? argv[5] : NULL;
	options.key_file = *argv[6] ? argv[6] : NULL;
	options.insecure = strcmp(argv[7], "insecure") == 0;
	options.heartbeat_s = 5;
	options.connect_timeout_s = 30;
	if (taskclient_open(&options, &client, &err) < 0)
		puts(err.text);
	taskclient_close(client);
	return err.code != 0;
}
"""


@pytest.fixture(scope="module")
def connect(library, tmp_path_factory):
    directory = tmp_path_factory.mktemp("connect")
    (directory / "connect.c").write_text(CONNECT)
    library.build("cc", directory / "connect.c", directory / "connect", "-std=c11")
    return directory / "connect"


@pytest.mark.parametrize("host, ca, cert, key, insecure, told", [
    ("localhost", "ca.pem", "client.pem", "client.key", "", None),
    ("127.0.0.1", "other.pem", "client.pem", "client.key", "insecure", None),
    ("localhost", "other.pem", "client.pem", "client.key", "", "not trusted"),
    ("127.0.0.1", "ca.pem", "client.pem", "client.key", "", "another name than 127.0.0.1"),
    ("localhost", "ca.pem", "", "", "", "TLS handshake"),
    ("localhost", "ca.pem", "client.pem", "", "", "belong together"),
    ("localhost", "ca.pem", "client.pem", "stranger.key", "", "cannot load the client certificate"),
])
def test_options_of_the_library(strict, library, connect, tmp_path, host, ca, cert, key, insecure, told):
    files = [str(strict.files / name) if name else "" for name in (ca, cert, key)]
    r = subprocess.run([connect, "amqps://%s:%d" % (host, strict.tls_port), USER, PASSWORD, *files, insecure],
                       env={**os.environ, **library.environment, **sanitizer_environment(tmp_path)},
                       capture_output=True, text=True, timeout=DEADLINE)
    assert (r.returncode, r.stderr) == (1 if told else 0, "")
    assert (told or "") in r.stdout and PASSWORD not in r.stdout
    assert bool(r.stdout) == bool(told)
    assert sanitizer_reports(tmp_path) == ""
