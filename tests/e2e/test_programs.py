# SPDX-License-Identifier: Apache-2.0
"""Programs that misbehave. Each gets exactly one clear final response, and nothing of it is left:
the fixture that ends the runner looks for processes, files and descriptors."""

import os
import signal

import pytest

from support import processes
from support.runner import act, program, steps
from support.waiting import wait_until

BIG = b"i" * (8 << 20)  # more than any pipe holds


@pytest.fixture
def run(runner, client):
    """run(entry, input, **config): all responses of a program with this catalogue entry."""
    def start_and_run(entry, input=b"", config=None, **members):
        runner(programs={"subject": entry}, **(config or {}))
        return client.run("subject", input, **members)
    return start_and_run


def statuses(responses):
    return [r.status for r in responses]


def script(path, text, mode=0o755):
    path.write_text(text)
    path.chmod(mode)
    return program(path)


# What cannot be started: FAILED only, with the reason in words.

def exec_failed(responses, errno_name, *words):
    assert statuses(responses) == ["FAILED"], responses
    final = responses[-1]
    assert final.cause == "exec-failed"
    assert final.headers["x-tr-errno"] == errno_name
    for word in words:
        assert word in final.text, final.text
    assert "subject" in final.text


def test_directory(run, tmp_path):
    exec_failed(run(program(tmp_path)), "EACCES", "directory")


def test_not_executable(run, tmp_path):
    exec_failed(run(script(tmp_path / "p", "#!/bin/sh\n", 0o644)), "EACCES", "not executable")


def test_no_interpreter(run, tmp_path):
    exec_failed(run(script(tmp_path / "p", "#!/no/such/interpreter\n")), "ENOENT", "interpreter")


def test_neither_binary_nor_script(run, tmp_path):
    exec_failed(run(script(tmp_path / "p", "just text\n")), "ENOEXEC")


def test_empty_file(run, tmp_path):
    exec_failed(run(script(tmp_path / "p", "")), "ENOEXEC")


def test_file_that_is_gone(run, tmp_path):
    responses = run(program(tmp_path / "gone"))
    assert statuses(responses) == ["FAILED"]
    assert responses[0].cause in ("not-found", "exec-failed")
    assert "subject" in responses[0].text


def test_endless_chain_of_interpreters(run, tmp_path):
    exec_failed(run(script(tmp_path / "p", "#!%s\n" % (tmp_path / "p"))), "ELOOP")


def test_link_that_leads_to_itself(run, tmp_path):
    (tmp_path / "p").symlink_to("p")
    exec_failed(run(program(tmp_path / "p")), "ELOOP")


def test_working_directory_that_is_gone(run, tmp_path):
    responses = run(program("/bin/true", directory=str(tmp_path / "gone")))
    assert statuses(responses) == ["FAILED"]
    assert responses[0].cause == "exec-failed"
    assert "directory" in responses[0].text


def test_arguments_longer_than_the_kernel_takes(run, tmp_path):
    exec_failed(run(program("/bin/true", "x" * (200 << 10))), "E2BIG")


def test_program_that_is_a_fifo(run, tmp_path):
    os.mkfifo(tmp_path / "p", 0o755)
    exec_failed(run(program(tmp_path / "p")), "EACCES")


def test_python_file_runs_through_python(runner, client, tmp_path):
    """.py files of a program directory need neither first line nor permission."""
    script(tmp_path / "p.py", "print('hello from python')\n", 0o644)
    runner(program_directories=[str(tmp_path)])
    responses = client.run("p.py")
    assert statuses(responses) == ["RUNNING", "SUCCESS"]
    assert responses[-1].stdout == "hello from python\n"


def test_python_file_that_is_gone(runner, client, tmp_path):
    runner(program_directories=[str(tmp_path)])
    responses = client.run("gone.py")
    assert statuses(responses) == ["FAILED"]
    assert responses[0].cause == "not-found"
    assert "gone.py" in responses[0].text


# What starts and then does not play along.

def test_exits_well_before_reading(run):
    responses = run(program("/bin/true"), BIG)
    assert statuses(responses) == ["RUNNING", "SUCCESS"]
    assert responses[-1].output == b""


