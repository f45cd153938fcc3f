# SPDX-License-Identifier: Apache-2.0
"""What goes through the pipes: exact, in order, told apart, bounded."""

import hashlib
import json
import random

import msgpack
import pytest

from support import processes
from support.client import Client
from support.runner import act, base_config, program, steps
from support.waiting import wait_until


@pytest.fixture
def progress(runner, client):
    """progress(steps…): the outputs of all RUNNING responses but the first."""
    def run(*what, final="SUCCESS", config=None):
        runner(programs={"subject": act(*what)}, **(config or {}))
        responses = client.run("subject")
        assert responses[-1].status == final, responses
        return [r.output for r in responses[1:-1]]
    return run


# Progress: one response for each record, in order, however the writes merge or split.

def test_writes_that_merge(progress):
    """Many records in one write."""
    text = "".join(json.dumps({"i": i}) for i in range(50))
    assert progress(["progress", text]) == [b'{"i": %d}' % i for i in range(50)]


def test_writes_that_merge_with_white_space(progress):
    assert progress(["progress", ' {"a":1}\n\n{"b":2} \r\n\t[3]\n"text" ']) == [
        b'{"a":1}', b'{"b":2}', b"[3]", b'"text"']


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_writes_that_split(progress, size):
    values = [{"message": "braces } ] in \" strings \\", "n": [1, {"x": "{["}]},
              {"text": "\u00fc\u20ac\U0001f600"}, [[], {}, [[1]]], "a string"]
    text = "".join(json.dumps(v) for v in values).encode().decode("latin-1")
    records = progress(["progress_in_pieces", size, text])
    assert [json.loads(r) for r in records] == values


def test_open_write_close_for_each(progress):
    """As the ancestor's library does it; quick ones coalesce in the pipe."""
    assert progress(*[["progress", json.dumps({"i": i})] for i in range(200)]) == [
        json.dumps({"i": i}).encode() for i in range(200)]


def test_lines(progress):
    assert progress(["progress", "one\ntwo\r\n\n\nthree {not json\n[1/10] compiling\nlast"]) == [
        b"one", b"two", b"three {not json", b"[1/10] compiling", b"last"]


def test_line_without_newline_ends_with_its_writer(runner, client, tmp_path):
    """Closing the pipe ends an unfinished line: three writers, three records."""
    gates = [str(tmp_path / ("gate-%d" % i)) for i in range(2)]
    runner(programs={"subject": act(["progress", "one"], ["wait_for", gates[0]],
                                    ["progress", "two"], ["wait_for", gates[1]],
                                    ["progress", "three"])})
    id = client.submit("subject")
    for word, gate in zip((b"one", b"two"), gates):
        client.wait_progress(id, word)
        open(gate, "w").close()
    assert [r.output for r in client.responses(id)[1:-1]] == [b"one", b"two", b"three"]


def test_msgpack_maps(progress):
    values = [{"fraction": 0.5, "data": b"\0\xff{}\n"}, {}, {"a": {"b": [1, "x" * 300]}},
              {"k%d" % i: i for i in range(40)}]
    packed = b"".join(msgpack.packb(v) for v in values).decode("latin-1")
    records = progress(["progress", packed])
    assert [msgpack.unpackb(r) for r in records] == values


def test_msgpack_maps_split(progress):
    values = [{"i": i, "data": b"\x80" * i} for i in range(20)]
    packed = b"".join(msgpack.packb(v) for v in values).decode("latin-1")
    assert [msgpack.unpackb(r) for r in progress(["progress_in_pieces", 1, packed])] == values


def test_all_kinds_mixed(progress):
    text = 'line one\n{"a": 1}' + msgpack.packb({"b": 2}).decode("latin-1") + 'line two\n[3] {"c": 4}\n'
    assert progress(["progress_in_pieces", 5, text]) == [
        b"line one", b'{"a": 1}', msgpack.packb({"b": 2}), b"line two", b"[3]", b'{"c": 4}']


def test_record_of_a_megabyte(runner, client):
    runner()
    text = json.dumps({"x": "y" * ((1 << 20) - 20)})
    responses = client.run("act", steps(["write", "progress", text]))
    assert [r.output for r in responses[1:-1]] == [text.encode()]


