"""Where mail lies: mbox files, Maildir folders (with those inside), single messages, and directories with any of them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from runloop.kb.importers.folders import entries
from runloop.kb.importers.intake import Whole
from runloop.kb.importers.mail import mbox
from runloop.kb.importers.report import Refusal
from runloop.kb.importers.textfile import Unreadable, is_folder, opened, read_bytes, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runloop.kb.importers.report import ImportReport

_MAILDIR = ("cur", "new")
_SUFFIXES = frozenset({".mbox", ".mbx", ".eml", ".emlx", ".msg"})
_OF_MAIL = re.compile(  # at least one of these makes headers those of a message (RFC 5322; what mail programs add)
    rb"^(?:from|to|cc|bcc|subject|date|message-id|received|return-path|delivered-to|sender|reply-to|mime-version|content-type)[ \t]*:",
    re.IGNORECASE | re.MULTILINE,
)
_HEADER = re.compile(rb"(?:[!-9;-~]+[ \t]*:|>?From )")


class Letter(NamedTuple):
    """A message's bytes, and where they stood: the mailbox, the file, and in an mbox file the line."""

    mailbox: str
    path: str
    line: int | None
    data: bytes


def letters(path: Path, report: ImportReport, limit: int) -> Iterator[Letter | Refusal | Whole]:
    """Every message of a file or directory; what cannot be read is refused by name."""
    if not is_folder(path):
        yield from _file(path, report, limit, explicit=True)
        return
    folders = [path]
    while folders:
        folder = folders.pop()
        found = entries(folder)
        if isinstance(found, Refusal):
            yield found
            continue
        boxes = [Path(entry.path) for entry in found if entry.name in _MAILDIR and entry.is_dir(follow_symlinks=False)]
        if boxes:
            yield from _maildir(folder, boxes, report, limit)
        inner: list[Path] = []
        for entry in found:
            here = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                inner += [] if boxes and entry.name in {*_MAILDIR, "tmp"} else [here]
            elif entry.is_symlink() and is_folder(here):
                yield Refusal(shown(here), None, "a link to a directory; not followed")
            elif not boxes and not entry.name.startswith("."):
                yield from _file(here, report, limit, explicit=False)
        folders += reversed(inner)
    yield Whole(shown(path))


def size_of(path: Path) -> int:
    """Bytes of a file or of all files beneath a directory, for showing how far an import is."""
    try:
        if not path.is_dir():
            return path.stat().st_size
    except OSError:
        return 0
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(Path(folder) / name).st_size
            except OSError:
                continue
    return total


def _maildir(folder: Path, boxes: list[Path], report: ImportReport, limit: int) -> Iterator[Letter | Refusal | Whole]:
    """The messages of one Maildir folder."""
    report.files += 1
    for box in boxes:
        try:
            paths = sorted(box.iterdir())
        except OSError as error:
            yield Refusal(shown(box), None, error.strerror or str(error))
            continue
        for path in paths:
            if path.name.startswith(".") or is_folder(path):
                continue
            try:
                data = read_bytes(path, limit)
            except Unreadable as error:
                yield Refusal(shown(path), None, error.message)
                continue
            report.read += len(data)
            yield Letter(shown(folder), shown(path), None, data)


def _file(path: Path, report: ImportReport, limit: int, *, explicit: bool) -> Iterator[Letter | Refusal | Whole]:
    """An mbox file or a single message; other files are refused when they were named, or when their name promises mail."""
    name = shown(path)
    wanted = explicit or path.suffix.lower() in _SUFFIXES
    try:
        with opened(path) as file:
            head = file.read(4096)
            file.seek(0)
            if path.suffix.lower() != ".eml" and mbox.begins(head) and (wanted or head.strip()):
                report.files += 1
                before = os.fstat(file.fileno())
                for raw in mbox.split(file.read, limit):
                    report.read = report.read + raw.size
                    if raw.data is None:
                        yield Refusal(name, raw.line, f"a message of {raw.size} bytes; the limit is {limit}")
                    elif raw.data.strip():
                        yield Letter(name, name, raw.line, raw.data)
                after = os.fstat(file.fileno())
                if (before.st_size, before.st_mtime_ns, after.st_nlink) != (after.st_size, after.st_mtime_ns, before.st_nlink):
                    yield Refusal(name, None, "changed while it was read: import it again")
                else:
                    yield Whole(name)
                return
            if not _HEADER.match(head.lstrip(b"\r\n\xef\xbb\xbf")) or (path.suffix.lower() != ".eml" and not _OF_MAIL.search(head)):
                if wanted:
                    yield Refusal(name, 1, "neither an mbox file nor a message")
                return
            if not wanted:
                return
    except Unreadable as error:
        if wanted:
            yield Refusal(name, error.line, error.message)
        return
    try:
        data = read_bytes(path, limit)
    except Unreadable as error:
        yield Refusal(name, error.line, error.message)
        return
    report.files += 1
    report.read += len(data)
    yield Letter(name, name, None, data.lstrip(b"\r\n\xef\xbb\xbf"))
    yield Whole(name)