def test_exits_badly_before_reading(run):
    responses = run(program("/bin/false"), BIG)
    assert statuses(responses) == ["RUNNING", "FAILED"]
    assert (responses[-1].cause, responses[-1].headers["x-tr-exit-code"]) == ("exited", 1)


def test_reads_a_little_and_closes(run):
    code = 'exec 3<"$TASKIFACE_INPUT_PIPE"; dd bs=1 count=10 <&3 >"$TASKIFACE_OUTPUT_PIPE"; exec 3<&-'
    responses = run(program("/bin/sh", "-c", code), BIG)
    assert responses[-1].status == "SUCCESS"
    assert responses[-1].output == BIG[:10]


def test_never_reads_but_works(run):
    responses = run(act(["progress", "one"], ["output", "two"]), BIG)
    assert statuses(responses) == ["RUNNING", "RUNNING", "SUCCESS"]
    assert responses[-1].output == b"two"


def test_never_reads_and_hangs(run):
    responses = run(act(["sleep", 200]), BIG, timeoutSeconds=0.5)
    assert statuses(responses) == ["RUNNING", "FAILED"]
    assert responses[-1].cause == "timed-out"


def test_opens_the_input_but_never_reads(run):
    responses = run(program("/bin/sh", "-c", 'exec 3<"$TASKIFACE_INPUT_PIPE"; exec sleep 200'), BIG,
                    timeoutSeconds=0.5)
    assert responses[-1].cause == "timed-out"


def test_reads_the_input_late_and_slowly(run):
    code = """
import os, time
fd = os.open(os.environ["TASKIFACE_INPUT_PIPE"], os.O_RDONLY)
total, n = 0, 1
while n:
    n = len(os.read(fd, 100000)); total += n
    time.sleep(0.001)
open(os.environ["TASKIFACE_OUTPUT_PIPE"], "w").write(str(total))
"""
    responses = run(program("/usr/bin/python3", "-ISc", code), BIG)
    assert responses[-1].output == str(len(BIG)).encode()


def test_reads_the_input_twice(run):
    """The second open finds nothing, and the program gets an end of file or waits; it never gets
    the runner stuck."""
    code = ('cat <"$TASKIFACE_INPUT_PIPE" >"$TASKIFACE_OUTPUT_PIPE"; '
            'timeout 0.2 cat <"$TASKIFACE_INPUT_PIPE"; exit 0')
    responses = run(program("/bin/sh", "-c", code), b"data", timeoutSeconds=2)
    assert responses[-1].is_final


def test_never_writes(run):
    responses = run(act())
    assert statuses(responses) == ["RUNNING", "SUCCESS"]
    assert responses[-1].output == b""


def test_closes_early(run):
    """All its pipes opened and closed, its standard descriptors too, long before it ends."""
    responses = run(act(["write_once", "output", ""], ["write_once", "progress", ""],
                        ["close", 0], ["close", 1], ["close", 2],
                        ["progress", "later"], ["output", "last"]))
    assert statuses(responses) == ["RUNNING", "RUNNING", "SUCCESS"]
    assert responses[-1].output == b"last"


def test_removes_its_pipes(run):
    responses = run(program("/bin/sh", "-c", """
        exec 4>"$TASKIFACE_OUTPUT_PIPE"; d=$(dirname "$TASKIFACE_OUTPUT_PIPE")
        rm -rf "$d"; echo here >&4"""))
    assert responses[-1].status == "SUCCESS"
    assert responses[-1].output == b"here\n"


def test_leaves_files_in_its_directory(run):
    """The private directory is removed with whatever is in it."""
    responses = run(program("/bin/sh", "-c", """
        cd "$(dirname "$TASKIFACE_OUTPUT_PIPE")" && mkdir -p a/b && echo x >a/b/c && chmod 500 a/b &&
        ln -s / root && mkfifo pipe"""))
    assert responses[-1].status == "SUCCESS"
    assert os.path.isdir("/etc")


def test_makes_its_directory_unwritable(run):
    responses = run(program("/bin/sh", "-c", 'chmod 000 "$(dirname "$TASKIFACE_OUTPUT_PIPE")"'))
    assert responses[-1].status == "SUCCESS"


