# SPDX-License-Identifier: Apache-2.0
"""./demo: whole, interrupted anywhere, kept up, and where it cannot begin."""

import os
import shutil
import signal

import pytest

from commands import assert_nothing_left


def press_ctrl_c(command):
    command.press_ctrl_c()


def terminate(command):
    command.signal(signal.SIGTERM)


INTERRUPTIONS = {"Ctrl-C": (press_ctrl_c, True, 130), "SIGTERM": (terminate, False, 143)}


@pytest.fixture
def interrupted(start, scratch):
    """interrupted(HOW, CONDITION): runs ./demo and interrupts it as soon as that is so."""
    def interrupted(how, condition):
        interrupt, terminal, status = INTERRUPTIONS[how]
        demo = start("./demo", terminal=terminal)
        demo.wait_for(condition)
        interrupt(demo)
        assert demo.wait() == status, demo.text
        assert_nothing_left(scratch)
        assert "demo:" not in demo.text
        return demo
    return interrupted


@pytest.mark.parametrize("how", INTERRUPTIONS)
def test_interrupted_while_it_builds(tree, interrupted, how):
    """What is half configured or half compiled does not break what comes next."""
    build = tree / "build"
    shutil.rmtree(build, ignore_errors=True)
    interrupted(how, (build / "meson-private" / "coredata.dat").exists)
    interrupted(how, lambda: any(name.endswith(".c.o")
                                 for _, _, names in os.walk(build) for name in names))


@pytest.mark.parametrize("how, moment", [
    ("SIGTERM", "broker"), ("Ctrl-C", "broker/log/node.out"), ("SIGTERM", "broker/node.pid"),
    ("SIGTERM", "runner.log"), ("Ctrl-C", "all-counts")])
def test_interrupted_at_some_moment(scratch, interrupted, how, moment):
    """Moments are known by files that come to be."""
    interrupted(how, lambda: any(scratch.glob("taskrunner-demo.*/" + moment)))


@pytest.mark.parametrize("how", INTERRUPTIONS)
def test_interrupted_in_a_task(interrupted, how):
    interrupted(how, "round ")


def test_its_reader_has_enough(start):
    """./demo | head"""
    demo = start("./demo").wait_for("  broker ")
    demo.close_output()
    assert demo.wait() == 141


def test_whole(whole):
    assert whole.process.returncode == 0, whole.text
    text = whole.text
    assert text.count("✓") == 6 and "✗" not in text
    assert text.endswith("All six results are right.\n")
    assert_nothing_left(whole.scratch)
    # What is done is said before its effect is.
    told = text.index("$ taskctl cancel nap")
    assert told < text.index("nap: accepted by demo")
    assert told < text.index("nap was cancelled")


def test_next_commands(kept):
    """What --keep says to type is right, to the letter."""
    text = kept.demo.text
    assert "All six results are right." in text
    run, nap, tail = kept.commands
    words = kept.type(run)
    assert words.wait() == 0 and '"words"' in words.text, words.text
    nap = kept.type(nap, terminal=True).wait_for("slept")
    nap.press_ctrl_c()
    assert nap.wait() == 130 and "was cancelled" in nap.text, nap.text
    tail = kept.type(tail).wait_for("task.finished")
    tail.signal(signal.SIGTERM)
    tail.wait()


def test_keep_is_not_repeated(kept):
    again = kept.type("./demo --keep")
    assert again.wait() == 1
    assert again.text == \
        "demo: what an earlier ./demo --keep left up was not ended yet; ./demo --stop does it\n"


def test_arguments(start):
    demo = start("./demo", "--hlep")
    assert demo.wait() == 2 and "--help" in demo.text
    demo = start("./demo", "--help")
    assert demo.wait() == 0 and "./demo --keep" in demo.text


# Where packages are missing

TOOLS = ["awk", "bash", "dirname", "echo", "id", "mktemp", "sed"]
LINE = "  apt-get update && apt-get install --yes --no-install-recommends librabbitmq-dev uthash-dev"


@pytest.fixture
def path(tmp_path):
    """A PATH without sudo, where dpkg-query knows nothing of two packages."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for tool in TOOLS:
        (directory / tool).symlink_to(shutil.which(tool))
    write(directory / "dpkg-query",
          "%s \"$@\" | grep -v -e uthash-dev -e librabbitmq-dev" % shutil.which("dpkg-query"))
    return directory


def write(program, text):
    program.write_text("#!/bin/sh\nPATH=/usr/bin:/bin\n%s\n" % text)
    program.chmod(0o755)


def unprivileged():
    if os.getuid() != 0:
        return ()
    # May look into our directories, which are closed to others; that is all.
    return (shutil.which("setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups",
            "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--no-new-privs")


@pytest.mark.parametrize("sudo", [None, "echo 'sudo: a password is required' >&2; exit 1"])
@pytest.mark.parametrize("command", [["./demo"], ["./check"]])
def test_neither_root_nor_sudo(start, path, tree, command, sudo):
    """It prints the one line to run, and stops."""
    if sudo:
        write(path / "sudo", sudo)
    before = sorted(os.listdir(tree))
    demo = start(*command, environment={"PATH": str(path)}, wrapper=unprivileged())
    assert demo.wait() == 1
    lines = demo.text.splitlines()
    # A machine of this test may lack what others have without packages.
    assert sum(line.startswith(LINE) for line in lines) == 1, demo.text
    assert "sudo:" not in demo.text
    assert sorted(os.listdir(tree)) == before


def test_no_debian(start, path):
    (path / "dpkg-query").unlink()
    demo = start("./demo", environment={"PATH": str(path)}, wrapper=unprivileged())
    assert demo.wait() == 1
    assert "no Debian" in demo.text and "librabbitmq-dev" in demo.text, demo.text
