"""The router against its corpus: confusion tables for the part it was tuned on and the part that was held out.

`scripts/router-report` writes them into docs/router.md; `--check` only says whether they are current. `--errors` lists the wrong
lines of the tuned part; those of the held-out part are never listed, so that nobody tunes on them.
"""

from __future__ import annotations

import sys
from collections import Counter
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from runloop.router.classify import classify  # noqa: E402
from runloop.router.known import EVERYDAY, PROGRAMS  # noqa: E402
from runloop.router.values import RouterSettings, ShellFacts  # noqa: E402

DATA = ROOT / "tests/data/router"
PAGE = ROOT / "docs/router.md"
BEGIN, END = "<!-- router-report: begin -->", "<!-- router-report: end -->"
ROUTES = ("shell", "ask", "agent")
PARTS = ("tuned", "held out")


@cache
def corpus(kind: str) -> list[tuple[str, str, str]]:
    """The rows of `commands` or `requests`: source, line, part."""
    rows = [row.split("\t", 1) for row in (DATA / f"{kind}.tsv").read_text(encoding="utf-8").splitlines()]
    return [(source, line, part(source)) for source, line in rows]


def part(source: str) -> str:
    """Held out is the third sitting, which was written before the tuning that it judges; the two before it have been tuned on since."""
    return "held out" if source == "third" else "tuned"


@cache
def environments() -> dict[str, ShellFacts]:
    """Machines to judge on: a server with little, a developer's, and one that has every program there is a name for."""
    bare = (DATA / "path-bare.txt").read_text().split()
    full = (DATA / "path-full.txt").read_text().split()
    firsts = {line.split()[0] for _, line, _ in corpus("commands")} - {"a"}  # of `a && b`
    return {
        "bare PATH": ShellFacts("bash", commands=bare),
        "developer's PATH": ShellFacts("bash", commands=full),
        "everything installed": ShellFacts("bash", commands={*full, *PROGRAMS, *EVERYDAY, *firsts}),
    }


def starts_with_command(line: str) -> bool:
    """Whether the first word of a request is a command somewhere."""
    first = line.split(maxsplit=1)[0]
    return first in EVERYDAY or first in PROGRAMS or ShellFacts("bash").kind_of(first) is not None


@cache
def routes(kind: str, machine: str) -> list[str]:
    """Where every line goes."""
    facts = environments()[machine]
    return [classify(line, facts, RouterSettings()).route for _, line, _ in corpus(kind)]


def count(kind: str, wanted_part: str, machine: str, *, only_command_words: bool = False) -> Counter[str]:
    """How many lines went where."""
    return Counter(
        route
        for (_, line, its_part), route in zip(corpus(kind), routes(kind, machine), strict=True)
        if its_part == wanted_part and (not only_command_words or starts_with_command(line))
    )


def tables() -> str:
    """The generated part of the page."""
    blocks = []
    for wanted in PARTS:
        rows = [
            f"### {wanted.capitalize()}\n",
            "| machine | lines | number | shell | ask | agent | right |",
            "|---|---|--:|--:|--:|--:|--:|",
        ]
        for machine in environments():
            for kind, label, narrow in (
                ("commands", "commands", False),
                ("requests", "requests", False),
                ("requests", "of these, beginning with a command word", True),
            ):
                found = count(kind, wanted, machine, only_command_words=narrow)
                total = found.total()
                right = found["shell"] if kind == "commands" else total - found["shell"]
                cells = " | ".join(str(found[route]) for route in ROUTES)
                rows.append(f"| {machine} | {label} | {total} | {cells} | {100 * right / total:.2f} % |")
        blocks.append("\n".join(rows))
    return "\n\n".join(blocks)


def page() -> str:
    """docs/router.md with current tables."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{tables()}\n{END}{rest.partition(END)[2]}"


def errors() -> None:
    """The wrong lines of the tuned part, with what was seen in them."""
    for machine, facts in environments().items():
        for kind in ("commands", "requests"):
            for source, line, its_part in corpus(kind):
                decision = classify(line, facts, RouterSettings())
                if its_part == "tuned" and (decision.route == "shell") != (kind == "commands"):
                    score = sum(each.weight for each in decision.features)
                    print(f"{machine}: {decision.route} {score:.1f} {line!r} ({source}) {' '.join(map(str, decision.features))}")


def sources() -> None:
    """How many lines of the held-out part are wrong, by where they come from: all that may be known about them."""
    for machine, facts in environments().items():
        wrong = Counter(
            f"{kind} of {source.partition(':')[0]}: {classify(line, facts, RouterSettings()).rule}"
            for kind in ("commands", "requests")
            for source, line, its_part in corpus(kind)
            if its_part == "held out" and (classify(line, facts, RouterSettings()).route == "shell") != (kind == "commands")
        )
        print(machine, dict(wrong))


def main() -> int:
    """Write, check or list."""
    if "--errors" in sys.argv:
        errors()
        return 0
    if "--sources" in sys.argv:
        sources()
        return 0
    made = page()
    if "--check" in sys.argv:
        return 0 if made == PAGE.read_text(encoding="utf-8") else 1
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
