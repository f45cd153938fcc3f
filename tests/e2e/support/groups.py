# SPDX-License-Identifier: Apache-2.0
"""The control groups that runners make for their tasks."""

import os

from .memory_group import mounts


def groups(instance):
    """The directories of this instance's group, and of those of its tasks."""
    found = []
    if not instance:
        return found
    for _, point, _ in mounts("cgroup2"):
        for directory, _, _ in os.walk(point):
            if "/taskrunner-%s/" % instance in directory + "/":
                found.append(directory)
    return found


def remove(instance):
    """What a runner left that was killed together with its guardian."""
    for directory in reversed(groups(instance)):
        try:
            os.rmdir(directory)
        except OSError:
            pass  # somebody else was faster, or something lives in it
