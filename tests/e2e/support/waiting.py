# SPDX-License-Identifier: Apache-2.0
"""Waiting for events. A deadline only ends a wait that would never end; nothing depends on speed."""

import os
import time

# Generous on purpose: sanitizers, valgrind and busy machines are slow, and a runner itself waits for
# two heartbeats (40 s) before it starts what came again.
DEADLINE = float(os.environ.get("E2E_DEADLINE", "120"))


def hurry():
    """The session was interrupted: what is waited for need not come any more."""
    global DEADLINE
    DEADLINE = 0.5


def deadline():
    return DEADLINE


def wait_until(condition, what, seconds=None, every=0.01):
    """Gives what `condition` gives as soon as that is true; fails with `what` at the deadline."""
    end = time.monotonic() + (seconds or DEADLINE)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("waited in vain: %s" % (what() if callable(what) else what))
        time.sleep(every)
