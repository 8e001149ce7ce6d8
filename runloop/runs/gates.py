"""The gates of a run: a node's outputs are shown to a person, who decides how the run goes on, on record like everything else."""

from __future__ import annotations

import asyncio
import json
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass
from runloop.effects.perform.ports import Question
from runloop.effects.types import CallContext
from runloop.events.records import ApprovalEnded, ApprovalRequested, Decider, OpenQuestion
from runloop.openings.states import Cancel, CloseGate, Command, Event, GateAnswered, OpenGate, Tick
from runloop.policy import Capabilities
from runloop.runs.approvals import NOBODY_TO_ASK
from runloop.runs.recorder import Draft
from runloop.runs.waits import Wait
from runloop.text import GATE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from runloop.runs.history import Asked
    from runloop.runs.operator import Operator
    from runloop.runs.recorder import Recorder
    from runloop.runs.waits import Waits

_COMMENTED = ("revise", "retry")
"""With these options a node runs again, and is told what the person says."""


def gate_task(node: str) -> str:
    """Under which name the waiting for a gate is kept among a run's tasks."""
    return f"gate of {node}"


@dataclass(slots=True)
class Gates:
    """Opens and answers the gates of one run, whose ``tasks`` and ``waits`` these are. ``asked`` is what an earlier process asked.

    ``tell`` hears of answers, of the end of a run that nobody is there to answer, and of errors.
    """

    recorder: Recorder
    operator: Operator
    asked: Mapping[str, Asked]
    tasks: dict[str, asyncio.Task[None]]
    waits: Waits
    tell: Callable[[Event | BaseException], None]
    _open: dict[str, OpenGate] = field(default_factory=dict, init=False)
    """The open gates, by node."""
    _said: dict[tuple[str, int], Draft] = field(default_factory=dict, init=False)
    """Answers, by node and round, until the plan hears of them."""

    def approval_id(self, gate: OpenGate) -> str:
        """What the gate is known by."""
        return self._context(gate).question_id

    def reopen(self, commands: Iterable[Command]) -> None:
        """The gates that a run has open which is only taken up to end."""
        self._open = {command.node: command for command in commands if isinstance(command, OpenGate)}

    def opens(self, gate: OpenGate, taint: frozenset[str]) -> list[Draft]:
        """``approval.requested``, unless an earlier process asked."""
        self._open[gate.node] = gate
        if self.approval_id(gate) in self.asked:
            return []
        outputs = {port: list(values) for port, values in gate.outputs.items()}
        meta = ApprovalRequested(
            self.approval_id(gate),
            f"{gate.ask}\n\n{shown_outputs(outputs)}",
            node=gate.node,
            attempt=gate.attempt,
            action=GATE,
            options=list(gate.options),
            deadline=gate.deadline_ms,
            on_timeout=gate.on_timeout or None,
            round=gate.round,
            outputs=outputs,
            taint=sorted(taint) or None,
        )
        return [Draft("approval.requested", f"node {gate.node} waits at its gate: {gate.ask}", meta)]

    def closes(self, close: CloseGate) -> list[Draft]:
        """``approval.expired``: nobody answered in time, or the run ended."""
        gate = self._open.pop(close.node, None)
        if gate is None:
            return []
        meta = ApprovalEnded(self.approval_id(gate), close.option or "expired", node=close.node, attempt=gate.attempt, rationale=close.why)
        return [Draft("approval.expired", f"the gate of node {close.node} closed: {close.option or close.why}", meta)]

    def said_in(self, event: Event, before: Iterable[Command | Draft]) -> list[Draft]:
        """The record of an answer: in one commit with what follows from it, so that nobody finds the one without the other.

        None where the gate is closed, also by what is to be carried out ``before``: the answer came too late, whatever it says.
        """
        if not isinstance(event, GateAnswered):
            return []
        said, gate = self._said.pop((event.node, event.round)), self._open.get(event.node)
        if gate is None or gate.round != event.round or any(isinstance(each, CloseGate) and each.node == event.node for each in before):
            return []
        del self._open[event.node]
        return [said]

    def ask(self, gate: OpenGate, event_id: int) -> None:
        """Let somebody choose; ``event_id`` is the record of the question, 0 where an earlier process asked."""
        self.tasks[gate_task(gate.node)] = asyncio.create_task(self._ask(gate, event_id))

    async def _ask(self, gate: OpenGate, event_id: int) -> None:
        """Wait for the answer and tell it; never raises."""
        try:
            said = await self._answer(gate, event_id)
            if said is None and gate.deadline_ms is not None:
                return  # nobody is there: its time decides
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it is must reach the run, not die with the task
            self.tell(error)
            return
        name = gate_task(gate.node)
        if self.tasks.get(name) is asyncio.current_task():
            del self.tasks[name]
        if said is None:
            self.tell(Cancel(f"nobody is there to answer at the gate of node {gate.node}", NOBODY_TO_ASK))
        else:
            answered, self._said[gate.node, gate.round] = said
            self.tell(answered)

    async def _answer(self, gate: OpenGate, event_id: int) -> tuple[GateAnswered, Draft] | None:
        """What a person chose, and its record, still to be written; None where nobody is there to choose."""
        approval_id = self.approval_id(gate)
        before = self.asked.get(approval_id)
        event_id = event_id if before is None else before.event_id
        what = f"{gate.ask}\n\n{shown_outputs(gate.outputs)}"
        question = Question(what, gate.options, None, "", None, commented(gate.options), gate.deadline_ms, gate.on_timeout)
        name = gate_task(gate.node)
        self.waits.begin(name, Wait("person", gate.deadline_ms, OpenQuestion(approval_id, event_id, "question"), dated=True))
        self.tell(Tick())  # the run may be quiet now: look
        try:
            given = await self.operator.ask(question, replace(self._context(gate), asked_ms=None if before is None else before.at_ms))
        finally:
            self.waits.end(name)
        if given is None:
            return None
        decided = ApprovalEnded(
            approval_id,
            given.answer,
            node=gate.node,
            attempt=gate.attempt,
            by=Decider(given.by, given.uid),
            rationale=given.comment or None,
        )
        draft = Draft("approval.decided", f"gate of node {gate.node}: {given.answer}", decided, actor=f"agent:{given.by}")
        return GateAnswered(gate.node, gate.round, given.answer, given.comment), draft

    def _context(self, gate: OpenGate) -> CallContext:
        run_id, now_ms = self.recorder.identity.run_id, self.recorder.clock_ms()
        key = f"{run_id}/{gate.node}/{GATE}/{gate.round}"
        opening = self.recorder.identity.opening_name
        return CallContext(run_id, gate.node, gate.attempt, 0, key, opening, Capabilities(), frozenset(), now_ms, None)


def commented(options: Iterable[str]) -> tuple[str, ...]:
    """The options of a gate with which words are wanted too."""
    return tuple(each for each in options if each in _COMMENTED)


def shown_outputs(outputs: Mapping[str, Sequence[Any]]) -> str:
    """What a node produced, for a person: texts as they are, everything else as JSON."""
    parts = []
    for port, values in outputs.items():
        for value in values:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True)
            parts.append(text if len(outputs) == 1 else f"{port}: {text}")
    return "\n".join(parts)
