"""Notes: Markdown and text files of a directory into the ledger, as passages with their lines."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from runloop.errors import InvalidInput, Where
from runloop.events import NewEvent
from runloop.kb.importers.passages import split_passages
from runloop.kb.importers.report import ImportReport
from runloop.kb.importers.textfile import Unreadable, decode, read_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from runloop.events import StoredEvent
    from runloop.kb.base import KnowledgeBase

MAX_BYTES = 4 * 1024 * 1024
_WRITING = 64  # files whose events are on their way to the disk at once
MARKDOWN = frozenset({".md", ".markdown", ".mdown"})
SUFFIXES = MARKDOWN | {".txt", ".text"}


def import_notes(kb: KnowledgeBase, place: str | Path, *, actor: str = "user") -> ImportReport:
    """Read a directory (or one file) and append the passages of every file that is new or changed.

    Files that were imported from this place before and are gone now lose their passages.
    """
    root = Path(place).resolve()
    if not root.exists():
        raise InvalidInput(
            f"{place} does not exist", code="import.missing", where=Where(file=str(place)), hint="name a directory or a text file"
        )
    report = ImportReport("notes", str(root))
    known = _known(kb)
    present: set[str] = set()
    writing: deque[Future[list[StoredEvent]]] = deque()
    for path in _files(root, report):
        present.add(str(path))
        events = _read_file(path, known.get(str(path)), report, actor)
        if events:  # one file, one append: all of its passages or none; the next file is read while the disk is busy
            writing.append(kb.ledger.submit(events))
        if len(writing) == _WRITING:
            report.event_ids += [event.id for event in writing.popleft().result()]
    for written in writing:
        report.event_ids += [event.id for event in written.result()]
    unread = {refusal.file for refusal in report.refused}
    gone = sorted(path for path in known if _inside(path, root) and path not in present and path not in unread)
    if gone:
        removed = [NewEvent("note.removed", {"path": path, "reason": "gone"}, actor, "user") for path in gone]
        report.event_ids += [event.id for event in kb.ledger.append(removed)]
        report.removed += len(gone)
    if report.event_ids:
        _finish(kb, report, actor)
    return report


def _finish(kb: KnowledgeBase, report: ImportReport, actor: str) -> None:
    counts = {name: getattr(report, name) for name in ("what", "source", "taken", "known", "removed", "files")}
    kb.ledger.append([NewEvent("import.finished", {**counts, "refused": len(report.refused)}, actor, "user")])


def _read_file(path: Path, known: tuple[str, int] | None, report: ImportReport, actor: str) -> list[NewEvent]:
    """The events of a file that is new, changed or emptied; what it has is counted in the report."""
    try:
        data = read_bytes(path, MAX_BYTES)
        text = decode(data)
        str(path).encode()
    except Unreadable as error:
        report.refuse(_shown(path), error.line, error.message)
        return []
    except UnicodeEncodeError:
        report.refuse(_shown(path), None, "the file's name is not UTF-8")
        return []
    report.files += 1
    file_hash = blake3(data).hexdigest()
    passages = split_passages(text, markdown=path.suffix.lower() in MARKDOWN)
    if known is not None and known == (file_hash, len(passages)):
        report.known += len(passages)
        return []
    if not passages:
        report.removed += known is not None
        return [] if known is None else [NewEvent("note.removed", {"path": str(path), "reason": "empty"}, actor, "user")]
    events = []
    for part, passage in enumerate(passages):
        payload: dict[str, Any] = {"path": str(path), "line": passage.line, "end_line": passage.end_line, "text": passage.text}
        payload |= {"file_hash": file_hash, "part": part, "parts": len(passages)}
        if passage.title:
            payload["title"] = passage.title
        events.append(NewEvent("note.imported", payload, actor, "user"))
    report.taken += len(events)
    return events


def _known(kb: KnowledgeBase) -> dict[str, tuple[str, int]]:
    """The imported files: path, with the hash and the number of passages."""
    with kb.reading() as db:
        rows: list[Any] = db.execute("SELECT path, file_hash, count(*) FROM notes GROUP BY path, file_hash").fetchall()
    return {path: (file_hash, count) for path, file_hash, count in rows}


def _files(root: Path, report: ImportReport) -> Iterator[Path]:
    """The text files of a directory, in a fixed order: no hidden ones, no links that lead outside, no links to directories."""
    if root.is_file():
        yield root
        return
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            report.refuse(_shown(folder), None, error.strerror or str(error))
            continue
        inner = []
        for entry in entries:
            path = Path(entry.path)
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                inner.append(path)
            elif entry.is_symlink() and path.is_dir():
                report.refuse(_shown(path), None, "a link to a directory; not followed")
            elif path.suffix.lower() in SUFFIXES:
                if entry.is_symlink() and not _inside(os.path.realpath(path), root):
                    report.refuse(_shown(path), None, "a link that leads out of the directory")
                else:
                    yield path
        folders += reversed(inner)


def _inside(path: str, root: Path) -> bool:
    return path == str(root) or path.startswith(str(root).rstrip(os.sep) + os.sep)


def _shown(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")
