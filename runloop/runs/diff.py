"""Two runs compared, node by node: states, attempts, calls, outputs; cost and time beside them.

Times and costs never make two runs differ: they are told, and whoever reads them judges. A run's own ids stand in what it said and was
told (in the outputs of nested openings, in Message-IDs, in handles of secrets); before the comparison they are replaced by the same words
on both sides, and the numbers of events that calls added and what models said of the cost are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, zip_longest
from typing import Any

from runloop.dataclass import dataclass
from runloop.effects.journal import Crossing
from runloop.runs.family import Member, spent
from runloop.runs.history import RecordedAttempt, RecordedRun, asked_by
from runloop.runs.jsondiff import MISSING, Difference, differences, first_difference
from runloop.runs.own_ids import OwnIds, own_ids

_ADDS_EVENT = frozenset({"emit.artifact", "kb.propose"})
"""Calls that are told the number of the event that they added to this machine's ledger."""
_COSTS = frozenset({"tokens_in", "tokens_out", "usd", "cached"})
"""What an answer of a model says of its cost."""
MAX_DIFFERENCES = 50
"""Of one node's outputs, at most so many places are listed."""


@dataclass(frozen=True, slots=True)
class CallDiff:
    """The first call that differs: it ``asked`` for something else, or it was ``told`` something else."""

    attempt: int
    call: int
    what: str
    difference: Difference

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"attempt": self.attempt, "call": self.call, "what": self.what, **self.difference.to_dict()}


@dataclass(frozen=True, slots=True)
class NodeDiff:
    """One node of both runs; each pair is (first run, second run), None where a run does not have the node."""

    run: str
    node: str
    states: tuple[str | None, str | None]
    attempts: tuple[int, int]
    agents: tuple[str | None, str | None]
    calls: tuple[int, int]
    first_call: CallDiff | None
    outputs: tuple[Difference, ...]
    errors: Difference | None
    tokens: tuple[int, int]
    usd: tuple[float | None, float | None]
    ms: tuple[int | None, int | None]
    lost: bool = False
    """Whether texts of either were erased or masked: nobody knows whether these were the same."""

    @property
    def differs(self) -> bool:
        """Whether the records say that they did not do the same."""
        pairs = (self.states, self.attempts, self.agents)
        return any(one != other for one, other in pairs) or bool(self.first_call or self.outputs or self.errors)

    @property
    def same(self) -> bool:
        """Whether both did the same, at whatever cost and in whatever time, with the same code."""
        return not self.differs and not self.lost

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "run": self.run,
            "node": self.node,
            "same": self.same,
            "lost": self.lost,
            "states": list(self.states),
            "attempts": list(self.attempts),
            "agents": list(self.agents),
            "calls": list(self.calls),
            "first_call": None if self.first_call is None else self.first_call.to_dict(),
            "outputs": [each.to_dict() for each in self.outputs],
            "error": None if self.errors is None else self.errors.to_dict(),
            "tokens": list(self.tokens),
            "usd": list(self.usd),
            "ms": list(self.ms),
        }


@dataclass(frozen=True, slots=True)
class RunDiff:
    """Two runs with their child runs. ``openings`` and ``params`` are where what was asked for differs."""

    runs: tuple[str, str]
    states: tuple[str, str]
    openings: tuple[str | None, str | None]
    params: tuple[Difference, ...]
    nodes: tuple[NodeDiff, ...]
    tokens: tuple[int, int]
    usd: tuple[float | None, float | None]
    ms: tuple[int | None, int | None]
    lost: bool = False
    """Whether texts of either were erased or masked."""

    @property
    def differs(self) -> bool:
        """Whether the records say that they did not do the same."""
        return (
            self.states[0] != self.states[1]
            or self.openings[0] != self.openings[1]
            or bool(self.params)
            or any(node.differs for node in self.nodes)
        )

    @property
    def same(self) -> bool:
        """Whether everything but cost and time is the same."""
        return not self.differs and not self.lost

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "runs": list(self.runs),
            "same": self.same,
            "lost": self.lost,
            "states": list(self.states),
            "openings": list(self.openings),
            "params": [each.to_dict() for each in self.params],
            "tokens": list(self.tokens),
            "usd": list(self.usd),
            "ms": list(self.ms),
            "nodes": [each.to_dict() for each in self.nodes],
        }


