# SPDX-License-Identifier: Apache-2.0
"""What a task sees and gets, and what it must not."""

import json
import os
import shutil
import signal
import stat
import uuid

import pytest

from support import groups, processes
from support.broker import PASSWORD, USER
from support.memory_group import mounts
from support.paths import ACT
from support.runner import SOON, act, program, steps
from support.waiting import wait_until


@pytest.fixture
def report(runner, client):
    """report(config…): what a task tells of itself."""
    def run(entry=None, id=None, **config):
        runner(programs={"subject": entry or act(["report"])}, **config)
        final = client.run("subject", id=id)[-1]
        assert final.status == "SUCCESS", final
        return json.loads(final.output)
    return run


def test_no_descriptor_leaks_in(report):
    fds = report()["fds"]
    fds = {int(fd): path for fd, path in fds.items() if not path.startswith("/proc/")}
    assert sorted(fds) == [0, 1, 2], fds
    assert fds[0] == "/dev/null"
    assert fds[1].startswith("pipe:") and fds[2].startswith("pipe:") and fds[1] != fds[2]


def test_no_descriptor_leaks_in_among_many(runner, client):
    """While other tasks run and connections are busy."""
    runner(queues=[{"name": client.names.queue, "slots": 10}], log={"level": "info"},
           programs={"subject": act(["sleep", 0.05], ["report"])})
    ids = [client.submit("subject", b"x" * 100000) for _ in range(30)]
    for id in ids:
        fds = json.loads(client.final(id).output)["fds"]
        assert sorted(int(f) for f, p in fds.items() if not p.startswith("/proc/")) == [0, 1, 2], fds


def test_session_and_group_of_its_own(report):
    told = report()
    assert told["pid"] == told["group"] == told["session"]


def test_signals_are_as_new(report):
    """Nothing blocked, nothing ignored: else SIGPIPE or SIGTERM would not reach it."""
    status = report()["status"]
    assert int(status["SigBlk"], 16) == 0
    # Python ignores SIGPIPE and SIGXFSZ at its start; act.py takes the first back.
    assert int(status["SigIgn"], 16) & ~(1 << 24) == 0


def test_arguments_with_hyphens(report):
    id = str(uuid.uuid4())
    told = report(id=id)
    argv, environment = told["argv"], told["environment"]
    assert argv[2:] == ["--id", id, "--input-pipe", environment["TASKIFACE_INPUT_PIPE"],
                        "--output-pipe", environment["TASKIFACE_OUTPUT_PIPE"],
                        "--progress-pipe", environment["TASKIFACE_PROGRESS_PIPE"]]
    assert environment["TASKIFACE_ID"] == id


def test_arguments_with_underscores(report):
    told = report(act(["report"], pipe_arguments="underscores"))
    assert told["argv"][2::2] == ["--id", "--input_pipe", "--output_pipe", "--progress_pipe"]


def test_no_arguments(report):
    told = report(act(["report"], pipe_arguments="none"))
    assert len(told["argv"]) == 2
    assert told["environment"]["TASKIFACE_OUTPUT_PIPE"]


def test_arguments_are_never_read_by_a_shell(report):
    """Neither from the catalogue nor from the id."""
    id = "$(touch x);`id`|&*?~"
    entry = act(["report"])
    entry["argv"] += ["$HOME", "`id`", "a b", "*", "", "\n", "--", "'\""]
    argv = report(entry, id=id)["argv"]
    assert argv[2:10] == ["$HOME", "`id`", "a b", "*", "", "\n", "--", "'\""]
    assert argv[11] == id


def test_pipes_are_private(runner, client, tmp_path):
    runner(programs={"subject": act(["progress", "up"], ["wait_for", str(tmp_path / "go")])})
    id = client.submit("subject")
    client.wait_progress(id)
    (directory,) = [d for d, ds, fs in os.walk(tmp_path / "run") if "input" in fs]
    assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
    for name in ("input", "output", "progress"):
        st = os.stat(os.path.join(directory, name))
        assert stat.S_ISFIFO(st.st_mode) and stat.S_IMODE(st.st_mode) == 0o600
    (tmp_path / "go").touch()
    assert client.final(id).status == "SUCCESS"
    assert not os.path.exists(directory)


def test_working_directory(report, tmp_path):
    (tmp_path / "here").mkdir()
    assert report(act(["report"], directory=str(tmp_path / "here")))["directory"] == \
        str(tmp_path / "here")


def test_working_directory_of_its_own(report):
    told = report()
    assert told["directory"] == os.path.dirname(told["environment"]["TASKIFACE_INPUT_PIPE"])


def test_environment_of_the_catalogue(report):
    environment = report(act(["report"], environment={"COLOUR": "blue", "PATH": "/nowhere", "E": ""}))[
        "environment"]
    assert (environment["COLOUR"], environment["PATH"], environment["E"]) == ("blue", "/nowhere", "")


def no_secret(told, *more):
    for text in (PASSWORD, *more):
        assert text not in json.dumps(told), text
    assert not [k for k in told["environment"] if k.startswith(("TASKRUNNER_BROKER", "TERARIUM_MQ"))]
    assert "NOTIFY_SOCKET" not in told["environment"]


def test_no_secret_from_the_file(report):
    no_secret(report())


def test_no_secret_from_the_environment(report, broker, names):
    no_secret(report(broker={"username": None, "password": None, "addresses": None},
                     environment={"TASKRUNNER_BROKER_USERNAME": USER,
                                  "TASKRUNNER_BROKER_PASSWORD": PASSWORD,
                                  "TASKRUNNER_BROKER_ADDRESSES": broker.address}))


