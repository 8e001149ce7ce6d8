"""vCard 3.0 (RFC 2426) and 4.0 (RFC 6350), and the 2.1 that phones still write: only what a contact needs.

A broken card never costs the next one: reading goes on at the next ``BEGIN:VCARD``.
"""

from __future__ import annotations

import base64
import binascii
import quopri
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import field
from typing import NamedTuple

from runloop.dataclass import dataclass
from runloop.kb.importers.profiles import Profile, profile_of

# Android writes a label of one's own as `X-CUSTOM(CHARSET=UTF-8,ENCODING=QUOTED-PRINTABLE,=57=6F)`.
_PARAMETER = re.compile(r';(?P<name>[A-Za-z0-9-]+)(?:\([^()]*\))?(?:=(?P<values>(?:"[^"]*"|[^";:,]*)(?:,(?:"[^"]*"|[^";:,]*))*))?')
_NAME = re.compile(r"(?:(?P<group>[A-Za-z0-9-]+)\.)?(?P<name>[A-Za-z0-9-]+)")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_NEEDED = re.compile(r"(?:[A-Za-z0-9-]+\.)?(?:FN|N|NICKNAME|EMAIL|ORG|VERSION)\b", re.IGNORECASE)
_VERSIONS = ("2.1", "3.0", "4.0")
_NUMBER = re.compile(r"[+(*#]?[\w (.+*#/,:=)-]{2,63}")
_DIGITS = 3  # at least, of a telephone number
MAX_CARD = 16 << 20  # characters of one card
MAX_PROPERTY = 4 << 20  # of one property: of a longer one, which is a picture, its beginning stands for it


class Line(NamedTuple):
    """An unfolded content line and the number of its first physical line."""

    number: int
    text: str


class Property(NamedTuple):
    """One property of a card: upper-case name and parameters, raw value."""

    number: int
    name: str
    parameters: dict[str, list[str]]
    value: str


@dataclass(slots=True)
class Card:
    """A card as far as it matters; ``line`` is its ``BEGIN`` line, ``problem`` why it cannot be used, ``problem_line`` where."""

    line: int
    name: str = ""
    structured_name: str = ""
    emails: list[str] = field(default_factory=list)
    nicknames: list[str] = field(default_factory=list)
    phones: list[str] = field(default_factory=list)
    org: str | None = None
    accounts: list[Profile] = field(default_factory=list)
    problem: str | None = None
    problem_line: int = 0


def read_cards(lines: Iterable[str]) -> Iterator[Card]:
    """Every card of the lines, usable or not, in order; text outside of cards comes as a card with a problem. Holds one card at a time."""
    card: list[Line] | None = None
    begun = size = 0
    stray = False
    for line in unfold(lines):
        word = line.text.strip().upper()
        if word == "BEGIN:VCARD":
            if card is not None:
                yield Card(begun, problem=f"no END:VCARD before the next card on line {line.number}", problem_line=begun)
            card, begun, size, stray = [], line.number, 0, False
        elif word == "END:VCARD" and card is not None:
            yield _card(begun, card) if size <= MAX_CARD else Card(begun, problem=f"{size} characters; the limit is {MAX_CARD}")
            card = None
        elif card is not None:
            size += len(line.text)
            if size <= MAX_CARD:
                card.append(line)
        elif word and not stray:
            stray = True  # once for a run of such lines
            yield Card(line.number, problem="text outside of a card", problem_line=line.number)
    if card is not None:
        yield Card(begun, problem="no END:VCARD before the end of the file", problem_line=begun)


def unfold(lines: Iterable[str]) -> Iterator[Line]:
    """Content lines: a line that starts with a blank continues the one before; so does one after a quoted-printable ``=``.

    ``lines`` end in a newline; what does not is a piece of a line, which the next one continues.
    """
    parts: list[str] = []
    number = first = size = 0
    soft = going_on = False
    for line in lines:
        raw = line.removesuffix("\n")
        number += not going_on
        if soft:
            parts[-1] = parts[-1][:-1]
        if soft or going_on or (raw[:1] in {" ", "\t"} and parts):
            size += len(raw)
            if size <= MAX_PROPERTY:
                parts.append(raw if soft or going_on else raw[1:])
        else:
            if parts:
                yield Line(first, "".join(parts))
            parts, first, size = [raw], number, len(raw)
        going_on = len(raw) == len(line)
        soft = raw.endswith("=") and size <= MAX_PROPERTY and "QUOTED-PRINTABLE" in parts[0].upper()
    if parts:
        yield Line(first, "".join(parts))


def parse_line(line: Line) -> Property:
    """A content line taken apart; raises ValueError with the reason."""
    match = _NAME.match(line.text)
    if match is None:
        raise ValueError("a line without a property name")
    at = match.end()
    parameters: dict[str, list[str]] = {}
    while at < len(line.text) and line.text[at] == ";":
        parameter = _PARAMETER.match(line.text, at)
        if parameter is None:
            raise ValueError(f"a parameter of {match['name']} that cannot be read")
        at = parameter.end()
        name = parameter["name"].upper()
        values = [value.strip('"') for value in (parameter["values"] or "").split(",")]
        if parameter["values"] is None:  # vCard 2.1 writes ;HOME;QUOTED-PRINTABLE
            name, values = ("ENCODING", [name]) if name in {"QUOTED-PRINTABLE", "BASE64", "8BIT", "7BIT"} else ("TYPE", [name])
        parameters.setdefault(name, []).extend(values)
    if at >= len(line.text) or line.text[at] != ":":
        raise ValueError(f"no colon after {match['name']}")
    return Property(line.number, match["name"].upper(), parameters, line.text[at + 1 :])


