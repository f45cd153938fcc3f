# SPDX-License-Identifier: Apache-2.0
"""What taskctl lists: on terminals of any width, in pipes, for people and for programs."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
import unicodedata

import msgpack
import pytest

from support.paths import SHOW_TABLE
from support.waiting import DEADLINE

ROWS = [
    ("one", "running", "0.4", "counting the words of a long book"),
    ("two", "waiting", "", ""),
    ("three", "failed", "1", "漢字 and café"),
    ("four \x1b[2J\x9b2J", "odd\x07", "0", "\x1b]0;title\x07\x7f"),
]


def environment(directory, **more):
    inherited = {k: v for k, v in os.environ.items()
                 if not k.startswith("TASKCTL_") and k not in ("NO_COLOR", "COLUMNS", "TERM")}
    return {**inherited, "XDG_CONFIG_HOME": str(directory), **more}


def read_all(fd):
    seen = b""
    while True:
        try:
            part = os.read(fd, 65536)
        except OSError:
            part = b""
        if not part:
            os.close(fd)
            return seen
        seen += part


@pytest.fixture
def show(tmp_path):
    """show(OPTION…): what it writes to a terminal or, without columns, to a pipe."""
    text = "".join("\t".join(row) + "\n" for row in ROWS).encode()

    def shown(*options, columns=None, status=0, **more):
        ours = theirs = None
        if columns is not None:
            ours, theirs = pty.openpty()
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        file = tmp_path / "input"
        file.write_bytes(text)
        with open(file, "rb") as given:
            process = subprocess.Popen([SHOW_TABLE, *options], stdin=given,
                                       stdout=subprocess.PIPE if ours is None else theirs,
                                       env=environment(tmp_path, **more))
        if ours is None:
            out = process.communicate(timeout=DEADLINE)[0]
        else:
            os.close(theirs)
            out = read_all(ours).replace(b"\r\n", b"\n")
        assert process.wait(DEADLINE) == status
        return out
    return shown


def width(line):
    """As terminals count."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
               for c in line)


@pytest.mark.parametrize("columns", [1, 2, 10, 24, 30, 40, 60, 80, 200])
def test_fits_on_a_terminal(show, columns):
    lines = show(columns=columns, TERM="xterm").decode().split("\n")
    table = [re.sub("\x1b\\[[0-9;]*m", "", line) for line in lines[:1 + len(ROWS)]]
    assert all(width(line) <= columns for line in table), table
    assert "\x1b" not in "".join(table)
    assert len(lines) == 1 + len(ROWS) + 2  # and the counts


def test_all_of_a_wide_terminal(show):
    assert show(columns=100, TERM="dumb").decode() == (
        "ID            STATE             PROGRESS  MESSAGE\n"
        "one           running  [####......]  40%  counting the words of a long book\n"
        "two           waiting                  -  -\n"
        "three         failed   [##########] 100%  漢字 and café\n"
        "four  [2J 2J  odd      [..........]   0%   ]0;title  \n"
        "waiting 1 · running 1 · failed 1 · odd  1\n")


def test_colors(show):
    """On a terminal only, and only where they are wanted."""
    assert b"\x1b[31mfailed\x1b[0m" in show(columns=80, TERM="xterm")
    assert b"\x1b" not in show(columns=80, TERM="xterm", NO_COLOR="1")
    assert b"\x1b" not in show(columns=80, TERM="dumb")
    assert b"\x1b" not in show(columns=80)
    assert b"\x1b" not in show("--color", "never", columns=80, TERM="xterm")
    assert b"\x1b" not in show(TERM="xterm")
    assert b"\x1b[31mfailed\x1b[0m" in show("--color", "always", NO_COLOR="1")


def test_width_that_the_terminal_does_not_know(show):
    lines = show(columns=0, COLUMNS="30").decode().split("\n")
    assert all(width(line) <= 30 for line in lines[:5])
    assert "…" in lines[1]


def test_pipe(show):
    lines = show().decode().split("\n")
    assert lines[1] == lines[1].rstrip() and lines[1].endswith("counting the words of a long book")
    assert lines[0].split() == ["ID", "STATE", "PROGRESS", "MESSAGE"]
    assert len(lines) == 1 + len(ROWS) + 1
    assert show("--no-header").decode().split("\n") == lines[1:]


def test_programs(show, tmp_path):
    """Both forms are the same; what tasks said is there as it was, and yet nothing for a terminal."""
    text = show("-o", "json", columns=80, TERM="xterm")
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]", text)
    rows = [json.loads(line) for line in text.splitlines()]
    assert list(rows[0]) == ["id", "state", "progress", "message"]
    assert rows[0] == {"id": "one", "state": "running", "progress": 0.4, "message": ROWS[0][3]}
    assert rows[1] == {"id": "two", "state": "waiting", "progress": None, "message": None}
    assert rows[3]["id"] == ROWS[3][0] and rows[3]["message"] == ROWS[3][3]
    assert list(msgpack.Unpacker(_file(tmp_path, show("-o", "msgpack")))) == rows
    assert show("-o", "msgpack", columns=80, status=2) == b""


def _file(directory, content):
    (directory / "content").write_bytes(content)
    return open(directory / "content", "rb")


def test_settings(show, tmp_path):
    (tmp_path / "taskctl.yaml").write_text("output: json\n")
    assert show().startswith(b"{")
    assert show(TASKCTL_OUTPUT="table").startswith(b"ID ")
    assert show("-o", "table", TASKCTL_OUTPUT="msgpack").startswith(b"ID ")
