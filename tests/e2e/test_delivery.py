# SPDX-License-Identifier: Apache-2.0
"""Requests are parked, come home, are handed back; what is cut off is killed before another starts."""

import json
import os
import re
import signal
import uuid

import pika
import pytest

from support import processes
from support.client import Client
from support.proxy import Proxy
from support.runner import GUARDIAN, base_config, steps
from support.waiting import wait_until

# Short times, so that the tests are, but with room for a busy machine. A heartbeat of 4 s makes:
# fence 6 s, others wait 8 s. Where a broker has to come up meanwhile that is too short.
PARK = {"park_after": "1s", "lease": "6s"}


@pytest.fixture
def fleet(broker, names, tmp_path, clients, start_runner):
    """fleet(n, broker=…, queue={…}, …): n runners on one queue, and their client."""
    def start(n, on=broker, queue=None, heartbeat="4s", **sections):
        clients.append(Client(on, names))
        client = clients[-1]
        client.may_repeat = True
        runners = []
        for _ in range(n):
            config = base_config(on, names, tmp_path / "run")
            config["broker"]["heartbeat"] = heartbeat
            config["queues"][0].update(queue or {})
            config["delivery"] = {**PARK, **sections.pop("delivery", {})}
            config.update(sections)
            runners.append(start_runner(on, client, config, name=config["name"]))
        return (client, *runners)
    return start


def started(runners, id):
    """How often the program was started for the task."""
    return sum("task.started task=%s " % id in line for r in runners for line in r.log.splitlines())


def holder(runners, id):
    """The runner on which it runs."""
    (r,) = [r for r in runners if r.processes([id])
            and "task.started task=%s " % id in r.log and r.process.poll() is None]
    return r


def hold_queues(broker, r=None):
    """Those of one runner, or all."""
    instance = re.search("instance=([0-9a-f]{16})", r.log).group(1) if r else ""
    rows = json.loads(broker.ctl("list_queues", "name", "messages", "--formatter", "json"))
    return {row["name"]: row["messages"] for row in rows
            if row["name"].startswith("taskrunner.hold." + instance)}


def unacknowledged(broker, queue):
    rows = json.loads(broker.ctl(
        "list_queues", "name", "messages_unacknowledged", "--formatter", "json"))
    return {row["name"]: row["messages_unacknowledged"] for row in rows}[queue]


@pytest.fixture
def gate(tmp_path):
    return tmp_path / "gate"


def submit_gated(client, gate, **more):
    id = client.submit("act", steps(["progress", "up"], ["wait_for", str(gate)], ["output", "x"]),
                       **more)
    client.wait_progress(id)
    return id


def only_final(client, id):
    final = client.final(id)
    assert [x.is_final for x in client.by_id[id]].count(True) == 1
    return final


@pytest.mark.parametrize("type", ["classic", "quorum"])
def test_parked_and_renewed(fleet, broker, names, gate, type):
    """The request leaves its queue, its copy is renewed, and nothing is left at the end."""
    client, r = fleet(1, delivery={"hold_type": type})
    id = submit_gated(client, gate)
    r.wait_log("request.parked", id)
    client.wait(lambda: unacknowledged(broker, names.queue) == 0, "the original is acknowledged")
    r.wait_log("request.renewed", id, count=3)
    gate.touch()
    assert only_final(client, id).output == b"x"
    client.wait(lambda: set(hold_queues(broker, r).values()) <= {0}, "the hold queue is empty")
    assert started([r], id) == 1
    # And its slot is free again.
    for _ in range(8):
        client.run("act", steps())


def test_parked_tasks_take_their_slots(fleet, names, gate):
    """Nothing more is taken than there are slots, though parked requests are acknowledged."""
    client, r = fleet(1, queue={"slots": 2})
    running = [submit_gated(client, gate) for _ in range(2)]
    for id in running:
        r.wait_log("request.parked", id)
    waiting = [client.submit("act", steps(["output", "y"])) for _ in range(3)]
    r.wait_log("request.renewed", count=2)
    assert client.count(names.queue) == 3
    gate.touch()
    for id in running + waiting:
        only_final(client, id)


