"""Contacts from vCard and CSV files into the ledger; importing the same files again takes nothing new."""

from __future__ import annotations

import json
import re
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from runloop.kb import recognising
from runloop.kb.derived import contact_key
from runloop.kb.importers import csvfile, vcard
from runloop.kb.importers.accounts import found_account, import_accounts
from runloop.kb.importers.intake import Current, Found, How, Known, Sort, short, take_in
from runloop.kb.importers.report import ImportReport, Refusal
from runloop.kb.importers.textfile import Unreadable, bad_byte, file_size, opened, shown, text_lines
from runloop.links import followed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import apsw

    from runloop.kb.base import KnowledgeBase
    from runloop.kb.importers.intake import Item

_BLANK = 1000  # lines without words that may stand before the first record
_SIZE = 1000  # bytes that a contact takes, roughly
# Neither blanks and separators, nor characters that a terminal obeys or that are not seen (controls, zero width, direction).
_NOT_IN_ADDRESSES = r"@\s<>,;\"\x00-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
_ADDRESS = re.compile(f"[^{_NOT_IN_ADDRESSES}]+@[^{_NOT_IN_ADDRESSES}]+")


def import_contacts(kb: KnowledgeBase, files: Sequence[str | Path], how: How | None = None, *, encoding: str | None = None) -> ImportReport:
    """Read the files in order, in a stream, and append what is new or changed; every record that cannot be used is reported.

    ``encoding`` is that of files that are not UTF-8.
    """
    paths = [followed(file) for file in files]
    report = ImportReport("contacts", ", ".join(map(shown, paths)))
    report.total = sum(file_size(path) or 0 for path in paths)
    accounts = 0

    def people() -> Iterator[Found | Refusal]:
        nonlocal accounts
        for each in _contacts(paths, report, encoding):
            accounts += len(each.accounts) if isinstance(each, _Person) else 0
            yield each.found if isinstance(each, _Person) else each

    take_in(kb, _SORT, _distinct(people()), report, how or How())
    if accounts and not report.interrupted:  # the files are read again rather than that all of them are held
        again = _contacts(paths, ImportReport("accounts", report.source), encoding)
        stays_out = _erased(kb) if how is None or not how.take_erased else lambda _found: False
        theirs = (each.accounts for each in again if isinstance(each, _Person) and each.accounts and not stays_out(each.found))
        report.add(import_accounts(kb, chain.from_iterable(theirs), report.source, how or How()))
    return report


def _erased(kb: KnowledgeBase) -> Callable[[Found], bool]:
    """Tells of a contact whether it was erased and is not there: an account of it names its address."""
    with kb.reading() as db:
        if db.execute("SELECT 1 FROM erased_records LIMIT 1").get is None:
            return lambda _found: False
    key = recognising.key_of(kb.ledger.meta("mask_salt"))

    def stays_out(found: Found) -> bool:
        said = [each for payload in found.payloads for each in recognising.names(key, _SORT.kind, payload)]
        with kb.reading(synced=False) as db:
            there = db.execute("SELECT 1 FROM contacts WHERE contact_key = ?", (found.key,)).get
            return there is None and bool(recognising.erased_among(db, said))

    return stays_out


class _Person(NamedTuple):
    """A usable record, and the accounts that it names."""

    found: Found
    accounts: list[Found]


def _contacts(paths: Sequence[Path], report: ImportReport, encoding: str | None) -> Iterator[_Person | Refusal]:
    """The contacts of the files, usable or not."""
    for path in paths:
        name = shown(path)
        try:
            with opened(path) as file, closing(text_lines(file, encoding=encoding)) as lines:
                report.files += 1
                before = report.read
                for record in _records(path, lines):
                    yield from _person(record, name, path.name)
                    report.read = before + file.tell()
        except Unreadable as error:
            yield Refusal(name, error.line, error.message)


def _records(path: Path, lines: Iterator[str]) -> Iterator[vcard.Card | csvfile.Row]:
    """The records of a file, which its name or its first words say the form of."""
    before: list[str] = []
    for line in lines:
        before.append(line if line.strip() else "\n")
        if line.strip() or len(before) > _BLANK:
            break
    is_vcard = path.suffix.lower() in {".vcf", ".vcard"} or "".join(before[-1:]).lstrip()[:11].upper() == "BEGIN:VCARD"
    read = vcard.read_cards if is_vcard else csvfile.read_rows
    return read(chain(before, lines))


def _person(record: vcard.Card | csvfile.Row, name: str, file: str) -> Iterator[_Person | Refusal]:
    problem = record.problem or _problem(record)
    if problem is not None:
        line = record.problem_line if isinstance(record, vcard.Card) and record.problem_line else record.line
        yield Refusal(name, line, problem)
        return
    unusable = _unusable(record)
    for address in unusable:
        yield Refusal(name, record.line, f"{address!r} is not an e-mail address; the others of {record.name or 'the contact'} are taken")
    if unusable:
        bad = frozenset(unusable)
        record.emails = [address for address in record.emails if address not in bad]
    place = {"source": shown(file), "path": name, "line": record.line}
    payload = _payload(record, place)
    profiles = record.accounts if isinstance(record, vcard.Card) else ()
    found = Found(contact_key(payload["email"]), name, record.line, (payload,), _digest(*_facts(payload)), size=_SIZE)
    yield _Person(found, [found_account(each, payload["email"], place) for each in profiles])


def _problem(record: vcard.Card | csvfile.Row) -> str | None:
    """Why a record that could be read is no contact."""
    bad_text = bad_byte("\n".join((record.name, record.org or "", *record.emails, *record.nicknames, *record.phones)))
    if bad_text is not None:
        return f"not UTF-8 text: byte 0x{bad_text:02x}; name its encoding with --encoding"
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
    if record.phones:
        payload["phones"] = record.phones
    return payload


def _distinct(records: Iterable[Found | Refusal]) -> Iterator[Item]:
    """The records without those whose address another one of this import has already."""
    first: dict[bytes, tuple[bytes, str, str, int | None]] = {}
    for record in records:
        if isinstance(record, Refusal):
            yield record
            continue
        payload, digest = record.payloads[0], short(record.digest)
        mine = digest, payload["name"], record.file, record.line
        other = first.setdefault(short(record.key), mine)
        if other is mine:
            yield record
        elif other[0] == digest:
            yield Known()
        else:
            _, who, file, line = other
            place = f"line {line}" if file == record.file else f"{file}, line {line}"
            yield Refusal(record.file, record.line, f"{payload['email']} already belongs to {who} ({place})")


def _current(db: apsw.Connection, keys: Sequence[str]) -> dict[str, Current]:
    """What the base says of these people."""
    found = {}
    for key in keys:
        row: Any = db.execute(
            "SELECT source_event, name, email, emails, nicknames, org, phones FROM contacts WHERE contact_key = ?", (key,)
        ).fetchone()
        if row is not None:
            found[key] = Current(row[0], _digest(row[1], row[2], json.loads(row[3]), json.loads(row[4]), row[5], json.loads(row[6])))
    return found


_SORT = Sort("contacts", "contact", "contact.upserted", _current)


def _digest(*facts: Any) -> str:
    return json.dumps(facts)


def _facts(payload: dict[str, Any]) -> tuple[Any, ...]:
    """What makes two contacts the same; where they were read does not."""
    email = payload["email"]
    return (
        payload["name"],
        email,
        payload.get("emails", [email]),
        payload.get("nicknames", []),
        payload.get("org"),
        payload.get("phones", []),
    )
