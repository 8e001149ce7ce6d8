"""Making a fork: its ``run.submitted`` and those of the child runs that it shares, in one commit; then it is taken up like any run."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any, Final, Literal

from runloop.dataclass import dataclass
from runloop.errors import InvalidInput, RunloopError, Where
from runloop.events import ERASED_KEY, NewEvent, RunIdentity, run_event
from runloop.runs.fork import ForkPoint, find_point, open_attempts, open_calls, recorded_overrides, shared, told_events
from runloop.runs.recovery import digest_of
from runloop.runs.results import child_id
from runloop.runs.submitted import opening_of

if TYPE_CHECKING:
    from runloop.bundles import Bundle
    from runloop.events import StoredEvent
    from runloop.openings import Opening
    from runloop.runs.services import Lookup, Services
    from runloop.runs.sources import RunSource

_OF_THE_REQUEST: Final = ("mode", "approve_in_advance", "patient")
"""What a ``run.submitted`` says of how its run was asked for."""


@dataclass(frozen=True, slots=True)
class ForkRequest:
    """A fork that somebody wants: of which run, from where (a record's number or a node), and what is other in it.

    ``answers`` are new answers by call; ``agents`` other bundles by the agent's name. ``run_id`` is a UUID that the requester chose.
    """

    parent: str
    at: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    answers: Mapping[str, Any] = field(default_factory=dict)
    agents: Mapping[str, Bundle] = field(default_factory=dict)
    mode: Literal["local", "daemon"] = "local"
    yes: bool = False
    patient: bool = False
    run_id: str | None = None
    workdir: str | None = None
    lookup: Lookup | None = None


@dataclass(frozen=True, slots=True)
class PlannedFork:
    """A fork before it is recorded: its opening, its agents by node, and what its ``run.submitted`` says."""

    run_id: str
    opening: Opening
    bundles: Mapping[str, Bundle]
    python_guest: str
    meta: Mapping[str, Any]
    told: Sequence[StoredEvent]
    seq: int


def plan_fork(services: Services, source: RunSource, request: ForkRequest) -> PlannedFork:
    """Read the parent, find the point, and check what is changed. Blocking.

    Raises:
        InvalidInput: ``run.unknown``, ``fork.erased``, ``fork.agent``, ``fork.items``, as :func:`find_point`, and as the opening's check.
        RunloopError: an agent of the parent is nowhere any more.

    """
    told = list(told_events(source, request.parent))
    if not told:
        raise InvalidInput(f"there is no run {request.parent}", code="run.unknown", hint="`rlp runs` lists the runs in the ledger")
    point = find_point(told, request.parent, request.at, request.answers)
    history = shared(told, request.parent, point.seq)
    _refuse_erased(told[0], history, request.parent)
    submitted = told[0].payload["meta"]
    params = {**(submitted["params"] or {}), **request.params}
    opening = opening_of({**submitted, "params": params})
    bundles = _bundles(services, opening, submitted, request)
    _check_items(opening, opening_of(submitted), history, point.seq)
    guest = submitted["versions"].get("guest") if open_attempts(history) else None
    meta = {
        **_carried(services, submitted, owner=services.owner),
        "opening_digest": opening.digest,
        "params": dict(opening.params),
        "versions": {
            "runloop": services.runloop_version,
            "guest": guest or services.guest_digest,
            "bundles": {**(submitted["versions"].get("bundles") or {}), **{bundle.ref: bundle.digest for bundle in bundles.values()}},
        },
        "mode": request.mode,
        "forked_from": {"run_id": request.parent, "seq": point.seq},
        "overrides": _overrides(point, request),
        "approve_in_advance": request.yes or None,
        "patient": request.patient or None,
        "workdir": request.workdir or submitted.get("workdir"),
    }
    run_id = request.run_id or str(uuid.UUID(bytes=services.fresh(16), version=4))
    kept = {key: value for key, value in meta.items() if value is not None}
    return PlannedFork(run_id, opening, bundles, guest or services.guest_digest, kept, told, point.seq)


def _refuse_erased(submitted: StoredEvent, history: Sequence[StoredEvent], parent: str) -> None:
    """What a run lost cannot be gone on from: an agent would take what stands in its place for what was said."""
    lost = next((event for event in (submitted, *history) if ERASED_KEY in event.payload and event.kind != "node.log"), None)
    if lost is not None:
        raise InvalidInput(
            f"texts of run {parent[:8]} that the fork would go on from were erased (event {lost.id})",
            code="fork.erased",
            hint="fork before that record, or run its opening anew",
        )


def asks_for(source: RunSource, request: ForkRequest, stored: StoredEvent) -> bool:
    """Whether the fork that a ``run.submitted`` begins is the one that is asked for. Blocking; raises as :func:`find_point`.

    Of a parent that is not in the ledger any more the point cannot be found: then the other things decide.
    """
    meta = stored.payload["meta"]
    if (meta.get("forked_from") or {}).get("run_id") != request.parent:
        return False
    told = list(told_events(source, request.parent))
    if not told:
        return True
    point = find_point(told, request.parent, request.at, request.answers)
    return (meta["forked_from"]["seq"], meta.get("overrides")) == (point.seq, _overrides(point, request))


def _overrides(point: ForkPoint, request: ForkRequest) -> dict[str, Any] | None:
    return recorded_overrides(point, request.params, {name: bundle.digest for name, bundle in request.agents.items()})


def _check_items(opening: Opening, before: Opening, history: Sequence[StoredEvent], seq: int) -> None:
    """Refuse other items for a node that began with those of the parent: what it did would be about none of them."""
    begun = {event.payload["meta"]["node"].partition("[")[0] for event in history if event.kind in ("node.started", "node.finished")}
    for node, old in zip(opening.nodes, before.nodes, strict=True):
        if node.for_each != old.for_each and node.id in begun:
            raise InvalidInput(
                f"node {node.id} began before record {seq}, and the parameters give it other items",
                code="fork.items",
                where=Where(node=node.id, key="params"),
                hint=f"fork at {node.id}, or leave the parameter as it was",
            )


def fork_events(services: Services, source: RunSource, fork: PlannedFork, key: str | None) -> list[NewEvent]:
    """The first records of the fork and of the forks of its child runs that were under way, to be stored together; the fork's is first."""
    parent = fork.meta["forked_from"]["run_id"]
    identity = RunIdentity(fork.run_id, f"trace:{fork.run_id}", _opening_id(services), fork.told[0].payload["opening_name"])
    message = f"fork of run {parent[:8]} after record {fork.seq} submitted"
    until = next((event.id for event in fork.told if event.payload["run_id"] == parent and event.payload["seq"] > fork.seq), None)
    own = run_event(identity, 1, "run.submitted", fork.meta, message, ts_ms=services.clock_ms(), key=key)
    wanted = {name: fork.meta.get(name) for name in _OF_THE_REQUEST}
    return [own, *_children(services, source, identity, wanted, parent, fork.told, fork.seq, until)]


def _children(
    services: Services,
    source: RunSource,
    fork: RunIdentity,
    wanted: Mapping[str, Any],
    parent: str,
    told: Sequence[StoredEvent],
    seq: int,
    until: int | None,
) -> Iterator[NewEvent]:
    """Forks of the child runs that were under way: what they did before the parent's next record (event ``until``) is not done again.

    ``wanted`` is what whoever forks says, for them as for their parent.
    """
    for node, attempt, call in open_calls(told, parent, seq):
        old = child_id(parent, node, attempt, call)
        below = list(told_events(source, old))
        before = [event.payload["seq"] for event in below if event.payload["run_id"] == old and (until is None or event.id < until)]
        if not before:
            continue  # the child had not begun
        child = child_id(fork.run_id, node, attempt, call)
        identity = RunIdentity(child, fork.trace_id, _opening_id(services), below[0].payload["opening_name"], fork.run_id)
        meta = {
            **_carried(services, {**below[0].payload["meta"], **wanted}, owner=services.owner),
            "forked_from": {"run_id": old, "seq": before[-1]},
        }
        message = f"fork of child run {old[:8]} after record {before[-1]} submitted"
        yield run_event(identity, 1, "run.submitted", meta, message, ts_ms=services.clock_ms())
        yield from _children(services, source, identity, wanted, old, below, before[-1], until)


def _bundles(services: Services, opening: Opening, submitted: Mapping[str, Any], request: ForkRequest) -> dict[str, Bundle]:
    """The agents by node: other code where it was asked for, else what the parent ran."""
    nodes = [node for node in opening.nodes if node.kind == "agent"]
    if unused := sorted(request.agents.keys() - {node.name for node in nodes}):
        hint = f"its agents: {', '.join(sorted({node.name for node in nodes}))}"
        raise InvalidInput(f"no node of the run is the agent {unused[0]!r}", code="fork.agent", where=Where(key="agents"), hint=hint)
    digests: Mapping[str, str] = submitted["versions"].get("bundles") or {}
    found: dict[str, Bundle] = {}
    for node in nodes:
        digest = digest_of(digests, node.name, node.variant) or ""
        found[node.id] = request.agents.get(node.name) or _pinned(services, request, node.name, node.variant, digest)
    return found


def _pinned(services: Services, request: ForkRequest, name: str, variant: str | None, digest: str) -> Bundle:
    """The version that the parent ran: kept, or still installed."""
    try:
        return services.kept.bundle(digest)
    except RunloopError:
        installed = (request.lookup.agent if request.lookup else services.resolve_agent)(name, variant)
        if installed.digest == digest:
            return installed
        raise InvalidInput(
            f"agent {name} is not here in the version that the run used (then {digest[:12]}, now {installed.digest[:12]})",
            code="fork.bundle",
            where=Where(key="agents"),
            hint=f"go on with the present one: {name} from {installed.root}",
        ) from None


def _carried(services: Services, submitted: Mapping[str, Any], owner: str | None) -> dict[str, Any]:
    """What a fork says as its parent did; who has it, and since when, is its own."""
    own = {"start_ms": services.clock_ms(), "owner": owner, "forked_from": None, "overrides": None, "traceparent": None}
    return {key: value for key, value in {**submitted, **own}.items() if value is not None}


def _opening_id(services: Services) -> str:
    return f"opening:{uuid.UUID(bytes=services.fresh(16), version=4)}"
