"""The live view of a run on a terminal: a model folded from run records, and its drawing with Rich."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any

from runloop.cli.output import FALLBACK_WIDTH, clean_line, display_width
from runloop.cli.times import span
from runloop.dataclass import dataclass
from runloop.text import awaited

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

_HEADINGS = ("", "node", "agent", "try", "time", "")
_WIDEST = 26
"""Columns that a name may take before it is cut; the rest of the line is for what the node says."""
_GAP = 2
_WRITTEN = 500
"""Characters that are kept of an answer that is still coming: the newest, since only its end is shown."""

_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_STATE_STYLE = {
    "pending": "dim",
    "ready": "dim",
    "running": "cyan",
    "waiting": "yellow",
    "ok": "green",
    "error": "red bold",
    "skipped": "dim",
    "cancelled": "magenta",
}
_STATE_MARK = {"pending": "·", "ready": "·", "waiting": "⏸", "ok": "✔", "error": "✘", "skipped": "–", "cancelled": "■"}
_WAITS_FOR = {
    "model.complete": "the model",
    "model.embed": "the model",
    "ask.person": "a person",
    "mail.send": "the mail",
    "http.fetch": "the network",
    "exec.run": "a command",
    "timer.sleep": "a timer",
    "spawn.agent": "an agent",
    "spawn.opening": "an opening",
}


@dataclass(slots=True)
class NodeRow:
    """What is shown of one node; times in epoch milliseconds."""

    name: str
    agent: str
    state: str = "pending"
    attempt: int = 0
    started_ms: int | None = None
    ended_ms: int | None = None
    calls: dict[int, str] = field(default_factory=dict)
    written: dict[int, str] = field(default_factory=dict)
    """The end of each answer that is still coming, by its call."""
    approving: str | None = None
    note: str = ""
    tokens: int = 0
    items: dict[str, str] = field(default_factory=dict)
    """The states of its items, where it has any, by their names."""

    @property
    def detail(self) -> str:
        """What the node waits for, else its latest words."""
        if self.approving is not None:
            return f"waits for {self.approving}"
        if self.state == "running" and self.calls:
            name = next(reversed(self.calls.values()))
            return f"waits for {_WAITS_FOR.get(name, name)}"
        return self.note or self.progress

    @property
    def progress(self) -> str:
        """How far its items are: ``3 done, 1 failed, 2 at work``."""
        states = list(self.items.values())
        counts = ("done", states.count("ok")), ("failed", states.count("error")), ("at work", states.count("running"))
        return ", ".join(f"{count} {word}" for word, count in counts if count)

    @property
    def coming(self) -> str:
        """The end of the answer that the node waits for, on one line; empty where it waits for something else or nothing has come."""
        if self.approving is not None or self.state != "running" or not self.calls:
            return ""
        return " ".join(self.written.get(next(reversed(self.calls)), "").split())

    def elapsed_ms(self, now_ms: int) -> int | None:
        """Milliseconds since the node's first attempt began, until it ended."""
        if self.started_ms is None:
            return None
        return max(0, (self.ended_ms or now_ms) - self.started_ms)


class RunView:
    """Folds run records, in order, into the rows of the view."""

    def __init__(self, nodes: Iterable[tuple[str, str]]) -> None:
        self.rows = {name: NodeRow(name, agent) for name, agent in nodes}
        self.name = ""
        self.run_id = ""
        self.started_ms: int | None = None
        self.finished: Mapping[str, Any] | None = None
        self.hints: dict[str, str] = {}
        """What was said to be done about the calls and attempts that failed, by code."""

    def feed(self, record: Mapping[str, Any]) -> None:
        """Take one run record; kinds that the view does not show are passed over."""
        kind, meta, ts_ms = record["kind"], record["meta"], record["ts_ms"]
        self.run_id, self.name = record["run_id"], record["opening_name"]
        if kind == "run.started":
            self.started_ms = ts_ms
        elif kind == "run.finished":
            self.finished = record
        elif kind in ("effect.failed", "node.finished") and (hint := (error := meta.get("error") or {}).get("hint")):
            self.hints[error["code"]] = hint
        node = meta.get("node", "")
        row, whole = self.rows.get(node), self.rows.get(node.partition("[")[0])
        if row is not None:
            _feed_row(row, kind, meta, ts_ms)
        elif whole is not None:
            _feed_item(whole, kind, meta, ts_ms)


