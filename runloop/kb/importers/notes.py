"""Notes: Markdown and text files of a directory into the ledger, as passages with their lines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from runloop.errors import InvalidInput, Where
from runloop.kb.importers.folders import files_below
from runloop.kb.importers.intake import Current, Found, How, Sort, Whole, held_at, take_in
from runloop.kb.importers.passages import split_passages
from runloop.kb.importers.report import ImportReport, Refusal
from runloop.kb.importers.textfile import Unreadable, decode, read_bytes, shown
from runloop.links import followed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import apsw

    from runloop.kb.base import KnowledgeBase
    from runloop.kb.importers.intake import Item
    from runloop.kb.importers.passages import Passage

MAX_BYTES = 4 * 1024 * 1024
MAX_PASSAGES = 10_000
"""Of a file whose headings begin them; plain text of ``MAX_BYTES`` has some 7,000 at most."""
MARKDOWN = frozenset({".md", ".markdown", ".mdown"})
SUFFIXES = MARKDOWN | {".txt", ".text", ".org", ".rst"}


def import_notes(kb: KnowledgeBase, place: str | Path, how: How | None = None, *, encoding: str | None = None) -> ImportReport:
    """Read a directory (or one file) and append the passages of every file that is new or changed.

    Files that were imported from this place before and are gone now lose their passages. ``encoding`` is that of files that are not UTF-8.
    """
    root = followed(place)
    try:
        root.stat()
    except OSError as error:
        why = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        hint = "name a directory or a text file"
        raise InvalidInput(f"{place} {why}", code="import.missing", where=Where(file=str(place)), hint=hint) from None
    report = ImportReport("notes", shown(root))
    return take_in(kb, _SORT, _items(root, report, encoding), report, how or How())


def _items(root: Path, report: ImportReport, encoding: str | None) -> Iterator[Item]:
    for path in _files(root):
        if isinstance(path, Refusal):
            yield path
            continue
        try:
            data = read_bytes(path, MAX_BYTES)
            text = decode(data, encoding=encoding)
            str(path).encode()
        except Unreadable as error:
            yield Refusal(shown(path), error.line, error.message)
            continue
        except UnicodeEncodeError:
            yield Refusal(shown(path), None, "the file's name is not UTF-8")
            continue
        report.files += 1
        report.read += len(data)
        passages = split_passages(text, markdown=path.suffix.lower() in MARKDOWN)
        if len(passages) > MAX_PASSAGES:
            why = f"headings begin {len(passages)} passages in it, the limit is {MAX_PASSAGES}: it is taken as plain text, without titles"
            report.remark(shown(path), None, why)
            passages = split_passages(text, markdown=False)
        yield _found(path, data, passages)
    if not report.files and not report.refusals:
        report.remark(shown(root), None, f"no file in it ends in {', '.join(sorted(SUFFIXES))}")
    yield Whole(shown(root))


def _found(path: Path, data: bytes, passages: Sequence[Passage]) -> Found:
    """A file with its passages; none where it is empty."""
    file_hash = blake3(data).hexdigest()
    payloads = []
    for part, passage in enumerate(passages):
        payload: dict[str, Any] = {"path": str(path), "line": passage.line, "end_line": passage.end_line, "text": passage.text}
        payload |= {"file_hash": file_hash, "part": part, "parts": len(passages)}
        if passage.title:
            payload["title"] = passage.title
        payloads.append(payload)
    return Found(str(path), str(path), 1, tuple(payloads), f"{file_hash}:{len(passages)}", size=len(data))


def _current(db: apsw.Connection, keys: Sequence[str]) -> dict[str, Current]:
    """The imported files: the hash and the number of passages, also of those that were erased since."""
    found = {}
    for key in keys:
        rows: Any = db.execute(
            "SELECT max(source_event), file_hash, max(parts) FROM notes WHERE path = ? GROUP BY file_hash", (key,)
        ).fetchall()
        if rows:
            event_id, file_hash, count = max(rows)
            found[key] = Current(event_id, f"{file_hash}:{count}")
    return found


def _gone(key: str, _place: str, reason: str) -> tuple[str, dict[str, Any]]:
    return "note.removed", {"path": key, "reason": reason}


def _held(db: apsw.Connection, source: str) -> Iterator[tuple[str, str]]:
    return held_at(db, "notes", "path", "path", source)


_SORT = Sort("notes", "note", "note.imported", _current, _gone, _held)


def _files(root: Path) -> Iterator[Path | Refusal]:
    """The text files of a directory, in a fixed order: no hidden ones, no links that lead outside, no links to directories."""
    if root.is_file():
        yield root
        return
    for found in files_below(root, SUFFIXES):
        if isinstance(found, Refusal):
            yield found
        elif found.is_symlink() and not _inside(os.path.realpath(found.path), root):
            yield Refusal(shown(found.path), None, "a link that leads out of the directory")
        else:
            yield Path(found.path)


def _inside(path: str, root: Path) -> bool:
    return path == str(root) or path.startswith(str(root).rstrip(os.sep) + os.sep)
