"""Text, times, sizes and questions as people read them in a terminal, made harmless; shared by everything that shows something."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal

from runloop.patterns import lazy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_FIRST_MS, _LAST_MS = -62_135_424_000_000, 253_402_128_000_000  # the years 1 to 9999 but for two days: zones are up to a day away
# C1, DEL, bidirectional overrides, isolates and marks, line and paragraph separators, lone surrogates
_DRIVING = "\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
# What a terminal shows as nothing: words or whole messages could hide in them from whoever approves the text
_INVISIBLE = (
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2060-\u2065\u206a-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# Joiners and variation selectors make emoji and several scripts, but only once and after a character that is seen and not ASCII
# (or in a keycap such as 1\ufe0f\u20e3); anywhere else they are as invisible as the others.
_JOINERS = "\u200c\u200d\ufe00-\ufe0f"
_SEEN = f"[^\x00-\x7f{_DRIVING}{_INVISIBLE}{_JOINERS}]"
_LOOSE_JOINER = f"(?<!{_SEEN})(?<!{_SEEN}\ufe0f(?=\u200d))(?!(?<=[0-9#*])\ufe0f\u20e3)[{_JOINERS}]"
_UNSAFE = lazy(f"[\x00-\x08\x0b-\x1f{_DRIVING}{_INVISIBLE}]|{_LOOSE_JOINER}")
_UNSAFE_IN_CELL = lazy(f"[\x00-\x1f{_DRIVING}{_INVISIBLE}]|{_LOOSE_JOINER}")
# What either could match, as one class: eight times as fast to look for, and hardly any text has it
_SUSPECT = lazy(f"[\x00-\x08\x0b-\x1f{_DRIVING}{_INVISIBLE}{_JOINERS}]")
_SUSPECT_IN_CELL = lazy(f"[\x00-\x1f{_DRIVING}{_INVISIBLE}{_JOINERS}]")

_SET_BACK_MS: Final = 1000
"""So much less than nothing is no rounding."""
_WORD: Final = lazy(r"\w+")
_BESIDE_LATIN: Final = frozenset({"", "LATIN", "CJK", "HIRAGANA", "KATAKANA", "HANGUL", "FEMININE", "MASCULINE", "MODIFIER"})
"""Scripts whose letters stand in words with Latin ones, and look like none of them."""
ASCII: Final = str.maketrans("·▶◆‖⏸✔✘–—■▼▲▽…│┆┌└─├┬┴┤┼┐┘←↑↓→█▒░", ".>*==+x--#v^v~||++-+++++++<^v>#%.")
"""What stands for our own signs where a terminal lacks them, as wide as they are; what others wrote stays what it is."""
A_TIME: Final = "a time"
"""What a run waits for that goes on by itself."""
GATE: Final = "gate"
"""The action of what is asked at a gate, and the third part of its id: ``RUN/NODE/gate/ROUND/…``."""
OUTCOME: Final = "outcome"
"""The fifth part of the id of a question whether a call happened: ``RUN/NODE/CALL/ATTEMPT/outcome/…``; again it is ``outcome-2``."""
CHANGED: Final = "changed"
"""The end of an approval that nobody decided before something else would happen: it is asked anew, under another id."""
REFUSALS: Final = frozenset({"rejected", "reject", "expired", "give up"})
"""Decisions after which something does not go on."""


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    named = {9: "\\t", 10: "\\n", 13: "\\r"}.get(code)
    return named or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")


def clean(text: str, escape: Callable[[re.Match[str]], str] = _escape) -> str:
    """``text`` with every character that could drive a terminal, or hide in it, shown as an escape; newlines and tabs stay."""
    return text if _is_plain(text) or _SUSPECT.search(text) is None else _UNSAFE.sub(escape, text)


def clean_line(text: str) -> str:
    """As :func:`clean`, and on one line: newlines and tabs are shown as escapes too."""
    return text if _is_plain(text) or _SUSPECT_IN_CELL.search(text) is None else _UNSAFE_IN_CELL.sub(_escape, text)


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


def legible(words: str) -> str:
    """What was typed, where bytes that are no UTF-8 are shown as such: neither a database nor JSON takes them."""
    return words.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def display_width(text: str) -> int:
    """Terminal columns that the text takes: wide East Asian characters count two, marks on others and joiners none."""
    return len(text) if text.isascii() else sum(map(_columns, text))


@lru_cache(4096)
def _columns(char: str) -> int:
    from unicodedata import category, combining, east_asian_width

    if char == "\ufe0f":  # makes an emoji of a sign, which is wide then
        return 1
    if char in "\u200c\u200d" or combining(char) or category(char) in {"Mn", "Me"}:  # vowels of Thai, say, have no combining class
        return 0
    return 2 if east_asian_width(char) in "WF" else 1


def fitted(text: str, size: int) -> str:
    """The text, cut with ``…`` where it takes more than ``size`` columns."""
    if display_width(text) <= size:
        return text
    kept = ""
    for char in text:
        if display_width(kept + char) > size - 1:
            break
        kept += char
    return kept + "…"


def broken(line: str, room: int) -> list[str]:
    """The line in pieces of at most ``room`` columns, broken after a blank where there is one; together they are the line."""
    pieces, start = [], 0
    while (end := _beyond(line, start, room)) < len(line):
        cut = line.rfind(" ", start, end) + 1
        end = cut if cut - start > room // 2 else max(start + 1, end)
        pieces.append(line[start:end])
        start = end
    return [*pieces, line[start:]] if start < len(line) or not pieces else pieces


def _beyond(line: str, start: int, room: int) -> int:
    """Where the first character stands that does not fit into ``room`` columns from ``start`` on; the line's end where all do."""
    if line[start : start + room + 1].isascii():
        return min(start + room, len(line))
    for at in range(start, len(line)):
        room -= _columns(line[at])
        if room < 0:
            return at
    return len(line)