def test_hold_as_the_simple_way(fleet, broker, gate):
    client, r = fleet(1, delivery={"ack": "hold"})
    id = submit_gated(client, gate)
    assert hold_queues(broker, r) == {}
    gate.touch()
    assert only_final(client, id).output == b"x"


def test_killed_runner_is_taken_over(fleet, gate):
    client, *runners = fleet(2)
    id = submit_gated(client, gate)
    victim = holder(runners, id)
    victim.kill()
    gate.touch()
    final = client.final(id)
    assert (final.output, final.headers["x-tr-attempt"]) == (b"x", 2)


def test_lease_of_a_killed_runner_runs_out(fleet, broker, gate):
    client, *runners = fleet(2)
    id = submit_gated(client, gate)
    victim = holder(runners, id)
    victim.wait_log("request.parked", id)
    client.wait(lambda: 1 in hold_queues(broker, victim).values(), "the copy is there")
    victim.kill()
    gate.touch()
    final = client.final(id)
    assert (final.output, final.headers["x-tr-attempt"]) == (b"x", 2)


@pytest.mark.parametrize("parked", [False, True], ids=["unparked", "parked"])
def test_runs_on_over_lost_connections(fleet, own_broker, gate, parked):
    """Whoever gets the request, the program that runs is left alone, and is not started again."""
    client, *runners = fleet(3, on=own_broker, heartbeat="20s",
                             delivery={"park_after": "1s" if parked else "60s", "lease": "30s"})
    ids = [submit_gated(client, gate) for _ in range(6)]
    for id in ids if parked else []:
        wait_until(lambda: any("request.parked task=" + id in r.log for r in runners), "parked")
    own_broker.ctl("close_all_connections", "for the test")
    client.reconnect()
    for id in ids:
        wait_until(lambda: any("request.adopted task=" + id in r.log for r in runners),
                   lambda: "%s comes home" % id)
    gate.touch()
    for id in ids:
        only_final(client, id)
        assert started(runners, id) == 1
    assert "task.fenced" not in "".join(r.log for r in runners)


def test_parked_over_a_broker_restart(fleet, own_broker, gate):
    client, *runners = fleet(2, on=own_broker, heartbeat="20s", delivery={"lease": "120s"})
    ids = [submit_gated(client, gate) for _ in range(4)]
    for id in ids:
        wait_until(lambda: any("request.parked task=" + id in r.log for r in runners), "parked")
    own_broker.kill()
    own_broker.start()
    client.reconnect()
    for id in ids:
        wait_until(lambda: any("request.adopted task=" + id in r.log for r in runners),
                   lambda: "%s comes home" % id)
    gate.touch()
    for id in ids:
        only_final(client, id)
        assert started(runners, id) == 1


def test_hold_queue_that_hangs(fleet, own_broker, gate):
    """A quorum queue whose node is killed right after it was declared may never answer again
    (RabbitMQ 3.10). Then another is made, and nothing else suffers."""
    client, r = fleet(1, on=own_broker)
    own_broker.kill()
    own_broker.start()
    client.reconnect()
    id = submit_gated(client, gate)
    r.wait_log("request.parked", id)
    gate.touch()
    assert only_final(client, id).output == b"x"
    assert started([r], id) == 1


def test_cut_off_is_killed(fleet, own_broker, gate, tmp_path):
    """The broker says nothing more: an unparked task is dead before another could start it."""
    client, r = fleet(1, on=own_broker, delivery={"park_after": "60s"})
    id = submit_gated(client, gate)
    pids = r.processes([id])
    with own_broker.stopped():
        r.wait_log("task.fenced", id)
        wait_until(lambda: not any(processes.is_alive(p) for p in pids), "it is killed")
    gate.touch()
    client.reconnect()
    assert client.final(id).output == b"x"


