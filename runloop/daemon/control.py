"""The verbs on ``rlp/ctrl``: one request, one reply (ADR 4). Each checks what it was given, and who asks."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from runloop.daemon import overview, reading
from runloop.daemon.errors import NeedsOperator
from runloop.daemon.feed import run_topic
from runloop.daemon.library import WithWorkdir
from runloop.daemon.lookups import Lookups
from runloop.daemon.people import Answer
from runloop.daemon.submitting import Request
from runloop.errors import InvalidInput, RunloopError, Where
from runloop.kb.runs import STATES, RunFilter, root_of
from runloop.policy import Scope
from runloop.rmp.registry import ID_OF, TYPE_OF
from runloop.runs.family import own_runs
from runloop.runs.fork import MOST_DIGITS
from runloop.runs.forking import ForkRequest
from runloop.runs.lookup import OpeningText
from runloop.runs.owners import living_owners
from runloop.runs.sources import OwnRuns

if TYPE_CHECKING:
    from runloop.bus.server import Request as BusRequest
    from runloop.bus.session import Peer
    from runloop.config import Settings
    from runloop.daemon.app import Daemon
    from runloop.router.values import RouterSettings

TOPIC = "rlp/ctrl"
_SCHEMA: Final = ID_OF["intent.ctrl.request.v1"]
_MAX_LINE = 65_536
_SHORT_LINE = 2048
"""Characters of a line, and of what it becomes, that are looked at while everything else waits."""
_MAX_BLOB = 4 * 1024 * 1024
_OPEN_BYTES = 4 * 1024 * 1024
"""Most bytes of what waits for a person in one answer; a frame takes twice as much."""
Verb = Callable[["Control", Mapping[str, Any], "Peer"], Coroutine[Any, Any, dict[str, Any]]]


class Control:
    """Answers requests; holds nothing itself but what the router needs of the settings in force."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._lookups = Lookups(daemon.bus.broker.sessions, daemon.bus.room)
        self._long_lines = asyncio.Lock()
        """Who showed no token has one long line looked at, and all others wait: the threads are everybody's."""
        self._routing: tuple[Settings, RouterSettings] | None = None

    async def handle(self, request: BusRequest) -> dict[str, Any]:
        """The payload of the reply: ``ok`` or ``error``, or upstream's words for an upstream request."""
        if (schema_id := request.message.header.schema_id) != _SCHEMA:
            raise InvalidInput(
                f"a request to the daemon is no {TYPE_OF[schema_id]}",
                code="ctrl.schema",
                where=Where(key="type"),
                hint="send it as intent.ctrl.request.v1, schema id 2001",
            )
        payload = request.payload
        if isinstance(payload, dict) and len(payload) == 1 and (found := next(iter(payload))) in _UPSTREAM:
            return await _UPSTREAM[found](self, reading.map_of(payload[found], found), request.peer)
        try:
            return {"ok": await self._verb(payload, request.peer)}
        except RunloopError as error:
            return {"error": {**error.to_dict(), "where": _where(error, payload), "exit_code": error.exit_code}}

    async def _verb(self, payload: Any, peer: Peer) -> dict[str, Any]:
        fields = reading.map_of(payload, "the request")
        name = fields.get("verb")
        verb = VERBS.get(name) if isinstance(name, str) else None
        if verb is None:
            known = ", ".join(VERBS)
            wrong = f"there is no verb {name[:80]!r}" if isinstance(name, str) else "the request names no verb"
            raise InvalidInput(wrong, code="ctrl.verb", where=Where(key="verb"), hint=f"the verbs are {known}")
        if name not in _FOR_EVERYBODY:
            _operator(peer, str(name))
        if name not in _LOOKING_UP:
            return await verb(self, fields, peer)
        return await self._lookups.look(peer, lambda: verb(self, fields, peer))

    # ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def submit(self, fields: Mapping[str, Any], peer: Peer) -> dict[str, Any]:
        """Take a run in; see :class:`runloop.daemon.submitting.Request`."""
        library = self._daemon.library
        workdir = reading.text(fields, "workdir", optional=True)
        lookup = WithWorkdir(library, reading.directory(fields, "workdir")) if workdir is not None else None
        source, name, file = (reading.text(fields, key, optional=True) for key in ("opening_source", "opening", "opening_file"))
        if (source is None) == (name is None):
            raise reading.bad("opening_source", "give the text of an opening, or the name of one as `opening`", missing=source is None)
        opening = OpeningText(source, file) if source is not None else (lookup or library).opening(str(name))
        request = Request(
            run_id=reading.uuid_of(fields, "request_id"),
            opening=opening,
            params=reading.map_in(fields, "params"),
            yes=reading.flag(fields, "yes"),
            digests=reading.digests(fields),
            lookup=lookup,
            session=peer.session if reading.flag(fields, "attended") else None,
            patient=reading.flag(fields, "patient"),
            workdir=workdir,
            traceparent=reading.traceparent(fields),
        )
        shown = await self._daemon.submitting.submit(request)
        return {**shown, "topic": run_topic(shown["run_id"])}

    async def fork(self, fields: Mapping[str, Any], peer: Peer) -> dict[str, Any]:
        """Begin a run that shares the history of another one; see :class:`runloop.runs.forking.ForkRequest`."""
        agents = {}
        for given in reading.maps_in(fields, "agents", "{name, path, digest?}"):
            name = str(reading.text(given, "name"))
            bundle = self._daemon.library.bundle_at(reading.directory(given, "path"))
            if (reading.text(given, "digest", optional=True) or bundle.digest) != bundle.digest:
                raise reading.bad("agents", f"the agent in {bundle.root} changed since it was asked for; ask again")
            agents[name] = bundle
        session = peer.session if reading.flag(fields, "attended") else None
        request = ForkRequest(
            self._daemon.hosting.roster.run_id_of(str(reading.run(fields))),
            reading.text(fields, "at", optional=True, empty=True),  # no point of any run, which is told as other such are
            reading.map_in(fields, "params"),
            reading.map_in(fields, "answers"),
            agents,
            mode="daemon",
            yes=reading.flag(fields, "yes"),
            patient=session is not None or reading.flag(fields, "patient"),
            run_id=reading.uuid_of(fields, "request_id"),
        )
        shown = await self._daemon.submitting.fork(request, session)
        return {**shown, "topic": run_topic(shown["run_id"])}

    async def describe_agents(self, fields: Mapping[str, Any], _peer: Peer) -> dict[str, Any]:
        """Version, digest, ports and schema of agents (spec 6.1)."""
        wanted = reading.maps_in(fields, "agents", form := "{name, variant?}")
        if not wanted:
            raise reading.bad("agents", f"give a list of 1 to {reading.MAX_LIST} {form}")
        found = []
        for ref in wanted:
            name, variant = str(reading.text(ref, "name")), reading.text(ref, "variant", optional=True)
            bundle = self._daemon.library.agent(name, variant)
            schema = {"with": dict(bundle.with_schema)} if bundle.with_schema is not None else {}
            found.append(
                {
                    "reference": {"name": name, **({} if variant is None else {"variant": variant})},
                    "version": bundle.version,
                    "digest": bundle.digest,
                    "manifest_digest": bundle.manifest_digest,
                    "schema": schema,
                    "ports": {"in": list(bundle.ports_in), "out": list(bundle.ports_out)},
                }
            )
        return {"agents": found}

    async def list(self, fields: Mapping[str, Any], _peer: Peer) -> dict[str, Any]:
        """The newest runs first; those of this daemon with the state that they have now."""
        state = reading.text(fields, "state", optional=True)
        if state is not None and state not in STATES:
            raise reading.bad("state", "use one of " + ", ".join(STATES))
        here = {each["run_id"]: each for each in self._daemon.hosting.roster.listing()}
        wanted = RunFilter(
            state,
            reading.text(fields, "opening", optional=True),
            reading.number(fields, "since_ms", None),
            reading.number(fields, "until_ms", None),
            reading.sought(fields, "text"),
            reading.number(fields, "limit", 50, low=1, high=reading.MAX_LIST) or 50,
            reading.number(fields, "offset", 0) or 0,
            living=frozenset(living_owners(self._daemon.kb.root)),
            here={run_id: each["state"] for run_id, each in here.items()},
            roots=reading.flag(fields, "roots"),
        )
        rows = await asyncio.to_thread(self._daemon.kb.runs, wanted)
        return {"runs": [_with_waits(row, here.get(row["run_id"])) for row in rows]}

    async def cancel(self, fields: Mapping[str, Any], _peer: Peer) -> dict[str, Any]:
        """Stop a run."""
        return await self._daemon.changing.cancel(str(reading.run(fields)), reading.reason(fields, "cancelled by an operator"))

    async def pause(self, fields: Mapping[str, Any], _peer: Peer) -> dict[str, Any]:
        """Let a run, or with ``all`` every run, begin nothing new."""
        if reading.flag(fields, "all"):
            return {"runs": await self._daemon.changing.pause_all(reading.reason(fields, "paused by an operator"))}
        return await self._daemon.changing.pause(str(reading.run(fields)), reading.reason(fields, "paused by an operator"))

    async def resume(self, fields: Mapping[str, Any], _peer: Peer) -> dict[str, Any]:
        """Let it go on."""
        if reading.flag(fields, "all"):
            return {"runs": await self._daemon.changing.resume_all(reading.reason(fields, "resumed by an operator"))}
        return await self._daemon.changing.resume(str(reading.run(fields)), reading.reason(fields, "resumed by an operator"))

    async def attach(self, fields: Mapping[str, Any], peer: Peer) -> dict[str, Any]:
        """Which subscription shows a run; ``attended`` says that a person follows there and can be asked.

        Whoever wants to begin behind the run's last record begins with its end, or with the next one where it has none.
        """
        roster = self._daemon.hosting.roster
        run_id = roster.run_id_of(str(reading.run(fields)))
        from_seq = reading.count(fields, "from_seq", 1, 1)
        await self._daemon.submitting.arrival(run_id)
        state = await roster.state_of(run_id)
        if reading.flag(fields, "attended") and roster.has(run_id):
            self._daemon.people.follow(run_id)
        row = await asyncio.to_thread(self._daemon.kb.run, run_id)
        parent = None if row is None else row["parent_run_id"]
        topic = run_topic(run_id) if parent is None else f"rlp/runs/run:{run_id}/events"
        last = None if row is None else row["last_seq"]
        if last is not None:
            from_seq = min(from_seq, last if row is not None and row["finished_ms"] is not None else last + 1)
        return {"run_id": run_id, "state": state, "topic": topic, "class": "durable", "from_seq": from_seq, "last_seq": last}

    async def blob(self, fields: Mapping[str, Any], _peer: Peer) -> dict[str, Any]:
        """A part of a large value that records name by its hash: canonical JSON, from ``offset`` on, at most ``limit`` bytes."""
        name = str(reading.text(fields, "blob"))
        offset, limit = reading.count(fields, "offset", 0, 0), reading.count(fields, "limit", 1, _MAX_BLOB)
        if not re.fullmatch(r"[0-9a-f]{64}", name):
            raise reading.bad("blob", "give the 64 hex digits that the record has")
        data = await asyncio.to_thread(self._daemon.kb.ledger.blob, name)
        return {"blob": name, "bytes": len(data), "offset": offset, "data": data[offset : offset + min(limit, _MAX_BLOB)]}

    # ── people ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def approvals(self, fields: Mapping[str, Any], _peer: Peer) -> dict[str, Any]:
        """What waits for a person, as much as an answer can hold; ``next`` is where to go on."""
        run, after = reading.run(fields, optional=True), _after(reading.text(fields, "after", optional=True))
        run_id = None if run is None else self._daemon.hosting.roster.run_id_of(run)
        return await asyncio.to_thread(_open, self._daemon, run_id, after)

    async def answer(self, fields: Mapping[str, Any], peer: Peer) -> dict[str, Any]:
        """Decide; the first answer counts."""
        scope = reading.text(fields, "scope", optional=True) or Scope.ONCE.value
        if scope not in {each.value for each in Scope}:
            raise reading.bad("scope", "use one of " + ", ".join(each.value for each in Scope))
        given = Answer(
            approved=None if fields.get("approved") is None else reading.flag(fields, "approved"),
            scope=Scope(scope),
            text=reading.text(fields, "answer", optional=True),
            rationale=reading.said(fields, "rationale"),
            uid=peer.uid,
        )
        shown = await self._daemon.people.answer(str(reading.text(fields, "approval_id")), given)
        decided = {} if given.approved is None else {"approved": given.approved}
        return {"approval_id": shown["approval_id"], "run_id": shown["run_id"], **decided}

    # ── the daemon ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def status(self, _fields: Mapping[str, Any], peer: Peer) -> dict[str, Any]:
        """How the daemon is; for operators also which runs are under way, which could not be taken up, and what is wrong with what file."""
        found = overview.status(self._daemon)
        if peer.role == "operator":
            return {**found, **overview.runs_of(self._daemon)}
        return {**found, "problems": [overview.kind_of(problem) for problem in found["problems"]]}

    async def library(self, _fields: Mapping[str, Any], _peer: Peer) -> dict[str, Any]:
        """The agents and openings that it has loaded, and those that it could not."""
        return {"entries": self._daemon.library.listing()}

    async def metrics(self, _fields: Mapping[str, Any], peer: Peer) -> dict[str, Any]:
        """A snapshot, and the same for Prometheus; for operators also the topics of the bus, whose names say what there is."""
        from runloop.daemon.metrics import prometheus

        found = overview.snapshot(self._daemon)
        shown = {"topics": overview.topics(self._daemon)} if peer.role == "operator" else {}
        return {"snapshot": found, **shown, "prometheus": prometheus(found, **shown)}

    async def route(self, fields: Mapping[str, Any], peer: Peer) -> dict[str, Any]:
        """Where a line typed at a prompt goes, by what that shell says that it knows (docs/router.md); the reason comes last.

        Which words are programs and files is the asker's to find: who may not see a directory would learn here what lies in it.
        ``brief`` leaves the features out.
        """
        from runloop.router.machine import facts, settings_of
        from runloop.router.reply import route_reply

        line = fields.get("line")
        if not isinstance(line, str) or len(line) > _MAX_LINE:
            raise reading.bad("line", f"send the line as text of at most {_MAX_LINE} characters")
        given = reading.map_in(fields, "facts")
        for name in ("commands", "files"):
            if not isinstance(given.get(name), list):
                hint = f"list the words of the line that are {name} where you are; the daemon does not look"
                raise reading.bad(f"facts.{name}", hint, missing=given.get(name) is None)
        settings = self._daemon.settings
        if self._routing is None or self._routing[0] is not settings:
            self._routing = (settings, settings_of(settings))
        looking = partial(route_reply, line, facts({}, given), self._routing[1], explain=True)
        quick = len(line) + _length(given) <= _SHORT_LINE
        reply = looking() if quick else await self._lookups.look(peer, partial(self._aside, looking, peer))
        if reading.flag(fields, "brief"):
            del reply["features"]
        return reply

    async def _aside(self, looking: Callable[[], dict[str, Any]], peer: Peer) -> dict[str, Any]:
        if peer.role == "operator":
            return await asyncio.to_thread(looking)
        async with self._long_lines:
            return await asyncio.to_thread(looking)

    async def reload(self, _fields: Mapping[str, Any], _peer: Peer) -> dict[str, Any]:
        """Read configuration, agents and openings anew."""
        return await self._daemon.reloading.reload("asked over the bus")

    async def drain(self, fields: Mapping[str, Any], _peer: Peer) -> dict[str, Any]:
        """Stop the daemon: no new runs, a grace for nodes that work, then the end."""
        self._daemon.stop("asked over the bus", grace_ms=reading.number(fields, "grace_ms", None))
        return {"state": "draining", "pid": self._daemon.pid}

    # ── upstream's forms (spec 6.1) ──────────────────────────────────────────────────────────────────────────────────────

    async def run_submit(self, fields: Mapping[str, Any], peer: Peer) -> dict[str, Any]:
        """``RunSubmit``."""
        request_id = fields.get("request_id")
        try:
            _operator(peer, "RunSubmit")
            given = reading.maps_in(fields, "agent_digests", "{reference: {name, variant?}, digest}")
            digests = [{**reading.map_in(each, "reference"), "digest": each.get("digest")} for each in given]
            ours = {"request_id": reading.bare(request_id), "opening_source": fields.get("opening_yaml"), "agent_digests": digests}
            found = await self.submit(ours, peer)
        except RunloopError as error:
            return {"RunRejected": {"request_id": request_id, "reason": _reason(error)}}
        names = ("trace_id", "opening_id", "opening_name")
        return {"RunAccepted": {"request_id": request_id, **{name: found[name] for name in names}}}

    async def run_cancel(self, fields: Mapping[str, Any], peer: Peer) -> dict[str, Any]:
        """``RunCancel``."""
        trace_id = fields.get("trace_id")
        try:
            _operator(peer, "RunCancel")
            await self._daemon.changing.cancel(reading.bare(trace_id), "cancelled by an operator")
        except RunloopError as error:
            return {"RunRejected": {"request_id": trace_id, "reason": error.message}}
        return {"RunCancelled": {"request_id": trace_id, "trace_id": trace_id}}

    async def agents_described(self, fields: Mapping[str, Any], peer: Peer) -> dict[str, Any]:
        """``DescribeAgents``."""
        request_id = fields.get("request_id")
        try:
            found = await self.describe_agents(fields, peer)
        except RunloopError as error:
            return {"AgentsDescribeFailed": {"request_id": request_id, "reason": error.message}}
        return {"AgentsDescribed": {"request_id": request_id, **found}}


