"""The views as `agtop --plain` says them: a sentence a line, whole, with no columns and no drawings, for ears as well as for eyes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from runloop.text import clean_line, clock_ms, span
from runloop.tui.board import Board, arranged
from runloop.tui.draw_daemon import GROUPS, daemon_line, library_remarks, load_state, measured
from runloop.tui.draw_run import content
from runloop.tui.model import NodeState, RunModel
from runloop.tui.opening import opening_of
from runloop.tui.page import count, money
from runloop.tui.views import OF_A_RUN, Viewing

_CONTENT: Final = 200
"""Characters of a crossing's content that its line has; `crossing N` says all of it."""


def said(board: Board, viewing: Viewing, now_ms: int) -> list[str]:
    """The view that is looked at; of no run where none is chosen."""
    if viewing.view in OF_A_RUN:
        run = board.runs.get(viewing.run_id or "")
        lines = [] if run is None else [_title(run, now_ms), *_OF_A_RUN[viewing.view](run, now_ms)]
    else:
        lines = list(_OF_ALL[viewing.view](board, viewing, now_ms))
    return [clean_line(line) for line in lines]


def _title(run: RunModel, now_ms: int) -> str:
    waits = f", waits for {run.waits_for}" if run.waits_for else f": {run.why}" if run.why else ""
    progress = "" if run.progress is None else f", {run.progress[0]} of {run.progress[1]} nodes"
    spent = f"{span(run.elapsed_ms(now_ms))}, {count(run.spent_tokens())} tokens, cost {money(run.spent_usd())}"
    return f"{run.opening} {run.run_id[:8]}: {run.shown_state}{progress}, {spent}{waits}"


def _runs(board: Board, viewing: Viewing, now_ms: int) -> Iterator[str]:
    shown = arranged(board.runs.values(), viewing.words, viewing.sort, now_ms, reverse=viewing.reverse)
    yield f"{len(shown)} of {len(board.runs)} runs"
    yield from (_title(run, now_ms) for run in shown)


def _plan(run: RunModel, now_ms: int) -> Iterator[str]:
    opening = opening_of(run.source)
    before: dict[str, list[str]] = {}
    for edge in opening.edges if opening is not None else ():
        before.setdefault(edge.target.node, []).append(edge.source.node)
    for node in run.nodes.values():
        yield _node(node, list(dict.fromkeys(before.pop(node.name, ()))), run.measured(now_ms))
    for each in opening.nodes if opening is not None else ():
        if each.id not in run.nodes:
            yield f"{each.id}: has not begun{_after(before.get(each.id, ()))}"


def _node(node: NodeState, before: Iterable[str], now_ms: int) -> str:
    by = f" by {node.agent}" if node.agent else ""
    took = f", attempt {node.attempt}, {span(node.elapsed_ms(now_ms))}" if node.attempt else ""
    errors = f", {node.errors} errors" if node.errors else ""
    says = f", waits for {node.waits_for}" if node.waits_for else f": {node.note}" if node.note else ""
    return f"{node.name}{by}: {node.shown_state}{took}{errors}{_after(before)}{says}"


def _after(before: Iterable[str]) -> str:
    listed = ", ".join(dict.fromkeys(before))
    return f", after {listed}" if listed else ""


def _time(run: RunModel, now_ms: int) -> Iterator[str]:
    start, now_ms = run.started_ms or run.submitted_ms or 0, run.measured(now_ms)
    for node in run.nodes.values():
        for number, (began, ended) in enumerate(node.lanes, start=1):
            end = "is under way" if ended is None and run.ended_ms is None else f"took {span((ended or run.ended_ms or now_ms) - began)}"
            yield f"{node.name}, attempt {number}: began after {span(began - start)}, {end}"


def _ladder(run: RunModel, _now_ms: int) -> Iterator[str]:
    if run.gone:
        yield f"{run.gone} older ones are not kept here: `rlp trace {run.run_id[:8]}` has them"
    for number, each in enumerate(run.crossings.values(), start=run.gone + 1):
        took = "" if each.ms() is None else f", {each.ms()} ms"
        yield f"{number}. {each.name} of {each.node} at {clock_ms(each.asked_ms)}: {each.state}{took}: {content(each)[:_CONTENT]}"


def _log(run: RunModel, _now_ms: int) -> Iterator[str]:
    if run.log_gone:
        yield f"{run.log_gone} older ones are not kept here: `rlp logs {run.run_id[:8]}` has them"
    for each in run.log:
        yield from (f"{clock_ms(each.ts_ms)} {each.level} {each.node} {text}".replace("  ", " ", 1) for text in each.text.split("\n"))


def _inbox(board: Board, viewing: Viewing, now_ms: int) -> Iterator[str]:
    listed = [(number, each) for number, each in enumerate(board.waiting(), start=1) if board.asks(each, viewing.filters.get("Inbox", ""))]
    for number, each in listed:
        what = each["question"] if each["type"] == "question" else f"{each['action']} to {', '.join(each['recipients']) or 'nobody named'}"
        age = span(now_ms - each["asked_ms"])
        yield f"{number}. {each['type']} of {each['agent']}, node {each['node']}, run {each['run_id'][:8]}, for {age}: {what}"
    if board.approvals and not listed:
        yield "nothing that waits has these words"
    else:
        yield "`show N` says exactly what would leave" if listed else "nothing waits for a person"


def _metrics(board: Board, _viewing: Viewing, _now_ms: int) -> Iterator[str]:
    yield daemon_line(board)
    for name, each_of in GROUPS:
        yield f"{name.lower()}: " + ", ".join(f"{each[0]} {measured(board.series, each)}" for each in each_of)


def _library(board: Board, _viewing: Viewing, _now_ms: int) -> Iterator[str]:
    for each in board.library.get("entries", ()):
        version = f" {each['version']}" if each.get("version") else ""
        yield f"{each['what']} {each['name']}{version}: {load_state(each)}"
        yield from (text for text, _ in library_remarks(each))
    yield from reversed(board.events)


_OF_A_RUN: Final[Mapping[str, Callable[[RunModel, int], Iterable[str]]]] = {"Plan": _plan, "Time": _time, "Ladder": _ladder, "Log": _log}
_OF_ALL: Final[Mapping[str, Callable[[Board, Viewing, int], Iterable[str]]]] = {
    "Runs": _runs,
    "Inbox": _inbox,
    "Metrics": _metrics,
    "Library": _library,
}
