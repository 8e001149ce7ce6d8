"""The knowledge base: the ledger, the tables derived from it, and everything that reads or adds to them.

Search, vectors, entities, the timeline and explanations are imported when they are asked for: most that open a base need none of them.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from runloop.events import NewEvent, StoredEvent
from runloop.kb.addresses import known_locals, known_locals_in
from runloop.kb.clock import last_until
from runloop.kb.database import BUSY_MS
from runloop.kb.derived import DOMAINS
from runloop.kb.errors import LedgerClosed, LedgerCorrupt, LedgerFull
from runloop.kb.following import Views
from runloop.kb.keeping.progress import silent
from runloop.kb.ledger import Ledger
from runloop.kb.limits import MAX_DEPTH, MAX_ROWS, MAX_SECONDS, MAX_STEPS
from runloop.kb.making import Tick
from runloop.kb.materialise import Synced
from runloop.kb.redaction import EVERYTHING, NOTHING, Redactor, Rules
from runloop.kb.runs import RunFilter, children_of, open_runs, openings_of, places_of, read_run, select_runs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    import apsw

    from runloop.kb.erasing import Erasure, Left
    from runloop.kb.keeping.anchor import Anchor
    from runloop.kb.keeping.progress import Progress
    from runloop.kb.naming import Candidate
    from runloop.kb.proposing import StateDelta
    from runloop.kb.queries import QueryResult
    from runloop.kb.queries import Request as QueryRequest
    from runloop.kb.queries.vtable import Table
    from runloop.kb.search import Found, Hit, Request
    from runloop.kb.stories import Telling
    from runloop.kb.timeline import Entry, Span
    from runloop.kb.vectors import Meaning, VectorStore
    from runloop.kb.verify import VerifyReport
    from runloop.kb.writer import StallListener

EVENTS_DB = "events.sqlite"
VECTORS_DB = "vectors.sqlite"
VIEWS_DB = "pog.sqlite"
HISTORY = 20  # entries of an entity that are shown with it


class KnowledgeBase:
    """Open with :meth:`open`; safe to use from any thread and next to other processes. Reads see everything appended before them."""

    def __init__(
        self, root: Path, ledger: Ledger, views: Path, salt: str | None = None, rules: Rules = EVERYTHING, *, until: int | None = None
    ) -> None:
        self.root = root
        self.ledger = ledger
        self.until = until
        """The event that this base is at, where it shows the past: nothing can be written to it, and nothing later is in it."""
        self._lock = threading.Lock()
        self._vectors: VectorStore | None = None
        self._views = Views(root, views, ledger, until)
        self.redactor = Redactor(ledger.meta("mask_salt") if salt is None else salt, rules, self._known_locals)
        """Masks what people get, as the settings say; what agents get is masked whatever the settings say."""
        self._for_agents = self.redactor.for_agents()
        self._for_agents_with_contacts = self._for_agents.with_contacts()

    @classmethod
    def open(
        cls,
        root: str | Path,
        *,
        events_db: str = EVENTS_DB,
        view_db: str = VIEWS_DB,
        busy_ms: int = BUSY_MS,
        salt: str | None = None,
        rules: Rules = EVERYTHING,
        on_stall: StallListener | None = None,
    ) -> Self:
        """Open the two files in ``root``, making what is missing; the directory is made for its owner only.

        ``salt`` goes into the masks, without it the ledger's own random one; ``rules`` say what is masked.
        ``on_stall``: see ``Ledger.watch``.
        """
        root = Path(root)
        ledger = Ledger.open(root / events_db, busy_ms=busy_ms, on_stall=on_stall)
        try:
            return cls(root, ledger, root / view_db, salt, rules)
        except BaseException:
            ledger.close()
            raise

    @property
    def behind(self) -> LedgerFull | None:
        """Why the derived tables do not follow the ledger at the moment."""
        return self._views.behind

    def sync(self, most: int | None = None, tick: Tick = lambda _done, _of: None) -> Synced:
        """Bring the derived tables up to the ledger, or by at most so many events nearer to it; cheap when there is nothing new.

        Where they lack more than they have, as after an upgrade, they are made anew in a file beside, unless ``most`` bounds the work.
        ``tick`` hears now and then up to which event they are, and the newest one.
        On a full disk they stay where they are (``behind`` says why) and follow once there is room: nothing in them is lost by waiting.
        Where something was erased or archived, what it said goes at once, and exact tables are made in the background (:meth:`settle`).
        The past stays as it was. Raises LedgerClosed.
        """
        return self._views.sync(most, tick)

    def require_same_ledger(self) -> None:
        """Raise LedgerCorrupt where the ledger lost or changed what the derived tables have seen of it: nothing may be added to it then."""
        self._views.require_same_ledger()

    def settle(self) -> None:
        """As :meth:`sync`; where something was erased or archived, returns when exact tables are made. Raises LedgerFull."""
        self._views.settle()

    def rebuild(self, tick: Callable[[int], None] = lambda _done: None) -> Synced:
        """Make the derived tables anew from every event; readers see the old ones until then. ``tick`` hears how far it is."""
        return self._views.rebuild(tick)

    def problems(self) -> list[dict[str, Any]]:
        """Events that could not be applied and were set aside."""
        with self.reading() as db:
            found = db.execute("SELECT event_id, kind, error FROM problems ORDER BY event_id").fetchall()
        return [dict(zip(("event_id", "kind", "error"), row, strict=True)) for row in found]

    def verify(
        self,
        noted: Anchor | None = None,
        *,
        views: bool = False,
        quick: bool = False,
        progress: Progress = silent,
        signers: Collection[str] | None = None,
    ) -> VerifyReport:
        """Check the ledger against itself, what was last seen of its head, and a head that somebody noted elsewhere.

        With ``views`` also the derived tables against a fresh rebuild; the rest: see :func:`runloop.kb.verify.verify`.
        """
        from runloop.kb.verify import verify

        if views and not quick:
            with suppress(LedgerCorrupt):  # the checks say better what is wrong
                self.settle()
        anchors = [self._views.anchor()]
        return verify(
            self.ledger,
            anchors=anchors if noted is None else [*anchors, noted],
            views=self._views.path if views else None,
            quick=quick,
            progress=progress,
            signers=signers,
        )

    def search(self, query: str, domains: Sequence[str] | None = None, limit: int = 8, *, raw_contacts: bool = False) -> list[Hit]:
        """The best hits by name and words alone: the same base gives the same answer, whatever vectors there are (for agents)."""
        from runloop.kb.search import Request

        request = Request(query, None if domains is None else tuple(domains), limit=limit)
        return self.search_for(request, self.agents_redactor(raw_contacts=raw_contacts)).hits

    def search_for(self, request: Request, redactor: Redactor | None = None, *, meaning: Meaning | None = None) -> Found:
        """As :meth:`search`, within times too, with what was not understood of the query; for people, unless ``redactor`` is given.

        With ``meaning`` by vectors as well, as far as there are any; the past has none.
        """
        from runloop.kb.search import find
        from runloop.kb.vectors import by_meaning

        with self.reading() as db:
            near = None if meaning is None or self.until is not None else by_meaning(db, lambda: self.vectors, meaning, request)
            found = find(db, redactor or self.redactor, request, near)
            if not (redactor or self.redactor).rules.drop_masked_rows:
                return found
            stored = {hit.key: hit for hit in find(db, Redactor(self.redactor.salt, NOTHING), request, near).hits}
        return replace(found, hits=[hit for hit in found.hits if hit.says_the_same(stored.get(hit.key))])

    @property
    def vectors(self) -> VectorStore:
        """The vectors of the documents, in a file of their own, made where it is missing."""
        from runloop.kb.vectors import VectorStore

        with self._lock:
            if self._vectors is None:
                self._vectors = VectorStore(self.root / VECTORS_DB, self._views.path)
            return self._vectors

    def unmask(self, what: str, subject: str, reason: str, uid: int) -> None:
        """Mask nothing for people any more, once an event says who reads what, and why. Whether that is allowed is the caller's to ask."""
        payload = {"what": what, "subject": subject, "reason": reason, "uid": uid}
        self.ledger.append([NewEvent("privileged.read", payload, "user", "system")])
        self.redactor = Redactor(self.redactor.salt, NOTHING)

    def _known_locals(self, first: str, domain: str) -> list[str]:
        try:
            with self.reading() as db:
                return known_locals(db, first, domain)
        except LedgerClosed:  # what was read before may still have to be masked
            return known_locals_in(self._views.path, first, domain)

    def agents_redactor(self, *, raw_contacts: bool) -> Redactor:
        """What masks for an agent: everything, or with the capability ``contacts_raw`` everything but addresses and telephone numbers."""
        return self._for_agents_with_contacts if raw_contacts else self._for_agents

    def get(self, key: str, *, raw_contacts: bool = False) -> dict[str, Any] | None:
        """The entity ``{domain, key, title, data, event_id}`` of a key: as hits have it, ``event:N`` or ``run:UUID``; else None."""
        from runloop.kb.getting import get

        return get(self, key, self.agents_redactor(raw_contacts=raw_contacts))

    def labels_of(self, event_ids: Iterable[int]) -> frozenset[str]:
        """Where the content of these events came from, as far as an agent said them that had seen something from outside."""
        from runloop.kb.origins import labels_of

        return labels_of(self, event_ids)

    def labels_of_people(self) -> frozenset[str]:
        """As :meth:`labels_of`, for what is said of anybody in the tables of contacts and accounts."""
        from runloop.kb.origins import labels_of_people

        return labels_of_people(self)

    def why(self, key: str) -> list[StoredEvent]:
        """The events that touched an entity, oldest first; a key without prefix is tried as contact, artifact, run and note.

        ``event:N`` gives the event and, before it, the events that it rests on.
        """
        from runloop.kb.evidence import of_entity

        return of_entity(self, key)

    def find(self, text: str, folder: Path | None = None) -> list[Candidate]:
        """What ``text`` may name (:mod:`runloop.kb.naming`); files and relative paths are looked up from ``folder``, if that is given."""
        from runloop.kb.naming import find

        with self.reading() as db:
            return find(text, self.ledger, db, folder, until=self.until)

    def explain(self, key: str, telling: Telling, *, max_steps: int = MAX_STEPS, max_depth: int = MAX_DEPTH) -> dict[str, Any]:
        """What an entity rests on, masked, in the JSON form of ``rlp why`` (docs/knowledge.md); ``telling`` knows openings and forks."""
        from runloop.kb.why import explain

        with self.reading() as db:
            found = explain(key, self.ledger, db, telling, max_steps=max_steps, max_depth=max_depth)
        masked: dict[str, Any] = self.redactor.value(found.to_dict())
        return masked

    def entity(self, key: str) -> dict[str, Any] | None:
        """What is known of an entity, masked (:func:`runloop.kb.entity.describe`), with its ``history``; None where nothing is."""
        from runloop.kb.entity import describe, entity_key, of_event

        with self.reading() as db:
            own = entity_key(db, key)
            found = describe(db, own)
        if found is None and (event := self.get(own, raw_contacts=True)) is not None:
            found = of_event(event)
        if found is None:
            return None
        from runloop.kb.timeline import Span

        masked: dict[str, Any] = self.redactor.value(found)
        return {**masked, "history": [entry.to_dict() for entry in self.timeline(own, Span(limit=HISTORY))[0]]}

    def timeline(self, key: str | None, span: Span) -> tuple[list[Entry], bool]:
        """What happened to an entity, or at all (None), masked and newest last; and whether there is more before it."""
        from runloop.kb.entity import entity_key
        from runloop.kb.timeline import timeline

        with self.reading() as db:
            own = None if key is None else entity_key(db, key)
            last = self.until if span.last is None else span.last
            found, more = timeline(self.ledger, db, own, replace(span, last=last))
        return [entry.masked(self.redactor.text) for entry in found], more

    def propose(self, delta: StateDelta) -> StoredEvent:
        """Append a change that was proposed (:func:`runloop.kb.proposing.propose`); it is visible to the next read."""
        from runloop.kb.proposing import propose

        return propose(self, delta)

    def erase(self, events: Iterable[int | Left], *, actor: str = "user", reason: str | None = None) -> Erasure:
        """Take the content of events for good: out of the ledger, out of everything that is derived from it, and out of the past."""
        from runloop.kb.erasing import Left, emptied, erase

        lefts = [Left(each) if isinstance(each, int) else each for each in events]
        erasure = erase(self.ledger, lefts, actor=actor, reason=reason)
        self._views.past.forget()
        remarks = list(erasure.remarks)
        try:
            self.settle()
        except LedgerFull:
            remarks.append(
                "there is no room to make the derived tables anew: until there is, some of what was not erased is missing in them"
            )
        if (self.root / VECTORS_DB).exists():
            self.vectors.prune(DOMAINS)
        if not emptied(self._views.path):
            remarks.append("a reader holds the log of the derived tables; what was erased leaves it later")
        return replace(erasure, remarks=tuple(remarks))

    def query(self, sql: str, *, max_rows: int = MAX_ROWS, max_seconds: float = MAX_SECONDS, for_agents: bool = False) -> QueryResult:
        """Run one read-only statement over the masked tables (see ``runloop.kb.queries``), in a process of its own."""
        from runloop.kb.queries import query_process

        with query_process() as ask:
            return ask(self.query_request(sql, max_rows=max_rows, max_seconds=max_seconds, for_agents=for_agents))

    def tables(self) -> list[Table]:
        """The tables that :meth:`query` can read, with their columns and what is masked in them."""
        from runloop.kb.queries import tables_of

        with self.reading() as db:
            db.execute("COMMIT")  # files are attached outside of a transaction
            db.execute("ATTACH ? AS ledger", (str(self.ledger.path),))
            try:
                return list(tables_of(db, self.until).values())
            finally:
                db.execute("DETACH ledger")  # the connection is kept for others

    def query_request(
        self, sql: str, *, max_rows: int = MAX_ROWS, max_seconds: float = MAX_SECONDS, for_agents: bool = False
    ) -> QueryRequest:
        """What :meth:`query` asks for, of the base as it is now."""
        from runloop.kb.queries import Request as QueryRequest

        self.sync()
        redactor = self._for_agents if for_agents else self.redactor
        return QueryRequest(
            sql, str(self._views.path), str(self.ledger.path), redactor.salt, redactor.rules,
            until=self.until, max_rows=max_rows, max_seconds=max_seconds,
        )  # fmt: skip

    def runs(self, wanted: RunFilter | None = None) -> list[dict[str, Any]]:
        """The newest runs first, as :func:`runloop.kb.runs.select_runs` gives them."""
        with self.reading() as db:
            return select_runs(db, wanted or RunFilter())

    def open_runs(self, run_id: str | None = None) -> list[dict[str, Any]]:
        """The runs without an end that no other run asked for, oldest first, or the one of that id."""
        with self.reading() as db:
            return open_runs(db, run_id)

    def children(self, run_id: str) -> list[str]:
        """As ``Ledger.children``, without its look over everything that was stored since a run that has no end began."""
        with self.reading() as db:
            found = children_of(db, run_id)
        return found if found is not None else self.ledger.children(run_id)

    def run(self, run_id: str) -> dict[str, Any] | None:
        """The run with this id, as :meth:`runs` gives it; :func:`runloop.kb.runs.find_run` finds the id."""
        return next(iter(self.runs(RunFilter(run_ids=(run_id,)))), None)

    def openings_of(self, run_ids: Iterable[str]) -> dict[str, str]:
        """The names of the openings of these runs, by run id."""
        with self.reading() as db:
            return openings_of(db, run_ids)

    def run_events(self, run_id: str, after_seq: int = 0) -> Iterator[StoredEvent]:
        """The stored records of a run after ``after_seq``, oldest first, by the index of the derived tables."""
        with self.reading() as db:
            places = places_of(db, run_id, after_seq)
        yield from (event for event_id, _ in places if (event := self.ledger.get(event_id)) is not None)

    def read_run(self, run_id: str, after_seq: int = 0) -> Iterator[StoredEvent]:
        """As ``Ledger.read_run``, without its look over everything that was stored since a run that has no end began.

        Where an event was set aside, the derived tables may lack a record: then the ledger is read instead.
        """
        return read_run(self, run_id, after_seq)

    def reading(self, *, synced: bool = True) -> AbstractContextManager[apsw.Connection]:
        """A read-only connection to the derived tables, brought up to date with the ledger before: all that is read there is of one moment.

        It is kept for the next reader where nothing went wrong.
        """
        return self._views.reading(synced=synced)

    @contextmanager
    def at(self, event_id: int, tick: Tick = lambda _done, _of: None) -> Iterator[KnowledgeBase]:
        """The base as event ``event_id`` left it, for reading (ADR 6); ``tick`` hears how far the making of that state is."""
        if event_id >= self.ledger.head().id:
            yield self
            return
        with self._views.at(event_id, tick) as path:
            base = KnowledgeBase(self.root, self.ledger, path, self.redactor.salt, self.redactor.rules, until=event_id)
            base.redactor = self.redactor  # it knows what it has masked
            try:
                yield base
            finally:
                base.close()

    def event_at(self, ts_ms: int) -> int:
        """The last event of the state at a time (Unix milliseconds), 0 before the first one; see :mod:`runloop.kb.clock`."""
        with self.reading() as db:
            return last_until(db, self.ledger, ts_ms)

    def close(self) -> None:
        """Close both files; of a base that shows the past, its own."""
        self._views.close()
        with self._lock:
            if self._vectors is not None:
                self._vectors.close()
        if self.until is None:
            self.ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
