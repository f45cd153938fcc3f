# SPDX-License-Identifier: Apache-2.0
"""The checker: from what was sent, run and answered to what went wrong. Sets, and nothing else.

It knows no broker, no process and no time of its own, so it is tested with histories that are made up
(test_checker.py).
"""

import collections
import dataclasses
import threading

FAILURES = ("FAILED", "CANCELLED")


@dataclasses.dataclass(frozen=True)
class Final:
    """A final response. One that came twice with the same message id is one."""
    message: str
    status: str = "SUCCESS"
    cause: str = ""


class Run:
    """One process of a task, as the probe noted it. `end` is None where it was killed."""

    def __init__(self, id, attempt, pid, start, is_overlap=False):
        self.id = id
        self.attempt = attempt
        self.pid = pid
        self.start = start
        self.end = None
        self.is_overlap = is_overlap

    def meets(self, other):
        """Both intervals are known, and they intersect."""
        return None not in (self.end, other.end) and \
            self.start <= other.end and other.start <= self.end


def read_ledger(lines):
    """The lines of probes, as runs by id."""
    runs = collections.defaultdict(list)
    for line in lines:
        id, attempt, pid, event, time = line.split()
        if event == "end":
            # A pid may be used again: the latest of its runs that has no end.
            open_runs = [r for r in runs[id] if r.pid == int(pid) and r.end is None]
            assert open_runs, "an end without a start: " + line
            open_runs[-1].end = int(time)
        else:
            assert event in ("start", "overlap"), line
            runs[id].append(Run(id, int(attempt), int(pid), int(time), event == "overlap"))
    return runs


class History:
    """Filled while a scenario runs, by several threads."""

    def __init__(self):
        self.lock = threading.Lock()
        self.sent = set()       # confirmed by the broker: these must be answered
        self.in_doubt = set()   # sent, and the connection was lost before the confirm: these may be
        self.cancelled = set()  # somebody cancelled them: CANCELLED is what they may end with
        self.finals = collections.defaultdict(dict)  # by id, then by message id
        self.finals_at = []     # when each id was answered first, for curves
        self.runs = {}
        self.orphans = set()    # processes of tasks whose runner is dead or has ended
        self.leaked = set()     # what is left at the end: processes, files, queues, messages
        self.problems = []      # whatever else must not be

    def add_final(self, id, final, at=0.0):
        with self.lock:
            if id not in self.finals:
                self.finals_at.append(at)
            self.finals[id].setdefault(final.message, final)

    def unanswered(self):
        with self.lock:
            return self.sent - self.finals.keys()


@dataclasses.dataclass
class Allowed:
    """What the scenario's fault excuses. Losses and overlaps nothing excuses."""
    duplicates: int = 0        # ids with more than one distinct final response
    reruns: int = 0            # runs beyond the first, over all ids
    causes: tuple = ()         # of FAILED


COUNTS = ("sent", "finals", "lost", "duplicated finals", "overlapping runs", "reruns", "orphans",
          "leaked")


class Verdict:
    """The eight counts, and what they were counted from."""

    def __init__(self, history, allowed=None):
        self.allowed = allowed or Allowed()
        h = history
        answered = h.finals.keys()
        self.sent = h.sent
        self.finals = answered & (h.sent | h.in_doubt)
        self.lost = h.sent - answered
        self.recovered = h.in_doubt & answered
        self.unexpected = answered - h.sent - h.in_doubt
        self.duplicated = {id for id, f in h.finals.items() if len(f) > 1}
        self.overlapping = {id for id, runs in h.runs.items() if overlap(runs)}
        self.reruns = {id: len(runs) - 1 for id, runs in h.runs.items() if len(runs) > 1}
        self.strange_runs = h.runs.keys() - h.sent - h.in_doubt
        self.orphans = h.orphans
        self.leaked = h.leaked
        self.false_failures = {
            id: f.cause or f.status for id, finals in h.finals.items() for f in finals.values()
            if f.status in FAILURES and f.cause not in self.allowed.causes
            and not (f.status == "CANCELLED" and id in h.cancelled)}
        self.invented = {
            id for id, finals in h.finals.items()
            if any(f.status == "SUCCESS" for f in finals.values())
            and not any(r.end is not None for r in h.runs.get(id, []))}
        self.others = list(h.problems)

    def counts(self):
        return (len(self.sent), len(self.finals), len(self.lost), len(self.duplicated),
                len(self.overlapping), sum(self.reruns.values()), len(self.orphans),
                len(self.leaked))

    def line(self):
        return line(self.counts())

    def remarks(self):
        """What is not wrong but worth a word."""
        return ["%d were in doubt when they were sent, and answered" % len(self.recovered)] \
            if self.recovered else []

    def problems(self):
        """Sentences; none: as promised."""
        found = []
        for what, ids in (
                ("lost", self.lost), ("overlapping runs", self.overlapping),
                ("orphans", self.orphans), ("leaked", self.leaked),
                ("answered, but never sent", self.unexpected),
                ("run, but never sent", self.strange_runs),
                ("SUCCESS without a run that ended", self.invented)):
            if ids:
                found.append("%s: %s" % (what, some(ids)))
        if self.false_failures:
            found.append("false failures: %s" % some(
                "%s (%s)" % pair for pair in self.false_failures.items()))
        if len(self.duplicated) > self.allowed.duplicates:
            found.append("duplicated finals, %d allowed: %s" % (
                self.allowed.duplicates, some(self.duplicated)))
        if sum(self.reruns.values()) > self.allowed.reruns:
            found.append("reruns, %d allowed: %s" % (self.allowed.reruns, some(
                "%s (%d)" % pair for pair in self.reruns.items())))
        return found + self.others


def line(counts):
    return ", ".join("%s %d" % pair for pair in zip(COUNTS, counts))


def overlap(runs):
    """Two runs of one task at the same time: the lock was taken, or the times intersect."""
    return any(r.is_overlap for r in runs) or any(
        a.meets(b) for i, a in enumerate(runs) for b in runs[i + 1:])


def some(things, n=5):
    things = sorted(str(t) for t in things)
    return ", ".join(things[:n]) + (" and %d more" % (len(things) - n) if len(things) > n else "")
