# SPDX-License-Identifier: Apache-2.0
"""taskctl top and others in a real terminal: what is typed there, and what is seen."""

import json
import os
import re
import signal
import uuid

import pytest

from support.paths import TASKCTL
from support.processes import descendants
from support.runner import steps
from support.taskctl import Taskctl
from support.terminal import Terminal
from support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("all_killed")
HANG = steps(["progress", '{"fraction": 0.25, "message": "a quarter"}'], ["sleep", 200])
KEYS = "q quit  j/k move"


@pytest.fixture
def terminal(tmp_path, broker, names):
    """terminal(columns, lines, NAME=value…): a shell where `taskctl` speaks to the broker."""
    made = []
    directory = tmp_path / "terminal"
    (directory / "bin").mkdir(parents=True)
    (directory / "bin" / "taskctl").symlink_to(TASKCTL)

    def start(columns=100, lines=24, **more):
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("TASKCTL_", "TMUX"))}
        made.append(Terminal(directory, {
            **inherited, "PATH": "%s:%s" % (directory / "bin", os.environ["PATH"]),
            "XDG_CONFIG_HOME": str(directory), "TASKCTL_BROKER": broker.url,
            "TASKCTL_CONTROL": names.control, **more}, columns, lines))
        return made[-1]
    yield start
    for t in made:
        t.close()


def hang(client, **members):
    id = client.submit("act", HANG, **members)
    client.wait_progress(id)
    return id


def ids_on(screen):
    """In the order of the lines."""
    return [word for line in screen for word in re.findall(r"\btask-\w+", line)[:1]
            if " act " in line]


def chosen_on(screen):
    """Of the line that is marked, where there is no colour."""
    lines = [line for line in screen if line.startswith("> ")]
    return ids_on(lines)[0] if lines else None


def top(terminal, *options, **more):
    """A shell that has run something before, in which top is started now."""
    t = terminal(**more)
    t.run("echo be''fore; stty -g >before")
    t.wait("before")
    t.run(" ".join(["taskctl top", *options, "; echo status=$?; stty -g >after"]))
    return t


def restored(t, status):
    """All is as it was, and what was there before is seen again."""
    screen = t.wait("before", "status=%d" % status, gone=[KEYS])
    wait_until(lambda: (t.directory / "after").exists() and
               (t.directory / "after").read_text(), "the settings of the terminal")
    assert (t.directory / "after").read_text() == (t.directory / "before").read_text()
    cursor, alternate, wrap = t.tmux("display-message", "-p", "-t", "main", "#{cursor_flag} "
                                     "#{alternate_on} #{wrap_flag}").split()
    assert (cursor, alternate, wrap) == ("1", "0", "1")
    return screen


def pid_of_top(t):
    shell = int(t.tmux("display-message", "-p", "-t", "main", "#{pane_pid}"))
    return next(p for p in descendants(shell) if os.path.samefile("/proc/%d/exe" % p, TASKCTL))


def test_top(runner, client, terminal):
    """Comes up by itself, and what starts and ends is seen."""
    r = runner()
    hang(client, id="task-a", group="g")
    t = top(terminal, columns=160)
    screen = t.wait("task-a", KEYS)
    assert screen[0].startswith("1 runner, 1 of 4 slots used · running 1")
    assert screen[1].split()[:3] == ["ID", "PROGRAM", "STATE"]
    assert "act" in screen[2] and "running" in screen[2] and r.name[:10] in screen[2]
    assert screen[-1].startswith(KEYS) and len(screen) == 24
    hang(client, id="task-b")
    t.wait("task-a", "task-b", "2 of 4 slots used · running 2")
    client.cancel("task-a")
    t.wait("task-b", "running 1", gone=["task-a"])
    t.press("q")
    restored(t, 0)


