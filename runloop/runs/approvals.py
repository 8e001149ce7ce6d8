"""The approval desk of one run: admission outside the model, then the person, each step in the ledger before it counts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, Protocol

from runloop.dataclass import dataclass
from runloop.effects.catalogue import effect_named
from runloop.effects.perform.ports import Question
from runloop.effects.types import CallError, CallErrorKind
from runloop.errors import RunloopError, Where
from runloop.events import NewEvent, value_hash
from runloop.events.records import ApprovalEnded, ApprovalRequested, Decider, OpenQuestion
from runloop.kb.origins import provenance_of
from runloop.policy import Admission, AdmissionRequest, Denial, Grant, OpeningPolicy, Scope, admit
from runloop.runs.errors import NeedsPerson
from runloop.runs.grants import STANDING, StandingGrant, StandingGrants
from runloop.runs.operator import ApprovalDecision, ApprovalRequest, Operator
from runloop.runs.recorder import Draft, Recorder
from runloop.runs.services import RunRules
from runloop.runs.used_on import used_on
from runloop.runs.waits import Wait
from runloop.text import CHANGED, OUTCOME

if TYPE_CHECKING:
    from runloop.effects.journal import Crossing
    from runloop.effects.types import CallContext, Evidence, Prepared
    from runloop.runs.crossings import Crossings
    from runloop.runs.history import Asked, RecordedAttempt

DENIED_BY_PERSON = "approval.rejected"
NOBODY_TO_ASK = "approval.nobody"
DENIED_BY_POLICY = "policy.denied"
IT_HAPPENED, DO_IT, GIVE_UP = OUTCOMES = ("it happened", "do it now", "give up")
"""What a person says about an external call that was begun and has no outcome."""
_PERSONS_OWN = frozenset({"model.complete"})
"""Actions whose other host the person chose in the configuration: asking again for each call would teach people not to read."""


class CallInFlight(Protocol):
    """The crossing that asks, as far as the desk looks at it."""

    at: Crossings
    args: dict[str, Any] | None
    args_hash: str
    call: int
    name: str
    pending: Crossing | None
    taint: tuple[str, ...]


@dataclass(slots=True)
class _Open:
    """A question that a person has before her; ``until`` ends it where a grant answers."""

    request: AdmissionRequest
    until: asyncio.Timeout
    granted: ApprovalDecision | None = None


@dataclass(slots=True)
class ApprovalDesk:
    """Decides about prepared calls of one run; keeps the grants that its person gave."""

    recorder: Recorder
    operator: Operator
    opening: OpeningPolicy
    rules: RunRules
    yes: bool = False
    asked: dict[str, Asked] = field(default_factory=dict)
    """What was asked before this process took the run up, by approval id."""
    decisions: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """What was decided before."""
    unused: set[str] = field(default_factory=set)
    """What of that was decided in a pause that lasts: nothing has followed from it."""
    grants: list[Grant] = field(default_factory=list)
    standing: StandingGrants = field(default_factory=StandingGrants)
    """What people approved beyond the run that asked."""
    _open: dict[str, _Open] = field(default_factory=dict, init=False)
    """What is asked now, by approval id."""
    _again: set[str] = field(default_factory=set, init=False)
    """What this process has asked or asked again, and has brought to an end or will."""

    async def admit(self, call: CallInFlight, prepared: Prepared, ctx: CallContext) -> None:
        """Return when the call may go on. Raises :class:`CallError` ``denied`` with what to change."""
        request = self._request(call, prepared, ctx)
        admission, refused = admit(request), self._refused(ctx)
        if not refused and admission.decision != "allow" and (granted := self._granted(request)) is not None:
            await self._pass_by_grant(granted, prepared, ctx, admission)
            return
        if admission.decision == "deny":
            raise _denied(admission, request)
        if admission.decision == "ask" or refused:
            await self._ask(call, prepared, ctx, request, admission)
        elif ctx.question_id not in self.decisions:
            in_advance = admission.rule == "approved_in_advance"
            if in_advance or ctx.question_id in self.asked:  # what an earlier process asked may be granted by now
                decision = ApprovalDecision(approved=True, role="advance" if in_advance else "grant", rationale=admission.reason)
                await self._decided_unasked(ctx.question_id, prepared, ctx, admission, decision)

    def _refused(self, ctx: CallContext) -> bool:
        """Whether a person said no, on record or not heard yet: that counts, whatever would answer by now."""
        decided = self.decisions.get(self._asked_last(ctx.question_id)[0]) or {}
        return decided.get("decision") == "rejected" or self.operator.has_said_no(ctx.question_id)

    def _granted(self, request: AdmissionRequest) -> StandingGrant | None:
        """The standing grant by which the request may pass."""
        standing = self.standing.covering()
        return next((each for each in standing if admit(replace(request, grants=(each.grant,))).rule == "granted"), None)

    async def _pass_by_grant(self, granted: StandingGrant, prepared: Prepared, ctx: CallContext, admission: Admission) -> None:
        """Record which grant answers in the person's place."""
        if ctx.question_id not in self.decisions:
            await self._decided_unasked(ctx.question_id, prepared, ctx, admission, _by_standing(granted))

    async def _decided_unasked(
        self, approval_id: str, prepared: Prepared, ctx: CallContext, admission: Admission, decision: ApprovalDecision
    ) -> None:
        """Record what was decided without the person, who may have been asked by an earlier process under other rules."""
        asked = () if approval_id in self.asked else (self._asked(approval_id, prepared, ctx, admission),)
        self._again.add(approval_id)
        await self.recorder.write(*asked, _decided(approval_id, prepared, ctx, decision))

    def audit(self, call: CallInFlight, error: CallError) -> list[NewEvent]:
        """The ``cap.audit`` event of a refused capability, where the settings want it (spec 11)."""
        denial = error.denial
        if denial is None or not self.rules.audit_on_deny:
            return []
        told = {"cap": denial.cap, "op": denial.op, "target": denial.target, "reason": denial.reason}
        return self._audited(call, {**told, "decision": "deny", "severity": "warn"})

    def audit_allowed(self, call: CallInFlight) -> list[NewEvent]:
        """The ``cap.audit`` event of a capability that was used, where the settings want it; what needs none leaves none."""
        if not self.rules.audit_on_allow or (capability := effect_named(call.name).capability) == "none":
            return []
        told = {"cap": capability, "op": call.name, "target": used_on(call.name, call.args or {}), "reason": "granted"}
        return self._audited(call, {**told, "decision": "allow", "severity": "info"})

    def _audited(self, call: CallInFlight, told: Mapping[str, str]) -> list[NewEvent]:
        who, run = call.at.who, self.recorder.identity
        payload = {**told, "agent": who.agent_id, "args_hash": call.args_hash}
        provenance = {"trace_id": run.trace_id, "opening_id": run.opening_id, "agent_id": who.agent_id, "rationale": "capability audit"}
        provenance |= provenance_of(frozenset(call.taint))
        return [NewEvent(kind="cap.audit", payload=payload, actor=who.agent_id, scope="system", provenance=provenance)]

    def _request(self, call: CallInFlight, prepared: Prepared, ctx: CallContext) -> AdmissionRequest:
        data = prepared.data
        argv = data.get("argv", ()) if prepared.action == "exec.run" else ()
        denial = None
        if prepared.action in self.rules.denied_actions:
            denial = Denial(
                "policy", prepared.action, "action_denied", "", "`rlp config explain policy.deny_actions` says where it is forbidden"
            )
        return AdmissionRequest(
            action=prepared.action,
            klass=prepared.klass.value,
            agent=call.at.who.bundle.digest,
            run_id=ctx.run_id,
            crossing=ctx.idempotency_key,
            content_hash=value_hash(prepared.what),
            targets=frozenset(prepared.recipients),
            denial=denial,
            external=prepared.external,
            reversible=prepared.reversible,
            because=prepared.because,
            leaves_machine=prepared.leaves_machine and prepared.action not in _PERSONS_OWN,
            taint=ctx.taint,
            argv=tuple(argv),
            opening=self.opening,
            confirm_external_actions=self.rules.confirm_external_actions,
            operator_present=self.operator.present,
            yes=self.yes,
            grants=tuple(self.grants),
        )

    async def _ask(self, call: CallInFlight, prepared: Prepared, ctx: CallContext, request: AdmissionRequest, admission: Admission) -> None:
        approval_id, before = self._asked_last(ctx.question_id)
        closes: list[Draft] = []
        instead_of = ""
        if before is not None and before.what != prepared.what:  # what stands there now is not what was shown then
            if approval_id not in self.decisions:
                closes.append(_expired(approval_id, prepared.action, ctx.node, ctx.attempt, ctx.call, CHANGED))
                instead_of = approval_id
            before, approval_id = None, f"{ctx.question_id}/{ctx.now_ms}"
        if before is None:
            event_id = await self._requested(call, approval_id, prepared, *closes, self._asked(approval_id, prepared, ctx, admission))
        else:
            event_id = before.event_id
        known = self.decisions.get(approval_id)
        if known is not None:
            decision = _decision_of(known)
        else:
            asked = ApprovalRequest(
                approval_id=approval_id,
                run_id=ctx.run_id,
                opening_name=self.recorder.identity.opening_name,
                node=ctx.node,
                agent=ctx.agent,
                action=prepared.action,
                what=prepared.what,
                recipients=prepared.recipients,
                reason=admission.reason,
                scopes=admission.scopes,
                taint=ctx.taint,
                asked_ms=None if before is None else before.at_ms,
                instead_of=instead_of,
            )
            decision = await self._decided_by_person(call, asked, prepared, ctx, event_id, request)
        if not decision.approved:
            why = f": {decision.rationale}" if decision.rationale else ""
            message = f"{prepared.action} was not approved{why}"
            raise CallError(CallErrorKind.DENIED, message, code=DENIED_BY_PERSON, hint="nothing was done; run it again to be asked again")
        if decision.scope in STANDING and known is None:
            self._keep(Grant.for_request(request, decision.scope), approval_id, ctx)
        self.grants.append(Grant.for_request(request, Scope.ONCE if decision.scope in STANDING else decision.scope))
        self._look_again()

    def _keep(self, grant: Grant, approval_id: str, ctx: CallContext) -> None:
        """Let a grant outlive the run; where that cannot be written, the person is asked again, which is the careful side."""
        name = self.recorder.identity.opening_name
        given = StandingGrant.given(
            grant, agent_name=ctx.agent, opening_name=name, approval_id=approval_id, given_ms=self.recorder.clock_ms()
        )
        with suppress(OSError, RunloopError):
            self.standing.keep(given)

    async def _decided_by_person(
        self,
        call: CallInFlight,
        asked: ApprovalRequest,
        prepared: Prepared,
        ctx: CallContext,
        event_id: int,
        request: AdmissionRequest,
    ) -> ApprovalDecision:
        """Wait for the person, and record what was decided; an approval that nobody can give any more expires."""
        with (
            self._asks(asked.approval_id, asked.action, call),
            call.at.waits(Wait("person", None, OpenQuestion(asked.approval_id, event_id))),
        ):
            decision = await self._said_of(asked, request)
        if decision.approved and decision.scope not in asked.scopes:
            decision = ApprovalDecision(approved=True, scope=Scope.ONCE, role=decision.role, uid=decision.uid, rationale=decision.rationale)
        await self.recorder.write(_decided(asked.approval_id, prepared, ctx, decision))
        return decision

    async def _said_of(self, asked: ApprovalRequest, request: AdmissionRequest) -> ApprovalDecision:
        """What the person says, or what follows from what she says meanwhile about something else: nobody is asked what is granted."""
        self.standing.told.add(self._look_again)
        try:
            async with asyncio.timeout(None) as until:
                mine = self._open[asked.approval_id] = _Open(request, until)
                self._look_at(mine)  # it may have been granted while it came on record that it is asked
                return await self.operator.decide(asked)
        except TimeoutError:
            if mine.granted is None:
                raise
            return mine.granted
        finally:
            del self._open[asked.approval_id]
            if not self._open:
                self.standing.told.discard(self._look_again)
            del mine, until  # what is raised here knows this frame, and these know the task that it is raised in

    def _look_again(self, _given: Sequence[StandingGrant] = ()) -> None:
        """Grants were given: what is asked and covered by it needs no other answer."""
        for mine in self._open.values():
            self._look_at(mine)

    def _look_at(self, mine: _Open) -> None:
        """Withdraw what is asked where a grant covers it; a no that is here already comes before that."""
        if mine.granted is not None:
            return
        admission = admit(replace(mine.request, grants=tuple(self.grants)))
        if admission.rule == "granted":
            mine.granted = ApprovalDecision(approved=True, role="grant", rationale=admission.reason)
        elif admission.decision != "allow" and (standing := self._granted(mine.request)) is not None:
            mine.granted = _by_standing(standing)
        if mine.granted is not None:
            mine.until.reschedule(asyncio.get_running_loop().time())

    async def _requested(self, call: CallInFlight, approval_id: str, prepared: Prepared, *drafts: Draft) -> int:
        """Record what is asked, the last of ``drafts``, with what that closes; its event."""
        with self._asks(approval_id, prepared.action, call):  # an attempt may be stopped while that is on its way to the disk
            return (await self.recorder.write(*drafts))[-1].id

    @contextmanager
    def _asks(self, approval_id: str, action: str, call: CallInFlight) -> Iterator[None]:
        """What is asked in here has its end with that of the attempt, where that is stopped meanwhile."""
        self._again.add(approval_id)
        try:
            yield
        except asyncio.CancelledError:
            call.at.stopped(_expired(approval_id, action, call.at.who.node, call.at.who.attempt, call.call))
            raise

    def close(self, left: RecordedAttempt) -> list[Draft]:
        """The ends of what an attempt asked in an earlier process, and did not come to ask again in this one."""
        open_ = [(name, asked.meta) for name, asked in self.asked.items() if name in left.waits_for - self._again]
        return [_expired(name, meta["action"], left.node, left.attempt, meta["call"]) for name, meta in open_]

    def asked_at(self, ctx: CallContext) -> int:
        """When a person was asked about this call last, else when the call was made, else now: what is prepared then is what was shown."""
        before = self._asked_last(ctx.question_id)[1]
        return before.at_ms if before is not None else ctx.asked_ms or ctx.now_ms

    def _asked_last(self, question_id: str) -> tuple[str, Asked | None]:
        """The newest approval that was asked for about a call, with its id: there are several where what would happen has changed."""
        again = f"{question_id}/"
        ids = [each for each in self.asked if each == question_id or (each.startswith(again) and each.removeprefix(again).isdecimal())]
        return (ids[-1], self.asked[ids[-1]]) if ids else (question_id, None)

    async def settle(self, call: CallInFlight, prepared: Prepared, ctx: CallContext, evidence: Evidence) -> bool:
        """Ask whether an external call that was begun, now or by an earlier attempt, did happen; False where it shall be made now (ADR 5).

        Raises:
            CallError: ``effect.outcome_unknown`` where the person gives it up.
            NeedsPerson: nobody is there to say.

        """
        asking = self._outcome_asked(ctx) if call.pending is not None else _about_outcome(ctx, OUTCOME)
        approval_id = asking.question_id
        known, before = self.decisions.get(approval_id), self.asked.get(approval_id)
        if known is None:
            begun = "Runloop stopped" if call.pending is not None else f"An earlier attempt of node {ctx.node} ended"
            what = f"{begun} during {prepared.action}. Did it happen?\n\nEvidence: {evidence.text}\n\n{prepared.what}"
            if before is None:
                meta = ApprovalRequested(
                    approval_id, what, node=ctx.node, attempt=ctx.attempt, call=ctx.call, action=prepared.action,
                    recipients=list(prepared.recipients) or None, options=list(OUTCOMES),
                )  # fmt: skip
                says = f"{ctx.node} asks whether {prepared.action} happened"
                draft = Draft("approval.requested", says, meta, agent_id=f"agent:{ctx.agent}")
                event_id = await self._requested(call, approval_id, prepared, draft)
            else:
                event_id = before.event_id
            known = await self._say_of_outcome(call, asking, prepared.action, what, event_id)
            if known is None:
                raise NeedsPerson(
                    f"only a person can say whether {prepared.action} of node {ctx.node} happened",
                    where=Where(node=ctx.node),
                    hint="resume the run on a terminal, or answer with `rlp approve` while the daemon has it",
                )
        if known["decision"] == GIVE_UP:
            raise CallError(
                CallErrorKind.UNAVAILABLE, f"nobody knows whether {prepared.action} happened", code="effect.outcome_unknown",
                hint="a person gave this call up after it had been cut off in the middle", outcome_unknown=True,
            )  # fmt: skip
        return bool(known["decision"] == IT_HAPPENED)

    async def hear(self, call: CallInFlight, ctx: CallContext) -> None:
        """Let a person say in a pause what she was asked before of a call that was begun; it counts once the run goes on."""
        asking = self._outcome_asked(ctx)
        before = self.asked.get(approval_id := asking.question_id)
        if before is None or approval_id in self.decisions:
            return
        said = await self._say_of_outcome(call, asking, before.meta["action"], before.what, before.event_id)
        if said is not None:
            self.decisions[approval_id] = said
            self.unused.add(approval_id)

    async def _say_of_outcome(
        self, call: CallInFlight, asking: CallContext, action: str, what: str, event_id: int
    ) -> Mapping[str, Any] | None:
        """What a person says of a call that was begun, on record; None where nobody is there."""
        approval_id = asking.question_id
        question = Question(what, OUTCOMES, None, "", None, stays_open=True)
        wait = Wait("person", None, OpenQuestion(approval_id, event_id, "question"))
        with self._asks(approval_id, action, call), call.at.waits(wait):
            given = await self.operator.ask(question, asking)
        if given is None:
            self._again.discard(approval_id)
            return None
        by = Decider(given.by, given.uid)
        ended = ApprovalEnded(approval_id, given.answer, node=asking.node, attempt=asking.attempt, call=asking.call, by=by)
        await self.recorder.write(Draft("approval.decided", f"{action}: {given.answer}", ended, actor=f"agent:{given.by}"))
        return {"decision": given.answer}

    def has_asked(self, ctx: CallContext) -> bool:
        """Whether an earlier process asked something about a call."""
        return any(each == ctx.question_id or each.startswith(f"{ctx.question_id}/") for each in self.asked)

    def _outcome_asked(self, ctx: CallContext) -> CallContext:
        """The context of the question; what was to be made once more, and may have been cut off once more, is asked about anew."""
        asking, number = _about_outcome(ctx, OUTCOME), 1
        while asking.question_id not in self.unused and (self.decisions.get(asking.question_id) or {}).get("decision") == DO_IT:
            number += 1
            asking = _about_outcome(ctx, f"{OUTCOME}-{number}")
        return asking

    def _asked(self, approval_id: str, prepared: Prepared, ctx: CallContext, admission: Admission) -> Draft:
        meta = ApprovalRequested(
            approval_id,
            prepared.what,
            node=ctx.node,
            attempt=ctx.attempt,
            call=ctx.call,
            action=prepared.action,
            recipients=list(prepared.recipients) or None,
            options=[scope.value for scope in admission.scopes] or None,
            taint=sorted(ctx.taint) or None,
            prepared_ms=self.asked_at(ctx),
            reason=admission.reason,
        )
        return Draft("approval.requested", f"{ctx.node} asks for approval of {prepared.action}", meta, agent_id=f"agent:{ctx.agent}")