def test_drain_hands_on_at_once(fleet, gate):
    """What a runner that ends gives back is started elsewhere without a question."""
    client, *runners = fleet(2, limits={"shutdown": "1s", "grace": "1s"})
    id = submit_gated(client, gate)
    victim = holder(runners, id)
    (other,) = [r for r in runners if r is not victim]
    victim.signal(signal.SIGTERM)
    victim.wait_end()
    other.wait_log("task.started", id)
    assert "request.suspect" not in other.log
    gate.touch()
    final = client.final(id)
    assert (final.output, final.headers["x-tr-attempt"]) == (b"x", 2)


def test_next_life_takes_up_at_once_what_was_given_back(fleet, broker, gate, start_runner):
    """Nobody else is there to hear that the request is free: the journal tells it."""
    # A heartbeat so long that a test which had to wait for two would fail.
    client, first = fleet(1, heartbeat="60s", limits={"shutdown": "1s", "grace": "1s"},
                          log={"level": "debug"})
    ids = [submit_gated(client, gate) for _ in range(2)]
    first.signal(signal.SIGTERM)
    first.wait_end()
    assert all("request.given-back task=%s" % id in first.log for id in ids)
    assert os.path.exists(first.journal)
    config = json.loads(first.config_file.read_text())
    second = start_runner(broker, client, config, name=config["name"] + "-again")
    for id in ids:
        second.wait_log("request.free", id)
        second.wait_log("task.started", id)
    assert "request.suspect" not in second.log and "runner.found-dead" not in second.log
    assert not os.path.exists(first.journal)
    gate.touch()
    for id in ids:
        final = only_final(client, id)
        assert (final.output, final.headers["x-tr-attempt"]) == (b"x", 2)


def test_crash_limit(fleet, names, start_runner, tmp_path, broker, gate):
    """A request whose runs take their runners with them ends with an answer."""
    client, r = fleet(1, delivery={"crash_limit": 2})
    id = submit_gated(client, gate)
    for attempt in (2, 3):
        r.kill()
        config = json.loads(r.config_file.read_text())
        config["name"] = names.instance()
        r = start_runner(broker, client, config, name=config["name"])
        if attempt == 2:
            r.wait_log("task.started", id)
    final = client.final(id)
    assert (final.status, final.cause) == ("FAILED", "crash-limit")
    assert b"2 runs" in final.output
    _, properties, body = client.dead_letter()
    assert json.loads(body)["id"] == id
    assert properties.headers["x-tr-reason"].startswith("2 runs")


def test_no_permission_for_hold_queues(fleet, broker, names, gate):
    """Then long tasks are held as they are, and the log says so once."""
    broker.ctl("set_permissions", "e2e", r"^(?!taskrunner\.hold\.)", ".*", ".*")
    try:
        client, r = fleet(1)
        r.wait_log("lease.not-permitted")
        id = submit_gated(client, gate)
        gate.touch()
        assert only_final(client, id).output == b"x"
    finally:
        broker.ctl("set_permissions", "e2e", ".*", ".*", ".*")


def test_forged_answers_send_requests_nowhere(fleet, names, gate):
    """Who may speak on the control exchange can say what he likes; only hold queues are written to."""
    client, r = fleet(1)
    for body in ({"op": "holder", "id": "x", "instance": "0", "state": "mine", "queue": "loot"},
                 {"op": "holder", "id": "x", "instance": "0"}, {"op": "who-has", "id": "x"},
                 {"op": "who-has", "id": "../x", "instance": "0"}):
        client.control(json.dumps(body).encode())
    client.run("act", steps())


# What comes once more

def copy_of(client, id, body, instance="00ff", **more):
    """A copy of a request, as another runner made it that died."""
    headers = {"x-tr-task": id, "x-tr-holder": instance, "x-tr-lease": 1, "x-tr-attempt": 1,
               **{"x-tr-" + name: value for name, value in more.items()}}
    client.send(body, id=id, content_type="application/json", properties={"headers": headers})


