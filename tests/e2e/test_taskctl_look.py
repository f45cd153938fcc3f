# SPDX-License-Identifier: Apache-2.0
"""taskctl ps, status, runners, programs: what runners have and are, as people and programs see it."""

import json
import os
import platform
import re
import signal

import msgpack
import pytest

from support.runner import program, steps

pytestmark = pytest.mark.usefixtures("all_killed")
HANG = steps(["progress", '{"fraction": 0.25, "message": "a quarter"}'], ["sleep", 200])


def hang(client, **members):
    id = client.submit("act", HANG, **members)
    client.wait_progress(id)
    return id


def records(taskctl, *arguments, status=0, **more):
    code, out, err = taskctl(*arguments, "-o", "json", **more)
    assert code == status, (code, err)
    return [json.loads(line) for line in out.splitlines()]


# ps

def test_ps(runner, client, taskctl):
    first, second = runner(), runner()
    ids = [hang(client, id="task-%d" % i, group="g") for i in range(4)]
    status, out, err = taskctl("ps")
    assert (status, err) == (0, "")
    lines = [line.split() for line in out.decode().splitlines()]
    assert lines[0] == ["ID", "PROGRAM", "STATE", "PROGRESS", "AGE", "CPU", "MEMORY", "RUNNER"]
    assert sorted(line[0] for line in lines[1:]) == ids
    assert {line[-1] for line in lines[1:]} <= {first.name, second.name}
    assert {tuple(line[1:3]) for line in lines[1:]} == {("act", "running")}


def test_ps_for_programs(runner, client, taskctl, tmp_path):
    r = runner()
    id = hang(client, group="g", userId="me", projectId="p", labels=["x"])
    [said] = records(taskctl, "ps")
    [heard] = client.ask("list")
    for fact in ("id", "program", "state", "progress", "message", "pid", "runner", "instance"):
        assert said[fact] == heard.get(fact)
    assert (said["id"], said["program"], said["state"]) == (id, "act", "running")
    assert (said["group"], said["user"], said["project"], said["labels"], said["queue"]) == (
        "g", "me", "p", "x", client.names.queue)
    assert (said["runner"], said["instance"], said["attempt"]) == (r.name, r.instance, 1)
    assert said["priority"] is None and said["age_ms"] >= said["running_ms"] >= 0
    assert os.readlink("/proc/%d/exe" % said["pid"])
    # Not known of a task that nobody has measured yet.
    assert all(said[fact] is None or said[fact] >= 0 for fact in ("memory", "cpu_ms"))
    out = taskctl("ps", "-o", "msgpack")[1]
    assert list(msgpack.unpackb(out)) == list(said)


def test_ps_filters_and_order(runner, client, taskctl):
    runner(), runner()
    for i in range(4):
        hang(client, id="task-%d" % i, group="odd" if i % 2 else "even", userId="u%d" % i)
    held = client.submit("act", steps(), id="held", hold=True, group="odd")
    client.wait(lambda: len(client.ask("list", runners=2)) == 5, "all are here")
    ids = lambda *more: [r["id"] for r in records(taskctl, "ps", *more)]
    assert sorted(ids("--group", "odd")) == ["held", "task-1", "task-3"]
    assert ids("--group", "odd", "--state", "running", "--sort", "id") == ["task-1", "task-3"]
    assert ids("--state", "held,paused") == ["held"]
    assert ids("--user", "u2") == ["task-2"]
    assert ids("--program", "other") == []
    assert ids("--sort", "id", "--reverse") == ["task-3", "task-2", "task-1", "task-0", "held"]
    assert ids("--sort", "state", "--group", "odd")[0] == "held"
    assert sorted(ids("--sort", "age"))[1:] == ["task-%d" % i for i in range(4)]
    client.control({"op": "play", "all": True})
    client.final(held)


def test_ps_wide_has_all(runner, client, taskctl):
    r = runner()
    hang(client, group="a group")
    out = taskctl("ps", "--wide", "--no-header")[1].decode()
    assert r.instance in out and "a group" in out and client.names.queue in out