def lookalikes(name: str) -> list[str]:
    """The characters of an address, a path or a command that may be taken for others, as character and name.

    In an e-mail address that is every one beyond ASCII; elsewhere every letter of other scripts in a word that has Latin ones, too.
    """
    if name.isascii():
        return []
    from unicodedata import name as called

    def script(char: str) -> str:
        return called(char, "").partition(" ")[0] if char.isalpha() else ""

    found: dict[str, None] = {}
    for word in [name] if "@" in name else _WORD.findall(name):
        latin = any(script(char) == "LATIN" for char in word)
        odd = [char for char in word if not char.isascii() and ("@" in name or (latin and script(char) not in _BESIDE_LATIN))]
        found.update(dict.fromkeys(odd))
    return [f"{clean_line(char)} is U+{ord(char):04X} {called(char, '')}".rstrip() for char in found]


def span(ms: int | None) -> str:
    """``ms`` as a short time for people: 0.42s, 12.3s, 3m05s, 2h10m, 3d4h; a dash when it is not known, as after the clock was set back."""
    if ms is None or ms <= -_SET_BACK_MS:
        return "–"
    if ms < 10_000:
        return f"{max(0, ms) / 1000:.2f}s"
    if ms < 60_000:
        return f"{ms / 1000:.1f}s"
    seconds = ms // 1000
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02d}s"
    if seconds < 86_400:
        return f"{seconds // 3600}h{seconds % 3600 // 60:02d}m"
    return f"{seconds // 86_400}d{seconds % 86_400 // 3600}h"


def with_time_left(waits: str, until_ms: int | None, now_ms: int) -> str:
    """What a run waits for; where that is only a time, with how long it still will."""
    return waits if waits != A_TIME or until_ms is None else f"{waits}, {span(max(0, until_ms - now_ms))} left"


def _with_date(ms: int) -> int:
    return min(max(ms, _FIRST_MS), _LAST_MS)


def in_utc(ms: int) -> datetime:
    """Unix milliseconds as a date and time: of those that none can say, the nearest that has one in every zone."""
    return datetime.fromtimestamp(_with_date(ms) / 1000, UTC)


def _here(ms: int) -> datetime:
    """Unix milliseconds in this machine's zone as it is now: who travels changes it under programs that are open for days."""
    time.tzset()
    return datetime.fromtimestamp(_with_date(ms) / 1000)  # noqa: DTZ006 - a zone a day away from UTC has no aware form


def clock(ms: int) -> str:
    """The date and time of day of Unix milliseconds, where this machine is."""
    return _here(ms).strftime("%m-%d %H:%M:%S")


def date_clock(ms: int) -> str:
    """As :func:`clock`, with the year."""
    return _here(ms).strftime("%Y-%m-%d %H:%M:%S")


def day(ms: int) -> str:
    """The date of Unix milliseconds, where this machine is."""
    return _here(ms).strftime("%Y-%m-%d")


def clock_ms(ms: int) -> str:
    """The time of day, to the millisecond."""
    return _here(ms).strftime("%H:%M:%S.%f")[:-3]


def sort_of(approval_id: str) -> Literal["approval", "gate", "outcome"]:
    """What an approval or a question that is known by this id asks."""
    parts = approval_id.split("/")
    if parts[2:3] == [GATE]:
        return "gate"
    return "outcome" if len(parts) > 4 and parts[4].partition("-")[0] == OUTCOME else "approval"


def awaited(approval_id: str, action: str | None) -> str:
    """What is waited for while it is open: ``approval of mail.smtp``, ``an answer whether mail.smtp happened``."""
    sort = sort_of(approval_id)
    if sort == "gate":
        return "an answer at a gate"
    if sort == "outcome":
        return f"an answer whether {action or 'it'} happened"
    return f"approval of {action}" if action else "an answer"


def asked(approval_id: str, action: str | None) -> str:
    """The question without its mark: ``approve mail.smtp``, ``mail.smtp happened``."""
    sort = sort_of(approval_id)
    if sort == "gate":
        return GATE
    return f"{action or 'it'} happened" if sort == "outcome" else f"approve {action or 'an action'}"


def changed(overrides: Mapping[str, Any] | None) -> str:
    """What a fork has other than its parent: ``another answer to draft/1/1, another tone, other code for writer``."""
    said = overrides or {}
    calls = [f"{each['node']}/{each['attempt']}/{each['call']}" for each in said.get("answers") or ()]
    parts = [f"another answer to {call}" for call in calls]
    parts += [f"another {name}" for name in said.get("params") or ()]
    parts += [f"other code for {name}" for name in said.get("agents") or ()]
    return ", ".join(parts)
