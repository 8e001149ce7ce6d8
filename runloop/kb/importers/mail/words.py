"""Headers and texts of messages as characters: encoded words, character sets, addresses, dates. Nothing here raises."""

from __future__ import annotations

import email.utils
import re
from calendar import timegm
from email.errors import HeaderParseError
from email.header import decode_header
from typing import Any

from runloop.kb.importers.textfile import text_codec

_BLANKS = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029]+")
_SAFE = {ord("\0"): "\ufffd", **dict.fromkeys(range(0xD800, 0xE000), "\ufffd")}
_ID = re.compile(rb"<([^<>\s]{1,900})>")
LONGEST_DECODED = 8 * 1024  # characters of a header or a name whose encoded words are decoded: the library's time grows with their square
LONGEST_ADDRESSES = 128 * 1024  # bytes of one address header that are looked at


def text_of(data: bytes, charset: str | None, fallback: str, problems: list[str]) -> str:
    """The characters of bytes in a character set that was stated; what does not fit is read as UTF-8, else as ``fallback``."""
    stated = None if charset is None else text_codec(charset)
    if charset is not None and stated is None:
        problems.append(f"character set {charset[:40]!r} is unknown")
    for name in dict.fromkeys((stated or "utf-8", "utf-8")):
        try:
            return clean(data.decode(name))
        except (UnicodeError, ValueError):
            continue
    problems.append(f"bytes that are not {stated or 'UTF-8'}; read as {fallback}")
    return clean(data.decode(fallback, "replace"))


def clean(text: str) -> str:
    """Text that can be stored and shown: line ends as in Unix, no NUL and no half characters."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text if text.isascii() and "\0" not in text else text.translate(_SAFE)


def header_text(value: bytes | None, fallback: str) -> str:
    """A header's value on one line, with its encoded words decoded: nothing in it can pose as another header."""
    if value is None:
        return ""
    text = text_of(value, None, fallback, [])
    return _BLANKS.sub(" ", _decoded(text, fallback)).strip()


def mentions(values: list[bytes], fallback: str, problems: list[str]) -> list[dict[str, Any]]:
    """The people of address headers, as name and address, whatever stood there as the address."""
    if any(len(value) > LONGEST_ADDRESSES for value in values):
        problems.append(f"more than {LONGEST_ADDRESSES} bytes of addresses in a header; only those were read")
    plain = [_BLANKS.sub(" ", text_of(value[:LONGEST_ADDRESSES], None, fallback, [])) for value in values]
    found: list[dict[str, Any]] = []
    try:
        pairs = email.utils.getaddresses(plain)
    except (ValueError, IndexError, TypeError, AttributeError, RecursionError):
        pairs = [("", text) for text in plain]
    for name, address in pairs:
        shown = _BLANKS.sub(" ", _decoded(name, fallback)).strip()
        mention = {key: value for key, value in (("name", shown), ("email", address.strip())) if value}
        if mention and mention not in found[-50:]:
            found.append(mention)
    return found


def ids(value: bytes | None) -> list[str]:
    """The Message-IDs in a header, without their angle brackets."""
    return list(dict.fromkeys(each.decode("utf-8", "replace") for each in _ID.findall(value or b"")))


def sent_ms(date: str) -> int | None:
    """Unix milliseconds of a date header; None where it is no date of the years 1 to 9999."""
    try:
        parsed = email.utils.parsedate_tz(date)
        if parsed is None or not 1 <= parsed[0] <= 9999 or not 1 <= parsed[1] <= 12 or not 1 <= parsed[2] <= 31:
            return None
        return (timegm((*parsed[:6], 0, 1, 0)) - (parsed[9] or 0)) * 1000
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _decoded(text: str, fallback: str) -> str:
    """Encoded words decoded (RFC 2047); the text as it stands where they are broken, or it is too long."""
    if "=?" not in text or len(text) > LONGEST_DECODED:
        return text
    try:
        pieces = decode_header(text)
    except (HeaderParseError, ValueError, LookupError):
        return text
    return "".join(piece if isinstance(piece, str) else text_of(piece, charset, fallback, []) for piece, charset in pieces)