def text_of(prop: Property) -> str:
    """The property's value decoded (quoted-printable, base64, its character set), escapes still in place; raises ValueError."""
    encoding = (prop.parameters.get("ENCODING") or [""])[-1].upper()
    charset = (prop.parameters.get("CHARSET") or ["utf-8"])[-1]
    try:
        if encoding not in {"QUOTED-PRINTABLE", "BASE64", "B"}:
            plain = charset.lower() == "utf-8" or prop.value.isascii()
            return prop.value if plain else prop.value.encode("utf-8", "surrogateescape").decode(charset)
        raw = (
            quopri.decodestring(prop.value.encode("utf-8", "surrogateescape"))
            if encoding == "QUOTED-PRINTABLE"
            else base64.b64decode(prop.value, validate=True)
        )
        return raw.decode(charset)
    except (LookupError, UnicodeDecodeError, binascii.Error) as error:
        raise ValueError(f"{prop.name} in {encoding} cannot be decoded: {error}") from error


def split_value(value: str, separator: str) -> list[str]:
    """The parts of a structured value, split at separators that are not escaped, with escapes undone."""
    parts = re.split(rf"(?<!\\)((?:\\\\)*){re.escape(separator)}", value)
    joined = [parts[index] + (parts[index + 1] if index + 1 < len(parts) else "") for index in range(0, len(parts), 2)]
    return [unescape(part).strip() for part in joined]


def unescape(value: str) -> str:
    r"""``\n``, ``\,``, ``\;`` and ``\\`` undone."""
    return _ESCAPE.sub(lambda match: "\n" if match[1] in "nN" else match[1], value)


def _card(begun: int, lines: list[Line]) -> Card:
    card = Card(begun)
    properties: list[Property] = []
    for line in lines:
        try:
            properties.append(parse_line(line))
        except ValueError as error:
            if _NEEDED.match(line.text):  # other lines may be as odd as they like
                card.problem, card.problem_line = str(error), line.number
                return card
    version = next((prop.value.strip() for prop in properties if prop.name == "VERSION"), None)
    if version not in _VERSIONS:
        card.problem = f"{'no VERSION' if version is None else f'version {version}'}; 2.1, 3.0 and 4.0 can be read"
        card.problem_line = begun
        return card
    ranked: dict[str, list[tuple[int, str]]] = {"EMAIL": [], "TEL": []}
    for prop in properties:
        try:
            _take(card, prop, ranked)
        except ValueError as error:
            card.problem, card.problem_line = str(error), prop.number
            return card
    card.emails, card.phones = (_by_preference(ranked[name]) for name in ("EMAIL", "TEL"))
    card.nicknames, card.accounts = list(dict.fromkeys(card.nicknames)), list(dict.fromkeys(card.accounts))
    card.name = card.name or card.structured_name or card.org or next(iter(card.nicknames), "")
    return card


def _by_preference(ranked: list[tuple[int, str]]) -> list[str]:
    return list(dict.fromkeys(value for _, value in sorted(ranked, key=lambda item: item[0])))


def _take(card: Card, prop: Property, ranked: dict[str, list[tuple[int, str]]]) -> None:
    """Put one property into the card; addresses and telephone numbers go to ``ranked``, with their preference."""
    if prop.name == "FN":
        card.name = card.name or " ".join(unescape(text_of(prop)).split())
    elif prop.name == "N":
        family, given, middle, prefix, suffix, *_ = [*split_value(text_of(prop), ";"), "", "", "", "", ""]
        card.structured_name = " ".join(part.replace(",", " ") for part in (prefix, given, middle, family, suffix) if part)
    elif prop.name == "NICKNAME":
        card.nicknames += [name for name in split_value(text_of(prop), ",") if name]
    elif prop.name == "EMAIL":
        address = unescape(text_of(prop)).strip().removeprefix("mailto:")
        if address:
            ranked["EMAIL"].append((_preference(prop), address))
    elif prop.name == "ORG" and card.org is None:
        card.org = ", ".join(part for part in split_value(text_of(prop), ";") if part) or None
    else:
        with suppress(ValueError):  # what is not needed may be as odd as it likes
            if prop.name == "TEL" and _spoken(prop) and (number := phone_number(unescape(text_of(prop)))) is not None:
                ranked["TEL"].append((_preference(prop), number))
            profile = profile_of(prop.name, prop.parameters, unescape(text_of(prop)))
            if profile is not None:
                card.accounts.append(profile)


def phone_number(text: str) -> str | None:
    """A telephone number as it is written, without ``tel:`` and parameters (RFC 3966); None for what is none."""
    number = " ".join(text.strip().removeprefix("tel:").partition(";")[0].split())
    return number if _NUMBER.fullmatch(number) and sum(each.isdigit() for each in number) >= _DIGITS else None


def _types(prop: Property) -> set[str]:
    return {value.upper() for values in prop.parameters.get("TYPE", []) for value in values.split(",")}


def _spoken(prop: Property) -> bool:
    """Whether a number is one to talk on: no fax and no pager, unless it is for both."""
    types = _types(prop)
    return types.isdisjoint({"FAX", "PAGER"}) or not types.isdisjoint({"VOICE", "CELL"})


def _preference(prop: Property) -> int:
    """1 is the most preferred, 101 says nothing (RFC 6350 section 5.3; in 3.0 and 2.1 the type ``pref``)."""
    if "PREF" in _types(prop):
        return 1
    stated = prop.parameters.get("PREF", [""])[0]
    return int(stated) if stated.isascii() and stated.isdigit() and len(stated) <= 3 else 101
