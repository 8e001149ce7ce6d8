"""An opening's graph as text for a terminal: boxes in layers, lines between them, dashed where a guard decides."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from runloop.dataclass import dataclass
from runloop.openings.excerpt import text_width
from runloop.openings.layout import Item, lay_out, layer_numbers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runloop.openings.model import Edge, Node, Opening

_UP, _DOWN, _LEFT, _RIGHT = 1, 2, 4, 8
_SPACE = 2
"""Columns between two boxes."""


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The characters of a drawing; ``lines`` by the directions that meet in a cell."""

    lines: str
    dashed: str
    arrow: str
    guard_arrow: str
    takes: str
    note: str
    corners: tuple[str, str, str, str]
    bar: str
    side: str
    foot: str


BOX = Glyphs(" │││─┘┐┤─└┌├─┴┬┼", "┆", "▼", "▽", "←", "·", ("┌", "┐", "└", "┘"), "─", "│", "┬")
ASCII = Glyphs(" |||-'.+-'.+-+++", ":", "v", "V", "<-", "*", ("+", "+", "+", "+"), "-", "|", "+")


def draw(opening: Opening, *, width: int = 80, ascii_only: bool = False) -> str:
    """The graph in at most ``width`` columns: boxes that say what they take, else boxes with names and a list, else the list alone."""
    glyphs = ASCII if ascii_only else BOX
    listed = _listing(opening, glyphs)
    for full in (True, False):
        lines = _drawing(opening, glyphs, width, full=full)
        if lines is not None:
            return "\n".join(lines if full else [*lines, "", *listed])
    return "\n".join(listed)


def _drawing(opening: Opening, glyphs: Glyphs, width: int, *, full: bool) -> list[str] | None:
    incoming: dict[str, list[Edge]] = {node.id: [] for node in opening.nodes}
    for edge in opening.edges:
        incoming[edge.target.node].append(edge)
    texts = {node.id: _box_text(node, incoming[node.id] if full else [], glyphs, full=full) for node in opening.nodes}
    layers = lay_out(opening)
    for layer in layers:
        for item in layer:
            item.width = 3 if item.node is None else max(9, *(text_width(line) + 4 for line in texts[item.net]))
        if sum(item.width + _SPACE for item in layer) - _SPACE > width:
            return None
    lines: list[str] = []
    above: list[Item] = []
    for layer in layers:
        _place(layer, above, width)
        if above:
            lines += _gap(above, layer, incoming, glyphs, width)
        lines += _boxes(layer, texts, glyphs)
        above = layer
    return lines


def _box_text(node: Node, incoming: Iterable[Edge], glyphs: Glyphs, *, full: bool) -> list[str]:
    return [node.id, *([node.use, *_notes(node, glyphs)] if full else []), *(_input_text(edge, glyphs) for edge in incoming)]


def _notes(node: Node, glyphs: Glyphs) -> list[str]:
    return [f"{glyphs.note} {note}" for note in node.notes]


def _input_text(edge: Edge, glyphs: Glyphs) -> str:
    guard = f" {edge.guard}" if edge.guard else ""
    return f"{edge.target.port} {glyphs.takes} {'if ' if guard else ''}{edge.source}{guard}"


def _listing(opening: Opening, glyphs: Glyphs) -> list[str]:
    numbers = layer_numbers(opening)
    lines = []
    for node in sorted(opening.nodes, key=lambda node: numbers[node.id]):
        lines.append(f"{numbers[node.id] + 1}. {node.id}  {node.use}")
        lines += [f"     {note}" for note in _notes(node, glyphs)]
        lines += [f"     {_input_text(edge, glyphs)}" for edge in opening.edges if edge.target.node == node.id]
    return lines