def settled(client, broker):
    client.wait(lambda: unacknowledged(broker, client.names.queue) == 0, "nothing is left to be said")


def request_body(client, id, *what):
    return client.encode({"id": id, "script": "act", "input": steps(*what),
                          "routingKey": client.names.key}, "json")


def test_copy_of_what_was_answered(fleet, broker):
    """Whoever gets it, the answer is the same message again, and nothing is run."""
    client, *runners = fleet(2)
    id = str(uuid.uuid4())
    body = request_body(client, id, ["output", "x"])
    client.send(body, id=id, content_type="application/json")
    first = client.final(id)
    settled(client, broker)
    (author,) = [r for r in runners if started([r], id)]
    (other,) = [r for r in runners if r is not author]
    copies = 0
    while not ("request.answered-again task=%s" % id in author.log
               and "request.found task=%s" % id in other.log):
        assert copies < 20
        copies += 1
        copy_of(client, id, body)
        client.wait(lambda: author.log.count("request.answered-again task=%s" % id) + other.log.count(
            "request.found task=%s" % id) == copies, "the copy is dealt with")
        settled(client, broker)
    assert "state=done" in other.log
    client.pump(0.5)
    assert [r.properties.message_id for r in client.by_id[id] if r.is_final] == \
        [first.properties.message_id]
    assert started(runners, id) == 1


def test_copy_of_another_request_of_the_id(fleet):
    """It was not answered yet, so it is."""
    client, r = fleet(1)
    id = str(uuid.uuid4())
    client.send(request_body(client, id, ["output", "first"]), id=id,
                content_type="application/json")
    assert client.final(id).output == b"first"
    client.by_id.pop(id)
    copy_of(client, id, request_body(client, id, ["output", "second"]))
    final = client.final(id)
    assert (final.output, final.headers["x-tr-attempt"]) == (b"second", 2)


def test_copies_with_forged_headers(fleet):
    """A requester may write what he likes: he gets his answer."""
    client, r = fleet(1)
    ids = []
    for headers in ({"x-tr-holder": ""}, {"x-tr-holder": 5}, {"x-tr-holder": "x", "x-tr-print": "y"},
                    {"x-tr-holder": "x", "x-tr-print": -1, "x-tr-clean": 1},
                    {"x-tr-holder": "x" * 3000, "x-tr-attempt": -7, "x-tr-crashes": -1},
                    {"x-tr-clean": 1}, {"x-tr-print": 1 << 62, "x-tr-lease": 1 << 40}):
        ids.append(str(uuid.uuid4()))
        client.send(request_body(client, ids[-1], ["output", "x"]), id=ids[-1],
                    content_type="application/json", properties={"headers": headers})
    assert {client.final(id).output for id in ids} == {b"x"}


# What runners say to each other

@pytest.fixture
def words(names):
    """words(client): what passes over the control exchange from now on, as a growing list."""
    def listen(client):
        said = []
        queue = client.private_queue()
        client.channel.queue_bind(queue, names.control)
        client.channel.basic_consume(
            queue, lambda c, m, p, body: said.append(
                {k.removeprefix("x-tr-"): v for k, v in (p.headers or {"op": None}).items()}),
            auto_ack=True)
        return said
    return listen


def test_who_was_cut_off_says_what_it_runs(fleet, own_broker, gate, words):
    client, r = fleet(1, on=own_broker, heartbeat="20s")
    id = submit_gated(client, gate)
    said = words(client)
    own_broker.close_all_but_pika()
    client.wait(lambda: [w for w in said if w["op"] == "back" and w["id"] == id], "the word")
    r.wait_log("request.adopted", id)
    gate.touch()
    assert only_final(client, id).output == b"x"
    assert started([r], id) == 1


