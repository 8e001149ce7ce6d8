"""Forks: a run that shares the history of another one up to a record, with some of it changed, and goes its own way from there (ADR 5).

Nothing is copied. What a fork has of its parent is read from the parent's records, up to ``forked_from.seq``, with the ``overrides`` of its
own ``run.submitted`` applied. Costs, approvals and pauses of the parent stay the parent's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import structs

from runloop.dataclass import dataclass
from runloop.errors import InvalidInput, Where
from runloop.runs.results import SPAWNS
from runloop.text import GATE

if TYPE_CHECKING:
    from runloop.events import StoredEvent
    from runloop.runs.sources import RunSource

_OWN = frozenset({"run.submitted", "run.waiting", "run.paused", "run.resumed", "run.recovered", "run.clock_set", "run.finished"})
"""Kinds that say something about one run alone, not about what happened in it."""
_OUTCOMES = frozenset({"effect.completed", "effect.failed", "effect.unknown"})
_COSTS: Mapping[str, Any] = {"tokens": 0, "tokens_in": 0, "tokens_out": 0, "usd": 0}
MOST_DIGITS = 18
"""Of a number or a time that the ledger may have."""
Place = tuple[str, int, int]
"""A call: node, attempt, and its number within the attempt."""


@dataclass(frozen=True, slots=True)
class ForkPoint:
    """After which of the parent's records the fork goes its own way, and the answers that it changes."""

    seq: int
    answers: Mapping[Place, Any]


def told_events(source: RunSource, run_id: str) -> Iterator[StoredEvent]:
    """The records that tell a run, large values loaded: its own, and for a fork what it shares, right after its ``run.submitted``.

    Shared records keep the run id and number of the run that they are from.
    """
    own = map(source.full, source.read_run(run_id))
    for event in own:
        yield event
        forked = event.payload["meta"].get("forked_from") if event.kind == "run.submitted" else None
        if forked:
            yield from shared(
                told_events(source, forked["run_id"]), forked["run_id"], forked["seq"], event.payload["meta"].get("overrides")
            )


def shared(events: Iterable[StoredEvent], parent: str, seq: int, overrides: Mapping[str, Any] | None = None) -> list[StoredEvent]:
    """What a fork of ``parent`` after its record ``seq`` has of that run's history, given all that tells the parent."""
    kept = _happened(_until(events, parent, seq))
    answers = {(each["node"], each["attempt"], each["call"]): each["result"] for each in (overrides or {}).get("answers") or ()}
    agents: Mapping[str, str] = (overrides or {}).get("agents") or {}
    answered = {_place(event) for event in kept if event.kind in _OUTCOMES}
    under_way = open_attempts(kept)
    found = []
    for event in kept:
        meta = event.payload["meta"]
        if event.kind == "effect.requested" and _place(event) not in answered:
            continue  # the fork makes the call itself
        if event.kind in _OUTCOMES and _place(event) in answers:
            event = _answered(event, answers[_place(event)])  # noqa: PLW2901 - the same record as the fork has it
        elif event.kind == "node.started" and (meta["node"], meta["attempt"]) in under_way and meta["agent"]["name"] in agents:
            event = _with(event, agent={**meta["agent"], "digest": agents[meta["agent"]["name"]]})  # noqa: PLW2901
        found.append(_free_of_charge(event))
    return found


def find_point(events: Sequence[StoredEvent], parent: str, at: str | None, answers: Mapping[str, Any]) -> ForkPoint:
    """Where a fork of ``parent`` begins: after the record with that number, before that node started, or after the answers it changes.

    ``events`` tell the parent. ``answers`` are new answers by ``NODE/ATTEMPT/CALL`` or by the number of the recorded answer.

    Raises:
        InvalidInput: ``fork.point``, ``fork.call``; ``fork.answer`` for one of another shape; ``fork.answer_late`` where something already
            followed from the answer to be changed, or it had not come yet; ``fork.in_effect`` where an external effect was under way at
            that record.

    """
    places = {_find_call(events, parent, call): answer for call, answer in answers.items()}
    seq = _seq_of(events, parent, at, places)
    kept = _until(events, parent, seq)
    for place, answer in places.items():
        after = kept[next((number for number, event in enumerate(kept, 1) if event.kind in _OUTCOMES and _place(event) == place), 0) :]
        outcome = next(event for event in events if event.kind in _OUTCOMES and _place(event) == place)
        if len(after) == len(kept) or any(_attempt(event) == place[:2] for event in after):
            why = "what came of the answer would not follow from the new one"
            if len(after) == len(kept):
                why = "the call has not been answered there, and is made live"
            answered = outcome.payload["seq"]
            raise InvalidInput(
                f"the answer to call {place[2]} of {place[0]} is record {answered}, and the fork begins at record {seq}: {why}",
                code="fork.answer_late",
                where=Where(node=place[0], key="answers"),
                hint=f"fork at {answered}, or name no place: it follows from the answer",
            )
        _check_shape(outcome, place, answer)
    _refuse_in_effect(events, kept, seq)
    return ForkPoint(seq, places)


