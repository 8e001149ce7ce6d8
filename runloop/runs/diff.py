"""Two runs compared, node by node: states, attempts, calls, outputs; cost and time beside them. Pure.

Times and costs never make two runs differ: they are told, and whoever reads them judges. A run's own ids stand in what it said (in
message ids, in the outputs of nested openings); before the comparison they are replaced by the same words on both sides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import Any

from runloop.runs.account import AttemptAccount, CallAccount, NodeAccount, RunAccount
from runloop.runs.jsondiff import MISSING, Difference, differences, first_difference

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

    @property
    def same(self) -> bool:
        """Whether both did the same, at whatever cost and in whatever time, with the same code."""
        pairs = (self.states, self.attempts, self.agents)
        return all(one == other for one, other in pairs) and not (self.first_call or self.outputs or self.errors)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "run": self.run,
            "node": self.node,
            "same": self.same,
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

    @property
    def same(self) -> bool:
        """Whether everything but cost and time is the same."""
        return (
            self.states[0] == self.states[1]
            and self.openings[0] == self.openings[1]
            and not self.params
            and all(n.same for n in self.nodes)
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "runs": list(self.runs),
            "same": self.same,
            "states": list(self.states),
            "openings": list(self.openings),
            "params": [each.to_dict() for each in self.params],
            "tokens": list(self.tokens),
            "usd": list(self.usd),
            "ms": list(self.ms),
            "nodes": [each.to_dict() for each in self.nodes],
        }


def diff_runs(first: Sequence[RunAccount], second: Sequence[RunAccount]) -> RunDiff:
    """Compare two families: the run itself, then its child runs in the order in which they began."""
    names = ({account.run_id: _name(at) for at, account in enumerate(family)} for family in (first, second))
    one, other = ([_Named(account, known) for account in family] for family, known in zip((first, second), names, strict=True))
    nodes = [node for at, pair in enumerate(zip_longest(one, other)) for node in _nodes(_name(at) if at else "", *pair)]
    a, b = one[0], other[0]
    return RunDiff(
        runs=(a.account.run_id, b.account.run_id),
        states=(a.account.status, b.account.status),
        openings=(a.account.submitted.get("opening_digest"), b.account.submitted.get("opening_digest")),
        params=tuple(differences(a.neutral(a.account.submitted.get("params")), b.neutral(b.account.submitted.get("params")), "$.params")),
        nodes=tuple(nodes),
        tokens=(a.account.tokens, b.account.tokens),
        usd=(a.account.usd, b.account.usd),
        ms=(a.account.ms, b.account.ms),
    )


def _name(at: int) -> str:
    return "RUN" if at == 0 else f"CHILD-{at}"


@dataclass(frozen=True, slots=True)
class _Named:
    """An account whose run ids are read as words."""

    account: RunAccount
    names: Mapping[str, str]

    def neutral(self, value: Any) -> Any:
        """The value with every run id of this family replaced."""
        if isinstance(value, str):
            for run_id, name in self.names.items():
                value = value.replace(run_id, name)
            return value
        if isinstance(value, list):
            return [self.neutral(item) for item in value]
        if isinstance(value, Mapping):
            return {self.neutral(key): self.neutral(item) for key, item in value.items()}
        return value


def _nodes(run: str, one: _Named | None, other: _Named | None) -> Iterator[NodeDiff]:
    sides = [{} if side is None else side.account.nodes for side in (one, other)]
    for node in dict.fromkeys([*sides[0], *sides[1]]):
        yield _node(run, node, (one, sides[0].get(node)), (other, sides[1].get(node)))


_Side = tuple[_Named | None, NodeAccount | None]


def _node(run: str, node: str, one: _Side, other: _Side) -> NodeDiff:
    (first, a), (second, b) = one, other
    tries = ([] if a is None else a.attempts, [] if b is None else b.attempts)
    last = tuple(each[-1] if each else None for each in tries)
    said, again = (
        _plain(named, None if attempt is None else attempt.outputs) for named, attempt in zip((first, second), last, strict=True)
    )
    failed = [_plain(named, None if attempt is None else attempt.error) for named, attempt in zip((first, second), last, strict=True)]
    return NodeDiff(
        run=run,
        node=node,
        states=(None if a is None else a.status, None if b is None else b.status),
        attempts=(len(tries[0]), len(tries[1])),
        agents=(_agent(last[0]), _agent(last[1])),
        calls=(sum(len(each.calls) for each in tries[0]), sum(len(each.calls) for each in tries[1])),
        first_call=_first_call(first, second, *tries),
        outputs=tuple(islice(differences(said, again), MAX_DIFFERENCES)),
        errors=first_difference(*failed),
        tokens=(sum(each.tokens for each in tries[0]), sum(each.tokens for each in tries[1])),
        usd=(_usd(tries[0]), _usd(tries[1])),
        ms=(_ms(tries[0]), _ms(tries[1])),
    )


def _first_call(
    first: _Named | None, second: _Named | None, one: Sequence[AttemptAccount], other: Sequence[AttemptAccount]
) -> CallDiff | None:
    for a, b in zip(one, other, strict=False):  # another number of attempts is told by that number
        for call, (asked, again) in enumerate(zip_longest(a.calls, b.calls), 1):
            sides = (_plain(first, None if asked is None else asked.asked), _plain(second, None if again is None else again.asked))
            for what, pair in (("asked", sides), ("told", (_told(first, asked), _told(second, again)))):
                found = first_difference(*(MISSING if side is None else side for side in pair))
                if found is not None:
                    return CallDiff(a.attempt, call, what, found)
    return None


def _told(named: _Named | None, call: CallAccount | None) -> Any:
    if call is None:
        return None
    return _plain(named, {"result": call.result} if call.error is None else {"error": dict(call.error)})


def _plain(named: _Named | None, value: Any) -> Any:
    return value if named is None else named.neutral(value)


def _agent(attempt: AttemptAccount | None) -> str | None:
    return None if attempt is None else attempt.agent.get("digest")


def _usd(attempts: Sequence[AttemptAccount]) -> float | None:
    """US dollars, None where a price is not known."""
    costs = [each.usd for each in attempts]
    return None if None in costs else sum(cost for cost in costs if cost is not None)


def _ms(attempts: Sequence[AttemptAccount]) -> int | None:
    times = [each.ms for each in attempts if each.ms is not None]
    return sum(times) if times else None