def test_top_moves_and_sorts(runner, client, terminal):
    runner(queues=[{"name": client.names.queue, "slots": 20}])
    ids = ["task-%02d" % i for i in range(12)]
    for id in ids:
        hang(client, id=id)
    t = top(terminal, lines=10, NO_COLOR="1")
    t.wait("running 12")
    # The order: by the age at first, the youngest on top.
    screen = t.wait("AGE↑", condition=lambda s: chosen_on(s) is not None)
    assert ids_on(screen) and len(ids_on(screen)) == 7
    start = chosen_on(screen)
    t.press("End")
    t.wait(condition=lambda s: chosen_on(s) == ids_on(s)[-1] != start)
    t.press("Home")
    t.wait(condition=lambda s: chosen_on(s) == ids_on(s)[0])
    # Of numbers the largest come first.
    for column in ("CPU↓", "MEMORY↓", "RUNNER↑", "ID↑", "PROGRAM↑", "STATE↑", "PROGRESS↓", "AGE↑",
                   "CPU↓", "MEMORY↓", "RUNNER↑", "ID↑"):
        t.press("s")
        t.wait("· by " + column[:-1], column)
    t.press("Home")
    t.wait(condition=lambda s: chosen_on(s) == "task-00" and ids_on(s) == ids[:7])
    t.press("j")
    t.wait(condition=lambda s: chosen_on(s) == "task-01")
    t.press("Down", "Down")
    t.wait(condition=lambda s: chosen_on(s) == "task-03")
    t.press("k")
    t.wait(condition=lambda s: chosen_on(s) == "task-02")
    t.press("Up")
    t.wait(condition=lambda s: chosen_on(s) == "task-01")
    t.press("NPage")
    t.wait(condition=lambda s: chosen_on(s) == "task-08" and ids_on(s)[-1] == "task-08")
    t.press("PPage")
    t.wait(condition=lambda s: chosen_on(s) == "task-01" and ids_on(s)[0] == "task-01")
    # The selected one stays the selected one.
    t.press("S")
    t.wait("ID↓", condition=lambda s: chosen_on(s) == "task-01")
    t.press("Home")
    t.wait(condition=lambda s: chosen_on(s) == "task-11" and ids_on(s) == ids[:4:-1])
    t.press("q")
    restored(t, 0)


def test_top_filters(runner, client, terminal):
    runner()
    hang(client, id="task-a", group="Müller")
    hang(client, id="task-b", group="other")
    t = top(terminal)
    t.wait("task-a", "task-b")
    t.type("fMÜLLX")
    t.wait("filter: MÜLLX_", "none", gone=["task-a", "task-b"])
    t.press("BSpace", "BSpace", "BSpace", "BSpace")
    t.wait("filter: M_")
    t.press("C-u")
    t.type("müll")
    t.wait("task-a", "filter: müll_", gone=["task-b"])
    t.press("Enter")
    t.wait("task-a", "· filter: müll", KEYS, gone=["task-b"])
    t.type("f")
    t.press("C-u")
    t.type("qqq")
    t.wait("filter: qqq_", gone=["task-a"])
    t.press("Escape")
    t.wait("task-a", "· filter: müll", KEYS, gone=["task-b"])
    t.type("q")
    restored(t, 0)


@pytest.mark.parametrize("key, said", [("c", "cancel"), ("K", "kill")])
def test_top_ends_what_is_selected(runner, client, terminal, key, said):
    """After it has asked; any answer but y is no."""
    r = runner()
    hang(client, id="task-a")
    t = top(terminal)
    t.wait("task-a")
    t.type(key)
    t.wait("%s task-a? y/n" % said)
    t.type("n")
    t.wait("nothing is done", "task-a")
    t.type(key)
    t.wait("%s task-a? y/n" % said)
    t.type("y")
    t.wait("%s: accepted by %s" % (said, r.name))
    assert client.final("task-a").status == "CANCELLED"
    t.wait("none", gone=["task-a "])
    assert r.log.count(" task.cancel ") == 1
    t.type("c")  # there is nothing to end
    t.type("q")
    restored(t, 0)


def test_top_never_ends_another_task_than_it_asked_about(runner, client, terminal):
    runner()
    hang(client, id="task-a")
    t = top(terminal)
    t.wait("task-a")
    t.type("c")
    t.wait("cancel task-a? y/n")
    hang(client, id="task-b")
    client.cancel("task-a")
    t.wait("the task has ended", "task-b")
    t.type("y")
    t.wait(KEYS, "task-b")
    assert client.ask("status", id="task-b")[0]["state"] == "running"
    t.type("q")
    restored(t, 0)