def _about_outcome(ctx: CallContext, what: str) -> CallContext:
    return replace(ctx, idempotency_key=f"{ctx.question_id}/{what}")


def _by_standing(granted: StandingGrant) -> ApprovalDecision:
    why = f"grant {granted.id}, given as {granted.grant.scope} with {granted.approval_id}"
    return ApprovalDecision(approved=True, role="grant", rationale=why)


def _expired(approval_id: str, action: str, node: str, attempt: int, call: int | None, how: str = "expired") -> Draft:
    """``approval.expired`` of a call that ends, or of which something else would follow by now, before anybody decided."""
    meta = ApprovalEnded(approval_id, how, node=node, attempt=attempt, call=call)
    why = "would do something else by now, and is asked anew" if how == CHANGED else "ended before anybody decided"
    return Draft("approval.expired", f"{action} {why}", meta)


def _decision_of(meta: Mapping[str, Any]) -> ApprovalDecision:
    by = meta.get("by") or {}
    scope = Scope(meta["scope"]) if meta.get("scope") else Scope.ONCE
    approved = meta["decision"] == "approved"
    return ApprovalDecision(approved, scope, by.get("role", "operator"), by.get("uid"), meta.get("rationale"))


def _decided(approval_id: str, prepared: Prepared, ctx: CallContext, decision: ApprovalDecision) -> Draft:
    meta = ApprovalEnded(
        approval_id,
        "approved" if decision.approved else "rejected",
        node=ctx.node,
        attempt=ctx.attempt,
        call=ctx.call,
        scope=decision.scope.value if decision.approved else None,
        by=Decider(decision.role, decision.uid),
        rationale=decision.rationale,
    )
    word = "approved" if decision.approved else "rejected"
    return Draft("approval.decided", f"{prepared.action} {word} by {decision.role}", meta, actor=f"agent:{decision.role}")


def _denied(admission: Admission, request: AdmissionRequest) -> CallError:
    code = NOBODY_TO_ASK if admission.rule == "nobody_to_ask" else DENIED_BY_POLICY
    return CallError(CallErrorKind.DENIED, f"{request.action}: {admission.reason}", code=code, hint=admission.hint)
