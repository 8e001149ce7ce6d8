"""Contacts from CSV: exports of Google, Outlook and others, or a plain table with a name and an e-mail column."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runloop.kb.importers.textfile import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_DELIMITERS = ",;\t|"
_FULL_NAME = ("name", "full name", "display name", "fullname", "contact", "contact name", "file as")
_NAME_PARTS = (
    ("name prefix", "title", "prefix"),
    ("first name", "given name", "firstname", "vorname"),
    ("middle name", "additional name"),
    ("last name", "family name", "surname", "lastname", "nachname"),
    ("name suffix", "suffix"),
)
_NICKNAME = ("nickname", "nick name", "nicknames", "alias", "spitzname")
_ORG = ("organization name", "organization 1 - name", "organization", "organisation", "company", "company name", "org", "firma")
_EMAIL = re.compile(r"(?:primary |secondary )?(?:e-?mail|mail)(?: address)?(?: ?\d+)?(?: - value| address)?")
_STATED = re.compile(r"\"?sep=([,;\t|])\"?(?:\r\n|\r|\n|$)", re.IGNORECASE)
_SPLIT = re.compile(r"\s*(?::::|[;,])\s*")


@dataclass(slots=True)
class Row:
    """A contact of the table; ``line`` is where its record starts, ``problem`` why it cannot be used."""

    line: int
    name: str = ""
    emails: list[str] = field(default_factory=list)
    nicknames: list[str] = field(default_factory=list)
    org: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Header:
    """Which columns hold what, by position."""

    name: tuple[int, ...]
    parts: tuple[int, ...]
    emails: tuple[int, ...]
    nicknames: tuple[int, ...]
    org: tuple[int, ...]
    width: int


def read_rows(text: str) -> Iterator[Row]:
    """Every record of the table; raises :class:`Unreadable` when no header tells which column is what."""
    skipped, stated, text = _preamble(text)
    if not text.strip():
        return
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=stated or sniff(text), strict=True)
    header: Header | None = None
    while True:
        line = skipped + reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Row(line, problem=f"not CSV: {error}")
            return
        if not any(cell.strip() for cell in cells):
            continue
        if header is None:
            header = find_header(cells)
            continue
        yield _row(header, line, cells)


def _preamble(text: str) -> tuple[int, str | None, str]:
    """How many lines stand before the table, the delimiter that spreadsheets state there (``sep=;``), and the table."""
    start = len(text) - len(text.lstrip("\n\r"))
    stated = _STATED.match(text, start)
    if stated is not None:
        start = stated.end()
    before = text[:start].replace("\r\n", "\n").replace("\r", "\n")
    return before.count("\n"), stated[1] if stated is not None else None, text[start:]


def sniff(text: str) -> str:
    """The delimiter: of those that the first record could have, the one that occurs most outside of quotes."""
    first = re.sub(r'"[^"]*"', "", text.split("\n", 1)[0])
    return max(_DELIMITERS, key=lambda delimiter: (first.count(delimiter), -_DELIMITERS.index(delimiter)))


def find_header(cells: Sequence[str]) -> Header:
    """The columns of a header; raises :class:`Unreadable` without an e-mail column and a name column."""
    names = [" ".join(cell.strip().strip("\ufeff").replace("_", " ").casefold().split()) for cell in cells]

    def at(*wanted: str) -> tuple[int, ...]:
        return tuple(names.index(name) for name in wanted if name in names)

    parts = tuple(position for group in _NAME_PARTS for position in at(*group)[:1])
    header = Header(
        name=at(*_FULL_NAME),
        parts=parts,
        emails=tuple(position for position, name in enumerate(names) if _EMAIL.fullmatch(name)),
        nicknames=at(*_NICKNAME),
        org=at(*_ORG),
        width=len(cells),
    )
    if not header.emails or not (header.name or header.parts):
        missing = "e-mail" if not header.emails else "name"
        raise Unreadable(f"the first row names no {missing} column; it has: {', '.join(cells)[:200]}", 1)
    return header


def _row(header: Header, line: int, cells: list[str]) -> Row:
    if len(cells) > header.width:
        return Row(line, problem=f"{len(cells)} fields where the header has {header.width}")
    cells = [" ".join(cell.split()) for cell in cells] + [""] * (header.width - len(cells))
    row = Row(line)
    row.name = next((cells[position] for position in header.name if cells[position]), "")
    if not row.name:
        row.name = " ".join(cells[position] for position in header.parts if cells[position])
    for position in header.emails:
        row.emails += [address for address in _SPLIT.split(cells[position]) if address and address not in row.emails]
    for position in header.nicknames:
        row.nicknames += [name for name in _SPLIT.split(cells[position]) if name and name not in row.nicknames]
    row.org = next((cells[position] for position in header.org if cells[position]), None)
    return row
