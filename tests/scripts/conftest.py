# SPDX-License-Identifier: Apache-2.0
"""Tests of what people type: ./demo, ./check, the examples of README.md."""

import os
import pathlib
import shutil
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from commands import ROOT, Command, assert_nothing_left, sweep  # noqa: E402
from support.waiting import hurry  # noqa: E402


def pytest_configure():
    # As Ctrl-C: fixtures are taken down, and nothing is left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_keyboard_interrupt():
    hurry()


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    """A copy of the sources, in which the demo may build."""
    copy = tmp_path_factory.mktemp("tree") / "task runner"  # people have spaces in their names

    def ignored(directory, names):
        top = pathlib.Path(directory) == ROOT
        return [n for n in names if n in ("__pycache__", ".pytest_cache")
                or top and (n == ".git" or n.startswith("build"))]

    shutil.copytree(ROOT, copy, symlinks=True, ignore=ignored)
    return copy


@pytest.fixture
def scratch(tmp_path):
    """A directory for temporary files, in which nothing is left in the end."""
    directory = tmp_path / "scratch"
    directory.mkdir(mode=0o700)
    try:
        yield directory
        assert_nothing_left(directory)
    finally:
        sweep(directory)


@pytest.fixture
def start(scratch, tree):
    """start(COMMAND, ARGUMENT…): runs it in the tree."""
    started = []

    def start(*argv, directory=tree, **more):
        started.append(Command(argv, directory, scratch, **more))
        return started[-1]

    yield start
    for command in started:
        if command.process.poll() is None:
            command.kill()


@pytest.fixture(scope="session")
def whole(tree, tmp_path_factory):
    """./demo that was left to come to its end."""
    scratch = tmp_path_factory.mktemp("whole")
    demo = Command(["./demo"], tree, scratch)
    try:
        demo.wait()
        demo.left = sorted(os.listdir(scratch))
    finally:
        demo.kill()
    return demo


class Kept:
    """What ./demo --keep leaves up, and what it says to type."""

    def __init__(self, tree, scratch):
        self.tree = tree
        self.scratch = scratch
        self.demo = Command(["./demo", "--keep"], tree, scratch, terminal=True)

    def read(self):
        assert self.demo.wait() == 0, self.demo.text
        _, _, advice = self.demo.text.partition("Now you can type:\n")
        *commands, stop = [line.strip() for line in advice.splitlines() if "  " in line]
        assert commands and commands[0].startswith("export TASKCTL_BROKER=amqp://"), self.demo.text
        self.export, *self.commands = commands
        self.stop = stop.partition(":  ")[2]
        return self

    def type(self, text, **more):
        """In a shell in which the first line was typed."""
        return Command(["bash", "-ec", self.export + "\n" + text], self.tree, self.scratch, **more)


@pytest.fixture(scope="session")
def kept(tree, tmp_path_factory):
    kept = Kept(tree, tmp_path_factory.mktemp("kept up"))
    try:
        yield kept.read()
        stop = kept.type(kept.stop)
        assert stop.wait() == 0 and "gone" in stop.text, stop.text
        assert_nothing_left(kept.scratch)
    finally:
        kept.demo.kill()
