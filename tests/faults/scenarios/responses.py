# SPDX-License-Identifier: Apache-2.0
"""Nobody takes the responses, or only slowly."""

import time

from harness.scene import scenario
from support import processes

SLOTS = 4
MIB = 1 << 20


@scenario("full-responses",
          short=dict(tasks=150, size=2 * MIB, seconds=3),
          full=dict(tasks=2000, size=4 * MIB, seconds=60))
def full_responses(scene, tasks, size, seconds):
    """The response queue is full, then slow: memory is bounded, and nothing is lost"""
    bed = scene.bed(scene.broker(), slots=SLOTS, prefetch=1,
                    responses={"x-max-length": 4, "x-overflow": "reject-publish"})
    runner = bed.start("a")
    bed.collector.is_open.clear()
    bed.send(tasks, "ms=10 output=%d" % size)
    bed.wait(lambda: "response.held" in runner.log, 60, "a word in the log about the full queue")
    time.sleep(seconds)
    bed.collector.pace = 0.01
    bed.collector.is_open.set()
    bed.wait_answered(120 + tasks / 10)
    peak = processes.peak_memory(runner.pid)
    bound = 128 * MIB + SLOTS * 4 * size
    scene.figure("%d MiB of responses; the runner used %d MiB at most" % (
        tasks * size / MIB, peak / MIB))
    if peak > bound:
        bed.problem("more memory than %d MiB" % (bound / MIB))
    scene.conclude(bed)