def test_no_secret_from_the_address(report, broker):
    no_secret(report(broker={"username": None, "password": None, "addresses": broker.url}))


def test_no_secret_from_a_file_of_its_own(report, tmp_path):
    file = tmp_path / "secret"
    file.write_text(PASSWORD + "\n")
    no_secret(report(broker={"password": None},
                     environment={"TASKRUNNER_BROKER_PASSWORD_FILE": str(file)}))


def test_no_secret_with_terarium(terarium):
    no_secret(json.loads(terarium().client.run(ACT, steps(["report"]))[-1].output))


def test_dies_with_the_runner(runner, client, tmp_path):
    """kill -9 of the runner: nothing that it started outlives it."""
    r = runner()
    id = client.submit("act", steps(
        ["ignore", 15], ["ignore", 1], ["fork", ["ignore", 15], ["sleep", 200]],
        ["daemonize", ["ignore", 15], ["sleep", 200]], ["progress", "up"], ["sleep", 200]))
    client.wait_progress(id)
    mine = r.processes([id])
    assert len(mine) >= 3
    r.kill()
    wait_until(lambda: not [p for p in mine if processes.is_alive(p)],
               lambda: "end of %s" % [processes.describe(p) for p in mine])
    wait_until(lambda: set(r.left_files()) <= {r.journal}, lambda: "%s is removed" % r.left_files())


def test_program_dies_with_the_runner_without_its_guardian(runner, client):
    """The kernel ends the program itself even if nobody else is left to do so."""
    r = runner()
    id = client.submit("act", steps(["ignore", 15], ["ignore", 1], ["progress", "up"], ["sleep", 200]))
    client.wait_progress(id)
    (program,) = r.processes([id])
    for guardian in set(processes.children(r.pid)) - {program}:
        os.kill(guardian, signal.SIGKILL)
    r.kill()
    wait_until(lambda: not processes.is_alive(program), "end of the program")
    for left in set(os.listdir(r.run_directory)) - {os.path.basename(r.journal)}:
        shutil.rmtree(os.path.join(r.run_directory, left))
        groups.remove(left.removeprefix("taskrunner-"))


def test_what_hides_dies_with_the_runner(runner, client, tmp_path):
    """It has left its session and its parent, and emptied its environment: only its control group tells
    whose it is. This test needs one."""
    r = runner(programs={"hides": program(
        "/bin/sh", "-c", "setsid -f env -i sh -c 'echo $$ >%s; exec sleep 200'; exec sleep 200"
        % (tmp_path / "pid"))})
    client.submit("hides")
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), "a pid")
    hidden = int((tmp_path / "pid").read_text())
    assert len(groups.groups(r.instance)) == 2, r.log
    with open("/proc/%d/environ" % hidden) as environment:
        assert "TASK" not in environment.read()
    r.kill()
    wait_until(lambda: not processes.is_alive(hidden), "end of the orphan")
    wait_until(lambda: not groups.groups(r.instance), "end of the groups")


def test_without_groups_it_says_why_and_works(runner, client):
    """As under Docker: the hierarchies can be read, not written."""
    read_only = 'mount --rbind /sys/fs/cgroup /sys/fs/cgroup && for point in "$@"; do shift; ' \
        '[ "$point" = -- ] && break; mount -o remount,bind,ro "$point" || exit; done && exec "$@"'
    points = [point for _, point, _ in mounts("cgroup2")]
    r = runner(wrapper=["unshare", "--mount", "/bin/sh", "-c", read_only, "sh", *points, "--"])
    r.wait_log("engine.no-cgroups", "Read-only")
    assert client.run("act", steps(["output", "x"]))[-1].output == b"x"
    assert r.log.count("cgroups") == 1


@pytest.mark.parametrize("cgroups", ["auto", "off"])
def test_groups_are_there_only_while_a_task_runs(runner, client, tmp_path, cgroups):
    r = runner(cgroups=cgroups)
    own = 0 if cgroups == "off" else 1
    id = client.submit("act", steps(["progress", "up"], ["wait_for", str(tmp_path / "go")]))
    client.wait_progress(id)
    assert len(groups.groups(r.instance)) == 2 * own
    (tmp_path / "go").touch()
    assert client.final(id).status == "SUCCESS"
    assert len(groups.groups(r.instance)) == own
    r.stop(client)
    assert groups.groups(r.instance) == []


def test_work_of_a_dead_runner_is_taken_over(runner, client):
    first = runner(broker=SOON)
    id = client.submit("act", steps(["progress", "up"], ["sleep", 200]))
    client.wait_progress(id)
    first.kill()
    second = runner(broker=SOON)
    client.wait(lambda: len([r for r in client.by_id[id] if r.headers["x-tr-runner"] == second.name]) > 1,
                "redelivery to the next runner")
    client.cancel(id)
    client.final(id)
    wait_until(lambda: second.left_task_files() == [], lambda: second.left_task_files())


def test_zombies_are_reaped(runner, client):
    """Orphans come to the runner as their subreaper; none stays a zombie."""
    r = runner(programs={"orphans": program(
        "/bin/sh", "-c", "i=0; while [ $i -lt 20 ]; do setsid -f sleep 0.05; i=$((i+1)); done; sleep 0.2")})
    assert client.run("orphans")[-1].status == "SUCCESS"
    wait_until(lambda: not processes.zombies_of(r.pid), "no zombies")
