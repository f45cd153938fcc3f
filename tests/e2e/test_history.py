# SPDX-License-Identifier: Apache-2.0
"""taskctl history, stats and events: what people see of events."""

import json
import signal
import subprocess
import time
import uuid

import pika
import pytest

from support.processes import peak_memory
from support.runner import act, steps
from support.taskctl import wait_stderr
from support.waiting import DEADLINE, wait_until

STREAM = {"x-queue-type": "stream", "x-max-age": "7D", "x-max-length-bytes": 2 ** 30,
          "x-stream-max-segment-size-bytes": 64 * 2 ** 20}
HOUR = 3600


@pytest.fixture
def verb(taskctl, names):
    """verb("history", …): exit status, rows, stderr."""
    def run(name, *arguments, **more):
        status, out, err = taskctl(name, "--stream", names.history, "--output", "json", *arguments,
                                   **more)
        return status, [json.loads(line) for line in out.splitlines()], err
    return run


@pytest.fixture
def write(client, names):
    """write(event, …): into the stream, which is made for it."""
    client.channel.queue_declare(names.history, durable=True, arguments=STREAM)

    def publish(kind, ago=0.0, **members):
        event = {"event": kind, "id": str(uuid.uuid4()), "program": "p", "runner": "r",
                 "time": int((time.time() - ago) * 1000), **members}
        client.channel.basic_publish("", names.history, json.dumps(event).encode())
        return event["id"]
    return publish


# history

def test_of_a_runner(runner, client, names, verb, taskctl):
    """What became of tasks is told when their runner is gone."""
    r = runner(events={"history": names.history}, programs={"other": act(["output", "x"])})
    good = client.submit("other", userId="adam")
    client.final(good)
    bad = client.submit("act", steps(["exit", 3]))
    client.final(bad)
    r.stop(client)

    def told():
        rows = verb("history")[1]
        return rows if len(rows) == 2 else None
    first, second = wait_until(told, "two tasks")
    assert (first["id"], first["program"], first["state"], first["user"], first["runner"]) == (
        good, "other", "succeeded", "adam", r.name)
    assert (second["id"], second["state"], second["cause"], second["exit_code"]) == (
        bad, "failed", "exited", 3)
    assert first["wall_ms"] == client.final(good).headers["x-tr-wall-ms"]
    assert first["waited_ms"] >= 0 and first["time"] <= second["time"]
    assert [row["id"] for row in verb("history", "--failed")[1]] == [bad]
    status, out, err = taskctl("history", "--stream", names.history)
    lines = out.decode().splitlines()
    assert (status, err, len(lines)) == (0, "", 3)
    assert lines[0].split() == ["TIME", "ID", "PROGRAM", "OUTCOME", "CAUSE", "WAITED", "WALL", "CPU",
                                "RUNNER"]
    assert good in lines[1] and "succeeded" in lines[1] and bad in lines[2]


def test_filters(verb, write):
    old = write("succeeded", ago=2 * HOUR)
    a = write("failed", program="a", group="g", user="u", cause="exited")
    b = write("succeeded", program="b", group="g", user="v")
    c = write("cancelled", program="a", group="h", user="u", cause="cancelled")
    write("started", program="a", group="g", user="u")
    write("returned", program="a", group="g", user="u")

    def ids(*arguments):
        status, rows, err = verb("history", *arguments)
        assert (status, err) == (0, "")
        return [row["id"] for row in rows]
    assert ids() == [old, a, b, c]
    assert ids("--since", "1h") == [a, b, c]
    assert ids("--since", "3h", "--limit", "2") == [b, c]
    assert ids("--limit", "100") == [old, a, b, c]
    assert ids("--failed") == [a]
    assert ids("--program", "a") == [a, c]
    assert ids("--group", "g") == [a, b]
    assert ids("--user", "u", "--program", "a", "--group", "h") == [c]
    assert ids("--user", "nobody") == []


def test_what_is_no_event_is_left_out(verb, write, client, names):
    for body in (b"", b"{}", b"\xff", b'{"event":"failed"}', b"[" * 5000):
        client.channel.basic_publish("", names.history, body)
    id = write("failed", program="\x1b[31m\nred", user="\u202e")
    rows = verb("history")[1]
    assert [row["id"] for row in rows] == [id]


def test_no_such_stream(taskctl, names):
    for name in ("history", "stats"):
        status, out, err = taskctl(name, "--stream", names.history)
        assert (status, out) == (4, b"") and names.history in err


def test_not_a_stream(taskctl, client, names):
    """What is in it stays there."""
    client.channel.queue_declare(names.history, durable=True)
    client.channel.basic_publish("", names.history, b"of somebody else")
    assert taskctl("history", "--stream", names.history)[0] == 3
    wait_until(lambda: client.count(names.history) == 1, "it is still there")


def test_reading_is_all_that_is_needed(broker, verb, write):
    """Neither is written nor configured anything to see history."""
    id = write("failed")
    user = "user-" + uuid.uuid4().hex[:8]
    broker.ctl("add_user", user, "secret-of-user")
    broker.ctl("set_permissions", user, "^$", "^$", ".*")
    url = broker.url.replace(broker.url.split("//")[1].split("@")[0], user + ":secret-of-user")
    assert [row["id"] for row in verb("history", url=url)[1]] == [id]
    broker.ctl("set_permissions", user, ".*", ".*", "^$")
    status, rows, err = verb("history", url=url)
    assert (status, rows) == (3, []) and "refused" in err


