"""URLs: the values of parameters that carry secrets, and the user part before the host."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from runloop.kb.redaction.marks import MARK, mark
from runloop.patterns import lazy

if TYPE_CHECKING:
    from re import Match

_USERINFO = lazy(
    r"(?<=://)(?:[^/?#\s\"'<>\\:@\[]*:(?![0-9]+[/?#])[^\s\"'<>\\:]{1,256}|[^/?#\s\"'<>\\]+)(?=@)"  # a password's / may be unencoded
)
_CAMEL = lazy(r"(?<=[a-z0-9])(?=[A-Z])")
_PARAMETER = lazy(r"(?<=[?&#;])([A-Za-z0-9_.\-\[\]%]{1,64})=([^&#;\s\"'<>\\]+)")


def mask_urls(text: str, salt: str, denylist: tuple[str, ...]) -> str:
    """The text with user parts of URLs and the values of parameters named in ``denylist`` masked."""

    def userinfo(found: Match[str]) -> str:
        return found[0] if found[0] == "git" or MARK.fullmatch(found[0]) else mark("userinfo", found[0], salt)

    def parameter(found: Match[str]) -> str:
        if MARK.fullmatch(found[2]) or not is_denied(found[1], denylist):
            return found[0]
        return f"{found[1]}={mark('param', found[2], salt)}"

    if "://" in text:
        text = _USERINFO.sub(userinfo, text)
    return _PARAMETER.sub(parameter, text) if "=" in text else text


@lru_cache(maxsize=1024)
def is_denied(name: str, denylist: tuple[str, ...]) -> bool:
    """Whether a parameter is one of these, or ends with one as a word of its own: ``access_token``, ``authToken``, ``X-Amz-Signature``."""
    parts = [part.lower() for part in re.split(r"[^a-zA-Z0-9]+", _CAMEL.sub("_", name)) if part]
    whole = "".join(parts)
    for denied in denylist:
        plain = re.sub(r"[^a-z0-9]", "", denied.lower())
        if plain and (whole == plain or (parts and parts[-1] == plain)):
            return True
    return False
