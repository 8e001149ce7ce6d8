"""What a run that is taken up again begins with: its pinned agents, the approvals that still hold, what it has spent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runloop.errors import InvalidInput
from runloop.events import value_hash
from runloop.events.records import RunChanged
from runloop.openings.states import NodeDone, RunDone, State, Status, StopNode
from runloop.policy import Grant, Scope
from runloop.runs.history import Spent
from runloop.runs.recorder import Draft

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from runloop.bundles import Bundle
    from runloop.openings import Opening
    from runloop.openings.states import Command
    from runloop.runs.history import RecordedRun
    from runloop.runs.services import Kept, Services

_NO_PERSON = frozenset({"advance", "grant"})
"""Who decides by what the opening says, or by a grant that may have been taken back since."""
_MOST_KNOWN = 50_000
"""Ended runs whose costs are kept in memory."""


def kept_bundles(opening: Opening, submitted: Mapping[str, Any], kept: Kept) -> dict[str, Bundle]:
    """The agents by node, as they were when the run was submitted. Raises RunloopError where one is not kept."""
    digests: Mapping[str, str] = submitted["versions"].get("bundles") or {}
    found: dict[str, Bundle] = {}
    loaded: dict[str, Bundle] = {}
    for node in opening.nodes:
        if node.kind != "agent":
            continue
        digest = digest_of(digests, node.name, node.variant)
        if digest is None:
            raise InvalidInput(f"the record names no version of agent {node.name}", code="run.not_pinned", hint="run the opening anew")
        if digest not in loaded:
            loaded[digest] = kept.bundle(digest)
        found[node.id] = loaded[digest]
    return found


def digest_of(digests: Mapping[str, str], name: str, variant: str | None) -> str | None:
    """The digest of an agent among those of a record, by its reference."""
    ref = name if variant is None else f"{name}@{variant}"
    return digests.get(ref) or next((each for other, each in digests.items() if other.partition("@")[0] == name), None)


def grants_of(recorded: RecordedRun, bundles: Mapping[str, Bundle], opening_digest: str) -> list[Grant]:
    """What the person's approvals still answer for in this run: the same call of a further attempt, or with scope ``run`` others like it.

    What reaches beyond the run is kept elsewhere. A fork has the second kind from its parent, and asks anew about the first.
    """
    grants = []
    for approval_id, decision in recorded.decisions.items():
        asked, by = recorded.asked.get(approval_id), decision.get("by") or {}
        if asked is None or decision["decision"] != "approved" or by.get("role") in _NO_PERSON:
            continue
        bundle = bundles.get(str(asked.meta.get("node")).partition("[")[0])
        if bundle is None:
            continue
        targets = frozenset(asked.meta.get("recipients") or ())
        crossing = f"{approval_id.partition('/')[0]}/{asked.meta['node']}/{asked.meta['call']}"
        scope = Scope.RUN if decision.get("scope") == Scope.RUN else Scope.ONCE
        facts = (asked.meta["action"], bundle.digest, targets, opening_digest, recorded.run_id, crossing, value_hash(asked.meta["what"]))
        grants.append(Grant(scope, *facts))
    return grants


def given_up(recorded: RecordedRun, node: str, cancelled: str | None) -> list[Command]:
    """What ends a run whose record tells of ``node`` (or an item), which its opening does not have: everything in it is stopped.

    Such a run was forked with other items for a node that had begun. ``cancelled`` is why, where that is how it ends.
    """
    why = cancelled or f"{node} began, and the parameters of the fork give {node.partition('[')[0]!r} other items"
    attempts = {attempt.node: attempt.attempt for attempt in recorded.attempts}
    stops = [StopNode(attempt.node, attempt.attempt, why) for attempt in recorded.open_attempts]
    left = [each for each, state in recorded.states.items() if state == "running"]
    ends = [NodeDone(each, attempts.get(each, 0), State.CANCELLED, {}, None, why) for each in left]
    status, code = (Status.FAILED, "fork.items") if cancelled is None else (Status.CANCELLED, "cancelled")
    return [*stops, *ends, RunDone(status, why, {}, code)]


async def spent_by_node(recorded: RecordedRun, load: Callable[[str], Awaitable[RecordedRun]], known: dict[str, Spent]) -> dict[str, Spent]:
    """What the nodes of a run have used, each with its items and the child runs below it.

    ``known`` are ended runs, with all below them, and learns those that are read: who starts thousands of runs, one after the other, is
    taken up without reading them all again.
    """
    totals: dict[str, Spent] = {}
    for attempt in recorded.attempts:
        total = totals.setdefault(attempt.node.partition("[")[0], Spent())
        total.add(attempt.spent)
        for child_id in attempt.children_of(recorded.run_id):
            if (spent := known.get(child_id)) is None:
                try:
                    child = await load(child_id)
                except InvalidInput:
                    continue  # it was never submitted
                spent = Spent()
                for each in (await spent_by_node(child, load, known)).values():
                    spent.add(each)
                if child.status is not None:
                    if len(known) >= _MOST_KNOWN:
                        del known[next(iter(known))]
                    known[child_id] = spent
            total.add(spent)
    return totals


def recovered(recorded: RecordedRun, services: Services, *, ends: bool) -> Draft:
    """``run.recovered``: this process takes the run up, be it only to end it."""
    left = recorded.open_attempts
    answered = sum(crossing.answered for attempt in left for crossing in attempt.crossings)
    why = "it is to end" if ends else "it comes back from its wait" if recorded.waiting is not None else "its process ended"
    version, begun_with = services.runloop_version, recorded.submitted["versions"]["runloop"]
    other = None if version == begun_with else version
    nodes = [attempt.node for attempt in left] or None
    meta = RunChanged(why, nodes=nodes, effects_answered=answered, owner=services.owner, runloop=other)
    return Draft("run.recovered", f"run taken up again: {why}", meta)