def test_top_pauses_and_resumes(runner, client, terminal):
    """What runs is paused (or the runner says why not); what is held is played."""
    runner()
    held = client.submit("act", steps(), id="task-a", hold=True)
    t = top(terminal)
    t.wait("task-a", "held 1")
    t.type("p")
    assert client.final(held).status == "SUCCESS"
    hang(client, id="task-b")
    t.wait("task-b", "running 1")
    t.type("p")
    t.wait("pause: ")
    t.type("q")
    restored(t, 0)


def test_top_follows_the_size(runner, client, terminal):
    runner()
    hang(client, id="task-a")
    t = top(terminal, columns=100, lines=24)
    t.wait("task-a", KEYS)
    for columns, lines in ((60, 10), (20, 5), (200, 40), (10, 3), (5, 2), (3, 1), (100, 24)):
        t.resize(columns, lines)
        t.wait(condition=lambda s: len(s) == lines and all(len(l) <= columns for l in s) and (
            lines < 4 or s[-1].startswith("q quit")) and (columns < 60 or ids_on(s) == ["task-a"]))
    t.wait("task-a", KEYS)
    t.type("q")
    restored(t, 0)


@pytest.mark.parametrize("how", ["C-c", "TERM", "HUP", "INT", "QUIT"])
def test_top_restores_the_terminal(runner, client, terminal, how):
    runner()
    hang(client, id="task-a")
    t = top(terminal)
    t.wait("task-a", KEYS)
    if how == "C-c":
        t.press("C-c")
    else:
        os.kill(pid_of_top(t), getattr(signal, "SIG" + how))
    screen = "\n".join(restored(t, 130))
    assert how == "C-c" or "taskctl: ended by SIG" + how in screen


@pytest.mark.parametrize("how", ["C-z", "TSTP"])
def test_top_can_be_suspended(runner, client, terminal, how):
    runner()
    hang(client, id="task-a")
    t = terminal()
    t.run("set -m; echo be''fore; stty -g >before; taskctl top")
    t.wait("task-a", KEYS)
    if how == "C-z":
        t.press("C-z")
    else:
        os.kill(pid_of_top(t), signal.SIGTSTP)
    t.wait("before", "Stopped", gone=[KEYS])
    t.run("echo still''here; fg; echo status=$?; stty -g >after")
    t.wait("task-a", KEYS, gone=["stillhere"])
    t.type("q")
    assert "stillhere" in "\n".join(restored(t, 0))


def test_top_says_that_the_broker_is_lost(runner, client, clients, terminal, own_broker, names,
                                          start_runner, tmp_path):
    t = terminal(TASKCTL_BROKER=own_broker.url)
    connection = own_broker.connect()
    connection.channel().exchange_declare(names.control, "fanout")
    t.run("echo be''fore; stty -g >before; taskctl top; echo status=$?; stty -g >after")
    t.wait("no runner answers: is one running", KEYS)
    own_broker.ctl("close_all_connections", "test")
    assert "lost the connection to the broker" in "\n".join(restored(t, 3))


def test_top_without_exchange(terminal, client):
    t = top(terminal)
    screen = " ".join(restored(t, 4))
    assert "there is no control exchange" in screen


def test_top_of_an_enemy(runner, client, terminal):
    """What tasks say does not steer the terminal."""
    runner()
    id = client.submit("act", HANG, id="task-\x1b[31m", group="\x1b]0;title\x07 \u202ereverse",
                       hold=True)
    t = top(terminal, columns=160)
    t.wait("task- [31m", "held 1")
    t.type("c")
    t.wait("cancel task- [31m? y/n")
    t.type("y")
    client.final(id)
    t.wait("accepted by")
    t.type("q")
    restored(t, 0)


