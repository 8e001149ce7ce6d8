"""The views, in their order, and what each draws: data for the screen, for ``--plain`` and for the help."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from runloop.text import clean_line
from runloop.tui.board import Board
from runloop.tui.draw_daemon import library_page, metrics_page
from runloop.tui.draw_run import NO_RUN, ladder_page, log_page, plan_page, timeline_page
from runloop.tui.draw_runs import approvals_page, runs_page
from runloop.tui.page import Page, Row, line
from runloop.tui.ports import Hit

NAMES: Final = ("Runs", "Plan", "Time", "Ladder", "Log", "Inbox", "Metrics", "Library", "Search")
OF_A_RUN: Final = frozenset({"Plan", "Time", "Ladder", "Log"})
KEYS: Final = (
    ("1 to 9", "go to a view"),
    ("Tab, Shift+Tab", "the next view, the one before"),
    ("Enter", "open the chosen run, crossing, approval or hit"),
    ("Esc", "close, or back to Runs"),
    ("↑ ↓ PgUp PgDn Home End", "choose and scroll (also j and k)"),
    ("/", "filter runs or the log; Enter keeps, Esc clears"),
    ("s, S", "another order; the other way (or click a heading)"),
    (".", "hold the view; what happens is shown afterwards"),
    ("g", "jump to a run by the beginning of its id"),
    ("a", "the oldest approval"),
    ("w", "why the chosen run or hit is what it is"),
    ("c", "copy the chosen id, or all of an opened sheet"),
    ("!", "clear the log's view"),
    ("t", "another theme"),
    ("Ctrl+P", "commands by name"),
    ("?", "this help"),
    ("q, Ctrl+C", "leave; runs go on"),
)


@dataclass(slots=True)
class Viewing:
    """What the person looks at, and how."""

    view: str = "Runs"
    run_id: str | None = None
    words: str = ""
    sort: str = "newest"
    reverse: bool = False
    cleared: dict[str, int] = field(default_factory=dict)
    searched: str = ""
    hits: tuple[Hit, ...] = ()
    ascii_only: bool = False


def page_of(board: Board, viewing: Viewing, width: int, now_ms: int) -> Page:
    """The page of the view that is looked at."""
    if viewing.view == "Runs":
        return runs_page(board, width, now_ms, words=viewing.words, sort=viewing.sort, reverse=viewing.reverse)
    if viewing.view == "Inbox":
        return approvals_page(board, width, now_ms)
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
        return ladder_page(run, width, now_ms)
    return log_page(run, now_ms, words=viewing.words, cleared=viewing.cleared.get(run.run_id, 0))


def _search_page(viewing: Viewing) -> Page:
    if not viewing.searched:
        return Page(rows=(line("press / and say what you look for: contacts, notes, files, facts, messages, runs", "dim"),), title="Search")
    rows: list[Row] = []
    for hit in viewing.hits:
        told = ((f"{hit.kind:<9} ", "dim"), (clean_line(hit.title), "bold"), (f"  {hit.when}", "dim"))
        rows += [Row(told, hit.key), Row((("          ", ""), (clean_line(hit.excerpt), "")))]
    head = line(f"{len(viewing.hits)} found for {viewing.searched}; Enter says why it is there", "dim")
    return Page((head,), tuple(rows or [line("nothing found", "dim")]), title="Search")


def status_text(board: Board, viewing: Viewing, mode: str, *, paused: bool) -> list[tuple[str, str]]:
    """The status bar: mode, run, how much goes on, what waits for the person, what is held or filtered."""
    active = board.active()
    pieces = [(f" {mode} ", "head"), (f" {len(active)} of {len(board.runs)} runs active ", "")]
    agents, queued = board.series.gauge("agents_running"), board.series.gauge("runs_queued")
    pieces.append((f" agents:{_known(agents)} queue:{_known(queued)} ", "dim"))
    if viewing.run_id is not None:
        pieces.append((f" run {viewing.run_id[:8]} ", "accent"))
    if board.approvals:
        pieces.append((f" {len(board.approvals)} WAIT FOR YOU (a) ", "waiting"))
    if paused:
        pieces.append((" PAUSED (.) ", "waiting"))
    if viewing.words:
        pieces.append((f" FILTER {clean_line(viewing.words)} ", "accent"))
    if not board.status:
        pieces.append((f" {clean_line(board.link)} ", "error" if mode == "LIVE" else "dim"))
    return pieces


def _known(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"
