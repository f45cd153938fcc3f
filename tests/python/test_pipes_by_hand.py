# SPDX-License-Identifier: Apache-2.0
"""docs/taskiface.md is enough: its examples are run as they stand there, and a task that has
nothing but sh, cat and printf does its work."""

import json
import re
import shutil

import pytest

from pipes import BUILD, ROOT, build, python, run

DOCUMENT = ROOT / "docs" / "taskiface.md"


@pytest.fixture
def bare_path(tmp_path):
    """A PATH on which there is nothing else."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in ("sh", "cat", "printf"):
        (directory / name).symlink_to(shutil.which(name))
    return {"PATH": str(directory), "PYTHONPATH": ""}


def examples(language):
    found = re.findall(r"^```%s\n(.*?)^```" % language, DOCUMENT.read_text(), re.M | re.S)
    assert found
    return found


def script(path):
    """Run by the sh that the bare PATH has, not by the interpreter line."""
    return ["/bin/sh", str(path)]


def test_counts_lines(bare_path):
    r = run(script(BUILD / "tasks" / "by_hand.sh"), b"one\ntwo\nthree", arguments="none",
            env=bare_path)
    assert (r.status, r.stderr) == (0, b"")
    assert json.loads(r.output) == {"task": "task-1", "lines": 3}
    assert [record["message"] for record in r.records] == ["line 1", "line 2", "line 3"]


def test_declares_a_failure(bare_path):
    r = run(script(BUILD / "tasks" / "by_hand.sh"), b"one\nstop\nthree", arguments="none",
            env=bare_path)
    assert (r.status, r.output) == (1, b"")
    assert r.records[-1] == {"taskiface": "fail", "kind": "data", "message": "line 2 says stop"}


def test_shell_example_of_the_document(tmp_path, bare_path):
    source = tmp_path / "example.sh"
    source.write_text(examples("sh")[0])
    r = run(script(source), b"some text", arguments="none", env=bare_path)
    assert (r.status, r.stderr) == (0, b"")
    assert r.output == b"some text, and more"
    assert r.records == [{"fraction": 0.5, "message": "half of task-1"}]


def test_python_example_of_the_document():
    r = run(python(examples("python")[0]), b"three short words")
    assert (r.status, r.stderr) == (0, b"")
    assert json.loads(r.output) == {"words": 3}
    assert len(r.records) == 3


def test_shell_face_example_of_the_document(tmp_path):
    source = tmp_path / "example.sh"
    source.write_text(examples("sh")[1])
    r = run(["/bin/sh", source], b"three short words", arguments="none")
    assert (r.status, r.stderr) == (0, b"")
    assert json.loads(r.output) == {"words": 3}
    r = run(["/bin/sh", source], b"", arguments="none")
    assert (r.status, r.output) == (1, b"")
    assert r.records[-1]["taskiface"] == "fail"


def test_c_example_of_the_document(tmp_path):
    source = tmp_path / "example.c"
    source.write_text(examples("c")[0])
    build("cc", source, tmp_path / "example", "-std=c17")
    r = run([tmp_path / "example"], b"three short words")
    assert r.status == 0, r.stderr
    assert json.loads(r.output) == {"words": 3}
    assert r.records