def test_top_needs_a_terminal(tmp_path, broker, names, terminal):
    taskctl = Taskctl(tmp_path, broker, names)
    status, out, err = taskctl("top")
    assert (status, out) == (2, b"")
    assert "stdout is no terminal" in err and "taskctl ps" in err
    taskctl.stop()
    t = terminal()
    t.run("taskctl top </etc/hostname; echo status=$?")
    t.wait("stdin is no terminal", "status=2")
    t.run("clear; TERM=dumb taskctl top; echo status=$?")
    t.wait("TERM says", "status=2")
    t.run("clear; taskctl top -i soon; taskctl top x; echo status=$?")
    t.wait("--interval: 'soon'", "'x' is too much", "status=2")


@pytest.mark.parametrize("columns, least", [(80, 8), (70, 7), (50, 4)])
def test_ps_of_uuids(runner, client, terminal, columns, least):
    """What everybody wants to see is there; ids give way, and can still be told apart."""
    runner()
    id = hang(client, id=str(uuid.uuid4()))
    client.wait(lambda: "memory" in client.ask("status", id=id)[0], "its memory")
    t = terminal(columns=columns)

    def lines(command):
        t.run("clear; " + command)
        return t.wait("running 1\n$", gone=[command])
    header, row = lines("taskctl ps")[:2]
    titles = header.split()
    assert titles == ["ID", "PROGRAM", "STATE", "PROGRESS", "AGE", "CPU", "MEMORY", "RUNNER"][
        :len(titles)] and len(titles) >= least
    begin, end = row.split()[0].split("…")
    assert id.startswith(begin) and id.endswith(end) and len(begin) >= len(end) >= 5
    assert row.split()[1:3] == ["act", "running"]
    assert lines("taskctl ps --sort group")[0].split()[-1] == "GROUP"
    assert lines("taskctl ps --wide")[1].startswith(id)


def test_what_is_waited_for(runner, client, terminal, taskctl):
    runner(labels={"gpu": 1})
    hang(client, labels=["gpu"])
    id = client.submit("act", steps(), labels=["gpu"])
    client.wait(lambda: client.ask("status", id=id)[0].get("waits_for") == "gpu", "it waits")
    status, out, _ = taskctl("ps")
    assert status == 0 and [re.split("  +", line)[2] for line in out.decode().splitlines()
                            if line.startswith(id)] == ["waiting: gpu"]
    said = {a["id"]: a["waits_for"] for a in map(json.loads, taskctl(
        "ps", "-o", "json")[1].splitlines())}
    assert said.pop(id) == "gpu" and list(said.values()) == [None]
    assert "\nwaits for:   gpu\n" in taskctl("status", id)[1].decode()
    t = terminal(columns=100)
    t.run("taskctl top")
    t.wait("waiting: gpu", "waiting 1 · running 1")
    t.type("q")


def test_top_of_uuids(runner, client, terminal):
    """The column by which rows are sorted is never left out."""
    runner()
    id = hang(client, id=str(uuid.uuid4()))
    client.wait(lambda: "memory" in client.ask("status", id=id)[0], "its memory")
    t = top(terminal, columns=80)
    screen = t.wait("AGE↑", id[:4])
    assert screen[1].split()[:7] == ["ID", "PROGRAM", "STATE", "PROGRESS", "AGE↑", "CPU", "MEMORY"]
    t.resize(50, 24)
    t.wait("AGE↑")
    for column in ("CPU", "MEMORY", "RUNNER"):
        t.press("s")
        t.wait(condition=lambda s: re.search(column + "[↑↓]", s[1]))
    t.press("q")
    restored(t, 0)


def test_ps_in_a_terminal(runner, client, terminal):
    """Cut to the width, with colours and a line of counts."""
    runner()
    hang(client, id="task-" + "long" * 20)
    held = client.submit("act", steps(), id="task-b", hold=True)
    client.wait(lambda: len(client.ask("list")) == 2, "all are here")
    t = terminal(columns=70)
    t.run("taskctl ps")
    screen = t.wait("held 1 · running 1")
    assert not any("long" * 20 in line for line in screen)
    assert any("…" in line and "running" in line for line in screen)
    assert "\x1b[36mrunning" in "\n".join(t.screen(styled=True))
    t.run("clear; taskctl runners")
    t.wait("ready 1")
    client.control({"op": "play", "all": True})
    client.final(held)
