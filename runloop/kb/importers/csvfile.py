"""Contacts from CSV: exports of Google, Outlook and others, or a plain table with a name and an e-mail column."""

from __future__ import annotations

import csv
import re
from dataclasses import field
from typing import TYPE_CHECKING

from runloop.dataclass import dataclass
from runloop.kb.importers.textfile import Unreadable, legible
from runloop.kb.importers.vcard import phone_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_DELIMITERS = ",;\t|"
_NAME = ("name", "nom", "nombre", "nome", "naam")  # a whole name, or the part of one that no other column has
_FULL_NAME = (
    "full name",
    "display name",
    "fullname",
    "contact",
    "contact name",
    "file as",
    "nom complet",
    "nombre completo",
    "nome completo",
)
_GIVEN = ("first name", "given name", "firstname", "vorname", "prénom", "voornaam")
_FAMILY = ("last name", "family name", "surname", "lastname", "nachname", "familienname", "apellidos", "cognome", "sobrenome", "achternaam")
_NICKNAME = ("nickname", "nick name", "nicknames", "alias", "spitzname")
_ORG = (
    *("organization name", "organization 1 - name", "organization", "organisation", "company", "company name", "org"),
    *("firma", "société", "entreprise", "empresa", "organización", "società", "azienda", "bedrijf"),
)
_EMAIL = re.compile(
    r"(?:primary |secondary |adresse (?:de )?|dirección de |indirizzo |endereço de )?"
    r"(?:e-?mail|mail|courriel|messagerie|correo(?: electrónico)?|posta elettronica|correio eletr[óô]nico)"
    r"(?: address|[- ]?adresse|adres)?(?: ?\d+)?(?: - value| address|: adresse)?"
)
_PHONE = re.compile(
    r"(?:(?:primary|home|work|business|mobile|other|company|company main|main|car|private|cell) )?"
    r"(?:(?:tele)?phone|(?:mobil)?telefon|tel|mobile|mobil|cell|handy|t[ée]l[ée]phone|tel[ée]fon[oe]|telefoon|portable|móvil|cellulare)"
    r"(?: (?:phone|number|geschäftlich|privat))?(?: ?\d+)?(?: - value)?"
)
_STATED = re.compile(r"\"?sep=([,;\t|])\"?\n?", re.IGNORECASE)
MAX_RECORD = 1 << 20  # characters of one record
_SPLIT = re.compile(r"\s*(?::::|[;,])\s*")


@dataclass(slots=True)
class Row:
    """A contact of the table; ``line`` is where its record starts, ``problem`` why it cannot be used."""

    line: int
    name: str = ""
    emails: list[str] = field(default_factory=list)
    nicknames: list[str] = field(default_factory=list)
    phones: list[str] = field(default_factory=list)
    org: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Header:
    """Which columns hold what, by position."""

    name: tuple[int, ...]
    parts: tuple[int, ...]
    part: int | None
    """Which of the parts stands under a heading that may as well mean the whole name."""
    emails: tuple[int, ...]
    nicknames: tuple[int, ...]
    phones: tuple[int, ...]
    org: tuple[int, ...]
    width: int


class _Lines:
    """The lines of a table to a reader of CSV; those of the record that it is at can be read again."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._rest = iter(lines)
        self._again: list[str] = []
        self._held: list[str] = []
        self._size = 0
        self.first = self.last = 0
        """The numbers of the lines where the record begins, and up to which it was read."""

    def begin(self) -> None:
        """The next line begins a record."""
        self._held, self._size, self.first = [], 0, self.last + 1

    def back(self, *, whole: bool = False) -> None:
        """The record's lines are still to come, ``whole`` or without the first."""
        self._again += reversed(self._held if whole else self._held[1:])
        self.last = self.first - whole

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.pop() if self._again else next(self._rest)
        while not line.endswith("\n") and (more := next(self._rest, None)) is not None:  # a piece of a long one
            line = line + more if len(line) <= MAX_RECORD else line[: MAX_RECORD + 1] + ("\n" if more.endswith("\n") else "")
        self._held.append(line)
        self._size += len(line)
        self.last += 1
        if self._size > MAX_RECORD:
            raise csv.Error(f"a record of more than {MAX_RECORD} characters")
        return line


