# SPDX-License-Identifier: Apache-2.0
"""Brokers for scenarios: one with settings of its own, and a cluster of three nodes on loopback."""

import concurrent.futures
import json
import os
import socket
import subprocess
import uuid

from support.broker import CONF, Broker
from support.waiting import wait_until


class TunedBroker(Broker):
    """With Erlang terms of its own for advanced.config."""

    def __init__(self, directory, terms):
        super().__init__(directory)
        etc = os.path.join(self.directory, "etc")
        os.makedirs(etc, mode=0o700)
        with open(os.path.join(etc, "advanced.config"), "w") as f:
            f.write(terms)

    @property
    def log(self):
        """All that the node logged."""
        directory = os.path.join(self.directory, "log")
        return "".join(open(os.path.join(directory, f), errors="replace").read()
                       for f in sorted(os.listdir(directory)) if f.endswith(".log"))


def free_port():
    """Below the range from which the kernel gives out ports for outgoing connections."""
    while True:
        port = 20000 + uuid.uuid4().int % 12000
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class Node(Broker):
    """One of a cluster: it shares the port mapper and the cookie with the others."""

    def __init__(self, directory, name, epmd_port, cookie, first):
        super().__init__(directory)
        self.name = name
        self.port = free_port()
        home = os.path.join(self.directory, "home")
        os.makedirs(home, mode=0o700)
        with open(os.path.join(self.directory, "state"), "w") as f:
            f.write("node=%s\nport=%d\ndist_port=%d\nepmd_port=%d\n"
                    % (name, self.port, free_port(), epmd_port))
        cookie_file = os.path.join(home, ".erlang.cookie")
        with open(cookie_file, "w") as f:
            f.write(cookie)
        os.chmod(cookie_file, 0o400)
        if first:
            with open(self.conf, "w") as f:
                f.write(CONF + "cluster_formation.peer_discovery_backend = classic_config\n"
                        "cluster_formation.classic_config.nodes.1 = %s\n"
                        "cluster_formation.classic_config.nodes.2 = %s\n" % (first, name))


class Cluster:
    """As a Broker, as far as clients are concerned."""

    def __init__(self, directory, n=3):
        self.directory = str(directory)
        os.makedirs(self.directory)
        unique = uuid.uuid4().hex[:12]
        self.epmd_port = free_port()
        self.nodes = []
        for i in range(n):
            self.nodes.append(Node(
                os.path.join(self.directory, "n%d" % i), "tr-%s-%d@localhost" % (unique, i),
                self.epmd_port, unique, self.nodes[0].name if i else None))
        self.epmd = None

    def start(self):
        # Its own, so that no node takes it along when it is killed.
        self.epmd = subprocess.Popen(
            ["epmd", "-relaxed_command_check", "-port", str(self.epmd_port)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "ERL_EPMD_ADDRESS": "127.0.0.1"},
            start_new_session=True)
        self.nodes[0].start()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(Node.start, self.nodes[1:]))
        wait_until(lambda: len(self.running_nodes()) == len(self.nodes), "the cluster is whole",
                   every=0.5)
        return self

    def stop(self):
        for node in self.nodes:
            node.stop()
        if self.epmd:
            self.epmd.kill()
            self.epmd.wait()

    def ctl(self, *args):
        return self.up()[0].ctl(*args)

    def up(self):
        return [node for node in self.nodes if node.is_up]

    def running_nodes(self):
        return json.loads(self.ctl("-q", "--formatter", "json", "cluster_status"))["running_nodes"]

    def leader(self, queue):
        """The node on which the leader of a quorum queue is."""
        rows = json.loads(self.ctl("-q", "--formatter", "json", "list_queues", "name", "leader"))
        (name,) = [row["leader"] for row in rows if row["name"] == queue]
        return next((node for node in self.nodes if node.name == name), None)

    @property
    def address(self):
        return ",".join(node.address for node in self.nodes)

    def connect(self):
        problem = None
        for node in self.up():
            try:
                return node.connect()
            except Exception as e:
                problem = e
        raise problem or OSError("no node is up")


def list_queues(broker):
    """What every queue holds: name -> (ready, unacknowledged)."""
    rows = json.loads(broker.ctl("-q", "--formatter", "json", "list_queues", "name",
                                 "messages_ready", "messages_unacknowledged"))
    return {row["name"]: (row["messages_ready"], row["messages_unacknowledged"]) for row in rows}
