"""Screens of the shell integration, into docs/screens/shell-*.txt: real shells under tmux, real runs; times, ids and places are normalised.

The program on the denylist is a harmless one that this script puts there, in a home of its own.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests" / "support")]

from recording import normal  # noqa: E402
from shells import Home, Terminal  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

SCREENS = ROOT / "docs" / "screens"
SHELLS = ("zsh", "bash", "fish")
HOW = {"without a daemon": False, "with a daemon": True}
ROWS = 60
RULE = "=" * 100
DENIED = "zap-everything --now"
REQUEST = "write an e-mail to Maria Lee about the Q4 launch plan"


class Recording:
    """One shell, and the screen after every step."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.steps: list[tuple[str, str]] = []
        self._terminal = Terminal(home, rows=ROWS)

    def add(self, caption: str) -> None:
        """Begin a step on the screen as it is."""
        self.steps.append((caption, ""))

    def step(self, caption: str) -> Terminal:
        """Begin a step on an empty screen."""
        self._terminal.prompted()
        self._terminal.key("C-l")
        self._terminal.quiet()
        self.add(caption)
        return self._terminal

    def seen(self) -> None:
        """The step has come to this screen."""
        self._terminal.quiet()
        self.steps[-1] = (self.steps[-1][0], normal(self._terminal.screen(back=0), self.home.root))

    def close(self) -> None:
        """End the shell."""
        self._terminal.close()


def prepare(home: Home) -> None:
    """Contacts, notes, a sender, and a repository to ask git about."""
    with (home.root / "state" / "config.yaml").open("a") as config:
        config.write("mail:\n  from: Alex Example <alex@sender.example>\n")
    for kind, source in (("contacts", "contacts.vcf"), ("notes", "notes")):
        done = home.rlp("kb", "import", kind, str(ROOT / "docs" / "examples" / "demo" / source))
        assert done.returncode == 0, done.stderr
    (home.root / ".gitignore").write_text("*\n!letter.txt\n")
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=home.root, env=home.env, check=True)
    (home.root / "letter.txt").write_text("Dear Maria,\n")


def record(home: Home) -> list[tuple[str, str]]:
    """The scenario of one shell: what was done, and the screen after it."""
    tape = Recording(home)
    try:
        _commands(tape)
        _requests(tape)
        _keys(tape)
    finally:
        tape.close()
    return tape.steps


def _commands(tape: Recording) -> None:
    at = tape.step("git status: a command runs at once")
    at.enter("git status")
    at.expect("letter.txt")
    at.prompted()
    tape.seen()

    at = tape.step(f"{DENIED}: it is on the denylist, is not run, and stays to be edited")
    at.enter(DENIED)
    at.expect("not run: ")
    tape.seen()
    at.key("C-u", "C-l")

    at = tape.step("the same from rlp route, with its exit code")
    at.enter(f"rlp route --json '{DENIED}'; echo exit {'$status' if tape.home.shell == 'fish' else '$?'}")
    at.expect("\nexit 14")
    at.prompted()
    tape.seen()


def _requests(tape: Recording) -> None:
    at = tape.step("a request that begins with the name of a program: Enter asks")
    at.enter(REQUEST)
    at.expect("this reads like a request")
    tape.seen()

    at.type("a")
    at.expect("Run it?")
    tape.add("`a` hands it over; the opening and its parameters are shown first")
    tape.seen()

    at.key("Enter")
    at.expect("Approval needed")
    at.expect("[n] no")
    tape.add("it runs, and asks before the message is written")
    tape.seen()

    at.type("y")
    at.key("Enter")
    at.expect("succeeded")
    at = tape.step("the mail is in the outbox")
    at.enter("cat $RUNLOOP_HOME/outbox/*.eml")
    at.expect("Subject: ")
    at.prompted()
    tape.seen()

    at = tape.step("? what failed yesterday: the assistant answers")
    at.enter("? what failed yesterday")
    at.expect("No run failed (yesterday).")
    at.prompted()
    tape.seen()


def _keys(tape: Recording) -> None:
    at = tape.step("two lines are pasted: they wait for Enter, and run as they are")
    at.paste("echo first\necho second")
    at.expect("echo second")
    at.key("Enter")
    at.expect("\nsecond")
    at.prompted()
    tape.seen()

    at = tape.step("Ctrl-C in the middle of a line; the next line is as ever")
    at.type("write to Bob about")
    at.expect("write to Bob about")
    at.key("C-c")
    at.prompted()
    at.enter("echo after")
    at.expect("\nafter")
    at.prompted()
    tape.seen()

    at = tape.step("the history afterwards")
    at.enter({"zsh": "fc -l 2", "bash": "history", "fish": "history"}[tape.home.shell])
    at.expect("echo after", times=1)
    at.prompted()
    tape.seen()


def page(shell: str, recordings: dict[str, list[tuple[str, str]]]) -> str:
    """The file of one shell."""
    return "".join(_lines(shell, recordings))


def _lines(shell: str, recordings: dict[str, list[tuple[str, str]]]) -> Iterator[str]:
    yield f"{shell} with the shell integration, recorded under tmux by scripts/record-shell. Times, ids and places are normalised.\n"
    for how, steps in recordings.items():
        for number, (caption, screen) in enumerate(steps, 1):
            yield f"\n{RULE}\n{shell}, {how}, {number}: {caption}\n{RULE}\n{screen}\n"


def recorded(shell: str, *, daemon: bool, cache: Path) -> list[tuple[str, str]]:
    """The scenario in a new home."""
    with tempfile.TemporaryDirectory() as place:
        home = Home(Path(place), shell, cache)
        prepare(home)
        try:
            if daemon:
                assert home.rlp("up", "--wait").returncode == 0
            return record(home)
        finally:
            home.rlp("down")


def main() -> None:
    """Record the shells that are named, else all."""
    SCREENS.mkdir(exist_ok=True)
    cache = Path.home() / ".cache"
    for shell in sys.argv[1:] or SHELLS:
        recordings = {how: recorded(shell, daemon=daemon, cache=cache) for how, daemon in HOW.items()}
        (SCREENS / f"shell-{shell}.txt").write_text(page(shell, recordings), encoding="utf-8")
        print(f"docs/screens/shell-{shell}.txt", flush=True)


if __name__ == "__main__":
    main()
