"""Mail into the ledger: each message once, however many mailboxes hold it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from runloop.kb.importers.intake import Found, How, Sort, Whole, held_at, look_up, take_in
from runloop.kb.importers.mail.message import read_message
from runloop.kb.importers.mail.sources import letters, size_of
from runloop.kb.importers.report import ImportReport, Refusal
from runloop.kb.importers.textfile import shown
from runloop.links import followed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import apsw

    from runloop.kb.base import KnowledgeBase
    from runloop.kb.importers.intake import Current, Item

MAX_BYTES = 64 * 1024 * 1024  # of one message
FALLBACK = "cp1252"  # for bytes that are neither what a message claims nor UTF-8


def import_mail(
    kb: KnowledgeBase, paths: Sequence[str | Path], how: How | None = None, *, encoding: str = FALLBACK, keep: bool = False
) -> ImportReport:
    """Read mbox files, Maildir folders, messages and directories of them, and append the messages that are new.

    ``encoding`` is tried for bytes that are neither what a message claims nor UTF-8; ``keep`` stores the attachments' bytes as blobs.
    Messages that were read from one of these places before and are not there any more are removed, where that place was seen whole.
    """
    roots = [followed(path) for path in paths]
    report = ImportReport("mail", ", ".join(shown(root) for root in roots))
    report.total = sum(size_of(root) for root in roots)

    def current(db: apsw.Connection, keys: Sequence[str]) -> dict[str, Current]:
        digest = "CASE kept WHEN 1 THEN 'kept' ELSE '' END" if keep else "''"
        return look_up(db, f"SELECT message_key, source_event, {digest} FROM messages WHERE message_key IN", keys)  # noqa: S608

    sort = Sort("mail", "message", "message.imported", current, _gone, _held)
    return take_in(kb, sort, _items(roots, report, encoding, keep=keep), report, how or How())


def _items(roots: Sequence[Path], report: ImportReport, encoding: str, *, keep: bool) -> Iterator[Item]:
    for root in roots:
        for letter in letters(root, report, MAX_BYTES):
            if isinstance(letter, (Refusal, Whole)):
                yield letter
                continue
            read = read_message(letter.data, fallback=encoding, keep=keep)
            payload: dict[str, Any] = {**read.payload, "mailbox": letter.mailbox, "path": letter.path}
            if letter.line is not None:
                payload["line"] = letter.line
            for problem in payload.get("problems", ()):
                report.remark(letter.path, letter.line, problem)
            size = len(payload["text"]) + sum(len(blob) for blob in read.blobs) + 500
            yield Found(payload["message"], letter.path, letter.line, (payload,), "kept" if read.blobs else "", read.blobs, size)


def _gone(key: str, mailbox: str, reason: str) -> tuple[str, dict[str, Any]]:
    return "message.removed", {"message": key, "mailbox": mailbox, "reason": reason}


def _held(db: apsw.Connection, source: str) -> Iterator[tuple[str, str]]:
    return held_at(db, "messages", "message_key", "mailbox", source)