@pytest.mark.parametrize("arguments", [
    ["--since", "soon"], ["--limit", "0"], ["--limit", "x"], ["extra"]])
def test_wrong_use(taskctl, arguments):
    assert taskctl("history", *arguments)[0] == 2


def test_ten_thousand(taskctl, write, client, names):
    """All are told, in order, and memory does not grow with them."""
    n = 10000
    for i in range(n):
        write("succeeded", id=str(i), program="p%d" % (i % 10), wall_ms=i, waited_ms=1, cpu_ms=2)
    last = ["history", "--stream", names.history, "--output", "json"]
    wait_until(lambda: b'"%d"' % (n - 1) in taskctl(*last, "--limit", "1")[1], "the last of them")
    process = taskctl.start(*last)
    lines = []
    for line in process.stdout:
        lines.append(line)
        if len(lines) == n // 2:
            assert peak_memory(process.pid) < 200 * 2 ** 20  # some of it a sanitizer's
    assert taskctl.end(process)[0] == 0
    assert [json.loads(line)["id"] for line in lines] == [str(i) for i in range(n)]


# stats

def test_stats(verb, write):
    for i in range(1, 101):
        write("succeeded", program="even", waited_ms=i, wall_ms=10 * i, cpu_ms=5)
    for i in range(3):
        write("failed", program="odd", cause="exited", waited_ms=7, wall_ms=1000, cpu_ms=100)
    write("failed", program="odd", cause="not-found", wall_ms=0, cpu_ms=0)
    write("cancelled", program="odd", cause="cancelled")
    write("started", program="odd")
    write("failed", program="old", ago=2 * HOUR)
    status, rows, err = verb("stats", "--since", "1h")
    assert (status, err) == (0, "")
    even, odd = rows
    assert even == {
        "program": "even", "count": 100, "failed": 0, "cancelled": 0, "failure_rate": 0,
        "waited_p50_ms": 50, "waited_p95_ms": 95, "waited_p99_ms": 99,
        "wall_p50_ms": 500, "wall_p95_ms": 950, "wall_p99_ms": 990, "cpu_ms": 500}
    assert odd == {
        "program": "odd", "count": 5, "failed": 4, "cancelled": 1, "failure_rate": 0.8,
        "waited_p50_ms": 7, "waited_p95_ms": 7, "waited_p99_ms": 7,
        "wall_p50_ms": 1000, "wall_p95_ms": 1000, "wall_p99_ms": 1000, "cpu_ms": 300}
    assert [row["program"] for row in verb("stats", "--program", "old")[1]] == ["old"]
    assert verb("stats", "--program", "none")[1] == []


# events

@pytest.fixture
def follow(taskctl, client, names):
    """follow(…): taskctl events, which listens."""
    def is_there():
        try:
            client.connection.channel().exchange_declare(names.events, passive=True)
        except pika.exceptions.ChannelClosedByBroker:
            return False
        return True

    def start(*arguments, **more):
        wait_until(is_there, "the exchange of events")
        process = taskctl.start("events", "--exchange", names.events, *arguments, **more)
        wait_stderr(process, "listening")
        return process
    return start


def test_live(runner, client, names, taskctl, follow):
    r = runner()
    process = follow("--output", "json", "--follow-pattern", "task.#", "--limit", "2")
    failures = follow("--output", "json", "--follow-pattern", "task.failed.*", "--limit", "1")
    r.wait_log("cancels.read")
    id = client.submit("act", steps(["exit", 1]))
    client.final(id)
    status, out, _ = taskctl.end(process)
    told = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [(e["event"], e["id"], e["program"], e["runner"]) for e in told] == [
        ("started", id, "act", r.name), ("failed", id, "act", r.name)]
    assert [json.loads(line)["event"] for line in taskctl.end(failures)[1].splitlines()] == ["failed"]


def test_live_table_until_ctrl_c(runner, client, taskctl, follow):
    r = runner()
    process = follow("--follow-pattern", "task.*.act")
    r.wait_log("cancels.read")
    id = client.submit("act", steps())
    client.final(id)
    lines = [process.stdout.readline().decode() for _ in range(3)]
    assert lines[0].split() == ["TIME", "EVENT", "ID", "PROGRAM", "CAUSE", "RUNNER"]
    assert "started" in lines[1] and id in lines[1] and "succeeded" in lines[2]
    # What comes stands below its title, though nobody knew it when that was written.
    assert {line.index(what) for line, what in zip(lines, ("ID", id, id))} == {lines[0].index("ID")}
    assert lines[1].index("act") == lines[2].index("act") == lines[0].index("PROGRAM")
    process.send_signal(signal.SIGINT)
    assert taskctl.end(process)[0] == 0


def test_live_ends_with_its_reader(runner, client, follow):
    runner()
    process = follow(stdout=subprocess.PIPE)
    process.stdout.close()
    process.stdout = None
    client.final(client.submit("act", steps()))
    assert process.wait(DEADLINE) == 6


def test_live_without_exchange(taskctl, names):
    status, out, err = taskctl("events", "--exchange", names.events)
    assert (status, out) == (4, b"") and names.events in err


def test_live_and_the_broker_goes(runner, broker, client, taskctl, follow):
    runner()
    process = follow()
    broker.close_all_but_pika()
    status, _, err = taskctl.end(process)
    assert status == 3 and "no more events" in err