def _check_shape(outcome: StoredEvent, place: Place, answer: Any) -> None:
    """An answer that could not stand where the recorded one does would only break the agent that hears it."""
    known = outcome.payload["meta"].get("result")
    if not isinstance(known, dict) or not known or (isinstance(answer, dict) and known.keys() & answer.keys()):
        return
    named = "/".join(map(str, place))
    example = next((key for key in ("text", "answer") if key in known), next(iter(known)))
    raise InvalidInput(
        f"the answer to call {named} is an object with {', '.join(known)}",
        code="fork.answer",
        where=Where(node=place[0], key="answers"),
        hint=f"""for example {{"{example}": …}}""",
    )


def recorded_overrides(point: ForkPoint, params: Mapping[str, Any], agents: Mapping[str, str]) -> dict[str, Any] | None:
    """The overrides as ``run.submitted`` has them; ``agents`` are digests by name."""
    answers = [
        {"node": node, "attempt": attempt, "call": call, "result": result} for (node, attempt, call), result in point.answers.items()
    ]
    said = {"params": dict(params), "answers": answers, "agents": dict(agents)}
    return {name: value for name, value in said.items() if value} or None


def _happened(events: Sequence[StoredEvent]) -> list[StoredEvent]:
    """Without what is one run's own: its states and its approvals. What was decided at gates happened in it."""
    gates = {event.payload["meta"]["approval_id"] for event in events if event.payload["meta"].get("action") == GATE}
    return [
        event
        for event in events
        if event.kind not in _OWN and (not event.kind.startswith("approval.") or event.payload["meta"]["approval_id"] in gates)
    ]


def _until(events: Iterable[StoredEvent], run_id: str, seq: int) -> list[StoredEvent]:
    """What a run had told when its record ``seq`` was written."""
    return [event for event in events if event.payload["run_id"] != run_id or event.payload["seq"] <= seq]


def _seq_of(events: Sequence[StoredEvent], parent: str, at: str | None, places: Mapping[Place, Any]) -> int:
    own = [event for event in events if event.payload["run_id"] == parent]
    if at is None:
        outcomes = [event.payload["seq"] for event in own if event.kind in _OUTCOMES and _place(event) in places]
        if not outcomes:
            raise _no_point(
                "a fork needs a place", "name a node or the number of a record (`rlp attach RUN` shows them), or change an answer"
            )
        return int(max(outcomes))
    last = int(own[-1].payload["seq"])
    if at.isascii() and at.isdigit():
        if len(at) > MOST_DIGITS or not 1 <= int(at) <= last:
            raise _no_point(f"the run has no record {at[:MOST_DIGITS]}{'…' * (len(at) > MOST_DIGITS)}", f"its records are 1 to {last}")
        return int(at)
    for event in events:
        if event.kind == "node.started" and at in node_names(event.payload["meta"]["node"]):
            if event.payload["run_id"] != parent:
                raise _no_point(f"node {at} started before this run was forked", f"fork run {event.payload['run_id']} at {at}")
            return int(event.payload["seq"]) - 1
    hint = f"these did: {', '.join(_started(events)) or 'none'}"
    raise _no_point(f"no node {at!r} started in the run", hint)


def _started(events: Iterable[StoredEvent]) -> list[str]:
    """The nodes that started, each with the range of its items that did; these start in their order."""
    last: dict[str, str] = {}
    for event in events:
        if event.kind == "node.started":
            node, bracket, item = event.payload["meta"]["node"].partition("[")
            last[node] = max(last.get(node, ""), bracket and item[:-1], key=lambda index: (len(index), index))
    return [f"{node} (items [0] to [{item}])" if item else node for node, item in sorted(last.items())]


