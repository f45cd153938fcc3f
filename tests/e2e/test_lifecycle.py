# SPDX-License-Identifier: Apache-2.0
"""Start, reload, end: signals, exit statuses, handing work to the next runner."""

import json
import os
import re
import signal
import subprocess

import pytest

from support import processes
from support.broker import PASSWORD
from support.paths import ROOT, TASKRUNNER, TIME_LEFT
from support.runner import SOON, act, base_config, program, steps
from support.waiting import DEADLINE, wait_until


# Starting

def test_ready_and_stopping_are_told(runner, client):
    r = runner()
    assert "READY=1" in r.notify.messages
    r.signal(signal.SIGTERM)
    r.wait_end()
    assert r.notify.has("STOPPING=1")


def test_starts_without_broker_and_ends_when_told(runner):
    """It tries again and again, is not ready, and ends well on SIGTERM."""
    r = runner(ready=False, broker={"addresses": "amqp://127.0.0.1:1"})
    r.wait_log("127.0.0.1:1")
    assert not r.notify.has("READY=1")
    r.signal(signal.SIGTERM)
    assert r.wait_end() == 0


def test_wrong_password_is_no_end(runner):
    """Refused by the broker: said clearly, without the password, and tried again."""
    r = runner(ready=False, broker={"password": "wrong-" + PASSWORD})
    r.wait_log("127.0.0.1", "error=")
    assert "wrong-" not in r.log
    assert not r.notify.has("READY=1")
    r.signal(signal.SIGTERM)
    assert r.wait_end() == 0


def test_no_descriptor_of_the_starter_is_kept(runner, client):
    """Descriptors that came with the start do not go on to tasks."""
    read, write = os.pipe()
    os.set_inheritable(write, True)
    r = runner(wrapper=["/bin/sh", "-c", 'exec 7>&1; exec "$@"', "sh"],
               programs={"subject": act(["report"])})
    os.close(write)
    fds = json.loads(client.run("subject")[-1].output)["fds"]
    assert sorted(int(f) for f, p in fds.items() if not p.startswith("/proc/")) == [0, 1, 2]
    os.close(read)
    assert r.process.poll() is None


@pytest.mark.parametrize("closed", ["0", "1", "2", "0 1 2"])
def test_starts_with_closed_standard_descriptors(runner, client, closed):
    redirections = " ".join("%s>&-" % fd for fd in closed.split())
    runner(wrapper=["/bin/sh", "-c", 'exec "$@" ' + redirections, "sh"])
    assert client.run("act", steps(["stdout", "x\n"]))[-1].stdout == "x\n"


def test_signals_ignored_by_the_starter(runner, client):
    """nohup and the like: the runner still ends on SIGTERM and sees its children."""
    code = ("import os, signal, sys\n"
            "for s in (1, 2, 13, 15, 17): signal.signal(s, signal.SIG_IGN)\n"
            "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))\n"
            "os.execv(sys.argv[1], sys.argv[1:])\n")
    runner(wrapper=["/usr/bin/python3", "-ISc", code])
    assert client.run("act", steps(["exit", 7]))[-1].headers["x-tr-exit-code"] == 7


# Checking a configuration

def check(config, *arguments, environment=None):
    done = subprocess.run([TASKRUNNER, "--check-config", "--config", str(config), *arguments],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE,
                          env={**{k: v for k, v in os.environ.items()
                                  if not k.startswith("TASKRUNNER_")}, **(environment or {})})
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def config_file(broker, names, tmp_path):
    def write(text=None):
        file = tmp_path / "config.yaml"
        config = base_config(broker, names, tmp_path)
        file.write_text(text if text is not None else json.dumps(config, indent=1))
        return file
    return write


def test_check_of_a_good_configuration(config_file):
    status, said = check(config_file())
    assert status == 0, said


