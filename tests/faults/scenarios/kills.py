# SPDX-License-Identifier: Apache-2.0
"""Runners are killed while work passes."""

import bisect
import collections
import random
import statistics
import time

from harness.history import Allowed
from harness.scene import scenario

SLOTS = 4


@scenario("kills",
          short=dict(tasks=600, ms=100, every=(1, 2)),
          full=[dict(tasks=10000, ms=100, every=(1, 6), back_within=5),
                dict(tasks=10000, ms=100, every=(1, 6), back_within=5,
                     queue={"x-queue-type": "quorum"})])
def kills(scene, tasks, ms, every, back_within=None, queue=None):
    """kill -9 of random runners, three on one queue, while tasks pass"""
    bed = scene.bed(scene.broker(), slots=SLOTS, queue=queue)
    for host in "abc":
        bed.start(host)
    dice = random.Random(4711)
    killed_at = []
    load = bed.load(tasks, "ms=%d children=1" % ms)
    bed.wait(lambda: bed.history.finals, 60)
    while load.is_alive() or len(bed.history.unanswered()) > tasks / 10:
        if bed.wait(lambda: not load.is_alive() and not bed.history.unanswered(),
                    dice.uniform(*every)):
            break
        victim = dice.choice(bed.alive())
        bed.kill(victim)
        killed_at.append(time.monotonic())
        time.sleep(0.2)
        bed.start(victim.host.name)
        if len(killed_at) > 200:
            break
    bed.wait_answered(120)
    worst = tell_throughput(scene, bed.history.finals_at, killed_at)
    if back_within and worst > back_within:
        bed.problem("throughput was not back within %d s" % back_within)
    scene.conclude(bed, Allowed(duplicates=SLOTS * len(killed_at), reruns=SLOTS * len(killed_at)))


def tell_throughput(scene, finals_at, killed_at):
    """The curve, and how long it was worse than usual at a stretch. Gives that time."""
    # At the very end only those are left whose runner was killed, and who wait as suspects.
    finals_at = sorted(finals_at)
    finals_at = finals_at[:len(finals_at) * 98 // 100]
    begin, end = finals_at[0], finals_at[-1]
    per_second = collections.Counter(int(t - begin) for t in finals_at)
    curve = [per_second[i] for i in range(int(end - begin))]
    usual = statistics.median(curve)
    scene.figure("finals in each second: " + " ".join(map(str, curve)))
    worst = stretch = 0.0
    for step in range(max(0, int((end - begin - 1) * 10))):
        t = begin + step / 10
        is_poor = bisect.bisect(finals_at, t + 1) - bisect.bisect(finals_at, t) < usual * 2 / 3
        stretch = stretch + 0.1 if is_poor else 0.0
        worst = max(worst, stretch)
    scene.figure("%d kills; usual %d/s; below two thirds of it for %.1f s at a stretch at most" % (
        len(killed_at), usual, worst))
    return worst
