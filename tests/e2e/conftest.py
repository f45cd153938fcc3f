# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the end-to-end tests: a real broker, a real runner, real programs."""

import os
import signal

import pytest

from support.broker import PASSWORD, USER, Broker
from support.client import Client, Names, TerariumClient
from support.library import Library
from support.paths import ACT, PROGRAMS, ROOT, TASKRUNNER
from support.proxy import Proxy
from support.runner import Runner, base_config
from support.taskctl import Taskctl
from support.waiting import hurry, wait_until


def pytest_addoption(parser):
    parser.addoption("--share", default="1/1", metavar="K/N",
                     help="run only each N-th test, from the K-th on; so N sessions do all of them")


def pytest_configure(config):
    # As Ctrl-C: fixtures are taken down, and nothing is left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Under nohup it is ignored, which what we start would inherit.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    config.addinivalue_line("markers", "threads: also run under ThreadSanitizer by ./check")


def pytest_collection_modifyitems(config, items):
    k, n = map(int, config.getoption("--share").split("/"))
    items[:] = items[k - 1::n]


def pytest_keyboard_interrupt():
    hurry()


def pytest_sessionstart(session):
    if not os.access(TASKRUNNER, os.X_OK):
        pytest.exit("%s is not there; build it or set TASKRUNNER_BUILD" % TASKRUNNER, returncode=1)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows the runners' logs with a failure."""
    outcome = yield
    report = outcome.get_result()
    if report.failed and hasattr(item, "runners"):
        for runner in item.runners:
            report.sections.append(("log of " + runner.name, runner.log[-20000:]))


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    return Library(tmp_path_factory.mktemp("installed"))


@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    node = Broker(tmp_path_factory.mktemp("broker") / "node")
    node.start()
    yield node
    node.stop()


@pytest.fixture(scope="session")
def second_broker(tmp_path_factory):
    node = Broker(tmp_path_factory.mktemp("second-broker") / "node")
    yield node.start()
    node.stop()


@pytest.fixture
def own_broker(second_broker):
    """A node for tests that stop it or trip its alarms; up and well before and after each."""
    yield second_broker.recover()
    second_broker.recover()


@pytest.fixture
def names():
    return Names()


@pytest.fixture
def clients():
    """Clients of the test: checked and closed after the runners ended."""
    made = []
    yield made
    try:
        for c in made:
            c.check()
    finally:
        for c in made:
            c.close()


@pytest.fixture
def client(broker, names, clients):
    clients.append(Client(broker, names))
    return clients[-1]


@pytest.fixture
def start_runner(request, tmp_path, clients):
    """Starts runners and ends them after the test with all checks, in reverse order."""
    request.node.runners = []
    started = []

    def start(broker, client, config=None, name=None, ready=True, **more):
        name = name or "runner-%d" % len(started)
        (tmp_path / "run").mkdir(exist_ok=True)
        runner = Runner(tmp_path, name, config, **more)
        started.append((runner, client))
        request.node.runners.append(runner)
        return runner.wait_ready() if ready else runner

    yield start
    problems = []
    for runner, client in reversed(started):
        try:
            runner.stop(client)
        except AssertionError as problem:
            problems.append(problem)
    if problems:
        raise problems[0]
    heirless = {r.journal for r, _ in started if r.leaves_journal}
    for runner, _ in started:
        wait_until(lambda: set(runner.left_files()) <= heirless,
                   lambda: "nothing is left in the run directory: %s" % runner.left_files())


@pytest.fixture
def runner(broker, client, names, tmp_path, start_runner):
    """runner(limits={…}, programs={…}, …): starts a runner with the base configuration, in which the
    sections given are merged (None removes)."""
    def start(ready=True, arguments=None, environment=None, wrapper=(), **sections):
        config = merged(base_config(broker, names, tmp_path / "run"), sections)
        return start_runner(broker, client, config, name=config.get("name"), ready=ready,
                            arguments=arguments, environment=environment, wrapper=wrapper)
    return start


@pytest.fixture
def proxy(broker):
    p = Proxy(broker.port)
    yield p
    p.close()


@pytest.fixture
def taskctl(request, tmp_path, names):
    directory = tmp_path / "taskctl"
    directory.mkdir()
    t = Taskctl(directory, request.getfixturevalue("broker"), names)
    yield t
    t.stop()


@pytest.fixture
def all_killed(start_runner, client):
    """Nothing is left running at the end."""
    yield
    client.channel.exchange_declare(client.names.control, "fanout", durable=True)
    client.control({"op": "kill", "all": True})


def merged(config, sections):
    config = dict(config)
    for key, value in sections.items():
        if isinstance(value, dict) and isinstance(config.get(key), dict):
            config[key] = merged(config[key], value)
        elif value is None:
            config.pop(key, None)
        else:
            config[key] = value
    return config


# The same scenario in our way (JSON, MessagePack) and in the ancestor's.

class Setting:
    """A client and a started runner that fit each other."""

    def __init__(self, client, runner):
        self.client = client
        self.runner = runner


@pytest.fixture
def terarium(broker, names, tmp_path, clients, start_runner):
    """terarium(NAME=value…): a runner with docker/terarium.yaml and its client."""
    def start(client=None, **environment):
        c = client or TerariumClient(broker, names)
        clients.append(c)
        run = tmp_path / "run"
        run.mkdir(exist_ok=True)
        r = start_runner(
            broker, c, os.path.join(ROOT, "docker", "terarium.yaml"), name=names.instance(),
            environment={
                "TERARIUM_MQ_ADDRESSES": broker.address,
                "TERARIUM_MQ_USERNAME": USER,
                "TERARIUM_MQ_PASSWORD": PASSWORD,
                "TERARIUM_TASKRUNNER_REQUEST_TYPE": names.type,
                "TERARIUM_TASKRUNNER_RESPONSE_EXCHANGE": names.responses,
                "TERARIUM_TASKRUNNER_CANCELLATION_EXCHANGE": names.cancellation,
                "TASKRUNNER_NAME": names.instance(),
                "TASKRUNNER_RUN_DIRECTORY": str(run),
                "TASKRUNNER_DEAD_LETTER_QUEUE": names.dead_letters,
                "TASKRUNNER_CONTROL_EXCHANGE": names.control,
                "TASKRUNNER_LOG_LEVEL": "debug",
                **environment})
        r.run_directory = str(run)
        return Setting(c, r)

    return start


@pytest.fixture(params=["json", "msgpack", "terarium"])
def setting(request, broker, names, tmp_path, clients, start_runner):
    """A started runner and its client, once for each way of speaking."""
    if request.param == "terarium":
        s = request.getfixturevalue("terarium")(
            TASKRUNNER_LIMITS_GRACE="5s", TASKRUNNER_LIMITS_DRAIN="2s",
            PATH="%s:%s" % (PROGRAMS, os.environ["PATH"]))
        s.act = ACT
        return s
    clients.append(Client(broker, names, request.param))
    s = Setting(clients[-1], start_runner(
        broker, clients[-1], base_config(broker, names, tmp_path / "run")))
    s.act = "act"
    return s
