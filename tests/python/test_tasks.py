# SPDX-License-Identifier: Apache-2.0
"""The example tasks."""

import collections
import json
import re

import pytest

from pipes import BUILD, ROOT, Run, run

TASKS = BUILD / "tasks"


def text():
    """Real input: sources of this repository."""
    files = sorted((ROOT / "taskiface").rglob("*.[ch]")) + sorted((ROOT / "docs").rglob("*.md"))
    assert len(files) > 5
    return b"".join(file.read_bytes() for file in files)


def words(data):
    return re.findall(rb"[a-z]+", data.lower())


@pytest.mark.parametrize("arguments", ["hyphens", "underscores", "none"])
@pytest.mark.parametrize("program", ["wordcount", "wordcount.py"])
def test_wordcount(program, arguments):
    data = text()
    r = run([TASKS / program, "--rounds", "10", "--top", "7"], data, arguments=arguments)
    assert (r.status, r.stderr) == (0, b"")
    result = json.loads(r.output)
    found = words(data)
    counts = collections.Counter(found)
    top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:7]
    assert (result["words"], result["distinct"]) == (len(found), len(counts))
    assert [(w["word"].encode(), w["count"]) for w in result["top"]] == top
    for word in result["top"]:
        assert 0 < word["plus_minus"] < 4 * word["count"] ** 0.5
    fractions = [record["fraction"] for record in r.records]
    assert fractions == sorted(fractions) and fractions[-1] == 1


@pytest.mark.parametrize("program", ["wordcount", "wordcount.py"])
@pytest.mark.parametrize("data, distinct", [
    (b"", 0), (b"\0\xff .", 0), (b"one", 1), (b"a A_1 b2a", 2)])
def test_wordcount_of_little(program, data, distinct):
    r = run([TASKS / program, "--rounds", "2"], data)
    assert (r.status, r.stderr) == (0, b"")
    result = json.loads(r.output)
    assert (result["words"], result["distinct"]) == (len(words(data)), distinct)
    assert len(result["top"]) == distinct


def test_wordcount_without_rounds_and_with_too_few_words():
    result = json.loads(run([TASKS / "wordcount", "--rounds", "0"], b"a b").output)
    assert [w["plus_minus"] for w in result["top"]] == [0, 0]


@pytest.mark.parametrize("program", ["wordcount", "wordcount.py"])
def test_wordcount_is_cancelled(program):
    with Run([TASKS / program, "--rounds", "1000000"], text()) as r:
        r.wait_for("round").signal().wait()
        assert r.status == 1
        assert r.output == b""


def test_linecount():
    data = text()
    r = run(["/bin/dash", TASKS / "linecount.sh"], data, arguments="none")
    assert (r.status, r.stderr) == (0, b"")
    result = json.loads(r.output)
    assert result["lines"] == data.count(b"\n")
    distinct = set(re.findall(rb"[a-z]+", data.lower()))
    assert sum(result["distinct_words_by_letter"].values()) == len(distinct)
    assert len(r.records) == 27
    assert r.records[-1]["fraction"] == 1


@pytest.mark.parametrize("arguments", ["hyphens", "underscores", "none"])
def test_echo(arguments):
    data = json.dumps({"include_progress": True, "text": "x" * 1000000}).encode()
    r = run([TASKS / "echo"], data, arguments=arguments)
    assert (r.status, r.output) == (0, data)
    assert r.records == [{"progress": i} for i in range(5)]


def test_echo_of_any_bytes():
    data = bytes(range(256)) * 10000
    r = run([TASKS / "echo"], data)
    assert (r.status, r.output, r.progress) == (0, data, b"")


def test_echo_fails_and_is_cancelled():
    r = run([TASKS / "echo"], b'{"should_fail": true}')
    assert (r.status, r.output) == (1, b"")
    with Run([TASKS / "echo"], b'{"include_progress": 1, "pause_ms": 3600000}') as r:
        r.wait_for('{"progress":0}').signal().wait()
        assert (r.status, r.output) == (1, b"")


def test_fail():
    r = run([TASKS / "fail"], b'no "table"\nsecond line')
    assert r.status == 1
    assert r.records == [{"taskiface": "fail", "kind": "example", "message": 'no "table"'}]
    assert b"about to fail" in r.stderr
    assert run([TASKS / "fail"]).records[0]["message"] == "this program always fails"


def test_sleep():
    r = run([TASKS / "sleep"], b'{"seconds": 0.25}')
    assert (r.status, json.loads(r.output)) == (0, {"slept": 0.25})
    assert r.records[-1]["fraction"] == 1
    with Run([TASKS / "sleep"], b'{"seconds": 3600}') as r:
        r.wait_for("slept 0.1 of 3600").signal().wait()
        assert (r.status, r.output) == (1, b"")
        assert b"left to clean up" in r.stderr


def test_noop():
    r = run([TASKS / "noop"], b"x" * 3000000)
    assert (r.status, r.output, r.progress, r.stderr) == (0, b"", b"", b"")


@pytest.mark.parametrize("program", ["echo", "fail", "noop", "sleep", "wordcount"])
def test_bad_arguments(program):
    r = run([TASKS / program, "--id"], arguments="none")
    assert r.status == 2
