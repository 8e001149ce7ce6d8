"""Guest text made harmless for a terminal."""

from __future__ import annotations

import re

_HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
"""C0 and C1 controls (but tab and line feed), DEL, bidirectional overrides and marks, line separators."""


def neutralise(text: str) -> str:
    """Show control characters and bidirectional overrides as visible escapes; tab and line feed stay.

    Whatever a guest wrote (log, progress, results, errors) goes through here before it reaches a terminal: no sequence can move the
    cursor, set a title, fill the clipboard or reorder what a person reads.
    """
    return _HARMFUL.sub(lambda found: f"\\x{ord(found[0]):02x}" if found[0] < "\u0100" else f"\\u{ord(found[0]):04x}", text)