def test_writes_before_it_reads(run):
    """No pipe waits for another: much output, much progress, and only then the input."""
    responses = run(act(["output_size", 4 << 20], ["close", "output"],
                        ["flood", 100, 1000], ["close", "progress"], ["read"],
                        ["progress", "read"]), BIG)
    assert responses[-1].status == "SUCCESS"
    assert len(responses[-1].output) == 4 << 20
    assert len(responses) == 1 + 100 + 1 + 1


def test_reads_its_own_output(run):
    """It takes from the runner what it wrote itself: its loss, nobody else's."""
    code = 'timeout 0.2 cat "$TASKIFACE_OUTPUT_PIPE" & echo text >"$TASKIFACE_OUTPUT_PIPE"; wait; exit 0'
    assert run(program("/bin/sh", "-c", code), timeoutSeconds=20)[-1].is_final


def test_output_in_several_openings(run):
    responses = run(act(["output", "one "], ["output", "two "], ["output", "three"]))
    assert responses[-1].output == b"one two three"


def test_garbage_to_progress(run):
    """Bytes without sense are lines at best; the task goes on."""
    garbage = bytes(range(256)).decode("latin-1")
    responses = run(act(*[["write", "progress", garbage * 3]] * 5, ["close", "progress"],
                        ["output", "fine"]))
    assert responses[-1].status == "SUCCESS"
    assert responses[-1].output == b"fine"


@pytest.mark.parametrize("text", ["{", "[[[[", '{"a": "', "\x8f\x01", "\xdf\xff\xff\xff\xff", "\0" * 100,
                                  "\xc1\xc1", "}" * 100, '"', "\n" * 1000, "{" * 10000, "[" * 10000],
                         ids=lambda t: repr(t[:12]))
def test_unfinished_progress(run, text):
    """What never ends is one record when the program ends."""
    responses = run(act(["progress", text], ["output", "fine"]))
    assert responses[-1].status == "SUCCESS"
    assert responses[-1].output == b"fine"


def test_progress_record_over_the_limit(run):
    responses = run(act(["write", "progress", "{\"a\": \"" + "x" * 5000], ["sleep", 200]),
                    config={"limits": {"progress_record": "4KiB"}})
    assert statuses(responses) == ["RUNNING", "FAILED"]
    assert responses[-1].cause == "protocol-error"
    assert "progress" in responses[-1].text


def test_output_over_the_limit(run):
    responses = run(act(["output_size", 3 << 20], ["sleep", 200]), config={"limits": {"output": "1MiB"}})
    assert statuses(responses) == ["RUNNING", "FAILED"]
    assert responses[-1].cause == "output-too-large"
    assert "1MiB" in responses[-1].text


def test_output_at_the_limit(run):
    responses = run(act(["output_size", 1 << 20]), config={"limits": {"output": "1MiB"}})
    assert responses[-1].status == "SUCCESS"
    assert len(responses[-1].output) == 1 << 20


def test_output_too_large_after_exit(run, tmp_path):
    """The excess comes from a child that outlives the program."""
    up = str(tmp_path / "up")
    responses = run(act(["fork", ["open", "output"], ["touch", up], ["sleep", 0.2],
                         ["output_size", 3 << 20]], ["wait_for", up], ["exit", 0]),
                    config={"limits": {"output": "1MiB", "drain": "60s"}})
    assert responses[-1].cause == "output-too-large"


# Processes that stay.

def pid_from(path):
    return int(wait_until(lambda: path.exists() and path.read_text().strip(), "pid in %s" % path))


@pytest.mark.parametrize("how", ["fork", "daemonize"])
def test_leaves_a_process_on_its_pipes(run, tmp_path, how):
    """The program is done, a child of it holds all pipes: after the drain time it is judged, and the
    child ended."""
    stay = [["open", "output"], ["open", "progress"], ["ignore", 15], ["ignore", 1],
            ["touch", str(tmp_path / "stays")], ["sleep", 250]]
    responses = run(act([how, *stay], ["wait_for", str(tmp_path / "stays")], ["output", "mine"]),
                    config={"limits": {"drain": "300ms"}})
    assert statuses(responses) == ["RUNNING", "SUCCESS"]
    assert responses[-1].output == b"mine"


