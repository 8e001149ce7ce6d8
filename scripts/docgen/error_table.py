"""The reference of errors: every code with what it says, what to do about it and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass

from docgen import errors
from docgen.hints import found, remedies
from docgen.text import table as markdown_table


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a code: what it says, what to do, and where it comes from."""

    says: str
    do: str
    places: list[errors.Found]


def entries() -> dict[str, Entry]:
    """What is known of every code, by code. Raises ValueError where one lacks what it says or what to do, or a remedy has no code."""
    trees = errors.sources()
    by_code, hints, written = errors.codes(trees), found(trees), remedies()
    made = {}
    for code, places in sorted(by_code.items()):
        says = written["says"].get(code) or next((each.message for each in places if each.message), "")
        made[code] = Entry(says, written["do"].get(code) or hints.get(code, ""), places)
    lacking = [code for code, each in made.items() if not (each.says and each.do)]
    useless = sorted({*written["says"], *written["do"]} - set(by_code))
    if lacking or useless:
        raise ValueError(
            f"remedies.toml lacks {', '.join(lacking) or 'nothing'}; no error has the code {', '.join(useless) or '(all have)'}"
        )
    return made


def table() -> str:
    """Every code with its exit code, what it says, what to do and where it comes from, one table an area."""
    areas: dict[str, list[tuple[str, str, str, str, str]]] = {}
    for code, entry in entries().items():
        leaves = sorted({each.exit_code for each in entry.places if each.exit_code}, key=int)
        modules = ", ".join(dict.fromkeys(f"`{each.module.removeprefix('runloop/')}`" for each in entry.places))
        row = (f"`{code}`", ", ".join(leaves) or "–", _short(entry.says), entry.do, modules)
        areas.setdefault(code.split(".")[0], []).append(row)
    header = ("code", "exit", "says", "what to do", "from")
    return "\n\n".join(f"## {area}\n\n" + markdown_table(header, rows) for area, rows in areas.items())


def _short(text: str) -> str:
    return text if len(text) <= 160 else text[:159] + "…"
