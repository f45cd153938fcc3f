# SPDX-License-Identifier: Apache-2.0
"""Memory: how much is told, and what happens when there is none."""

import os
import signal
import subprocess

from support.memory_group import memory_group
from support.paths import PROGRAMS
from support.runner import program, steps

MIB = 1 << 20


def test_peak_memory_is_that_of_all_processes(runner, client):
    runner(programs={"family": program(os.path.join(PROGRAMS, "family.py"))})
    id = client.submit("family")
    final = client.final(id)
    assert final.status == "SUCCESS"
    assert final.headers["x-tr-peak-memory"] >= 4 * 40 * MIB


def test_kernel_kills_for_want_of_memory(request, client):
    """A real out-of-memory kill, of a program that takes more than the runner's group may have. The
    runner lives, and what happens after that is no longer taken for it."""
    with memory_group(400 * MIB) as group:
        eats = "kept = [bytes([i % 255 + 1]) * (1 << 20) for i in range(600)]"
        r = request.getfixturevalue("runner")(
            wrapper=group.wrapper,
            programs={"eats": program("/usr/bin/python3", "-c", eats, pipe_arguments="none")})
        responses = client.run("eats")
        assert [x.status for x in responses] == ["RUNNING", "FAILED"], responses[-1]
        final = responses[-1]
        assert (final.cause, final.headers["x-tr-signal"]) == ("out-of-memory", signal.SIGKILL)
        assert final.output == b"Program 'eats' was killed, probably because it was out of memory"
        assert final.headers["x-tr-peak-memory"] >= 100 * MIB
        assert client.run("act", steps(["output", "x"]))[-1].output == b"x"
        assert client.run("act", steps(["kill", signal.SIGKILL]))[-1].cause == "killed"
        r.stop(client)


def test_kill_for_want_of_memory_elsewhere_is_not_ours(request, client, tmp_path):
    """What the kernel does in another group says nothing of a SIGKILL that came from somebody else."""
    with memory_group(400 * MIB) as ours, memory_group(50 * MIB) as another:
        r = request.getfixturevalue("runner")(wrapper=ours.wrapper)
        id = client.submit("act", steps(
            ["progress", "up"], ["wait_for", str(tmp_path / "go")], ["kill", signal.SIGKILL]))
        client.wait_progress(id)
        eats = "kept = [bytes([i % 255 + 1]) * (1 << 20) for i in range(200)]"
        done = subprocess.run([*another.wrapper, "/usr/bin/python3", "-c", eats])
        assert done.returncode == -signal.SIGKILL
        (tmp_path / "go").touch()
        assert client.final(id).cause == "killed"
        r.stop(client)
