#!/usr/bin/python3 -IS
# SPDX-License-Identifier: Apache-2.0
"""Four processes that hold 40 MiB each for some seconds: more than one look of the runner."""

import os
import time

MIB = 1 << 20
HELD_SECONDS = 6

children = []
for _ in range(3):
    pid = os.fork()
    if pid == 0:
        held = bytearray(os.urandom(MIB) * 40)
        time.sleep(HELD_SECONDS)
        os._exit(0)
    children.append(pid)
held = bytearray(os.urandom(MIB) * 40)
for pid in children:
    os.waitpid(pid, 0)
