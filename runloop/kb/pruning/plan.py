"""What a prune would take out of a ledger: read from the ledger itself, in three passes and constant memory but for the ids."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass
from runloop.events import RUN_KINDS, parse
from runloop.kb.evidence import named_by
from runloop.kb.pruning.choice import RunSummary, Stretch, families, held_back, joined, may_go, portions, stretches

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import apsw

_RUNS = """SELECT kind, json_extract(payload_json, '$.run_id'), json_extract(payload_json, '$.opening_name'),
        json_extract(payload_json, '$.parent_run_id'), json_extract(payload_json, '$.meta.forked_from.run_id'), ts_ms,
        json_extract(payload_json, '$.meta.status') FROM events
    WHERE kind IN ('run.submitted', 'run.started', 'run.finished') AND json_extract(payload_json, '$.v') IS NOT NULL ORDER BY id"""
_RECORDS = f"""SELECT id, kind, run_id, length(payload_json) + length(provenance_json),
        CASE WHEN kind IN ('artifact.created', 'node.started') THEN json_extract(payload_json, '$.meta.node') END FROM events
    WHERE kind IN ({", ".join(f"'{kind}'" for kind in sorted(RUN_KINDS))}) AND run_id IS NOT NULL AND seq IS NOT NULL ORDER BY id"""  # noqa: S608
_NAMING = """SELECT id, payload_json, provenance_json FROM events WHERE id > ? AND (instr(payload_json, '"event_id"')
    OR instr(payload_json, '"evidence"') OR instr(payload_json, '"citations"') OR instr(payload_json, '"artifact_id"')
    OR instr(provenance_json, '"evidence"'))"""
_STARTED_SINCE = """SELECT json_extract(payload_json, '$.parent_run_id'), json_extract(payload_json, '$.meta.forked_from.run_id')
    FROM events WHERE id > ? AND kind = 'run.submitted'"""
_MADE = "artifact.created"
_BEGUN = "node.started"
"""What a run made stays known, and by which agent: these records are more than the course of a run."""


class Ids:
    """Ids, ascending, in eight bytes each; those that :meth:`meet` was told of are noted."""

    def __init__(self, ids: array[int]) -> None:
        self._ids = ids
        self._met = bytearray(len(ids))

    def __contains__(self, event_id: object) -> bool:
        return isinstance(event_id, int) and self._place(event_id) is not None

    def _place(self, event_id: int) -> int | None:
        at = bisect_left(self._ids, event_id)
        return at if at < len(self._ids) and self._ids[at] == event_id else None

    def meet(self, event_id: int) -> None:
        """Note one of them."""
        if (at := self._place(event_id)) is not None:
            self._met[at] = 1

    @property
    def all_met(self) -> bool:
        """Whether none is left."""
        return all(self._met)


@dataclass(frozen=True, slots=True)
class Going:
    """A run that goes, with the ids of its records that do."""

    run: RunSummary
    ids: array[int]


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes, by families none of which rests on another.

    ``held`` records of these runs stay because something rests on them; ``staying`` says which other families stay and why.
    """

    head: int
    families: list[list[Going]]
    held: int
    payload_bytes: int
    staying: Mapping[str, int] = field(default_factory=dict)

    @property
    def runs(self) -> list[Going]:
        """Every run that goes."""
        return [going for family in self.families for going in family]

    def ids(self) -> array[int]:
        """The ids of all events that go, ascending."""
        return array("q", sorted(event_id for going in self.runs for event_id in going.ids))

    def portions(self, most: int) -> Iterator[Plan]:
        """The same, one after the other, each of about that many events at most; families are whole."""
        for part in portions(self.families, lambda family: sum(len(going.ids) for going in family), most):
            yield replace(self, families=part)

    def stretches(self) -> list[Stretch]:
        """The same as unbroken rows."""
        return list(stretches(self.ids()))


