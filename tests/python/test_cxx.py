# SPDX-License-Identifier: Apache-2.0
"""What libtaskiface is for those who build against it: C++, old and new C, its symbols."""

import re
import subprocess

import pytest

from pipes import BUILD, DEADLINE, ROOT, build, environment, run, sanitizers

LIBRARY = BUILD / "taskiface"
INCLUDE = ROOT / "taskiface" / "include"

CXX = r"""
#include <taskiface.h>
#include <cmath>
#include <cstdlib>
#include <string>

int main(int argc, char **argv)
{
    taskiface *task = nullptr;
    char *data = nullptr;
    size_t size = 0;
    if (taskiface_open(&argc, argv, &task) < 0)
        return 2;
    taskiface_watch_cancellation(task, [](void *) {}, nullptr);
    taskiface_progress_mode(task, TASKIFACE_PROGRESS_LATEST, 1000);
    if (taskiface_read_all(task, 0, TASKIFACE_FOREVER, &data, &size) < 0)
        return 3;
    taskiface_progress(task, NAN, "from C++", "[1,\n2]");
    std::string output = std::string(data, size) + " and C++";
    std::free(data);
    int r = taskiface_write_all(task, output.data(), output.size(), TASKIFACE_FOREVER);
    return taskiface_close(task) < 0 || r < 0;
}
"""


@pytest.mark.parametrize("standard", ["c++11", "c++20"])
def test_cxx_program(tmp_path, standard):
    source = tmp_path / "program.cc"
    source.write_text(CXX)
    build("c++", source, tmp_path / "program", "-std=" + standard)
    r = run([tmp_path / "program"], b"input")
    assert r.status == 0, r.stderr
    assert r.output == b"input and C++"
    assert r.records == [{"message": "from C++", "data": [1, 2]}]


@pytest.mark.parametrize("standard", ["c99", "c17"])
def test_header_in_strict_c(tmp_path, standard):
    source = tmp_path / "program.c"
    source.write_text("#include <taskiface.h>\n#include <taskiface.h>\n"
                      "int main(void) { return taskiface_close(NULL); }\n")
    build("cc", source, tmp_path / "program", "-std=" + standard)
    assert run([tmp_path / "program"]).status == 0


def test_static_library_needs_nothing_else(tmp_path):
    source = tmp_path / "program.c"
    # Names that the library might use inside, were it careless.
    source.write_text("#include <taskiface.h>\n"
                      "int buf_append, json_text, io_read, deadline, wait_fd;\n"
                      "int main(void) { return taskiface_close(NULL); }\n")
    subprocess.run(["cc", str(source), "-I%s" % INCLUDE, str(LIBRARY / "libtaskiface.a"),
                    "-o", str(tmp_path / "program"), *sanitizers()],
                   check=True, timeout=DEADLINE, env=environment())
    assert run([tmp_path / "program"]).status == 0


def test_symbols():
    """What is exported is what the header declares, and has a version."""
    header = (INCLUDE / "taskiface.h").read_text()
    declared = set(re.findall(r"^TASKIFACE_API [^(]*?(\w+)\(", header, re.M))
    assert len(declared) > 15
    lines = subprocess.run(["nm", "-D", "--defined-only", str(LIBRARY / "libtaskiface.so")],
                           capture_output=True, check=True, text=True).stdout.splitlines()
    names = [line.split()[-1] for line in lines]
    exported = {name for name in names if not re.match(r"(TASKIFACE_0\.1|_*[atu]?b?san)", name)}
    assert exported == {name + "@@TASKIFACE_0.1" for name in declared}


def test_soname():
    dynamic = subprocess.run(["readelf", "-d", str(LIBRARY / "libtaskiface.so")],
                             capture_output=True, check=True, text=True).stdout
    assert "[libtaskiface.so.0]" in dynamic
    needed = set(re.findall(r"NEEDED.*\[(.*)\]", dynamic))
    assert {n for n in needed if "san" not in n and "gcc" not in n} <= {
        "libc.so.6", "libpthread.so.0", "libm.so.6", "ld-linux-x86-64.so.2"}