def test_suspect_waits_anew_when_somebody_comes_back(fleet, heir, gate, words):
    client, r = fleet(1)
    id = submit_gated(client, gate)
    said = words(client)
    second = heir(r, client)
    second.wait_log("request.suspect", id)
    for questions in (1, 2, 3):
        client.wait(lambda: [w["op"] for w in said].count("who-has") == questions, "a question")
        if questions < 3:
            client.control({"op": "back", "id": id, "instance": "0"})
    gate.touch()
    assert client.final(id).output == b"x"
    # Each is asked once more after half of the wait, if that is reached.
    assert [w["op"] for w in said].count("who-has") in (3, 4)


# What a dead runner left on the machine

@pytest.fixture
def heir(names, broker, start_runner):
    """heir(victim, client): kills the runner with its guardian, starts another in its place."""
    def start(victim, client, **environment):
        guardians = [p for p in processes.children(victim.pid)
                     if processes.read(p, "comm") == GUARDIAN]
        for pid in guardians:
            os.kill(pid, signal.SIGKILL)
        if victim.process.poll() is None:
            victim.kill()
        config = json.loads(victim.config_file.read_text())
        config["name"] = names.instance()
        return start_runner(broker, client, config, name=config["name"])
    return start


def test_next_runner_fetches_what_was_parked(fleet, heir, gate):
    """The lease is an hour long, and nobody waits for that."""
    client, r = fleet(1, delivery={"lease": "1h"})
    id = submit_gated(client, gate)
    r.wait_log("request.parked", id)
    pids = r.processes([id])
    second = heir(r, client)
    second.wait_log("runner.found-dead")
    wait_until(lambda: not any(processes.is_alive(p) for p in pids), "the old run is dead")
    second.wait_log("task.started", id)
    gate.touch()
    assert client.final(id).headers["x-tr-attempt"] == 2


def test_next_runner_knows_what_was_answered(fleet, heir, names, broker, gate, start_runner):
    """Killed between the broker's word for the final response and the acknowledgement."""
    client, r = fleet(1)
    config = json.loads(r.config_file.read_text())
    r.signal(signal.SIGTERM)
    r.wait_end()
    config["name"] = names.instance()
    r = start_runner(broker, client, config, name=config["name"],
                     environment={"TASKRUNNER_CRASH_AT": "S8b"})
    id = client.submit("act", steps(["output", "x"]))
    client.final(id)
    r.told_to_end = True
    r.wait_end()
    second = heir(r, client)
    second.wait_log("request.duplicate", id)
    client.wait(lambda: client.count(names.queue) == 0, "the request is gone")
    client.run("act", steps())
    assert [x.is_final for x in client.by_id[id]].count(True) == 1


def test_stopped_runner_is_killed(fleet, gate):
    """Its tasks would go on while nobody can say whose they are."""
    client, r = fleet(1)
    id = submit_gated(client, gate)
    pids = r.processes([id])
    r.signal(signal.SIGSTOP)
    r.told_to_end = True
    assert r.wait_end() == -signal.SIGKILL
    wait_until(lambda: not any(processes.is_alive(p) for p in pids), "its tasks are killed")
    client.channel.queue_purge(client.names.queue)


# The same id more than once

@pytest.fixture
def other_runner(names):
    """other_runner(client): plays a runner that is asked who has a request, and says "leased" as
    long as .has is true, or when it is told to; .asked counts."""
    class Other:
        def __init__(self, client):
            self.has, self.asked = True, 0
            queue = client.private_queue()
            client.channel.queue_bind(queue, names.control)
            client.channel.basic_consume(queue, self.on_word, auto_ack=True)

        def on_word(self, channel, method, properties, body):
            said = properties.headers or {}
            if said.get("x-tr-op") != "who-has":
                return
            self.asked += 1
            answer = {"op": "holder", "id": said["x-tr-id"], "instance": "00ff",
                      "state": "leased", "question": said["x-tr-question"]}
            self.answer = lambda: channel.basic_publish(
                "", properties.reply_to, json.dumps(answer).encode(),
                pika.BasicProperties(content_type="application/json"))
            if self.has:
                self.answer()
    return Other


