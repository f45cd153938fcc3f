# SPDX-License-Identifier: Apache-2.0
"""Completion of taskctl: each shell, asked as a person asks it, offers what --help tells, and no more."""

import fcntl
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import termios
import time

import pytest

from support.paths import ROOT, TASKCTL
from support.waiting import DEADLINE


def output(*command, **more):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True,
                          timeout=DEADLINE, **more).stdout.decode()


def help_of(*verb):
    return output(TASKCTL, *verb, "--help")


def verbs():
    return re.findall(r"^  ([a-z-]+)  ", help_of(), re.M)


def options(verb):
    """{"--input": "FILE"}; None where no value is taken."""
    return dict((name, takes or None) for name, takes in
                re.findall(r"^  (?:-\w,|   ) (--[a-z-]+)(?: ([A-Z-]+))?$|", re.sub(
                    r"(?m)^(  (?:-\w,|   ) --[a-z-]+(?: [A-Z-]+)?) .*$", r"\1", help_of(verb)), re.M)
                if name)


class Bash:
    """Its function is called as bash calls it, with the words that bash makes of a line."""
    ASK = """
        source <("$TASKCTL" completion bash) || exit
        complete -p taskctl | grep -q -- '-F _taskctl taskctl' || exit
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _taskctl taskctl "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        for reply in "${COMPREPLY[@]}"; do echo "$reply"; done"""

    def __call__(self, line, directory):
        words = re.sub("=", " = ", line).split(" ")
        if words[-1] == "" and words[-2] == "=":
            words.pop()
        return output("bash", "--norc", "-c", self.ASK, "bash", *words, cwd=directory,
                      env={**os.environ, "TASKCTL": TASKCTL}).splitlines()


class Fish:
    def __call__(self, line, directory):
        said = output("fish", "--no-config", "-c",
                      "$TASKCTL completion fish | source; complete -C $argv[1]", line,
                      cwd=directory, env={**os.environ, "TASKCTL": TASKCTL, "HOME": str(directory)})
        before = re.search(r"--[a-z-]+=|", line.split(" ")[-1]).group()
        return [word.split("\t")[0][len(before):] for word in said.splitlines()]


class Zsh:
    """Only an interactive one completes. It is told to write what would be offered to a file."""
    ASK = r"""
        PROMPT='' RPROMPT=''
        autoload -Uz compinit && compinit -u -D
        source <($TASKCTL completion zsh)
        compadd() {
            # With one of these it only looks.
            if [[ " $* " != *' -'[OAD]' '* ]]; then
                local -a would_add
                builtin compadd -O would_add "$@"
                print -rl -- $would_add >>offered
            fi
            builtin compadd "$@"
        }
        tell() { zle complete-word; print -r end >>offered }
        zle -N tell
        bindkey '^I' tell
        print -r -- rea''dy
    """

    def __call__(self, line, directory):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 200, 200, 0, 0))
        (directory / "ask").write_text(self.ASK)
        process = subprocess.Popen(
            ["zsh", "-f", "-i"], stdin=theirs, stdout=theirs, stderr=theirs, cwd=directory,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={**os.environ, "TASKCTL": TASKCTL, "TERM": "dumb", "HOME": str(directory)})
        os.close(theirs)
        try:
            return self.ask(ours, line, directory / "offered")
        finally:
            process.kill()
            process.wait()
            os.close(ours)
            for name in ("ask", "offered"):
                if (directory / name).exists():
                    (directory / name).unlink()

    @staticmethod
    def ask(terminal, line, file):
        seen = b""
        os.write(terminal, b"source ./ask\n")
        end = time.monotonic() + DEADLINE
        asked = False
        while time.monotonic() < end:
            if select.select([terminal], [], [], 0.05)[0]:
                seen += os.read(terminal, 4096)
            if b"ready" in seen and not asked:
                os.write(terminal, line.encode() + b"\t")
                asked = True
            lines = file.read_text().splitlines() if file.exists() else []
            if "end" in lines:
                return [word for word in lines if word not in ("end", "ask", "offered")]
        raise AssertionError("zsh does not answer: %s" % seen)


SHELLS = {"bash": Bash(), "zsh": Zsh(), "fish": Fish()}


