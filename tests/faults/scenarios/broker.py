# SPDX-License-Identifier: Apache-2.0
"""The broker dies, throws everybody out, or wants no more for a while."""

import fcntl
import random
import time
import uuid

import pika

from harness.brokers import TunedBroker
from harness.history import Allowed
from harness.requester import Sender
from harness.scene import scenario
from support.broker import Broker

SLOTS = 8
LONG = 4  # tasks that run all the time
# A broker takes some seconds to come up, and who is thrown out again and again waits for longer and
# longer: what is not parked must not be given up meanwhile, nor may a lease run out.
PATIENT = {"broker": {"heartbeat": "10s"}, "delivery": {"lease": "60s"}}


def begin(scene, broker, seconds, rate, sections=None, **options):
    """Runners with long tasks that must not notice anything, and with short ones that come and go."""
    bed = scene.bed(broker, slots=SLOTS, **options)
    for host in "ab":
        bed.start(host, **(sections(bed.names) if sections else {}))
    long = bed.send(LONG, "ms=%d" % (seconds * 1000))
    bed.wait_running(long)
    if bed.ack == "lease":
        bed.wait(lambda: all(is_parked(bed, id) for id in long), 60, "the parking of long tasks")
    load = bed.load(int(seconds * rate), "ms=50", rate=rate)
    return bed, long, load


def is_parked(bed, id):
    return any("request.parked task=%s " % id in r.log for r in bed.runners)


def connected(runner):
    lines = [l for l in runner.log.splitlines() if "consumer-lost" in l or "for=requests" in l]
    return "broker.connected" in lines[-1]


def restarted(scene, bed, long):
    """Parked tasks go on whatever happens to the broker."""
    bed.wait(lambda: all(connected(r) for r in bed.alive()), 60, "the runners' return")
    runs = bed.runs()
    again = [id for id in long if len(runs[id]) > 1]
    scene.figure("long tasks started again: %d of %d" % (len(again), len(long)))
    if again and bed.ack == "lease":
        bed.problem("parked tasks were started again: %d" % len(again))


@scenario("broker-restarts",
          short=dict(times=2, rate=20),
          full=[dict(times=20, rate=20), dict(times=20, rate=20, queue={"x-queue-type": "quorum"}),
                dict(times=20, rate=20, ack="hold")])
def broker_restarts(scene, times, rate, **options):
    """The broker is killed, or restarted, again and again under load"""
    broker = scene.own(Broker(scene.directory / "node"))
    seconds = times * 7
    bed, long, _ = begin(scene, broker, seconds, rate, lambda names: PATIENT, **options)
    dice = random.Random(4711)
    for i in range(times):
        time.sleep(dice.uniform(1.5, 4))
        broker.down() if i % 2 else broker.kill()
        broker.start()
        # However slowly: a broker that is never there for anybody is another matter.
        bed.wait(lambda: all(connected(r) for r in bed.alive()), 60, "the runners' return")
    bed.wait_answered(120 + seconds)
    restarted(scene, bed, long)
    scene.conclude(bed, Allowed(duplicates=2 * SLOTS * times, reruns=2 * SLOTS * times))


@scenario("closed-connections",
          short=dict(times=4, rate=50),
          full=[dict(times=100, rate=50), dict(times=100, rate=50, ack="hold")])
def closed_connections(scene, times, rate, **options):
    """The administrator closes all connections, again and again under load"""
    broker = scene.broker()
    bed, long, _ = begin(scene, broker, times * 4, rate, lambda names: PATIENT, **options)
    dice = random.Random(4711)
    for i in range(times):
        time.sleep(dice.uniform(0.2, 2))
        broker.ctl("close_all_connections", "for the test")
    bed.wait_answered(120 + times * 4)
    restarted(scene, bed, long)
    scene.conclude(bed, Allowed(duplicates=2 * SLOTS * times, reruns=2 * SLOTS * times))


@scenario("alarm", short=dict(seconds=6), full=dict(seconds=60))
def alarm(scene, seconds):
    """Memory alarm: no request is lost, no task restarted, and a cancel is answered and obeyed at once"""
    broker = scene.own(Broker(scene.directory / "node"))
    bed, long, _ = begin(scene, broker, seconds + 6, 20)
    victim = cancellable(bed)
    broker.alarm(True)
    try:
        end = time.monotonic() + seconds
        bed.wait(lambda: any("broker.blocked" in r.log for r in bed.runners), seconds,
                 "a word in the log about the alarm")
        canceller, answers = cancel(bed, victim)
        bed.wait(lambda: canceller.process_data_events(0.05) or answers == ["accepted"], seconds,
                 "an answer to a cancel during the alarm")
        bed.wait(lambda: is_over(bed, victim), seconds,
                 "the end of a task that was cancelled during the alarm")
        time.sleep(max(0, end - time.monotonic()))
    finally:
        broker.alarm(False)
    canceller.close()
    bed.wait_answered(120)
    restarted(scene, bed, long)
    scene.conclude(bed)


def cancellable(bed):
    """A task that runs."""
    id = str(uuid.uuid4())
    bed.history.cancelled.add(id)
    sender = Sender(bed.collector)
    sender.send_one(id, "ms=300000", {})
    sender.close()
    bed.wait_running([id])
    return id


def cancel(bed, id):
    """With an alarm the broker takes one message from each connection, and only if its body is empty;
    it does not even take a close. So this has a connection of its own, which is given back, with a
    list of the answers."""
    connection = bed.broker.connect()
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    answers = []
    channel.basic_consume(
        queue, lambda c, m, p, body: answers.append(p.headers["x-tr-result"]), auto_ack=True)
    channel.basic_publish(bed.names.control, "", b"", pika.BasicProperties(
        reply_to=queue, headers={"x-tr-op": "cancel", "x-tr-id": id}))
    return connection, answers


def is_over(bed, id):
    """No process has its lock."""
    with open(bed.locks / id, "r+") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False


@scenario("ack-timeout",
          short=dict(tasks=16, ms=8000, slots=8, timeout_ms=4000),
          full=dict(tasks=200, ms=20000, slots=50, timeout_ms=5000))
def ack_timeout(scene, tasks, ms, slots, timeout_ms):
    """Tasks run far longer than the broker waits for an acknowledgement"""
    broker = scene.own(TunedBroker(
        scene.directory / "node",
        "[{rabbit, [{consumer_timeout, %d}, {channel_tick_interval, 1000}]}]." % timeout_ms))
    bed = scene.bed(broker, slots=slots)
    for host in "ab":
        bed.start(host)
    bed.send(tasks, "ms=%d" % ms)
    bed.wait_answered(tasks / slots * ms / 1000 + 120)
    closed = broker.log.count("delivery acknowledgement on channel")
    if closed:
        bed.problem("channels closed by the broker for want of an acknowledgement: %d" % closed)
    scene.conclude(bed)
