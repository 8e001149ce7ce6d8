"""What a terminal is sent that lacks signs: ours as ASCII, what others wrote as far as it has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.segment import Segment
from textual.filter import LineFilter

from runloop.text import ASCII, display_width

if TYPE_CHECKING:
    from textual.color import Color

_OURS: Final = ASCII | str.maketrans("╭╮╰╯▔▁▂▃▄▅▆▇▊▌▎▏▕", "++++-       |||||")
"""With those of Textual's frames and scroll bars."""


class Signs(LineFilter):
    """Paints each sign that a terminal of this ``encoding`` lacks, and each of ours, as ASCII that is as wide."""

    def __init__(self, encoding: str) -> None:
        super().__init__()
        self._encoding = encoding

    def apply(self, segments: list[Segment], _background: Color) -> list[Segment]:
        """As Textual calls it."""
        return [Segment(self._shown(text), style, control) for text, style, control in segments]

    def exactly(self, value: Any) -> Any:
        """A text, or a list of texts, with escapes for what would be painted as something else."""
        if isinstance(value, str):
            return value if value.isascii() else "".join(self._escaped(char) for char in value)
        return [self.exactly(each) for each in value] if isinstance(value, list) else value

    def _shown(self, text: str) -> str:
        if text.isascii():
            return text
        return "".join(char if self._has(char) else "?" * display_width(char) for char in text.translate(_OURS))

    def _escaped(self, char: str) -> str:
        same = self._has(char) and ord(char) not in _OURS
        return char if same else char.encode("ascii", "backslashreplace").decode()

    def _has(self, char: str) -> bool:
        try:
            char.encode(self._encoding)
        except UnicodeEncodeError:
            return False
        return True
