"""The daemon: what it measures, what it has loaded, what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from runloop import __version__
from runloop.text import span
from runloop.tui.board import Board
from runloop.tui.page import NOTHING, Column, Page, Row, cells, count, header, line, paragraphs, size, widths
from runloop.tui.series import Series, sparkline

GAUGE, RATE, TOTAL = "gauge", "rate", "total"
GROUPS: Final[tuple[tuple[str, tuple[tuple[str, str, str, str], ...]], ...]] = (
    (
        "BUS",
        (
            ("frames in", RATE, "msgs_recv_total", "/s"),
            ("copies out", RATE, "msgs_sent_total", "/s"),
            ("dropped", RATE, "msgs_dropped_total", "/s"),
            ("fullest queue", GAUGE, "bus_queue_depth_max", ""),
            ("queued", GAUGE, "bus_queued", ""),
            ("connections", GAUGE, "bus_connections", ""),
        ),
    ),
    (
        "WORKERS",
        (
            ("processes", GAUGE, "workers", ""),
            ("guests", GAUGE, "agents_running", ""),
            ("nodes at work", GAUGE, "nodes_at_work", ""),
            ("nodes waiting", GAUGE, "nodes_waiting", ""),
            ("lost", TOTAL, "workers_lost_total", ""),
            ("processor", RATE, "cpu_seconds_total", "%"),
            ("memory", GAUGE, "rss_total_bytes", "B"),
        ),
    ),
    (
        "MODELS",
        (
            ("calls", RATE, "broker_calls_total", "/s"),
            ("from cache", TOTAL, "cache_hits_total", ""),
            ("prompt tokens", RATE, "tokens_prompt_total", "/s"),
            ("answer tokens", RATE, "tokens_completion_total", "/s"),
            ("cost", TOTAL, "usd_micros_total", "$"),
            ("refused calls", TOTAL, "cap_denied_total", ""),
        ),
    ),
    (
        "RUNS",
        (
            ("running", GAUGE, "runs_running", ""),
            ("queued", GAUGE, "runs_queued", ""),
            ("parked", GAUGE, "runs_parked", ""),
            ("succeeded", TOTAL, "runs_succeeded_total", ""),
            ("failed", TOTAL, "runs_failed_total", ""),
            ("approvals open", GAUGE, "approvals_open", ""),
        ),
    ),
    (
        "LEDGER",
        (
            ("events", TOTAL, "ledger_events_total", ""),
            ("written", RATE, "ledger_events_total", "/s"),
            ("size", GAUGE, "ledger_bytes", "B"),
        ),
    ),
)
LIBRARY_COLUMNS: Final = (
    Column("what", 8),
    Column("name", 14, grows=2),
    Column("version", 9),
    Column("digest", 12, first_out=1),
    Column("state", 18, grows=4),
)


def metrics_page(board: Board, width: int, now_ms: int, *, ascii_only: bool = False) -> Page:
    """What the daemon measures, each with its last minutes; a dash where nobody measured."""
    columns = 2 if width >= 150 else 1
    room = width // columns - 2
    blocks = [[line(f"── {name} ", "head"), *(_measured(board, each, room, ascii_only) for each in each_of)] for name, each_of in GROUPS]
    if columns == 1:
        rows = [row for block in blocks for row in block]
    else:
        left: list[Row] = []
        right: list[Row] = []
        for block in blocks:
            (left if len(left) <= len(right) else right).extend(block)
        rows = [_beside(left, right, at, room) for at in range(max(len(left), len(right)))]
    age = board.series.ts_ms
    told = "nothing was measured yet" if age is None else f"measured {span(max(0, now_ms - age))} ago"
    return Page((line(f"{daemon_line(board)}  {told}", "bold"),), tuple(rows), title="Metrics")


def _measured(board: Board, each: tuple[str, str, str, str], room: int, ascii_only: bool) -> Row:
    label, kind, name, _ = each
    series = board.series
    history = series.rates.get(name, ()) if kind != GAUGE else series.gauges.get(name, ())
    width = max(0, min(60, room - 30))
    return Row(
        ((f"{label:<16}", ""), (f"{measured(series, each):>12}  ", "bold"), (sparkline(history, width, ascii_only=ascii_only), "bar"))
    )


def measured(series: Series, each: tuple[str, str, str, str]) -> str:
    """A line of GROUPS as it is now, with its unit; a dash where nobody measured."""
    _, kind, name, unit = each
    value = series.gauge(name) if kind == GAUGE else series.rate(name) if kind == RATE else series.totals.get(name)
    if value is None:
        return NOTHING
    if unit == "B":
        return size(value)
    if unit == "%":
        return f"{100 * value:.1f} %"
    if unit == "$":
        return f"${value / 1e6:.4f}"
    return f"{count(value, digits=1 if kind == RATE else 0)}{' ' + unit if unit else ''}"


def _beside(left: Sequence[Row], right: Sequence[Row], at: int, room: int) -> Row:
    empty = Row(())
    first = left[at] if at < len(left) else empty
    used = sum(len(text) for text, _ in first.pieces)
    return Row((*first.pieces, (" " * max(0, room + 2 - used), ""), *(right[at] if at < len(right) else empty).pieces))


def daemon_line(board: Board) -> str:
    """The daemon in a line."""
    status = board.status
    if not status:
        return board.link or "no daemon"
    up_ms = max(status["uptime_ms"], round(1000 * (board.series.gauge("uptime_seconds") or 0)))
    other = "" if status["version"] == __version__ else f"; {__version__} is installed and counts for it after a restart"
    return f"runloopd {status['version']}: {status['state']}, process {status['pid']}, up {span(up_ms)}{other}"


def library_page(board: Board, width: int) -> Page:
    """Agents and openings with their versions, and what could not be loaded with the reason."""
    sizes = widths(LIBRARY_COLUMNS, width)
    head, places = header(LIBRARY_COLUMNS, sizes)
    rows: list[Row] = []
    for each in board.library.get("entries", ()):
        rows.append(_entry(each, sizes))
        rows += [row for text, style in library_remarks(each) for row in paragraphs(f"  {text}", width, style)]
    for problem in board.status.get("problems", ()):
        if problem["what"] == "config":
            rows += paragraphs(f"configuration: {problem['error']['message']} [{problem['error']['code']}]", width, "error")
    if board.status.get("version", __version__) != __version__:
        rows += paragraphs(daemon_line(board), width, "waiting")
    if board.status.get("needs_restart"):
        rows += paragraphs(f"needs a restart to count: {', '.join(board.status['needs_restart'])}", width, "waiting")
    rows += [line(f"native agent {name}") for name in board.status.get("native_agents", ())]
    if board.events:
        rows += [
            line(""),
            line("── what the daemon said ", "head"),
            *(row for text in reversed(board.events) for row in paragraphs(text, width)),
        ]
    return Page((head,), tuple(rows or [line("nothing is known of agents and openings here", "dim")]), title="Library", columns=places)


def load_state(each: Mapping[str, Any]) -> str:
    """What became of an agent or opening."""
    if not each.get("error"):
        return "loaded"
    return "broken" if each.get("digest") is None else "broken; the last good version serves"


def library_remarks(each: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is wrong with it and what to do, each with its style; nothing where it was loaded."""
    error = each.get("error")
    if not error:
        return []
    told = [(f"{error['message']} [{error['code']}]{_place(error)}", "error")]
    return [*told, (f"hint: {error['hint']}", "dim")] if error.get("hint") else told


def _entry(each: Mapping[str, Any], sizes: Sequence[int]) -> Row:
    values = (
        (each["what"], "dim"),
        (each["name"], "bold"),
        (each.get("version") or NOTHING, ""),
        ((each.get("digest") or NOTHING)[:12], "dim"),
        (load_state(each), "error" if each.get("error") else "ok"),
    )
    return cells(LIBRARY_COLUMNS, sizes, values, f"{each['what']}:{each['name']}")


def _place(error: Mapping[str, Any]) -> str:
    where = error.get("where") or {}
    if not isinstance(where, Mapping) or not where.get("file"):
        return ""
    return f" at {where['file']}" + (f":{where['line']}" if where.get("line") else "")