@pytest.fixture(params=SHELLS)
def ask(request, tmp_path):
    (tmp_path / "a-file").touch()
    shell = SHELLS[request.param]

    def offered(line):
        return sorted(set(word.strip().rstrip("=") for word in shell(line, tmp_path) if word.strip()))
    return offered


def test_verbs(ask):
    assert verbs()
    assert [word for word in ask("taskctl ") if word[0] != "-"] == sorted(verbs())
    assert ask("taskctl canc") == ["cancel"]
    assert ask("taskctl --vers") == ["--version"]


@pytest.mark.parametrize("verb", verbs())
def test_all_options_of_a_verb(ask, verb):
    assert "--help" in options(verb)
    assert [word for word in ask("taskctl %s --" % verb) if word.startswith("--")] == \
        sorted(options(verb))


def test_values(ask):
    assert ask("taskctl run --encoding ") == ["json", "msgpack"]
    assert ask("taskctl run --encoding=m") == ["msgpack"]
    assert ask("taskctl run --input ") == ["a-file"]
    assert ask("taskctl run -i ") == ["a-file"]
    assert ask("taskctl run --id ") == []
    assert ask("taskctl run --encoding json --qu") == ["--queue", "--quiet"]
    assert ask("taskctl completion ") == ["bash", "fish", "zsh"]


def test_values_after_a_comma(ask):
    """The word as it will be: a shell takes the place of all of it."""
    assert ask("taskctl ps --output=") == ["json", "msgpack", "table"]
    assert ask("taskctl ps --state ru") == ["running"]
    last = lambda line: [word.split(",")[-1] for word in ask(line)]
    assert last("taskctl ps --state running,p") == ["paused"]
    assert last("taskctl ps --state=running,held,p") == ["paused"]


def test_signals(ask):
    """The first argument; ids are what nobody knows."""
    assert ask("taskctl signal US") == ["USR1", "USR2"]
    assert ask("taskctl signal USR1 ") == []


def test_nothing_is_offered_for_what_nobody_knows(ask):
    """An id, a program: not the files that happen to lie around, nor verbs once more."""
    assert ask("taskctl cancel ") == []
    assert ask("taskctl run x") == []
    assert ask("taskctl no-such-verb ") == []


def test_wrong_shell():
    for arguments, told in ((["csh"], "'csh' is not one of bash, zsh and fish"),
                            ([], "for which shell?"), (["bash", "zsh"], "for which shell?")):
        done = subprocess.run([TASKCTL, "completion", *arguments], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=DEADLINE)
        assert (done.returncode, done.stdout) == (2, b"")
        assert told in done.stderr.decode()


def test_scripts_are_where_shells_look(tmp_path):
    """As meson installs them."""
    build = os.path.dirname(os.path.dirname(TASKCTL))
    for shell, name in (("bash", "taskctl.bash"), ("zsh", "_taskctl"), ("fish", "taskctl.fish")):
        made = open(os.path.join(build, "taskctl", name)).read()
        assert made == output(TASKCTL, "completion", shell)
    # zsh loads it by its name, as a function.
    shutil.copy(os.path.join(build, "taskctl", "_taskctl"), tmp_path)
    assert output("zsh", "-f", "-c", "fpath=($1 $fpath); autoload -Uz compinit; compinit -u -D; "
                  "print $_comps[taskctl]", "zsh", str(tmp_path)) == "_taskctl\n"


def test_manual_has_all():
    """Each verb its section, each option its place."""
    manual = open(os.path.join(ROOT, "docs", "man", "taskctl.1.scd")).read()
    for verb in verbs():
        assert "*taskctl %s*" % verb in manual.split("# DESCRIPTION")[0]
        assert "\n# TASKCTL %s\n" % verb.upper() in manual
        assert re.search(r"\n\|  %s\n:" % verb, manual.split("# EXIT STATUS")[1])
        section = manual.split("\n# TASKCTL %s\n" % verb.upper())[1].split("\n# TASKCTL ")[0]
        for option in options(verb):
            common = manual.split("\n# COMMON OPTIONS\n")[1]
            assert any("*%s*" % option in text for text in (section, common)), (verb, option)
