# SPDX-License-Identifier: Apache-2.0
"""libtaskclient, installed below a directory, and programs that are built with it as anybody would."""

import os
import pathlib
import subprocess

from support.paths import BUILD
from support.waiting import DEADLINE


class Library:
    def __init__(self, root):
        subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--destdir", str(root)],
                       check=True, stdout=subprocess.DEVNULL, timeout=10 * DEADLINE)
        self.shared, = root.rglob("libtaskclient.so")
        self.static, = root.rglob("libtaskclient.a")
        self.header, = root.rglob("taskclient.h")
        # The static one alone, for who wants that.
        self.static_directory = root / "static"
        self.static_directory.mkdir()
        (self.static_directory / self.static.name).symlink_to(self.static)
        self.environment = {"LD_LIBRARY_PATH": str(self.shared.parent)}
        self.root = root

    def flags(self, *options):
        environment = {**os.environ, "PKG_CONFIG_PATH": str(self.shared.parent / "pkgconfig"),
                       "PKG_CONFIG_SYSROOT_DIR": str(self.root)}
        return subprocess.run(["pkg-config", *options, "taskclient"], env=environment, check=True,
                              capture_output=True, text=True).stdout.split()

    def sanitizers(self):
        """What the library was built with, a program that links it must be linked with."""
        symbols = subprocess.run(["nm", str(self.static)], check=True, capture_output=True, text=True).stdout
        return [flag for mark, flag in (("__asan_", "-fsanitize=address"),
                                        ("__ubsan_", "-fsanitize=undefined"),
                                        ("__tsan_", "-fsanitize=thread")) if mark in symbols]

    def build(self, compiler, source, program, *options, static=False):
        """cc … $(pkg-config --cflags --libs taskclient); all that a compiler has to say is an error."""
        flags = self.flags("--cflags", "--libs", *(["--static"] if static else []))
        first = ["-L%s" % self.static_directory] if static else []
        subprocess.run([compiler, *options, "-Wall", "-Wextra", "-Wpedantic", "-Werror", str(source),
                        "-o", str(program), *first, *flags, *self.sanitizers()],
                       check=True, timeout=DEADLINE)


def needed(file):
    """Names of the shared libraries that it asks for itself."""
    dynamic = subprocess.run(["readelf", "-d", str(file)], check=True, capture_output=True, text=True).stdout
    return {line.partition("[")[2].partition("]")[0] for line in dynamic.splitlines() if "(NEEDED)" in line}


def defined(file, *options):
    """The names that others can link."""
    lines = subprocess.run(["nm", "--defined-only", "--extern-only", *options, str(pathlib.Path(file))],
                           check=True, capture_output=True, text=True).stdout.splitlines()
    return {line.split()[-1] for line in lines if len(line.split()) == 3}
