# SPDX-License-Identifier: Apache-2.0
"""What tasks need of what a runner has little of, and which goes first of those that wait."""

import signal

import pytest

from support.paths import ACT
from support.runner import SOON, program, steps

HANG = steps(["progress", "started"], ["sleep", 200])
LABELS = {"gpu": 1, "matlab": 2}


@pytest.fixture(autouse=True)
def ending(start_runner, clients):
    """Nothing is left running at the end."""
    yield
    for client in clients:
        client.control({"op": "kill", "all": True})


@pytest.fixture
def queue(names):
    return [{"name": names.queue, "slots": 10}]


def status(client, id):
    answers = client.ask("status", id=id)
    assert len(answers) == 1, answers
    return answers[0]


def hang(client, script="act", **members):
    """A task that runs."""
    id = client.submit(script, HANG, **members)
    client.wait_progress(id)
    return id


def waiting(client, what, script="act", input=HANG, **members):
    """A task that waits for a label, or for a slot of its program."""
    id = client.submit(script, input, **members)
    client.wait(lambda: [a.get("waits_for") for a in client.ask("list") if a["id"] == id] == [what],
                "%s waits for %s" % (id, what))
    assert status(client, id)["state"] == "waiting"
    assert client.by_id[id] == []
    return id


def kill(client, id):
    client.ask("kill", id=id)
    assert client.final(id).status == "CANCELLED"


def starts(runner, ids):
    """These tasks in the order in which they were started."""
    lines = [l for l in runner.log.splitlines() if " task.started " in l]
    return [id for line in lines for id in ids if id in line]


# ---- labels ----

def test_labels_are_for_all_programs(runner, client, queue):
    runner(labels=LABELS, queues=queue, programs={
        "train": program(ACT, labels=["gpu"]), "solve": program(ACT, labels=["matlab"])})
    train = hang(client, "train")
    draw = waiting(client, "gpu", labels=["gpu"])
    both = waiting(client, "gpu", "solve", labels=["gpu"])  # keeps one matlab for itself
    solve = hang(client, "solve")
    fit = waiting(client, "matlab", labels=["matlab"])
    hang(client)
    assert "waits_for" not in status(client, train)
    kill(client, train)
    client.wait_progress(draw)
    assert status(client, both)["waits_for"] == "gpu"
    assert status(client, fit)["waits_for"] == "matlab"
    kill(client, draw)
    client.wait_progress(both)
    assert status(client, fit)["waits_for"] == "matlab"
    kill(client, solve)
    client.wait_progress(fit)
    waiting(client, "gpu", "train")


def test_label_of_program_and_request_counts_once(runner, client):
    runner(labels=LABELS, programs={"train": program(ACT, labels=["gpu", "gpu"])})
    hang(client, "train", labels=["gpu", "matlab", "matlab"])
    hang(client, labels=["matlab"])
    waiting(client, "matlab", labels=["matlab"])


def test_label_without_a_cap(runner, client):
    runner(labels=LABELS)
    for _ in range(3):
        hang(client, labels=["other"])


def test_slots_of_a_program(runner, client):
    runner(labels=LABELS, programs={"one": program(ACT, slots=1, labels=["matlab"])})
    first = hang(client, "one")
    second = waiting(client, "program", "one")
    kill(client, first)
    client.wait_progress(second)


def test_what_waits_takes_a_slot_of_its_queue(runner, client, names):
    runner(labels=LABELS, queues=[{"name": names.queue, "slots": 2}])
    first = hang(client, labels=["gpu"])
    second = waiting(client, "gpu", labels=["gpu"])
    third = client.submit("act", HANG)
    ping = client.ask("ping")[0]
    assert (ping["used"], ping["free"], ping["waiting"]) == (2, 0, 1)
    assert client.count(names.queue) == 1
    kill(client, first)
    client.wait_progress(second)
    client.wait_progress(third)


def test_labels_of_the_environment(runner, client):
    runner(labels={"gpu": 5}, environment={"TASKRUNNER_LABELS": "gpu:1"})
    hang(client, labels=["gpu"])
    waiting(client, "gpu", labels=["gpu"])


