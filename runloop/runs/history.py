"""A recorded run, read back: what a replay, a trace or a recovery needs, folded from its records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runloop.effects.journal import Crossing, Failure
from runloop.errors import InvalidInput

if TYPE_CHECKING:
    from runloop.events import StoredEvent
    from runloop.kb import Ledger
    from runloop.runs.sources import RunSource

_SHORTEST = 4
_SHOWN = 5


@dataclass(slots=True)
class RecordedAttempt:
    """One attempt as it was recorded; ``status`` is None while it had no end."""

    node: str
    attempt: int
    agent: Mapping[str, Any]
    inputs: Mapping[str, list[Any]]
    start_ms: int
    crossings: list[Crossing] = field(default_factory=list)
    status: str | None = None
    outputs: Mapping[str, list[Any]] | None = None
    outputs_hash: str | None = None
    error: Mapping[str, Any] | None = None


@dataclass(slots=True)
class RecordedRun:
    """A run as it was recorded: how it was started, and its attempts in the order in which they started."""

    run_id: str
    opening_name: str
    submitted: Mapping[str, Any] = field(default_factory=dict)
    attempts: list[RecordedAttempt] = field(default_factory=list)
    status: str | None = None
    reason: str | None = None
    final_hash: str | None = None

    @property
    def seed(self) -> bytes:
        """The run's seed."""
        return bytes.fromhex(self.submitted["seed"])


def find_run(ledger: Ledger, ref: str) -> str:
    """The id of the run that ``ref`` names: an id, ``trace:`` and an id, the beginning of an id, or ``last``.

    Raises:
        InvalidInput: ``run.unknown`` or ``run.ambiguous``.

    """
    text = ref.strip().removeprefix("trace:").lower()
    if text == "last":
        found = ledger.run_ids(limit=1)
    else:
        found = ledger.run_ids(text, limit=_SHOWN) if len(text) >= _SHORTEST and set(text) <= set("0123456789abcdef-") else []
    if not found:
        raise InvalidInput(
            f"there is no run {ref!r}", code="run.unknown", hint="`rlp runs` lists the runs; the first letters of an id, or `last`, do"
        )
    if len(found) > 1:
        listed = ", ".join(run_id[:13] for run_id in found)
        raise InvalidInput(f"{ref!r} begins more than one run: {listed}", code="run.ambiguous", hint="give more letters")
    return found[0]


def run_events(ledger: RunSource, run_id: str) -> Iterator[StoredEvent]:
    """The run's events in order, blobs loaded."""
    return map(ledger.full, ledger.read_run(run_id))


def load_run(ledger: RunSource, run_id: str) -> RecordedRun:
    """Fold the records of one run. Raises InvalidInput ``run.unknown``."""
    run: RecordedRun | None = None
    open_attempts: dict[str, RecordedAttempt] = {}
    for event in run_events(ledger, run_id):
        if "v" not in event.payload:
            continue
        if run is None:
            run = RecordedRun(run_id, event.payload["opening_name"])
        _take(run, open_attempts, event)
    if run is None:
        raise InvalidInput(f"there is no run {run_id}", code="run.unknown", hint="`rlp runs` lists the runs in the ledger")
    return run


def _take(run: RecordedRun, open_attempts: dict[str, RecordedAttempt], event: StoredEvent) -> None:
    meta = event.payload["meta"]
    match event.kind:
        case "run.submitted":
            run.submitted = meta
        case "run.finished":
            run.status, run.reason, run.final_hash = meta["status"], meta.get("reason"), meta.get("final_hash")
        case "node.started":
            attempt = RecordedAttempt(meta["node"], meta["attempt"], meta.get("agent") or {}, meta.get("inputs") or {}, event.ts_ms)
            open_attempts[meta["node"]] = attempt
            run.attempts.append(attempt)
        case "effect.requested":
            crossing = Crossing(meta["call"], meta["name"], meta["args_hash"], answered=False)
            open_attempts[meta["node"]].crossings.append(crossing)
        case "effect.completed" | "effect.failed" | "effect.unknown":
            _answer(open_attempts[meta["node"]], meta, event.ts_ms)
        case "node.finished":
            ended = open_attempts.pop(meta["node"], None)
            if ended is not None:
                ended.status, ended.outputs, ended.error = meta["status"], meta.get("outputs"), meta.get("error")
                ended.outputs_hash = meta.get("outputs_hash")
        case _:
            pass


def _answer(attempt: RecordedAttempt, meta: Mapping[str, Any], ts_ms: int) -> None:
    asked = attempt.crossings[meta["call"] - 1]
    error = meta.get("error")
    failure = (
        None if error is None else Failure(error.get("kind") or "unavailable", error["message"], error.get("hint") or "", error["code"])
    )
    attempt.crossings[meta["call"] - 1] = Crossing(
        asked.call,
        asked.name,
        asked.args_hash,
        result=meta.get("result"),
        failure=failure,
        completed_ms=ts_ms,
        taint=frozenset(meta.get("taint") or ()),
    )
