"""The family of a run: the run, the runs that it started, and so on; those that a fork shares with the run that it was forked from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.dataclass import dataclass
from runloop.runs.history import RecordedRun, Spent, load_run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from runloop.runs.history import RecordedAttempt
    from runloop.runs.sources import RunSource


@dataclass(frozen=True, slots=True)
class Member:
    """A run of a family. ``place`` is who asked for it, from the outermost run on: node, attempt and the number among what that started."""

    place: tuple[tuple[str, int, int], ...]
    run: RecordedRun


def family(source: RunSource, run_id: str) -> list[Member]:
    """The run and its child runs, those of a run together; those that a fork shares with its parent are its own here."""
    members: list[Member] = []
    left: list[tuple[tuple[tuple[str, int, int], ...], str]] = [((), run_id)]
    while left:
        place, each = left.pop(0)
        member = Member(place, load_run(source, each))
        members.append(member)
        left += [((*place, at), child) for at, child in children_of(source, member.run).items()]
    return members


def children_of(source: RunSource, run: RecordedRun) -> dict[tuple[str, int, int], str]:
    """The child runs of a run by who asked for them, in the order in which they were asked for. Of a fork its own go before shared ones."""
    found: dict[tuple[str, int, int], str] = {}
    line = _lineage(source, run.run_id)
    known = [set(source.children(each)) for each in line]
    for attempt in run.attempts:
        for theirs, made in zip(map(attempt.children_of, line), known, strict=True):
            for number, child in enumerate(theirs):
                if child in made:
                    found.setdefault((attempt.node, attempt.attempt, number), child)
    return found


def spent(attempts: Iterable[RecordedAttempt]) -> Spent:
    """What they used together; what a fork shares was the other run's."""
    total = Spent()
    for attempt in attempts:
        total.add(attempt.spent)
    return total


def own_runs(source: RunSource, run_id: str) -> Iterator[str]:
    """The run, those that it started, and those that these started; what a fork shares is not its own."""
    left = [run_id]
    for each in left:
        yield each
        left += source.children(each)


def spent_below(source: RunSource, run_id: str) -> Spent:
    """What the runs used that it started, and those that these started."""
    total = Spent()
    for each in own_runs(source, run_id):
        if each != run_id:
            total.add(spent(load_run(source, each).attempts))
    return total


def _lineage(source: RunSource, run_id: str) -> list[str]:
    """The run, the one that it was forked from, and so on."""
    submitted = next(map(source.full, source.read_run(run_id)), None)
    forked = None if submitted is None else submitted.payload["meta"].get("forked_from")
    return [run_id, *(_lineage(source, forked["run_id"]) if forked else ())]
