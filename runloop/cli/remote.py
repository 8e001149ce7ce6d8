"""A run of the daemon at this terminal: its records shown, its person asked, its end returned."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import field
from typing import TYPE_CHECKING, Any

from runloop.cli import context
from runloop.cli.link import RECONNECT_S
from runloop.cli.output import print_warning
from runloop.cli.showing import exit_code
from runloop.client.handle import result_of
from runloop.dataclass import dataclass
from runloop.errors import RunloopError
from runloop.tasks import end_tasks

if TYPE_CHECKING:
    from runloop.cli.person import TerminalPerson
    from runloop.cli.showing import RunShown
    from runloop.client import Client, RunHandle, RunResult

APPROVALS = "action.request"
_SOON_S = 0.5
"""A run that has not been taken in by then waits for something that people had better know."""
_STOPPING = "daemon.draining"
_AGAIN_S = 0.2
"""So long after a daemon that stops refused to cancel a run it is asked again, it or the next."""


@dataclass(slots=True)
class Shown:
    """One run, followed. With a ``person`` what it asks is asked at this terminal."""

    client: Client
    run: RunHandle
    on_record: Callable[[Mapping[str, Any]], None]
    person: TerminalPerson | None = None
    closing: str = "(no longer asked: it was decided elsewhere, its time is up, or the run was cancelled)"
    """What is said where a question closes that nobody answered here."""
    outputs: bool = False
    """Whether the result is to have what the nodes gave."""
    waits_s: float = RECONNECT_S
    """How long the client waits for a daemon that is away."""
    _asking: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _lists: list[asyncio.Task[None]] = field(default_factory=list)
    _gone: set[str] = field(default_factory=set)
    """What was closed, as this connection heard: a list that was made before still has it."""

    async def follow(self, from_seq: int | None = None, *, begin: Callable[[], Awaitable[object]] | None = None) -> RunResult:
        """Every record to the run's end. ``begin`` is awaited once nothing can be missed any more. Raises what a Following raises."""
        people = None
        try:
            async with self.run.following(from_seq) as records:
                if self.person is not None:
                    people = asyncio.create_task(self._serve_person(await self.client.subscribe(APPROVALS)))
                if begin is not None:
                    await begin()
                self.client.bus.on_lost.append(self._say_away)
                self.client.bus.on_reconnect.append(self._say_back)
                if self.person is not None:
                    self.client.bus.on_reconnect.append(self._ask_again)
                    await self._ask_what_is_open()
                async for record in records:
                    self.on_record(record)
            return await self.run.ended(records) if self.outputs else result_of(records.end or {})
        finally:
            bus = self.client.bus
            for called, call in ((bus.on_lost, self._say_away), (bus.on_reconnect, self._say_back), (bus.on_reconnect, self._ask_again)):
                with suppress(ValueError):
                    called.remove(call)
            await end_tasks(*self._asking.values(), *self._lists, *([people] if people else []))

    def _say_away(self) -> None:
        """One line on stderr, not behind a prompt that stands there."""
        if self._asking:
            print(file=sys.stderr)
        away = f"the daemon is away: waiting {self.waits_s:.0f} s for it to come back; the run is on record"
        print_warning("daemon.lost", away)

    def _say_back(self) -> None:
        if not context.current().json_errors:
            print("the daemon is back", file=sys.stderr)

    # ── the person ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _ask_again(self) -> None:
        """The connection is new: what was opened and closed meanwhile was not heard, and what was typed meant the one that is gone."""
        self._gone.clear()
        for approval_id in list(self._asking):
            self._closed(approval_id, "(the daemon was away: what is still open is asked again)")
        self._lists.append(asyncio.create_task(self._ask_what_is_open()))

    async def _ask_what_is_open(self) -> None:
        for shown in await self.client.approvals():
            if shown["approval_id"] not in self._gone:
                self._opened(shown)

    async def _serve_person(self, requests: Any) -> None:
        async for message in requests:
            shown = message.payload
            if shown["root_run_id"] != self.run.id:
                continue
            if shown["state"] == "open":
                self._gone.discard(shown["approval_id"])
                self._opened(shown)
            else:
                self._gone.add(shown["approval_id"])
                self._closed(shown["approval_id"], self.closing)

    def _opened(self, shown: Mapping[str, Any]) -> None:
        if shown["root_run_id"] == self.run.id and shown["approval_id"] not in self._asking:
            self._asking[shown["approval_id"]] = asyncio.create_task(self._ask(shown))

    def _closed(self, approval_id: str, why: str) -> None:
        task = self._asking.pop(approval_id, None)
        if task is not None:
            task.cancel(why)

    async def _ask(self, shown: Mapping[str, Any]) -> None:
        assert self.person is not None  # noqa: S101 - otherwise nothing is asked
        try:
            await answer_at_terminal(self.client, self.person, shown)
        except RunloopError as error:
            print_warning(error.code, error.message)