@pytest.mark.parametrize("text, words", [
    ("colour: blue\n", ["config.yaml:1", "colour"]),
    ("name: a\nbroker:\n  adresses: x\n", ["config.yaml:3", "adresses"]),
    ("queues:\n  - name: q\n    slots: many\n", ["config.yaml:3", "slots", "number"]),
    ("queues:\n  - name: q\n    slots: 0\n", ["config.yaml:3", "slots"]),
    ("queues:\n  - slots: 1\n", ["config.yaml:2", "name"]),
    ("queues: 5\n", ["config.yaml:1", "queues"]),
    ("limits:\n  timeout: soon\n", ["config.yaml:2", "timeout"]),
    ("limits:\n  timeout: 5\n", ["config.yaml:2", "timeout"]),
    ("limits:\n  input: 5 bananas\n", ["config.yaml:2", "input"]),
    ("log:\n  level: loud\n", ["config.yaml:2", "level", "debug"]),
    ("name: a\nname: b\n", ["config.yaml:2", "name"]),
    ("programs:\n  p:\n    argv: []\n", ["config.yaml:3", "argv"]),
    ("programs:\n  p:\n    argv: [x]\n  a/b:\n    argv: [x]\n", ["config.yaml:4", "programs", "a/b"]),
    ("programs:\n  p: {}\n", ["config.yaml:2", "argv"]),
    ("programs:\n  p:\n    argv: [/bin/true]\n    slots: -1\n", ["config.yaml:4", "slots"]),
    ("programs:\n  p:\n    argv: [/bin/true]\n    enviroment: {}\n", ["config.yaml:4", "enviroment"]),
    ("broker:\n  addresses: http://x\n", ["config.yaml:2", "addresses"]),
    ("name: ${E2E_NOT_SET}\n", ["config.yaml:1", "name", "E2E_NOT_SET"]),
    ("a: [1, 2\n", ["config.yaml:"]),
    ("\tname: x\n", ["config.yaml:1"]),
    ("- a\n- b\n", ["config.yaml:1"]),
    ("name: [a]\n", ["config.yaml:1", "name"]),
    ("responses:\n  durable: maybe\n", ["config.yaml:2", "durable"]),
], ids=lambda v: v[:20] if isinstance(v, str) else "")
def test_check_of_a_bad_configuration(config_file, text, words):
    status, said = check(config_file(text))
    assert status == 2, said
    for word in words:
        assert word in said, said
    assert len(said.strip().splitlines()) == 1, said


def test_check_of_a_file_that_is_not_there(tmp_path):
    status, said = check(tmp_path / "none.yaml")
    assert status == 2
    assert "none.yaml" in said


def test_unknown_variable(config_file):
    status, said = check(config_file(), environment={"TASKRUNNER_BROKER_ADRESSES": "x"})
    assert status == 2
    assert "TASKRUNNER_BROKER_ADRESSES" in said


def test_a_bad_configuration_does_not_start(runner, client):
    r = runner(ready=False, limits={"timeout": "soon"})
    assert r.wait_end() == 2
    assert "limits.timeout" in r.log
    r.log_file.write_text("")  # what it said is for a person, not a log line