def test_ps_of_nothing_and_of_nobody(runner, client, taskctl):
    client.channel.exchange_declare(client.names.control, "fanout", durable=True)
    status, out, err = taskctl("ps", "--wait", "300ms")
    assert (status, out) == (5, b"")
    assert "no runner has answered within 300 ms" in err and "is one running" in err
    runner()
    status, out, err = taskctl("ps")
    assert (status, err) == (0, "") and out.split()[0] == b"ID" and len(out.splitlines()) == 1
    assert taskctl("ps", "--no-header") == (0, b"", "")


def test_ps_without_exchange_and_broker(taskctl, client):
    status, out, err = taskctl("ps")
    assert (status, out) == (4, b"") and err.count("no control exchange") == 1
    assert client.names.control in err and "--control" in err
    status, out, err = taskctl("ps", url="amqp://127.0.0.1:1")
    assert (status, out) == (3, b"") and "no connection to the broker" in err


def test_ps_of_a_frozen_runner(runner, client, taskctl):
    """It was there a moment ago; nobody knows what it has, but that it does not answer is told."""
    first, second = runner(), runner()
    ids = [hang(client) for _ in range(4)]
    mine = [a["id"] for a in client.ask("list", runners=2) if a["runner"] == first.name]
    second.process.send_signal(signal.SIGSTOP)
    try:
        said = records(taskctl, "ps", "--wait", "2s")
    finally:
        second.process.send_signal(signal.SIGCONT)
    assert sorted(r["id"] for r in said) == sorted(mine)
    assert sorted(r["id"] for r in records(taskctl, "ps")) == sorted(ids)


@pytest.mark.parametrize("arguments, told", [
    (["x"], "too much"), (["--state", "x"], "--state: 'x'"), (["--state", ""], "--state"),
    (["--state", "held,"], "--state"), (["--sort", "x"], "--sort: 'x'"), (["--wait", "x"], "--wait")])
def test_ps_usage(taskctl, arguments, told):
    status, out, err = taskctl("ps", *arguments)
    assert (status, out) == (2, b"") and told in err


# status

def test_status(runner, client, taskctl):
    r = runner()
    id = client.submit("act", steps(["stdout", "one\ntwo\nthree\n"], ["stderr", "bad \x1b[31mred\n"],
                                    ["progress", "x"], ["sleep", 200]), group="a group")
    client.wait_progress(id)
    status, out, err = taskctl("status", id)
    assert (status, err) == (0, "")
    facts = dict(line.split(":", 1) for line in out.decode().splitlines())
    assert facts["id"].strip() == id and facts["state"].strip() == "running"
    assert facts["program"].strip() == "act" and facts["group"].strip() == "a group"
    assert facts["runner"].strip() == r.name and facts["attempt"].strip() == "1"
    heard = client.ask("status", id=id)[0]
    assert set(facts) == {re.sub("_ms$", "", name).replace("_", " ") for name in heard
                          if name not in ("op", "result")}
    assert "running" in facts and "age" in facts and "stdout" not in facts
    said = lambda: taskctl("status", "--tail", "2", id)[1].decode()
    client.wait(lambda: "three" in said() and "red" in said(), "the last lines")
    assert said().endswith("stdout, last lines:\n  two\n  three\nstderr, last lines:\n  bad  [31mred\n")


def test_status_and_ps_before_the_start(runner, client, taskctl):
    """Whether a task waits or is held: what it did while it ran is not said in numbers. Facts are
    under each other, as people spell them."""
    runner(labels={"gpu": 1})
    runs = hang(client, id="runs", labels=["gpu"])
    client.wait(lambda: "peak_memory" in client.ask("status", id=runs)[0], "its memory")
    client.submit("act", steps(), id="held", hold=True)
    client.submit("act", steps(), id="waits", labels=["gpu"])
    client.wait(lambda: {a["state"] for a in client.ask("list")} == {"running", "held", "waiting"},
                "all are here")
    said = {a["id"]: (a["cpu_ms"], a["running_ms"]) for a in records(taskctl, "ps")}
    assert said["held"] == said["waits"] == (None, None) and None not in said["runs"]
    facts = {id: taskctl("status", id)[1].decode() for id in said}
    for id in ("held", "waits"):
        assert "\ncpu:" not in facts[id] and "\nrunning:" not in facts[id] and "\nage: " in facts[id]
    assert "\npeak memory: " in facts["runs"] and "\nwaits for:   gpu\n" in facts["waits"]
    assert all(re.match(r"[a-z ]+: +(?<=^.{13})\S", line)
               for text in facts.values() for line in text.splitlines())
    client.control({"op": "play", "all": True})
    client.final("held")


