# SPDX-License-Identifier: Apache-2.0
"""README.md: what a newcomer would type is typed, what would be compiled is compiled."""

import pathlib
import re
import subprocess
import sysconfig

import pytest

from commands import PERSON, ROOT, Command, assert_nothing_left

README = (ROOT / "README.md").read_text()


def read_blocks():
    """{(section, language): [text…]}; the language of an indented block is empty."""
    found = {}
    section = language = text = None
    for line in README.splitlines() + [""]:
        if text is None and line.startswith("    "):
            language, text = "", ""
        if text is None:
            if line.startswith("## "):
                section = line[3:]
            elif line.startswith("```"):
                language, text = line[3:], ""
        elif line == "```" or not language and not line.startswith("    "):
            found.setdefault((section, language), []).append(text)
            text = None
        else:
            text += (line if language else line[4:]) + "\n"
    return found


BLOCKS = read_blocks()


def block(section, language="", n=0):
    return BLOCKS[section, language][n]


def inline(beginning):
    """The one text in backticks that begins so."""
    found = re.findall("`(%s[^`]*)`" % re.escape(beginning), README)
    assert len(set(found)) == 1, found
    return found[0]


def test_every_block_is_tried():
    """Whoever adds a block adds a test."""
    assert {key: len(blocks) for key, blocks in BLOCKS.items()} == {
        ("Try it", ""): 2,
        ("A program", "sh"): 1, ("A program", "python"): 1, ("A program", "c"): 1,
        ("A program", ""): 2,
        ("A request", ""): 3, ("A request", "python"): 1, ("A request", "c"): 1,
        ("Detached work and batches", ""): 1,
        ("See and steer", ""): 1,
        ("The runner", "yaml"): 1,
    }


def test_links():
    names = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(names) > 8
    assert [name for name in names if not (ROOT / name).exists()] == []


def test_two_commands(whole, start):
    """./demo is run by others, and so is ./check, which runs this."""
    names = [line.split()[0] for line in block("Try it").splitlines()]
    assert names == ["./demo", "./check"]
    help = start("./check", "--help")
    assert help.wait() == 0 and "passed" in (ROOT / "check").read_text()
    assert inline("N passed") == "N passed, 0 failed"


def test_what_the_demo_prints(whole):
    """… stands for anything, alone in a line for any lines."""
    pattern = ""
    for line in block("Try it", n=1).splitlines():
        if line == "…":
            pattern += r"(?:.*\n)*"
        else:
            pattern += ".*".join(map(re.escape, line.split("…"))) + r"\n"
    assert re.search("^" + pattern, whole.text, re.M), whole.text


def test_packages(start):
    list = start("bash", "-c", inline("tests/lib/install-packages"))
    assert list.wait() == 0
    assert {"meson", "librabbitmq-dev", "python3-pika"} <= set(list.text.split())


# Programs

def read_lines(directory):
    return [line for file in pathlib.Path(directory).iterdir() for line in file.read_text().splitlines()]


@pytest.fixture(scope="session")
def installed(whole, tree, tmp_path_factory):
    """What "By hand" says, with another root; and where compilers, loader and interpreters look then."""
    scratch = tmp_path_factory.mktemp("installation-scratch")
    root = tmp_path_factory.mktemp("installation")
    install, _, tell_loader = inline("meson install").partition(" && ")
    assert tell_loader == "ldconfig"
    command = "%s && %s" % (inline("meson setup"), install)
    by_hand = Command(["bash", "-ec", command], tree, scratch, environment={"DESTDIR": str(root)})
    assert by_hand.wait() == 0, by_hand.text
    assert_nothing_left(scratch)
    libraries, = (path.parent for path in root.rglob("libtaskiface.so"))
    modules, = (path.parent.parent for path in root.rglob("taskiface/__init__.py"))
    # Debian's own tools look in these places without being told.
    assert "/" + str(modules.relative_to(root)) == sysconfig.get_path("purelib")
    assert "/" + str(libraries.relative_to(root)) in read_lines("/etc/ld.so.conf.d")
    assert "/" + str((libraries / "pkgconfig").relative_to(root)) in subprocess.check_output(
        ["pkg-config", "--variable=pc_path", "pkg-config"], text=True).strip().split(":")
    return {"root": root,
            "PATH": "%s/usr/local/bin:%s" % (root, PERSON["PATH"]),
            "LD_LIBRARY_PATH": str(libraries),
            "PYTHONPATH": str(modules),
            "PKG_CONFIG_PATH": str(libraries / "pkgconfig"),
            "PKG_CONFIG_SYSROOT_DIR": str(root)}


@pytest.fixture
def by_hand(installed, start):
    """by_hand(COMMAND…): as if it were installed where it belongs."""
    environment = {k: v for k, v in installed.items() if k != "root"}

    def run(*argv, ends=True, **more):
        command = start(*argv, environment=environment, **more)
        if not ends:
            return command
        assert command.wait() == 0, command.text
        return command.text
    return run


