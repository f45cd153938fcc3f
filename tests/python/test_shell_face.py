# SPDX-License-Identifier: Apache-2.0
"""The shell face, with dash as sh: every text, every error, exit statuses."""

import json
import os
import subprocess

import pytest

from pipes import DEADLINE, SHELL_FACE, Run, environment, run

SHELLS = [["/bin/dash"], ["/bin/bash", "--posix"]]


def by_hand(argv, input=b"", shell=("/bin/dash",), **env):
    return subprocess.run([*shell, str(SHELL_FACE), *argv], input=input, capture_output=True,
                          env=environment(**env), timeout=DEADLINE)


def sh(code):
    return ["/bin/dash", "-c", code, "sh"]


@pytest.mark.parametrize("argv", [
    [], ["nonsense"], ["input", "x"], ["progress"], ["progress", "0.5", "a", "b"], ["fail"],
    ["fail", "kind"], ["fail", "a", "b", "c"], ["id", "x"], ["output", "a", "b"],
    ["input", "--timeout"], ["input", "--timeout", "x"], ["input", "--timeout=1.2.3"],
    ["input", "--timeout", "."], ["input", "--timeout", "-1"],
    *(["progress", f] for f in ("1.1", "-1", "", ".", "abc", "0.5x", "1e999", "0x1", "nan", "1,0",
                                "0.5;id", "1\n2"))])
def test_usage_errors(argv):
    done = by_hand(argv)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"taskiface: ")


def test_help_and_version():
    assert by_hand(["--help"]).stdout.startswith(b"usage: taskiface input")
    assert by_hand(["--version"]).stdout == b"taskiface 0.1.0\n"


@pytest.mark.parametrize("text, number", [
    ("0", 0), ("1", 1), ("1.0", 1), ("0.40", 0.4), (".5", 0.5), ("0.", 0), ("00", 0), ("5e-1", 0.5),
    ("0.3333333333", 0.333333), ("0.9999999", 1), ("1e-9", 0), ("100E-2", 1)])
def test_fractions(text, number):
    record = json.loads(by_hand(["progress", text]).stderr)
    assert record == {"fraction": number}


def test_unknown_fraction():
    assert json.loads(by_hand(["progress", "-"]).stderr) == {}
    assert json.loads(by_hand(["progress", "-", ""]).stderr) == {"message": ""}


