"""The text of an answer while it comes, in few and small pieces: for showing it, never for keeping it. Pure: time is an argument."""

from __future__ import annotations

MAX_BYTES = 4096
INTERVAL_S = 0.1


class Coalescer:
    """Joins pieces of text: at most one goes out in ``INTERVAL_S`` seconds, of at most ``MAX_BYTES`` bytes.

    Of more text than that the newest is kept; where it begins tells that something is missing.
    """

    def __init__(self) -> None:
        self._at = 0
        self._text = ""
        self._gave_s: float | None = None

    def take(self, at: int, text: str) -> None:
        """Add a piece that begins at that code point of the answer; one that does not follow on the last takes the place of all."""
        if at != self._at + len(self._text):
            self._at, self._text = at, ""
        self._text += text
        tail = self._text.encode()[-MAX_BYTES:].decode("utf-8", "ignore")
        self._at, self._text = self._at + len(self._text) - len(tail), tail

    def wait_s(self, now_s: float) -> float | None:
        """Seconds until a piece may go out, 0 where it may now; None where there is none."""
        if not self._text:
            return None
        return 0.0 if self._gave_s is None else max(0.0, self._gave_s + INTERVAL_S - now_s)

    def give(self, now_s: float) -> tuple[int, str]:
        """What goes out now, and where it begins."""
        given = self._at, self._text
        self._at, self._text, self._gave_s = self._at + len(self._text), "", now_s
        return given