def test_copy_that_was_dropped_is_not_taken_for_a_later_one(fleet, broker, names, other_runner):
    """The runner learns that another has the request while its own copy is under way: that one is
    dropped when it comes. Later the same request is here alone, and its copy comes home."""
    client, r = fleet(1, delivery={"park_after": "60s", "lease": "60s"})
    other = other_runner(client)
    id = str(uuid.uuid4())
    body = request_body(client, id, ["output", "x"])
    # It takes some luck, or several tries, that the copy is still under way.
    for times in range(1, 9):
        if "somebody else has it" in r.log:
            break
        copy_of(client, id, body)
        client.wait(lambda: r.log.count("request.found task=%s" % id) == times, "it is dropped")
        settled(client, broker)
        client.wait(lambda: set(hold_queues(broker, r).values()) <= {0}, "no copy is under way")
    other.has = False
    parked = r.log.count("request.parked task=%s" % id)
    copy_of(client, id, body)
    client.wait(lambda: r.log.count("request.parked task=%s" % id) > parked, "it is parked")
    client.ask("drain", all=True)
    client.wait(lambda: client.count(names.queue) == 1, "it is given back")
    client.ask("undrain", all=True)
    assert only_final(client, id).output == b"x"


def test_copy_that_is_here_before_its_confirm_is_dropped(broker, proxy, names, tmp_path, clients,
                                                         start_runner, other_runner):
    """Another has the request: then the copy is not to hang in the hold queue, unacknowledged."""
    clients.append(Client(broker, names))
    client = clients[0]
    config = base_config(broker, names, tmp_path / "run")
    config["broker"].update(addresses=proxy.address, heartbeat="60s")
    r = start_runner(broker, client, config)
    other, id = other_runner(client), str(uuid.uuid4())
    other.has = False
    assert client.run("act", steps())[-1].status == "SUCCESS"
    proxy.lets_confirms_through.clear()
    copy_of(client, id, request_body(client, id, ["output", "x"]))
    client.wait(lambda: other.asked and set(hold_queues(broker, r).values()) == {1}, "a copy")
    other.answer()
    client.wait(lambda: "request.found task=%s" % id in r.log, "another has it")
    client.wait(lambda: set(hold_queues(broker, r).values()) == {0}, "it is dropped")
    proxy.lets_confirms_through.set()
    assert client.run("act", steps(["output", "y"]))[-1].output == b"y"
    assert not client.by_id[id]


def test_free_is_said_of_one_giving_back(fleet):
    """A runner may give the same request back twice, and say only once that it is free: of the
    other copy that says nothing."""
    # A heartbeat so long that a test which had to wait for two would fail.
    client, r = fleet(1, heartbeat="60s", log={"level": "debug"})
    id = str(uuid.uuid4())
    body = request_body(client, id, ["output", "x"])
    free = {"op": "free", "id": id, "instance": "00ff"}
    for word in ({**free, "question": "7"}, free):  # one that nobody took here, and an old one
        client.control(word)
    client.heard()
    copy_of(client, id, body, clean=8)
    r.wait_log("request.given-back-here", id)
    client.control(free)
    client.control({**free, "question": "7"})
    client.heard()
    assert started([r], id) == 0
    client.control({**free, "question": "8"})
    assert only_final(client, id).output == b"x"
    client.by_id.pop(id)
    # And where the word comes first.
    client.control({**free, "question": "9"})
    client.heard()
    copy_of(client, id, request_body(client, id, ["output", "y"]), clean=9)
    assert only_final(client, id).output == b"y"


def test_fenced_by_what_it_owes_goes_back(fleet, own_broker, names, gate):
    """The word that the task is here cannot be said, on a connection that lives: the run is killed,
    and its request must not hang with this runner."""
    client, r = fleet(1, on=own_broker, delivery={"ack": "hold"})
    id = submit_gated(client, gate)
    may_not = "^(?!%s$).*" % names.control
    own_broker.ctl("set_permissions", "-p", "/", "e2e", ".*", may_not, ".*")
    try:
        own_broker.ctl("close_all_connections", "for the test")
        r.wait_log("task.fenced", id)
        # It comes once more, and is asked about when that can be.
        r.wait_log("request.suspect", id)
    finally:
        own_broker.ctl("set_permissions", "-p", "/", "e2e", ".*", ".*", ".*")
    gate.touch()
    client.reconnect()
    final = client.final(id)
    assert (final.output, final.headers["x-tr-attempt"]) == (b"x", 2)


