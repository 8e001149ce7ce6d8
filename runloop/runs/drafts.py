"""The records of a run's nodes and of its end, as drafts: what a plan's command is called in the ledger."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from runloop.dataclass import dataclass
from runloop.effects.types import dollars
from runloop.events import NodeResult, final_hash, outputs_hash, records, value_hash
from runloop.events.records import AgentRef, ErrorInfo, NodeFinished, NodeText, RunFinished
from runloop.openings.states import NodeDone, NodeReady, NodeRetrying, NodeStarted, StartNode, State
from runloop.runs.history import Spent
from runloop.runs.recorder import Draft

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runloop.bundles import Bundle
    from runloop.openings import Opening
    from runloop.openings.states import Failure, RunDone
    from runloop.runs.artifacts import SavedFile
    from runloop.runs.attempt import AttemptFailed
    from runloop.runs.clock import Since
    from runloop.runs.history import RecordedRun

_NOTHING = Spent()
_LEVELS = {State.OK: "info", State.ERROR: "error", State.SKIPPED: "warn", State.CANCELLED: "warn"}


@dataclass(slots=True)
class NodeBook:
    """What a run remembers of its nodes for their records: starts, results, costs, and what went wrong in detail."""

    opening: Opening
    bundles: Mapping[str, Bundle]
    since: Since
    began: dict[str, int] = field(default_factory=dict)
    """When the newest attempt of each node began, as ``since`` tells it; of a node with items, the first of them in its newest round."""
    results: dict[str, NodeResult] = field(default_factory=dict)
    spent: dict[str, Spent] = field(default_factory=dict)
    """Of the newest attempt."""
    every: list[Spent] = field(default_factory=list)
    """Of every attempt."""
    failures: dict[str, AttemptFailed] = field(default_factory=dict)
    """What is known of failed attempts beside what the plan does."""
    hints: dict[str, str] = field(default_factory=dict)
    """What was said to be done about the nodes that failed, by code."""

    @property
    def priced(self) -> bool:
        """Whether the price of everything is known."""
        return all(spent.priced for spent in self.every)

    def restore(self, recorded: RecordedRun) -> None:
        """Remember what an earlier process recorded."""
        for at_ms, told in recorded.events:
            if isinstance(told, NodeReady):
                self.began.pop(told.node, None)
            elif isinstance(told, NodeStarted):
                self.begins(told.node, self.since.recorded(at_ms))
        for attempt in recorded.attempts:
            self.spend(attempt.node, attempt.spent)  # also of one that ends before it is taken up
        self.results.update(recorded.results)

    def spend(self, node: str, spent: Spent) -> None:
        """Count what a new attempt of the node uses, from now on too."""
        self.spent[node] = spent
        self.every.append(spent)

    def begins(self, node: str, now: int) -> None:
        """An attempt of the node, or of an item, begins."""
        self.began[node] = now
        if "[" in node:
            self.began.setdefault(node.partition("[")[0], now)

    def ready(self, node: str) -> Draft:
        """``node.ready``."""
        self.began.pop(node, None)
        return Draft("node.ready", f"node {node} is ready", records.NodeStarted(node, 1, self._agent_ref(node)), level="debug")

    def start(self, command: StartNode) -> Draft:
        """``node.started``."""
        inputs = {port: list(values) for port, values in command.inputs.items()}
        agent = self._agent_ref(command.node)
        meta = records.NodeStarted(command.node, command.attempt, agent, inputs=inputs, inputs_hash=value_hash(inputs))
        return Draft("node.started", f"node {command.node} started (attempt {command.attempt})", meta)

    def _took(self, node: str) -> int | None:
        began = self.began.get(node)
        return None if began is None else self.since.ms(began)

    def retry(self, command: NodeRetrying, now_ms: int, taint: frozenset[str]) -> Draft:
        """``node.finished`` of an attempt that another follows; with its outputs where these broke the node's contract."""
        spent = self.spent.get(command.node, _NOTHING)
        meta = NodeFinished(
            command.node,
            command.attempt,
            "error",
            outputs={port: list(values) for port, values in command.outputs.items()} or None,
            error=self._error(command.node, command.error, retryable=True),
            ms=self._took(command.node) or 0,
            tokens=spent.tokens,
            usd=spent.usd,
            retry_ms=max(0, command.at_ms - now_ms),
            taint=sorted(taint) or None,
        )
        message = f"node {command.node} failed on attempt {command.attempt}, trying again: {first_line(command.error.message)}"
        return Draft("node.finished", message, meta, level="warn")

    def done(self, command: NodeDone, taint: frozenset[str]) -> Draft:
        """``node.finished`` of a node; with what it gave also where that broke its contract."""
        node = command.node
        good = command.status is State.OK
        outputs = {port: list(values) for port, values in command.outputs.items()} if good or command.outputs else None
        hashed = outputs_hash(outputs) if good and outputs is not None else None
        error = None
        if command.error is not None:
            error = self._error(node, command.error)
        if command.attempt or command.status is State.OK:
            self.results[node] = NodeResult(hashed, None if error is None else error.message)
        else:
            self.results.pop(node, None)  # a revision brought the node back, and now it did not start
        spent = self.spent.get(node, _NOTHING)
        meta = NodeFinished(
            node,
            command.attempt,
            command.status.value,  # type: ignore[arg-type]  # the plan's terminal states are the record's four words
            outputs=outputs,
            outputs_hash=hashed,
            error=error,
            ms=self._took(node),
            tokens=spent.tokens,
            usd=spent.usd,
            taint=sorted(taint) or None,
        )
        why = first_line(command.error.message) if command.error else command.why
        message = f"node {node} {command.status.value}" + (f": {why}" if why else "")
        return Draft("node.finished", message, meta, level=_LEVELS[command.status])

    def ended(self, done: RunDone, status: str, reason: str, code: str, saved: Sequence[SavedFile], ms: int) -> Draft:
        """``run.finished``: as the plan says, but for a ``status`` and its reason that saving the artifacts came to."""
        order = [node.id for node in self.opening.nodes]
        meta = RunFinished(
            status,  # type: ignore[arg-type]  # the plan's terminal states are the record's three words
            ms,
            final_hash=final_hash(self.results[node] for node in order if node in self.results),
            tokens=sum(spent.tokens for spent in self.every),  # the plan has not heard of what came with the stop of an attempt
            usd=dollars(sum(spent.usd_micros for spent in self.every)) if self.priced else None,
            artifacts=[file.saved for file in saved] or None,
            reason=reason or None,
            error=ErrorInfo(code, reason, self._hint_of_run(code)) if code else None,
        )
        level = "info" if status == "succeeded" else "error" if status == "failed" else "warn"
        return Draft("run.finished", f"run {status}" + (f": {first_line(reason)}" if reason else ""), meta, level=level)

    def _hint_of_run(self, code: str) -> str | None:
        """What to do about the failure that ended the run: that of a node, or the plan's own."""
        from runloop.openings.remedies import HINTS, RUN_TIMEOUT

        return self.hints.get(code) or (RUN_TIMEOUT if code == "timeout" else HINTS.get(code))

    def _error(self, node: str, error: Failure, *, retryable: bool | None = None) -> ErrorInfo:
        from runloop.openings.remedies import HINTS, SAME_AGAIN

        known = self.failures.pop(node, None)
        hint = known.hint if known is not None and known.code == error.code else HINTS.get(error.code)
        if known is not None and not known.retryable and self.opening.node(node).retry.max_attempts > 1:
            hint = f"{hint}; {SAME_AGAIN}" if hint else SAME_AGAIN
        if hint:
            self.hints[error.code] = hint
        return ErrorInfo(error.code, error.message, hint, retryable, detail=None if known is None else known.detail)

    def _agent_ref(self, node: str) -> AgentRef:
        bundle = self.bundles.get(self.opening.node(node).id)
        if bundle is None:
            return AgentRef(self.opening.node(node).use)
        return AgentRef(bundle.name, bundle.version, bundle.digest, bundle.variant)


def warning(node: str, message: str) -> Draft:
    """Something that the person should know of a node, as its log."""
    return Draft("node.log", message, NodeText(node, message, level="warn"), level="warn")


def first_line(text: str) -> str:
    """The first line of a text, for a record's message."""
    return text.strip().splitlines()[0] if text.strip() else ""
