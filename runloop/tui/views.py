"""The views, in their order, and what each draws: data for the screen, for ``--plain`` and for the help."""

from __future__ import annotations

from dataclasses import field
from typing import Final

from runloop.dataclass import dataclass
from runloop.text import clean_line, display_width, fitted, span
from runloop.tui.board import Board
from runloop.tui.draw_daemon import library_page, metrics_page
from runloop.tui.draw_run import NO_RUN, ladder_page, log_page, plan_page, timeline_page
from runloop.tui.draw_runs import approvals_page, runs_page
from runloop.tui.model import ENDED
from runloop.tui.page import Page, Row, fitting, line
from runloop.tui.ports import Hit

NAMES: Final = ("Runs", "Plan", "Time", "Ladder", "Log", "Inbox", "Metrics", "Library", "Search")
OF_A_RUN: Final = frozenset({"Plan", "Time", "Ladder", "Log"})
FILTERED: Final = frozenset({"Runs", "Ladder", "Log", "Inbox"})
"""Views with a filter, each its own."""
_WHY_LOST: Final = 12
"""Columns from which on it is worth to begin saying why there is no connection."""
KEYS: Final = (
    ("1 to 9", "go to a view"),
    ("Tab, Shift+Tab", "the next view, the one before"),
    ("Enter", "open the chosen run, node, crossing, approval or hit"),
    ("Esc", "close, or back to Runs"),
    ("↑ ↓ PgUp PgDn Home End", "choose and scroll (also j, k and Space)"),
    ("Ctrl+Home, Ctrl+End", "to the beginning and the end of what would leave"),
    ("/", "filter a list or the log; Enter keeps, Esc clears"),
    ("s, S", "another order; the other way (or click a heading)"),
    (".", "hold the view; what happens is shown afterwards"),
    ("g", "jump to a run by the beginning of its id"),
    ("a", "the oldest approval"),
    ("p, r", "pause the chosen run; resume it"),
    ("x", "cancel the chosen run, after a question"),
    ("P, R", "pause every run; resume every one, after a question"),
    ("w", "why the chosen run, hit or approval is what it is"),
    ("c", "copy the chosen id, or all of an opened sheet"),
    ("!", "clear the log's view"),
    ("t", "another theme"),
    ("Ctrl+P", "commands by name"),
    ("?", "this help"),
    ("q, Ctrl+C, Ctrl+Q", "leave; runs go on (Ctrl+Z: for a while)"),
)


@dataclass(slots=True)
class Viewing:
    """What the person looks at, and how."""

    view: str = "Runs"
    run_id: str | None = None
    filters: dict[str, str] = field(default_factory=dict)
    """The words of each view's filter."""
    sort: str = "newest"
    reverse: bool = False
    cleared: dict[str, int] = field(default_factory=dict)
    searched: str = ""
    hits: tuple[Hit, ...] = ()
    ascii_only: bool = False

    @property
    def words(self) -> str:
        """The filter of the view that is looked at."""
        return self.filters.get(self.view, "")

    @words.setter
    def words(self, words: str) -> None:
        self.filters[self.view] = words


def page_of(board: Board, viewing: Viewing, width: int, now_ms: int) -> Page:
    """The page of the view that is looked at."""
    if viewing.view == "Runs":
        return runs_page(board, width, now_ms, words=viewing.words, sort=viewing.sort, reverse=viewing.reverse)
    if viewing.view == "Inbox":
        return approvals_page(board, width, now_ms, words=viewing.words)
    if viewing.view == "Metrics":
        return metrics_page(board, width, now_ms, ascii_only=viewing.ascii_only)
    if viewing.view == "Library":
        return library_page(board, width)
    if viewing.view == "Search":
        return _search_page(viewing)
    run = board.runs.get(viewing.run_id or "")
    if run is None:
        return NO_RUN
    if viewing.view == "Plan":
        return plan_page(run, width, now_ms, ascii_only=viewing.ascii_only)
    if viewing.view == "Time":
        return timeline_page(run, width, now_ms, ascii_only=viewing.ascii_only)
    if viewing.view == "Ladder":
        return ladder_page(run, width, now_ms, words=viewing.words)
    return log_page(run, width, now_ms, words=viewing.words, cleared=viewing.cleared.get(run.run_id, 0))


def _search_page(viewing: Viewing) -> Page:
    if not viewing.searched:
        return Page(rows=(line("press / and say what you look for: contacts, notes, files, facts, messages, runs", "dim"),), title="Search")
    rows: list[Row] = []
    for hit in viewing.hits:
        told = ((f"{hit.kind:<9} ", "dim"), (clean_line(hit.title), "bold"), (f"  {hit.when}", "dim"))
        rows += [Row(told, hit.key), Row((("          ", ""), (clean_line(hit.excerpt), "")))]
    head = line(f"{len(viewing.hits)} found for {viewing.searched}; Enter says why it is there", "dim")
    return Page((head,), tuple(rows or [line("nothing found", "dim")]), title="Search")


def status_text(board: Board, viewing: Viewing, mode: str, width: int, now_ms: int, *, paused: bool) -> list[tuple[str, str]]:
    """The status bar: mode, run, how much goes on, what waits for the person, what is held or filtered.

    Where there is no room for all of it, what can be seen elsewhere goes first.
    """
    active = board.active()
    agents, queued = board.series.gauge("agents_running"), board.series.gauge("runs_queued")
    waits, run, link = len(board.approvals), viewing.run_id, "" if board.status else board.link
    silent = board.silent_ms(now_ms)
    pieces = [  # text, style, and its place among what goes: the greatest first
        (" NOT CONNECTED ", "error", 0) if board.lost else (f" {mode} ", "head", 0),
        ("" if board.lost else f" {len(active)} of {len(board.runs)}{'+' if board.older else ''} runs active ", "", 5),
        ("" if board.lost else f" agents:{_known(agents)} queue:{_known(queued)} ", "dim", 6),
        (f" run {clean_line(run[:8])} " if run is not None else "", "accent", 4),
        (f" {waits} WAIT FOR YOU (a) " if waits else "", "waiting", 1),
        (f" DAEMON SILENT {span(silent)} " if silent is not None else "", "error", 1),
        (" VIEW PAUSED (.) " if paused else "", "waiting", 1),
        (f" FILTER {clean_line(viewing.words)} " if viewing.words else "", "accent", 2),
        (f" {clean_line(link)} " if link and not board.lost else "", "error" if mode == "LIVE" else "dim", 3),
    ]
    shown = [(text, style) for text, style, _ in fitting((piece for piece in pieces if piece[0]), width)]
    room = width - sum(display_width(text) for text, _ in shown)
    return [*shown, (f" {fitted(clean_line(link), room - 2)} ", "error")] if board.lost and room > _WHY_LOST else shown


def news(board: Board, now_ms: int, *, run_id: str | None, seen: str, decides: str | None) -> str:
    """What somebody has to know who sees nothing but a sheet, of a run that was ``seen`` in a state, on which something is decided."""
    run, silent = board.runs.get(run_id or ""), board.silent_ms(now_ms)
    told = [f"NOT CONNECTED: {board.link}"] if board.lost else [f"DAEMON SILENT {span(silent)}"] if silent is not None else []
    if run is not None and run.state in ENDED and run.state != seen:
        told.append(f"run {run.run_id[:8]} has ended meanwhile: {run.state}")
    elif decides is not None and decides not in board.approvals:
        told.append("somebody decided it meanwhile, or its time was up")
    return "; ".join(map(clean_line, told))


def _known(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"
