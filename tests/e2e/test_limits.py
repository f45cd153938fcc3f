# SPDX-License-Identifier: Apache-2.0
"""Time limits, slots, and what a request may ask for."""

import pytest

from support.runner import act, program, steps
from support.waiting import wait_until


def statuses(responses):
    return [r.status for r in responses]


# Time. None of these asserts how long something took; the programs would run for minutes.

@pytest.mark.parametrize("members", [{"timeoutSeconds": 0.4}, {"timeoutMinutes": 0.005},
                                     {"timeoutSeconds": 0.4, "timeoutMinutes": 60}], ids=repr)
def test_timeout_of_the_request(runner, client, members):
    runner()
    responses = client.run("act", steps(["sleep", 200]), **members)
    assert statuses(responses) == ["RUNNING", "FAILED"]
    assert responses[-1].cause == "timed-out"
    assert responses[-1].headers["x-tr-signal"] == 15


def test_timeout_of_the_program(runner, client):
    runner(programs={"slow": act(["sleep", 200], timeout="400ms")})
    assert client.run("slow")[-1].cause == "timed-out"


def test_timeout_of_the_configuration(runner, client):
    runner(limits={"timeout": "400ms"})
    assert client.run("act", steps(["sleep", 200]))[-1].cause == "timed-out"


def test_request_cannot_ask_for_more(runner, client):
    runner(programs={"slow": act(["sleep", 200], timeout="400ms")})
    assert client.run("slow", timeoutMinutes=60)[-1].cause == "timed-out"


def test_timeout_ends_with_grace(runner, client):
    """SIGTERM comes first, and there is time to clean up and to say so."""
    runner(limits={"grace": "60s"})
    final = client.run("act", steps(["on_signal", 15, ["stderr", "cleaned up"], ["exit", 0]],
                                    ["sleep", 200]), timeoutSeconds=2)[-1]
    assert (final.status, final.cause) == ("FAILED", "timed-out")
    assert final.stderr == "cleaned up"


def test_timeout_is_over_the_whole_run(runner, client):
    """Progress does not start the time anew."""
    runner(programs={"busy": program(
        "/bin/sh", "-c", 'while sleep 0.05; do echo "$$" >"$TASKIFACE_PROGRESS_PIPE"; done')})
    assert client.run("busy", timeoutSeconds=0.6)[-1].cause == "timed-out"


def test_silence(runner, client):
    runner(programs={"silent": act(["progress", "one"], ["sleep", 200], silence_timeout="2s")})
    responses = client.run("silent")
    assert statuses(responses) == ["RUNNING", "RUNNING", "FAILED"]
    assert responses[-1].cause == "silent"


def test_progress_is_no_silence(runner, client):
    """It reports again and again, for longer than it might be silent."""
    runner(programs={"busy": act(*20 * [["progress", "x"], ["sleep", 0.15]], ["output", "done"],
                                 silence_timeout="2s")})
    assert client.run("busy")[-1].output == b"done"


# Slots

@pytest.fixture
def gates(tmp_path):
    """Programs that wait for a file: gates(i) is its name."""
    return lambda i: str(tmp_path / ("gate-%s" % i))


def open_gate(path):
    open(path, "w").close()


def test_slots_of_a_queue(runner, client, gates):
    """Two run at once, the third begins when one of them ended."""
    runner(queues=[{"name": client.names.queue, "slots": 2}])
    ids = [client.submit("act", steps(["progress", "up"], ["wait_for", gates(i)])) for i in range(3)]
    client.wait_progress(ids[0])
    client.wait_progress(ids[1])
    for _ in range(20):
        client.pump(0.02)
    assert client.by_id[ids[2]] == []
    open_gate(gates(1))
    client.wait_progress(ids[2])
    assert client.final(ids[1]).status == "SUCCESS"
    assert not client.by_id[ids[0]][-1].is_final
    open_gate(gates(0))
    open_gate(gates(2))
    for id in ids:
        assert client.final(id).status == "SUCCESS"


def highest_overlap(path):
    now = most = 0
    for line in open(path):
        now += 1 if line.startswith("+") else -1
        most = max(most, now)
    assert now == 0
    return most


def test_slots_are_never_exceeded(runner, client, tmp_path):
    runner(queues=[{"name": client.names.queue, "slots": 3}], log={"level": "info"})
    book = str(tmp_path / "book")
    ids = [client.submit("act", steps(["append", book, "+"], ["sleep", 0.02], ["append", book, "-"]))
           for _ in range(60)]
    for id in ids:
        assert client.final(id).status == "SUCCESS"
    assert highest_overlap(book) <= 3


def test_slots_of_several_queues(runner, client, gates):
    """A full queue does not keep another waiting."""
    other = client.names.queue + "-other"
    runner(queues=[{"name": client.names.queue, "slots": 1}, {"name": other, "slots": 1}])
    first = client.submit("act", steps(["wait_for", gates(1)]))
    client.wait_running(first)
    waiting = client.submit("act", steps(["output", "later"]))
    quick = client.submit("act", steps(["output", "at once"]), queue=other)
    assert client.final(quick).output == b"at once"
    assert client.by_id[waiting] == []
    open_gate(gates(1))
    assert client.final(waiting).output == b"later"
    client.channel.queue_delete(other)


def test_slots_of_a_program(runner, client, tmp_path):
    """A program may be allowed less than its queue has; others are not kept waiting for long."""
    book = str(tmp_path / "book")
    runner(queues=[{"name": client.names.queue, "slots": 6}], log={"level": "info"},
           programs={"rare": act(["append", book, "+"], ["sleep", 0.05], ["append", book, "-"],
                                 slots=1)})
    ids = [client.submit("rare") for _ in range(10)] + [
        client.submit("act", steps()) for _ in range(10)]
    for id in ids:
        assert client.final(id).status == "SUCCESS"
    assert highest_overlap(book) == 1


def test_program_without_free_slot_can_be_cancelled(runner, client, gates):
    runner(programs={"rare": act(["wait_for", gates(1)], slots=1)})
    first = client.submit("rare")
    client.wait_running(first)
    second = client.submit("rare")
    client.wait(lambda: client.count(client.names.queue) == 0, "it was taken")
    client.cancel(second)
    assert statuses(client.responses(second)) == ["CANCELLED"]
    open_gate(gates(1))
    assert client.final(first).status == "SUCCESS"


@pytest.mark.threads
def test_many_at_once(runner, client, gates):
    """Forty tasks that all wait for the last one to start."""
    n = 40
    runner(queues=[{"name": client.names.queue, "slots": n}], log={"level": "info"})
    ids = [client.submit("act", steps(["progress", "up"], ["wait_for", gates("all")]))
           for i in range(n)]
    for id in ids:
        client.wait_progress(id)
    open_gate(gates("all"))
    for id in ids:
        assert client.final(id).status == "SUCCESS"


def test_same_id_twice(runner, client, gates):
    """While it runs, a second request of the same id starts nothing."""
    r = runner(programs={"subject": act(["append", gates("book"), "ran"], ["wait_for", gates(1)])})
    id = client.submit("subject")
    client.wait_running(id)
    client.submit("subject", id=id)
    client.wait(lambda: client.count(client.names.queue) == 0, "it was taken")
    open_gate(gates(1))
    client.wait(lambda: any(x.is_final for x in client.by_id[id]), "final")
    wait_until(lambda: not r.processes([id]), "end of the task")
    assert len(open(gates("book")).readlines()) == 1
