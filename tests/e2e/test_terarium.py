# SPDX-License-Identifier: Apache-2.0
"""The drop-in: docker/terarium.yaml with the ancestor's variables, and nothing else changed."""

import json
import os
import shutil
import uuid

import pika
import pytest

from support.client import TerariumClient
from support.paths import ACT, ROOT
from support.runner import steps


class DurableClient(TerariumClient):
    durable = True


def test_queue_and_exchange_names(terarium, names, broker):
    """With the four variables alone the names are the ancestor's."""
    names.responses = "terarium-response-exchange"
    names.cancellation = "terarium-cancellation-exchange"
    c = TerariumClient(broker, names)
    s = terarium(c, TERARIUM_TASKRUNNER_RESPONSE_EXCHANGE="",
                 TERARIUM_TASKRUNNER_CANCELLATION_EXCHANGE="")
    id = s.client.submit(ACT, steps(["progress", "up"], ["sleep", 200]))
    s.client.wait_progress(id)
    s.client.cancel(id)
    assert s.client.final(id).status == "CANCELLED"


def test_request_queue_of_another_name(terarium, names, broker):
    c = TerariumClient(broker, names)
    queue = "other-%s-%s" % (names.unique, names.type)
    c.channel.queue_declare(queue, durable=False)
    s = terarium(c, TERARIUM_TASKRUNNER_REQUEST_QUEUE="other-" + names.unique)
    id = s.client.submit(ACT, steps(["output", "x"]), queue=queue)
    assert s.client.final(id).output == b"x"
    c.channel.queue_delete(queue)


def test_durable(terarium, names, broker):
    """TERARIUM_DURABLEQUEUES=true, as the server may be set up."""
    s = terarium(DurableClient(broker, names), TERARIUM_DURABLEQUEUES="true")
    id = s.client.submit(ACT, steps(["progress", "up"], ["sleep", 200]))
    s.client.wait_progress(id)
    s.client.cancel(id)
    s.client.final(id)
    assert s.client.statuses(id) == ["RUNNING", "RUNNING", "CANCELLING", "CANCELLED"]


def test_concurrency(terarium, tmp_path):
    """TERARIUM_TASKRUNNER_REQUEST_CONCURRENCY is the number of slots."""
    s = terarium(TERARIUM_TASKRUNNER_REQUEST_CONCURRENCY="2")
    gate = str(tmp_path / "gate")
    ids = [s.client.submit(ACT, steps(["progress", "up"], ["wait_for", gate])) for _ in range(3)]
    s.client.wait_progress(ids[0])
    s.client.wait_progress(ids[1])
    for _ in range(20):
        s.client.pump(0.02)
    assert s.client.by_id[ids[2]] == []
    open(gate, "w").close()
    for id in ids:
        assert s.client.final(id).status == "SUCCESS"


def test_thirty_two_at_once(terarium, tmp_path):
    """Its default."""
    s = terarium()
    gate = str(tmp_path / "gate")
    ids = [s.client.submit(ACT, steps(["progress", "up"], ["wait_for", gate])) for _ in range(32)]
    for id in ids:
        s.client.wait_progress(id)
    open(gate, "w").close()
    for id in ids:
        assert s.client.final(id).status == "SUCCESS"


def test_arguments_have_underscores(terarium):
    told = json.loads(terarium().client.run(ACT, steps(["report"]))[-1].output)
    assert told["argv"][::2] == ["--id", "--input_pipe", "--output_pipe", "--progress_pipe"]


def test_program_found_through_path(terarium, tmp_path):
    """Names with a colon, as the ancestor's tasks have them."""
    directory = tmp_path / "bin"
    directory.mkdir()
    shutil.copy(ACT, directory / "gollm:model_card")
    s = terarium(PATH="%s:%s" % (directory, os.environ["PATH"]))
    responses = s.client.run("gollm:model_card", steps(["output", "from path"]))
    assert [r.status for r in responses] == ["RUNNING", "SUCCESS"]
    assert responses[-1].output == b"from path"
    assert responses[-1].script == "gollm:model_card"


def test_python_file_by_path(terarium, tmp_path):
    """python3 runs it; the file need not be executable."""
    file = tmp_path / "task.py"
    shutil.copy(ACT, file)
    file.chmod(0o644)
    assert terarium().client.run(str(file), steps(["output", "x"]))[-1].output == b"x"


def test_python_file_that_is_not_there(terarium):
    responses = terarium().client.run("/no/such/file.py")
    assert [r.status for r in responses] == ["FAILED"]
    assert "/no/such/file.py" in responses[0].text
    assert "not found" in responses[0].text


