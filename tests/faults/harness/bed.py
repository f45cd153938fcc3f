# SPDX-License-Identifier: Apache-2.0
"""A test bed: one request queue, who sends to it and hears the answers, and the runners that work on it."""

import os
import signal
import time

from support import processes
from support.broker import PASSWORD
from support.client import Names
from support.runner import GUARDIAN, LINE, Runner, sanitizer_reports
from support.waiting import wait_until

from .history import History, read_ledger
from .requester import Collector, Load, Sender
from .settings import runner_config

# What a dead runner left must be gone after this time.
ORPHAN_SECONDS = 2


class Host:
    """A machine, as far as a runner can tell: what it keeps there outlives it."""

    def __init__(self, directory, name):
        self.name = name
        self.lives = 0
        self.run = directory / ("run-" + name)
        self.state = directory / ("state-" + name)
        self.run.mkdir()
        self.state.mkdir()


class FaultRunner(Runner):
    def __init__(self, bed, host, config, **more):
        host.lives += 1
        super().__init__(bed.directory, "%s%d" % (host.name, host.lives), config, **more)
        self.host = host
        self.died_at = None
        self.is_looked_at = False

    def is_alive(self):
        return self.process.poll() is None

    def own_processes(self):
        """That it started, and that it must not outlive; not its guardian."""
        return {p for p in processes.with_environment("E2E_MARK", {self.mark})
                if p != self.pid and processes.read(p, "comm") != GUARDIAN}


class Bed:
    def __init__(self, directory, broker, slots=4, ack="lease", queue=None, responses=None, prefetch=0):
        """`queue` and `responses`: arguments of the request and the response queue."""
        self.directory = directory
        self.directory.mkdir(parents=True)
        self.broker = broker
        self.slots = slots
        self.ack = ack
        self.names = Names()
        self.history = History()
        self.ledger = directory / "ledger"
        self.locks = directory / "locks"
        self.locks.mkdir()
        self.ledger.touch()
        self.hosts = {}
        self.runners = []
        self.loads = []
        self.collector = Collector(broker, self.names, self.history, queue, responses, prefetch)
        self.collector.thread.start()

    # Runners

    def start(self, host="a", ready=True, address=None, environment=None, wrapper=(), **sections):
        """Starts a runner on that host; `sections` of its configuration as in runner_config."""
        if host not in self.hosts:
            self.hosts[host] = Host(self.directory, host)
        host = self.hosts[host]
        config = runner_config(self, host, sections)
        if address:
            config["broker"]["addresses"] = address
        runner = FaultRunner(self, host, config, environment=environment, wrapper=wrapper)
        self.runners.append(runner)
        return runner.wait_ready() if ready else runner

    def alive(self):
        return [r for r in self.runners if r.is_alive()]

    def kill(self, runner):
        runner.kill()
        runner.died_at = time.monotonic()

    def wait_crash(self, runner, seconds, what):
        """Until it has killed itself, as it was told to."""
        runner.told_to_end = True
        if self.wait(lambda: not runner.is_alive(), seconds, what):
            if runner.process.returncode != -signal.SIGKILL:
                self.problem("%s: exit status %d" % (what, runner.process.returncode))
            runner.died_at = time.monotonic()
        else:
            self.kill(runner)

    def end(self, runner):
        """As an administrator would."""
        runner.signal(signal.SIGTERM)
        try:
            if runner.wait_end() != 0:
                self.problem("exit status %s of %s" % (runner.ended, runner.name))
        except AssertionError:
            self.problem("%s does not end" % runner.name)
            runner.kill()
        runner.died_at = time.monotonic()

    def look_for_orphans(self, wait=False):
        """Of runners that have been dead for long enough."""
        for runner in self.runners:
            if runner.is_looked_at or runner.died_at is None:
                continue
            left = runner.died_at + ORPHAN_SECONDS - time.monotonic()
            if left > 0 and not wait:
                continue
            if left > 0:
                try:
                    wait_until(lambda: not runner.own_processes(), "", left, every=0.05)
                except AssertionError:
                    pass
            runner.is_looked_at = True
            self.history.orphans |= {processes.describe(p) for p in runner.own_processes()}

    # Work

    def send(self, count, words, rate=None, seconds=120):
        return Sender(self.collector).send(count, words, rate, seconds)

    def load(self, count, words, rate=None, seconds=600, **members):
        """Sends while the scenario goes on."""
        self.loads.append(Load(self.collector, count, words, rate, seconds, members))
        return self.loads[-1]

    def wait(self, condition, seconds, what=None, every=0.05):
        """Whether it came true in time; with `what`, it is noted as a problem where it did not."""
        end = time.monotonic() + seconds
        while not condition():
            self.look_for_orphans()
            for runner in self.runners:
                if runner.died() and runner.died_at is None:
                    runner.died_at = time.monotonic()
                    self.problem("%s ended by itself: %s" % (runner.name, runner.log[-500:]))
            if time.monotonic() > end:
                if what:
                    self.problem("waited in vain for " + what)
                return False
            time.sleep(every)
        return True

    def wait_answered(self, seconds):
        """Until all that was sent is answered. What is not then, is lost: the checker tells."""
        return self.wait(lambda: not any(load.is_alive() for load in self.loads) and
                         not self.history.unanswered(), seconds)

    def wait_running(self, ids, seconds=60):
        """Until a run of each has begun."""
        ids = set(ids)
        return self.wait(lambda: ids <= self.runs().keys(), seconds, "%d runs" % len(ids))

    def runs(self):
        with open(self.ledger) as f:
            return read_ledger(f.read().rpartition("\n")[0].splitlines())

    def queues(self):
        return {self.names.queue, self.names.dead_letters, self.collector.response_queue}

    def problem(self, text):
        self.history.problems.append(text)

    # The end

    def stop(self):
        """Ends the runners and notes what they left. Queues stay, to be looked at."""
        for load in self.loads:
            load.wait()
        for runner in self.runners:
            if runner.is_alive():
                self.end(runner)
        self.look_for_orphans(wait=True)
        for runner in self.runners:
            self._look_at(runner)
        self.history.runs = self.runs()

    def left_files(self, runner):
        """But for what a killed runner leaves to the next one of its host."""
        return set(runner.left_files()) - {r.journal for r in self.runners if r.leaves_journal}

    def _look_at(self, runner):
        def left():
            return {processes.describe(p)
                    for p in processes.with_environment("E2E_MARK", {runner.mark})}
        try:
            wait_until(lambda: not left() and not self.left_files(runner), "")
        except AssertionError:
            self.history.leaked |= left() | self.left_files(runner)
        runner.notify.close()
        for pid in processes.with_environment("E2E_MARK", {runner.mark}):
            os.kill(pid, signal.SIGKILL)
        log = runner.log
        if PASSWORD in log:
            self.problem("the password is in the log of " + runner.name)
        for line in log.splitlines():
            if not LINE.match(line):
                self.problem("not one event in one line: %r" % line[:300])
                break

    def close(self):
        """Deletes what it has at the broker; after stop(), or when all went wrong."""
        self.collector.is_open.set()
        for runner in self.runners:
            if runner.is_alive():
                runner.kill()
        for pid in processes.with_environment("E2E_MARK", {r.mark for r in self.runners}):
            os.kill(pid, signal.SIGKILL)
        self.collector.end()

    def sanitizer_reports(self):
        return sanitizer_reports(self.directory)
