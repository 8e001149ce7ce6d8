"""Contacts from vCard and CSV files into the ledger; importing the same files again takes nothing new."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runloop.events import NewEvent
from runloop.kb.derived import contact_key
from runloop.kb.importers import csvfile, vcard
from runloop.kb.importers.report import ImportReport
from runloop.kb.importers.textfile import Unreadable, bad_byte, decode, read_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runloop.kb.base import KnowledgeBase

MAX_BYTES = 64 * 1024 * 1024
_BATCH = 500  # events in one append
# Neither blanks and separators, nor characters that a terminal obeys or that are not seen (controls, zero width, direction).
_NOT_IN_ADDRESSES = r"@\s<>,;\"\x00-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
_ADDRESS = re.compile(f"[^{_NOT_IN_ADDRESSES}]+@[^{_NOT_IN_ADDRESSES}]+")


@dataclass(slots=True)
class _Found:
    """A contact of a file, and where it stands."""

    file: str
    line: int
    payload: dict[str, Any]


def import_contacts(kb: KnowledgeBase, files: Sequence[str | Path], *, actor: str = "user") -> ImportReport:
    """Read the files in order and append what is new or changed; every record that cannot be used is reported."""
    report = ImportReport("contacts", ", ".join(str(file) for file in files))
    found: dict[str, _Found] = {}
    for file in files:
        for contact in _contacts(Path(file), report):
            _keep(found, contact, report)
    fresh = _changed(kb, found, report)
    events = [NewEvent("contact.upserted", contact.payload, actor, "user") for contact in fresh]
    for start in range(0, len(events), _BATCH):
        report.event_ids += [event.id for event in kb.ledger.append(events[start : start + _BATCH])]
    report.taken = len(events)
    finished = {"what": "contacts", "source": report.source, "taken": report.taken, "known": report.known, "refused": len(report.refused)}
    if events:
        kb.ledger.append([NewEvent("import.finished", {**finished, "files": report.files}, actor, "user")])
    return report


def _contacts(path: Path, report: ImportReport) -> Iterator[_Found]:
    """The usable contacts of one file."""
    name = str(path)
    try:
        text = decode(read_bytes(path, MAX_BYTES), keep_bad=True)
        report.files += 1
        is_vcard = path.suffix.lower() in {".vcf", ".vcard"} or text.lstrip()[:11].upper() == "BEGIN:VCARD"
        for record in vcard.read_cards(text) if is_vcard else csvfile.read_rows(text):
            problem = record.problem or _problem(record)
            if problem is not None:
                line = record.problem_line if isinstance(record, vcard.Card) and record.problem_line else record.line
                report.refuse(name, line, problem)
                continue
            for address in _unusable(record):
                report.refuse(
                    name, record.line, f"{address!r} is not an e-mail address; the others of {record.name or 'the contact'} are taken"
                )
                record.emails.remove(address)
            yield _Found(name, record.line, _payload(record, path.name))
    except Unreadable as error:
        report.refuse(name, error.line, error.message)


def _problem(record: vcard.Card | csvfile.Row) -> str | None:
    """Why a record that could be read is no contact."""
    bad_text = bad_byte("\n".join((record.name, record.org or "", *record.emails, *record.nicknames)))
    if bad_text is not None:
        return f"not UTF-8 text: byte 0x{bad_text:02x}; save the file as UTF-8"
    if not record.emails:
        return f"no e-mail address{f' for {record.name}' if record.name else ''}"
    bad = _unusable(record)
    if len(bad) == len(record.emails):
        return f"{bad[0]!r} is not an e-mail address"
    return None


def _unusable(record: vcard.Card | csvfile.Row) -> list[str]:
    return [address for address in record.emails if not _ADDRESS.fullmatch(address) or len(address) > 320]


def _payload(record: vcard.Card | csvfile.Row, source: str) -> dict[str, Any]:
    emails = list(dict.fromkeys(record.emails))
    payload: dict[str, Any] = {"name": record.name or emails[0], "email": emails[0], "source": source}
    if record.org:
        payload["org"] = record.org
    nicknames = [name for name in record.nicknames if name != record.name]
    if nicknames:
        payload["nicknames"] = nicknames
    if len(emails) > 1:
        payload["emails"] = emails
    return payload


def _keep(found: dict[str, _Found], contact: _Found, report: ImportReport) -> None:
    """Add the contact unless another one of this import has the same address."""
    key = contact_key(contact.payload["email"])
    first = found.setdefault(key, contact)
    if first is contact:
        return
    if _facts(first.payload) == _facts(contact.payload):
        report.known += 1
    else:
        place = f"line {first.line}" if first.file == contact.file else f"{first.file}, line {first.line}"
        report.refuse(contact.file, contact.line, f"{contact.payload['email']} already belongs to {first.payload['name']} ({place})")


def _changed(kb: KnowledgeBase, found: dict[str, _Found], report: ImportReport) -> list[_Found]:
    """The contacts that the knowledge base does not have, or has otherwise."""
    fresh = []
    with kb.reading() as db:
        for key, contact in found.items():
            row: Any = db.execute("SELECT name, email, emails, nicknames, org FROM contacts WHERE contact_key = ?", (key,)).fetchone()
            if row is not None and (row[0], row[1], json.loads(row[2]), json.loads(row[3]), row[4]) == _facts(contact.payload):
                report.known += 1
            else:
                fresh.append(contact)
    return fresh


def _facts(payload: dict[str, Any]) -> tuple[Any, ...]:
    """What makes two contacts the same; where they were read does not."""
    email = payload["email"]
    return payload["name"], email, payload.get("emails", [email]), payload.get("nicknames", []), payload.get("org")