@pytest.mark.parametrize("arguments", [["--nonsense"], ["--config"], ["surplus"], ["exec"]], ids=repr)
def test_usage(arguments):
    done = subprocess.run([TASKRUNNER, *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=DEADLINE)
    assert done.returncode == 2
    assert done.stderr and not done.stdout


def plain(text):
    """Without the marks of scdoc, and with single blanks."""
    return " ".join(re.sub(r"[*_]|\+\+", "", text).split())


def test_help_and_manual_agree():
    said = subprocess.run([TASKRUNNER, "--help"], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=DEADLINE, check=True).stdout
    with open(os.path.join(ROOT, "docs", "man", "taskrunner.8.scd")) as f:
        synopsis = f.read().split("# SYNOPSIS\n")[1].split("# DESCRIPTION")[0]
    usage = said[len("Usage:"):said.index("\n\n")]
    assert plain(usage) == plain(synopsis)
    assert "[--config FILE]" in usage


def test_help_and_version():
    for argument in ("--help", "--version"):
        done = subprocess.run([TASKRUNNER, argument], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=DEADLINE)
        assert (done.returncode, done.stderr) == (0, "")
        assert "taskrunner" in done.stdout


# Reloading

def reload(r, config):
    """Writes the configuration, sends SIGHUP, waits until it was dealt with."""
    lines = len(r.log.splitlines())
    r.write_config(config) if isinstance(config, dict) else r.config_file.write_text(config)
    r.signal(signal.SIGHUP)
    wait_until(lambda: any("reload" in l or "catalogue" in l for l in r.log.splitlines()[lines:]),
               lambda: "a word about the reload; log:\n" + r.log)
    return "\n".join(r.log.splitlines()[lines:])


def test_reload_of_the_catalogue(runner, client, broker, names, tmp_path):
    """New programs appear, old ones go, changed ones change; what runs is not touched."""
    gate = str(tmp_path / "gate")
    r = runner(programs={"old": act(["output", "old"]), "both": act(["output", "before"]),
                         "long": act(["progress", "up"], ["wait_for", gate], ["output", "kept"])})
    assert client.run("old")[-1].output == b"old"
    assert client.run("new")[-1].cause == "not-found"
    long = client.submit("long")
    client.wait_progress(long)
    config = base_config(broker, names, tmp_path / "run")
    config["name"] = r.name
    config["programs"] = {"new": act(["output", "new"]), "both": act(["output", "after"])}
    reload(r, config)
    assert client.run("new")[-1].output == b"new"
    assert client.run("both")[-1].output == b"after"
    assert client.run("old")[-1].cause == "not-found"
    open(gate, "w").close()
    assert client.final(long).output == b"kept"


@pytest.mark.parametrize("text", ["programs: {bad: }\n", "nonsense", "", "programs:\n  a:\n    argv: 5\n",
                                  "\0\1\2"], ids=repr)
def test_bad_catalogue_is_refused(runner, client, text):
    """The old one stays in force, and the log says what is wrong with the new one."""
    r = runner(programs={"old": act(["output", "old"])})
    if text == "":
        r.config_file.unlink()
        lines = len(r.log.splitlines())
        r.signal(signal.SIGHUP)
        wait_until(lambda: "error=" in "\n".join(r.log.splitlines()[lines:]), "a word about it")
    else:
        said = reload(r, text)
        assert "error=" in said and r.config_file.name in said, said
    assert client.run("old")[-1].output == b"old"
    assert r.process.poll() is None


def test_many_reloads(runner, client):
    r = runner()
    ids = [client.submit("act", steps(["output", "x"])) for _ in range(20)]
    for _ in range(50):
        r.signal(signal.SIGHUP)
    for id in ids:
        assert client.final(id).output == b"x"


# Ending

@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_running_tasks_finish(runner, client, tmp_path, number):
    gate = str(tmp_path / "gate")
    r = runner(limits={"shutdown": "60s"}, queues=[{"name": client.names.queue, "slots": 1}])
    id = client.submit("act", steps(["progress", "up"], ["wait_for", gate], ["output", "whole"]))
    client.wait_progress(id)
    waiting = client.submit("act", steps(["output", "by another"]))
    r.signal(number)
    wait_until(lambda: r.notify.has("STOPPING=1"), "STOPPING=1")
    open(gate, "w").close()
    assert client.final(id).output == b"whole"
    assert r.wait_end() == 0
    assert client.by_id[waiting] == []
    assert client.count(client.names.queue) == 1
    runner()
    assert client.final(waiting).output == b"by another"


def test_tasks_that_do_not_finish_go_to_the_next_runner(runner, client, tmp_path):
    """Ended and given back: the next runner has them at once, and there is one final response."""
    book, gate = tmp_path / "book", tmp_path / "gate"
    first = runner(limits={"shutdown": "500ms", "grace": "300ms"})
    id = client.submit("act", steps(["append", str(book), "ran"], ["progress", "up"],
                                    ["wait_for", str(gate)], ["output", "done"]))
    client.wait_progress(id)
    first.signal(signal.SIGTERM)
    assert first.wait_end() == 0
    assert not client.by_id[id][-1].is_final
    second = runner()
    client.wait(lambda: book.read_text() == "ran\nran\n", "the second run")
    gate.touch()
    final = client.final(id)
    assert final.output == b"done"
    assert final.headers["x-tr-runner"] == second.name


@pytest.mark.parametrize("ignores", [False, True], ids=["asked", "killed"])
def test_tasks_that_do_not_finish_are_ended(runner, client, ignores):
    """By SIGTERM or after their grace; the request is in its queue again, and the runner ends well."""
    r = runner(limits={"shutdown": "100ms", "grace": "300ms"})
    first = [["ignore", 15]] if ignores else []
    id = client.submit("act", steps(*first, ["progress", "up"], ["sleep", 250]))
    client.wait_progress(id)
    r.signal(signal.SIGTERM)
    assert r.wait_end() == 0
    r.wait_log("request.given-back", id)
    client.wait(lambda: client.count(client.names.queue) == 1, "given back")
    assert not client.by_id[id][-1].is_final


@pytest.mark.parametrize("face", sorted(TIME_LEFT))
@pytest.mark.parametrize("why", ["cancelled", "timed-out", "shutting-down"])
def test_time_left_is_what_the_runner_gives(runner, client, tmp_path, face, why):
    """However it is ended, the program is told how long it has to clean up, and has that long."""
    book = tmp_path / "book"
    r = runner(limits={"grace": "60s", "shutdown": "100ms"},
               programs={"cleans-up": program(TIME_LEFT[face], book)})
    id = client.submit("cleans-up", timeoutSeconds=4 if why == "timed-out" else 3600)
    client.wait_progress(id)
    if why == "cancelled":
        client.cancel(id)
    if why == "shutting-down":
        r.signal(signal.SIGTERM)
        assert r.wait_end() == 0
    else:
        assert client.final(id).cause == why
        assert client.final(id).headers["x-tr-exit-code"] == 0
    left, *then = book.read_text().splitlines()
    assert 2000 < int(left) <= 60000
    assert then == ["cleaned up"]


def test_second_signal_ends_at_once(runner, client, tmp_path):
    r = runner(limits={"shutdown": "1h", "grace": "1h"})
    ids = [client.submit("act", steps(["ignore", 15], ["progress", "up"], ["sleep", 250]))
           for _ in range(3)]
    for id in ids:
        client.wait_progress(id)
    r.signal(signal.SIGTERM)
    wait_until(lambda: r.notify.has("STOPPING=1"), "STOPPING=1")
    r.signal(signal.SIGTERM)
    assert r.wait_end() == 0
    client.wait(lambda: client.count(client.names.queue) == 3, "all three given back")


def test_cancel_while_ending(runner, client):
    r = runner(limits={"shutdown": "60s"})
    id = client.submit("act", steps(["progress", "up"], ["sleep", 200]))
    client.wait_progress(id)
    r.signal(signal.SIGTERM)
    wait_until(lambda: r.notify.has("STOPPING=1"), "STOPPING=1")
    client.cancel(id)
    assert client.final(id).status == "CANCELLED"
    assert r.wait_end() == 0


def test_end_while_idle_many_times(runner, client):
    for _ in range(5):
        r = runner(log={"level": "info"})
        r.signal(signal.SIGTERM)
        assert r.wait_end() == 0


def test_end_before_ready(runner):
    """SIGTERM at any moment of the start."""
    for i in range(10):
        r = runner(ready=False, log={"level": "info"})
        if i % 2:
            wait_until(lambda: r.log, "first log line")
        r.signal(signal.SIGTERM)
        # Before main() runs the signal's default is the end.
        assert r.wait_end() in (0, -signal.SIGTERM)
        r.ended = 0


def test_killed_runner_loses_nothing(runner, client, tmp_path):
    """kill -9 in the middle of work: everything is done by the next one."""
    first = runner(log={"level": "info"}, broker=SOON)
    ids = [client.submit("act", steps(["sleep", 0.05], ["output", "%d" % i])) for i in range(40)]
    client.final(ids[3])
    first.kill()
    runner(log={"level": "info"}, broker=SOON)
    for i, id in enumerate(ids):
        finals = client.wait(lambda: [r for r in client.by_id[id] if r.is_final], "final of %s" % id)
        assert finals[-1].output == b"%d" % i
    keep_first_finals(client)


def keep_first_finals(client):
    """A runner that was killed between its final response and the acknowledgement has it done twice:
    at-least-once is what is promised. Requesters keep the first."""
    for id, responses in client.by_id.items():
        for i, r in enumerate(responses):
            if r.is_final:
                del responses[i + 1:]
                break


def test_log_of_an_end_holds_what_there_is_to_say(runner, client):
    r = runner()
    client.run("act", steps(["output", "x"]), id="well")
    client.run("act", steps(["exit", 3]), id="badly")
    well = r.wait_log("task.finished", "task=well", "status=SUCCESS")
    assert "cause=" not in well and "text=" not in well
    r.wait_log("task.finished", "task=badly", "cause=exited", 'text="Program')


# Ids that are used again

def test_id_of_a_task_that_ended(runner, client):
    """A new request is a new task: it is run and answered."""
    r = runner()
    for output in ("one", "two"):
        responses = client.run("act", steps(["output", output]), id="nightly")
        assert [x.status for x in responses] == ["RUNNING", "SUCCESS"]
        assert responses[-1].output == output.encode()
        client.by_id.clear()
    assert "request.duplicate" not in r.log


def test_request_that_another_runner_gave_back(runner, client, tmp_path):
    """It came back to its queue, and its id is that of a task which ended here: it is not that one."""
    slot, gates = [{"name": client.names.queue, "slots": 1}], [tmp_path / "a", tmp_path / "b"]
    stays = runner(queues=slot)
    assert client.run("act", steps(["output", "one"]), id="nightly")[-1].output == b"one"
    client.by_id.clear()
    busy = client.submit("act", steps(["wait_for", str(gates[0])]))
    assert client.wait_running(busy).headers["x-tr-runner"] == stays.name
    goes = runner(queues=slot, limits={"shutdown": "0s"})
    client.submit("act", steps(["progress", "up"], ["wait_for", str(gates[1])], ["output", "two"]),
                  id="nightly")
    assert client.wait_progress("nightly").headers["x-tr-runner"] == goes.name
    goes.signal(signal.SIGTERM)
    assert goes.wait_end() == 0
    for gate in gates:
        gate.touch()
    final = client.final("nightly")
    assert (final.output, final.headers["x-tr-runner"]) == (b"two", stays.name)
    assert client.final(busy).status == "SUCCESS"


def test_acknowledgement_that_was_lost(runner, client, proxy, tmp_path):
    """The request comes again although its final response is out: it is not run a second time."""
    gate, book = tmp_path / "gate", tmp_path / "book"
    r = runner(broker={"addresses": proxy.address})
    id = client.submit("act", steps(["append", str(book), "ran"], ["progress", "up"],
                                    ["wait_for", str(gate)], ["output", "x"]))
    client.wait_progress(id)
    proxy.swallows = True
    gate.touch()
    assert client.final(id).output == b"x"
    wait_until(proxy.ack_is_lost.is_set, "the acknowledgement")
    proxy.cut()
    r.wait_log("request.duplicate", id, "answered before")
    assert client.run("act", steps(["output", "next"]))[-1].output == b"next"
    assert book.read_text() == "ran\n"
    client.by_id[id].clear()
    # From here on the id is free again.
    assert client.run("act", steps(["output", "y"]), id=id)[-1].output == b"y"


# As PID 1

def as_pid_1(command=()):
    return ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child",
            "--mount-proc", *command]


