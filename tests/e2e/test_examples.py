# SPDX-License-Identifier: Apache-2.0
"""The requesters of examples/: each asks, lists and cancels. That in C is built as its reader would."""

import os
import shutil
import subprocess
import sys

import pytest

from support.paths import ROOT
from support.runner import sanitizer_environment, sanitizer_reports, steps
from support.waiting import DEADLINE

EXAMPLES = os.path.join(ROOT, "examples")


@pytest.fixture(scope="session")
def node(tmp_path_factory):
    """A copy with what its lock file names, from the registry."""
    copy = tmp_path_factory.mktemp("node") / "example"
    shutil.copytree(os.path.join(EXAMPLES, "node"), copy, ignore=shutil.ignore_patterns("node_modules"))
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=copy, check=True, timeout=10 * DEADLINE)
    return ["node", str(copy / "tasks.mjs")]


@pytest.fixture(scope="session")
def c_program(library, tmp_path_factory):
    program = tmp_path_factory.mktemp("c") / "tasks"
    library.build("cc", os.path.join(EXAMPLES, "c", "tasks.c"), program, "-std=c11")
    return [str(program)]


@pytest.fixture(params=["c", "python", "node"])
def example(request, tmp_path, broker, names, library):
    """example(ARGUMENT…): starts it."""
    if request.param == "node":
        command = request.getfixturevalue("node")
    elif request.param == "python":
        command = [sys.executable, os.path.join(EXAMPLES, "python", "tasks.py")]
    else:
        command = request.getfixturevalue("c_program")
    environment = {**os.environ, **library.environment, **sanitizer_environment(tmp_path), "TASKCTL_BROKER": broker.url,
                   "TASKCTL_QUEUE": names.queue, "TASKCTL_CONTROL": names.control}
    started = []

    def start(*arguments):
        started.append(subprocess.Popen([*command, *arguments], env=environment, text=True,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()
    assert sanitizer_reports(tmp_path) == ""


def end(process):
    out, err = process.communicate(timeout=DEADLINE)
    return process.returncode, out.splitlines(), err


def test_submit(runner, client, example):
    """Progress, output, and what a failure says."""
    runner()
    status, lines, err = end(example("submit", "act", steps(["progress", "half way\n"], ["output", "done"]).decode()))
    assert (status, err) == (0, "")
    assert lines[1:] == ["RUNNING", "RUNNING half way", "SUCCESS done"]
    status, lines, _ = end(example("submit", "act", steps(["exit", 3]).decode()))
    assert status == 1 and lines[-1].startswith("FAILED ")


def test_list_and_cancel(runner, client, example):
    r = runner()
    assert end(example("list"))[:2] == (0, [])
    process = example("submit", "act", steps(["sleep", 200]).decode())
    id = process.stdout.readline().strip()
    assert process.stdout.readline() == "RUNNING\n"
    assert end(example("list"))[:2] == (0, ["%s running act %s" % (id, r.name)])
    assert end(example("cancel", id))[:2] == (0, ["accepted by " + r.name])
    status, lines, _ = end(process)
    assert (status, lines[-1]) == (1, "CANCELLED")
    status, lines, _ = end(example("cancel", id))
    assert (status, lines) == (1, ["gone by " + r.name])


def test_wrong_usage(example):
    status, lines, err = end(example("no-such-verb"))
    assert status != 0 and "usage:" in err


def test_no_queue(example, client):
    client.channel.queue_delete(client.names.queue)
    status, _, err = end(example("submit", "act"))
    assert status == 1 and err
