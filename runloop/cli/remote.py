"""Following a run of the daemon: its records as they come, its person at this terminal, its end as an exit code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runloop.cli.link import ask, error_of
from runloop.cli.output import print_warning
from runloop.errors import RunloopError, Unavailable
from runloop.runs.results import RunResult

if TYPE_CHECKING:
    from runloop.bus import BusClient, Message
    from runloop.cli.person import TerminalPerson

APPROVALS = "action.request"
_RUN_EVENT = "observation.run.event.v1"


@dataclass(slots=True)
class Following:
    """One run, followed over the bus. With a ``person`` what it asks is asked at this terminal."""

    client: BusClient
    run_id: str
    on_record: Callable[[Mapping[str, Any]], None]
    person: TerminalPerson | None = None
    _asking: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def follow(self, topic: str, from_seq: int = 1, *, begin: Callable[[], Any] | None = None) -> RunResult:
        """Every record from ``from_seq`` to the run's end. ``begin`` is awaited once nothing can be missed any more.

        Raises:
            Unavailable: ``daemon.stopped`` or ``daemon.lost``: the run has no end yet.

        """
        records = await self.client.subscribe(topic, "durable", from_seq=from_seq)
        people = None
        try:
            if self.person is not None:
                people = asyncio.create_task(self._serve_person(await self.client.subscribe(APPROVALS)))
            if begin is not None:
                await begin()
            if self.person is not None:
                for shown in (await ask(self.client, "approvals"))["open"]:
                    self._opened(shown)
            async for message in records:
                result = self._take(message)
                if result is not None:
                    return result
        except RunloopError as error:
            if error.code in {"bus.stopping", "bus.disconnected"}:
                raise self._lost() from error
            raise
        finally:
            await _end([*self._asking.values(), *([people] if people else [])])
        raise self._lost()

    async def recorded(self, topic: str, from_seq: int) -> None:
        """What the ledger has of a run that nobody drives: the bus answers once all of it was sent."""
        records = await self.client.subscribe(topic, "durable", from_seq=from_seq)
        last = (await ask(self.client, "attach", run=self.run_id))["last_seq"]
        async for message in records:
            self._take(message)
            if message.payload["seq"] >= last:
                return

    def _lost(self) -> Unavailable:
        hint = f"`rlp up` starts it again; `rlp show {self.run_id[:8]}` shows what is recorded"
        return Unavailable(f"the connection to the daemon was lost; run {self.run_id} may go on there", code="daemon.lost", hint=hint)

    def _take(self, message: Message) -> RunResult | None:
        if message.type != _RUN_EVENT:
            error = message.payload["error"]
            raise error_of({**error, "exit_code": 3 if error.get("retryable") else 1})
        record = message.payload
        self.on_record(record)
        return result_of(record) if record["kind"] == "run.finished" and record["run_id"] == self.run_id else None

    # ── the person ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _serve_person(self, requests: Any) -> None:
        async for message in requests:
            shown = message.payload
            if shown["root_run_id"] == self.run_id:
                if shown["state"] == "open":
                    self._opened(shown)
                else:
                    self._closed(shown["approval_id"])

    def _opened(self, shown: Mapping[str, Any]) -> None:
        if shown["root_run_id"] == self.run_id and shown["approval_id"] not in self._asking:
            self._asking[shown["approval_id"]] = asyncio.create_task(self._ask(shown))

    def _closed(self, approval_id: str) -> None:
        task = self._asking.pop(approval_id, None)
        if task is not None:
            task.cancel()

    async def _ask(self, shown: Mapping[str, Any]) -> None:
        assert self.person is not None  # noqa: S101 - otherwise nothing is asked
        try:
            await answer_at_terminal(self.client, self.person, shown)
        except RunloopError as error:
            print_warning(error.code, error.message)


async def answer_at_terminal(client: BusClient, person: TerminalPerson, shown: Mapping[str, Any]) -> bool:
    """Show what is open, ask the person here, and send what they said; whether they said something."""
    from runloop.effects.perform.ports import Question
    from runloop.policy import Scope
    from runloop.runs.operator import ApprovalRequest

    approval_id = shown["approval_id"]
    if shown["type"] == "question":
        question = Question(shown["question"], tuple(shown["options"]), shown["default"], shown["detail"], shown["timeout_ms"])
        given = await person.put(question, shown["agent"])
        if given is not None:
            await ask(client, "answer", approval_id=approval_id, answer=given.answer)
        return given is not None
    names = ("approval_id", "run_id", "opening_name", "node", "agent", "action", "what", "reason")
    request = ApprovalRequest(
        **{name: shown[name] for name in names},
        recipients=tuple(shown["recipients"]),
        scopes=tuple(Scope(scope) for scope in shown["scopes"]),
        taint=frozenset(shown["taint"]),
    )
    decision = await person.decide(request)
    await ask(
        client,
        "answer",
        approval_id=approval_id,
        approved=decision.approved,
        scope=decision.scope.value,
        rationale=decision.rationale,
    )
    return True


def result_of(record: Mapping[str, Any]) -> RunResult:
    """How a run ended, from its last record."""
    meta = record["meta"]
    error = meta.get("error") or {}
    return RunResult(record["run_id"], meta["status"], meta.get("reason") or "", error.get("code", ""), record, {})


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