def test_status_for_programs(runner, client, taskctl):
    runner()
    ids = [hang(client), client.submit("act", steps(["stdout", "a\nb\nc"], ["progress", "x"],
                                                    ["sleep", 200]))]
    client.wait_progress(ids[1])
    tell = lambda: records(taskctl, "status", "--tail", "2", *ids)
    client.wait(lambda: any(a["stdout"] for a in tell()), "the last lines")
    said = {a["id"]: a for a in tell()}
    assert set(said) == set(ids)
    assert said[ids[1]]["stdout"] == "b\nc" and not said[ids[0]]["stdout"]
    listed = {a["id"]: a for a in records(taskctl, "ps")}
    assert set(said[ids[0]]) == set(listed[ids[0]]) | {"stdout", "stderr"}
    assert records(taskctl, "status", ids[1])[0]["stdout"] is None


def test_status_of_what_is_not_there(runner, client, taskctl):
    r = runner()
    id = client.submit("act", steps())
    client.final(id)
    client.wait(lambda: taskctl("status", id) == (
        1, b"", "taskctl: %s: has ended already, says %s\n" % (id, r.name)), "that it has ended")
    status, out, err = taskctl("status", "--wait", "300ms", "nobody's")
    assert (status, out) == (5, b"") and "nobody's: no runner has it (1 answered)" in err
    assert taskctl("status")[0] == 2
    assert taskctl("status", "a/b")[0] == 2
    assert taskctl("status", "--tail", "x", "y")[0] == 2


# runners, programs

def test_runners(runner, client, taskctl):
    first, second = runner(queues=[{"name": client.names.queue, "slots": 3}]), runner()
    hang(client)
    said = records(taskctl, "runners")
    assert [a["runner"] for a in said] == sorted([first.name, second.name])
    assert {a["pid"] for a in said} == {first.pid, second.pid}
    assert {a["instance"] for a in said} == {first.instance, second.instance}
    for a in said:
        assert (a["host"], a["state"]) == (platform.node(), "ready")
        assert a["version"] and a["uptime_ms"] >= 0 and a["load"] >= 0
        assert a["queues"] == "%s:%d" % (client.names.queue, a["slots"])
        assert a["free"] == a["slots"] - a["used"] and a["held"] == a["waiting"] == 0
    assert sum(a["used"] for a in said) == 1 and sorted(a["slots"] for a in said) == [3, 4]
    status, out, err = taskctl("runners")
    lines = out.decode().splitlines()
    assert (status, err, len(lines)) == (0, "", 3)
    assert lines[0].split()[:6] == ["RUNNER", "STATE", "HOST", "VERSION", "SLOTS", "USED"]
    assert first.name in out.decode() and client.names.queue in out.decode()


def test_programs(runner, client, taskctl):
    napping = {"nap": program("/bin/true", slots=2, timeout="90s", labels=["gpu", "big"])}
    first, second = runner(programs=napping), runner()
    said = {a["program"]: a for a in records(taskctl, "programs")}
    assert said["act"]["runners"] == sorted([first.name, second.name])
    assert said["nap"] == {"program": "nap", "runners": [first.name], "timeout_ms": 90000,
                           "slots": 2, "labels": "gpu,big"}
    assert {a["program"] for a in records(taskctl, "programs", "--runner", second.name)} == {
        name for name in said if second.name in said[name]["runners"]}
    lines = [line.split() for line in taskctl("programs")[1].decode().splitlines()]
    assert ["nap", "1", "min", "30", "s", "2", "gpu,big", first.name] in lines


