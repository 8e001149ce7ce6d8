"""A screen of agtop as an SVG picture: text that can be read, selected and searched, in the reader's own fixed-width font."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from rich.segment import Segment
    from rich.style import Style

CELL_W, CELL_H, SIZE = 8.4, 18, 14
FONTS = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"


def svg(lines: Sequence[Sequence[Segment]], width: int, title: str, foreground: str, background: str) -> str:
    """The picture of lines of ``width`` cells; colours as #rrggbb."""
    across, down = _number(width * CELL_W + 16), len(lines) * CELL_H + 16
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {across} {down}" role="img" font-family="{FONTS}" font-size="{SIZE}">\n'
        f'<title>{escape(title)}</title>\n<rect width="100%" height="100%" rx="6" fill="{background}"/>\n'
    )
    body = (piece for y, line in enumerate(lines) for piece in _line(line, y, foreground, background))
    return head + "\n".join(body) + "\n</svg>\n"


def _line(line: Sequence[Segment], y: int, foreground: str, background: str) -> Iterator[str]:
    """A rectangle for each background that differs, then the texts."""
    at, texts = 0, []
    for segment in line:
        cells, style = segment.cell_length, segment.style
        ink, paper = _colours(style, foreground, background)
        if paper != background:
            yield f'<rect x="{_x(at)}" y="{y * CELL_H + 8}" width="{_number(cells * CELL_W)}" height="{CELL_H}" fill="{paper}"/>'
        text = segment.text.rstrip()
        shown = text.lstrip()
        if shown:
            before, wide = len(text) - len(shown), cells - (len(segment.text) - len(text))
            more = "".join(
                (' font-weight="bold"' if style and style.bold else "", ' text-decoration="underline"' if style and style.underline else "")
            )
            texts.append(
                f'<text x="{_x(at + before)}" y="{y * CELL_H + 21}" textLength="{_number((wide - before) * CELL_W)}" xml:space="preserve" '
                f'fill="{ink}"{more}>{escape(shown)}</text>'
            )
        at += cells
    yield from texts


def _colours(style: Style | None, foreground: str, background: str) -> tuple[str, str]:
    ink = style.color.get_truecolor().hex if style and style.color and not style.color.is_default else foreground
    paper = style.bgcolor.get_truecolor().hex if style and style.bgcolor and not style.bgcolor.is_default else background
    return (paper, ink) if style and style.reverse else (ink, paper)


def _x(at: int) -> str:
    return _number(8 + at * CELL_W)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