def _place(layer: list[Item], above: list[Item], width: int) -> None:
    """Give every item its columns: under what leads to it, in order, inside ``width``, and no bend under a foreign line."""
    start = 0
    for item in layer:
        centre = sum(each.middle for each in item.above) // len(item.above) if item.above else start + item.width // 2
        item.left = max(start, centre - item.width // 2)
        start = item.left + item.width + _SPACE
    end = width
    for item in reversed(layer):
        item.left = min(item.left, end - item.width)
        end = item.left - _SPACE
    feet = {each.middle: each.net for each in above}
    for item in layer:
        centre = item.left + item.width // 2
        free = (column for column in (centre, centre - 1, centre + 1) if feet.get(column, item.net) == item.net)
        item.middle = next(free) if item.node is None else centre


@dataclass(slots=True)
class _Cells:
    """What lines meet in each cell of a gap, by net."""

    masks: dict[tuple[int, int], dict[str, int]] = field(default_factory=dict)
    dashed: set[tuple[int, int]] = field(default_factory=set)

    def add(self, row: int, column: int, net: str, mask: int, *, dashed: bool = False) -> None:
        nets = self.masks.setdefault((row, column), {})
        nets[net] = nets.get(net, 0) | mask
        if dashed:
            self.dashed.add((row, column))

    def glyph(self, row: int, column: int, glyphs: Glyphs) -> str:
        nets = self.masks.get((row, column))
        if nets is None:
            return " "
        masks = set(nets.values())
        upright = [mask for mask in masks if not mask & (_LEFT | _RIGHT)]
        level = [mask for mask in masks if mask == _LEFT | _RIGHT]
        # a line that passes under another keeps its shape: the one from above is drawn through
        together = upright[0] if upright and level and len(upright) + len(level) == len(masks) else 0
        for mask in masks if not together else ():
            together |= mask
        is_dashed = (row, column) in self.dashed and together == _UP | _DOWN
        return glyphs.dashed if is_dashed else glyphs.lines[together]


@dataclass(frozen=True, slots=True)
class _Wire:
    """A line from an item above to an item below, arriving in ``column``."""

    source: Item
    target: Item
    column: int
    guarded: bool


def _gap(above: list[Item], layer: list[Item], incoming: dict[str, list[Edge]], glyphs: Glyphs, width: int) -> list[str]:
    wires = _wires(above, layer, incoming)
    spans: dict[str, tuple[int, int]] = {}
    for item in above:
        columns = [item.middle, *(wire.column for wire in wires if wire.source is item)]
        if len(set(columns)) > 1:
            spans[item.net] = (min(columns), max(columns))
    rows = _tracks(spans)
    height = max(rows.values(), default=0) + 1
    cells = _Cells()
    for item in above:
        if not item.below:
            continue
        track = rows.get(item.net)
        for row in range(height if track is None else track):
            cells.add(row, item.middle, item.net, _UP | _DOWN)
        if track is not None:
            cells.add(track, item.middle, item.net, _UP)
    for wire in wires:
        _run(wire, rows.get(wire.source.net), height, cells)
    arrows = [" "] * width
    for wire in wires:
        arrows[wire.column] = (
            glyphs.lines[_UP | _DOWN] if wire.target.node is None else glyphs.guard_arrow if wire.guarded else glyphs.arrow
        )
    drawn = ["".join(cells.glyph(row, column, glyphs) for column in range(width)).rstrip() for row in range(height)]
    return [*drawn, "".join(arrows).rstrip()]


def _run(wire: _Wire, track: int | None, height: int, cells: _Cells) -> None:
    """Draw a wire from its track to the row above its target."""
    net, start, end = wire.source.net, wire.source.middle, wire.column
    if track is None:
        for row in range(height) if wire.guarded else ():
            cells.add(row, end, net, _UP | _DOWN, dashed=True)
        return
    low, high = sorted((start, end))
    for column in range(low, high + 1):
        if low != high:
            cells.add(track, column, net, (_LEFT if column > low else 0) | (_RIGHT if column < high else 0))
    cells.add(track, end, net, _DOWN)
    for row in range(track + 1, height):
        cells.add(row, end, net, _UP | _DOWN, dashed=wire.guarded)


def _wires(above: list[Item], layer: list[Item], incoming: dict[str, list[Edge]]) -> list[_Wire]:
    """Each box has one place where lines arrive, and a second one for those that a guard decides."""
    feet = {item.middle: item.net for item in above}
    wires = []
    for item in layer:
        if item.node is None:
            wires += [_Wire(source, item, item.middle, guarded=False) for source in item.above]
            continue
        guarded_by = {edge.source.node for edge in incoming[item.net] if edge.guard is not None} if item.node else set()
        taken: dict[bool, int] = {}
        for source in item.above:
            guarded = source.net in guarded_by
            if guarded not in taken:
                sources = {each.net for each in item.above if (each.net in guarded_by) == guarded}
                taken[guarded] = _arrival(item, source, sources, feet, set(taken.values()))
            wires.append(_Wire(source, item, taken[guarded], guarded))
    return wires


def _arrival(item: Item, source: Item, sources: set[str], feet: dict[int, str], taken: set[int]) -> int:
    """A column on top of a box: straight below its only source if that fits, else near the middle, never below a line of another net."""
    inner = range(item.left + 1, item.left + item.width - 1)
    wanted = source.middle if len(sources) == 1 and source.middle in inner else item.left + item.width // 2
    allowed = (column for column in inner if column not in taken and (column not in feet or sources == {feet[column]}))

    def cost(column: int) -> int:
        """Near the wanted place; two lines right beside each other would look like one."""
        return abs(column - wanted) + 3 * sum(beside in feet for beside in (column - 1, column + 1))

    return min(allowed, key=cost, default=wanted)


def _tracks(spans: dict[str, tuple[int, int]]) -> dict[str, int]:
    """A row for the level part of each net, so that none lie on each other."""
    ends: list[int] = []
    rows = {}
    for net, (low, high) in sorted(spans.items(), key=lambda item: (item[1][0], -item[1][1])):
        row = next((number for number, end in enumerate(ends) if end < low - 1), len(ends))
        ends[row:] = [high, *ends[row + 1 :]]
        rows[net] = row
    return rows


def _boxes(layer: list[Item], texts: dict[str, list[str]], glyphs: Glyphs) -> list[str]:
    height = 2 + max((len(texts[item.net]) for item in layer if item.node is not None), default=0)
    return [_box_row(layer, row, texts, glyphs) for row in range(height)]


def _box_row(layer: list[Item], row: int, texts: dict[str, list[str]], glyphs: Glyphs) -> str:
    line, column = "", 0
    for item in layer:
        line += " " * (item.left - column)
        column = item.left + item.width
        own = texts[item.net]
        line_through = glyphs.lines[_UP | _DOWN] if item.below else " "
        before = item.middle - item.left
        if item.node is None or row > len(own) + 1:
            line += " " * before + line_through + " " * (item.width - before - 1)
        elif row in (0, len(own) + 1):
            first, last = glyphs.corners[:2] if row == 0 else glyphs.corners[2:]
            bar = [first, *glyphs.bar * (item.width - 2), last]
            if row and item.below:
                bar[before] = glyphs.foot
            line += "".join(bar)
        else:
            text = own[row - 1]
            line += f"{glyphs.side} {text}{' ' * (item.width - 4 - text_width(text))} {glyphs.side}"
    return line.rstrip()