def test_another_request_of_an_id_that_runs_elsewhere(fleet, gate):
    """Who is asked about it has a task of that id, but not this request."""
    client, *runners = fleet(2, queue={"slots": 1})
    id = submit_gated(client, gate)
    (other,) = [r for r in runners if r is not holder(runners, id)]
    copy_of(client, id, request_body(client, id, ["output", "second"]))
    other.wait_log("task.started", id)
    gate.touch()
    client.wait(lambda: sum(x.is_final for x in client.by_id[id]) == 2, "both are answered")
    responses = client.by_id.pop(id)
    assert {x.output for x in responses if x.is_final} == {b"x", b"second"}


# What cannot be given back

@pytest.mark.parametrize("parked", [False, True], ids=["unparked", "parked"])
def test_too_large_to_be_given_back(fleet, own_broker, names, gate, parked):
    """The broker takes less than when the request was sent: it goes back without a copy."""
    client, r = fleet(1, on=own_broker, limits={"shutdown": "1s", "grace": "1s"},
                      delivery={"park_after": "1s" if parked else "60s", "lease": "60s"})
    id = str(uuid.uuid4())
    body = request_body(client, id, ["progress", "up"], ["wait_for", str(gate)],
                        ["output", "x" * 20000])
    client.send(body, id=id, content_type="application/json")
    client.wait_progress(id)
    if parked:
        r.wait_log("request.parked", id)
    own_broker.ctl("eval", "application:set_env(rabbit, max_message_size, 10000).")
    try:
        own_broker.ctl("close_all_connections", "for the test")
        client.reconnect()
        r.wait_log("request.adopted", id)
        r.signal(signal.SIGTERM)
        r.wait_end()
        client.wait(lambda: client.count(names.queue) == 1, "it is in its queue")
    finally:
        own_broker.ctl("eval", "application:set_env(rabbit, max_message_size, 134217728).")
        client.channel.queue_purge(names.queue)


@pytest.mark.parametrize("kept", [True, False], ids=["dead-lettered", "nowhere"])
def test_queue_is_gone_when_it_is_given_back(fleet, broker, names, kept):
    """Kept for people, it was not answered: should it come again it is run. Else it stays here
    until there is a queue."""
    more = {} if kept else {"dead_letter_queue": ""}
    client, r = fleet(1, **more)
    id = str(uuid.uuid4())
    body = client.encode({"id": id, "script": "act", "input": steps(["output", "x"]), "hold": True,
                          "routingKey": names.key}, "json")
    client.send(body, id=id, content_type="application/json")
    r.wait_log("request.parked", id)
    client.ask("set-slots", all=True, slots=0)
    client.heard()
    client.channel.queue_delete(names.queue)
    client.ask("drain", all=True)
    r.wait_log("request.not-given-back", id)
    client.declare()
    if kept:
        assert client.dead_letter()[2] == body
        settled(client, broker)
        copy_of(client, id, body, instance=r.instance, hold=1)
    client.wait(lambda: client.count(names.queue) == 1, "it is in its queue")
    client.ask("set-slots", all=True, slots=4)
    client.ask("undrain", all=True)
    r.wait_log("task.held", id, count=2)
    client.ask("play", id=id)
    assert only_final(client, id).output == b"x"


