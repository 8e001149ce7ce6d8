"""The runs as people look for them: named by the beginning of an id, listed by state, opening, time and text, with what each waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from runloop.dataclass import dataclass
from runloop.errors import InvalidInput, Where
from runloop.kb.derived import as_json, fold
from runloop.text import A_TIME, awaited

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    import apsw

    from runloop.events import StoredEvent
    from runloop.kb.base import KnowledgeBase
    from runloop.kb.ledger import Ledger

ENDS = ("succeeded", "failed", "cancelled")
STATES = ("queued", "running", "waiting", "paused", "unfinished", *ENDS)
"""What ``state`` of a listed run can be; ``unfinished`` is a run without an end that no process drives."""
_AT_FIRST = 8
_AT_ONCE = 512
"""So many records of a run are read in one look into the ledger: many only want the first."""
_SHORTEST = 4
_SHOWN = 5
_COLUMNS = """r.run_id, r.trace_id, r.opening_id, r.opening_name, r.parent_run_id, r.forked_from, r.status, r.mode, r.owner,
    r.submitted_ms, r.started_ms, r.finished_ms, r.ms, r.tokens, r.usd, r.final_hash, r.reason, r.why, r.why_ms, r.until_ms,
    r.last_seq, r.first_event, r.source_event"""
_IDLE = """EXISTS (SELECT 1 FROM run_nodes n WHERE n.run_id = r.run_id AND n.status = 'running')
    AND NOT EXISTS (SELECT 1 FROM run_nodes n WHERE n.run_id = r.run_id AND n.status = 'running'
        AND NOT EXISTS (SELECT 1 FROM effects e WHERE e.run_id = n.run_id AND e.node_id = n.node_id AND e.attempt = n.attempt
            AND e.status = 'requested' AND e.class = 'waiting')
        AND NOT EXISTS (SELECT 1 FROM approvals a WHERE a.run_id = n.run_id AND a.node_id = n.node_id AND a.status = 'requested'))"""
_NOT_DRIVEN = """WHEN (r.owner IS NULL OR r.owner NOT IN (SELECT value FROM json_each(:living)))
    AND NOT EXISTS (SELECT 1 FROM json_each(:here) h WHERE 'trace:' || h.key = r.trace_id) THEN 'unfinished'"""
_OPEN = """SELECT run_id, approval_id, coalesce(action, '') AS name, requested_ms FROM approvals
        WHERE status = 'requested' AND run_id IN (SELECT value FROM json_each(:runs))
    UNION ALL SELECT run_id, NULL, name, requested_ms FROM effects e
        WHERE status = 'requested' AND run_id IN (SELECT value FROM json_each(:runs))
        AND NOT EXISTS (SELECT 1 FROM approvals a WHERE a.run_id = e.run_id AND a.node_id = e.node_id AND a.status = 'requested')
    ORDER BY requested_ms"""
"""What is open; a node makes one call at a time, so a question about a call that was cut off is that call."""
_SPENT = """SELECT run_id, sum(tokens_in + tokens_out), CASE WHEN count(*) = count(usd) THEN sum(usd) END FROM effects
    WHERE run_id IN (SELECT value FROM json_each(:runs)) GROUP BY run_id"""
_BELOW = """SELECT run_id, trace_id, opening_name, status, status AS state, why, why_ms FROM runs
    WHERE finished_ms IS NULL AND parent_run_id IS NOT NULL AND trace_id IN (SELECT value FROM json_each(:traces))"""
_A_CHILD = "a child run"
_WAITS_FOR = {"ask.person": "an answer", "timer.sleep": A_TIME, "spawn.agent": _A_CHILD, "spawn.opening": _A_CHILD}


class RunIds(Protocol):
    """A ledger, or what stands for one."""

    def run_ids(self, prefix: str = "", limit: int = 10, *, children: bool = True) -> list[str]:
        """Ids of runs that begin with ``prefix``, newest first; without ``children`` only those that no other run started."""
        ...


def matching(ledger: RunIds, ref: str) -> list[str]:
    """The ids of runs that ``ref`` may name, a few at most: a full id, ``trace:`` or ``run:`` and an id, its first letters, or ``last``.

    The dashes of an id may be left out, as receivers of traces show it. ``last`` is the newest that no other run started.
    """
    text = run_prefix(ref)
    if text == "last":
        return ledger.run_ids(limit=1, children=False)
    return ledger.run_ids(text, limit=_SHOWN) if text else []


def run_prefix(ref: str) -> str:
    """The letters with which the id of the named run begins, ``last``, or nothing where ``ref`` can be neither."""
    text = ref.strip().removeprefix("run:").removeprefix("trace:").lower()
    if text == "last":
        return text
    if len(text) < _SHORTEST or not set(text) <= set("0123456789abcdef-"):
        return ""
    return text if "-" in text else "-".join(filter(None, (text[:8], text[8:12], text[12:16], text[16:20], text[20:])))


def root_of(row: Mapping[str, Any]) -> str:
    """The id of the run that nobody started for another one: the run of a row or a record, or the one that it is a part of."""
    return str(row["trace_id"]).removeprefix("trace:")


def only_one(ref: str, found: Collection[str], hint: str = "`rlp runs` lists the runs; the first letters of an id, or `last`, do") -> str:
    """The one id in ``found``. Raises InvalidInput ``run.unknown`` or ``run.ambiguous``."""
    if not found and run_prefix(ref) == "last":
        raise InvalidInput("there is no run yet, so that none is the last", code="run.unknown", hint="`rlp run OPENING` starts one")
    if not found:
        raise InvalidInput(f"there is no run {ref!r}", code="run.unknown", hint=hint)
    if len(found) > 1:
        listed = ", ".join(run_id[:13] for run_id in list(found)[:_SHOWN])
        raise InvalidInput(f"{ref!r} begins more than one run: {listed}", code="run.ambiguous", hint="give more letters")
    return next(iter(found))


def find_run(ledger: Ledger, ref: str) -> str:
    """The id of the run that ``ref`` names, as :func:`matching`.

    Raises:
        InvalidInput: ``run.unknown``, ``run.ambiguous``, or ``run.archived`` where the run's records are in an archive.

    """
    found = matching(ledger, ref)
    if not found and (text := run_prefix(ref)):
        from runloop.kb.pruning.archived import ArchivedRuns

        archived = ArchivedRuns(ledger)
        found = archived.run_ids(text)
        if len(found) == 1:
            raise archived.refusal(found[0])
    return only_one(ref, found)


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs, newest first: in the ledger's order, which a clock that is set back does not change.

    Times in Unix milliseconds bound the submission. Each word of ``text`` stands in the opening's name, the parameters (up to 16 KiB of
    them) or the reason of the end. ``living`` are the owners whose processes are alive: without it, every run without an end counts as
    driven. ``here`` is the state of runs that the asking process knows better than the records.
    """

    state: str | None = None
    opening: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    text: str | None = None
    limit: int = 50
    offset: int = 0
    run_ids: tuple[str, ...] | None = None
    related_to: str | None = None
    """The run whose children and forks are meant."""
    roots: bool = False
    """Only runs that no other run started; each that has no end waits for what its child runs wait for too."""
    living: frozenset[str] | None = None
    here: Mapping[str, str] | None = None


