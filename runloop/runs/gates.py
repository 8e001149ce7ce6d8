"""The gates of a run: a node's outputs are shown to a person, who decides how the run goes on, on record like everything else."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass
from runloop.effects.perform.ports import Question
from runloop.effects.types import CallContext
from runloop.events.records import ApprovalEnded, ApprovalRequested, Decider, OpenQuestion
from runloop.openings.states import CloseGate, GateAnswered, OpenGate
from runloop.policy import Capabilities
from runloop.runs.recorder import Draft
from runloop.runs.waits import Wait
from runloop.text import GATE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from runloop.runs.history import Asked
    from runloop.runs.operator import Operator
    from runloop.runs.recorder import Recorder

_COMMENTED = ("revise", "retry")
"""With these options a node runs again, and is told what the person says."""


def gate_task(node: str) -> str:
    """Under which name the waiting for a gate is kept among a run's tasks."""
    return f"gate of {node}"


@dataclass(slots=True)
class Gates:
    """Opens and answers the gates of one run. ``asked`` is what an earlier process asked."""

    recorder: Recorder
    operator: Operator
    asked: Mapping[str, Asked]

    def approval_id(self, gate: OpenGate) -> str:
        """What the gate is known by."""
        return self._context(gate).question_id

    def draft(self, gate: OpenGate, taint: frozenset[str]) -> Draft | None:
        """``approval.requested``, or None where an earlier process asked."""
        if self.approval_id(gate) in self.asked:
            return None
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
        return Draft("approval.requested", f"node {gate.node} waits at its gate: {gate.ask}", meta)

    def closed(self, gate: OpenGate, close: CloseGate) -> Draft:
        """``approval.expired``: nobody answered in time, or the run ended."""
        meta = ApprovalEnded(self.approval_id(gate), close.option or "expired", node=close.node, attempt=gate.attempt, rationale=close.why)
        return Draft("approval.expired", f"the gate of node {close.node} closed: {close.option or close.why}", meta)

    async def answer(self, gate: OpenGate, event_id: int, waiting: Callable[[str, Wait | None], None]) -> tuple[GateAnswered, Draft] | None:
        """What a person chose, and its record, still to be written; None where nobody is there to choose.

        ``waiting`` hears of the wait and its end.
        """
        approval_id = self.approval_id(gate)
        before = self.asked.get(approval_id)
        event_id = event_id if before is None else before.event_id
        what = f"{gate.ask}\n\n{shown_outputs(gate.outputs)}"
        question = Question(what, gate.options, None, "", None, commented(gate.options), gate.deadline_ms, gate.on_timeout)
        waiting(gate_task(gate.node), Wait("person", gate.deadline_ms, OpenQuestion(approval_id, event_id, "question")))
        try:
            given = await self.operator.ask(question, replace(self._context(gate), asked_ms=None if before is None else before.at_ms))
        finally:
            waiting(gate_task(gate.node), None)
        if given is None:
            return None
        decided = ApprovalEnded(
            approval_id, given.answer, node=gate.node, attempt=gate.attempt, by=Decider(given.by), rationale=given.comment or None
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