def test_connection_that_is_lost_while_all_is_given_back(
        broker, names, clients, start_runner, tmp_path):
    """That the broker is gone shows with the second thing that is said to it, while all that waits
    is gone through. Memory that was freed is not what it was."""
    clients.append(Client(broker, names))
    client, proxy = clients[0], Proxy(broker.port)
    config = base_config(broker, names, tmp_path / "run")
    config["broker"].update(addresses=proxy.address, heartbeat="60s")
    config["delivery"] = {"ack": "hold"}
    try:
        r = start_runner(broker, client, config, name=config["name"],
                         environment={"MALLOC_PERTURB_": "165"})
        ids = [str(uuid.uuid4()) for _ in range(4)]
        for id in ids:
            copy_of(client, id, request_body(client, id))
            r.wait_log("request.suspect", id)
        proxy.ends_at_pong = True
        r.signal(signal.SIGTERM)
        assert r.wait_end() == 0
        client.wait(lambda: client.count(names.queue) == len(ids), "all go back")
        client.channel.queue_purge(names.queue)
    finally:
        proxy.close()


def test_two_that_ask_each_other_come_to_an_end(fleet, names):
    """Each hears the other's question before the answer to its own. Who asked anew at once would
    take no answer for one to its last question, for ever."""
    client, r = fleet(1)
    id, queue = str(uuid.uuid4()), client.private_queue()
    client.channel.queue_bind(queue, names.control)

    def on_word(channel, method, properties, body):
        said = properties.headers or {}
        if said.get("x-tr-op") != "who-has" or said["x-tr-instance"] == "0000":
            return
        channel.basic_publish(names.control, "", b"", pika.BasicProperties(
            reply_to=queue, headers={**said, "x-tr-instance": "0000", "x-tr-question": "1"}))
        channel.basic_publish("", properties.reply_to, json.dumps(
            {"op": "holder", "id": id, "instance": "0000", "state": "leased",
             "question": said["x-tr-question"]}).encode(),
            pika.BasicProperties(content_type="application/json"))

    client.channel.basic_consume(queue, on_word, auto_ack=True)
    copy_of(client, id, request_body(client, id, ["output", "x"]))
    client.wait(lambda: "request.found task=%s with=0000" % id in r.log, "the other has it")


def test_suspect_that_was_about_to_begin_does_not_count(broker, proxy, names, tmp_path, clients,
                                                        start_runner, other_runner):
    """The copy that says that it begins is under way when its runner ends: nothing has crashed."""
    clients.append(Client(broker, names))
    client, id = clients[0], str(uuid.uuid4())
    config = base_config(broker, names, tmp_path / "run")
    config["broker"].update(addresses=proxy.address, heartbeat="4s")
    r = start_runner(broker, client, config)
    other = other_runner(client)
    other.has = False
    assert client.run("act", steps())[-1].status == "SUCCESS"
    copy_of(client, id, request_body(client, id, ["output", "x"]), crashes=1)
    client.wait(lambda: other.asked == 2, "the last question")
    client.heard()  # its confirm is here
    proxy.lets_confirms_through.clear()
    client.wait(lambda: set(hold_queues(broker, r).values()) == {2}, "the copy of its beginning")
    r.signal(signal.SIGTERM)
    r.wait_log("runner.stopping")
    proxy.lets_confirms_through.set()
    assert r.wait_end() == 0
    assert "task.started task=%s" % id not in r.log
    assert client.get(names.queue)[1].headers["x-tr-crashes"] == 1


@pytest.mark.parametrize("held", [False, True], ids=["free", "held"])
def test_suspects_outlive_a_polite_end(fleet, broker, names, held):
    """They are parked and may run elsewhere: the hold queue ends with its runner, they do not."""
    client, r = fleet(1, heartbeat="20s")
    ids = [str(uuid.uuid4()) for _ in range(5)]
    for id in ids:
        copy_of(client, id, request_body(client, id, ["output", "x"]), **({"hold": 1} if held else {}))
    client.wait(lambda: r.log.count("request.parked") == 5, "they are parked")
    r.signal(signal.SIGTERM)
    assert r.wait_end() == 0
    client.wait(lambda: client.count(names.queue) == 5, "they are in their queue")
    assert hold_queues(broker, r) == {}
