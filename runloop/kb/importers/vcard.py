"""vCard 3.0 (RFC 2426) and 4.0 (RFC 6350), and the 2.1 that phones still write: only what a contact needs.

A broken card never costs the next one: reading goes on at the next ``BEGIN:VCARD``.
"""

from __future__ import annotations

import base64
import binascii
import quopri
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from runloop.kb.importers.profiles import Profile, profile_of

# Android writes a label of one's own as `X-CUSTOM(CHARSET=UTF-8,ENCODING=QUOTED-PRINTABLE,=57=6F)`.
_PARAMETER = re.compile(r';(?P<name>[A-Za-z0-9-]+)(?:\([^()]*\))?(?:=(?P<values>(?:"[^"]*"|[^";:,]*)(?:,(?:"[^"]*"|[^";:,]*))*))?')
_NAME = re.compile(r"(?:(?P<group>[A-Za-z0-9-]+)\.)?(?P<name>[A-Za-z0-9-]+)")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_NEEDED = re.compile(r"(?:[A-Za-z0-9-]+\.)?(?:FN|N|NICKNAME|EMAIL|ORG|VERSION)\b", re.IGNORECASE)
_VERSIONS = ("2.1", "3.0", "4.0")


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
    org: str | None = None
    accounts: list[Profile] = field(default_factory=list)
    problem: str | None = None
    problem_line: int = 0


def read_cards(text: str) -> Iterator[Card]:
    """Every card of the text, usable or not, in order; text outside of cards comes as a card with a problem."""
    card: list[Line] | None = None
    begun = 0
    stray = False
    for line in unfold(text):
        word = line.text.strip().upper()
        if word == "BEGIN:VCARD":
            if card is not None:
                yield Card(begun, problem=f"no END:VCARD before the next card on line {line.number}", problem_line=begun)
            card, begun, stray = [], line.number, False
        elif word == "END:VCARD" and card is not None:
            yield _card(begun, card)
            card = None
        elif card is not None:
            card.append(line)
        elif word and not stray:
            stray = True  # once for a run of such lines
            yield Card(line.number, problem="text outside of a card", problem_line=line.number)
    if card is not None:
        yield Card(begun, problem="no END:VCARD before the end of the file", problem_line=begun)


def unfold(text: str) -> Iterator[Line]:
    """Content lines: a line that starts with a blank continues the one before; so does one after a quoted-printable ``=``."""
    parts: list[str] = []
    first = 0
    soft = False
    for number, raw in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        if soft:
            parts[-1] = parts[-1][:-1]
            parts.append(raw)
        elif raw[:1] in {" ", "\t"} and parts:
            parts.append(raw[1:])
        else:
            if parts:
                yield Line(first, "".join(parts))
            parts, first = [raw], number
        soft = raw.endswith("=") and "QUOTED-PRINTABLE" in parts[0].upper()
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
    ranked: list[tuple[int, str]] = []
    for prop in properties:
        try:
            _take(card, prop, ranked)
        except ValueError as error:
            card.problem, card.problem_line = str(error), prop.number
            return card
    card.emails = list(dict.fromkeys(address for _, address in sorted(ranked, key=lambda item: item[0])))
    card.name = card.name or card.structured_name or card.org or next(iter(card.nicknames), "")
    return card


def _take(card: Card, prop: Property, ranked: list[tuple[int, str]]) -> None:
    """Put one property into the card; addresses go to ``ranked``, with their preference."""
    if prop.name == "FN":
        card.name = card.name or " ".join(unescape(text_of(prop)).split())
    elif prop.name == "N":
        family, given, middle, prefix, suffix, *_ = [*split_value(text_of(prop), ";"), "", "", "", "", ""]
        card.structured_name = " ".join(part.replace(",", " ") for part in (prefix, given, middle, family, suffix) if part)
    elif prop.name == "NICKNAME":
        card.nicknames += [name for name in split_value(text_of(prop), ",") if name and name not in card.nicknames]
    elif prop.name == "EMAIL":
        address = unescape(text_of(prop)).strip().removeprefix("mailto:")
        if address:
            ranked.append((_preference(prop), address))
    elif prop.name == "ORG" and card.org is None:
        card.org = ", ".join(part for part in split_value(text_of(prop), ";") if part) or None
    else:
        with suppress(ValueError):  # what is not needed may be as odd as it likes
            profile = profile_of(prop.name, prop.parameters, unescape(text_of(prop)))
            if profile is not None and profile not in card.accounts:
                card.accounts.append(profile)


def _preference(prop: Property) -> int:
    """1 is the most preferred, 101 says nothing (RFC 6350 section 5.3; in 3.0 and 2.1 the type ``pref``)."""
    if "PREF" in {value.upper() for values in prop.parameters.get("TYPE", []) for value in values.split(",")}:
        return 1
    stated = prop.parameters.get("PREF", [""])[0]
    return int(stated) if stated.isascii() and stated.isdigit() and len(stated) <= 3 else 101
