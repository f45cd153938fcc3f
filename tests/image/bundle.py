#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes an OCI bundle that runs an image the way docker/compose.yaml has it run.

    buildah inspect --type image IMAGE | bundle.py BUNDLE --root DIR --compose FILE --service NAME
        [--own-environment] [--env NAME=VALUE]... [--bind SOURCE:TARGET]... [-- COMMAND...]

What an engine takes from the image comes from the image: entry point, command, user, environment.
What compose.yaml says of the service comes from there, but for its environment where it is said so.
Ours are: the machine's own network, where the tests' broker listens, and no cgroup. System calls are
filtered as container engines do it.
"""

import argparse
import json
import os
import re
import sys

import yaml

SECCOMP = "/usr/share/containers/seccomp.json"

# A key that is not here would be one whose effect is not tested.
TESTED = {"environment", "read_only", "tmpfs", "cap_drop", "security_opt", "secrets"}
NOT_OF_THE_CONTAINER = {"image", "build", "restart", "depends_on", "stop_grace_period"}


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle")
    parser.add_argument("--root", required=True)
    parser.add_argument("--compose", required=True)
    parser.add_argument("--service", required=True)
    parser.add_argument("--env", action="append", default=[])
    parser.add_argument("--bind", action="append", default=[])
    parser.add_argument("--own-environment", action="store_true")
    ours, _, command = "\0".join(sys.argv[1:]).partition("\0--\0")
    options = parser.parse_args(ours.split("\0"))
    options.command = command.split("\0") if command else []
    return options


def read_service(file, name):
    with open(file, encoding="utf-8") as f:
        service = yaml.safe_load(f)["services"][name]
    strange = set(service) - TESTED - NOT_OF_THE_CONTAINER
    assert not strange, "bundle.py does not know what to do with %s" % strange
    assert service["cap_drop"] == ["ALL"], service["cap_drop"]
    assert service["security_opt"] == ["no-new-privileges:true"], service["security_opt"]
    return service


def environment(image, service, more):
    env = dict(entry.split("=", 1) for entry in image.get("Env", []))
    env.update({name: str(value) for name, value in service.get("environment", {}).items()})
    env.update(dict(entry.split("=", 1) for entry in more))
    return ["%s=%s" % item for item in env.items()]


def mount(target, kind, source, *options):
    return {"destination": target, "type": kind, "source": source, "options": list(options)}


def mounts(service, binds):
    yield mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev")
    yield mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k")
    yield mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666")
    yield mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k")
    yield mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro")
    for entry in service.get("tmpfs", []):
        target, _, options = entry.partition(":")
        yield mount(target, "tmpfs", "tmpfs", "nosuid", "noexec", "nodev", *options.split(","))
    for entry in binds:
        source, target = entry.split(":")
        yield mount(target, "bind", source, "rbind", "ro")


def kernel():
    return tuple(int(n) for n in re.match(r"(\d+)\.(\d+)", os.uname().release).groups())


def applies(rule, architecture):
    """Whether a rule is one for a container without any capability."""
    wanted, unwanted = rule.get("includes") or {}, rule.get("excludes") or {}
    if wanted.get("caps") or architecture in (unwanted.get("arches") or []):
        return False
    if wanted.get("arches") and architecture not in wanted["arches"]:
        return False
    return tuple(int(n) for n in (wanted.get("minKernel") or "0.0").split(".")) <= kernel()


def seccomp():
    with open(SECCOMP, encoding="utf-8") as f:
        profile = json.load(f)
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    rules = []
    for rule in profile["syscalls"]:
        if applies(rule, machine):
            kept = {key: rule[key] for key in ("names", "action", "errnoRet") if key in rule}
            if rule.get("args"):
                kept["args"] = rule["args"]
            rules.append(kept)
    filters = {"defaultAction": profile["defaultAction"], "syscalls": rules}
    if "defaultErrnoRet" in profile:
        filters["defaultErrnoRet"] = profile["defaultErrnoRet"]
    return filters


def config(options, image, service):
    uid, gid = (int(n) for n in image["User"].split(":"))
    return {
        "ociVersion": "1.0.0",
        "process": {
            "terminal": False,
            "user": {"uid": uid, "gid": gid},
            "args": image["Entrypoint"] + (options.command or image["Cmd"]),
            "env": environment(image, service, options.env),
            "cwd": image.get("WorkingDir") or "/",
            "noNewPrivileges": True,
            "capabilities": {},
        },
        "root": {"path": os.path.abspath(options.root), "readonly": service["read_only"]},
        "hostname": "container",
        "mounts": list(mounts(service, options.bind)),
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")],
            "seccomp": seccomp(),
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list",
                            "/proc/scsi", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                              "/proc/sysrq-trigger"],
        },
    }


def main():
    options = arguments()
    image = json.load(sys.stdin)["OCIv1"]["config"]
    assert image.get("StopSignal", "SIGTERM") == "SIGTERM", image["StopSignal"]
    service = read_service(options.compose, options.service)
    if options.own_environment:
        service["environment"] = {}
    os.makedirs(options.bundle)
    with open(os.path.join(options.bundle, "config.json"), "w", encoding="utf-8") as f:
        json.dump(config(options, image, service), f, indent=1)


if __name__ == "__main__":
    main()
