# SPDX-License-Identifier: Apache-2.0
"""Runners end in every way at any moment, and are told all that keeps them from starting tasks."""

import json
import random

from harness.history import Allowed
from harness.scene import scenario

SLOTS = 4
HOSTS = "abc"


@scenario("ends", short=dict(tasks=300, times=25),
          full=[dict(tasks=4000, times=300),
                dict(tasks=4000, times=300, queue={"x-queue-type": "quorum"}),
                dict(tasks=4000, times=300, ack="hold")])
def ends(scene, tasks, times, queue=None, ack="lease"):
    """Runners are killed, or end politely, drain, get fewer slots; requests are held and played"""
    bed = scene.bed(scene.broker(), slots=SLOTS, queue=queue, ack=ack)
    turmoil = Turmoil(bed)
    loads = [bed.load(tasks, "ms=100 children=1", rate=40),
             bed.load(tasks // 5, "ms=100", rate=8, hold=True)]
    bed.wait(lambda: bed.history.finals, 60)
    for _ in range(times):
        turmoil.step()
    turmoil.settle()
    bed.wait(lambda: turmoil.play() and not any(load.is_alive() for load in loads)
             and not bed.history.unanswered(), tasks / 10 + 240, every=0.5)
    turmoil.close()
    bed.wait_answered(10)
    scene.figure("done to runners: " + ", ".join(
        "%d × %s" % (turmoil.done.count(what), what) for what in sorted(set(turmoil.done))))
    kills = turmoil.done.count("kill")
    scene.conclude(bed, Allowed(duplicates=SLOTS * kills, reruns=SLOTS * kills))


class Turmoil:
    def __init__(self, bed):
        self.bed = bed
        self.dice = random.Random(4711)
        self.connection = bed.broker.connect()
        self.channel = self.connection.channel()
        self.runners = {host: bed.start(host) for host in HOSTS}
        self.done = []

    def step(self):
        what = self.dice.choice([self.kill, self.kill, self.end, self.end_at_once, self.drain,
                                 self.undrain, self.slots, self.hold, self.play])
        self.done.append(what.__name__.replace("_", " "))
        what()
        self.bed.wait(lambda: False, self.dice.uniform(0.05, 1.2))

    def kill(self):
        host = self.dice.choice(HOSTS)
        self.bed.kill(self.runners[host])
        self.runners[host] = self.bed.start(host)

    def end(self):
        host = self.dice.choice(HOSTS)
        self.bed.end(self.runners[host])
        self.runners[host] = self.bed.start(host)

    def end_at_once(self):
        """While it still asks about what it has just got."""
        self.kill()
        self.done.append("kill")
        self.bed.wait(lambda: False, self.dice.uniform(0, 1))
        self.end()

    def drain(self):
        self.say("drain", runner=self.one())

    def undrain(self):
        self.say("undrain", all=True)

    def slots(self):
        self.say("set-slots", runner=self.one(), slots=self.dice.randint(0, SLOTS))

    def hold(self):
        self.say("hold", all=True)

    def play(self):
        self.say("play", all=True)
        return True

    def one(self):
        """As it calls itself."""
        return "%s-%s" % (self.bed.names.runner, self.dice.choice(HOSTS))

    def settle(self):
        self.say("undrain", all=True)
        self.say("set-slots", all=True, slots=SLOTS)

    def say(self, op, **members):
        """Not all hear it: runners come and go."""
        self.channel.basic_publish(self.bed.names.control, "",
                                   json.dumps({"op": op, **members}).encode())

    def close(self):
        self.connection.close()
