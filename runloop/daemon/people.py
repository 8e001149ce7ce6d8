"""The people that a daemon can reach: open approvals and questions, who follows which run, and the first answer that counts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any

from runloop.daemon.aside import Aside, Asides
from runloop.daemon.room import on_record
from runloop.dataclass import dataclass
from runloop.effects.perform.ports import PersonAnswer, in_time
from runloop.errors import InvalidInput, RunloopError, Where
from runloop.policy import Scope
from runloop.runs.operator import ApprovalDecision
from runloop.text import CHANGED

if TYPE_CHECKING:
    from runloop.effects.perform.ports import Question
    from runloop.effects.types import CallContext
    from runloop.events import StoredEvent
    from runloop.events.records import OpenQuestion
    from runloop.runs.grants import StandingGrant
    from runloop.runs.operator import ApprovalRequest

_HINT = "`rlp inbox` lists what is open; somebody else may have answered"
_PERSON = "operator"
"""Who decides what was answered here; a grant may have decided it a moment before."""
_OUTCOMES = frozenset({"effect.completed", "effect.failed", "effect.unknown"})


@dataclass(slots=True)
class Open:
    """Something that waits for a person; ``shown`` is all of it as JSON."""

    shown: dict[str, Any]
    root: str
    answer: asyncio.Future[Answer]


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody said: to an approval yes or no and how far, to a question a text."""

    approved: bool | None = None
    scope: Scope = Scope.ONCE
    text: str | None = None
    rationale: str | None = None
    uid: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Settling:
    """Somebody waits for it to be on record what was said to a run."""

    root: str
    done: asyncio.Future[None]


