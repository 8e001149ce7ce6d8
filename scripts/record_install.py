"""docs/first-mail.md: from the package to a mail that was approved, screen by screen. scripts/record-install starts it, and its machine.

Usage: record_install.py LEADER DEB SUITE: the id of the machine's first process, the package's name in its /debs, and Debian's.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from recording import normal  # noqa: E402
from shells import Terminal  # noqa: E402

PAGE = ROOT / "docs" / "first-mail.md"
ALICE = Path("/home/alice")
DEBIAN = {"bookworm": "12", "trixie": "13"}
REQUEST = "? write an e-mail to Maria Lee about the Q4 launch plan"
COLUMNS, ROWS = 110, 36
SLOW = 300
"""Seconds that something may take which compiles."""
INTRO = """\
# From the package to a first mail

A clean Debian {release}, the package, and one person, Alice, who has contacts and notes: she sets it up, says what she wants, sees it done
live in `agtop`, reads the mail that would leave, approves it there, and finds it in the outbox and in `rlp why`. Recorded under tmux by
`scripts/record-install`, which writes this page; the machine has no network and no model. Times and ids are normalised.
"""


class Person:
    """Somebody at a terminal of the machine."""

    root = ROOT

    def __init__(self, leader: str, login: list[str], prompt: str) -> None:
        self.env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "TERM": "xterm-256color"}
        inside = {**self.env, "TERM": "tmux-256color"}
        self.prompt = prompt
        self.command = [
            "nsenter",
            "--target",
            leader,
            "--all",
            "--root",
            "--wd",
            "env",
            "-i",
            *(f"{key}={value}" for key, value in inside.items()),
            *login,
        ]


class Tape:
    """The page: what was done at which terminal, and the screen after it."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def done(self, where: str, terminal: Terminal, command: str, shows: str, caption: str) -> None:
        """Type a command on a clear screen, wait for what it shows and its end, and write the screen down."""
        terminal.clear()
        terminal.enter(command)
        terminal.expect(shows)
        terminal.prompted()
        self.seen(where, caption, terminal)

    def seen(self, where: str, caption: str, terminal: Terminal) -> None:
        """Write down the screen as it is."""
        terminal.quiet()
        screen = normal(terminal.screen(back=0), ALICE)
        self.parts.append(f"\n## {len(self.parts) + 1}. {caption}\n\n{where}:\n\n```text\n{screen}\n```\n")
        print(f"{len(self.parts)}. {caption}", flush=True)


def main() -> None:
    """Record all of it, and write the page."""
    leader, deb, suite = sys.argv[1:]
    tape = Tape()
    root = _opened(Person(leader, ["env", "DEBIAN_FRONTEND=noninteractive", "bash", "--noprofile", "--norc"], "#"))
    alice = _opened(Person(leader, ["runuser", "--login", "alice"], "%"))
    monitor = _opened(Person(leader, ["runuser", "--login", "alice"], "%"))
    try:
        _installed(tape, root, deb)
        _set_up(tape, alice)
        _mailed(tape, alice, monitor)
        _explained(tape, alice)
    finally:
        for terminal in (root, alice, monitor):
            terminal.close()
    PAGE.write_text(INTRO.format(release=DEBIAN[suite]) + "".join(tape.parts), encoding="utf-8")
    print(PAGE.relative_to(ROOT))


def _opened(person: Person) -> Terminal:
    return Terminal(person, rows=ROWS, columns=COLUMNS)


def _installed(tape: Tape, root: Terminal, deb: str) -> None:
    root.enter("cd /debs; PS1='# '")
    root.clear()
    root.enter(f"apt-get install ./{deb}")
    root.expect("Setting up runloop", SLOW)
    root.prompted(SLOW)
    tape.seen("The administrator", "The package is installed; nothing is fetched", root)
    tape.done("The administrator", root, "systemctl is-active runloopd; rlp --version", "\nrlp ", "The machine's own daemon runs")


def _set_up(tape: Tape, alice: Terminal) -> None:
    alice.clear()
    alice.enter("rlp init")
    alice.expect("Write ")
    alice.key("Enter")
    alice.expect("(a block in")
    alice.key("Enter")
    alice.expect("(Enter for none):")
    alice.enter("contacts.vcf")
    alice.expect("Start the daemon now?")
    alice.key("Enter")
    alice.expect("`rlp doctor` checks all of it", SLOW)
    alice.prompted()
    tape.seen("Alice", "`rlp init` asks before each step, and says how to undo it", alice)
    alice.clear()
    alice.enter("rlp kb import notes notes")
    alice.expect("notes: ")
    alice.prompted()
    alice.enter("exec zsh")
    alice.prompted()
    tape.seen("Alice", "Her notes; and a new zsh, which has the integration", alice)


def _mailed(tape: Tape, alice: Terminal, monitor: Terminal) -> None:
    monitor.enter("agtop")
    monitor.expect("no runs yet")
    tape.seen("Alice's second terminal", "`agtop` beside it: nothing runs yet", monitor)
    alice.clear()
    alice.enter(REQUEST)
    alice.expect("Run it?", SLOW)
    tape.seen("Alice", "She says at the prompt what she wants; the opening and its parameters are shown before anything runs", alice)
    alice.key("Enter")
    monitor.expect("compose_email", SLOW)
    tape.seen("Alice's second terminal", "The run, live", monitor)
    monitor.expect("approval of mail", SLOW)
    tape.seen("Alice's second terminal", "It waits for her", monitor)
    monitor.key("2")
    monitor.expect("[2 Plan]")
    tape.seen("Alice's second terminal", "`2`: the opening as a graph; what is done, and what waits", monitor)
    monitor.key("a")
    monitor.expect("exactly this")
    tape.seen("Alice's second terminal", "`a`: the mail, exactly as it would leave", monitor)
    monitor.type("yes")
    monitor.expect("yes")
    tape.seen("Alice's second terminal", "She types `yes`; only Enter decides", monitor)
    monitor.key("Enter")
    monitor.expect("succeeded", SLOW)
    tape.seen("Alice's second terminal", "Enter: the mail is written, and the run goes on to its end", monitor)
    alice.expect("succeeded", SLOW)
    alice.prompted()
    tape.seen("Alice", "The first terminal followed, to the end", alice)


def _explained(tape: Tape, alice: Terminal) -> None:
    tape.done("Alice", alice, "cat .runloop/outbox/*.eml", "Subject: ", "The mail in the outbox")
    why = "Why it is what it is: who made it, who approved it, and on which lines of her notes it rests"
    tape.done("Alice", alice, "rlp why .runloop/outbox/*.eml", "decided", why)
    tape.done("Alice", alice, "rlp kb verify", "intact:", "Nobody edited the record behind her back")


if __name__ == "__main__":
    main()
