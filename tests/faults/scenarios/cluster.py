# SPDX-License-Identifier: Apache-2.0
"""A cluster of three nodes loses one."""

import random
import time

from harness.brokers import Cluster
from harness.history import Allowed
from harness.scene import scenario

SLOTS = 8
LONG = 2


@scenario("cluster",
          short=dict(tasks=300, kills=1, rate=60),
          full=dict(tasks=5000, kills=3, rate=60))
def cluster(scene, tasks, kills, rate):
    """kill -9 of the node that leads a quorum queue, in a cluster of three, under load"""
    broker = scene.own(Cluster(scene.directory / "cluster"))
    bed = scene.bed(broker, slots=SLOTS, queue={"x-queue-type": "quorum"},
                    responses={"x-queue-type": "quorum"})
    for host in "ab":
        bed.start(host)
    long = bed.send(LONG, "ms=%d" % (tasks / rate * 1000 + 3000))
    bed.wait_running(long)
    load = bed.load(tasks, "ms=50", rate=rate)
    dice = random.Random(4711)
    for i in range(kills):
        time.sleep(dice.uniform(1, tasks / rate / kills / 2))
        node = broker.leader(bed.names.queue)
        node.kill()
        time.sleep(dice.uniform(2, 4))
        node.start()
    load.wait()
    bed.wait_answered(120)
    runs = bed.runs()
    scene.figure("long tasks started again: %d of %d" % (
        sum(len(runs[id]) > 1 for id in long), LONG))
    scene.conclude(bed, Allowed(reruns=4 * SLOTS * kills, duplicates=4 * SLOTS * kills))