def node_names(node: str) -> tuple[str, str]:
    """What a node that started is called: an item also by the node whose item it is, which starts with its first."""
    return node, node.partition("[")[0]


def _find_call(events: Sequence[StoredEvent], parent: str, call: str) -> Place:
    """The place of a recorded answer that is named ``NODE/ATTEMPT/CALL`` or by its record's number."""
    node, attempt, number = ["", "", *call.rsplit("/", 2)][-3:]
    for event in events:
        if event.kind not in _OUTCOMES:
            continue
        by_seq = event.payload["run_id"] == parent and str(event.payload["seq"]) == call
        if by_seq or tuple(map(str, _place(event))) == (node, attempt, number):
            return _place(event)
    hint = "`rlp diff RUN RUN --json` and `rlp attach RUN` show them: NODE/ATTEMPT/CALL, or the number of the record with the answer"
    raise InvalidInput(f"the run has no answered call {call!r}", code="fork.call", where=Where(key="answers"), hint=hint)


def _refuse_in_effect(events: Sequence[StoredEvent], kept: Sequence[StoredEvent], seq: int) -> None:
    answered = {_place(event) for event in kept if event.kind in _OUTCOMES}
    for event in kept:
        meta = event.payload["meta"]
        if event.kind != "effect.requested" or _place(event) in answered or meta["class"] != "external":
            continue
        outcome = next((each.payload["seq"] for each in events if each.kind in _OUTCOMES and _place(each) == _place(event)), None)
        asked = event.payload["seq"]
        raise InvalidInput(
            f"at record {seq} {meta['name']} of {meta['node']} was under way (record {asked}): a fork would do it a second time",
            code="fork.in_effect",
            where=Where(node=meta["node"], key="at"),
            hint=f"fork at {asked - 1}, before it" + ("" if outcome is None else f", or at {outcome}, after it"),
        )


def open_calls(events: Sequence[StoredEvent], parent: str, seq: int) -> list[Place]:
    """The calls of the parent for child runs that had no outcome at that record; call 0 is a node that is a nested opening itself."""
    kept = _until(events, parent, seq)
    under_way = open_attempts(kept)
    answered = {_place(event) for event in kept if event.kind in _OUTCOMES}
    found: list[Place] = []
    for event in kept:
        meta = event.payload["meta"]
        if _attempt(event) not in under_way:
            continue
        if event.kind == "node.started" and not (meta.get("agent") or {}).get("digest"):
            found.append((meta["node"], meta["attempt"], 0))
        elif event.kind == "effect.requested" and meta["name"] in SPAWNS and _place(event) not in answered:
            found.append(_place(event))
    return found


def open_attempts(events: Iterable[StoredEvent]) -> set[tuple[str, int]]:
    """Attempts, by node and number, that began and did not end."""
    found: set[tuple[str, int]] = set()
    for event in events:
        if event.kind == "node.started":
            found.add(_attempt(event) or ("", 0))
        elif event.kind == "node.finished" or event.payload["meta"].get("action") == GATE:  # at its gate an attempt has ended
            found.discard(_attempt(event) or ("", 0))
    return found


def _place(event: StoredEvent) -> Place:
    meta = event.payload["meta"]
    return meta["node"], meta["attempt"], meta["call"]


def _attempt(event: StoredEvent) -> tuple[str, int] | None:
    meta = event.payload["meta"]
    return (meta["node"], meta["attempt"]) if "node" in meta and meta.get("attempt") else None


def _answered(event: StoredEvent, result: Any) -> StoredEvent:
    """The record of another answer, which says that it was ``given``; what had failed then has not failed now."""
    meta = {key: value for key, value in event.payload["meta"].items() if key not in {"error", "result_hash"}}
    return structs.replace(event, kind="effect.completed", payload={**event.payload, "meta": {**meta, "result": result, "given": True}})


def _free_of_charge(event: StoredEvent) -> StoredEvent:
    costs = {name: nothing for name, nothing in _COSTS.items() if event.payload["meta"].get(name)}
    return _with(event, **costs) if costs else event


def _with(event: StoredEvent, **changes: Any) -> StoredEvent:
    return structs.replace(event, payload={**event.payload, "meta": {**event.payload["meta"], **changes}})


def _no_point(message: str, hint: str) -> InvalidInput:
    return InvalidInput(message, code="fork.point", where=Where(key="at"), hint=hint)
