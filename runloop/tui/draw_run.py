"""One run: its graph with states, its nodes, its lanes over time, its crossings, its log."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from runloop.text import clean_line, clock_ms, display_width, fitted, span, with_time_left
from runloop.tui.model import Crossing, LogLine, NodeState, RunModel
from runloop.tui.opening import opening_of
from runloop.tui.page import (
    MARKS,
    NOTHING,
    STATE_STYLE,
    Column,
    Page,
    Piece,
    Row,
    cells,
    count,
    fitting,
    header,
    line,
    money,
    padded,
    paragraphs,
    size,
    state_piece,
    widths,
)

NODE_COLUMNS: Final = (
    Column("node", 10, grows=2),
    Column("agent", 8, grows=1, first_out=2),
    Column("status", 11),
    Column("attempt", 7, right=True),
    Column("duration", 8, right=True),
    Column("errors", 6, right=True, first_out=1),
    Column("in", 7, right=True, first_out=3),
    Column("out", 7, right=True, first_out=3),
    Column("says", 12, grows=3, first_out=4),
)
CROSSING_COLUMNS: Final = (
    Column("time", 12, first_out=1),
    Column("node", 10, grows=1),
    Column("crossing", 14, grows=2),
    Column("state", 11),
    Column("ms", 7, right=True),
    Column("tokens", 7, right=True, first_out=2),
    Column("usd", 8, right=True, first_out=3),
    Column("content", 12, grows=4),
)
_LEVEL_STYLE: Final = {"debug": "dim", "warn": "waiting", "error": "error"}
_LOG_TEXT: Final = 19
"""Where the text of a log's line begins."""
_NAME: Final = 30
"""Columns of an opening's name above a view of a run, where its state has to be seen too."""
NO_RUN: Final = Page(rows=(line("no run is chosen: choose one in Runs (1) and press Enter", "dim"),), title="Run")


def title(run: RunModel, width: int, now_ms: int) -> Row:
    """One line about the run, of which goes first what its views or the list of runs say too."""
    state = run.shown_state
    mark, style = state_piece(state)
    waits = f"  waits for {with_time_left(run.waits_for, run.until_ms, now_ms)}" if run.waits_for else ""
    pieces = (
        (f"{fitted(clean_line(run.opening), _NAME)} ", "bold", 0),
        (f"{clean_line(run.run_id[:8])} ", "accent", 2),
        (clean_line(mark), style, 0),
        (clean_line(waits), "waiting", 1),
        (f"  {span(run.elapsed_ms(now_ms))}", "", 3),
        (f"  tokens {count(run.spent_tokens())}", "", 4),
        (f"  usd {money(run.spent_usd())}", "", 5),
    )
    return Row(tuple((text, style) for text, style, _ in fitting(pieces, width)))


def plan_page(run: RunModel, width: int, now_ms: int, *, ascii_only: bool = False) -> Page:
    """The table of nodes, and the graph."""
    sizes = widths(NODE_COLUMNS, width)
    head, places = header(NODE_COLUMNS, sizes)
    rows = [_node_row(node, sizes, run.measured(now_ms)) for node in run.nodes.values()] or [line("no node has begun", "dim")]
    if run.why and run.state in {"failed", "cancelled"}:
        rows += [line(""), *paragraphs(f"{run.state}: {run.why}", width, "error")]
        rows += paragraphs(f"hint: {run.hint}", width) if run.hint else []
    graph = graph_rows(run, width, ascii_only=ascii_only)
    return Page((title(run, width, now_ms), head), (*rows, line(""), *graph), title="Plan", columns=places)


def _node_row(node: NodeState, sizes: Sequence[int], now_ms: int) -> Row:
    says = f"waits for {node.waits_for}" if node.waits_for else node.note
    if node.fraction is not None and node.state == "running":
        says = f"{node.fraction:.0%} {says}"
    values = (
        (node.name, "bold"),
        (node.agent, "dim"),
        state_piece(node.shown_state),
        (str(node.attempt or NOTHING), ""),
        (span(node.elapsed_ms(now_ms)), ""),
        (str(node.errors), "error" if node.errors else "dim"),
        (_bytes(node.inputs), "dim"),
        (_bytes(node.outputs), "dim"),
        (says, "waiting" if node.waits_for else "error" if node.state == "error" else "dim"),
    )
    return cells(NODE_COLUMNS, sizes, values, node.name)