def test_done_is_not_relayed(progress):
    assert progress(["progress", '{"i": 1}'], ["progress", '{"done": true}'], ["output", "x"]) == [
        b'{"i": 1}']


def test_what_follows_done_does_no_harm(progress):
    records = progress(["progress", '{"done": true}'], ["progress", '{"late": 1}'], ["output", "x"])
    assert records in ([], [b'{"late": 1}'])


def test_program_declares_its_failure(runner, client):
    """The failure record makes kind and text of the FAILED response, whatever the exit status."""
    record = json.dumps({"taskiface": "fail", "kind": "data", "message": "row 7: no number"})
    for code in (1, 0):
        runner(programs={"subject": act(["progress", record], ["exit", code])}) if code else None
        if code == 0:
            responses = client.run("act", steps(["progress", record]))
        else:
            responses = client.run("subject")
        assert [r.status for r in responses] == ["RUNNING", "FAILED"]
        final = responses[-1]
        assert "row 7: no number" in final.text
        assert final.headers["x-tr-failure-kind"] == "data"
        assert final.cause == "exited"


def test_progress_of_a_child(progress, tmp_path):
    """Whoever holds the pipe may report; small writes do not mix."""
    done = str(tmp_path / "done")
    records = progress(["fork", *[["progress", '{"child": %d}' % i] for i in range(50)],
                        ["touch", done]],
                       *[["progress", '{"parent": %d}' % i] for i in range(50)],
                       ["wait_for", done])
    assert sorted(records) == sorted(
        [b'{"child": %d}' % i for i in range(50)] + [b'{"parent": %d}' % i for i in range(50)])


# Output and input

@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_binary_is_exact_both_ways(runner, client, encoding):
    """Every byte value, every length around the edges of pipes and buffers."""
    runner(programs={"copy": program(
        "/bin/sh", "-c", 'exec cat <"$TASKIFACE_INPUT_PIPE" >"$TASKIFACE_OUTPUT_PIPE"')})
    rng = random.Random(3)
    sizes = [0, 1, 2, 3, 255, 256, 4095, 4096, 4097, 8191, 8192, 8193, 65535, 65536, 65537, 131072,
             131073, 1 << 20, (1 << 20) + 1]
    data = [rng.randbytes(n) for n in sizes] + [bytes(range(256)) * 10, b"\0" * 70000, b"\n" * 9000,
                                                b"\r\n", b'{"done": true}', b"\xff\xfe\xfd"]
    ids = [client.submit("copy", d, encoding=encoding) for d in data]
    for id, d in zip(ids, data):
        assert client.final(id).output == d


@pytest.mark.threads
@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_64_mib_both_ways(runner, client, encoding):
    r = runner(programs={"copy": program(
        "/bin/sh", "-c", 'exec cat <"$TASKIFACE_INPUT_PIPE" >"$TASKIFACE_OUTPUT_PIPE"')})
    data = random.Random(4).randbytes(1 << 20) * 64
    output = client.run("copy", data, encoding=encoding)[-1].output
    assert len(output) == len(data)
    assert hashlib.sha256(output).digest() == hashlib.sha256(data).digest()
    assert processes.peak_memory(r.pid) < 1500 << 20


def test_output_of_64_mib_and_one_byte_is_too_large(runner, client):
    runner(programs={"big": act(["output_size", (64 << 20) + 1])})
    responses = client.run("big")
    assert (responses[-1].status, responses[-1].cause) == ("FAILED", "output-too-large")


def test_input_of_64_mib_and_one_byte_is_refused(runner, client):
    runner()
    responses = client.run("act", bytes((64 << 20) + 1), encoding="msgpack")
    assert [r.status for r in responses] == ["FAILED"]
    assert responses[0].cause == "refused"


def test_output_while_input_is_still_coming(runner, client):
    """A filter: it writes what it reads, so both pipes must be served at once."""
    runner(programs={"filter": program("/usr/bin/python3", "-ISc", """
import os
i = os.open(os.environ["TASKIFACE_INPUT_PIPE"], os.O_RDONLY)
o = os.open(os.environ["TASKIFACE_OUTPUT_PIPE"], os.O_WRONLY)
while block := os.read(i, 4096):
    while block:
        block = block[os.write(o, block):]
""")})
    data = random.Random(5).randbytes(5 << 20)
    assert client.run("filter", data)[-1].output == data


