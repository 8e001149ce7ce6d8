"""Accounts that a vCard names: IMPP (RFC 4770, RFC 6350), SOCIALPROFILE (RFC 9554, and its older form), URL, X- names of messengers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_TEXT = 2000  # characters of a value; a longer one names nobody
_MESSENGERS = {
    f"X-{name}": name.lower() for name in ("AIM", "ICQ", "JABBER", "MSN", "QQ", "SKYPE", "YAHOO", "TWITTER", "MATRIX", "SIGNAL")
} | {
    "X-GOOGLE-TALK": "google-talk",
    "X-SKYPE-USERNAME": "skype",
}
_PLACES = frozenset({"home", "work", "pref", "internet", "other", "cell", "personal", "business"})
_SCHEMES = {"xmpp": "jabber", "aim": "aim", "ymsgr": "yahoo", "msnim": "msn", "sip": "sip", "sips": "sip"}


class Profile(NamedTuple):
    """A service, the name that somebody has there, and where it is seen."""

    service: str
    handle: str
    url: str | None = None


def profile_of(name: str, parameters: Mapping[str, Sequence[str]], value: str) -> Profile | None:
    """The account that a property names; None for one that names none. Names are upper-case, the value has no escapes any more."""
    value = value.strip()
    if not value or len(value) > MAX_TEXT or not value.isprintable():
        return None
    if name in _MESSENGERS:
        return Profile(_MESSENGERS[name], value)
    if name == "IMPP":
        return _impp(_stated(parameters), value)
    if name in {"X-SOCIALPROFILE", "SOCIALPROFILE"}:
        return _social(_stated(parameters), next(iter(parameters.get("X-USER", parameters.get("USERNAME", ()))), ""), value)
    return _page(value) if name == "URL" else None


def _stated(parameters: Mapping[str, Sequence[str]]) -> str:
    """The service that the parameters name."""
    for name in ("X-SERVICE-TYPE", "SERVICE-TYPE"):
        if parameters.get(name):
            return parameters[name][0].strip().lower()
    types = [each.strip().lower() for values in parameters.get("TYPE", ()) for each in values.split(",")]
    return next((each for each in types if each and each not in _PLACES), "")


def _impp(service: str, value: str) -> Profile | None:
    scheme, colon, rest = value.partition(":")
    if not colon:
        return Profile(service or "im", value)
    scheme, handle = scheme.lower(), unquote(rest.lstrip("/")).partition("?")[0]
    if not handle:
        return None
    return Profile(service or _SCHEMES.get(scheme, scheme), handle if scheme not in {"http", "https"} else rest.lstrip("/"), value)


def _social(service: str, user: str, value: str) -> Profile | None:
    page = None if "@" in value and "//" not in value else _page(value)  # @ada@host.example is an account there, and no page
    if page is None:
        return Profile(service or "social", user or value)
    known = {"x-apple": ""}.get(service, service)
    return Profile(known or page.service, user or page.handle, value)


def _page(value: str) -> Profile | None:
    """A page under a host's name; the page of a host itself is an account of the web."""
    try:
        parts = urlsplit(value if "//" in value else f"//{value}")
        host = (parts.hostname or "").removeprefix("www.")
    except ValueError:
        return None
    if "." not in host or parts.scheme not in {"", "http", "https"}:
        return None
    path = unquote(parts.path).strip("/")
    return Profile(host, path, value) if path else Profile("web", host, value)
