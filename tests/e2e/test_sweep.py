# SPDX-License-Identifier: Apache-2.0
"""Cancels of a group, program, user or project that reach what is still in a queue."""

import time

import pytest

from support.runner import steps
from support.waiting import wait_until

# What a killed runner had taken is started when two heartbeats have passed.
SOON = {"heartbeat": "2s"}
SWEEP = {"group": "g", "queued": 3600}


def sent(seconds_from_now=0):
    return {"timestamp": int(time.time() + seconds_from_now)}


def full(runner, client, names):
    """A runner of one slot, and the task that has it."""
    r = runner(queues=[{"name": names.queue, "slots": 1}])
    id = client.submit("act", steps(["progress", "started"], ["sleep", 200]))
    client.wait_running(id)
    return r, id


def cancel(client, id):
    client.cancel(id)
    assert client.final(id).status == "CANCELLED"


def statuses(client, ids):
    return [client.final(id).status for id in ids]


def test_queued_requests_of_a_group(runner, client, names):
    _, first = full(runner, client, names)
    ids = [client.submit("act", steps(), group="g") for _ in range(20)]
    others = [client.submit("act", steps(), group="h"), client.submit("act", steps())]
    here = len(client.ask("cancel", **SWEEP))
    assert here < len(ids)
    cancel(client, first)
    assert statuses(client, ids) == ["CANCELLED"] * 20
    assert statuses(client, others) == ["SUCCESS"] * 2
    for id in ids:
        assert client.statuses(id) == ["CANCELLED"]


@pytest.mark.parametrize("selector,member", [
    ({"user": "u"}, {"userId": "u"}), ({"project": "p"}, {"projectId": "p"}),
    ({"program": "later"}, {"script": "later"}), ({"all": True}, {})],
    ids=["user", "project", "program", "all"])
def test_other_selectors(runner, client, selector, member):
    r = runner()
    other = client.submit("act", steps(["progress", "started"], ["sleep", 200]))
    client.wait_running(other)
    client.ask("kill", queued=60, **selector)
    ids = [client.submit(**{"script": "act", **member}) for _ in range(5)]
    assert statuses(client, ids) == ["CANCELLED"] * 5
    assert ("task.started" in r.log) and r.log.count("task.started") == 1
    if "all" not in selector:
        assert client.run("act", steps())[-1].status == "SUCCESS"
        cancel(client, other)


def test_what_was_sent_later_is_started(runner, client):
    runner()
    client.ask("cancel", **SWEEP)
    later = client.submit("act", steps(), group="g", properties=sent(5))
    older = client.submit("act", steps(), group="g", properties=sent(-5))
    silent = client.submit("act", steps(), group="g")
    assert client.final(later).status == "SUCCESS"
    assert statuses(client, [older, silent]) == ["CANCELLED"] * 2


def test_it_ends(runner, client):
    runner()
    client.ask("cancel", group="g", queued=1)
    wait_until(lambda: client.run("act", steps(), group="g")[-1].status == "SUCCESS",
               "it is over")


def test_held_requests_are_cancelled(runner, client):
    runner()
    client.ask("cancel", **SWEEP)
    assert client.run("act", steps(), group="g", hold=True)[-1].status == "CANCELLED"


def test_runner_that_starts_later_knows_it(runner, client, names):
    first = runner(broker=SOON)
    first.wait_log("cancels.read")
    client.ask("cancel", **SWEEP)
    wait_until(lambda: client.count(names.cancels) >= 2, "it is noted")
    first.kill()
    ids = [client.submit("act", steps(), group="g") for _ in range(3)]
    other = client.submit("act", steps())
    runner(broker=SOON)
    assert statuses(client, ids) == ["CANCELLED"] * 3
    assert client.final(other).status == "SUCCESS"


def test_runner_that_was_cut_off_ends_what_it_runs(proxy, runner, client):
    """It did not hear the word, and reads of it when it is back."""
    first = runner()
    first.wait_log("cancels.read")
    away = runner(broker={"addresses": proxy.address})
    away.wait_log("cancels.read")
    ids = [client.submit("act", steps(["progress", "started"], ["sleep", 200]), group="g")
           for _ in range(8)]
    for id in ids:
        client.wait_running(id)
    assert {client.by_id[id][-1].headers["x-tr-runner"] for id in ids} == {first.name, away.name}
    proxy.lets_in = False
    proxy.cut()
    away.wait_log("broker.consumer-lost")
    client.ask("cancel", **SWEEP)
    proxy.lets_in = True
    assert statuses(client, ids) == ["CANCELLED"] * 8


def test_cancel_while_no_runner_is_there(runner, client, taskctl, names):
    """It is noted for those that come, in the same stream; so is one of a whole group."""
    first = runner()
    first.wait_log("cancels.read")
    first.stop(client)
    one = client.submit("act", steps())
    ids = [client.submit("act", steps(), group="g") for _ in range(3)]
    other = client.submit("act", steps())
    status, out, err = taskctl("cancel", one, "--wait", "1s")
    assert (status, out) == (5, b"") and "no runner has answered" in err and "noted for a day" in err
    status, _, err = taskctl("cancel", "--group", "g", "--queued", "1h", "--wait", "1s")
    assert status == 5 and "noted" in err
    runner()
    assert statuses(client, [one, *ids]) == ["CANCELLED"] * 4
    assert client.final(other).status == "SUCCESS"


def test_note_that_cannot_be_kept(client, taskctl):
    client.channel.exchange_declare(client.names.control, "fanout", durable=True)
    status, _, err = taskctl("cancel", "nobody-has-it", "--wait", "2s")
    assert status == 5 and "Nothing is remembered" in err


def test_taskctl_cancels_what_is_queued(runner, client, taskctl, names):
    _, first = full(runner, client, names)
    ids = [client.submit("act", steps(), group="g") for _ in range(10)]
    status, _, err = taskctl("cancel", "--group", "g", "--queued", "1h")
    assert status == 0 and "what is still in queues" in err
    assert taskctl("cancel", first)[0] == 0
    assert statuses(client, ids) == ["CANCELLED"] * 10
    for arguments in ([ids[0], "--queued", "1h"], ["--runner", "x", "--queued", "1h"],
                      ["--group", "g", "--queued", "2d"], ["--group", "g", "--queued", "0s"]):
        status, _, err = taskctl("cancel", *arguments)
        assert status == 2 and "--queued" in err
    assert taskctl("pause", "--group", "g", "--queued", "1h")[0] == 2
