"""The people that a daemon can reach: open approvals and questions, who follows which run, and the first answer that counts."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runloop.effects.perform.ports import PersonAnswer
from runloop.errors import InvalidInput
from runloop.policy import Scope
from runloop.runs.operator import ApprovalDecision

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from runloop.effects.perform.ports import Question
    from runloop.effects.types import CallContext
    from runloop.runs.operator import ApprovalRequest


@dataclass(slots=True)
class Open:
    """Something that waits for a person; ``shown`` is all of it as JSON."""

    shown: dict[str, Any]
    root: str
    answer: asyncio.Future[Answer]


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody said: to an approval yes or no and how far, to a question a text."""

    approved: bool = False
    scope: Scope = Scope.ONCE
    text: str | None = None
    rationale: str | None = None
    uid: int | None = None


@dataclass(slots=True)
class People:
    """Everybody whom the runs of this daemon can ask. ``announce`` publishes what is opened and what is closed."""

    announce: Callable[[dict[str, Any]], None]
    root_of: Callable[[str], str]
    wait_ms: int = 0
    opened: dict[str, Open] = field(default_factory=dict)
    _following: dict[str, set[str]] = field(default_factory=dict)
    _moved: dict[str, list[asyncio.Future[None]]] = field(default_factory=dict)

    # ── who is there ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def follow(self, root: str, session: str) -> None:
        """Somebody at a terminal follows the run and can be asked there."""
        self._following.setdefault(root, set()).add(session)
        self._tell(root)

    def keep(self, connected: Container[str]) -> None:
        """Only these connections are left."""
        for root, sessions in list(self._following.items()):
            left = {session for session in sessions if session in connected}
            if left != sessions:
                self._following[root] = left
                if not left:
                    del self._following[root]
                self._tell(root)

    def followed(self, root: str) -> bool:
        """Whether somebody at a terminal follows the run."""
        return root in self._following

    def done(self, root: str) -> None:
        """The run ended: nobody needs to follow it."""
        self._following.pop(root, None)

    @property
    def present(self) -> bool:
        """Whether a question has a chance of an answer; approvals ask :class:`Person`, who knows the run."""
        return True

    # ── what is open ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def listing(self, root: str | None = None) -> list[dict[str, Any]]:
        """What is open, oldest first; of one run and its children."""
        return [each.shown for each in self.opened.values() if root is None or each.root == root]

    def answer(self, approval_id: str, given: Answer) -> dict[str, Any]:
        """Decide; the first answer counts. Raises InvalidInput ``approval.unknown`` or what is wrong with the answer."""
        found = self.opened.get(approval_id)
        if found is None or found.answer.done():
            hint = "`rlp approve` lists what is open; somebody else may have answered"
            raise InvalidInput(f"nothing with the id {approval_id!r} is open", code="approval.unknown", hint=hint)
        shown = found.shown
        if shown["type"] == "question":
            options = shown["options"]
            if given.text is None or (options and given.text not in options):
                wanted = "one of " + ", ".join(options) if options else "a text"
                raise InvalidInput(f"the answer to a question is {wanted}", code="approval.answer", hint="give it with --answer")
        elif given.approved and given.scope.value not in shown["scopes"]:
            raise InvalidInput(
                f"this cannot be approved with the scope {given.scope.value}",
                code="approval.scope",
                hint="use " + " or ".join(shown["scopes"]),
            )
        found.answer.set_result(given)
        return shown

    async def decide(self, request: ApprovalRequest) -> ApprovalDecision:
        """As :class:`runloop.runs.operator.Operator`: wait for somebody, as long as the settings allow while nobody follows the run."""
        root = self.root_of(request.run_id)
        shown = {
            "type": "approval",
            "approval_id": request.approval_id,
            "run_id": request.run_id,
            "root_run_id": root,
            "opening_name": request.opening_name,
            "node": request.node,
            "agent": request.agent,
            "action": request.action,
            "what": request.what,
            "recipients": list(request.recipients),
            "reason": request.reason,
            "scopes": [scope.value for scope in request.scopes],
            "taint": sorted(request.taint),
        }
        given = await self._wait(request.approval_id, root, shown)
        if given is None:
            why = f"nobody answered within {self.wait_ms} ms" if self.wait_ms else "nobody follows the run any more"
            return ApprovalDecision(approved=False, role="nobody", rationale=why)
        return ApprovalDecision(approved=given.approved, scope=given.scope, uid=given.uid, rationale=given.rationale)

    async def ask(self, question: Question, ctx: CallContext) -> PersonAnswer | None:
        """Put an agent's question; the default counts where the time ran out, None where nobody is there."""
        root, question_id = self.root_of(ctx.run_id), f"{ctx.idempotency_key}/{ctx.attempt}"
        if not self.followed(root) and not self.wait_ms:
            return None
        shown = {
            "type": "question",
            "approval_id": question_id,
            "run_id": ctx.run_id,
            "root_run_id": root,
            "node": ctx.node,
            "agent": ctx.agent,
            "question": question.text,
            "options": list(question.options),
            "default": question.default,
            "detail": question.detail,
            "timeout_ms": question.timeout_ms,
        }
        try:
            async with asyncio.timeout(None if question.timeout_ms is None else question.timeout_ms / 1000):
                given = await self._wait(question_id, root, shown)
        except TimeoutError:
            return None if question.default is None else PersonAnswer(question.default, "default")
        return None if given is None or given.text is None else PersonAnswer(given.text, "operator")

    async def _wait(self, approval_id: str, root: str, shown: dict[str, Any]) -> Answer | None:
        """The answer, or None once nobody could give one for long enough."""
        shown["asked_ms"] = time.time_ns() // 1_000_000
        mine = Open(shown, root, asyncio.get_running_loop().create_future())
        self.opened[approval_id] = mine
        self.announce({"state": "open", **shown})
        try:
            while not mine.answer.done():
                seconds = None if self.followed(root) else self.wait_ms / 1000
                moved = self._change_of(root)
                waited: set[asyncio.Future[Any]] = {mine.answer, moved}
                done, _ = await asyncio.wait(waited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                self._forget(root, moved)
                if not done and not self.followed(root):
                    return None
            return mine.answer.result()
        finally:
            del self.opened[approval_id]
            kept = {key: shown[key] for key in ("type", "approval_id", "run_id", "root_run_id")}
            self.announce({"state": "closed", **kept})

    def _change_of(self, root: str) -> asyncio.Future[None]:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._moved.setdefault(root, []).append(waiter)
        return waiter

    def _forget(self, root: str, waiter: asyncio.Future[None]) -> None:
        waiters = self._moved.get(root, [])
        if waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del self._moved[root]

    def _tell(self, root: str) -> None:
        for waiter in self._moved.pop(root, ()):
            if not waiter.done():
                waiter.set_result(None)


@dataclass(slots=True)
class Person:
    """The operator of one run and its children: there while somebody follows the run, or while the settings let it wait."""

    people: People
    root: str | None = None

    @property
    def present(self) -> bool:
        """Whether an approval could be given now."""
        return self.people.wait_ms > 0 or (self.root is not None and self.people.followed(self.root))

    async def decide(self, request: ApprovalRequest) -> ApprovalDecision:
        """Ask."""
        return await self.people.decide(request)

    async def ask(self, question: Question, ctx: CallContext) -> PersonAnswer | None:
        """Ask."""
        return await self.people.ask(question, ctx)