TEXTS = [b"plain", b"", b"-n", b"-e \\n", b"%s %d %%", b"a\"b\\c/d", b"two\nlines\n", b"tab\tcr\r",
         b"$(id) `id` ${HOME} '", b"\xc5\xbc\xc3\xb3\xc5\x82\xc4\x87 \xe2\x82\xac \xf0\x9f\x98\x80",
         bytes(range(1, 128)), bytes(range(128, 256)), b"\xff\xfe\xc3", b"\xed\xa0\x80",
         b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\xe2\x82", b"\xf0\x9f\x98", b"*", b"x" * 5000]


@pytest.mark.parametrize("shell", SHELLS, ids=["dash", "bash"])
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_any_text(shell, locale):
    for text in TEXTS:
        done = by_hand(["progress", "0.5", text], shell=shell, LC_ALL=locale)
        assert done.returncode == 0, text
        assert done.stderr.count(b"\n") == 1 and done.stderr.endswith(b"\n"), text
        message = json.loads(done.stderr)["message"]
        assert message == _replaced(text), text


def _is_utf8(text):
    try:
        text.decode()
        return True
    except UnicodeDecodeError:
        return False


def _replaced(text):
    """With U+FFFD for each byte that belongs to no character, as in the C library."""
    result = ""
    while text:
        for n in (1, 2, 3, 4):
            if len(text) >= n and _is_utf8(text[:n]):
                result, text = result + text[:n].decode(), text[n:]
                break
        else:
            result, text = result + "\ufffd", text[1:]
    return result


def test_fail():
    assert json.loads(by_hand(["fail", "data", 'no "x"']).stderr) == {
        "taskiface": "fail", "kind": "data", "message": 'no "x"'}
    record = json.loads(by_hand(["fail", "k" * 99, "€" * 2000]).stderr)
    assert record == {"taskiface": "fail", "kind": "k" * 63, "message": "€" * 1365}


def test_id():
    assert by_hand(["id"]).stdout == b"by-hand\n"
    assert by_hand(["id"], TASKIFACE_ID="-e a b%s\\n").stdout == b"-e a b%s\\n\n"


def test_by_hand_input_and_output(tmp_path):
    assert by_hand(["input"], b"a\0b").stdout == b"a\0b"
    assert by_hand(["output"], b"a\0b").stdout == b"a\0b"
    assert by_hand(["output", "-"], b"a\0b").stdout == b"a\0b"
    file = tmp_path / "-n file"
    file.write_bytes(b"from file")
    done = subprocess.run([str(SHELL_FACE), "output", "-n file"], cwd=tmp_path, env=environment(),
                          capture_output=True, timeout=DEADLINE)
    assert done.stdout == b"from file"


@pytest.mark.parametrize("argv", [["input"], ["progress", "1"], ["output"], ["fail", "a", "b"]])
def test_missing_pipe(argv):
    missing = {"TASKIFACE_%s_PIPE" % n: "/nowhere/at/all" for n in ("INPUT", "OUTPUT", "PROGRESS")}
    done = by_hand(argv, **missing)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"/nowhere/at/all" in done.stderr
    assert not os.path.exists("/nowhere")


def test_missing_file():
    done = by_hand(["output", "/nowhere/file"])
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"/nowhere/file" in done.stderr


def test_a_whole_task():
    data = bytes(range(256)) * 20000
    code = """set -e
taskiface progress 0.5 "half of $(taskiface id)"
taskiface input >data
taskiface output data
taskiface progress 1
"""
    r = run(sh(code), data, arguments="none", task_id="t 1")
    assert (r.status, r.stderr, r.stdout) == (0, b"", b"")
    assert r.output == data
    assert r.records == [{"fraction": 0.5, "message": "half of t 1"}, {"fraction": 1}]


def test_part_of_the_input_is_quietly_enough():
    r = run(sh("taskiface input | head -c 3 | taskiface output"), b"abc" * 1000000,
            arguments="none")
    assert (r.output, r.stderr) == (b"abc", b"")


def test_many_processes_do_not_mix():
    code = """for who in a b c d; do
    (for i in 1 2 3 4 5 6 7 8; do taskiface progress - "$who $i $(printf %03000d 0)"; done) &
done; wait"""
    r = run(sh(code), arguments="none", pipe_size=4096)
    assert r.stderr == b""
    seen = [record["message"].split()[:2] for record in r.records]
    for who in "abcd":
        assert [i for w, i in seen if w == who] == list("12345678")


def test_timeouts():
    with Run(sh("taskiface input --timeout 0.05; taskiface progress - \"status $?\"; cat"),
             hold_input=True, arguments="none") as r:
        r.wait_for("status 124")
    with Run(sh("head -c 65536 /dev/zero >\"$TASKIFACE_PROGRESS_PIPE\";"
                "taskiface progress --timeout=0.05 1; echo $?"),
             read_progress=False, arguments="none") as r:
        r.wait()
        assert r.stdout == b"124\n"
    r = run(sh("taskiface input --timeout 60"), b"in time", arguments="none")
    assert (r.status, r.stdout) == (0, b"in time")


def test_reader_that_left():
    code = "{ printf one; taskiface input; } | taskiface output; echo $?"
    with Run(sh(code), hold_input=True, arguments="none") as r:
        r.wait_for("one", "output").stop_reading()
        r.end_input(b"two")
        r.wait()
        assert r.stdout == b"1\n"
        assert r.stderr.count(b"\n") == 1