# stdout and stderr

def test_stdout_and_stderr_so_far(runner, client, tmp_path):
    """Each response carries what was said up to then."""
    gates = [str(tmp_path / ("gate-%d" % i)) for i in range(3)]
    r = runner(programs={"subject": act(
        ["stdout", "first\n"], ["stderr", "oh\n"], ["wait_for", gates[0]], ["progress", "1"],
        ["wait_for", gates[1]], ["stdout", "second\n"], ["wait_for", gates[2]], ["progress", "2"])})
    id = client.submit("subject")
    r.wait_log("task.stdout", "first")
    r.wait_log("task.stderr", "oh")
    open(gates[0], "w").close()
    first = client.wait_progress(id, b"1")
    assert (first.stdout, first.stderr) == ("first\n", "oh\n")
    open(gates[1], "w").close()
    r.wait_log("task.stdout", "second")
    open(gates[2], "w").close()
    responses = client.responses(id)
    assert responses[2].stdout == "first\nsecond\n"
    assert (responses[-1].stdout, responses[-1].stderr) == ("first\nsecond\n", "oh\n")


@pytest.mark.parametrize("size", [1 << 10, 64 << 10])
def test_only_the_last_part_is_carried(runner, client, size):
    limits = {} if size == 64 << 10 else {"stdout_tail": "1KiB", "stderr_tail": "1KiB"}
    code = 'i=0; while [ $i -lt 20000 ]; do echo "line $i"; echo "error $i" >&2; i=$((i+1)); done'
    runner(limits=limits, programs={"loud": program("/bin/sh", "-c", code)}, log={"level": "info"})
    final = client.run("loud")[-1]
    for text, word in ((final.stdout, "line"), (final.stderr, "error")):
        assert size - 100 <= len(text) <= size
        assert text.endswith("%s 19998\n%s 19999\n" % (word, word))


def test_no_part_is_carried(runner, client):
    runner(limits={"stdout_tail": "0", "stderr_tail": "0"})
    final = client.run("act", steps(["stdout", "x"], ["stderr", "y"]))[-1]
    assert (final.stdout, final.stderr) == ("", "")


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_stdout_that_is_not_text(runner, client, encoding):
    """Made UTF-8 on the way: what is not, is replaced; NUL and controls survive."""
    runner()
    said = "ok \xff\xfe\xc3 \0\x01\x1b \xc3\xbc\n"
    final = client.run("act", steps(["stdout", said]), encoding=encoding)[-1]
    assert final.stdout.startswith("ok \ufffd")
    assert "\ufffd" in final.stdout and "\u00fc\n" in final.stdout and "\0" in final.stdout


def test_stdout_and_stderr_are_logged_with_the_task(runner, client):
    r = runner(log={"level": "info"})
    id = client.submit("act", steps(["stdout", 'say "hi"\tnow\n'], ["stderr", "mind the\x1b[31m gap\n"]))
    client.final(id)
    r.wait_log(id, r'say \"hi\"')
    assert "\x1b" not in r.log
    r.wait_log(id, "mind the", "gap")


def test_task_output_need_not_be_logged(runner, client):
    r = runner(log={"level": "info", "task_output": False})
    client.run("act", steps(["stdout", "nobody needs this\n"]))
    assert "nobody needs this" not in r.log


def test_last_words_of_the_dying(runner, client):
    """What a program says right before a signal ends it is not lost."""
    runner()
    for _ in range(20):
        final = client.run("act", steps(["stderr", "last words"], ["kill", 9]))[-1]
        assert final.stderr == "last words"


def test_output_right_before_the_end_is_whole(runner, client):
    """The ancestor could lose the race between exit and output. Fifty tries."""
    runner(log={"level": "info"}, programs={"quick": program(
        "/bin/sh", "-c", 'head -c 50000 /dev/zero >"$TASKIFACE_OUTPUT_PIPE"')})
    ids = [client.submit("quick") for _ in range(50)]
    for id in ids:
        assert client.final(id).status == "SUCCESS"
        assert client.final(id).output == bytes(50000)