@dataclass(slots=True)
class People:
    """Everybody whom the runs of this daemon can ask. ``announce`` publishes what is opened and what is closed.

    ``event`` reads the ledger, blobs loaded; ``wake`` takes a parked run up again.
    """

    announce: Callable[[dict[str, Any]], None]
    root_of: Callable[[str], str]
    event: Callable[[int], StoredEvent]
    wait_ms: int = 0
    wake: Callable[[str], asyncio.Future[Any] | None] = lambda _root: None
    stalled: Callable[[], bool] = lambda: False
    """Whether the disk is full, so that nothing comes on record."""
    unreadable: Callable[[str, RunloopError], None] = lambda _name, _why: None
    """Hears, from any thread, of what waits in a parked run and cannot be read."""
    opened: dict[str, Open] = field(default_factory=dict)
    aside: Asides = field(default_factory=Asides)
    """What waits in parked runs, and in those taken up again that have not come to ask it."""
    patient: set[str] = field(default_factory=set)
    """Runs whose approvals wait as long as it takes."""
    parking: set[str] = field(default_factory=set)
    """Runs that are being parked: what they ask stays open, and can be answered, until they are put aside."""
    _given: dict[str, Answer] = field(default_factory=dict)
    """Answers to runs that have yet to ask."""
    _settled: dict[str, _Settling] = field(default_factory=dict)
    _refused: set[str] = field(default_factory=set)
    """Approvals to which somebody said no, until that is settled."""
    _followed: set[str] = field(default_factory=set)

    # ── who is there ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def follow(self, root: str) -> None:
        """Somebody at a terminal follows the run and can be asked there."""
        self._followed.add(root)

    def followed(self, root: str) -> bool:
        """Whether somebody at a terminal follows the run, or did: what it asks stays open when they leave."""
        return root in self._followed

    def waits_for_answers(self, root: str) -> bool:
        """Whether what the run asks may stay open although nobody follows it."""
        return root in self.patient

    def done(self, root: str, why: RunloopError | None = None) -> None:
        """The run ended, or goes on elsewhere or later, as ``why`` says: nobody needs to follow it, or to answer it here."""
        self._followed.discard(root)
        self.patient.discard(root)
        for name in self.aside.forget(root) | {name for name, each in self._settled.items() if each.root == root}:
            message = f"the run ended before it heard the answer to {name!r}"
            self._refuse(name, why or InvalidInput(message, code="approval.unknown", hint=_HINT))

    @property
    def present(self) -> bool:
        """Whether a question has a chance of an answer; approvals ask :class:`Person`, who knows the run."""
        return True

    # ── what is open ─────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def open_count(self) -> int:
        """How many approvals and questions are open."""
        return len(self.opened) + len(self.aside)

    def listing(self, root: str | None = None) -> list[dict[str, Any]]:
        """What is open, oldest first; of one run and its children. Reads the ledger for parked runs; any thread may call it.

        What cannot be read is told, and keeps nobody from the others: it raises where its run is asked for alone.
        """
        here = [each.shown for each in list(self.opened.values()) if root is None or each.root == root]  # at once: others go on meanwhile
        asked = [(name, each) for name, each in self.aside.items() if name not in self._given and (root is None or each.root == root)]
        parked = []
        for name, each in asked:
            try:
                parked.append(each.shown(name, self.event(each.event_id)))
            except RunloopError as error:
                if root is not None:
                    raise
                self.unreadable(name, error)
        return sorted([*here, *parked], key=lambda shown: (shown["asked_ms"], shown["approval_id"]))

    def asking_for(self, granted: Sequence[StandingGrant]) -> list[tuple[str, str, list[StandingGrant]]]:
        """The runs that ask, by root and id, with grants that may cover it. Reads the ledger for parked runs; any thread may call it."""
        asked = (each for each in self.listing() if each["type"] == "approval")
        might = ((each["root_run_id"], each["run_id"], [grant for grant in granted if grant.may_answer(each)]) for each in asked)
        return [found for found in might if found[2]]

    async def answer(self, approval_id: str, given: Answer) -> dict[str, Any]:
        """Decide; the first answer counts, and it is on record when this returns.

        Raises InvalidInput ``approval.unknown`` or what is wrong with the answer, why the run cannot be taken up, where it stays open,
        and LedgerFull where it has to wait for room, and counts then.
        """
        found, parked = self.opened.get(approval_id), self.aside.get(approval_id)
        settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if found is not None and not found.answer.done():
            shown = found.shown
            _check(shown, given)
            self._settled[approval_id] = settling = _Settling(found.root, settled)
            found.answer.set_result(given)
        elif parked is not None and approval_id not in self._given:
            shown = parked.shown(approval_id, self.event(parked.event_id))
            _check(shown, given)
            self._settled[approval_id] = settling = _Settling(parked.root, settled)
            self._given[approval_id] = given
            self._bring(approval_id, parked.root)
        else:
            where = Where(key="approval_id")
            raise InvalidInput(f"nothing with the id {approval_id!r} is open", code="approval.unknown", where=where, hint=_HINT)
        if given.approved is False:
            self._refused.add(approval_id)
        try:
            await on_record(settled, self.stalled)
        finally:
            self._refused.discard(approval_id)
            for name in [name for name, each in self._settled.items() if each is settling]:  # a no may have moved to what is asked anew
                del self._settled[name]
        return shown

    def _bring(self, approval_id: str, root: str) -> None:
        """Have a parked run taken up that hears the answer, unless it is."""
        waking = None if self.aside.is_back(root) else self.wake(root)
        if waking is not None:
            waking.add_done_callback(lambda woken: self._not_woken(approval_id, woken))

    def _not_woken(self, approval_id: str, woken: asyncio.Future[Any]) -> None:
        """What asks cannot be taken up: nobody has heard the answer."""
        error = None if woken.cancelled() else woken.exception()
        if error is not None:
            self._refuse(approval_id, error)

    def _refuse(self, approval_id: str, error: BaseException) -> None:
        """Take an answer back that a run did not get, and tell who gave it."""
        self._given.pop(approval_id, None)
        settling = self._settled.get(approval_id)
        if settling is not None and not settling.done.done():
            settling.done.set_exception(error)

    def take(self, record: Mapping[str, Any]) -> None:
        """See a record of any run: what it decides is settled, and not asked any more."""
        if not self._settled and not self.aside.some_are_back:
            return
        kind, meta = record["kind"], record["meta"]
        if kind in {"approval.decided", "approval.expired"}:
            changed = meta.get("decision") == CHANGED
            by_person = (meta.get("by") or {}).get("role", _PERSON) == _PERSON
            same = (meta.get("decision") == "approved") is not (meta["approval_id"] in self._refused)
            if not (changed and self._denies(meta["approval_id"])):
                self._settle(meta["approval_id"], heard=kind == "approval.decided" and (by_person or same), changed=changed)
        elif kind in _OUTCOMES:
            approval_id = f"{record['run_id']}/{meta['node']}/{meta['call']}/{meta['attempt']}"
            self._settle(approval_id, heard=kind == "effect.completed" and not _by_default(meta.get("result")))

    def has_said_no(self, question_id: str) -> bool:
        """Whether a run has yet to hear a no about that call, whatever it asked about it last."""
        return any(self._denies(each) for each in self._given if each == question_id or each.startswith(f"{question_id}/"))

    def _denies(self, approval_id: str) -> bool:
        """Whether a run has yet to hear a no, which counts whatever would happen by now."""
        return approval_id in self._given and self._given[approval_id].approved is False

    def _hear_no(self, denied: str, approval_id: str) -> None:
        """A no to what has changed meanwhile is one to what is asked in its place."""
        if self._denies(denied):
            self._given[approval_id] = self._given.pop(denied)
            if (settling := self._settled.pop(denied, None)) is not None:
                self._settled[approval_id] = settling

    def _settle(self, approval_id: str, *, heard: bool, changed: bool = False) -> None:
        """It is closed; whoever answered it a moment before is told so where the answer was not ``heard`` any more."""
        self.aside.asked(approval_id)
        self._given.pop(approval_id, None)
        settling = self._settled.get(approval_id)
        if settling is None or settling.done.done():
            return
        if heard:
            settling.done.set_result(None)
        elif changed:
            hint = "`rlp approve` shows it as it is now"
            self._refuse(
                approval_id, InvalidInput("what would happen has changed, so it is asked anew", code="approval.changed", hint=hint)
            )
        else:
            message = f"{approval_id!r} was closed before the answer was heard, so that nothing follows from it"
            self._refuse(approval_id, InvalidInput(message, code="approval.unknown", hint="`rlp show` tells how the run went on"))

    # ── parked runs ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def put_aside(self, root: str, questions: Iterable[OpenQuestion]) -> None:
        """The run is parked, with what it asks; what of that was answered meanwhile brings it back."""
        self.parking.discard(root)
        self.aside.forget(root)
        left = {name: self.opened.pop(name) for name, each in list(self.opened.items()) if each.root == root}
        for question in questions:
            name = question.approval_id
            self.aside.put(name, Aside(root, question.run_id or root, question.event_id, question.type == "question"))
            here = left.pop(name, None)
            if here is not None and here.answer.done():
                self._given[name] = here.answer.result()
                self._bring(name, root)
        for name, each in left.items():
            self._announce_closed(name, root, each.shown["run_id"], each.shown["type"])

    def bring_back(self, root: str) -> None:
        """The run is taken up again, and will ask by itself; it can be answered before."""
        self.aside.come_back(root)

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────────

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
        self.aside.asked(request.instead_of)
        self._hear_no(request.instead_of, request.approval_id)
        given = await self._wait(request.approval_id, root, shown, request.asked_ms)
        if given is None:
            why = f"nobody answered within {self.wait_ms} ms" if self.wait_ms else "nobody follows the run any more"
            return ApprovalDecision(approved=False, role="nobody", rationale=why)
        return ApprovalDecision(approved=bool(given.approved), scope=given.scope, uid=given.uid, rationale=given.rationale)

    async def ask(self, question: Question, ctx: CallContext) -> PersonAnswer | None:
        """Put an agent's question; the default counts where the time ran out, None where nobody is there.

        What closes by itself stays open until then.
        """
        root, question_id = self.root_of(ctx.run_id), ctx.question_id
        stays_open = question.stays_open or question.closes_ms is not None
        if not stays_open and not self.followed(root) and not self.wait_ms and not self.waits_for_answers(root):
            return None
        closes_ms, on_timeout = question.closes_ms, question.on_timeout
        if question.timeout_ms is not None:
            closes_ms, on_timeout = time.time_ns() // 1_000_000 + question.timeout_ms, question.default or ""
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
            "comment_on": list(question.comment_on),
            "closes_ms": closes_ms,
            "on_timeout": on_timeout,
        }
        try:
            async with asyncio.timeout(None if question.timeout_ms is None else question.timeout_ms / 1000):
                given = await self._wait(question_id, root, shown, ctx.asked_ms, stays_open=stays_open)
        except TimeoutError:
            return in_time(question)
        return None if given is None or given.text is None else PersonAnswer(given.text, "operator", given.rationale or "", given.uid)

    async def _wait(
        self, approval_id: str, root: str, shown: dict[str, Any], asked_ms: int | None, *, stays_open: bool = False
    ) -> Answer | None:
        """The answer, or None once nobody could give one for long enough."""
        self.aside.asked(approval_id)
        self.aside.asked(approval_id.rpartition("/")[0])
        before = self._given.pop(approval_id, None)
        if before is not None:
            self._announce_closed(approval_id, root, shown["run_id"], shown["type"])
            return before
        shown["asked_ms"] = asked_ms or time.time_ns() // 1_000_000
        mine = Open(shown, root, asyncio.get_running_loop().create_future())
        self.opened[approval_id] = mine
        self.announce({"state": "open", **shown})
        try:
            if not (stays_open or self.followed(root) or self.waits_for_answers(root)):
                answered, _ = await asyncio.wait({mine.answer}, timeout=self.wait_ms / 1000)
                if not answered and not self.followed(root):
                    return None
            await asyncio.wait({mine.answer})
            return mine.answer.result()
        finally:
            if root not in self.parking:
                del self.opened[approval_id]
                self._announce_closed(approval_id, root, shown["run_id"], shown["type"])

    def _announce_closed(self, approval_id: str, root: str, run_id: str, kind: str) -> None:
        self.announce({"state": "closed", "type": kind, "approval_id": approval_id, "run_id": run_id, "root_run_id": root})