def _feed_row(row: NodeRow, kind: str, meta: Mapping[str, Any], ts_ms: int) -> None:
    match kind:
        case "node.ready":
            row.state = "ready"
        case "node.started":
            row.state, row.attempt, row.note, row.ended_ms = "running", meta["attempt"], "", None
            row.calls.clear()
            row.written.clear()
            row.started_ms = ts_ms if row.started_ms is None else row.started_ms
        case "effect.requested":
            row.calls[meta["call"]] = meta["name"]
        case "effect.delta":
            before = row.written.get(meta["call"], "") if meta.get("at") else ""
            row.written[meta["call"]] = (before + meta["text"])[-_WRITTEN:]
        case "effect.completed" | "effect.failed" | "effect.unknown":
            row.calls.pop(meta["call"], None)
            row.written.pop(meta["call"], None)
            row.tokens += (meta.get("tokens_in") or 0) + (meta.get("tokens_out") or 0)
        case "approval.requested":
            row.approving = awaited(meta["approval_id"], meta.get("action"))
        case "approval.decided" | "approval.expired":
            row.approving = None
        case "node.progress" | "node.log":
            row.note = _first_line(meta.get("text")) or row.note
        case "node.finished":
            row.state, row.ended_ms, row.approving = meta["status"], ts_ms, None
            row.calls.clear()
            row.written.clear()
            error = meta.get("error")
            row.note = _first_line(error["message"]) if error else row.note
        case _:
            pass


def _feed_item(row: NodeRow, kind: str, meta: Mapping[str, Any], ts_ms: int) -> None:
    """One of the items of a node."""
    match kind:
        case "node.started":
            row.state, row.attempt, row.note, row.ended_ms = "running", row.attempt or 1, "", None
            row.started_ms = ts_ms if row.started_ms is None else row.started_ms
            row.items[meta["node"]] = "running"
        case "node.finished":
            row.items[meta["node"]] = "ready" if meta.get("retry_ms") is not None else meta["status"]
        case "effect.completed" | "effect.failed" | "effect.unknown":
            row.tokens += (meta.get("tokens_in") or 0) + (meta.get("tokens_out") or 0)
        case "approval.requested":
            row.approving = awaited(meta["approval_id"], meta.get("action"))
        case "approval.decided" | "approval.expired":
            row.approving = None
        case _:
            pass


def _first_line(text: object) -> str:
    return next((line for line in str(text or "").splitlines() if line.strip()), "")


def draw(view: RunView, now_ms: int, width: int = FALLBACK_WIDTH) -> RenderableType:
    """The view as a Rich table; ``now_ms`` drives the elapsed times and the spinner, ``width`` how much of a coming answer is shown."""
    from rich.table import Table
    from rich.text import Text

    elapsed = None if view.started_ms is None else (view.finished or {}).get("ts_ms", now_ms) - view.started_ms
    table = Table(box=None, padding=(0, _GAP, 0, 0), title_justify="left", show_header=True, header_style="dim")
    table.title = Text(f"{clean_line(view.name)}  {view.run_id[:8]}  {span(elapsed)}", style="bold")
    cells = [_cells(row, now_ms) for row in view.rows.values()]
    room = width - _GAP
    for position, heading in enumerate(_HEADINGS[:-1]):
        widest = max(len(heading), *(len(row[position].plain) for row in cells))
        table.add_column(heading, no_wrap=True, overflow="ellipsis", min_width=min(widest, _WIDEST))
        room -= min(widest, _WIDEST) + _GAP
    table.add_column(_HEADINGS[-1], no_wrap=True, overflow="ellipsis")
    for row, shown in zip(view.rows.values(), cells, strict=True):
        last = Text(_tail(clean_line(row.coming), room)) if row.coming else shown[-1]
        last.truncate(max(1, room), overflow="ellipsis")  # a longer one would take its columns from the others, marks and times first
        table.add_row(*shown[:-1], last)
    return table


def _tail(text: str, room: int) -> str:
    """The end of a line, in at most ``room`` columns."""
    if display_width(text) <= room:
        return text
    start, left = len(text), room - display_width("…")
    while start and (left := left - display_width(text[start - 1])) >= 0:
        start -= 1
    return f"…{text[start:]}"


def _cells(row: NodeRow, now_ms: int) -> tuple[Text, ...]:
    from rich.text import Text

    style = _STATE_STYLE.get("waiting" if row.approving else row.state, "")
    mark = _STATE_MARK.get(row.state, "⏸")
    if row.approving:
        mark = "⏸"
    elif row.state == "running":
        mark = _SPINNER[now_ms // 100 % len(_SPINNER)]
    return (
        Text(mark, style=style),
        Text(clean_line(row.name), style=style),
        Text(clean_line(row.agent), style="dim"),
        Text(str(row.attempt or "")),
        Text(span(row.elapsed_ms(now_ms)) if row.attempt else ""),
        Text(clean_line(row.detail or ("skipped" if row.state == "skipped" else "")), style="red" if row.state == "error" else "dim"),
    )
