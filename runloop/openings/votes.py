"""Counting votes: exact, in integers. A vote is any JSON value; two are the same if their canonical forms are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from runloop.dataclass import dataclass
from runloop.openings.clauses import VoteRule
from runloop.openings.states import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from runloop.openings.clauses import Vote
    from runloop.openings.scalars import Json

RULES: dict[VoteRule, Callable[[int, int], bool]] = {
    VoteRule.MAJORITY: lambda most, cast: 2 * most > cast,
    VoteRule.SUPERMAJORITY: lambda most, cast: 3 * most >= 2 * cast,
    VoteRule.UNANIMOUS: lambda most, cast: most == cast,
    VoteRule.PLURALITY: lambda most, _cast: most > 0,
}
"""Whether the most votes for one value, of those cast, are enough; a tie for the most is looked at before."""


@dataclass(frozen=True, slots=True)
class Count:
    """How a vote went: values with their votes, most first, in order of first appearance among equals; ``abstained`` cast none."""

    tally: tuple[tuple[Json, int], ...]
    abstained: int

    @property
    def cast(self) -> int:
        """Votes that count."""
        return sum(votes for _, votes in self.tally)


def spread(values: Iterable[Json]) -> list[Json]:
    """The items of a port: a list gives its elements, any other value is one."""
    found: list[Json] = []
    for value in values:
        found.extend(value if isinstance(value, list) else [value])
    return found


def count(values: Sequence[Json], path: Sequence[str] = ()) -> Count:
    """Count ``values``, or what ``path`` leads to in each; a value without it, or null, abstains."""
    votes: dict[str, tuple[Json, int]] = {}
    abstained = 0
    for value in values:
        vote = _follow(value, path)
        if vote is None:
            abstained += 1
            continue
        first, before = votes.get(key := _key(vote), (vote, 0))
        votes[key] = first, before + 1
    return Count(tuple(sorted(votes.values(), key=lambda item: -item[1])), abstained)


def decide(vote: Vote, values: Sequence[Json]) -> Json | Failure:
    """What the node gets on its port ``vote`` (winner, votes, cast, abstained, tally), or why there is no winner."""
    counted = count(spread(values), vote.path)
    cast, tally = counted.cast, counted.tally
    if cast < vote.quorum:
        return Failure("vote.quorum", f"{cast} of {vote.quorum} votes needed were cast")
    winner, most = tally[0]
    tied = [value for value, votes in tally if votes == most]
    if len(tied) > 1 and not vote.first_on_tie:
        return Failure("vote.undecided", f"{len(tied)} values have {most} of {cast} votes each")
    if len(tied) == 1 and not RULES[vote.rule](most, cast):
        return Failure("vote.undecided", f"no winner by the rule {vote.rule}: the most is {most} of {cast} votes")
    return {
        "winner": winner,
        "votes": most,
        "cast": cast,
        "abstained": counted.abstained,
        "tally": [{"value": value, "votes": votes} for value, votes in tally],
    }


def _follow(value: Json, path: Sequence[str]) -> Json:
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def _key(value: Json) -> str:
    """Equal for equal JSON values: 1 and 1.0 are one vote, 1 and true are not."""
    return json.dumps(_plain(value), sort_keys=True)


def _plain(value: Json) -> Json:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value