def test_reload_changes_no_label(runner, client, tmp_path, queue):
    r = runner(labels=LABELS, queues=queue)
    first = hang(client, labels=["gpu"])
    r.config_file.write_text(r.config_file.read_text().replace('"gpu": 1', '"gpu": 5').replace(
        '"programs": {', '"programs": {"train": {"argv": ["%s"], "labels": ["gpu"]},' % ACT))
    r.signal(signal.SIGHUP)
    r.wait_log("config.reloaded", "all else needs a restart")
    second = waiting(client, "gpu", "train")  # what a program needs belongs to the catalogue
    kill(client, first)
    client.wait_progress(second)


# ---- the end of what waits ----

@pytest.mark.parametrize("op", ["cancel", "kill"])
def test_end_of_what_waits(runner, client, op, queue):
    r = runner(labels={**LABELS, "disk": 1}, queues=queue)
    first = hang(client, labels=["gpu"])
    second = waiting(client, "gpu", labels=["gpu", "disk"])
    third = waiting(client, "disk", labels=["disk"])
    fourth = waiting(client, "gpu", labels=["gpu"])
    assert client.ask(op, id=second)[0]["result"] == "accepted"
    assert client.final(second).status == "CANCELLED"
    assert client.statuses(second) == ["CANCELLED"]
    client.wait_progress(third)  # had its disk kept from it
    assert status(client, fourth)["waits_for"] == "gpu"
    kill(client, first)
    client.wait_progress(fourth)
    assert second not in starts(r, [second])


def test_what_waits_goes_back_at_the_end(runner, client, names, queue):
    r = runner(labels=LABELS, queues=queue, broker=SOON)
    first = hang(client, labels=["gpu"])
    second = waiting(client, "gpu", input=steps(), labels=["gpu"])
    r.signal(signal.SIGTERM)
    client.wait(lambda: client.count(names.queue) == 1, "the one that waited is back")
    client.cancel(first)
    r.wait_end()
    assert client.final(first).status == "CANCELLED"
    runner(labels=LABELS, broker=SOON)
    assert client.final(second).status == "SUCCESS"


# ---- who goes first ----

# In the order of sending: priority (None: not given), depth, and which it becomes.
RANKED = [(None, 0, 6), (3, 0, 3), (0, 2, 5), (3, 1, 2), (9, 0, 0), (None, 100, 4), (9, 0, 1),
          (0, 0, 7)]


def submit_ranked(client, **more):
    """Tasks of RANKED, and the same in the order in which they should start."""
    ids = {}
    for priority, depth, place in RANKED:
        properties = {} if priority is None else {"priority": priority}
        ids[place] = client.submit("act", steps(), depth=depth, properties=properties, **more)
    return list(ids.values()), [ids[place] for place in range(len(ids))]


def test_order_of_what_waits_for_a_label(runner, client, queue):
    r = runner(labels=LABELS, queues=queue)
    first = hang(client, labels=["gpu"])
    ids, expected = submit_ranked(client, labels=["gpu"])
    client.wait(lambda: sum(a.get("waits_for") == "gpu" for a in client.ask("list")) == len(ids),
                "all wait")
    kill(client, first)
    for id in ids:
        assert client.final(id).status == "SUCCESS"
    assert starts(r, ids) == expected


def test_order_of_a_queue_with_priorities(runner, client, names):
    """One slot: the broker chooses, by priority alone."""
    name = names.queue + "-classic"
    r = runner(queues=[{"name": name, "slots": 1, "type": "classic", "max_priority": 9}])
    first = hang(client, queue=name)
    ids = [client.submit("act", steps(), queue=name, properties={"priority": priority})
           for priority in (0, 5, 9, 5, 1, 9)]
    assert client.count(name) == len(ids)
    kill(client, first)
    for id in ids:
        assert client.final(id).status == "SUCCESS"
    assert starts(r, ids) == [ids[i] for i in (2, 5, 1, 3, 4, 0)]
    client.channel.queue_delete(name)
