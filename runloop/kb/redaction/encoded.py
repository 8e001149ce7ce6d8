"""Text inside text: base64 and hexadecimal pieces that decode to something with a mask are masked whole."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error
from contextlib import suppress
from typing import TYPE_CHECKING

from runloop.kb.redaction.marks import mark
from runloop.patterns import lazy

if TYPE_CHECKING:
    from collections.abc import Callable
    from re import Match

_PIECE = lazy(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{12,}={0,2}")
_HEX = lazy(r"(?:[0-9a-f]{2})+|(?:[0-9A-F]{2})+")
_URL_SAFE = str.maketrans("-_", "+/")


def mask_encoded(text: str, salt: str, masked: Callable[[str], str]) -> str:
    """The text with every encoded piece masked that ``masked`` would change when it is decoded."""

    def piece(found: Match[str]) -> str:
        for decoded in _decoded(found[0]):
            if masked(decoded) != decoded:
                return mark("encoded", found[0], salt)
        return found[0]

    return _PIECE.sub(piece, text)


def _decoded(piece: str) -> list[str]:
    """What the piece may say: text only, since everything decodes to bytes."""
    found = []
    if _HEX.fullmatch(piece):
        found.append(_text(bytes.fromhex(piece)))
    plain = piece.rstrip("=")
    if len(plain) % 4 != 1:
        with suppress(Error, ValueError):
            found.append(_text(b64decode(plain.translate(_URL_SAFE) + "=" * (-len(plain) % 4), validate=True)))
    return [each for each in found if each]


def _text(data: bytes) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    return text if all(sign.isprintable() or sign in "\t\r\n" for sign in text[:256]) else ""
