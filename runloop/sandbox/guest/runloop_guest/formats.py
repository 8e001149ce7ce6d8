"""Dates as Linux writes them, and locales as they are: to a guest's C library an unknown directive is no text, and any name a locale."""

import _locale
import locale
import re
import time
from typing import Any

_DIRECTIVE = re.compile(r"%([-_0^#+]*)([0-9]*)([EO]?)(.?)", re.DOTALL)
_KNOWN = frozenset("aAbBcCdDeFgGhHIjmMnprRSstTuUVwWxXyYzZ%")
_PADS = {"-": "", "0": "02"}
_LOCALES = frozenset({"", "c", "posix", "c.utf-8", "c.utf8"})
_UNSUPPORTED = (
    "unsupported locale setting: an agent has the locale C only; write the format itself, or put a package such as babel into the bundle"
)

_strftime: Any = time.strftime
_setlocale: Any = _locale.setlocale


def strftime(format: str, *when: Any) -> str:  # noqa: A002 - named as the original's
    """Stand in for ``time.strftime``, which ``datetime`` uses too: what no directive stands for stays as it is."""
    if len(when) > 1 or not isinstance(format, str):
        return str(_strftime(format, *when))
    moment = when[0] if when else time.localtime()

    def spelled(found: re.Match[str]) -> str:
        flags, width, _, name = found.groups()
        if name in {"k", "l"}:
            hour = moment[3] if name == "k" else moment[3] % 12 or 12
            return format_hour(hour, flags)
        if name == "P":
            return "am" if moment[3] < 12 else "pm"
        if name not in _KNOWN or (name == "%" and found[0] != "%%"):
            return f"%{found[0]}"
        if "^" in flags or "#" in flags:
            text: str = _strftime(f"%{flags.replace('^', '').replace('#', '')}{width}{name}", moment)
            return (text.lower() if "#" in flags and name in {"p", "Z"} else text.upper()).replace("%", "%%")
        return found[0]

    return str(_strftime(_DIRECTIVE.sub(spelled, format), moment))


def format_hour(hour: int, flags: str) -> str:
    """Write an hour with a space before one digit, or as the flag says."""
    return f"{hour:{_PADS.get(flags[-1:], '2')}}"


def setlocale(category: int, name: str | None = None, /) -> str:
    """Stand in for ``_locale.setlocale``: another locale than C is not there."""
    if name is not None and name.lower() not in _LOCALES:
        raise locale.Error(_UNSUPPORTED)
    return str(_setlocale(category, name))


def freeze() -> None:
    """Put them where they are looked for."""
    strftime.__module__ = "time"
    for place, name, stands_in in ((time, "strftime", strftime), (_locale, "setlocale", setlocale), (locale, "_setlocale", setlocale)):
        setattr(place, name, stands_in)
