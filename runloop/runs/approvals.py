"""The approval desk of one run: admission outside the model, then the person, each step in the ledger before it counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from runloop.effects.types import CallError, CallErrorKind
from runloop.events import NewEvent, value_hash
from runloop.events.records import ApprovalEnded, ApprovalRequested, Decider
from runloop.policy import Admission, AdmissionRequest, Denial, Grant, OpeningPolicy, Scope, admit
from runloop.runs.operator import ApprovalDecision, ApprovalRequest, Operator
from runloop.runs.recorder import Draft, Recorder
from runloop.runs.services import RunRules

if TYPE_CHECKING:
    from runloop.effects.types import CallContext, Prepared
    from runloop.runs.crossings import Crossings

DENIED_BY_PERSON = "approval.rejected"
NOBODY_TO_ASK = "approval.nobody"
DENIED_BY_POLICY = "policy.denied"
_PERSONS_OWN = frozenset({"model.complete"})
"""Actions whose other host the person chose in the configuration: asking again for each call would teach people not to read."""


class CallInFlight(Protocol):
    """The crossing that asks, as far as the desk looks at it."""

    at: Crossings
    args_hash: str
    call: int
    name: str


@dataclass(slots=True)
class ApprovalDesk:
    """Decides about prepared calls of one run; keeps the grants that its person gave."""

    recorder: Recorder
    operator: Operator
    opening: OpeningPolicy
    rules: RunRules
    yes: bool = False
    grants: list[Grant] = field(default_factory=list)

    async def admit(self, call: CallInFlight, prepared: Prepared, ctx: CallContext) -> None:
        """Return when the call may go on. Raises :class:`CallError` ``denied`` with what to change."""
        request = self._request(call, prepared, ctx)
        admission = admit(request)
        if admission.decision == "deny":
            raise _denied(admission, request)
        if admission.decision == "ask":
            await self._ask(call, prepared, ctx, request, admission)
        elif admission.rule == "approved_in_advance":
            approval_id = _approval_id(ctx)
            decision = ApprovalDecision(approved=True, role="advance", rationale=admission.reason)
            asked = self._asked(approval_id, prepared, ctx, admission)
            await self.recorder.write(asked, _decided(approval_id, prepared, ctx, decision))

    def audit(self, call: CallInFlight, error: CallError) -> list[NewEvent]:
        """The ``cap.audit`` event of a refused capability, where the settings want it (spec 11)."""
        denial = error.denial
        if denial is None or not self.rules.audit_on_deny:
            return []
        who, run = call.at.who, self.recorder.identity
        payload = {
            "agent": who.agent_id,
            "cap": denial.cap,
            "op": denial.op,
            "target": denial.target,
            "args_hash": call.args_hash,
            "decision": "deny",
            "severity": "warn",
            "reason": denial.reason,
        }
        provenance = {"trace_id": run.trace_id, "opening_id": run.opening_id, "agent_id": who.agent_id, "rationale": "capability audit"}
        return [NewEvent(kind="cap.audit", payload=payload, actor=who.agent_id, scope="system", provenance=provenance)]

    def _request(self, call: CallInFlight, prepared: Prepared, ctx: CallContext) -> AdmissionRequest:
        data = prepared.data
        argv = data.get("argv", ()) if prepared.action == "exec.run" else ()
        denial = None
        if prepared.action in self.rules.denied_actions:
            denial = Denial(
                "policy", prepared.action, "action_denied", "", "policy.deny_actions of the system configuration forbids this action"
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
        approval_id = _approval_id(ctx)
        await self.recorder.write(self._asked(approval_id, prepared, ctx, admission))
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
        )
        call.at.waiting(True)
        try:
            decision = await self.operator.decide(asked)
        finally:
            call.at.waiting(False)
        if decision.approved and decision.scope not in admission.scopes:
            decision = ApprovalDecision(approved=True, scope=Scope.ONCE, role=decision.role, uid=decision.uid, rationale=decision.rationale)
        await self.recorder.write(_decided(approval_id, prepared, ctx, decision))
        if not decision.approved:
            why = f": {decision.rationale}" if decision.rationale else ""
            message = f"{prepared.action} was not approved{why}"
            raise CallError(CallErrorKind.DENIED, message, code=DENIED_BY_PERSON, hint="nothing was done; run it again to be asked again")
        self.grants.append(Grant.for_request(request, decision.scope))

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
        )
        return Draft("approval.requested", f"{ctx.node} asks for approval of {prepared.action}", meta, agent_id=f"agent:{ctx.agent}")


def _approval_id(ctx: CallContext) -> str:
    return f"{ctx.idempotency_key}/{ctx.attempt}"


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
