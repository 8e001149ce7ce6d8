"""What each kind of run record says in its ``meta`` (contracts, section 1)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from runloop.events.domain import Count, EventRef, Hash, Line, Text

Level = Literal["debug", "info", "warn", "error"]
Attempt = Annotated[int, Meta(ge=0)]  # 0 where no attempt was made: a node that was skipped or cancelled before it started
Fraction = Annotated[float, Meta(ge=0, le=1)]
Amount = Annotated[float, Meta(ge=0)]  # US dollars; absent where tokens were used whose price is not known
Tokens = Annotated[int, Meta(ge=0, extra_json_schema={"default": 0})]
Value = Any  # any JSON value, or the blob that holds it
FORM = frozenset(
    {"node", "nodes", "attempt", "call", "round", "name", "port", "class", "action", "agent", "worker", "approval_id", "approvals", "scope"}
    | {"status", "level", "kind", "mode", "cached", "estimated", "patient", "approve_in_advance", "event_id", "forked_from"}
    | {"ms", "at", "since", "start_ms", "until_ms", "retry_ms", "prepared_ms", "deadline", "fraction", "bytes", "bytes_freed"}
    | {"tokens", "tokens_in", "tokens_out", "usd", "budget", "effects_answered", "replayed_calls", "owner", "runloop", "versions", "seed"}
)
"""Fields of a meta that hold no content and are not made of it; every other one, also one that is not known here, does or may."""
CONTENT_HASHES = frozenset({"args_hash", "inputs_hash", "outputs_hash", "result_hash", "final_hash", "opening_digest", "blake3", "sha256"})
SAID_IN_ERRORS = frozenset({"message", "hint", "detail"})


class RecordMeta(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A closed set of fields; absent optional fields are left out.

    A default that is always said comes from a factory: msgspec leaves out only what *is* the default.
    """


class AgentRef(RecordMeta, frozen=True):
    """An agent as it ran."""

    name: str
    version: str | None = None
    digest: str | None = None
    variant: str | None = None


class ErrorInfo(RecordMeta, frozen=True):
    """A failure: stable code and what it says in a line or a few.

    ``kind`` is the call-error code that the guest saw, ``detail`` everything known, such as the agent's traceback.
    """

    code: str
    message: str
    hint: str | None = None
    retryable: bool | None = None
    kind: str | None = None
    detail: str | None = None


class Source(RecordMeta, frozen=True):
    """Where a statement comes from."""

    event_id: EventRef | None = None
    path: str | None = None
    line: Line | None = None


class Decider(RecordMeta, frozen=True):
    """Who decided."""

    role: str
    uid: int | None = None


class ForkedFrom(RecordMeta, frozen=True):
    """The run and the record after which this run went its own way."""

    run_id: str
    seq: Count


class Versions(RecordMeta, frozen=True):
    """What ran: the program, the guest, and every bundle by digest."""

    runloop: str
    guest: str | None = None
    bundles: dict[str, str] | None = None


class Saved(RecordMeta, frozen=True):
    """An artifact of a finished run."""

    path: str
    kind: str | None = None
    node: str | None = None
    port: str | None = None
    name: str | None = None
    blake3: Hash | None = None
    sha256: Hash | None = None
    bytes: Count | None = None
    event_id: EventRef | None = None


class RunStarted(RecordMeta, frozen=True):
    """``run.submitted`` and ``run.started``: everything a replay needs to begin.

    ``overrides`` is what a fork changes of the run that it was forked from: ``params`` by name, ``answers`` (node, attempt, call, result),
    digests of ``agents`` by name. ``nested`` are the texts of the openings below this one, by name; their agents are among the bundles.
    ``traceparent`` is the span of the submitter that the run is part of (W3C Trace Context).
    """

    opening_digest: str
    params: Value
    versions: Versions
    mode: Literal["local", "daemon"]
    budget: dict[str, Any] | None = None
    forked_from: ForkedFrom | None = None
    overrides: Value = None
    seed: Hash | None = None
    start_ms: int | None = None
    opening: Value = None
    nested: Value = None
    taint: list[str] | None = None
    approve_in_advance: bool | None = None
    patient: bool | None = None
    workdir: str | None = None
    owner: str | None = None
    traceparent: str | None = None


class OpenQuestion(RecordMeta, frozen=True):
    """What a person can answer while a run waits; ``event_id`` is the record that holds the content, ``run_id`` the child run that asks."""

    approval_id: str
    event_id: EventRef
    type: Annotated[Literal["approval", "question"], Meta(extra_json_schema={"default": "approval"})] = field(
        default_factory=lambda: "approval"
    )
    run_id: str | None = None


class RunChanged(RecordMeta, frozen=True):
    """``run.waiting``, ``run.paused``, ``run.resumed``, ``run.recovered``, ``run.cancelling``.

    ``owner`` is the process that has the run from now on, ``runloop`` its version where the run began with another. A waiting run goes on
    by itself at ``until_ms``; ``why``, ``until_ms`` and ``approvals`` are those of its child runs, too.
    """

    why: str
    since: int | None = None
    nodes: list[str] | None = None
    effects_answered: Count | None = None
    owner: str | None = None
    runloop: str | None = None
    until_ms: int | None = None
    approvals: list[OpenQuestion] | None = None


