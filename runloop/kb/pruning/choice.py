"""Which runs may go, and which of their records others rest on. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Hashable, Iterable, Iterator, Mapping

Key = TypeVar("Key", bound="Hashable")
Part = TypeVar("Part")


class RunSummary(NamedTuple):
    """What decides about a run; ``finished_ms`` and ``status`` are None while it has no end."""

    run_id: str
    opening_name: str
    parent_run_id: str | None
    forked_from: str | None
    submitted_ms: int
    finished_ms: int | None = None
    status: str | None = None


class Stretch(NamedTuple):
    """An unbroken row of events, by the ids of its first and its last."""

    first: int
    last: int


def families(runs: Iterable[RunSummary]) -> list[list[RunSummary]]:
    """The runs, together with those that they started, were started by, share history with by a fork; each family oldest first."""
    known = {run.run_id: run for run in runs}
    links = ((run.run_id, other) for run in known.values() for other in (run.parent_run_id, run.forked_from) if other in known)
    grouped = joined(known, links)
    found = [sorted((known[each] for each in group), key=lambda run: (run.submitted_ms, run.run_id)) for group in grouped]
    return sorted(found, key=lambda family: (family[0].submitted_ms, family[0].run_id))


def joined(keys: Iterable[Key], links: Iterable[tuple[Key, Key]]) -> list[list[Key]]:
    """The keys in groups: two that are linked, however far, are in the same one. Groups and keys keep the order of the keys."""
    leader = {key: key for key in keys}

    def find(key: Key) -> Key:
        while leader[key] != key:
            leader[key] = key = leader[leader[key]]
        return key

    for one, other in links:
        leader[find(one)] = find(other)
    grouped: dict[Key, list[Key]] = defaultdict(list)
    for key in leader:
        grouped[find(key)].append(key)
    return list(grouped.values())


def portions(parts: Iterable[Part], size: Callable[[Part], int], most: int) -> Iterator[list[Part]]:
    """The parts, in their order, in lists that are no larger than ``most`` together, but for a part that is larger alone."""
    held: list[Part] = []
    total = 0
    for part in parts:
        if held and total + size(part) > most:
            yield held
            held, total = [], 0
        held.append(part)
        total += size(part)
    if held:
        yield held


def may_go(family: Iterable[RunSummary], before_ms: int, *, keep_failed: bool = False) -> bool:
    """Whether every run of the family ended before that time, in Unix milliseconds; with ``keep_failed`` also well."""
    return all(
        run.finished_ms is not None and run.finished_ms < before_ms and (run.status == "succeeded" or not keep_failed) for run in family
    )


def held_back(named: Iterable[int], candidates: Container[int], names: Mapping[int, Collection[int]]) -> set[int]:
    """The candidates that must stay: those in ``named``, and all that these name in turn, as ``names`` says."""
    held: set[int] = set()
    open_ids = [event_id for event_id in named if event_id in candidates]
    while open_ids:
        event_id = open_ids.pop()
        if event_id not in held:
            held.add(event_id)
            open_ids += [other for other in names.get(event_id, ()) if other in candidates]
    return held


def stretches(ids: Iterable[int]) -> Iterator[Stretch]:
    """The ids, ascending, as unbroken rows."""
    first = last = None
    for event_id in ids:
        if first is None or last is None:
            first = last = event_id
        elif event_id == last + 1:
            last = event_id
        else:
            yield Stretch(first, last)
            first = last = event_id
    if first is not None and last is not None:
        yield Stretch(first, last)
