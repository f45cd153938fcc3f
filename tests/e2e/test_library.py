# SPDX-License-Identifier: Apache-2.0
"""What libtaskclient is for those who build against it. That taskctl works on it, others test."""

import os
import re
import subprocess
import uuid

import pytest

from support.library import defined, needed
from support.paths import ROOT
from support.runner import sanitizer_environment, sanitizer_reports, steps
from support.waiting import DEADLINE, wait_until

EXAMPLE = os.path.join(ROOT, "examples", "c", "tasks.c")
OURS = re.compile(r"_*[atu]?b?san|TASKCLIENT_0\.1$")

# Asks for what a runner knows of a task, by a loop of its own.
CXX = r"""
#include <taskclient.h>
#include <taskclient.h>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <poll.h>

int main(int argc, char **argv)
{
    taskclient_options options = {};
    taskclient_error err = {};
    taskclient *client = nullptr;
    int status = argc == 2 && std::setlocale(LC_ALL, "") ? -1 : 2;

    options.broker = std::getenv("TASKCTL_BROKER");
    options.control = std::getenv("TASKCTL_CONTROL");
    if (taskclient_open(&options, &client, &err) < 0) {
        std::fprintf(stderr, "%s\n", err.text);
        return 3;
    }
    taskclient_control control = {};
    control.op = "status";
    control.id = argv[1];
    if (taskclient_ask(client, &control, nullptr, &err) < 0)
        status = 4;
    while (status < 0) {
        taskclient_event *event = nullptr;
        double progress = -1;
        int r = taskclient_next(client, &event, &err);

        if (r < 0)
            status = 5;
        if (r == 0) {
            pollfd p = { taskclient_fd(client), POLLIN, 0 };
            poll(&p, 1, taskclient_wait_ms(client));
        }
        if (r == 1 && event->kind == TASKCLIENT_NO_ANSWER)
            status = 6;
        if (r == 1 && event->kind == TASKCLIENT_ANSWER) {
            status = taskclient_answer_number(event->answer, "progress", &progress) ? 0 : 7;
            std::printf("%s %d\n", taskclient_answer_text(event->answer, "progress"),
                        static_cast<int>(progress * 1000));
        }
        taskclient_event_free(event);
    }
    taskclient_close(client);
    return status;
}
"""


@pytest.fixture
def run(tmp_path, broker, names, library):
    def run(*argv, **environment):
        r = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                           timeout=DEADLINE,
                           env={**os.environ, **library.environment, **sanitizer_environment(tmp_path),
                                "TASKCTL_BROKER": broker.url, "TASKCTL_CONTROL": names.control,
                                "TASKCTL_QUEUE": names.queue, **environment})
        return r.returncode, r.stdout, r.stderr

    yield run
    assert sanitizer_reports(tmp_path) == ""


def declared(library):
    names = set(re.findall(r"^TASKCLIENT_API [^(]*?(taskclient_\w+)\(", library.header.read_text(), re.M))
    assert len(names) > 30
    return names


def test_symbols_of_the_shared_library(library):
    exported = {name for name in defined(library.shared, "-D") if not OURS.match(name)}
    assert exported == {name + "@@TASKCLIENT_0.1" for name in declared(library)}
    assert "libtaskclient.so.0" in subprocess.check_output(["readelf", "-d", library.shared], text=True)


def test_symbols_of_the_static_library(library):
    assert {name for name in defined(library.static) if not OURS.match(name)} == declared(library)


def test_every_name_of_the_header(library, tmp_path):
    """All that it brings with it is called taskclient_… or TASKCLIENT_…."""
    source = tmp_path / "names.c"
    source.write_text("#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n")

    def macros(*more):
        text = subprocess.check_output(["cc", "-std=c11", "-dM", "-E", *more, str(source)], text=True)
        return {re.match(r"#define (\w+)", line).group(1) for line in text.splitlines()}

    new = macros("-include", str(library.header)) - macros()
    assert new and all(name.startswith("TASKCLIENT_") for name in new)
    text = re.sub(r"/\*.*?\*/", "", library.header.read_text(), flags=re.S)
    for name in re.findall(r"^(?:struct|enum) (\w+)", text, re.M) + re.findall(r"^\t(\w+)(?: = \d+)?,$", text, re.M):
        assert name.lower().startswith("taskclient"), name


@pytest.mark.parametrize("compiler, standard", [
    ("cc", "c99"), ("cc", "c11"), ("cc", "c17"), ("c++", "c++11"), ("c++", "c++20")])
def test_header_alone(library, tmp_path, run, compiler, standard):
    source = tmp_path / ("program.cc" if compiler == "c++" else "program.c")
    source.write_text("#include <taskclient.h>\n"
                      "int main(void) { return taskclient_close(NULL) || !*taskclient_version(); }\n")
    library.build(compiler, source, tmp_path / "program", "-std=" + standard)
    assert run(tmp_path / "program") == (0, "", "")
    assert needed(tmp_path / "program") >= {"libtaskclient.so.0"}
    assert not any("rabbitmq" in name or "jansson" in name for name in needed(tmp_path / "program"))


def test_static(library, tmp_path, run, runner, client):
    """Without the shared library, and with names that ours has inside."""
    runner()
    source = tmp_path / "program.c"
    source.write_text('#include "%s"\nint buf_append, json_quote, error_set, mq_connect, clock_now_us;\n'
                      % EXAMPLE)
    library.build("cc", source, tmp_path / "program", "-std=c11", static=True)
    assert "libtaskclient.so.0" not in needed(tmp_path / "program")
    status, out, err = run(tmp_path / "program", "submit", "act", steps(["output", "done"]).decode())
    assert (status, out.splitlines()[1:], err) == (0, ["RUNNING", "SUCCESS done"], "")


def make_comma(directory):
    """A locale with a decimal comma, whatever locales there are."""
    source, charmap = directory / "comma", directory / "comma.charmap"
    source.write_text('comment_char %\nescape_char /\nLC_NUMERIC\ndecimal_point ","\n'
                      'thousands_sep ""\ngrouping -1\nEND LC_NUMERIC\n')
    charmap.write_text("<escape_char> /\n<comment_char> %\n<code_set_name> COMMA\n<mb_cur_min> 1\n"
                       "<mb_cur_max> 1\nCHARMAP\n" +
                       "".join("<U%04X> /x%02x c\n" % (c, c) for c in range(128)) + "END CHARMAP\n")
    (directory / "locales").mkdir()
    subprocess.run(["localedef", "-c", "-f", str(charmap), "-i", str(source), str(directory / "locales" / "comma")],
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) # there are only warnings
    assert (directory / "locales" / "comma" / "LC_NUMERIC").exists()
    return {"LOCPATH": str(directory / "locales"), "LC_ALL": "", "LC_NUMERIC": "comma"}


def test_cxx_with_another_locale(library, tmp_path, run, runner, client):
    runner()
    source = tmp_path / "program.cc"
    source.write_text(CXX)
    library.build("c++", source, tmp_path / "program", "-std=c++11")
    id = client.submit("act", steps(["progress", '{"fraction": 0.625}\n'], ["sleep", 300]))
    wait_until(lambda: run(tmp_path / "program", id)[1] == "0.625 625\n", "its progress")
    assert run(tmp_path / "program", id, **make_comma(tmp_path)) == (0, "0.625 625\n", "")
    assert run(tmp_path / "program", str(uuid.uuid4()), TASKCTL_BROKER="amqp://127.0.0.1:1")[0] == 3
    assert run(tmp_path / "program", "a/b")[0] == 4
    client.cancel(id)
    client.final(id)
