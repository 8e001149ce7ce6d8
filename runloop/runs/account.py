"""The account of a run: node by node what each attempt was given, asked, was told and gave, and what it cost. Folded from records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runloop.errors import InvalidInput

if TYPE_CHECKING:
    from runloop.events import StoredEvent
    from runloop.runs.sources import RunSource


@dataclass(slots=True)
class CallAccount:
    """One call: ``seq`` is that of its outcome, None while it has none; ``error`` is the outcome of a call that failed."""

    call: int
    name: str
    args: Any
    args_hash: str
    seq: int | None = None
    ended_ms: int | None = None
    result: Any = None
    error: Mapping[str, Any] | None = None
    ms: int | None = None
    tokens: int = 0
    usd: float | None = None

    @property
    def asked(self) -> dict[str, Any]:
        """What was asked, as replays and diffs compare it."""
        return {"name": self.name, "args": self.args}


@dataclass(slots=True)
class AttemptAccount:
    """One attempt; ``status`` is None where it did not end."""

    node: str
    attempt: int
    agent: Mapping[str, Any]
    inputs: Mapping[str, list[Any]]
    start_ms: int
    calls: list[CallAccount] = field(default_factory=list)
    status: str | None = None
    outputs: Mapping[str, list[Any]] | None = None
    error: Mapping[str, Any] | None = None
    ms: int | None = None
    tokens: int = 0
    usd: float | None = None


@dataclass(slots=True)
class NodeAccount:
    """One node: its state in the end (``running`` where it had none) and its attempts."""

    node: str
    status: str = "running"
    why: str = ""
    attempts: list[AttemptAccount] = field(default_factory=list)


@dataclass(slots=True)
class RunAccount:
    """A run as its records tell it; nodes in the order in which they are first heard of."""

    run_id: str
    opening_name: str
    submitted: Mapping[str, Any] = field(default_factory=dict)
    nodes: dict[str, NodeAccount] = field(default_factory=dict)
    status: str = "running"
    reason: str | None = None
    ms: int | None = None
    tokens: int = 0
    usd: float | None = None

    def attempt(self, node: str, attempt: int) -> AttemptAccount:
        """That attempt, which must be there."""
        return next(each for each in self.nodes[node].attempts if each.attempt == attempt)


def account_of(source: RunSource, run_id: str) -> RunAccount:
    """Fold the records of a run. Raises InvalidInput ``run.unknown``."""
    account: RunAccount | None = None
    for stored in source.read_run(run_id):
        if "v" not in stored.payload:
            continue
        event = source.full(stored)
        if account is None:
            account = RunAccount(run_id, event.payload["opening_name"])
        _take(account, event)
    if account is None:
        raise InvalidInput(f"there is no run {run_id}", code="run.unknown", hint="`rlp runs` lists the runs in the ledger")
    return account


def _take(account: RunAccount, event: StoredEvent) -> None:
    meta = event.payload["meta"]
    match event.kind:
        case "run.submitted":
            account.submitted = meta
        case "run.finished":
            account.status, account.reason = meta["status"], meta.get("reason")
            account.ms, account.tokens, account.usd = meta["ms"], meta.get("tokens", 0), meta.get("usd")
        case "node.ready":
            _node(account, meta)
        case "node.started":
            attempt = AttemptAccount(meta["node"], meta["attempt"], meta.get("agent") or {}, meta.get("inputs") or {}, event.ts_ms)
            _node(account, meta).attempts.append(attempt)
        case "node.finished":
            _finished(_node(account, meta), event.payload["message"], meta)
        case "effect.requested":
            _latest(account, meta).calls.append(CallAccount(meta["call"], meta["name"], meta.get("args"), meta["args_hash"]))
        case "effect.completed" | "effect.failed" | "effect.unknown":
            _answered(_latest(account, meta).calls, event)
        case _:
            pass


def _node(account: RunAccount, meta: Mapping[str, Any]) -> NodeAccount:
    return account.nodes.setdefault(meta["node"], NodeAccount(meta["node"]))


def _latest(account: RunAccount, meta: Mapping[str, Any]) -> AttemptAccount:
    return account.nodes[meta["node"]].attempts[-1]


def _finished(node: NodeAccount, message: str, meta: Mapping[str, Any]) -> None:
    if meta.get("retry_ms") is None:
        node.status, node.why = meta["status"], message.partition(": ")[2]
    if not meta["attempt"] or not node.attempts:
        return
    attempt = node.attempts[-1]
    attempt.status, attempt.outputs, attempt.error = meta["status"], meta.get("outputs"), meta.get("error")
    attempt.ms, attempt.tokens, attempt.usd = meta.get("ms"), meta.get("tokens", 0), meta.get("usd")


def _answered(calls: Iterable[CallAccount], event: StoredEvent) -> None:
    meta = event.payload["meta"]
    for call in calls:
        if call.call == meta["call"]:
            call.seq, call.ended_ms = event.payload["seq"], event.ts_ms
            call.result, call.error, call.ms = meta.get("result"), meta.get("error"), meta.get("ms")
            call.tokens, call.usd = meta.get("tokens_in", 0) + meta.get("tokens_out", 0), meta.get("usd")
