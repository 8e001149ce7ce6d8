"""A run as an explanation needs it: nodes, agents, calls, approvals, and what they rest on. Folded from its records."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any, Protocol

from runloop.dataclass import dataclass
from runloop.events import is_erased
from runloop.kb.evidence import Named, names_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runloop.events import StoredEvent

_OUTCOMES = frozenset({"effect.completed", "effect.failed", "effect.unknown"})


class Telling(Protocol):
    """How the package that drives runs tells of one (``runloop.runs``): this one does not know openings and forks."""

    def events(self, run_id: str) -> Iterator[StoredEvent]:
        """The records of a run, oldest first, large values loaded, for a fork with those that it shares."""
        ...

    def archive(self, run_id: str) -> str | None:
        """The file that the run's records were moved to, or None where they are in the ledger."""
        ...

    def feeds(self, submitted: Mapping[str, Any]) -> Mapping[str, Sequence[str]] | None:
        """Of a ``run.submitted``'s meta: for each node the nodes whose outputs it gets; None where the opening cannot be read."""
        ...


@dataclass(slots=True)
class Call:
    """One crossing: ``asked`` and ``ended`` are its events, ``named`` the events that its answer names, ``made`` one that it made."""

    name: str
    klass: str
    attempt: int
    number: int
    asked: StoredEvent
    args: Any
    ended: StoredEvent | None = None
    named: tuple[Named, ...] = ()
    made: int | None = None
    child: str | None = None
    said: dict[str, Any] = field(default_factory=dict)
    given: bool = False
    """Whether its answer is another one, that was given in a fork."""


@dataclass(slots=True)
class Approval:
    """A question to a person, and what became of it; ``meta`` is that of the question, without its content."""

    asked: StoredEvent
    ended: StoredEvent | None = None

    @property
    def meta(self) -> Mapping[str, Any]:
        """What the question says."""
        return _meta(self.asked)


@dataclass(slots=True)
class NodeStory:
    """A node: its newest attempt's events, its calls in order, its approvals, and the events that its outputs name."""

    node: str
    agent: Mapping[str, Any] = field(default_factory=dict)
    attempts: int = 0
    status: str = "ready"
    first: StoredEvent | None = None
    last: StoredEvent | None = None
    ms: int | None = None
    error: Mapping[str, Any] | None = None
    calls: dict[tuple[int, int], Call] = field(default_factory=dict)
    approvals: dict[str, Approval] = field(default_factory=dict)
    named: tuple[Named, ...] = ()
    children: list[str] = field(default_factory=list)


@dataclass(slots=True)
class RunStory:
    """A run. ``known`` are the events that its parameters and calls named: whatever it cites beside these, it has not read."""

    run_id: str
    submitted: StoredEvent | None = None
    finished: StoredEvent | None = None
    nodes: dict[str, NodeStory] = field(default_factory=dict)
    artifacts: list[StoredEvent] = field(default_factory=list)
    known: set[int] = field(default_factory=set)
    erased: int = 0
    archive: str | None = None
    feeds: Mapping[str, Sequence[str]] | None = None

    def steps(self) -> Iterator[StoredEvent]:
        """The events that are steps of their own: calls, questions to a person, files."""
        for node in self.nodes.values():
            yield from (call.asked for call in node.calls.values())
            yield from (approval.asked for approval in node.approvals.values())
        yield from self.artifacts

    def sources_of(self, node: str) -> list[NodeStory]:
        """The nodes whose outputs this one got: an item of a node gets that node's, and a node's outputs are its items'."""
        found: list[NodeStory] = []
        own = node.partition("[")[0]
        for source in (self.feeds or {}).get(own, ()):
            found += [each for name, each in self.nodes.items() if name.partition("[")[0] == source and each.status == "ok"]
        if own == node:
            found += [each for name, each in self.nodes.items() if name != node and name.partition("[")[0] == node and each.status == "ok"]
        return found