def test_program_that_is_not_there(terarium):
    client = terarium().client
    for script in ("/no/such/program", "no-such-program"):
        responses = client.run(script)
        assert [r.status for r in responses] == ["FAILED"]
        assert script in responses[0].text


@pytest.mark.parametrize("script", ["../../bin/sh", "/bin/../bin/sh", "a/../../bin/sh"])
def test_dots_are_refused(terarium, script):
    responses = terarium().client.run(script)
    assert [r.status for r in responses] == ["FAILED"]
    assert responses[0].cause in ("not-found", "refused")


def test_bundled_echo(terarium):
    """The task that came with the ancestor, with its input keys; here PATH finds it."""
    s = terarium(PATH="%s:%s" % (os.path.join(ROOT, "tasks"), os.environ["PATH"]),
                 PYTHONPATH=os.path.join(ROOT, "taskiface", "python"))
    request = json.dumps({"input": "hello", "include_progress": True, "pause_ms": 0}).encode()
    responses = s.client.run("echo.py", request)
    assert [r.status for r in responses] == 6 * ["RUNNING"] + ["SUCCESS"]
    assert b"hello" in responses[-1].output
    responses = s.client.run("echo.py", json.dumps({"input": "x", "should_fail": True}).encode())
    assert responses[-1].status == "FAILED"
    assert responses[-1].cause == "exited"


def test_any_member_done_ends_the_progress(terarium):
    """{"done": false} as well, as it was there; it is not relayed."""
    responses = terarium().client.run(ACT, steps(
        ["progress", '{"i": 1}'], ["progress", '{"done": false, "x": 1}'], ["output", "x"]))
    assert [r.output for r in responses] == [None, b'{"i": 1}', b"x"]


def test_progress_without_done(terarium):
    """The ancestor hung here until its timeout (Q1)."""
    responses = terarium().client.run(ACT, steps(["progress", '{"i": 1}'], ["output", "x"]))
    assert responses[-1].status == "SUCCESS"


def test_cancellation_queue_is_removed(terarium, broker):
    """One per task, never left behind (Q5): after success, after cancel, after cancel before start."""
    s = terarium()
    c = s.client
    done = c.submit(ACT, steps())
    c.final(done)
    hang = c.submit(ACT, steps(["progress", "up"], ["sleep", 200]))
    c.wait_progress(hang)
    c.cancel(hang)
    c.final(hang)
    never = str(uuid.uuid4())
    c.before_submit(never)
    c.cancel(never)
    c.submit(ACT, steps(), id=never)
    c.final(never)
    assert c.statuses(never) == ["CANCELLED"]
    failed = c.submit("no-such-program")
    c.final(failed)

    def gone(queue):
        with broker.connect() as connection:
            try:
                connection.channel().queue_declare(queue, passive=True)
                return False
            except pika.exceptions.ChannelClosedByBroker as closed:
                assert closed.reply_code == 404
                return True
    for queue in (done, hang, never, failed):
        c.wait(lambda: gone(queue), "queue %s is removed" % queue)


def test_request_without_cancellation_queue(terarium, names):
    """A requester that never means to cancel declares none; ours does then, or does without."""
    c = terarium().client
    id = str(uuid.uuid4())
    super(TerariumClient, c).submit(ACT, steps(["output", "x"]), id=id)
    assert c.final(id).output == b"x"


def test_cancellation_queue_declared_otherwise(terarium, names):
    """Arguments that differ from ours must not stop the task."""
    c = terarium().client
    id = str(uuid.uuid4())
    c.channel.queue_declare(id, durable=False, auto_delete=False)
    c.channel.queue_bind(id, names.cancellation, id)
    super(TerariumClient, c).submit(ACT, steps(["output", "x"]), id=id)
    assert c.final(id).output == b"x"
    c.channel.queue_delete(id)


def test_working_directory_is_the_runners(terarium):
    told = json.loads(terarium().client.run(ACT, steps(["report"]))[-1].output)
    assert told["directory"] == os.getcwd()


def test_timeout_without_any(terarium):
    """TASKRUNNER_LIMITS_TIMEOUT holds only where a request names none."""
    c = terarium(TASKRUNNER_LIMITS_TIMEOUT="400ms").client
    assert c.run(ACT, steps(["sleep", 200]), timeoutMinutes=...)[-1].cause == "timed-out"
    assert c.run(ACT, steps(["sleep", 0.8], ["output", "x"]), timeoutMinutes=1)[-1].output == b"x"
