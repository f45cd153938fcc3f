# SPDX-License-Identifier: Apache-2.0
"""Looking at processes through /proc."""

import os


def read(pid, name):
    """Bytes of /proc/PID/NAME, empty where the process is gone."""
    try:
        with open("/proc/%d/%s" % (pid, name), "rb") as f:
            return f.read()
    except OSError:
        return b""


def all_pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def stat(pid):
    """The fields of /proc/PID/stat from the state on, or None."""
    text = read(pid, "stat")
    return text.rpartition(b") ")[2].split() if text else None


def is_alive(pid):
    """There and not a zombie."""
    fields = stat(pid)
    return bool(fields) and fields[0] not in (b"Z", b"X")


def children(pid, zombies=False):
    found = []
    for other in all_pids():
        fields = stat(other)
        if fields and int(fields[1]) == pid and (zombies or fields[0] not in (b"Z", b"X")):
            found.append(other)
    return found


def zombies_of(pid):
    return [p for p in children(pid, zombies=True) if not is_alive(p)]


def descendants(pid):
    found = []
    for child in children(pid):
        found += [child] + descendants(child)
    return found


def environment(pid):
    pairs = (item.partition(b"=") for item in read(pid, "environ").split(b"\0"))
    return {k.decode(errors="replace"): v.decode(errors="replace") for k, _, v in pairs if k}


def with_environment(name, values):
    """Living processes whose variable `name` is one of `values`."""
    needle = (name + "=").encode()
    return [pid for pid in all_pids()
            if needle in read(pid, "environ") and is_alive(pid)
            and environment(pid).get(name) in values]


def describe(pid):
    return "%d (%s)" % (pid, read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace").strip())


def count_fds(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


def list_fds(pid):
    result = {}
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            result[int(fd)] = os.readlink("/proc/%d/fd/%s" % (pid, fd))
        except OSError:
            pass
    return result


def peak_memory(pid):
    """VmHWM in bytes."""
    for line in read(pid, "status").decode().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM for %d" % pid)