def make_plan(db: apsw.Connection, before_ms: int, *, keep_failed: bool = False) -> Plan:
    """Plan with the ledger as it is now; the caller holds a read transaction on ``db``."""
    head = int(db.execute("SELECT last_id FROM head").get)
    chosen: list[list[RunSummary]] = []
    staying = {"unfinished": 0, "later": 0, "failed": 0}
    for family in families(runs_of(db)):
        if may_go(family, before_ms, keep_failed=keep_failed):
            chosen.append(family)
        else:
            staying[_why(family, before_ms)] += len(family)
    ids = {run.run_id: array("q") for family in chosen for run in family}
    all_ids = array("q")
    held: set[int] = set()
    size = 0
    begun: dict[tuple[str, str], list[int]] = {}
    for event_id, kind, run_id, length, node in db.execute(_RECORDS) if ids else ():
        mine = ids.get(run_id)
        if mine is not None:
            mine.append(event_id)
            all_ids.append(event_id)
            size += length
            if kind == _BEGUN:
                begun.setdefault((run_id, node), []).append(event_id)
            elif kind == _MADE:
                held.update((event_id, *begun.get((run_id, node), ())))
    candidates = Ids(all_ids)
    named: set[int] = set(held)
    names: dict[int, list[int]] = {}
    for event_id, found in naming(db, 0) if all_ids else ():
        if event_id in candidates:
            names[event_id] = found
        else:
            named.update(found)
    held = held_back(named, candidates, names)
    going = [
        [Going(run, rest) for run in family if (rest := array("q", (event_id for event_id in ids[run.run_id] if event_id not in held)))]
        for family in chosen
    ]
    return Plan(head, _whole([family for family in going if family], names), len(held), size, staying)


def _whole(going: list[list[Going]], names: Mapping[int, list[int]]) -> list[list[Going]]:
    """The families, those of which a record names one of another as one: what goes in portions must not rest on what went before."""
    pairs = [(event_id, other) for event_id, others in names.items() for other in others]
    wanted = {event_id for pair in pairs for event_id in pair}
    owner = {event_id: at for at, family in enumerate(going) for each in family for event_id in each.ids if event_id in wanted}
    links = ((owner[one], owner[other]) for one, other in pairs if one in owner and other in owner)
    return [[each for at in group for each in going[at]] for group in joined(range(len(going)), links)]


def changed_since(db: apsw.Connection, plan: Plan) -> str | None:
    """Why the plan no longer holds: what was stored after it and refers to what would go."""
    runs = {going.run.run_id for going in plan.runs}
    for parent, forked in db.execute(_STARTED_SINCE, (plan.head,)):
        if parent in runs or forked in runs:
            return f"a run was started from run {parent if parent in runs else forked}"
    ids: set[int] | None = None
    for event_id, found in naming(db, plan.head):
        ids = set(plan.ids()) if ids is None else ids
        if not ids.isdisjoint(found):
            return f"event {event_id} names one of its records"
    return None


def naming(db: apsw.Connection, after_id: int) -> Iterator[tuple[int, list[int]]]:
    """Events after ``after_id`` that name others, with the ids."""
    for event_id, payload_json, provenance_json in db.execute(_NAMING, (after_id,)):
        payload = parse(payload_json)
        stated = str(parse(provenance_json).get("evidence", ""))
        found = {*named_by(payload), *_deep(payload), *(int(number) for number in stated.split(",") if number.isdigit())}
        if found:
            yield event_id, sorted(found)


def _deep(value: Any) -> Iterator[int]:
    """What stands as ``event_id`` anywhere in a value."""
    if isinstance(value, list):
        for item in value:
            yield from _deep(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "event_id" and isinstance(item, int):
                yield int(item)
            elif isinstance(item, (list, dict)):
                yield from _deep(item)


def runs_of(db: apsw.Connection) -> list[RunSummary]:
    """Every run that the ledger holds."""
    found: dict[str, RunSummary] = {}
    for kind, run_id, opening, parent, forked, ts_ms, status in db.execute(_RUNS):
        known = found.get(run_id)
        if kind == "run.finished":
            if known is not None:
                found[run_id] = known._replace(finished_ms=ts_ms, status=status)
        elif known is None:
            found[run_id] = RunSummary(run_id, opening, parent, forked, ts_ms)
    return list(found.values())


def _why(family: list[RunSummary], before_ms: int) -> str:
    if any(run.finished_ms is None for run in family):
        return "unfinished"
    return "later" if any((run.finished_ms or 0) >= before_ms for run in family) else "failed"
