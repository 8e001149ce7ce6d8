"""Replay: every attempt of a recorded run again, answered from its record, with nobody who could act."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runloop.effects.journal import Diverged, Journal
from runloop.errors import RunloopError, VerificationFailed, Where
from runloop.events import RunIdentity, outputs_hash
from runloop.openings import parse_opening
from runloop.policy import OpeningPolicy
from runloop.runs.approvals import ApprovalDesk
from runloop.runs.attempt import AttemptSpec, failure_of, ports_of
from runloop.runs.crossings import AttemptIdentity, Crossings, RecordEnded
from runloop.runs.operator import Nobody
from runloop.runs.recorder import Recorder
from runloop.runs.services import RunRules
from runloop.sandbox.spec import GuestError

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Iterable

    from runloop.bundles import Bundle
    from runloop.effects.types import Performer
    from runloop.events import NewEvent, StoredEvent
    from runloop.runs.history import RecordedAttempt, RecordedRun
    from runloop.runs.services import Guests
    from runloop.sandbox.spec import Limits

_STOPPED = frozenset({"timeout", "budget", "worker.crashed"})
"""Codes of attempts that did not end by themselves: how far the guest came is not in the record."""


@dataclass(frozen=True, slots=True)
class ReplayedAttempt:
    """One attempt of a replay: ``same``, ``differs``, ``cut`` (it was stopped from outside) or ``skipped`` (a nested opening)."""

    node: str
    attempt: int
    verdict: str
    calls: int
    expected: str | None
    actual: str | None
    detail: str = ""


class _NoLedger:
    """A replay writes nothing; a try to is a defect."""

    def append(self, events: Iterable[NewEvent]) -> Future[list[StoredEvent]]:
        raise AssertionError("a replay must not record")


@dataclass(frozen=True, slots=True)
class Replayer:
    """Re-runs recorded attempts. ``virtual`` performs the calls that follow from the run itself; nothing else can be performed."""

    guests: Guests
    resolve_agent: Callable[[str, str | None], Bundle]
    limits_of: Callable[[Bundle], Limits]
    virtual: Mapping[str, Performer]
    guest_digest: str

    async def replay(self, run: RecordedRun) -> list[ReplayedAttempt]:
        """Every attempt of ``run`` in order. Raises VerificationFailed where it cannot even begin."""
        recorded_guest = run.submitted["versions"].get("guest")
        if recorded_guest not in {None, self.guest_digest}:
            raise VerificationFailed(
                f"the run was made with another Python guest ({recorded_guest[:12]}, here {self.guest_digest[:12]})",
                code="replay.guest",
                hint="replay it with the Runloop version that made it",
            )
        opening = parse_opening(
            run.submitted["opening"]["source"], file=run.submitted["opening"].get("file"), params=run.submitted["params"] or None
        )
        with_args = {node.id: node.with_args for node in opening.nodes}
        kinds = {node.id: node for node in opening.nodes}
        verdicts = []
        for attempt in run.attempts:
            node = kinds[attempt.node]
            if node.kind != "agent":
                verdicts.append(
                    ReplayedAttempt(attempt.node, attempt.attempt, "skipped", 0, None, None, "a nested opening is a run of its own")
                )
                continue
            if attempt.status in {None, "cancelled"} or (attempt.error or {}).get("code") in _STOPPED:
                detail = f"it was stopped from outside; its {len(attempt.crossings)} calls are in the record"
                verdicts.append(ReplayedAttempt(attempt.node, attempt.attempt, "cut", len(attempt.crossings), None, None, detail))
                continue
            bundle = self.resolve_agent(node.name, node.variant)
            if attempt.agent.get("digest") != bundle.digest:
                raise VerificationFailed(
                    f"agent {bundle.ref} changed since the run (then {str(attempt.agent.get('digest'))[:12]}, now {bundle.digest[:12]})",
                    code="replay.bundle",
                    where=Where(node=attempt.node, file=str(bundle.root)),
                    hint="install the version that the run used",
                )
            verdicts.append(await self._attempt(run, attempt, with_args[attempt.node], bundle))
        return verdicts

    async def _attempt(self, run: RecordedRun, attempt: RecordedAttempt, with_args: Mapping[str, Any], bundle: Bundle) -> ReplayedAttempt:
        journal = Journal(attempt.node, attempt.attempt, attempt.crossings)
        recorder = Recorder(RunIdentity(run.run_id, "", "", run.opening_name), _NoLedger(), lambda: 0)
        desk = ApprovalDesk(recorder, Nobody(), OpeningPolicy(), RunRules())
        who = AttemptIdentity(run.run_id, attempt.node, attempt.attempt, bundle, None)
        crossings = Crossings(who, recorder, journal, self.virtual, desk, live=False)
        spec = AttemptSpec(run.run_id, attempt.node, attempt.attempt, with_args, attempt.inputs, run.seed, attempt.start_ms)
        expected = attempt.outputs_hash if attempt.error is None else f"error {attempt.error['code']}"
        try:
            result = await self.guests.run(spec.guest(bundle, self.limits_of(bundle)), crossings)
            journal.finish()
            actual = outputs_hash(ports_of(json.loads(result.result_json), bundle.ports_out))
        except GuestError as error:
            actual = f"error {failure_of(error, crossings.refusal).code}"
        except RecordEnded as ended:
            return ReplayedAttempt(attempt.node, attempt.attempt, "differs", journal.asked, expected, None, str(ended))
        except Diverged as diverged:
            return ReplayedAttempt(attempt.node, attempt.attempt, "differs", journal.asked, expected, None, diverged.message)
        except RunloopError as error:
            return ReplayedAttempt(attempt.node, attempt.attempt, "differs", journal.asked, expected, None, str(error))
        verdict = "same" if actual == expected else "differs"
        return ReplayedAttempt(attempt.node, attempt.attempt, verdict, journal.asked, expected, actual)