async def run_there(client: Client, terminal: RunShown, submit: Callable[[str, bool], Awaitable[object]]) -> int:
    """Run at this terminal what ``submit(run id, whether a person is here)`` makes the daemon begin; the exit code of the run."""
    from runloop.cli.person import person_present

    attended, begun = person_present(), asyncio.Event()
    run = client.handle(str(uuid.uuid4()), attended=attended)
    tasks: set[asyncio.Task[Any]] = set()

    async def begin() -> None:
        submitting = asyncio.ensure_future(submit(run.id, attended))
        try:
            if not (await asyncio.wait({submitting}, timeout=_SOON_S))[0] and await _guest_is_being_prepared(client):
                terminal.say("the daemon prepares the Python guest, once per machine; the run begins then")
            await submitting
        finally:
            submitting.cancel()
        begun.set()

    async def cancel_there(reason: str) -> None:
        await begun.wait()  # until then the daemon knows no such run, and would take it in all the same
        while True:
            try:
                await run.cancel(reason)
            except RunloopError as error:
                if error.code == _STOPPING:  # the next daemon takes the run up, and hears of it
                    await asyncio.sleep(_AGAIN_S)
                    continue
            return  # also where it has ended meanwhile

    def cancel(reason: str) -> None:
        if not begun.is_set():
            terminal.say(f"{reason}: the run is cancelled as soon as the daemon has taken it in")
        following.closing = f"(no longer asked: {reason}, so the run is cancelled)"
        task = asyncio.ensure_future(cancel_there(reason))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    following = Shown(client, run, terminal.take, terminal.person() if attended else None, outputs=terminal.wants_outputs)
    with terminal.watching(cancel) as interrupts:
        result = await following.follow(begin=begin)
    terminal.end(result)
    return exit_code(result, interrupted=interrupts.taken > 0)


async def _guest_is_being_prepared(client: Client) -> bool:
    with suppress(RunloopError):  # then nothing is said
        return bool((await client.status())["guest"] == "preparing")
    return False


async def answer_at_terminal(client: Client, person: TerminalPerson, shown: Mapping[str, Any]) -> bool:
    """Show what is open, ask the person here, and send what they said; whether they said something."""
    from runloop.effects.perform.ports import Question
    from runloop.policy import Scope
    from runloop.runs.operator import ApprovalRequest

    approval_id = shown["approval_id"]
    if shown["type"] == "question":
        question = Question(
            shown["question"], tuple(shown["options"]), shown["default"], shown["detail"], shown["timeout_ms"],
            comment_on=tuple(shown["comment_on"]), closes_ms=shown["closes_ms"], on_timeout=shown["on_timeout"],
        )  # fmt: skip
        given = None
        with suppress(TimeoutError):  # the daemon sees that too, and tells the agent
            given = await person.put(question, shown["agent"])
        if given is not None:
            await client.answer(approval_id, answer=given.answer, rationale=given.comment or None)
        return given is not None
    names = ("approval_id", "run_id", "opening_name", "node", "agent", "action", "what", "reason")
    request = ApprovalRequest(
        **{name: shown[name] for name in names},
        recipients=tuple(shown["recipients"]),
        scopes=tuple(Scope(scope) for scope in shown["scopes"]),
        taint=frozenset(shown["taint"]),
    )
    if not person.present:
        return False
    decision = await person.decide(request)
    await client.answer(approval_id, approved=decision.approved, scope=decision.scope.value, rationale=decision.rationale)
    return True
