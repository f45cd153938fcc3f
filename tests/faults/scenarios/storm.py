# SPDX-License-Identifier: Apache-2.0
"""Requests are delivered again and again, until the broker would drop them."""

import re
import time

from harness.history import Allowed
from harness.link import Link
from harness.scene import scenario


@scenario("redelivery-storm",
          short=[dict(tasks=15, slots=10, limit=5, drops=7),
                 dict(tasks=10, slots=10, limit=8, drops=11, seconds=14, heartbeat=6, ack="hold")],
          full=[dict(tasks=1000, slots=200, limit=20, drops=25),
                dict(tasks=1000, slots=200, limit=20, drops=25, ack="hold")])
def redelivery_storm(scene, tasks, slots, limit, drops, seconds=None, heartbeat=10, ack="lease"):
    """Connections drop more often than a quorum queue delivers: nothing vanishes in silence"""
    broker = scene.broker()
    link = scene.until_end(Link(("127.0.0.1", broker.port)))
    bed = scene.bed(broker, slots=slots, ack=ack,
                    queue={"x-queue-type": "quorum", "x-delivery-limit": limit})
    seconds = seconds or drops
    ids = bed.send(tasks, "ms=%d" % (seconds * 1000))
    # Coming back takes seconds when it happens so often; the fence must be further off than that.
    runner = bed.start("a", address=link.address, broker={"heartbeat": "%ds" % heartbeat})
    bed.wait_running(ids[:slots])
    for i in range(drops):
        connected = runner.log.count("broker.connected for=requests")
        link.reset()
        bed.wait(lambda: runner.log.count("broker.connected for=requests") > connected, 60,
                 "the runner's return")
        time.sleep(0.3)  # for deliveries
    bed.wait_answered(seconds * tasks / slots + 60)
    copies_of_ended(scene, bed, broker, runner)
    fenced = fenced_runs(runner)
    scene.figure("runs that were fenced: %d" % fenced)
    # A request may end for having been delivered too often, if its requester is told. A connection
    # that lives so shortly may not bring a single answer on a slow machine: a run that could not be
    # proved for so long must end, and only such a one may be followed by another.
    scene.conclude(bed, Allowed(causes=("crash-limit",), reruns=fenced))


def fenced_runs(runner):
    """Runs that the runner itself has ended, for the broker was not heard; not what only waited."""
    running, fenced = set(), 0
    for event, id in re.findall(r" (task\.(?:started|fenced|finished)) task=(\S+)", runner.log):
        if event == "task.fenced":
            fenced += id in running
        if event == "task.started":
            running.add(id)
        else:
            running.discard(id)
    return fenced


def copies_of_ended(scene, bed, broker, runner):
    """Of each request that was ended for its crashes a copy is kept for people to look at."""
    connection = broker.connect()
    kept = connection.channel().queue_purge(bed.names.dead_letters).method.message_count
    connection.close()
    ended = runner.log.count("cause=crash-limit")
    scene.figure("ended by the crash limit: %d" % ended)
    if kept != ended:
        bed.problem("%d copies were kept of %d requests that were ended" % (kept, ended))
