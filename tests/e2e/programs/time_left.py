#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The same as time_left.c, with the Python face."""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "taskiface" / "python"))
sys.dont_write_bytecode = True
import taskiface  # noqa: E402

CLEANING = 2.0

task = taskiface.Task()
book = open(sys.argv[1], "w")
task.on_cancel()
task.progress(0, "ready")
while not task.cancelled:
    time.sleep(0.01)
first = left = task.time_left()
print(int(first * 1000), file=book, flush=True)
while left > 0 and left > first - CLEANING:
    time.sleep(0.01)
    left = task.time_left()
print("cleaned up", file=book, flush=True)
