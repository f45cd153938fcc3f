# SPDX-License-Identifier: Apache-2.0
"""A control group with a memory limit, in which the kernel kills for want of memory as it does in
a container that has one. Systemd makes it where it runs; else it is below or beside our own."""

import os
import shutil
import subprocess
import uuid

from .waiting import wait_until


class CannotBeMade(Exception):
    pass


def memory_group(bytes):
    """A context manager; its `wrapper` is put before a command that is to run in the group."""
    reasons = []
    for make in (SystemdScope, GroupV2, GroupV1):
        try:
            return make(bytes)
        except (CannotBeMade, OSError) as problem:
            reasons.append("%s: %s" % (make.what, problem))
    raise AssertionError(
        "this test needs a control group with a memory limit, and none can be made here (be root; "
        "in a container, one that may write to /sys/fs/cgroup):\n  " + "\n  ".join(reasons))


def mounts(kind):
    """(root, mount point, options) of each mounted file system of this type."""
    with open("/proc/self/mountinfo") as f:
        for line in f:
            fields, _, more = line.partition(" - ")
            type, _, options = more.split()[:3]
            if type == kind:
                yield fields.split()[3], fields.split()[4], options.split(",")


def own_path(controller):
    """Of our group, in the hierarchy that has the controller; "" is the one of version 2."""
    with open("/proc/self/cgroup") as f:
        for line in f:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            if controller in controllers.split(","):
                return path
    raise CannotBeMade("not in use")


def read_words(*path):
    with open(os.path.join(*path)) as f:
        return f.read().split()


def write(text, *path):
    with open(os.path.join(*path), "w") as f:
        f.write(text)


class Group:
    """A directory of a control group file system."""

    def __init__(self, parent, limits):
        self.directory = os.path.join(parent, "taskrunner-test-" + uuid.uuid4().hex[:10])
        os.mkdir(self.directory)
        try:
            for name, value in limits:
                if os.path.exists(os.path.join(self.directory, name)):  # no swap, no such file
                    write(value, self.directory, name)
        except OSError:
            os.rmdir(self.directory)
            raise

    @property
    def wrapper(self):
        return ["/bin/sh", "-c", 'echo $$ >"$0" && exec "$@"',
                os.path.join(self.directory, "cgroup.procs")]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """When all that was in it has ended."""
        def removed():
            try:
                os.rmdir(self.directory)
            except OSError:
                return False
            return True
        wait_until(removed, "the end of " + self.directory)


class GroupV1(Group):
    what = "version 1, below our own"

    def __init__(self, bytes):
        own = own_path("memory")
        for root, point, options in mounts("cgroup"):
            if "memory" in options:
                parent = os.path.normpath(point + "/" + os.path.relpath(own, root))
                # The second may not be less than the first, which is without limit until then.
                super().__init__(parent, [("memory.limit_in_bytes", str(bytes)),
                                          ("memory.memsw.limit_in_bytes", str(bytes))])
                return
        raise CannotBeMade("not mounted")


class GroupV2(Group):
    what = "version 2, in the nearest group that hands memory on"

    def __init__(self, bytes):
        own = own_path("")
        for root, point, _ in mounts("cgroup2"):
            directory = os.path.normpath(point + "/" + os.path.relpath(own, root))
            while "memory" not in read_words(directory, "cgroup.subtree_control"):
                if directory == os.path.normpath(point) or directory == "/":
                    raise CannotBeMade("no group above ours hands memory on")
                directory = os.path.dirname(directory)
            super().__init__(directory, [("memory.max", str(bytes)), ("memory.swap.max", "0")])
            return
        raise CannotBeMade("not mounted")


class SystemdScope:
    what = "by systemd"

    def __init__(self, bytes):
        if not os.path.isdir("/run/systemd/system") or not shutil.which("systemd-run"):
            raise CannotBeMade("does not run here")
        manager = [] if os.geteuid() == 0 else ["--user"]
        self.wrapper = ["systemd-run", *manager, "--scope", "--quiet", "--collect",
                        "-p", "MemoryMax=%d" % bytes, "-p", "MemorySwapMax=0",
                        "-p", "OOMPolicy=continue"]
        tried = subprocess.run([*self.wrapper, "true"], stdin=subprocess.DEVNULL,
                               capture_output=True, text=True)
        if tried.returncode != 0:
            raise CannotBeMade(tried.stderr.strip())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass  # it goes with its last process
