"""E-mail addresses: the domain stays, the local part becomes its first character and six of its salted hash (spec 15.7)."""

from __future__ import annotations

import re
from base64 import b32encode
from collections.abc import Callable, Iterable

from blake3 import blake3

from runloop.patterns import lazy

_AT = lazy(r"@|%40|&#64;|&#x40;|\\u0040|＠", re.IGNORECASE)  # noqa: RUF001 - the sign of full-width text is an at sign too
_AT_SIGNS = ("@", "%40", "&#", "u0040", "U0040", "＠")  # noqa: RUF001 - one of them is in every match of it
_DOMAIN = lazy(r"(?:[^\W_](?:[\w-]*[^\W_])?\.)+[^\W\d_]{2,}|localhost\b|\[(?:[0-9.]{7,15}|IPv6:[0-9a-f:.]+)\]|xn--[\w.-]+", re.IGNORECASE)
_VERSION = lazy(r"v?\d+(?:\.\d+)+(?:[-+.](?:alpha|beta|rc|dev|post|pre|next|canary|snapshot|final)[\w.-]*)?", re.IGNORECASE)
_OUTSIDE = " \t\r\n\f\v\u00a0\u2028\u2029\ufeff@＠<>()[]{},;:\"`|/\\=?&#'“”„«»–—…•"  # noqa: RUF001 - signs of other languages
_DELIMITERS = frozenset(_OUTSIDE)
_LONGEST = 254  # characters of a local part that are looked at
_WHOLE = lazy(f"[^{re.escape(_OUTSIDE.replace('@', ''))}]+")
_MASKED = lazy(r".[a-z2-7]{6}")
_MAIL_KEY = lazy(r"[a-z2-7]{32}")


Known = Callable[[str, str], Iterable[str]]
"""Gives the local parts of addresses that are known, by their first character and their domain."""


class EmailMasker:
    """Masks addresses under one salt. What it made before it leaves alone: a mask given back is not masked again.

    By its form alone a mask cannot be told from an address (``johnson@…``). So masks are remembered, the latest ``REMEMBERED`` ones, and
    one that another process made is recognised where it is that of an address that ``known`` gives.
    """

    REMEMBERED = 65_536

    def __init__(self, salt: str, known: Known = lambda _first, _domain: ()) -> None:
        self._salt = salt
        self._known = known
        self._made: dict[str, None] = {}

    def whole(self, address: str) -> str:
        """The mask of a text that is an address, whatever its domain looks like."""
        local, at, domain = address.rpartition("@")
        return f"{self._local(local, domain)}@{domain}" if at and local else address

    def text(self, text: str) -> str:
        """The text with every address in it masked; one without a dot in its domain is found only where it is the whole text."""
        local, at, domain = text.rpartition("@")
        if at and local and domain and "@" not in local and _WHOLE.fullmatch(text):
            return text if _VERSION.fullmatch(domain) else self.whole(text)
        if not any(map(text.__contains__, _AT_SIGNS)):
            return text
        out: list[str] = []
        done = 0
        for found in _AT.finditer(text):
            domain_at = _DOMAIN.match(text, found.end())
            if domain_at is None or _VERSION.fullmatch(text, found.end(), domain_at.end()):
                continue
            start, end = _local_part(text, found.start(), done)
            is_nobodys = _is_remote(text, start, end, domain_at.end()) or _is_own_message(text, start, end, domain_at.end())
            if start < end and not is_nobodys:
                out += (text[done:start], self._local(text[start:end], domain_at[0]))
                done = end
        return "".join((*out, text[done:]))

    def _local(self, local: str, domain: str) -> str:
        if _MASKED.fullmatch(local) and (f"{local}@{domain}" in self._made or self._is_known(local, domain)):
            masked = local
        else:
            masked = mask_local(local, self._salt)
        if len(self._made) >= self.REMEMBERED:
            del self._made[next(iter(self._made))]
        self._made[f"{masked}@{domain}"] = None
        return masked

    def _is_known(self, mask: str, domain: str) -> bool:
        return any(each[:1] == mask[0] and mask_local(each, self._salt) == mask for each in self._known(mask[0], domain))


def mask_email(email: str, salt: str) -> str:
    """First character of the local part, six characters of its salted hash, and the domain; what is no address stays."""
    local, at, domain = email.rpartition("@")
    return f"{mask_local(local, salt)}@{domain}" if at and local else email


def mask_local(local: str, salt: str) -> str:
    """The mask of a local part: base32 of BLAKE3(salt‖local), lower case, cut to six characters."""
    return f"{local[0]}{b32encode(blake3((salt + local).encode('utf-8', 'surrogatepass')).digest())[:6].decode().lower()}"


def _local_part(text: str, at: int, floor: int) -> tuple[int, int]:
    """Where the local part before ``at`` begins and ends, without its quotes; an empty stretch where there is none."""
    if at > floor and text[at - 1] == '"':
        opening = text.rfind('"', max(floor, at - _LONGEST), at - 1)
        return (opening + 1, at - 1) if opening >= 0 else (at, at)
    place, stop = at, max(floor, at - _LONGEST)
    while place > stop:
        sign = text[place - 1]
        if sign in _DELIMITERS and not (sign == "'" and place < at and place - 1 > stop and text[place - 2].isalnum()):
            break
        place -= 1
    return place, at


def _is_remote(text: str, start: int, at: int, end: int) -> bool:
    """``git@host:path``: the name of an account that everybody uses, not a person's."""
    return text[start:at] == "git" and text[end : end + 1] in {":", "/"}


def _is_own_message(text: str, start: int, at: int, end: int) -> bool:
    """``<KEY@host>``: the Message-ID that a mail of ours has, by which people look for it; KEY is a hash."""
    return text[start - 1 : start] == "<" and text[end : end + 1] == ">" and _MAIL_KEY.fullmatch(text, start, at) is not None
