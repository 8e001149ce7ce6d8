"""From hits to notes: the knowledge base keeps a file in passages, and a passage says more under the headings above it.

Plain data in and out; `get` reads one entity by key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from passages import title_of
from selection import Note, Wanted

MAX_READ = 12
"""Passages of one file that are read beside those found."""
MAX_FILES_READ = 4


@dataclass(slots=True)
class _File:
    """The passages of one file by number: where each begins, its text and its event."""

    path: str
    title: str
    parts: dict[int, tuple[int, str, int | None]] = field(default_factory=dict)

    def note(self) -> Note:
        """The passages at their lines; what was not read is blank."""
        lines: list[str] = []
        origins: list[tuple[int, int | None]] = []
        for _, (first, text, event_id) in sorted(self.parts.items()):
            lines += [""] * (first - 1 - len(lines))
            lines += text.split("\n")
            origins.append((first, event_id))
        whole = "\n".join(lines)
        return Note(self.path, title_of(whole, self.path) if 0 in self.parts else self.title, whole, tuple(origins))


def assemble(wanted: Wanted, hits: Iterable[Any], get: Callable[[str], Any]) -> list[Note]:
    """The notes of the hits in their order; a file whose title is about the topic is read on, a few passages of it."""
    files: dict[str, _File] = {}
    others: list[Note] = []
    for hit in hits:
        number = _number(hit.key)
        text, line = hit.data.get("text"), hit.data.get("line")
        if number is None or not isinstance(text, str) or not isinstance(line, int):
            line = hit.line if isinstance(hit.line, int) else 1
            others.append(Note(hit.path or "", hit.title or hit.path or "", "\n" * (line - 1) + hit.excerpt, ((1, hit.event_id),)))
            continue
        path = hit.path or hit.key
        files.setdefault(path, _File(path, hit.title or path)).parts.setdefault(number, (line, text, hit.event_id))
    about = [file for file in files.values() if wanted.covers(file.note().title, file.path)]
    for file in about[:MAX_FILES_READ]:
        _read_on(file, get)
    return [*(file.note() for file in files.values()), *others]


def _read_on(file: _File, get: Callable[[str], Any]) -> None:
    """Add the passages from the file's beginning on that were not found, up to its end or MAX_READ of them."""
    number = read = 0
    while read < MAX_READ:
        if number not in file.parts:
            entity = get(f"note:{file.path}#{number}")
            read += 1
            text, line = (entity.data.get("text"), entity.data.get("line")) if entity is not None else (None, None)
            if not isinstance(text, str) or not isinstance(line, int):
                return
            file.parts[number] = (line, text, entity.event_id)
        number += 1


def _number(key: str) -> int | None:
    """The number of a passage, from a key such as `note:/home/ann/plan.md#3`."""
    tail = key.rpartition("#")[2]
    return int(tail) if key.startswith("note:") and tail.isdecimal() else None
