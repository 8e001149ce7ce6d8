"""Real shells in a real terminal: tmux, a home of its own, and an `rlp` that is this one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import uuid

PROMPT = {"zsh": "%", "bash": "$", "fish": ">"}
START = {
    "zsh": (".zshrc", "PROMPT='%% '\n"),
    "bash": (".bashrc", "PS1='$ '\n"),
    "fish": (".config/fish/config.fish", "function fish_prompt; echo -n '> '; end\nfunction fish_greeting; end\n"),
}


class Home:
    """A home with an `rlp` in its PATH, a program that is on the denylist, and the integration in the shell's start file.

    ``answers``: whether `rlp ask` does what it does; else it only says what it was asked (a whole run takes seconds).
    """

    def __init__(self, root, shell, cache, *, answers=True):
        self.root, self.shell, self.command, self.prompt = root, shell, [shell], PROMPT[shell]
        programs = root / "bin"
        programs.mkdir()
        said = "" if answers else """[ "$1 $2" = "ask --" ] && { printf 'ASKED <%s>\\n' "$3"; exit; }\n"""
        self.script("rlp", f'{said}exec {sys.executable} -P -m runloop "$@"')
        self.script("zap-everything", 'echo ZAPPED "$@"')
        self.script("write", 'echo "a program of this name"')
        (root / "state").mkdir()
        (root / "state" / "config.yaml").write_text('router: {denylist: ["zap-everything --now"]}\n')
        name, text = START[shell]
        self.start = root / name
        self.start.parent.mkdir(parents=True, exist_ok=True)
        self.start.write_text(text)
        self.env = {
            "HOME": str(root),
            "RUNLOOP_HOME": str(root / "state"),
            "XDG_CACHE_HOME": str(cache),
            "XDG_RUNTIME_DIR": str(root / "run"),
            "RUNLOOP_ROUTER_TIMEOUT_MS": "20000",  # no screen depends on the load of the machine
            "PATH": f"{programs}:/usr/bin:/bin",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "SHELL": shutil.which(shell),
        }
        (root / "run").mkdir(mode=0o700)
        assert self.rlp("shell", "enable").returncode == 0

    def script(self, name, text):
        path = self.root / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def rlp(self, *arguments):
        command = [str(self.root / "bin" / "rlp"), *arguments]
        return subprocess.run(command, env=self.env, cwd=self.root, capture_output=True, text=True, timeout=120, check=False)


class Terminal:
    """A shell in tmux: keys go in, the screen comes out. ``home`` says which command, its environment and its prompt."""

    def __init__(self, home, rows=50, columns=150, **env):
        self.home = home
        self.name = f"rl-{uuid.uuid4().hex[:8]}"
        variables = {**home.env, **env}
        settings = [f"{key}={value}" for key, value in variables.items()]
        size = ["-x", str(columns), "-y", str(rows)]
        subprocess.run(
            ["env", "-i", *settings, "tmux", "-L", self.name, "-f", "/dev/null", "new-session", "-d", *size, *home.command],
            cwd=home.root,
            check=True,
        )
        self.expect(home.prompt)
        self.type("echo rea''dy")
        self.key("Enter")
        self.expect("\nready")

    def _tmux(self, *arguments):
        return subprocess.run(["tmux", "-L", self.name, *arguments], capture_output=True, text=True, check=False, env=self.home.env).stdout

    def screen(self, back=200):
        """What can be seen, and so many lines that have gone."""
        return self._tmux("capture-pane", "-p", "-S", f"-{back}").rstrip()

    def type(self, text):
        """As a person types."""
        self._tmux("send-keys", "-l", text)

    def paste(self, text):
        """As a terminal pastes, between the marks of a bracketed paste."""
        self._tmux("set-buffer", text)
        self._tmux("paste-buffer", "-p")

    def key(self, *names):
        self._tmux("send-keys", *names)

    def enter(self, text):
        self.type(text)
        self.expect(text.splitlines()[-1][-40:])
        self.key("Enter")

    def clear(self):
        """An empty screen with a prompt, and nothing above it."""
        self.enter("clear")
        self.until(lambda screen: screen.strip() == self.home.prompt)
        self._tmux("clear-history")

    def expect(self, text, seconds=30, times=1):
        """Wait until the screen holds the text, so many times; fails with the screen."""
        return self.until(lambda screen: screen.count(text) >= times, seconds, repr(text))

    def until(self, holds, seconds=30, what="what was waited for"):
        """Wait until it holds of the screen, which is returned; fails with the screen."""
        end = time.monotonic() + seconds
        while not holds(screen := self.screen()):
            assert time.monotonic() < end, f"{what} is not on the screen:\n{screen}"
            time.sleep(0.05)
        return screen

    def prompted(self, seconds=30):
        """Wait until the last line is an empty prompt."""
        until = time.monotonic() + seconds
        while self.screen().rpartition("\n")[2].strip() != self.home.prompt:
            assert time.monotonic() < until, f"there is no prompt:\n{self.screen()}"
            time.sleep(0.05)

    def denied(self, line):
        """Enter a line, wait until it was not run, and take it away; fails if it was."""
        self.enter(line)
        assert "ZAPPED" not in self.expect("not run: ")
        self.key("C-u")
        self.clear()

    def quiet(self, seconds=0.3):
        """Wait until the screen has not changed for so long."""
        before, since = None, time.monotonic()
        while time.monotonic() - since < seconds:
            if (now := self.screen(back=0)) != before:
                before, since = now, time.monotonic()
            time.sleep(0.05)

    def changes(self, key, seconds=10):
        """Press a key and wait until the screen shows something else, and then nothing new; False where it shows the same."""
        before, until = self.screen(back=0), time.monotonic() + seconds
        self.key(key)
        while self.screen(back=0) == before:
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
        self.quiet()
        return True

    def close(self):
        self._tmux("kill-server")