def diff_runs(first: Sequence[Member], second: Sequence[Member]) -> RunDiff:
    """Compare two families: the run itself, then its child runs, each with the one that was asked for in the same place."""
    places = {place: _name(at) for at, place in enumerate(dict.fromkeys(each.place for each in (*first, *second)))}
    sides = []
    for members in (first, second):
        ids = own_ids({places[each.place]: each.run for each in members})
        sides.append({each.place: _Named(each.run, ids) for each in members})
    one, other = sides
    nodes = [node for place, name in places.items() for node in _nodes(name if place else "", one.get(place), other.get(place))]
    a, b = one[()].run, other[()].run
    given = [side[()].ids.neutral(side[()].run.submitted.get("params")) for side in sides]
    ends = [run.finished or {} for run in (a, b)]
    return RunDiff(
        runs=(a.run_id, b.run_id),
        states=(a.status or "unfinished", b.status or "unfinished"),
        openings=(a.submitted.get("opening_digest"), b.submitted.get("opening_digest")),
        params=tuple(differences(given[0], given[1], "$.params")),
        nodes=tuple(nodes),
        tokens=(ends[0].get("tokens", 0), ends[1].get("tokens", 0)),
        usd=(ends[0].get("usd"), ends[1].get("usd")),
        ms=(ends[0].get("ms"), ends[1].get("ms")),
        lost=any(each.run.lost for each in (*first, *second)),
    )


def _name(at: int) -> str:
    return "RUN" if at == 0 else f"CHILD-{at}"


@dataclass(frozen=True, slots=True)
class _Named:
    """A recorded run whose ids, and those of its family, are read as words."""

    run: RecordedRun
    ids: OwnIds


def _nodes(run: str, one: _Named | None, other: _Named | None) -> Iterator[NodeDiff]:
    states = [{} if side is None else side.run.states for side in (one, other)]
    for node in dict.fromkeys([*states[0], *states[1]]):
        yield _node(run, node, one, other)


def _node(run: str, node: str, first: _Named | None, second: _Named | None) -> NodeDiff:
    one, other = (_attempts(side, node) for side in (first, second))
    last = [(first, one[-1] if one else None), (second, other[-1] if other else None)]
    (said, failed), (again, failed_again) = (_result(side, node, attempt) for side, attempt in last)
    return NodeDiff(
        run=run,
        node=node,
        states=(_state(first, node), _state(second, node)),
        attempts=(len(one), len(other)),
        agents=(_agent(last[0][1]), _agent(last[1][1])),
        calls=(sum(len(each.crossings) for each in one), sum(len(each.crossings) for each in other)),
        first_call=_first_call(first, second, one, other),
        outputs=tuple(islice(differences(said, again), MAX_DIFFERENCES)),
        errors=first_difference(failed, failed_again),
        tokens=(spent(one).tokens, spent(other).tokens),
        usd=(spent(one).usd, spent(other).usd),
        ms=(_ms(one), _ms(other)),
        lost=any(node in side.run.lost for side in (first, second) if side is not None),
    )


def _attempts(side: _Named | None, node: str) -> list[RecordedAttempt]:
    return [] if side is None else [attempt for attempt in side.run.attempts if attempt.node == node]


def _result(side: _Named | None, node: str, attempt: RecordedAttempt | None) -> tuple[Any, Any]:
    """Outputs and error of a node: those of its end where it has one of its own, else of its last attempt."""
    if side is None:
        return None, None
    outputs, error = (None, None) if attempt is None else (attempt.outputs, attempt.error)
    end = next((each for each in reversed(side.run.ends) if each.node == node), None)
    if end is not None and (attempt is None or end.after > side.run.attempts.index(attempt)):
        outputs = outputs if end.outputs is None else end.outputs
        error = {"message": end.why} if end.status == "error" else error
    return side.ids.neutral(outputs), side.ids.neutral(error)


def _state(side: _Named | None, node: str) -> str | None:
    return None if side is None else side.run.states.get(node)


def _first_call(
    first: _Named | None, second: _Named | None, one: Sequence[RecordedAttempt], other: Sequence[RecordedAttempt]
) -> CallDiff | None:
    if first is None or second is None:
        return None
    for a, b in zip(one, other, strict=False):  # another number of attempts is told by that number
        for call, (asked, again) in enumerate(zip_longest(a.crossings, b.crossings), 1):
            for what, pair in (
                ("asked", (_asked(first, asked), _asked(second, again))),
                ("told", (_told(first, asked), _told(second, again))),
            ):
                found = first_difference(*(MISSING if side is None else side for side in pair))
                if found is not None:
                    return CallDiff(a.attempt, call, what, found)
    return None


def _asked(named: _Named, call: Crossing | None) -> Any:
    return None if call is None else named.ids.neutral(asked_by(call))


def _told(named: _Named, call: Crossing | None) -> Any:
    if call is None:
        return None
    failure, result = call.failure, call.result
    own = {"event_id"} if call.name in _ADDS_EVENT else _COSTS if call.name.startswith("model.") else ()
    if own and isinstance(result, Mapping):
        result = {key: value for key, value in result.items() if key not in own}
    return named.ids.neutral({"result": result} if failure is None else {"error": {"code": failure.reason, "message": failure.message}})


def _agent(attempt: RecordedAttempt | None) -> str | None:
    return None if attempt is None else attempt.agent.get("digest")


def _ms(attempts: Sequence[RecordedAttempt]) -> int | None:
    times = [each.ms for each in attempts if each.ms is not None]
    return sum(times) if times else None
