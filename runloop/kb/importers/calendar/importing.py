"""Calendars into the ledger: each appointment, and each changed occurrence of one, under its UID."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from runloop.kb.import_projections import digest_of
from runloop.kb.importers.calendar.appointment import read_appointment
from runloop.kb.importers.calendar.blocks import Block, blocks
from runloop.kb.importers.calendar.zones import Zones
from runloop.kb.importers.intake import Found, How, Sort, Whole, held_at, look_up, take_in
from runloop.kb.importers.report import ImportReport, Refusal
from runloop.kb.importers.textfile import Unreadable, file_size, is_folder, opened, shown
from runloop.links import followed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import apsw

    from runloop.kb.base import KnowledgeBase
    from runloop.kb.importers.intake import Current, Item

MAX_LINE = 1024 * 1024
_MARK = b"\xef\xbb\xbf"


def import_calendar(kb: KnowledgeBase, files: Sequence[str | Path], how: How | None = None, *, encoding: str | None = None) -> ImportReport:
    """Read iCalendar files, or directories of them, and append what is new or changed. What is gone from there is removed.

    ``encoding`` is that of appointments that are not UTF-8.
    """
    paths = [followed(file) for file in files]
    report = ImportReport("calendar", ", ".join(shown(path) for path in paths))
    report.total = 0 if any(map(is_folder, paths)) else sum(file_size(path) or 0 for path in paths)
    items = (item for path in paths for item in _calendars(path, report, encoding))
    return take_in(kb, _SORT, items, report, how or How())


def _calendars(path: Path, report: ImportReport, encoding: str | None) -> Iterator[Item]:
    """Those of a file, or of a directory of files with the directories in it, as khal, vdirsyncer and Radicale keep them."""
    if not is_folder(path):
        yield from _items(path, report, encoding)
        return
    from runloop.kb.importers.folders import files_below

    files = 0
    for found in files_below(path, {".ics"}):
        if isinstance(found, Refusal):
            yield found
        else:
            files += 1
            yield from _items(followed(found.path), report, encoding)
    if not files:
        report.remark(shown(path), None, "no file in it ends in .ics")
    yield Whole(shown(path))


def _items(path: Path, report: ImportReport, encoding: str | None) -> Iterator[Item]:
    name = shown(path)
    others: dict[str, int] = {}
    zones = Zones()
    try:
        with opened(path) as file:
            report.files += 1
            for block in blocks(_lines(file, report)):
                if block.problem is None and block.name == "VTIMEZONE":
                    zones.note(block.data)
                elif block.problem is None and block.name != "VEVENT":
                    others[block.name] = others.get(block.name, 0) + 1
                else:
                    yield _found(name, block, zones, report, encoding)
    except Unreadable as error:
        yield Refusal(name, error.line, error.message)
        return
    for kind, count in others.items():
        report.remark(name, None, f"{count} × {kind[:40]}: only appointments (VEVENT) are taken")
    yield Whole(name)


def _lines(file: BinaryIO, report: ImportReport) -> Iterator[tuple[int, bytes]]:
    """The lines without their ends. Of one that is too long its first part stands for it: no property of ours is that long."""
    number = 0
    going_on = False
    while line := file.readline(MAX_LINE):
        report.read += len(line)
        if not going_on:
            number += 1
            yield number, (line.removeprefix(_MARK) if number == 1 else line).rstrip(b"\r\n")
        going_on = not line.endswith(b"\n")


def _found(name: str, block: Block, zones: Zones, report: ImportReport, encoding: str | None) -> Found | Refusal:
    if block.problem is not None:
        return Refusal(name, block.line, block.problem)
    try:
        text = _text(block.data, encoding)
        payload = read_appointment(text, zones)
    except UnicodeDecodeError as error:
        return Refusal(name, block.line, f"not UTF-8 text: byte 0x{block.data[error.start]:02x}; name its encoding with --encoding")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        return Refusal(name, block.line, f"cannot be read: {str(error)[:200] or type(error).__name__}")
    for problem in payload.get("problems", ()):
        report.remark(name, block.line, problem)
    payload = {**payload, "path": name, "line": block.line}
    return Found(payload["appointment"], name, block.line, (payload,), digest_of(payload), size=len(block.data) + 500)


def _text(data: bytes, encoding: str | None) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        if encoding is None:
            raise
    return data.decode(encoding)


def _current(db: apsw.Connection, keys: Sequence[str]) -> dict[str, Current]:
    return look_up(db, "SELECT appointment_key, source_event, digest FROM appointments WHERE appointment_key IN", keys)


def _gone(key: str, path: str, reason: str) -> tuple[str, dict[str, Any]]:
    return "appointment.removed", {"appointment": key, "path": path, "reason": reason}


def _held(db: apsw.Connection, source: str) -> Iterator[tuple[str, str]]:
    return held_at(db, "appointments", "appointment_key", "path", source)


_SORT = Sort("calendar", "appointment", "appointment.imported", _current, _gone, _held)