@pytest.mark.parametrize("how", ["fork", "daemonize"])
def test_child_writes_the_output_after_the_program_ended(run, how, tmp_path):
    """Exit and end of output are separate facts: what comes within the drain time counts."""
    up = str(tmp_path / "up")
    responses = run(act([how, ["open", "output"], ["touch", up], ["sleep", 0.3],
                         ["write", "output", "late"]], ["wait_for", up], ["exit", 0]),
                    config={"limits": {"drain": "60s"}})
    assert statuses(responses) == ["RUNNING", "SUCCESS"]
    assert responses[-1].output == b"late"


def test_process_that_escaped_is_ended_with_its_task(run, tmp_path):
    """Double fork and a session of its own, all descriptors closed: it still dies with the task."""
    pid_file = tmp_path / "pid"
    code = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 100)
        open("%s.new", "w").write(str(os.getpid()))
        os.rename("%s.new", "%s")
        time.sleep(250)
    os._exit(0)
while not os.path.exists("%s"):
    time.sleep(0.01)
""" % (4 * (pid_file,))
    responses = run(program("/usr/bin/python3", "-ISc", code))
    assert responses[-1].status == "SUCCESS"
    pid = pid_from(pid_file)
    wait_until(lambda: not processes.is_alive(pid), "end of the escaped process")


def test_process_that_escaped_and_hid_is_ended(run, tmp_path):
    """As above, with an empty environment: nothing tells whose it is but whose child it became."""
    pid_file = tmp_path / "pid"
    responses = run(program("/bin/sh", "-c", """
        setsid -f env -i /bin/sh -c 'echo $$ >"%s".new; mv "%s".new "%s"; exec sleep 250' \\
            </dev/null >/dev/null 2>&1
        while ! [ -e "%s" ]; do sleep 0.01; done""" % (4 * (pid_file,))))
    assert responses[-1].status == "SUCCESS"
    pid = pid_from(pid_file)
    wait_until(lambda: not processes.is_alive(pid), "end of the hidden process")


def test_ignores_sigterm(run):
    responses = run(act(["ignore", 15], ["progress", "deaf"], ["sleep", 200]),
                    config={"limits": {"grace": "300ms"}}, timeoutSeconds=0.5)
    assert responses[-1].cause == "timed-out"
    assert responses[-1].headers.get("x-tr-signal") in (None, 9)


def test_whole_group_ignores_sigterm(run, tmp_path):
    deaf = [["ignore", 15], ["sleep", 200]]
    responses = run(act(["ignore", 15], ["fork", *deaf], ["fork", ["fork", *deaf], *deaf],
                        ["sleep", 200]), config={"limits": {"grace": "200ms"}}, timeoutSeconds=0.5)
    assert responses[-1].cause == "timed-out"


def test_forks_without_end(run):
    """A tree of 200 processes (it stops by itself there) is ended as a whole."""
    responses = run(act(["fork_tree", 200]), timeoutSeconds=1,
                    config={"limits": {"grace": "200ms"}})
    assert statuses(responses) == ["RUNNING", "FAILED"]
    assert responses[-1].cause == "timed-out"


def test_forks_faster_than_it_is_ended(run):
    """A chain in which each process starts the next and ends: 500 links at most."""
    code = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for i in range(500):
    if os.fork():
        os._exit(0)
    if i % 3 == 0:
        os.setsid()
    time.sleep(0.005)
"""
    responses = run(program("/usr/bin/python3", "-ISc", code),
                    config={"limits": {"drain": "200ms"}})
    assert responses[-1].status == "SUCCESS"


DEADLY = [s for s in signal.valid_signals()
          if s not in (signal.SIGCHLD, signal.SIGCONT, signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN,
                       signal.SIGTTOU, signal.SIGURG, signal.SIGWINCH)]


