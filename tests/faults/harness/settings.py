# SPDX-License-Identifier: Apache-2.0
"""What the runners under test are told: everything that a scenario does not say itself. The times of
delivery are as short as they may be, so that what takes minutes in production takes seconds here."""

import functools
import subprocess

from support.paths import BUILD, TASKRUNNER
from support.runner import base_config

PROBE = BUILD + "/tests/faults/probe"

HEARTBEAT = 3      # seconds, whole ones
PARK_AFTER = 1     # when the request of a running task is parked
LEASE = 9          # how long a parked request stays away; renewed at a third of it
SUSPECT = 2 * HEARTBEAT  # how long a runner waits before it runs what another may be running

# A task that is still running then has been parked, and renewed.
PARKED_MS = 2500
RENEWED_MS = 6000


@functools.cache
def known_settings():
    """The paths of all settings that this runner has, as `section.key`."""
    text = subprocess.run([TASKRUNNER, "--print-config"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=True, timeout=60).stdout
    known, section = set(), ""
    for line in text.splitlines():
        name, colon, _ = line.removeprefix("#").partition(":")
        if not colon or not name.strip().replace("_", "").isalpha() or "#" in line[1:]:
            continue
        if not name.startswith(" "):
            section = name
        known.add(name if name == section else section + "." + name.strip())
    return known


def runner_config(bed, host, sections):
    """The configuration of a runner on a host of a bed. A dictionary among `sections` is merged into
    the section of that name, anything else takes its place."""
    config = base_config(bed.broker, bed.names, host.run)
    config["name"] = bed.names.runner + "-" + host.name
    config["broker"]["heartbeat"] = "%ds" % HEARTBEAT
    config["queues"] = [{"name": bed.names.queue, "slots": bed.slots, "declare": False}]
    config["log"] = {"level": "info"}
    config["programs"] = {"probe": {"argv": [PROBE, str(bed.ledger), str(bed.locks)],
                                    "pipe_arguments": "none"}}
    config.update(delivery(bed, host))
    for name, section in sections.items():
        config[name] = {**config.get(name, {}), **section} if isinstance(section, dict) else section
    return config


def delivery(bed, host):
    wanted = {
        "delivery": {"ack": bed.ack, "park_after": "%ds" % PARK_AFTER, "lease": "%ds" % LEASE},
        "state_directory": str(host.state),
    }
    return {name: value for name, value in wanted.items() if name in known_settings()}


@functools.cache
def has_crash_points():
    """A build without them takes TASKRUNNER_CRASH_AT for a misspelt setting."""
    done = subprocess.run([TASKRUNNER, "--check-config"], stdin=subprocess.DEVNULL, timeout=60,
                          capture_output=True, env={"TASKRUNNER_CRASH_AT": "S0"})
    return done.returncode == 0