def pid_1(r):
    (child,) = wait_until(lambda: processes.children(r.pid), "the runner in its namespace")
    return child


def test_reaps_as_pid_1(runner, client):
    """Strangers' orphans come to PID 1; none stays a zombie, and tasks are told from them."""
    r = runner(wrapper=as_pid_1(), programs={"orphans": program(
        "/bin/sh", "-c", "i=0; while [ $i -lt 30 ]; do setsid -f sleep 0.02; i=$((i+1)); done; sleep 0.2")})
    inner = pid_1(r)
    for _ in range(3):
        assert client.run("orphans")[-1].status == "SUCCESS"
    assert client.run("act", steps(["exit", 5]))[-1].headers["x-tr-exit-code"] == 5
    wait_until(lambda: not processes.zombies_of(inner), "no zombies")
    os.kill(inner, signal.SIGTERM)
    assert r.wait_end() == 0


def test_signals_as_pid_1(runner, client):
    """PID 1 has no default actions: SIGTERM and SIGINT must be handled, and SIGHUP not end it."""
    r = runner(wrapper=as_pid_1())
    inner = pid_1(r)
    os.kill(inner, signal.SIGHUP)
    assert client.run("act", steps(["output", "x"]))[-1].output == b"x"
    os.kill(inner, signal.SIGINT)
    assert r.wait_end() == 0