def select_runs(db: apsw.Connection, wanted: RunFilter) -> list[dict[str, Any]]:
    """Rows of the table ``runs``, each with its ``state``, and where it has no end with ``waiting_for`` and ``waiting_since_ms``.

    Raises InvalidInput ``run.no_words`` where the text has no word that could be looked for.
    """
    sql, values = _statement(wanted)
    rows = _dicts(db, sql, values)
    for row in rows:
        row["waiting_for"] = row["waiting_since_ms"] = None
    open_rows = {row["run_id"]: row for row in rows if row["finished_ms"] is None}
    if open_rows:
        _add_spent(db, open_rows)
        _add_waits(db, open_rows)
        if wanted.roots:
            _add_waits_below(db, open_rows)
    return rows


def _statement(wanted: RunFilter) -> tuple[str, dict[str, Any]]:
    where: list[str] = []
    values: dict[str, Any] = {"limit": wanted.limit, "offset": wanted.offset}
    for name, value, condition in (
        ("opening", wanted.opening, "r.opening_name = :opening"),
        ("since", wanted.since_ms, "r.submitted_ms >= :since"),
        ("until", wanted.until_ms, "r.submitted_ms < :until"),
        ("ids", None if wanted.run_ids is None else as_json(list(wanted.run_ids)), "r.run_id IN (SELECT value FROM json_each(:ids))"),
        ("root", wanted.related_to, "r.run_id IN (SELECT run_id FROM runs WHERE parent_run_id = :root OR forked_from = :root)"),
    ):
        if value is not None:
            where.append(condition)
            values[name] = value
    if wanted.roots:
        where.append("r.parent_run_id IS NULL")
    for number, word in enumerate(_words(wanted.text or "")):
        where.append(f"instr(r.words, :word{number})")
        values[f"word{number}"] = word
    here = known = ""
    state = f"WHEN r.status = 'running' AND {_IDLE} THEN 'waiting' ELSE r.status"
    if wanted.living is not None:
        state = f"{_NOT_DRIVEN} {state}"
        values |= {"living": as_json(sorted(wanted.living)), "here": as_json(dict(wanted.here or {}))}
    if wanted.here:
        here = "LEFT JOIN here h ON h.run_id = r.run_id"
        known = "WITH here AS MATERIALIZED (SELECT key AS run_id, value AS state FROM json_each(:here))"  # it gets an index of its own
        state = f"WHEN h.state IS NOT NULL THEN h.state {state}"
        values["here"] = as_json(dict(wanted.here))
    case = f"CASE WHEN r.finished_ms IS NOT NULL THEN r.status {state} END"
    if wanted.state is not None:
        ended = "r.finished_ms IS NOT NULL AND r.status = :state"
        where.append(ended if wanted.state in ENDS else f"r.finished_ms IS NULL AND {case} = :state")
        values["state"] = wanted.state
    condition = f"WHERE {' AND '.join(where)}" if where else ""
    order = "ORDER BY r.first_event DESC LIMIT :limit OFFSET :offset"
    return f"{known} SELECT {_COLUMNS}, {case} AS state FROM runs r {here} {condition} {order}", values  # noqa: S608 - fixed text and placeholders


