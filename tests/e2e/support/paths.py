# SPDX-License-Identifier: Apache-2.0
"""Where things are. TASKRUNNER_BUILD names another build directory than build/."""

import os

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
BUILD = os.path.abspath(os.environ.get("TASKRUNNER_BUILD") or os.path.join(ROOT, "build"))
TASKRUNNER = os.path.join(BUILD, "runner", "taskrunner")
TASKCTL = os.path.join(BUILD, "taskctl", "taskctl")
SHOW_TABLE = os.path.join(BUILD, "tests", "e2e", "show_table")
TASKS = os.path.join(BUILD, "tasks")
PROGRAMS = os.path.join(ROOT, "tests", "e2e", "programs")
ACT = os.path.join(PROGRAMS, "act.py")
TIME_LEFT = {"C": os.path.join(BUILD, "tests", "e2e", "time_left"),
             "Python": os.path.join(PROGRAMS, "time_left.py")}
