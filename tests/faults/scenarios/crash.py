# SPDX-License-Identifier: Apache-2.0
"""The runner kills itself at each step of the protocol of delivery."""

import concurrent.futures
import time

from harness.history import Allowed
from harness.scene import scenario
from harness.settings import LEASE, PARKED_MS, RENEWED_MS, SUSPECT, has_crash_points

SHORT_MS = 300
UNPARKED_MS = 900

# Step -> how long the task runs, how many further runs and further finals the crash may cost it.
STEPS = {
    "S0": (SHORT_MS, 0, 0),     # delivered
    "S1": (SHORT_MS, 1, 0),     # RUNNING published
    "S2": (SHORT_MS, 1, 0),     # spawned
    "S3": (UNPARKED_MS, 1, 0),  # running
    "S4a": (PARKED_MS, 2, 0),   # copy published: original and copy both come back
    "S4b": (PARKED_MS, 2, 0),   # copy confirmed: the same
    "S4c": (PARKED_MS, 1, 0),   # original acknowledged: parked
    "S5a": (RENEWED_MS, 1, 0),  # the same three for a renewal
    "S5b": (RENEWED_MS, 2, 0),
    "S5c": (RENEWED_MS, 1, 0),
    "S6": (SHORT_MS, 1, 0),     # exited, drained
    "S7": (SHORT_MS, 1, 1),     # final published: nobody knows whether the broker has it
    "S8": (SHORT_MS, 1, 1),     # final confirmed, request not acknowledged
    "S8b": (SHORT_MS, 1, 1),    # and noted in the journal, which the next runner of the host reads
    "S9": (SHORT_MS, 0, 0),     # acknowledged
    "S10": (SHORT_MS, 0, 0),    # cleaned
}


@scenario("crash-points", short=dict(times=1), full=dict(times=50))
def crash_points(scene, times):
    """kill -9 of the runner by itself at each of the steps S0 to S10"""
    assert has_crash_points(), "this build has no crash points: meson option crash_points"
    broker = scene.broker()
    lanes = [(scene.bed(broker, step, slots=1), step, i) for i, step in enumerate(STEPS)]
    with concurrent.futures.ThreadPoolExecutor(len(lanes)) as pool:
        for done in [pool.submit(crash, *lane, times) for lane in lanes]:
            done.result()
    scene.conclude_all([
        (bed, Allowed(reruns=STEPS[step][1] * times, duplicates=STEPS[step][2] * times), step)
        for bed, step, _ in lanes])


def crash(bed, step, lane, times):
    """In turns, the next runner of the same host and that of another take over."""
    for i in range(times):
        dying = bed.start("a", environment={"TASKRUNNER_CRASH_AT": step})
        bed.send(1, "ms=%d children=1" % STEPS[step][0])
        bed.wait_crash(dying, 60, "the crash at " + step)
        heir = bed.start("ab"[(i + lane) % 2])
        bed.wait_answered(60)
        # Until what else there is has come home and been dealt with.
        if STEPS[step][0] > PARKED_MS - 1:
            time.sleep(LEASE + SUSPECT)
        elif STEPS[step][2]:
            time.sleep(SUSPECT + 2)
        bed.end(heir)
    bed.end(bed.start("a"))  # it clears away what the last crash left on its host