# Bounds

def test_stdout_flood_does_not_grow_the_runner(runner, client):
    """Far more than is carried: memory stays where it was."""
    r = runner(log={"level": "info", "task_output": False},
               programs={"flood": program("/bin/sh", "-c", "head -c 300000000 /dev/zero")})
    client.run("act", steps())
    before = processes.peak_memory(r.pid)
    final = client.run("flood")[-1]
    assert final.status == "SUCCESS"
    assert processes.peak_memory(r.pid) - before < 64 << 20


def test_flood_of_log_lines(runner, client):
    r = runner(programs={"loud": program("/bin/sh", "-c", "yes 'all work and no play' | head -n 200000")})
    assert client.run("loud")[-1].status == "SUCCESS"
    assert processes.peak_memory(r.pid) < 512 << 20


@pytest.mark.threads
def test_progress_flood_is_slowed_by_its_own_pipe(own_broker, names, tmp_path, clients, start_runner):
    """While the broker takes nothing the program comes to a halt and the runner does not grow; then
    everything arrives, in order."""
    count, size = 4000, 30000  # 114 MiB
    counter = tmp_path / "counter"
    client = Client(own_broker, names, "msgpack")
    clients.append(client)
    config = base_config(own_broker, names, tmp_path / "run")
    config["programs"]["flood"] = act(
        ["progress", "ready"], ["wait_for", str(tmp_path / "go")], ["flood", count, size, str(counter)])
    config["log"] = {"level": "info"}
    r = start_runner(own_broker, client, config)
    id = client.submit("flood")
    client.wait_progress(id, b"ready")
    own_broker.alarm(True)
    memory = processes.peak_memory(r.pid)
    (tmp_path / "go").touch()

    def written():
        return int(counter.read_text()) if counter.exists() else 0

    state = {"count": -1, "same": 0}

    def stands_still():
        now = written()
        state["same"] = state["same"] + 1 if now == state["count"] and now else 0
        state["count"] = now
        return state["same"] > 100
    wait_until(stands_still, "the flooding program stands still")
    assert written() < count
    assert processes.peak_memory(r.pid) - memory < 200 << 20
    own_broker.alarm(False)
    responses = client.responses(id, seconds=180)
    assert responses[-1].status == "SUCCESS"
    records = [x.output for x in responses[2:-1]]
    assert [int(x[:8]) for x in records] == list(range(count))
    assert {len(x) for x in records} == {size - 1}


@pytest.mark.threads
def test_quick_progress_of_many_tasks(runner, client):
    """Each task's own order holds among others."""
    runner(log={"level": "info"}, queues=[{"name": client.names.queue, "slots": 8}])
    ids = [client.submit("act", steps(["flood", 500, 20], ["close", "progress"])) for _ in range(16)]
    for id in ids:
        responses = client.responses(id)
        assert [r.status for r in responses] == 501 * ["RUNNING"] + ["SUCCESS"]
        assert [int(r.output[:8]) for r in responses[1:-1]] == list(range(500))


def test_program_with_nothing_but_sh_cat_and_printf(runner, client, tmp_path):
    """docs/taskiface.md is enough to write a task: no library of ours."""
    source = tmp_path / "plain.sh"
    source.write_text(r"""#!/bin/sh
set -e
text=$(cat <"$TASKIFACE_INPUT_PIPE")
printf '{"fraction": 0.5, "message": "half of %s"}\n' "$TASKIFACE_ID" >"$TASKIFACE_PROGRESS_PIPE"
printf '%s and more' "$text" >"$TASKIFACE_OUTPUT_PIPE"
""")
    source.chmod(0o755)
    runner(programs={"plain": program(source, pipe_arguments="none")})
    id = client.submit("plain", b"something")
    responses = client.responses(id)
    assert [r.status for r in responses] == ["RUNNING", "RUNNING", "SUCCESS"]
    assert json.loads(responses[1].output) == {"fraction": 0.5, "message": "half of " + id}
    assert responses[2].output == b"something and more"
