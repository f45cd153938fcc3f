# SPDX-License-Identifier: Apache-2.0
"""A real terminal: a shell in tmux, what is typed, and what is seen."""

import subprocess
import uuid

from .waiting import wait_until


class Terminal:
    """A shell on a screen of its own tmux server. Commands see the environment given."""

    def __init__(self, directory, environment, columns=100, lines=24):
        self.directory = directory
        self.name = "t" + uuid.uuid4().hex[:8]
        self.environment = {**environment, "TMUX_TMPDIR": str(directory), "PS1": "$ ", "ENV": "",
                            "SHELL": "/bin/sh", "TERM": "xterm", "LC_ALL": "C.UTF-8"}
        config = directory / "tmux.conf"
        config.write_text("set -g status off\nset -sg escape-time 0\nset -g remain-on-exit on\n")
        self.tmux("-f", str(config), "new-session", "-d", "-s", "main", "-x", str(columns),
                  "-y", str(lines), "/bin/sh")
        self.wait("$")

    def tmux(self, *arguments):
        return subprocess.run(["tmux", "-u", "-L", self.name, *arguments], env=self.environment,
                              cwd=self.directory, check=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=60).stdout.decode()

    def type(self, text):
        self.tmux("send-keys", "-l", "--", text)

    def press(self, *keys):
        """By tmux's names: Enter, Up, C-c, …"""
        self.tmux("send-keys", *keys)

    def run(self, command):
        self.type(command)
        self.press("Enter")

    def screen(self, styled=False):
        """What is seen, line by line."""
        text = self.tmux("capture-pane", "-p", *(["-e"] if styled else []), "-t", "main")
        return [line.rstrip() for line in text.split("\n")[:-1]]

    def wait(self, *texts, gone=(), condition=None):
        """Waits until all texts are seen at once, and those of `gone` are not."""
        seen = []

        def look():
            seen[:] = self.screen()
            whole = "\n".join(seen)
            return all(t in whole for t in texts) and not any(t in whole for t in gone) and (
                condition is None or condition(seen)) and list(seen)
        return wait_until(look, lambda: "%s without %s on the screen:\n%s" % (
            texts, gone, "\n".join(seen)), every=0.05)

    def resize(self, columns, lines):
        self.tmux("resize-window", "-t", "main", "-x", str(columns), "-y", str(lines))

    def close(self):
        subprocess.run(["tmux", "-L", self.name, "kill-server"], env=self.environment,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