def test_dies_by_each_signal(runner, client):
    runner(log={"level": "info"}, queues=[{"name": client.names.queue, "slots": 8}])
    ids = {int(s): client.submit("act", steps(["kill", int(s)])) for s in DEADLY}
    for number, id in ids.items():
        responses = client.responses(id)
        assert statuses(responses) == ["RUNNING", "FAILED"], number
        final = responses[-1]
        assert final.headers["x-tr-signal"] == number
        assert final.cause == "killed" or (number == 9 and final.cause == "out-of-memory")
        assert str(number) in final.text or number == 9, final.text


def test_stops_itself(run):
    """A stopped program cannot act on SIGTERM; it is ended all the same."""
    responses = run(act(["kill", signal.SIGSTOP], ["sleep", 200]),
                    config={"limits": {"grace": "200ms"}}, timeoutSeconds=0.5)
    assert responses[-1].cause == "timed-out"


def test_stopped_program_is_woken_to_end(run):
    """SIGTERM reaches it, and with it comes the SIGCONT without which it could not act on it."""
    final = run(act(["on_signal", 15, ["stderr", "cleaned up"], ["exit", 0]],
                    ["kill", signal.SIGSTOP], ["sleep", 200]), timeoutSeconds=2)[-1]
    assert (final.cause, final.stderr) == ("timed-out", "cleaned up")


def test_exits_with_every_code(runner, client):
    runner(log={"level": "info"})
    codes = (0, 1, 2, 3, 64, 99, 126, 127, 128, 137, 143, 255)
    ids = {code: client.submit("act", steps(["exit", code])) for code in codes}
    for code, id in ids.items():
        final = client.final(id)
        assert final.status == ("FAILED" if code else "SUCCESS")
        assert final.headers["x-tr-exit-code"] == code
        assert not code or (final.cause == "exited" and str(code) in final.text)


def test_kills_its_group(run):
    responses = run(program("/bin/sh", "-c", "sleep 200 & kill -KILL 0"))
    assert responses[-1].cause in ("killed", "out-of-memory")


def test_signals_its_parent(runner, client):
    """Tasks run as the runner's user, so they can reach it; SIGURG is one that does no harm."""
    runner(programs={"subject": program("/bin/sh", "-c", "kill -URG $PPID")})
    assert client.run("subject")[-1].status == "SUCCESS"


def test_memory_of_a_task_is_measured(run):
    code = "x = bytearray(200 << 20)"
    final = run(program("/usr/bin/python3", "-ISc", code))[-1]
    assert final.status == "SUCCESS"
    assert 200 << 20 <= final.headers["x-tr-peak-memory"] < 1 << 30


def test_cpu_time_of_the_tree_is_measured(run):
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    final = run(program("/bin/sh", "-c", 'python3 -ISc "%s"; exit 0' % burn))[-1]
    assert final.headers["x-tr-cpu-ms"] >= 300
    assert final.headers["x-tr-wall-ms"] >= 300


def test_a_hundred_misfits_leave_nothing(runner, client, tmp_path):
    """Descriptors and files after a mixed hundred are those of before."""
    r = runner(limits={"grace": "100ms", "drain": "100ms"}, log={"level": "info"},
               queues=[{"name": client.names.queue, "slots": 8}],
               programs={"directory": program(tmp_path), "true": program("/bin/true"),
                         "gone": program(tmp_path / "gone"),
                         "stays": act(["fork", ["open", "output"], ["sleep", 200]], ["exit", 0])})
    kinds = [("act", steps(["output", "x"])), ("act", steps(["exit", 1])), ("true", BIG[:200000]),
             ("act", steps(["kill", 11])), ("directory", b""), ("gone", b""), ("stays", b""),
             ("unknown", b""), ("act", steps(["ignore", 15], ["sleep", 200])), ("act", b"not json")]

    def batch():
        ids = [client.submit(*kinds[i % len(kinds)], timeoutSeconds=2) for i in range(50)]
        for id in ids:
            assert client.final(id).is_final
        wait_until(lambda: not r.processes(client.ids), "no process left")
        wait_until(lambda: r.left_task_files() == [], lambda: r.left_task_files())

    batch()
    before = processes.list_fds(r.pid)
    batch()
    wait_until(lambda: len(processes.list_fds(r.pid)) <= len(before),
               lambda: "as many descriptors as before: %s, %s" % (before, processes.list_fds(r.pid)))