def _words(text: str) -> list[str]:
    words = fold(text).split()
    if text.strip() and not words:
        message = f"there is no word to look for in {text!r}"
        hint = "give whole or parts of words: runs are found by the letters and digits of their opening's name, parameters and reason"
        raise InvalidInput(message, code="run.no_words", where=Where(key="text"), hint=hint)
    return words


def _add_spent(db: apsw.Connection, rows: Mapping[str, dict[str, Any]]) -> None:
    """What a run without an end has used so far."""
    for run_id, tokens, usd in db.execute(_SPENT, {"runs": as_json(list(rows))}):
        rows[str(run_id)].update(tokens=tokens, usd=usd)


def _add_waits(db: apsw.Connection, rows: Mapping[str, dict[str, Any]]) -> None:
    """What a run without an end waits for, a person first, and since when."""
    waits: dict[str, list[tuple[Any, Any, Any]]] = {run_id: [] for run_id in rows}
    for run_id, *wait in db.execute(_OPEN, {"runs": as_json(list(rows))}):
        waits[str(run_id)].append((wait[0], wait[1], wait[2]))
    for run_id, row in rows.items():
        row["waiting_for"], row["waiting_since_ms"] = _wait_of(row, waits[run_id])


def _add_waits_below(db: apsw.Connection, roots: Mapping[str, dict[str, Any]]) -> None:
    """What the child runs of a run wait for that waits for nothing else itself: that for which one has waited longest."""
    below = {row["run_id"]: row for row in _dicts(db, _BELOW, {"traces": as_json([row["trace_id"] for row in roots.values()])})}
    if below:
        _add_waits(db, below)
    for row in sorted(below.values(), key=lambda row: row["waiting_since_ms"] or 0):
        root = roots[root_of(row)]
        if root["waiting_for"] in {None, _A_CHILD} and row["waiting_for"] not in {None, _A_CHILD}:
            root.update(waiting_for=f"{row['waiting_for']} in {row['opening_name']}", waiting_since_ms=row["waiting_since_ms"])


def _wait_of(row: Mapping[str, Any], waits: Iterable[tuple[str | None, str, int]]) -> tuple[str | None, int | None]:
    if row["state"] == "paused":
        return "a resumption", row["why_ms"]
    said = [(_said(asked, name), since_ms, asked is not None or name == "ask.person") for asked, name, since_ms in waits]
    if not said:
        return (row["why"], row["why_ms"]) if row["status"] == "waiting" else (None, None)
    first, since_ms, _ = max(said, key=lambda each: each[2])  # the first of the oldest-first list that a person can answer, else its first
    return first if len(said) == 1 else f"{first} (+{len(said) - 1})", since_ms


