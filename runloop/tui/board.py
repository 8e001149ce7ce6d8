"""Everything that agtop knows: runs, what waits for a person, what was measured, how the daemon is. A pure fold; feeds fill it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any, Final

from runloop.dataclass import dataclass
from runloop.tui.model import ENDED, Record, RunModel, gap, listed, take
from runloop.tui.series import Series

MAX_RUNS: Final = 1_000
"""Runs that are kept; of those that ended the oldest go first."""
_QUIET_MS: Final = 5_000
"""A daemon that is busy may be silent so long."""
SORTS: Final = ("newest", "state", "opening", "elapsed", "tokens", "cost")
_STATE_ORDER: Final = {"waiting": 0, "running": 1, "paused": 2, "queued": 3, "unfinished": 4, "failed": 5, "cancelled": 6, "succeeded": 7}


@dataclass(slots=True)
class Board:
    """The state of the monitor. ``version`` moves with every change; ``link`` says how the connection is."""

    runs: dict[str, RunModel] = field(default_factory=dict)
    approvals: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    status: Mapping[str, Any] = field(default_factory=dict)
    library: Mapping[str, Any] = field(default_factory=dict)
    series: Series = field(default_factory=Series)
    events: list[str] = field(default_factory=list)
    """What the daemon said of itself (reloads, drops, its state), newest last."""
    link: str = ""
    lost: bool = False
    """Whether there is no connection; ``link`` says why then, and what to do about it."""
    heard_ms: int | None = None
    """When the daemon was heard last, of one that is followed."""
    looked_at: str | None = None
    """The run that somebody looks at, which is kept however old it is."""
    older: bool = False
    """Whether there are older runs than those that are listed."""
    version: int = 0

    def take(self, record: Record) -> bool:
        """Take a run record; False where records before it are missing and have to be fetched."""
        run = self.run(record["run_id"])
        if gap(run, record):
            return False
        if take(run, record):
            self.version += 1
        return True

    def run(self, run_id: str) -> RunModel:
        """The run of an id, made where it is new."""
        found = self.runs.get(run_id)
        if found is None:
            found = self.runs[run_id] = RunModel(run_id)
            self._bound(run_id)
        return found

    def list_runs(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take the daemon's list."""
        for row in rows:
            listed(self.runs.setdefault(row["run_id"], RunModel(row["run_id"])), row)
        self._bound()
        self.version += 1

    def list_approvals(self, shown: Iterable[Mapping[str, Any]]) -> None:
        """What is open, all of it."""
        self.approvals = {each["approval_id"]: each for each in shown}
        self.version += 1

    def ask(self, shown: Mapping[str, Any]) -> None:
        """Something was opened or closed."""
        if shown["state"] == "open":
            self.approvals[shown["approval_id"]] = shown
        else:
            self.approvals.pop(shown["approval_id"], None)
        self.version += 1

    def measure(self, snapshot: Mapping[str, Any]) -> None:
        """Take a snapshot of the daemon's metrics."""
        self.series.take(snapshot)
        self.version += 1

    def tell(self, text: str) -> None:
        """The daemon said something of itself."""
        self.events = [*self.events[-199:], text]
        self.version += 1

    def know(self, status: Mapping[str, Any] | None = None, library: Mapping[str, Any] | None = None, link: str | None = None) -> None:
        """How the daemon is, what it has loaded, how the connection is."""
        self.lost = False
        self.status = self.status if status is None else status
        self.library = self.library if library is None else library
        self.link = self.link if link is None else link
        self.version += 1

    def lose(self, link: str) -> None:
        """There is no connection."""
        self.know({}, link=link)
        self.lost, self.heard_ms = True, None

    def silent_ms(self, now_ms: int) -> int | None:
        """How long a daemon that is followed has said nothing, where it should have: it measures itself every so often."""
        quiet = 0 if self.heard_ms is None else abs(now_ms - self.heard_ms)  # the clock may be put back
        return quiet if quiet > max(_QUIET_MS, 3 * self.series.interval_ms) else None

    def active(self) -> list[RunModel]:
        """Runs without an end."""
        return [run for run in self.runs.values() if run.state not in ENDED]

    def waiting(self) -> list[Mapping[str, Any]]:
        """What waits for a person, oldest first."""
        return sorted(self.approvals.values(), key=lambda each: each["asked_ms"])

    def asks(self, shown: Mapping[str, Any], words: str) -> bool:
        """Whether all the words are in what is asked: who asks, what kind it is, and all that would leave."""
        run = self.runs.get(shown["run_id"])
        named = (shown["run_id"], shown["type"], shown["node"], shown["agent"], "" if run is None else run.opening)
        if shown["type"] == "question":
            said = (shown["question"], shown.get("detail") or "", *shown["options"])
        else:
            said = (shown["action"], *shown["recipients"], shown["what"])
        text = "\n".join((*named, *map(str, said))).casefold()
        return all(word in text for word in words.casefold().split())

    def named(self, beginning: str) -> list[str]:
        """The ids of the runs whose id, or trace id, begins so; a trace id is ``trace:`` and the run's."""
        start = beginning.casefold().removeprefix("trace:")
        return [run_id for run_id in self.runs if start and run_id.startswith(start)]

    def _bound(self, new: str | None = None) -> None:
        """Let the oldest runs that ended go; not the one that somebody looks at, nor a ``new`` one, of which nothing is known yet."""
        too_many = len(self.runs) - MAX_RUNS
        if too_many <= 0:
            return
        ended = (run for run in self.runs.values() if run.state in ENDED and run.run_id not in {self.looked_at, new})
        for run in sorted(ended, key=_age, reverse=True)[:too_many]:
            del self.runs[run.run_id]


def _age(run: RunModel) -> tuple[float, str]:
    """Sorts the newest first, in the ledger's order; a run of which no record is known has just come."""
    return -math.inf if run.first_event is None else -run.first_event, run.run_id


def matches(run: RunModel, words: str) -> bool:
    """Whether every word is in its id, opening, state, wait or reason; ``state:waiting`` and ``opening:letter`` look at one of them."""
    state = run.shown_state
    whole = f"{run.run_id} {run.opening} {state} {run.waits_for} {run.why}".casefold()
    for word in words.casefold().split():
        key, colon, value = word.partition(":")
        if colon and key in {"state", "opening"}:
            if value not in (state if key == "state" else run.opening.casefold()):
                return False
        elif word not in whole:
            return False
    return True


def arranged(runs: Iterable[RunModel], words: str, sort: str, now_ms: int, *, reverse: bool = False) -> Sequence[RunModel]:
    """The runs that match, in the order of ``sort`` (one of SORTS), newest first within it."""
    found = sorted((run for run in runs if matches(run, words)), key=_age)
    if sort == "state":
        found.sort(key=lambda run: _STATE_ORDER.get(run.shown_state, 9))
    elif sort == "opening":
        found.sort(key=lambda run: run.opening)
    elif sort == "elapsed":
        found.sort(key=lambda run: -(run.elapsed_ms(now_ms) or 0))
    elif sort == "tokens":
        found.sort(key=lambda run: -(run.spent_tokens() or 0))
    elif sort == "cost":
        found.sort(key=lambda run: -(run.spent_usd() or 0.0))
    return found[::-1] if reverse else found