def story_of(run_id: str, telling: Telling) -> RunStory:
    """Fold the records of a run; without any it has no ``submitted``."""
    story = RunStory(run_id, archive=telling.archive(run_id))
    for event in telling.events(run_id):
        _take(story, event)
    if story.submitted is not None:
        story.feeds = telling.feeds(_meta(story.submitted))
    return story


def _take(story: RunStory, event: StoredEvent) -> None:
    meta = _meta(event)
    if not meta:
        story.erased += is_erased(event.payload)
        return
    match event.kind:
        case "run.submitted":
            story.submitted = story.submitted or event
            story.known.update(each.event_id for each in names_in(meta.get("params")))
        case "run.started" if story.submitted is None:
            story.submitted = event
        case "run.finished" if event.payload["run_id"] == story.run_id:
            story.finished = event
        case "artifact.created":
            story.artifacts.append(event)
        case _ if meta.get("node") is not None:
            _take_node(story, story.nodes.setdefault(meta["node"], NodeStory(meta["node"])), event, meta)
        case _:
            pass


def _take_node(story: RunStory, node: NodeStory, event: StoredEvent, meta: Mapping[str, Any]) -> None:
    node.first, node.last = node.first or event, event
    if event.kind in {"node.ready", "node.started"}:
        node.agent = meta.get("agent") or node.agent
        node.attempts, node.status = max(node.attempts, meta["attempt"]), "running"
    elif event.kind == "node.finished":
        node.status, node.ms, node.error = meta["status"], meta.get("ms"), meta.get("error")
        node.named = names_in(meta.get("outputs"))
        if not node.agent.get("digest"):  # a nested opening: what it came to names its run, and what that has read
            story.known.update(each.event_id for each in node.named)
            node.children = [each["run_id"] for each in (meta.get("outputs") or {}).get("out") or () if _has_run(each)]
    elif event.kind == "effect.requested":
        node.calls[meta["attempt"], meta["call"]] = Call(
            meta["name"], meta["class"], meta["attempt"], meta["call"], event, _short_args(meta.get("args"))
        )
    elif event.kind in _OUTCOMES:
        call = node.calls.get((meta["attempt"], meta["call"]))
        if call is not None:
            _end_call(story, call, event, meta)
    elif event.kind == "approval.requested":
        node.approvals[meta["approval_id"]] = Approval(event)
    elif event.kind.startswith("approval."):
        approval = node.approvals.get(meta["approval_id"])
        if approval is not None:
            approval.ended = event


def _end_call(story: RunStory, call: Call, event: StoredEvent, meta: Mapping[str, Any]) -> None:
    result = meta.get("result")
    call.ended, call.given = event, bool(meta.get("given"))
    call.named = names_in(result)
    story.known.update(each.event_id for each in call.named)
    if isinstance(result, dict):
        call.said = {name: result[name] for name in _SAID if isinstance(result.get(name), (str, int, float, bool))}
        if call.name in _MAKES and isinstance(result.get("event_id"), int):
            call.made, call.named = result["event_id"], ()
        if call.name.startswith("spawn.") and isinstance(result.get("run_id"), str):
            call.child = result["run_id"]


_MAKES = frozenset({"kb.propose", "emit.artifact"})
_SAID = ("provider", "model", "finish_reason", "path", "status", "exit_code", "url", "answer", "by", "message_id", "blake3", "bytes")
_ARGS = ("path", "url", "method", "name", "query", "question", "text", "argv", "command", "key", "kind", "model")
_SHORT = 200


def _short_args(args: Any) -> dict[str, Any]:
    """What was asked, as far as a line can hold it."""
    if not isinstance(args, dict):
        return {}
    return {name: _short(args[name]) for name in _ARGS if args.get(name) is not None}


def _short(value: Any) -> Any:
    text = " ".join(map(str, value)) if isinstance(value, list) else value
    return text[:_SHORT] if isinstance(text, str) else text


def _has_run(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("run_id"), str)


def _meta(event: StoredEvent) -> Mapping[str, Any]:
    meta = event.payload.get("meta")
    return meta if isinstance(meta, dict) else {}
