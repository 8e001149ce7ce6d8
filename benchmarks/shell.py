"""Row 9: Enter in zsh with a daemon up, within the line editor of a real zsh under tmux: the widget beside plain accept-line, in turn."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from _common import arguments, percentile, repeat, report

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))

from shells import Home, Terminal  # noqa: E402

COMMANDS = ("git status", "ls -la", "grep -rn TODO src | wc -l", "cd ..", "tar -tf backup.tgz")
OTHERS = (
    "what failed yesterday?",
    "? what did it cost",
    "please write to Maria about the plan",
    "frobnicate --all x.txt",
    "gcc-19 -O2 -o out main.c",
    "make -j2 all",
)
WIDGETS = """
alias ll='ls -la'
zmodload zsh/datetime
autoload -Uz add-zsh-hook
_bench_enter() {{
  BUFFER=$2
  local -F began=$EPOCHREALTIME
  zle $1
  print -r -- "$3 $1 $(( (EPOCHREALTIME - began) * 1e6 ))" >>$BENCH_OUT
}}
_bench() {{
  local line
  repeat {rounds}; do
    for line in {commands}; do _bench_enter .accept-line $line command; _bench_enter accept-line $line command; done
    for line in {others}; do _bench_enter .accept-line $line other; _bench_enter accept-line $line other; done
  done
  BUFFER='print finished'
}}
zle -N _bench
bindkey '^Xb' _bench
"""


def main() -> None:
    """Press a key whose widget presses Enter many times, and read what each took."""
    options = arguments(__doc__ or "")
    rounds = 4 if options.small else 60
    with tempfile.TemporaryDirectory() as place:
        home = Home(Path(place), "zsh", Path.home() / ".cache")
        out = home.root / "out"
        home.script("make", "exit 0")
        with home.start.open("a") as start:
            quoted = {kind: " ".join(f"'{line}'" for line in lines) for kind, lines in (("commands", COMMANDS), ("others", OTHERS))}
            start.write(WIDGETS.format(rounds=rounds, **quoted))
        if home.rlp("up", "--wait").returncode:
            raise SystemExit("the daemon does not start")
        terminal = Terminal(home, BENCH_OUT=str(out))

        def measure() -> dict[str, float]:
            out.unlink(missing_ok=True)
            seen = terminal.screen().count("\nfinished")
            terminal.key("C-x", "b")
            terminal.expect("\nfinished", seconds=120, times=seen + 1)
            rows = [row.split() for row in out.read_text().splitlines()]

            def took(kind: str, widget: str) -> list[float]:
                return [float(us) for what, which, us in rows if (what, which) == (kind, widget)]

            plain, known, other = took("command", ".accept-line"), took("command", "accept-line"), took("other", "accept-line")
            assert len(known) == rounds * len(COMMANDS)
            return {
                "plain_us_p50": percentile(plain, 50),
                "command_us_p50": percentile(known, 50),
                "command_us_p99": percentile(known, 99),
                "other_ms_p50": percentile(other, 50) / 1000,
                "other_ms_p99": percentile(other, 99) / 1000,
            }

        try:
            figures = repeat(measure, runs=1 if options.small else options.runs)
        finally:
            terminal.close()
            home.rlp("down")
    report("shell", figures, row=9, goal="command: 0 added; other <= 2 / <= 10 ms", rounds=rounds)


if __name__ == "__main__":
    main()