def _length(facts: Mapping[str, Any]) -> int:
    """Characters of what a line becomes by what the shell knows."""
    aliases = facts.get("aliases") or {}
    return len(facts.get("expanded") or "") + sum(map(len, aliases.values()))


def _reason(error: RunloopError) -> str:
    """What is wrong in one text, as upstream answers: where it lies in the opening, if it does."""
    return error.message if error.where.line is None else f"{error.where}: {error.message}"


def _where(error: RunloopError, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Where an error lies: in the field that it is about, where who raised it knows of no request."""
    where = error.where.to_dict()
    field = next((name for name, codes in _ABOUT.items() if error.code in codes and name in fields), None)
    return where if field is None else {"key": field, **where}


def _after(place: str | None) -> tuple[int, str]:
    """The last item that was told, as ``next`` named it."""
    if place is None:
        return (-1, "")
    asked_ms, colon, approval_id = place.partition(":")
    if not colon or not asked_ms.isascii() or not asked_ms.isdecimal() or len(asked_ms) > MOST_DIGITS:
        raise reading.bad("after", "give `next` of the answer before")
    return int(asked_ms), approval_id


def _open(daemon: Daemon, run_id: str | None, after: tuple[int, str]) -> dict[str, Any]:
    """What waits after that item in a run and those that it started, oldest first, with the opening's name; reads the knowledge base."""
    listed: list[dict[str, Any]] = []
    size, more = 0, None
    root, within = run_id, None
    if run_id is not None and not daemon.hosting.roster.has(run_id) and (row := daemon.kb.run(run_id)) is not None:
        root, within = root_of(row), frozenset(own_runs(OwnRuns(daemon.kb), run_id))
    for each in daemon.people.listing(root):
        if within is not None and each["run_id"] not in within:
            continue
        place = each["asked_ms"], each["approval_id"]
        if place <= after:
            continue
        size += len(msgspec.msgpack.encode(each))
        if listed and size > _OPEN_BYTES:
            more = "{asked_ms}:{approval_id}".format_map(listed[-1])
            break
        listed.append(each)
    unnamed = {each["run_id"] for each in listed if "opening_name" not in each}
    names = daemon.kb.openings_of(unnamed) if unnamed else {}
    return {"open": [{"opening_name": names.get(each["run_id"]), **each} for each in listed], "next": more}


VERBS: dict[str, Verb] = {
    "submit": Control.submit,
    "fork": Control.fork,
    "describe_agents": Control.describe_agents,
    "list": Control.list,
    "cancel": Control.cancel,
    "pause": Control.pause,
    "resume": Control.resume,
    "attach": Control.attach,
    "blob": Control.blob,
    "approvals": Control.approvals,
    "answer": Control.answer,
    "status": Control.status,
    "library": Control.library,
    "metrics": Control.metrics,
    "route": Control.route,
    "reload": Control.reload,
    "drain": Control.drain,
}
_FOR_EVERYBODY = frozenset({"describe_agents", "status", "metrics", "route"})
"""What holds nothing that people wrote."""
_ABOUT: Final = {
    "run": {f"run.{why}" for why in ("unknown", "ambiguous", "ended", "not_here", "child", "imported", "archived", "driven")},
    "request_id": {"run.request_reused"},
    "blob": {"ledger.blob_missing"},
}
"""Fields by the codes of what can be wrong with what they name."""
_LOOKING_UP = frozenset({"list", "attach", "blob", "approvals"})
"""Verbs that read the knowledge base in a thread."""
_UPSTREAM: dict[str, Verb] = {
    "RunSubmit": Control.run_submit,
    "RunCancel": Control.run_cancel,
    "DescribeAgents": Control.agents_described,
}


def _with_waits(row: Mapping[str, Any], here: Mapping[str, Any] | None) -> dict[str, Any]:
    """A row of the table of runs with what the run waits for: as its records say, which is more exact, and else as the daemon knows."""
    known = {key: value for key, value in (here or {}).items() if key.startswith("waiting_") and row.get(key) is None}
    return {**row, **known}


def _operator(peer: Peer, verb: str) -> None:
    if peer.role != "operator":
        raise NeedsOperator(
            f"{verb} needs the operator role, and this connection has the role {peer.role or 'none'}",
            hint="send the token of the daemon's token file in the hello, with the role operator",
        )