def _by_default(result: object) -> bool:
    """Whether the time of a question ran out, and its default counts."""
    return isinstance(result, Mapping) and result.get("by") == "default"


def _check(shown: Mapping[str, Any], given: Answer) -> None:
    if shown["type"] == "question":
        options = shown["options"]
        if given.text is None or (options and given.text not in options):
            wanted = "one of " + ", ".join(map(repr, options)) if options else "a text"
            raise _bad_answer("answer", f"the answer to a question is {wanted}", "`rlp approve ID --answer TEXT` gives it")
    elif given.text is not None:
        raise _bad_answer("answer", "this is not a question: it is approved or rejected", "`rlp approve ID` or `rlp deny ID`")
    elif given.approved is None:
        raise _bad_answer("approved", "this is approved or rejected, and the answer does neither", "send `approved`: true or false")
    elif given.approved and given.scope.value not in shown["scopes"]:
        raise InvalidInput(
            f"this cannot be approved with the scope {given.scope.value}: {_why_narrower(given.scope, shown)}",
            code="approval.scope",
            where=Where(key="scope"),
            hint="use " + " or ".join(shown["scopes"]),
        )


def _bad_answer(key: str, message: str, hint: str) -> InvalidInput:
    return InvalidInput(message, code="approval.answer", where=Where(key=key), hint=hint)


def _why_narrower(scope: Scope, shown: Mapping[str, Any]) -> str:
    """What policy has against a wider scope."""
    if shown["taint"] and shown["scopes"] == [Scope.ONCE.value]:
        return "content from outside leaves this machine, which a person decides each time"
    if scope is Scope.ALWAYS and Scope.OPENING.value in shown["scopes"]:
        return "what cannot be taken back is never approved for ever"
    return str(shown["reason"])


@dataclass(slots=True)
class Person:
    """The operator of one run and its children: there while somebody follows the run, or while its approvals may wait."""

    people: People
    root: str | None = None

    @property
    def present(self) -> bool:
        """Whether an approval could be given now."""
        people, root = self.people, self.root
        return people.wait_ms > 0 or (root is not None and (people.followed(root) or people.waits_for_answers(root)))

    def has_said_no(self, question_id: str) -> bool:
        """Whether somebody answered so while the run was not in memory."""
        return self.people.has_said_no(question_id)

    async def decide(self, request: ApprovalRequest) -> ApprovalDecision:
        """Ask."""
        return await self.people.decide(request)

    async def ask(self, question: Question, ctx: CallContext) -> PersonAnswer | None:
        """Ask."""
        return await self.people.ask(question, ctx)
