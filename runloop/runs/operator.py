"""The person behind a run, as the run sees them: somebody who can approve, and answer questions, or nobody."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Protocol

from runloop.dataclass import dataclass
from runloop.policy import Scope

if TYPE_CHECKING:
    from runloop.effects.perform.ports import PersonAnswer, Question
    from runloop.effects.types import CallContext


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """What a person decides about. ``what`` is exactly what would happen or leave the machine, never shortened."""

    approval_id: str
    run_id: str
    opening_name: str
    node: str
    agent: str
    action: str
    what: str
    recipients: tuple[str, ...]
    reason: str
    scopes: tuple[Scope, ...]
    taint: frozenset[str]
    asked_ms: int | None = field(default=None, compare=False)
    """When it was asked first, where an earlier process did."""
    instead_of: str = field(default="", compare=False)
    """The id under which it was asked before it changed, where nobody had decided it: a no to that is one to this."""


@dataclass(frozen=True, slots=True)
class ApprovalDecision:
    """The answer, who gave it and how far it reaches; ``uid`` is the user's numeric id where it is known."""

    approved: bool
    scope: Scope = Scope.ONCE
    role: str = "operator"
    uid: int | None = None
    rationale: str | None = None


class Operator(Protocol):
    """Reaches a person. Calls may come from several nodes at once; the operator puts them in order."""

    @property
    def present(self) -> bool:
        """Whether an approval could be given now."""
        ...

    def has_said_no(self, question_id: str) -> bool:
        """Whether a no waits for the run to ask again about that call, as it was or as it is by now."""
        ...

    async def decide(self, request: ApprovalRequest) -> ApprovalDecision:
        """Show the request and wait for the decision."""
        ...

    async def ask(self, question: Question, ctx: CallContext) -> PersonAnswer | None:
        """Put an agent's question; None when nobody is there."""
        ...


class Nobody:
    """The operator of a run that nobody watches: no approvals, no answers."""

    present = False

    def has_said_no(self, _question_id: str) -> bool:
        """Nobody does."""
        return False

    async def decide(self, request: ApprovalRequest) -> ApprovalDecision:
        """Refuse; admission denies before it comes to this."""
        return ApprovalDecision(approved=False, role="nobody", rationale=f"nobody is there to decide about {request.action}")

    async def ask(self, question: Question, ctx: CallContext) -> None:
        """Nobody answers."""
        return