def read_rows(source: Iterable[str]) -> Iterator[Row]:
    """Every record of the table, in a stream; a broken one costs only its first line.

    Raises :class:`Unreadable` when no header tells which column is what.
    """
    lines = _Lines(source)
    stated, head = _preamble(lines)
    delimiter = stated or sniff(head)
    header: Header | None = None
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Row(lines.first, problem=f"not CSV: {error}")
            if header is None:
                return
            lines.back()
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
            continue
        if not any(cell.strip() for cell in cells):
            continue
        if header is None:
            header = find_header(cells)
            continue
        yield _row(header, lines.first, cells)


def _preamble(lines: _Lines) -> tuple[str | None, str]:
    """Read up to the table: the delimiter that spreadsheets state there (``sep=;``), and the table's first line, still to come."""
    stated: str | None = None
    while True:
        lines.begin()
        line = next(lines, "")
        found = None if stated else _STATED.fullmatch(line)
        if found is not None:
            stated = found[1]
        elif line.strip("\n") or not line:
            lines.back(whole=True)
            return stated, line


def sniff(text: str) -> str:
    """The delimiter: of those that the first record could have, the one that occurs most outside of quotes."""
    first = re.sub(r'"[^"]*"', "", text.split("\n", 1)[0])
    return max(_DELIMITERS, key=lambda delimiter: (first.count(delimiter), -_DELIMITERS.index(delimiter)))


def find_header(cells: Sequence[str]) -> Header:
    """The columns of a header; raises :class:`Unreadable` without an e-mail column and a name column."""
    names = [" ".join(cell.strip().strip("\ufeff").replace("_", " ").casefold().split()) for cell in cells]

    def at(*wanted: str) -> tuple[int, ...]:
        return tuple(names.index(name) for name in wanted if name in names)

    name, full, given, family = at(*_NAME)[:1], at(*_FULL_NAME), at(*_GIVEN)[:1], at(*_FAMILY)[:1]
    part = name if bool(given) != bool(family) else ()
    header = Header(
        name=full if part else (*name, *full),
        parts=(
            *at("name prefix", "title", "prefix")[:1],
            *(given or part),
            *at("middle name", "additional name")[:1],
            *(family or part),
            *at("name suffix", "suffix")[:1],
        ),
        part=part[0] if part else None,
        emails=tuple(position for position, name in enumerate(names) if _EMAIL.fullmatch(name)),
        nicknames=at(*_NICKNAME),
        phones=tuple(position for position, name in enumerate(names) if _PHONE.fullmatch(name)),
        org=at(*_ORG),
        width=len(cells),
    )
    if not header.emails or not (header.name or header.parts):
        missing = "e-mail" if not header.emails else "name"
        raise Unreadable(f"the first row names no {missing} column; it has: {legible(', '.join(cells)[:200])}", 1)
    return header


def _joined(header: Header, cells: list[str]) -> str:
    """The name out of its parts; out of one alone, where that has the others in it."""
    parts = [cells[position] for position in header.parts if cells[position]]
    whole = "" if header.part is None else cells[header.part]
    words = whole.casefold().split()
    if len(words) > 1 and any(part.casefold() in words for part in parts):
        return whole
    return " ".join(parts)


def _row(header: Header, line: int, cells: list[str]) -> Row:
    if len(cells) > header.width:
        return Row(line, problem=f"{len(cells)} fields where the header has {header.width}")
    cells = [" ".join(cell.split()) for cell in cells] + [""] * (header.width - len(cells))
    row = Row(line)
    row.name = next((cells[position] for position in header.name if cells[position]), "") or _joined(header, cells)
    for position in header.emails:
        row.emails += filter(None, _SPLIT.split(cells[position]))
    for position in header.nicknames:
        row.nicknames += filter(None, _SPLIT.split(cells[position]))
    for position in header.phones:
        numbers = (phone_number(part) for part in cells[position].split(" ::: "))
        row.phones += filter(None, numbers)
    row.emails, row.nicknames, row.phones = (list(dict.fromkeys(each)) for each in (row.emails, row.nicknames, row.phones))
    row.org = next((cells[position] for position in header.org if cells[position]), None)
    return row
