"""Taking runs in: each request once, whoever repeats it and when, within the room that there is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field
from functools import partial
from typing import TYPE_CHECKING, Any

from runloop.daemon.errors import DaemonBusy, DaemonDraining, RequestReused
from runloop.daemon.hosted import ids_of
from runloop.daemon.people import Person
from runloop.dataclass import dataclass
from runloop.errors import InvalidInput, RunloopError, Where
from runloop.events import RunIdentity
from runloop.kb.pruning.archived import ArchivedRuns
from runloop.openings import parse_once
from runloop.runs.beside import beside
from runloop.runs.forking import asks_for
from runloop.runs.submission import Submission, submit_key
from runloop.tasks import shielded

if TYPE_CHECKING:
    from runloop.daemon.hosted import Hosted
    from runloop.daemon.hosting import Hosting
    from runloop.events import StoredEvent
    from runloop.openings import Opening
    from runloop.runs.forking import ForkRequest
    from runloop.runs.lookup import OpeningText
    from runloop.runs.services import Lookup

_LONG = 8_192
"""Characters of an opening whose reading takes more than some 15 ms, or 30 where it is written to take long."""
_LONGEST_WAIT_MS = 60_000


@dataclass(frozen=True, slots=True)
class Request:
    """A run that a client wants, under a UUID that becomes the run's; ``digests`` are the agents as the client sees them."""

    run_id: str
    opening: OpeningText
    params: Mapping[str, Any]
    yes: bool = False
    digests: tuple[Mapping[str, Any], ...] = ()
    lookup: Lookup | None = None
    session: str | None = None
    """The connection whose person can be asked about the run."""
    patient: bool = False
    """Approvals wait until somebody answers, although nobody follows the run."""
    workdir: str | None = None
    """Whose names ``lookup`` adds."""
    traceparent: str | None = None
    """The submitter's span that the run is part of."""

    async def parsed(self) -> Opening:
        """The opening with these parameters; a long one, which may take a second, is read beside everything else. Raises OpeningError."""
        read = partial(parse_once, self.opening.source, file=self.opening.file, params=self.params)
        return read() if len(self.opening.source) < _LONG else await beside(read)


