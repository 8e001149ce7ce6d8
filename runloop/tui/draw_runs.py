"""The lists: runs, and what waits for a person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from runloop.text import clean_line, lookalikes, span, with_time_left
from runloop.tui.board import Board, arranged
from runloop.tui.changing import MEANS, Change
from runloop.tui.model import RunModel
from runloop.tui.page import NOTHING, Column, Page, Row, cells, count, header, line, money, paragraphs, state_piece, widths

RUN_COLUMNS: Final = (
    Column("run", 8),
    Column("opening", 13, grows=1),
    Column("state", 11),
    Column("nodes", 5, right=True, first_out=2),
    Column("elapsed", 7, right=True, first_out=1),
    Column("waits for", 16, grows=4),
    Column("tokens", 6, right=True, first_out=3),
    Column("cost", 8, right=True, first_out=4),
)
_HEADINGS: Final = {"newest": "run", "state": "state", "opening": "opening", "elapsed": "elapsed", "tokens": "tokens", "cost": "cost"}
SORT_OF: Final = {heading: sort for sort, heading in _HEADINGS.items()}
"""The order that a heading stands for."""
_HELD: Final = frozenset({"paused", "unfinished"})
ASKED_COLUMNS: Final = (
    Column("run", 8, first_out=1),
    Column("opening", 24, first_out=5),
    Column("type", 8, first_out=3),
    Column("node", 10, grows=1, first_out=4),
    Column("age", 7, right=True, first_out=2),
    Column("what", 20, grows=6),
)


def runs_page(board: Board, width: int, now_ms: int, *, words: str = "", sort: str = "newest", reverse: bool = False) -> Page:
    """The table of runs."""
    runs = arranged(board.runs.values(), words, sort, now_ms, reverse=reverse)
    columns = [replace(each, first_out=0) if each.name == _HEADINGS[sort] else each for each in _run_columns(runs)]  # the order is seen
    sizes = widths(columns, width)
    head, places = header(columns, sizes, _HEADINGS[sort], "▲" if reverse else "▼")
    rows = [_run_row(run, columns, sizes, now_ms) for run in runs]
    if not rows:
        rows = _no_runs(board, width, filtered=bool(words))
    return Page((head,), tuple(rows), title="Runs", columns=places)


def _no_runs(board: Board, width: int, *, filtered: bool) -> list[Row]:
    if board.lost and not board.runs:
        return paragraphs(clean_line(board.link), width, "error")
    if not board.link:
        return [line("nothing is known yet", "dim")]
    return [line("no runs match the filter" if filtered else "no runs yet: `rlp run OPENING` begins one", "dim")]


def _run_columns(runs: Iterable[RunModel]) -> list[Column]:
    """The columns, that of nodes as wide as the longest count: half of a count says something else."""
    widest = max((len(_progress(run)) for run in runs), default=0)
    return [replace(each, least=max(each.least, widest)) if each.name == "nodes" else each for each in RUN_COLUMNS]


def _progress(run: RunModel) -> str:
    return NOTHING if run.progress is None else "{}/{}".format(*run.progress)


def _run_row(run: RunModel, columns: Sequence[Column], sizes: Sequence[int], now_ms: int) -> Row:
    state = run.shown_state
    waits = with_time_left(run.waits_for, run.until_ms, now_ms)
    values = (
        (run.run_id[:8], "accent"),
        (run.opening, ""),
        state_piece(state),
        (_progress(run), ""),
        (span(run.elapsed_ms(now_ms)), ""),
        (waits or run.why, "waiting" if waits else "error" if state == "failed" else "dim"),
        (count(run.spent_tokens()), ""),
        (money(run.spent_usd()), ""),
    )
    return cells(columns, sizes, values, run.run_id)


def change_lines(change: Change, board: Board, now_ms: int, width: int) -> list[Row]:
    """What a change is about, as far as it is known here, and what it does."""
    if change.run_id is None:
        runs = [run for run in arranged(board.active(), "", "newest", now_ms) if change.verb != "resume" or run.state in _HELD]
        rows = [line(f"{change.verb} every run: {len(runs)} {'is' if len(runs) == 1 else 'are'} known here", "bold")]
    else:
        runs = [run for run in (board.runs.get(change.run_id),) if run is not None]
        rows = paragraphs(f"{change.verb} run {change.run_id}", width, "bold")
    rows += [line(""), *paragraphs(MEANS[change.verb], width), line("")]
    if runs:
        columns = _run_columns(runs)
        sizes = widths(columns, width)
        rows += [header(columns, sizes)[0], *(replace(_run_row(run, columns, sizes, now_ms), key=None) for run in runs)]
    given = [each for run in runs for each in run.params.items()] if change.run_id is not None else []
    for name, value in given:
        rows += paragraphs(f"{name}: {value}", width, "dim", indent="  ")
    return rows


def approvals_page(board: Board, width: int, now_ms: int, *, words: str = "") -> Page:
    """The inbox: what waits for a person, oldest first, or what of that has these words in all that is asked."""
    sizes = widths(ASKED_COLUMNS, width)
    head, places = header(ASKED_COLUMNS, sizes)
    rows = [_asked_row(shown, board.runs.get(shown["run_id"]), sizes, now_ms) for shown in board.waiting() if board.asks(shown, words)]
    none = "nothing that waits matches the filter" if words and board.approvals else "nothing waits for a person"
    hint = line("Enter shows exactly what would leave; it is decided there.", "dim")
    return Page((hint, head), tuple(rows or [line(none, "dim")]), title="Inbox", columns=places)


def _asked_row(shown: Mapping[str, Any], run: RunModel | None, sizes: Sequence[int], now_ms: int) -> Row:
    question = shown["type"] == "question"
    what = shown["question"] if question else f"{shown['action']} to {', '.join(shown['recipients']) or 'nobody named'}"
    values = (
        (shown["run_id"][:8], "accent"),
        (run.opening if run is not None else NOTHING, ""),
        (shown["type"], "waiting"),
        (shown["node"], ""),
        (span(now_ms - shown["asked_ms"]), ""),
        (what, "bold"),
    )
    return cells(ASKED_COLUMNS, sizes, values, shown["approval_id"])


def asked_lines(shown: Mapping[str, Any], width: int, *, drawn: bool = True) -> list[Row]:
    """Everything that a decision is about, whole: nothing is cut, nothing is masked, nothing in it can drive the terminal.

    What would leave stands in a frame, or where nothing is drawn in lines that begin with four blanks: nothing in it can pass for ours.
    """
    question = shown["type"] == "question"
    frame = "│ " if drawn else "    "
    who = f"{'Question' if question else 'Approval'} of {shown['agent']}, node {shown['node']}, run {shown['run_id']}"
    rows = paragraphs(clean_line(who), width, "bold")
    if question:
        rows += [line(""), *paragraphs(shown["question"], width, "bold", indent=frame)]
        if shown.get("detail"):
            rows += [Row(((frame, "dim"),)), *paragraphs(shown["detail"], width, indent=frame)]
        for number, option in enumerate(shown["options"], start=1):
            rows += _numbered(number, option, width)
        if shown.get("default") is not None:
            rows += paragraphs(f"without an answer: {clean_line(shown['default'])}", width, "dim")
        return rows
    rows += paragraphs(f"action   {clean_line(shown['action'])}", width)
    rows += _named("to       ", shown["recipients"], width)
    for each in shown["recipients"]:
        if odd := lookalikes(each):
            rows += paragraphs(f"careful  {each}: {', '.join(odd)}", width, "error")
    rows += _named("content from outside: ", shown["taint"], width, "error")
    rows += paragraphs(f"because  {shown['reason']}", width)
    if not drawn:
        return [*rows, line("exactly this:"), *paragraphs(str(shown["what"]), width, indent=frame), line("that is all of it")]
    rows.append(Row((("┌─ exactly this " + "─" * max(0, width - 16), "dim"),)))
    rows += paragraphs(str(shown["what"]), width, "bold", indent=frame)
    rows.append(Row((("└" + "─" * max(0, width - 2), "dim"),)))
    return rows


def _numbered(number: int, option: str, width: int) -> list[Row]:
    """An option, whole; nothing in it can pass for another one."""
    mark = f"  {number}) "
    first, *rest = paragraphs(clean_line(option), width, indent=" " * len(mark))
    return [Row(((mark, ""), first.pieces[1])), *rest]


def _named(label: str, values: Iterable[str], width: int, style: str = "") -> list[Row]:
    listed = ", ".join(values)
    return paragraphs(f"{label}{clean_line(listed)}", width, style) if listed else []