@pytest.mark.parametrize("verb", ["runners", "programs", "status x"])
def test_nobody_and_nothing(taskctl, client, verb):
    status, out, err = taskctl(*verb.split())
    assert (status, out) == (4, b"") and err.count("no control exchange") == 1
    client.channel.exchange_declare(client.names.control, "fanout", durable=True)
    status, out, err = taskctl(*verb.split(), "--wait", "300ms")
    assert (status, out) == (5, b"") and "no runner has answered" in err and "is one running" in err
    status, out, err = taskctl(*verb.split(), url="amqp://127.0.0.1:1")
    assert (status, out) == (3, b"") and "no connection to the broker" in err


# drain, undrain, slots, reload

def test_drain_and_undrain(runner, client, taskctl):
    first, second = runner(), runner()
    assert taskctl("drain", first.name) == (0, ("%s: accepted\n" % first.name).encode(), "")
    states = lambda: {a["runner"]: a["state"] for a in records(taskctl, "runners")}
    assert states() == {first.name: "draining", second.name: "ready"}
    assert client.run("act", steps())[-1].headers["x-tr-runner"] == second.name
    said = records(taskctl, "drain", "--all")
    assert {(a["runner"], a["instance"], a["result"], a["error"]) for a in said} == {
        (r.name, r.instance, "accepted", None) for r in (first, second)}
    assert set(states().values()) == {"draining"}
    status, out, err = taskctl("undrain", first.instance, second.name, "nobody", "--wait", "500ms")
    assert status == 5 and len(out.splitlines()) == 2
    assert "nobody: no runner of this name has answered; 'taskctl runners'" in err
    assert set(states().values()) == {"ready"}


def test_slots(runner, client, taskctl):
    r = runner()
    assert taskctl("slots", "7", r.name)[0] == 0
    assert records(taskctl, "runners")[0]["slots"] == 7
    assert taskctl("slots", "2", "--queue", client.names.queue, "--all")[0] == 0
    assert records(taskctl, "runners")[0]["slots"] == 2
    assert taskctl("slots", "1", "--queue", "other", "--all") == (
        3, b"", "taskctl: %s: it has no such queue\n"
        "taskctl: %s has these queues: %s; --queue NAME says which is meant\n" % (
            r.name, r.name, client.names.queue))
    [said] = records(taskctl, "slots", "1", "--queue", "other", r.name, status=3)
    assert (said["result"], said["error"]) == ("error", "it has no such queue")


def test_slots_of_several_queues(runner, client, taskctl):
    """What is missing is told, and what can be said in its place."""
    other = client.names.queue + ":2"
    r = runner(queues=[{"name": client.names.queue, "slots": 1}, {"name": other, "slots": 1}])
    for whom in (r.name, "--all"):
        status, out, err = taskctl("slots", "3", whom)
        assert (status, out) == (3, b"") and "%s: it has several queues" % r.name in err
        assert "has these queues: %s, %s; --queue NAME" % (client.names.queue, other) in err
    assert taskctl("slots", "3", r.name, "--queue", other)[0] == 0
    client.channel.queue_delete(other)


def test_reload(runner, client, taskctl):
    r = runner()
    assert taskctl("reload", "--all")[0] == 0
    r.wait_log("config.reloaded")
    with open(r.config_file, "a") as f:
        f.write("\nunknown: 1\n")
    status, out, err = taskctl("reload", r.name)
    assert (status, out) == (3, b"") and r.name in err and "YAML" in err


@pytest.mark.parametrize("given, told", [
    (["drain"], "which runners?"), (["reload", "x", "--all"], "not both"), (["undrain", ""], "empty"),
    (["slots"], "how many"), (["slots", "x"], "how many"), (["slots", "10001", "--all"], "how many"),
    (["slots", "1"], "which runners?"), (["runners", "x"], "too much"), (["programs", "x"], "too much")])
def test_usage(taskctl, given, told):
    status, out, err = taskctl(*given)
    assert (status, out) == (2, b"") and told in err


@pytest.mark.parametrize("verb", ["drain", "reload"])
def test_orders_without_anybody(taskctl, client, verb):
    assert taskctl(verb, "--all")[0] == 4
    client.channel.exchange_declare(client.names.control, "fanout", durable=True)
    status, out, err = taskctl(verb, "--all", "--wait", "300ms")
    assert (status, out) == (5, b"") and "no runner has answered within 300 ms" in err
