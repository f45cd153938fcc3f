# SPDX-License-Identifier: Apache-2.0
"""The network between a runner and its broker is cut, while another runner goes on."""

import time

from harness.history import Allowed
from harness.link import Link
from harness.scene import scenario

SLOTS = 4
LONG = 2
WAYS = {"both ways": (True, True), "to the broker": (True, False), "to the runner": (False, True)}


@scenario("network-cuts", short=dict(seconds=8),
          full=[dict(seconds=5), dict(seconds=30), dict(seconds=90), dict(seconds=30, ack="hold")])
def network_cuts(scene, seconds, ack="lease"):
    """Nothing passes between a runner and its broker for a time, both ways or one way"""
    broker = scene.broker()
    lanes = [lane(scene, broker, label, seconds, ack) for label in WAYS]
    for bed, link, label in lanes:
        link.cut(*WAYS[label])
    time.sleep(seconds)
    for bed, link, label in lanes:
        link.heal()
    for bed, link, label in lanes:
        bed.wait_answered(120)
    scene.conclude_all([
        (bed, Allowed(reruns=2 * SLOTS + LONG, duplicates=2 * SLOTS),
         "%d s %s" % (seconds, label)) for bed, link, label in lanes])


def lane(scene, broker, label, seconds, ack):
    link = scene.until_end(Link(("127.0.0.1", broker.port)))
    bed = scene.bed(broker, label.replace(" ", "-"), slots=SLOTS, ack=ack)
    bed.start("a", address=link.address)
    # Only the one who will be cut off is there to take the long ones.
    bed.wait_running(bed.send(LONG, "ms=%d" % (seconds * 1000 + 10000)))
    bed.start("b")
    bed.load((seconds + 6) * 10, "ms=200", rate=10)
    time.sleep(1.5)
    return bed, link, label
