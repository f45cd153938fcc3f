#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The echo task of Terarium's task runner, by its own interface: gives back a JSON object.

Members of the input: "include_progress" (five progress messages), "should_fail" (exit status 1),
each by its presence; "pause_ms", the time between the five steps (a second).
"""

import sys
import time

from taskrunner import TaskRunnerInterface


def main():
    task = TaskRunnerInterface(description="Gives back its input")
    task.on_cancellation(lambda: task.log("cancelled"))
    received = task.read_input_dict_with_timeout()
    if "should_fail" in received:
        task.log("failing, as the input says")
        task.shutdown()
        sys.exit(1)
    for step in range(5):
        task.log("step %d" % step)
        if "include_progress" in received:
            task.write_progress_dict_with_timeout({"progress": step}, 5)
        time.sleep(received.get("pause_ms", 1000) / 1000)
    task.write_output_dict_with_timeout(received)
    task.shutdown()


if __name__ == "__main__":
    main()
