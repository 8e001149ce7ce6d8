"""Telephone numbers: only what is written as one. A run of digits is none unless a word or a ``+`` before it says so.

`phonenumbers` was tried and left (docs/privacy.md): it wants a region for national numbers, and its lenient finder takes dates for some.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from runloop.kb.redaction.marks import mark
from runloop.patterns import lazy

if TYPE_CHECKING:
    from re import Match

_SEP = r"[ .\-/\u00a0\u2009\u2011\u202f]"
_BEGIN = r"(?<![0-9A-Za-z_.+])(?<![0-9][,:])"  # a comma or colon after a digit is one of a number or a time, any other ends a word
_END = r"(?![0-9A-Za-z_])(?![.,:][0-9])"
# +49 (0)30 123456; every further digit may have up to two separators or brackets before it
_INTERNATIONAL = lazy(rf"(?<![0-9A-Za-z_+])\+\(?[1-9](?:(?:{_SEP}|[()\u2013]){{0,3}}[0-9]){{6,15}}{_END}")
# 0049 170 1234567, 0049 (0)170 1234567: with separators, for zeros also pad ids
_DOUBLE_ZERO = lazy(
    rf"{_BEGIN}(?<!-)00[1-9][0-9]{{0,2}}(?:{_SEP}?\(0\){_SEP}?|{_SEP}{{1,2}})[0-9]{{2,12}}(?:{_SEP}{{1,2}}[0-9]{{2,12}}){{0,4}}{_END}"
)
# (212) 555-0123, 212-555-0123, 1 212 555 0123, 212 555-0123: North America's plan, where no area begins with 0 or 1.
# What follows a range (212-555 0123) or is a fraction (212 555.0123) is another number.
_AMERICAN = lazy(
    rf"{_BEGIN}(?<![\-/])(?:1[ .\-])?"
    r"(?:\([2-9][0-9]{2}\)[ \-.]?"
    r"|(?:(?<![0-9] )|(?<=1 )(?<![0-9A-Za-z_.+\-/]1 )(?<![0-9][ ,:]1 ))[2-9][0-9]{2}([ .\-\u2011\u2013]))[0-9]{3}"
    r"(?(1)(?:\1|(?<=[ .][2-9][0-9]{2})[\-\u2011]|(?<=1-[2-9][0-9]{2}-[2-9][0-9]{2}) )|[ .\-\u2011])[0-9]{4}"
    r"(?![0-9A-Za-z_])(?![.,:\-/][0-9])(?! [0-9]{3}\b)"
)
# 030 123456, 0170/1234567, (030) 12 34 56, 01 23 45 67 89: a trunk zero and groups
_NATIONAL = lazy(rf"{_BEGIN}(?<![\-/#])\(?0[1-9][0-9]{{0,4}}\)?(?:[ \-/.\u00a0\u2011]{{1,3}}[0-9]{{2,9}}){{1,5}}{_END}")
# What every number of these three has in it: begins with what is looked for fast, a few signs or one class
_DOUBLE_ZERO_SIGN = lazy(rf"00[1-9][0-9]{{0,2}}(?:{_SEP}|\()")
_AMERICAN_SIGN = lazy(r"[0-9][0-9][0-9][ .\-\u2011\u2013][0-9][0-9][0-9][0-9]")
_NATIONAL_SIGN = lazy(r"0[1-9][0-9]{0,4}\)?[ \-/.\u00a0\u2011]")
_PAIRS = lazy(r"[0-9]{2}(?:[ .\-][0-9]{2})+")
_BYTE_BEFORE = lazy(r"\b[0-9A-Fa-f]{2} \Z")
_BYTE_AFTER = lazy(r" [0-9A-Fa-f]{2}\b")
_LABELLED = lazy(
    r"(?<![A-Za-z_])(?:tel|telephone|telefon|phone|mobile|mobil|cell|cellphone|fax|handy|whatsapp|pager|téléphone|teléfono|móvil|portable)"
    r"(?:s|\.|nummer|[ _-]?(?:no|nr|number))?(?![A-Za-z_])(?P<between>[^0-9+(\[\n]{0,32})"
    rf"(?P<number>\(?\+?\(?[0-9](?:(?:{_SEP}|[()]){{0,3}}[0-9]){{5,16}}){_END}",
    re.IGNORECASE,
)
_DATE = lazy(r"\(?(?:(?:19|20)[0-9]{2}[-/.][01]?[0-9][-/.]|[0-3]?[0-9]([-/. ])[01]?[0-9]\1(?:19|20)[0-9]{2}(?![0-9]))")
_LABELS = ("tel", "phone", "mobil", "cell", "fax", "handy", "whatsapp", "pager", "téléphone", "teléfono", "móvil", "portable")
_NAMES = lazy(
    r"(?:.*[_\-. ])?(?:tel|telephones?|telefon|phones?|mobiles?|mobil|cell|cellphones?|fax|handy|whatsapp|pager|msisdn)"
    r"(?:[_\-. ]?(?:no|nr|numbers?|home|work|mobile|private|[0-9]))?",
    re.IGNORECASE,
)
_NOT_DIGIT = lazy(r"[^0-9]")
_PLAUSIBLE = lazy(r"[0-9+(][0-9 ()+.\-/\u00a0\u2009\u2011\u2013\u202f]*(?:(?:ext\.?|x) ?[0-9]{1,6})?")

# Country codes (ITU E.164) that are in use, by their first digits
_COUNTRIES = lazy(
    r"1|7|2(?:0|7|1[1-368]|[2-6][0-9]|9[0-1789])|3(?:[0-469]|5[0-9]|7[0-8]|8[0-35-79])|4(?:[013-9]|2[0-13])|5(?:[1-8]|0[0-9]|9[0-9])"
    r"|6(?:[0-6]|7[02-9]|8[0-35-9]|9[0-2])|8(?:[1246]|0[08]|5[02356]|7[08]|8[0-368])|9(?:[0-58]|6[0-8]|7[0-79]|9[2-68])"
)


def mask_phones(text: str, salt: str) -> str:
    """The text with every telephone number masked; its last two digits stay."""

    def masked(found: Match[str], digits: str) -> str:
        return found[0] if _DATE.match(found[0]) else _mark(digits, salt)

    def international(found: Match[str]) -> str:
        digits = _NOT_DIGIT.sub("", found[0].replace("(0)", ""))
        return masked(found, digits) if _is_international(digits) else found[0]

    def double_zero(found: Match[str]) -> str:
        digits = _NOT_DIGIT.sub("", found[0].replace("(0)", ""))[2:]
        return masked(found, digits) if _is_international(digits) else found[0]

    def national(found: Match[str]) -> str:
        digits = _NOT_DIGIT.sub("", found[0])
        return masked(found, digits) if 9 <= len(digits) <= 12 and not _is_dump(found) else found[0]

    def labelled(found: Match[str]) -> str:
        start = found.start("number") - found.start()
        digits = _NOT_DIGIT.sub("", found["number"])
        return found[0] if _DATE.match(found["number"]) else found[0][:start] + _mark(digits, salt)

    if "+" in text:
        text = _INTERNATIONAL.sub(international, text)
    if _DOUBLE_ZERO_SIGN.search(text):
        text = _DOUBLE_ZERO.sub(double_zero, text)
    if _AMERICAN_SIGN.search(text):
        text = _AMERICAN.sub(lambda found: masked(found, _NOT_DIGIT.sub("", found[0])), text)
    if _NATIONAL_SIGN.search(text):
        text = _NATIONAL.sub(national, text)
    lowered = text.lower()
    return _LABELLED.sub(labelled, text) if any(label in lowered for label in _LABELS) else text


def _is_dump(found: Match[str]) -> bool:
    """Whether pairs of digits are bytes among others: ``01 23 45 67 89 ab``."""
    if not _PAIRS.fullmatch(found[0]):
        return False
    text, start = found.string, found.start()
    return (
        len(found[0]) != 14
        or _BYTE_BEFORE.search(text, max(0, start - 3), start) is not None
        or _BYTE_AFTER.match(text, found.end()) is not None
    )


def is_phone_name(name: str) -> bool:
    """Whether a key or column of this name holds telephone numbers."""
    return _NAMES.fullmatch(name) is not None


def mask_named_phone(text: str, salt: str) -> str:
    """The mask of a value that its name says is a telephone number; a text that cannot be one stays."""
    digits = _NOT_DIGIT.sub("", text)
    return _mark(digits, salt) if 5 <= len(digits) <= 20 and _PLAUSIBLE.fullmatch(text.strip()) and not _DATE.match(text.strip()) else text


def _mark(digits: str, salt: str) -> str:
    return mark("phone", digits.lstrip("0"), salt, digits[-2:])


def _is_international(digits: str) -> bool:
    """Whether digits after a ``+`` can be a number: a country in use, 8 to 15 digits, North America's plan for +1."""
    country = _COUNTRIES.match(digits)
    if country is None or not 8 <= len(digits) <= 15 or digits[country.end() :].startswith("00"):
        return False
    return country[0] != "1" or (len(digits) == 11 and digits[1] in "23456789" and digits[4] in "23456789")