# Topology

def test_queue_that_differs_is_named(runner, client, names):
    """An argument that differs from what exists: the log names queue and argument."""
    queue = names.queue + "-other"
    client.channel.queue_declare(queue, durable=False)
    r = runner(ready=False, queues=[{"name": queue, "slots": 1, "durable": True}])
    line = r.wait_log(queue, "durable")
    assert PASSWORD not in line
    r.signal(signal.SIGTERM)
    r.wait_end()
    r.ended = 0
    client.channel.queue_delete(queue)


def test_queue_of_others_is_only_used(runner, client, names):
    """declare: false on a queue with arguments that we would never give."""
    queue = names.queue + "-theirs"
    client.channel.queue_declare(queue, durable=True, arguments={"x-max-length": 7})
    runner(queues=[{"name": queue, "slots": 1, "declare": False}])
    id = client.submit("act", steps(["output", "x"]), queue=queue)
    assert client.final(id).output == b"x"
    client.channel.queue_delete(queue)


def test_queue_of_others_that_is_missing_is_waited_for(runner, client, names):
    queue = names.queue + "-late"
    r = runner(ready=False, queues=[{"name": queue, "slots": 1, "declare": False}])
    r.wait_log(queue)
    client.channel.queue_declare(queue, durable=True)
    r.wait_ready()
    id = client.submit("act", steps(["output", "x"]), queue=queue)
    assert client.final(id).output == b"x"
    r.signal(signal.SIGTERM)
    r.wait_end()
    client.channel.queue_delete(queue)


def test_kinds_of_queues(runner, client, names):
    """Classic with priorities, and quorum."""
    classic, quorum = names.queue + "-classic", names.queue + "-quorum"
    runner(queues=[{"name": classic, "slots": 1, "type": "classic", "max_priority": 5},
                   {"name": quorum, "slots": 2, "type": "quorum"}])
    for queue in (classic, quorum):
        id = client.submit("act", steps(["output", "x"]), queue=queue)
        assert client.final(id).output == b"x"
        client.channel.queue_delete(queue)


def test_two_runners_share_a_queue(runner, client):
    runners = [runner(log={"level": "info"}), runner(log={"level": "info"})]
    ids = [client.submit("act", steps(["sleep", 0.05])) for _ in range(40)]
    by = {client.final(id).headers["x-tr-runner"] for id in ids}
    assert by == {r.name for r in runners}


def test_listening_sockets_are_none(runner, client):
    """The broker is the only way in."""
    r = runner()
    inodes = {p[8:-1] for p in processes.list_fds(r.pid).values() if p.startswith("socket:")}
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in processes.read(r.pid, "net/" + table).decode().splitlines()[1:]:
            fields = line.split()
            assert not (fields[9] in inodes and fields[3] == "0A"), line