def _said(approval_id: str | None, name: str) -> str:
    if approval_id is not None:
        return awaited(approval_id, name)
    return "a model" if name.startswith("model.") else _WAITS_FOR.get(name, name)


def _dicts(db: apsw.Connection, sql: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    cursor = db.execute(sql, values)
    names: list[str] = []
    rows: list[dict[str, Any]] = []
    for row in cursor:
        names = names or [column[0] for column in cursor.get_description()]  # there is none once the last row was read
        rows.append(dict(zip(names, row, strict=True)))
    return rows


def open_runs(db: apsw.Connection, run_id: str | None = None) -> list[dict[str, Any]]:
    """The runs without an end that no other run asked for, oldest first, or the one of that id."""
    columns = ("run_id", "trace_id", "opening_id", "opening_name", "status", "owner", "first_event", "source_event")
    one = "" if run_id is None else "AND run_id = :run"
    sql = f"SELECT {', '.join(columns)} FROM runs WHERE finished_ms IS NULL AND parent_run_id IS NULL {one} ORDER BY first_event"  # noqa: S608
    return [dict(zip(columns, row, strict=True)) for row in db.execute(sql, {"run": run_id} if one else {})]


def children_of(db: apsw.Connection, run_id: str) -> list[str] | None:
    """Ids of the runs that this run started, oldest first; None where an event was set aside that may have begun one."""
    if db.execute("SELECT 1 FROM problems WHERE kind IN ('run.submitted', 'run.started') LIMIT 1").get:
        return None
    return [str(child) for (child,) in db.execute("SELECT run_id FROM runs WHERE parent_run_id = ? ORDER BY first_event", (run_id,))]


def openings_of(db: apsw.Connection, run_ids: Iterable[str]) -> dict[str, str]:
    """The names of the openings of these runs, by run id."""
    sql = "SELECT run_id, opening_name FROM runs WHERE run_id IN (SELECT value FROM json_each(?))"
    return {str(run_id): str(name) for run_id, name in db.execute(sql, (as_json(list(run_ids)),))}


def places_of(db: apsw.Connection, run_id: str, after_seq: int, limit: int = -1) -> list[tuple[int, int]]:
    """The events of a run's records after ``after_seq``, with their numbers, oldest first; at most ``limit`` where that is not negative."""
    sql = "SELECT event_id, seq FROM run_events WHERE run_id = ? AND seq > ? ORDER BY seq LIMIT ?"
    rows: Any = db.execute(sql, (run_id, after_seq, limit)).fetchall()
    return list(rows)


def read_run(kb: KnowledgeBase, run_id: str, after_seq: int) -> Iterator[StoredEvent]:
    """The records of a run after ``after_seq``, oldest first: by the index as far as that is, and from the ledger where it may lack one.

    Nothing waits for the index to be brought up to date: after a burst that can take seconds. What is not asked for is not read, so that
    pages and the first record of a run cost what they are.
    """
    from runloop.kb.materialise import watermark  # it is there where a knowledge base is, and many look for runs without one

    seq, many = after_seq, _AT_FIRST
    while True:
        with kb.reading(synced=False) as db:
            places, followed = places_of(db, run_id, seq, many), watermark(db)
            after = places[-1][0] if places else 0
            aside = [int(row[0]) for row in db.execute("SELECT event_id FROM problems WHERE event_id > ?", (after,))]  # a gap before shows
        if not places and not kb.ledger.run_ids(run_id, limit=1):
            return
        found, last = kb.ledger.those([event_id for event_id, _ in places]), len(places) < many
        ended = bool(found) and found[-1].kind == "run.finished"
        if last and not ended and kb.until is None:
            found += kb.ledger.newer(run_id, places[-1][1] if places else seq, followed)
        numbers = range(seq + 1, seq + 1 + max(len(found), len(places)))
        lacking = last and not ended and any(event.payload.get("run_id") == run_id for event in kb.ledger.those(aside))
        if lacking or [event.payload["seq"] for event in found] != list(numbers):
            break
        yield from found
        seq, many = seq + len(found), min(2 * many, _AT_ONCE)
        if last and seq:
            return
        if last:
            break
    yield from kb.ledger.read_run(run_id, seq)