@dataclass(slots=True)
class Submitting:
    """What was taken in is in the ledger, and the request again is answered from there. Lives on the event loop of ``hosting``."""

    hosting: Hosting
    refresh: Callable[[], Awaitable[object]]
    """Looks at the files of agents and openings now."""
    refused: int = 0
    _coming: dict[str, asyncio.Future[Hosted]] = field(default_factory=dict)
    """Submissions on their way to the ledger, by run id."""
    _forking: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One fork is made at a time, so that a repeated request finds the first."""
    _forks: dict[asyncio.Future[dict[str, Any]], str] = field(default_factory=dict)
    """Forks that are being made or wait for their turn, with their run ids."""

    def under_way(self, run_id: str) -> bool:
        """Whether the run may be in the ledger already although nobody has it yet."""
        return run_id in self._coming or self._forking.locked()

    async def arrival(self, run_id: str) -> None:
        """Return once a run is here that is just being taken in, or will not be."""
        coming: list[asyncio.Future[Any]] = [fork for fork, made in self._forks.items() if made == run_id]
        if run_id in self._coming:
            coming.append(self._coming[run_id])
        if coming:
            await asyncio.wait(coming)

    async def submit(self, request: Request) -> dict[str, Any]:
        """Take a run in; its ids and state. The same request again, also after a restart, is answered with the same run.

        Raises:
            DaemonBusy, DaemonDraining: not now.
            RequestReused: the id stands for a fork, another opening or other parameters.
            RunloopError: the opening or its agents cannot be used.

        """
        run_id = request.run_id
        if (coming := self._coming.get(run_id)) is not None:
            await shielded(coming)
        if (stored := self._stored(run_id)) is not None:
            await self._check_same(request, stored)
            return await self._repeated(stored)
        self._check_room()
        taking = self._coming[run_id] = asyncio.ensure_future(self._take_in(request))
        taking.add_done_callback(lambda done: self._came(run_id, done))
        hosted = await shielded(taking)  # once it is on its way to the ledger it is taken in, though nobody waits any more
        return {**hosted.shown(), "state": hosted.state, "repeated": False}

    def _came(self, run_id: str, taking: asyncio.Future[Hosted]) -> None:
        """The run is here, or it is known why not, which concerns those who wait for it."""
        del self._coming[run_id]
        if not taking.cancelled() and taking.exception() is None:
            self.hosting.pump()

    async def fork(self, request: ForkRequest, session: str | None) -> dict[str, Any]:
        """Take in a fork; its ids and state. The same request again is answered with the same run.

        Raises:
            DaemonBusy, DaemonDraining: not now.
            RequestReused: the id stands for another run, or another fork.
            RunloopError: as :meth:`RunManager.fork`.

        """
        forking = asyncio.ensure_future(self._fork(request, session))
        self._forks[forking] = str(request.run_id)
        forking.add_done_callback(self._forks.pop)
        return await shielded(forking)  # as a submission: once begun it is taken in

    async def _fork(self, request: ForkRequest, session: str | None) -> dict[str, Any]:
        run_id, hosting = str(request.run_id), self.hosting
        async with self._forking:
            if (stored := self._stored(run_id)) is not None:
                if not await asyncio.to_thread(asks_for, hosting.kb.ledger, request, stored):
                    raise _reused(run_id)
                return await self._repeated(stored)
            archived = ArchivedRuns(hosting.kb.ledger)
            if archived.place(request.parent) is not None:
                raise archived.refusal(request.parent)
            self._check_room()
            person = Person(hosting.people)
            run = await hosting.manager.fork(hosting.kb.ledger, request, operator=person, parks=hosting.park)
            hosted = hosting.host(run, person, session, patient=request.patient)
        hosting.pump()
        return {**hosted.shown(), "state": hosted.state, "repeated": False}

    # ── a request that came before ───────────────────────────────────────────────────────────────────────────────────────

    def _stored(self, run_id: str) -> StoredEvent | None:
        """What the ledger has of a request with that id, None where it is new. Raises why it cannot be answered."""
        ledger = self.hosting.kb.ledger
        if not ledger.knows(submit_key(run_id), run_id):
            return None
        stored = ledger.by_key(submit_key(run_id))
        if stored is None:
            archived = ArchivedRuns(ledger)
            raise archived.refusal(run_id) if archived.place(run_id) is not None else _reused(run_id)
        return ledger.full(stored)

    async def _repeated(self, stored: StoredEvent) -> dict[str, Any]:
        payload = stored.payload
        identity = RunIdentity(payload["run_id"], stored.provenance["trace_id"], payload["opening_id"], payload["opening_name"])
        return {**ids_of(identity), "state": await self.hosting.roster.state_of(identity.run_id), "repeated": True}

    async def _check_same(self, request: Request, stored: StoredEvent) -> None:
        opening, meta = await request.parsed(), stored.payload["meta"]
        if meta.get("forked_from") or (opening.digest, dict(opening.params)) != (meta["opening_digest"], meta["params"]):
            raise _reused(request.run_id)

    # ── a new one ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _check_room(self) -> None:
        hosting = self.hosting
        if hosting.draining:
            raise DaemonDraining("the daemon is stopping and takes no new runs", hint="start it again with `rlp up`")
        queued = len(hosting.roster.queue)
        if hosting.running + queued + len(self._coming) >= hosting.max_runs + hosting.max_queued:
            self.refused += 1
            raise DaemonBusy(f"{queued} runs are queued already", retry_after_ms=self._retry_after_ms(queued))

    def _retry_after_ms(self, queued: int) -> int:
        """When a place is likely to be free, from how long runs took lately."""
        side_by_side, mean_ms = max(1, self.hosting.max_runs), self.hosting.mean_ms
        return int(min(_LONGEST_WAIT_MS, max(100, mean_ms * max(1.0, queued / side_by_side) / side_by_side + 100)))

    async def _take_in(self, request: Request) -> Hosted:
        hosting, opening = self.hosting, await request.parsed()
        person = Person(hosting.people)
        patient = request.patient or request.session is not None
        submission = Submission(
            opening, "daemon", request.yes, run_id=request.run_id, operator=person, lookup=request.lookup, workdir=request.workdir,
            patient=patient, traceparent=request.traceparent, parks=hosting.park,
        )  # fmt: skip
        try:
            self._check_agents(request, opening)
        except RunloopError:
            await self.refresh()  # the client may have seen a change, or made one, a moment before the daemon did
            self._check_agents(request, opening)
        return hosting.host(await hosting.manager.submit(submission), person, request.session, patient=patient)

    def _check_agents(self, request: Request, opening: Opening) -> None:
        """Refuse agents that are not there, or are not what the client saw (spec 6.2)."""
        resolve = request.lookup.agent if request.lookup else self.hosting.manager.services.resolve_agent
        given = {(each["name"], each.get("variant")): each["digest"] for each in request.digests}
        needed = {(node.name, node.variant) for node in opening.nodes if node.kind == "agent"}
        if not given:
            for agent in needed:
                resolve(*agent)
            return
        if set(given) != needed:
            used, told = (", ".join(sorted(map(_ref, each))) or "none" for each in (needed, given))
            hint = f"the opening uses {used}; digests were given of {told}"
            raise InvalidInput(
                "agent digest count mismatch between CLI and daemon", code="run.agent_digests", where=Where(key="agent_digests"), hint=hint
            )
        for (name, variant), digest in given.items():
            here = resolve(name, variant)
            if digest not in (here.digest, here.manifest_digest):
                message = f"agent {here.ref!r} digest mismatch (cli {digest[:12]}, daemon {here.digest[:12]})"
                where = Where(file=str(here.root), key="agent_digests")
                hint = "`rlp status` shows what the daemon could not load; `rlp agent build NAME|DIR` seals a bundle you changed"
                raise InvalidInput(message, code="run.agent_digests", where=where, hint=hint)


def _ref(agent: tuple[str, str | None]) -> str:
    return agent[0] if agent[1] is None else f"{agent[0]}@{agent[1]}"


def _reused(run_id: str) -> RequestReused:
    message = f"the request id {run_id} stands for another run"
    return RequestReused(message, where=Where(key="request_id"), hint="use a new UUID for a new run")