class ClockSet(RecordMeta, frozen=True):
    """``run.clock_set``: by how many milliseconds the wall clock moved other than by itself.

    ``set_ms`` is by how much of that it was set; the rest is time in which machine or process stood still.
    """

    by_ms: int
    set_ms: int | None = None


class RunFinished(RecordMeta, frozen=True):
    """The last record of a run."""

    status: Literal["succeeded", "failed", "cancelled"]
    ms: Count
    final_hash: Hash | None = None
    tokens: Tokens = field(default_factory=int)
    usd: Amount | None = None
    artifacts: list[Saved] | None = None
    reason: str | None = None
    error: ErrorInfo | None = None


class NodeStarted(RecordMeta, frozen=True):
    """``node.ready`` and ``node.started``."""

    node: Text
    attempt: Attempt
    agent: AgentRef | None = None
    worker: str | int | None = None
    inputs: Value = None
    inputs_hash: Hash | None = None


class NodeMoved(RecordMeta, frozen=True):
    """``node.evicted`` and ``node.rebuilt``."""

    node: Text
    attempt: Attempt
    bytes_freed: Count | None = None
    replayed_calls: Count | None = None
    ms: Count | None = None


class NodeText(RecordMeta, frozen=True):
    """``node.log`` and, live only, ``node.progress``."""

    node: Text
    text: str
    attempt: Attempt | None = None
    level: Level | None = None
    fraction: Fraction | None = None


class NodeFinished(RecordMeta, frozen=True):
    """A node's end, or the end of one attempt of it when ``retry_ms`` says that another follows."""

    node: Text
    attempt: Attempt
    status: Literal["ok", "error", "skipped", "cancelled"]
    outputs: Value = None
    outputs_hash: Hash | None = None
    error: ErrorInfo | None = None
    ms: Count | None = None
    tokens: Tokens = field(default_factory=int)
    usd: Amount | None = None
    retry_ms: Count | None = None
    taint: list[str] | None = None


class EffectRequested(RecordMeta, frozen=True):
    """Durable before anything outside happens; ``call`` counts within the attempt. ``refused`` before anything was prepared for it."""

    node: Text
    attempt: Attempt
    call: Count
    name: Text
    klass: str = field(name="class")
    args_hash: Hash
    args: Value = None
    taint: bool | list[str] | None = None
    idempotency_key: str | None = None
    refused: bool | None = None


class EffectEnded(RecordMeta, frozen=True):
    """``effect.completed``, ``effect.failed``, ``effect.unknown``; ``estimated`` tokens are not what the provider counted."""

    node: Text
    attempt: Attempt
    call: Count
    name: str | None = None
    result: Value = None
    result_hash: Hash | None = None
    error: ErrorInfo | None = None
    ms: Count | None = None
    tokens_in: Tokens = field(default_factory=int)
    tokens_out: Tokens = field(default_factory=int)
    usd: Amount | None = None
    cached: Annotated[bool, Meta(extra_json_schema={"default": False})] = field(default_factory=bool)
    estimated: bool | None = None
    taint: bool | list[str] | None = None


class EffectDelta(RecordMeta, frozen=True):
    """A piece of a streamed answer; live only.

    ``at`` is where it begins in the answer, in code points: 0 begins the answer, again after a failed try; a gap is text that was left out.
    """

    node: Text
    call: Count
    text: str
    attempt: Attempt | None = None
    at: Count | None = None


class ApprovalRequested(RecordMeta, frozen=True):
    """A person is asked; ``what`` is exactly what would happen or leave the machine.

    At a gate of a node (action ``gate``) ``outputs`` are what the node's attempt produced, ``round`` counts the node's gates, and
    ``on_timeout`` is what is chosen at its ``deadline``.
    ``prepared_ms`` is the time for which a call was prepared (the date of a mail): the same again makes the same ``what``.
    ``taint`` says where content in it came from, ``reason`` why a person is asked.
    """

    approval_id: Text
    what: Value
    node: str | None = None
    attempt: Attempt | None = None
    call: Count | None = None
    action: str | None = None
    recipients: list[str] | None = None
    options: list[str] | None = None
    scope: str | None = None
    deadline: int | None = None
    on_timeout: str | None = None
    round: Count | None = None
    outputs: Value = None
    taint: list[str] | None = None
    prepared_ms: int | None = None
    reason: str | None = None


class ApprovalEnded(RecordMeta, frozen=True):
    """``approval.decided`` and ``approval.expired``."""

    approval_id: Text
    decision: str
    node: str | None = None
    attempt: Attempt | None = None
    call: Count | None = None
    scope: str | None = None
    by: Decider | None = None
    rationale: str | None = None


class ArtifactCreated(RecordMeta, frozen=True):
    """A run made a file; both hashes are over its bytes, and ``taint`` says where content in it came from."""

    node: Text
    kind: Text
    path: Text
    blake3: Hash
    sha256: Hash
    summary: str | None = None
    sources: list[Source] | None = None
    bytes: Count | None = None
    taint: list[str] | None = None


class DivergenceFound(RecordMeta, frozen=True):
    """A re-run asked for something other than what was recorded."""

    node: Text
    attempt: Attempt
    call: Count
    expected: Value = None
    actual: Value = None