@pytest.fixture
def shout(whole, tree):
    return save("shout", tree, block("A program", "sh"))


def save(name, tree, text):
    """Where README.md says, next to what the demo has built."""
    program = tree / "build" / "tasks" / name
    assert "`build/tasks/%s`" % name in README
    program.write_text(text)
    program.chmod(0o755)
    return program


def test_shell_program(shout, start):
    shout.chmod(0o644)
    shell = start("bash", "-ec", block("A program"))
    assert shell.wait() == 0, shell.text
    assert sorted(shell.text.splitlines()) == ["HELLO", "progress 50% half way"]


def test_python_program(by_hand, tree):
    save("count.py", tree, block("A program", "python"))
    text = by_hand("bash", "-ec", "echo so many words | taskrunner exec --input - build/tasks/count.py")
    assert sorted(text.splitlines()) == ["progress 50% half way", '{"words": 3}']


def test_c_program(by_hand, tree):
    assert "`copy.c`" in README
    (tree / "copy.c").write_text(block("A program", "c"))
    strictly = "cc() { command cc -Wall -Wextra -Werror \"$@\"; }\n"
    by_hand("bash", "-ec", strictly + block("A program", n=1))
    text = by_hand("bash", "-ec", "echo hello | taskrunner exec --input - build/tasks/copy")
    assert sorted(text.splitlines()) == ["hello", "progress 50% half way"]


def test_man_pages(installed):
    line, = re.findall(r"^\| `man`.*", README, re.M)
    pages = re.findall(r"([a-z.]+)\((\d)\)", line)
    assert len(pages) == 6
    manual = installed["root"] / "usr/local/share/man"
    for name, section in pages:
        assert (manual / ("man" + section) / ("%s.%s" % (name, section))).stat().st_size > 500


# Requests

def test_request_from_a_terminal(kept, shout):
    keep, *lines = block("A request").splitlines()
    assert keep.split("  ")[0] == "./demo --keep" and "export line" in keep
    shell = kept.type("\n".join(lines))
    assert shell.wait() == 0, shell.text
    assert shell.text.startswith("progress 50% half way\n") and "\nHELLO\n" in shell.text
    assert inline("./demo --s") == kept.stop


def test_request_with_pika(kept, shout, tmp_path):
    program = tmp_path / "request.py"
    program.write_text(block("A request", "python"))
    python = kept.type("exec /usr/bin/python3 %s" % program)
    assert python.wait() == 0, python.text
    assert [line.rstrip() for line in python.text.splitlines()] == block("A request", n=1).splitlines()


def test_request_in_c(kept, shout, by_hand, tree):
    assert "`ask.c`" in README
    (tree / "ask.c").write_text(block("A request", "c"))
    strictly = "cc() { command cc -Wall -Wextra -Werror \"$@\"; }\n"
    by_hand("bash", "-ec", strictly + block("A request", n=2))
    text = by_hand("bash", "-ec", kept.export + "\n./ask")
    assert [line.rstrip() for line in text.splitlines()] == block("A request", n=1).splitlines()


def test_detached_work(kept, shout):
    """As it stands, and then what is in the file."""
    shell = kept.type(block("Detached work and batches") + "wc -l < results.jsonl")
    assert shell.wait() == 0, shell.text
    assert " succeeded " in shell.text and "\nHELLO\n" in shell.text
    assert "3 of 3: succeeded 3" in shell.text
    assert shell.text.splitlines()[-1] == "3"


def test_see_and_steer(kept, shout):
    """One command after the other, as it stands, after a task that has ended and one that is held."""
    shell = kept.type("export PATH=$PWD/build/taskctl:$PATH\n"
                      "echo hello | taskctl run shout -q --input -\n"
                      "held=$(echo hello | taskctl submit shout --hold --input -)\n"
                      "until taskctl ps | grep -q held; do sleep 0.1; done\n" +
                      block("See and steer") +
                      "taskctl play $held && taskctl wait $held")
    assert shell.wait() == 0, shell.text
    for word in ("held", "ready", "shout", "succeeded"):
        assert word in shell.text, shell.text


# The runner

def test_runner(kept, shout, by_hand, start, tmp_path):
    """As it stands, but with this broker, this directory and a queue of our own."""
    text = block("The runner", "yaml")
    for old, new in {"amqp://rabbitmq:5672": kept.export.partition("=")[2],
                     "taskrunner.requests": "readme.requests", "/opt/tasks": shout.parent}.items():
        assert text.count(old) == 1
        text = text.replace(old, str(new))
    file = tmp_path / "taskrunner.yaml"
    file.write_text(text)
    command = inline("taskrunner --config").replace("FILE", str(file)).split()
    by_hand(*command, "--check-config")
    runner = by_hand(*command, ends=False).wait_for("runner.ready")
    request = kept.type("echo hello | build/taskctl/taskctl run shout -q --queue readme.requests -i -")
    assert request.wait() == 0 and request.text == "HELLO\n"
    runner.process.terminate()
    assert runner.wait() == 0, runner.text
