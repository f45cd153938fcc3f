# SPDX-License-Identifier: Apache-2.0
"""A private RabbitMQ node (tests/lib/private-broker)."""

import contextlib
import os
import signal
import subprocess
import urllib.parse

import pika

from .paths import ROOT
from .waiting import DEADLINE

SCRIPT = os.path.join(ROOT, "tests", "lib", "private-broker")

USER = "e2e"
PASSWORD = "broker-secret-4711"  # must never be seen in a log or in a task's environment

CONF = """
default_user = %s
default_pass = %s
default_user_tags.administrator = true
default_permissions.configure = .*
default_permissions.read = .*
default_permissions.write = .*
""" % (USER, PASSWORD)


class Broker:
    def __init__(self, directory):
        self.directory = str(directory)
        self.conf = self.directory + ".conf"
        with open(self.conf, "w") as f:
            f.write(CONF)
        self.port = None
        self.is_up = False
        self.has_alarm = False

    def start(self):
        out = self._run("start", env={"PRIVATE_BROKER_CONF": self.conf})
        self.port = urllib.parse.urlsplit(out.strip()).port
        os.truncate(self.conf, 0)  # for the next start of the same node: it has them already
        self.is_up = True
        return self

    def down(self):
        self.is_up = False
        self._run("down")

    def kill(self):
        self.is_up = False
        self._run("kill")

    @contextlib.contextmanager
    def stopped(self):
        """It says and hears nothing, and its connections stay."""
        with open(os.path.join(self.directory, "node.pid")) as f:
            group = int(f.read().split()[0])
        os.killpg(group, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(group, signal.SIGCONT)

    def alarm(self, on, of="memory"):
        """While on, it takes nothing from those who publish."""
        self.has_alarm = True
        if of == "memory" or not on:
            self.ctl("set_vm_memory_high_watermark", "0.000001" if on else "0.9")
        if of == "disk" or not on:
            self.ctl("set_disk_free_limit", str(10 ** 15) if on else "50MB")
        self.has_alarm = on

    def recover(self):
        if not self.is_up:
            self.start()
        if self.has_alarm:
            self.alarm(False)
        return self

    def stop(self):
        self._run("stop")
        os.unlink(self.conf)

    def ctl(self, *args):
        return self._run("ctl", *args)

    def close_all_but_pika(self):
        """The requester's own connection lives."""
        self.ctl("eval", """
            Ours = {<<"product">>, longstr, <<"Pika Python Client Library">>},
            [rabbit_networking:close_connection(P, "for the test") ||
                [{pid, P}, {client_properties, C}] <-
                    rabbit_networking:connection_info_all([pid, client_properties]),
                is_list(C),  % one that is logging in has none yet
                lists:keyfind(<<"product">>, 1, C) =/= Ours].""")

    def _run(self, command, *args, env=None):
        done = subprocess.run([SCRIPT, command, self.directory, *args], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=3 * DEADLINE, env={**os.environ, **(env or {})})
        assert done.returncode == 0, "private-broker %s %s: %s" % (command, args, done.stderr)
        return done.stdout

    @property
    def address(self):
        return "amqp://127.0.0.1:%d" % self.port

    @property
    def url(self):
        return "amqp://%s:%s@127.0.0.1:%d" % (USER, PASSWORD, self.port)

    def connect(self):
        return pika.BlockingConnection(pika.ConnectionParameters(
            "127.0.0.1", self.port, credentials=pika.PlainCredentials(USER, PASSWORD),
            heartbeat=0, blocked_connection_timeout=DEADLINE, socket_timeout=DEADLINE))