def graph_rows(run: RunModel, width: int, *, ascii_only: bool = False) -> list[Row]:
    """The opening as a drawing, each box marked with what its node does."""
    drawn = _drawing(run.source, width, ascii_only) if run.source else ()
    if not drawn:
        return [line("the opening's text is not known here, so there is no drawing", "dim")]
    names = sorted(run.nodes, key=len, reverse=True)
    # What stands before an arrow is a port, whatever node has its name.
    known = re.compile("(?<=[│|] )(" + "|".join(map(re.escape, names)) + r")(?= )(?! (?:←|<-) )") if names else None
    return [_marked(text, run.nodes, known) for text in drawn]


@lru_cache(maxsize=16)
def _drawing(source: str, width: int, ascii_only: bool) -> tuple[str, ...]:
    from runloop.openings.draw import draw

    opening = opening_of(source)
    return () if opening is None else tuple(draw(opening, width=width, ascii_only=ascii_only).split("\n"))


def _marked(text: str, nodes: Mapping[str, NodeState], known: re.Pattern[str] | None) -> Row:
    pieces: list[Piece] = []
    at = 0
    for found in known.finditer(text) if known is not None else ():
        state = nodes[found[1]].shown_state
        pieces += [(text[at : found.start() - 1], "dim"), (MARKS.get(state, "?") + found[1], STATE_STYLE.get(state, ""))]
        at = found.end()
    return Row((*pieces, (text[at:], "dim")))


