r"""mbox files taken apart in a stream (RFC 4155 and the families that its section on "From " lines names).

A message begins at a line ``From SENDER DATE`` at the start of the file or after an empty line; the date must look like one, because
not everybody quotes such lines in texts. Quoted ones (``>From ``, ``>>From ``) lose one ``>`` (mboxrd).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHUNK = 1 << 20
_LONGEST_SEPARATOR = 1024  # bytes of a "From " line
_SEPARATOR = re.compile(rb"From ([^\n]{0,1000}\n)")
_TIME = re.compile(rb"\d:\d\d")
_YEAR = re.compile(rb"\d{4}")
_DATE_BYTES, _YEAR_BYTES = 192, 96  # before the line's end, in which a time stands, and a year behind that
_QUOTED = re.compile(rb"^>(>*From )", re.MULTILINE)


class Raw(NamedTuple):
    """A message as it stood there: the line of its separator, and its bytes; None when they were more than the limit, ``size`` of them."""

    line: int
    data: bytes | None
    size: int


def begins(head: bytes) -> bool:
    """Whether a file that starts so is an mbox file; an empty one is."""
    return not head.strip() or _is_separator(head.lstrip(b"\r\n"), 0)


def _is_separator(data: bytes, at: int) -> bool:
    """Whether a line ``From SENDER DATE`` begins there; in time that follows from its length, whatever it holds."""
    line = _SEPARATOR.match(data, at)
    if line is None:
        return False
    start, end = line.span(1)
    time = _TIME.search(data, max(start, end - _DATE_BYTES), end)
    return time is not None and _YEAR.search(data, max(time.end(), end - _YEAR_BYTES), end) is not None


def split(read: Callable[[int], bytes], limit: int) -> Iterator[Raw]:
    """The messages in order; ``read`` gives the next bytes, at most as many as asked for, and none at the end."""
    held = b""  # the message under way from its separator on, or its last bytes once it is too long
    line, dropped, searched = 1, 0, 0
    started = False
    while True:
        chunk = read(CHUNK)
        if started or not chunk:
            held += chunk
        else:  # empty lines before the first message
            held = chunk.lstrip(b"\r\n")
            line += chunk.count(b"\n", 0, len(chunk) - len(held))
            started = bool(held)
        at = max(0, searched - _LONGEST_SEPARATOR)
        begun = 0
        for separator in _separators(held, at):
            yield _message(line, held[begun:separator], dropped, limit)
            line += held.count(b"\n", begun, separator)
            begun, dropped = separator, 0
        held = held[begun:]
        searched = len(held)
        if not chunk:
            if held or dropped:
                yield _message(line, held, dropped, limit)
            return
        if len(held) > limit + 2 * _LONGEST_SEPARATOR:
            keep = 2 * _LONGEST_SEPARATOR
            dropped += len(held) - keep
            line += held.count(b"\n", 0, len(held) - keep)
            held = held[-keep:]
            searched = len(held)


def _separators(held: bytes, start: int) -> Iterator[int]:
    """Where separator lines begin behind an empty line, from ``start`` on."""
    at = held.find(b"\nFrom ", start)
    while at >= 0:
        behind_blank = at > 0 and (held[at - 1 : at] == b"\n" or held[max(0, at - 2) : at] == b"\n\r")
        if behind_blank and _is_separator(held, at + 1):
            yield at + 1
        at = held.find(b"\nFrom ", at + 6)


def _message(line: int, held: bytes, dropped: int, limit: int) -> Raw:
    size = dropped + len(held)
    if dropped or size > limit:
        return Raw(line, None, size)
    body = held[held.find(b"\n") + 1 :] if held.startswith(b"From ") else held
    body = _without_last_blank(body)
    return Raw(line, _QUOTED.sub(rb"\1", body) if b">From " in body else body, size)


def _without_last_blank(body: bytes) -> bytes:
    """Without the empty line that stands before the next separator."""
    if body.endswith(b"\n\r\n"):
        return body[:-2]
    return body[:-1] if body.endswith(b"\n\n") else body
