# SPDX-License-Identifier: Apache-2.0
"""Scenarios: how they are listed, run, judged and told."""

import concurrent.futures
import dataclasses
import json
import shutil
import time
import traceback
from pathlib import Path

import pika

from support.broker import Broker

from .bed import Bed
from .brokers import list_queues
from .history import Verdict, line

SCENARIOS = {}


@dataclasses.dataclass
class Scenario:
    name: str
    function: object
    short: list  # of parameters; the scenario runs once with each
    full: list

    @property
    def summary(self):
        return self.function.__doc__.strip().splitlines()[0]


def scenario(name, short, full):
    """Lists a function(scene, **parameters) as a scenario. Each form is a dictionary of parameters, or
    several."""
    def add(function):
        forms = [form if isinstance(form, list) else [form] for form in (short, full)]
        SCENARIOS[name] = Scenario(name, function, *forms)
        return function
    return add


def find(name, full):
    """The scenario; with :N behind its name, with the N-th of its sets of parameters alone. None: there
    is none."""
    name, colon, number = name.partition(":")
    found = SCENARIOS.get(name)
    if not found or not colon:
        return found
    form = found.full if full else found.short
    if not number.isdecimal() or not 1 <= int(number) <= len(form):
        return None
    one = [form[int(number) - 1]]
    return dataclasses.replace(found, short=one, full=one)


class Brokers:
    """The plain node that scenarios share who do it no harm; begun when the first one asks."""

    def __init__(self, directory):
        self.directory = directory
        self.plain = None

    def get(self):
        if not self.plain:
            self.plain = Broker(self.directory / "broker").start()
        return self.plain

    def stop(self):
        if self.plain:
            self.plain.stop()
            self.plain = None


def drop_answered(bed):
    """A request that came back after its answer, and whose runner was ended while it asked about it,
    went back to its queue: whoever gets it next drops it, so it is nothing that leaks."""
    connection = bed.broker.connect()
    channel = connection.channel()
    try:
        while True:
            method, _, body = channel.basic_get(bed.names.queue)
            if not method:
                break
            if json.loads(body)["id"] in bed.history.finals:
                channel.basic_ack(method.delivery_tag)
    except pika.exceptions.ChannelClosedByBroker:
        pass  # there is no such queue
    connection.close()  # what is left goes back


class Scene:
    """One run of a scenario: it makes brokers, beds, links; judges; and leaves nothing behind."""

    def __init__(self, name, directory, brokers, out):
        self.name = name
        self.directory = directory
        self.brokers = brokers
        self.out = out
        self.beds = []
        self.to_stop = []  # whatever else has a stop()
        self.known_queues = {}
        self.figures = []
        self.is_good = True
        self.began = time.monotonic()

    # What it is made of

    def broker(self):
        """The shared one: for a scenario that leaves it as it was."""
        return self.watch(self.brokers.get())

    def own(self, broker):
        """A node or a cluster of this scenario alone."""
        self.to_stop.append(broker)
        return self.watch(broker.start())

    def watch(self, broker):
        """From now on, what is left in its queues is a leak."""
        self.known_queues[broker] = set(list_queues(broker))
        return broker

    def bed(self, broker, label="bed", **options):
        self.beds.append(Bed(self.directory / label, broker, **options))
        return self.beds[-1]

    def until_end(self, thing):
        """It is stopped with the scene."""
        self.to_stop.append(thing)
        return thing

    # Judging

    def figure(self, text):
        """Something measured that belongs under the next line."""
        self.figures.append(text)

    def conclude(self, bed, allowed=None, label=""):
        """Ends the runners of a bed, looks at everything that is left, and prints its line."""
        self.conclude_all([(bed, allowed, label)])

    def conclude_all(self, beds):
        """Of several (bed, allowed, label) that shared a broker; with a line for all of them."""
        with concurrent.futures.ThreadPoolExecutor(len(beds)) as pool:
            list(pool.map(lambda b: b[0].stop(), beds))
        self._look_at_queues([bed for bed, _, _ in beds])
        counts = []
        for bed, allowed, label in beds:
            if bed.sanitizer_reports():
                bed.problem(bed.sanitizer_reports())
            verdict = Verdict(bed.history, allowed)
            counts.append(verdict.counts())
            self._tell(label, verdict)
            bed.close()
            self.beds.remove(bed)
        if len(beds) > 1:
            self._print("all", line([sum(column) for column in zip(*counts)]), "")

    def _tell(self, label, verdict):
        problems = verdict.problems()
        self.is_good &= not problems
        self._print(label, verdict.line(), "WRONG" if problems else "ok")
        for text in self.figures + verdict.remarks():
            self.out("    " + text)
        self.figures = []
        for text in problems:
            self.out("    - " + text.rstrip().replace("\n", "\n      "))

    def _print(self, label, text, result):
        self.out("%-26s %s%s, %.0f s" % ((self.name + " " + label).strip(), text,
                                         ": " + result if result else "",
                                         time.monotonic() - self.began))

    def _look_at_queues(self, beds):
        """Messages that are left anywhere, and queues that are nobody's. Quorum queues count with
        delay, so it looks again before it complains."""
        broker = beds[0].broker
        for bed in beds:
            drop_answered(bed)
        owner = {queue: bed for bed in beds for queue in bed.queues()}
        streams = {bed.names.cancels for bed in beds}  # what was read stays there
        end = time.monotonic() + 15
        while True:
            left = {queue: held for queue, held in list_queues(broker).items()
                    if queue not in self.known_queues[broker] and queue not in streams
                    and (any(held) or queue not in owner)}
            if not left or time.monotonic() > end:
                break
            time.sleep(0.5)
        for queue, held in left.items():
            bed = owner.get(queue, beds[-1])
            bed.history.leaked.add("queue %s: %d ready, %d unacknowledged" % (queue, *held))

    def close(self):
        for bed in self.beds:
            try:
                bed.close()
            except Exception as problem:
                self.out("    - a bed could not be cleared away: %s" % problem)
        if not self.is_good:
            self._keep_logs()
        for thing in reversed(self.to_stop):
            thing.stop()

    def _keep_logs(self):
        """Nodes take theirs along."""
        for i, node in enumerate(n for b in self.known_queues for n in getattr(b, "nodes", [b])):
            shutil.copytree(Path(node.directory) / "log", self.directory / ("broker-log-%d" % i))


def run(scenario, full, directory, brokers, out=print):
    """Runs a scenario in all its parameters; whether all went as promised. Directories of those that
    did not are kept."""
    good = True
    for i, parameters in enumerate(scenario.full if full else scenario.short):
        place = Path(directory) / ("%s-%d" % (scenario.name, i))
        place.mkdir()
        scene = Scene(scenario.name, place, brokers, out)
        try:
            scenario.function(scene, **parameters)
        except Exception:
            scene.is_good = False
            out("%-26s BROKEN" % scenario.name)
            out("    " + traceback.format_exc().rstrip().replace("\n", "\n    "))
        finally:
            scene.close()
        if scene.is_good:
            shutil.rmtree(place)
        else:
            out("    logs: %s" % place)
        good &= scene.is_good
    return good