def timeline_page(run: RunModel, width: int, now_ms: int, *, ascii_only: bool = False) -> Page:
    """A lane for each node: when its attempts ran, from the run's beginning to its end or to now."""
    start = run.started_ms or run.submitted_ms
    names = max((display_width(clean_line(node)) for node in run.nodes), default=4)
    label = min(max(4, names), max(8, width // 4))
    room = max(10, width - label - 2)
    if start is None:
        return Page((title(run, width, now_ms),), (line("nothing has begun", "dim"),), title="Time")
    end = max(run.ended_ms or run.measured(now_ms), start + 1)
    whole = end - start
    left, right = f"0 at {clock_ms(start)}", f"+{span(whole)}"
    scale = Row(((" " * (label + 1), ""), (left + right.rjust(max(1, room - len(left))), "head")))
    full = "#" if ascii_only else "█"
    rows = [_lane(node, label, room, start, whole, end, full) for node in run.nodes.values()]
    return Page((title(run, width, now_ms), scale), tuple(rows), title="Time")


def _lane(node: NodeState, label: int, room: int, start: int, whole: int, end: int, full: str) -> Row:
    drawn = [" "] * room
    for number, (began, ended) in enumerate(node.lanes):
        first = min(room - 1, max(0, (began - start) * room // whole))
        last = min(room, max(first + 1, ((end if ended is None else ended) - start) * room // whole))
        drawn[first:last] = (full if number % 2 == 0 else "▒" if full == "█" else "=") * (last - first)
    bar = STATE_STYLE.get(node.shown_state, "") or "bar"
    return Row(((padded(clean_line(node.name), label) + " ", "bold"), ("".join(drawn), bar)))


def ladder_page(run: RunModel, width: int, now_ms: int, *, words: str = "") -> Page:
    """Every crossing of the boundary in order, or those with these words in what the line tells; Enter shows its content."""
    sizes = widths(CROSSING_COLUMNS, width)
    head, places = header(CROSSING_COLUMNS, sizes)
    wanted = words.casefold().split()
    shown = {key: each for key, each in run.crossings.items() if _says(f"{each.node} {each.name} {each.state} {content(each)}", wanted)}
    rows = [_crossing_row(key, each, sizes) for key, each in shown.items()]
    none = "no crossing matches the filter" if wanted else "nothing has crossed the boundary"
    before = [line(f"{run.gone} older ones are not kept here: `rlp trace {run.run_id[:8]}` has them", "dim")] if run.gone else []
    return Page((title(run, width, now_ms), head), (*before, *(rows or [line(none, "dim")])), title="Ladder", columns=places)


def content(each: Crossing) -> str:
    """What a crossing is about in a line: its error, the end of what is coming, or what was asked."""
    error = (each.answered or {}).get("error")
    return str(error["message"]) if error else each.coming[-200:] if each.coming else _short(each.asked.get("args"))


def _crossing_row(key: str, each: Crossing, sizes: Sequence[int]) -> Row:
    answered = each.answered or {}
    tokens = (answered.get("tokens_in") or 0) + (answered.get("tokens_out") or 0)
    values = (
        (clock_ms(each.asked_ms), "dim"),
        (each.node, "bold"),
        (each.name, "accent"),
        state_piece(each.state),
        (NOTHING if each.ms() is None else str(each.ms()), ""),
        (count(tokens) if tokens else NOTHING, ""),
        (money(answered.get("usd") if tokens else None), ""),
        (content(each), "error" if answered.get("error") else "dim"),
    )
    return cells(CROSSING_COLUMNS, sizes, values, key)


def crossing_lines(each: Crossing, width: int) -> list[Row]:
    """A crossing with what was asked and what was answered, whole."""
    rows = [line(f"{each.name} of {each.node}, attempt {each.attempt}, call {each.call}: {each.state}", "bold")]
    rows += [line(f"asked    {clock_ms(each.asked_ms)}"), line(f"took     {span(each.ms())}")]
    rows += _told("class", each.asked.get("class")) + _told("from outside", each.asked.get("taint"))
    rows += [line(""), line("asked with", "head"), *value_lines(each.asked.get("args"), width)]
    if each.answered is not None:
        error = each.answered.get("error")
        rows += [line(""), line("answered" if error is None else "refused", "head")]
        rows += value_lines(each.answered.get("result") if error is None else error, width)
    elif each.coming:
        rows += [line(""), line("so far", "head"), *paragraphs(each.coming, width)]
    return rows


def _told(label: str, value: Any) -> list[Row]:
    return [line(f"{label:<8} {value}")] if value else []


def value_lines(value: Any, width: int) -> list[Row]:
    """A JSON value for reading; a text as it is."""
    if isinstance(value, str):
        return paragraphs(value, width)
    return paragraphs(json.dumps(value, indent=2, ensure_ascii=False, default=str), width)


def log_page(run: RunModel, width: int, now_ms: int, *, words: str = "", cleared: int = 0) -> Page:
    """What the run and its agents said, whole; lines up to ``cleared`` were cleared away."""
    wanted = words.casefold().split()
    lines = [each for each in run.log if each.seq > cleared and _says(f"{each.level} {each.node} {each.text}", wanted)]
    rows = [row for each in lines for row in _log_rows(each, width)]
    none = "no line matches the filter" if wanted else "nothing was said"
    before = [line(f"{run.log_gone} older ones are not kept here: `rlp logs {run.run_id[:8]}` has them", "dim")] if run.log_gone else []
    return Page((title(run, width, now_ms),), (*before, *(rows or [line(none, "dim")])), follow=True, title="Log")


def _log_rows(each: LogLine, width: int) -> list[Row]:
    """A line of the log, broken where it is too long, with what goes on under its text."""
    when, level = (f"{clock_ms(each.ts_ms)} ", "dim"), (f"{padded(clean_line(each.level), 5)} ", _LEVEL_STYLE.get(each.level, ""))
    node = clean_line(each.node)
    by = display_width(node) + 1 if node else 0
    first, *more = paragraphs(" " * by + each.text, max(8, width - _LOG_TEXT))
    told = (first.pieces[0], (first.pieces[1][0][by:], first.pieces[1][1]))
    rows = [Row((when, level, (f"{node} " if by else "", "accent"), *told), str(each.seq))]
    return rows + [Row(((" " * _LOG_TEXT, ""), *row.pieces), str(each.seq)) for row in more]


def _says(text: str, words: Iterable[str]) -> bool:
    folded = text.casefold()
    return all(word in folded for word in words)


def _bytes(value: Any) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, Mapping) and value.keys() == {"$blob", "bytes"}:
        return size(value["bytes"]).replace(" ", "")
    return size(len(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str).encode("utf-8", "replace"))).replace(" ", "")


def _short(value: Any) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False, default=str)[:400]
