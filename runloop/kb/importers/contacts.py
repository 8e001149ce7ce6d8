"""Contacts from vCard and CSV files into the ledger; importing the same files again takes nothing new."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runloop.kb.derived import contact_key
from runloop.kb.importers import csvfile, vcard
from runloop.kb.importers.accounts import found_account, import_accounts
from runloop.kb.importers.intake import Current, Found, How, Known, Sort, take_in
from runloop.kb.importers.report import ImportReport, Refusal
from runloop.kb.importers.textfile import Unreadable, bad_byte, decode, read_bytes, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import apsw

    from runloop.kb.base import KnowledgeBase
    from runloop.kb.importers.intake import Item

MAX_BYTES = 64 * 1024 * 1024
# Neither blanks and separators, nor characters that a terminal obeys or that are not seen (controls, zero width, direction).
_NOT_IN_ADDRESSES = r"@\s<>,;\"\x00-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
_ADDRESS = re.compile(f"[^{_NOT_IN_ADDRESSES}]+@[^{_NOT_IN_ADDRESSES}]+")


def import_contacts(kb: KnowledgeBase, files: Sequence[str | Path], how: How | None = None, *, encoding: str | None = None) -> ImportReport:
    """Read the files in order and append what is new or changed; every record that cannot be used is reported.

    ``encoding`` is that of files that are not UTF-8.
    """
    paths = [Path(file).resolve() for file in files]
    report = ImportReport("contacts", ", ".join(map(shown, paths)))
    accounts: list[Found] = []
    found = (each for path in paths for each in _contacts(path, report, encoding, accounts))
    take_in(kb, _SORT, _distinct(found), report, how or How())
    if accounts and not report.interrupted:
        report.accounts = import_accounts(kb, accounts, report.source, how or How()).taken
    return report


def _contacts(path: Path, report: ImportReport, encoding: str | None, accounts: list[Found]) -> Iterator[Found | Refusal]:
    """The usable contacts of one file; their accounts go to ``accounts``."""
    name = shown(path)
    try:
        data = read_bytes(path, MAX_BYTES)
        text = decode(data, keep_bad=True, encoding=encoding)
        report.files += 1
        report.read += len(data)
        is_vcard = path.suffix.lower() in {".vcf", ".vcard"} or text.lstrip()[:11].upper() == "BEGIN:VCARD"
        for record in vcard.read_cards(text) if is_vcard else csvfile.read_rows(text):
            problem = record.problem or _problem(record)
            if problem is not None:
                line = record.problem_line if isinstance(record, vcard.Card) and record.problem_line else record.line
                yield Refusal(name, line, problem)
                continue
            for address in _unusable(record):
                yield Refusal(
                    name, record.line, f"{address!r} is not an e-mail address; the others of {record.name or 'the contact'} are taken"
                )
                record.emails.remove(address)
            place = {"source": shown(path.name), "path": name, "line": record.line}
            payload = _payload(record, place)
            profiles = record.accounts if isinstance(record, vcard.Card) else ()
            accounts += [found_account(each, payload["email"], place) for each in profiles]
            yield Found(contact_key(payload["email"]), name, record.line, (payload,), _digest(*_facts(payload)))
    except Unreadable as error:
        yield Refusal(name, error.line, error.message)


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


def _payload(record: vcard.Card | csvfile.Row, place: Mapping[str, Any]) -> dict[str, Any]:
    emails = list(dict.fromkeys(record.emails))
    payload: dict[str, Any] = {"name": record.name or emails[0], "email": emails[0], **place}
    if record.org:
        payload["org"] = record.org
    nicknames = [name for name in record.nicknames if name != record.name]
    if nicknames:
        payload["nicknames"] = nicknames
    if len(emails) > 1:
        payload["emails"] = emails
    return payload


def _distinct(records: Iterable[Found | Refusal]) -> Iterator[Item]:
    """The records without those whose address another one of this import has already."""
    first: dict[str, Found] = {}
    for record in records:
        if isinstance(record, Refusal):
            yield record
            continue
        other = first.setdefault(record.key, record)
        if other is record:
            yield record
        elif other.digest == record.digest:
            yield Known()
        else:
            place = f"line {other.line}" if other.file == record.file else f"{other.file}, line {other.line}"
            who, address = other.payloads[0]["name"], record.payloads[0]["email"]
            yield Refusal(record.file, record.line, f"{address} already belongs to {who} ({place})")


def _current(db: apsw.Connection, keys: Sequence[str]) -> dict[str, Current]:
    """What the base says of these people."""
    found = {}
    for key in keys:
        row: Any = db.execute(
            "SELECT source_event, name, email, emails, nicknames, org FROM contacts WHERE contact_key = ?", (key,)
        ).fetchone()
        if row is not None:
            found[key] = Current(row[0], _digest(row[1], row[2], json.loads(row[3]), json.loads(row[4]), row[5]))
    return found


_SORT = Sort("contacts", "contact", "contact.upserted", _current)


def _digest(*facts: Any) -> str:
    return json.dumps(facts)


def _facts(payload: dict[str, Any]) -> tuple[Any, ...]:
    """What makes two contacts the same; where they were read does not."""
    email = payload["email"]
    return payload["name"], email, payload.get("emails", [email]), payload.get("nicknames", []), payload.get("org")
