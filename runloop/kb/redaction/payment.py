"""Card numbers (Luhn's check digit, and lengths that the issuer uses) and IBANs (ISO 13616: the country's length, and mod 97)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.kb.redaction.marks import mark
from runloop.patterns import lazy

if TYPE_CHECKING:
    from re import Match

_SEP = r"[ .\-\u00a0\u2009\u202f]"
_CARD = lazy(
    r"(?<![0-9A-Za-z_])(?<![0-9]\.)"
    rf"(?:[0-9]{{14,19}}|[0-9]{{4}}({_SEP})[0-9]{{4}}\1[0-9]{{4}}\1[0-9]{{4}}(?:\1[0-9]{{1,3}})?|[0-9]{{4}}({_SEP})[0-9]{{6}}\2[0-9]{{4,5}})"
    r"(?![0-9A-Za-z_])(?!\.[0-9])"
)
_IBAN = lazy(r"(?<![0-9A-Za-z])([A-Za-z]{2})([0-9]{2})(?=[ \-\u00a0]?[0-9A-Za-z]{4})")
# What every card number, and every IBAN, has in it: begins with one class, so that it is found, or missed, some times faster
_CARD_SIGN = lazy(rf"[0-9][0-9]{{3}}(?:[0-9]{{10}}|{_SEP}[0-9]{{4}})")
_IBAN_SIGN = lazy(r"[0-9](?<=[A-Za-z][A-Za-z][0-9])[0-9]")
_NOT_DIGIT = lazy(r"[^0-9]")

# First digits, as a range, and the lengths that cards with them have (ISO/IEC 7812; issuers' published ranges)
_ISSUERS: tuple[tuple[int, int, frozenset[int]], ...] = (
    (4, 4, frozenset({16, 19})),  # Visa
    (51, 55, frozenset({16})),  # Mastercard
    (2221, 2720, frozenset({16})),
    (34, 34, frozenset({15})),  # American Express
    (37, 37, frozenset({15})),
    (300, 305, frozenset({14, 16, 19})),  # Diners Club
    (36, 36, frozenset({14, 16, 19})),
    (38, 39, frozenset({14, 16, 19})),
    (6011, 6011, frozenset({16, 19})),  # Discover
    (644, 659, frozenset({16, 19})),
    (3528, 3589, frozenset({16, 19})),  # JCB
    (62, 62, frozenset({16, 17, 18, 19})),  # UnionPay
    (2200, 2204, frozenset({16, 19})),  # Mir
    *((first, first, frozenset({16, 17, 18, 19})) for first in (5018, 5020, 5038, 5893, 6304, 6759, 6761, 6762, 6763)),  # Maestro
)

_COUNTRIES = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 "
    "FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 "
    "LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 "
    "RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30 "
)
_IBAN_LENGTHS = {_COUNTRIES[at : at + 2]: int(_COUNTRIES[at + 2 : at + 4]) for at in range(0, len(_COUNTRIES), 5)}
_OF_LENGTH = {
    length: [(low, high, len(str(low))) for low, high, lengths in _ISSUERS if length in lengths]
    for length in sorted({length for *_, lengths in _ISSUERS for length in lengths})
}
"""By the number of digits, since most numbers are times of 13, which no issuer has: first digits from, to, and how many those are."""


def mask_cards(text: str, salt: str) -> str:
    """The text with every card number masked; its last four digits stay."""

    def masked(found: Match[str]) -> str:
        digits = _NOT_DIGIT.sub("", found[0])
        return mark("card", digits, salt, digits[-4:]) if is_card(digits) else found[0]

    return _CARD.sub(masked, text) if _CARD_SIGN.search(text) else text


def is_card(digits: str) -> bool:
    """Whether digits are a card number: one of an issuer's lengths, and the right check digit."""
    issuers = _OF_LENGTH.get(len(digits), ())
    return any(low <= int(digits[:size]) <= high for low, high, size in issuers) and _luhn(digits)


def _luhn(digits: str) -> bool:
    total = sum(int(digit) for digit in digits[-1::-2])
    total += sum(int(digit) * 2 - (9 if digit > "4" else 0) for digit in digits[-2::-2])
    return total % 10 == 0


def mask_ibans(text: str, salt: str) -> str:
    """The text with every IBAN masked, written with spaces or without; its last four digits stay."""
    if _IBAN_SIGN.search(text) is None:
        return text
    out: list[str] = []
    done = 0
    for found in _IBAN.finditer(text):
        end, compact = _iban_end(text, found)
        if end is not None and found.start() >= done:
            shown = compact[-4:] if compact[-4:].isdigit() else ""
            out += (text[done : found.start()], mark("iban", compact, salt, shown))
            done = end
    return "".join((*out, text[done:]))


def _iban_end(text: str, found: Match[str]) -> tuple[int | None, str]:
    """Where the IBAN that begins here ends, and its compact form; None where it is none."""
    wanted = _IBAN_LENGTHS.get(found[1].upper(), 0)
    letters: list[str] = []
    place = found.start()
    while place < len(text) and len(letters) < wanted:
        sign = text[place]
        if sign.isascii() and sign.isalnum():
            letters.append(sign.upper())
        elif sign not in " -\u00a0" or not text[place - 1].isalnum():
            return None, ""
        place += 1
    if len(letters) < wanted or not wanted or (place < len(text) and text[place].isascii() and text[place].isalnum()):
        return None, ""
    compact = "".join(letters)
    return (place, compact) if is_iban(compact) else (None, "")


def is_iban(compact: str) -> bool:
    """Whether letters and digits without blanks are an IBAN."""
    if _IBAN_LENGTHS.get(compact[:2]) != len(compact):
        return False
    return int("".join(str(int(sign, 36)) for sign in compact[4:] + compact[:4])) % 97 == 1
