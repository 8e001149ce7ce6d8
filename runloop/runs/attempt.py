"""One attempt of one node: its identity, its guest's request and seed, and what its end means for the plan."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from runloop.dataclass import dataclass
from runloop.effects.types import CallError, CallErrorKind
from runloop.events import plain_json
from runloop.sandbox.spec import GuestError, GuestSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runloop.bundles import Bundle
    from runloop.openings.expressions import Ports
    from runloop.sandbox.spec import Limits

_as_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode
_SEEDS = blake3(derive_key_context="runloop attempt seed v1")
DEFAULT_PORT = "out"
_REFUSAL_CLASSES = "runloop_agent."
"""How a traceback names the refusals of ``runloop_agent`` (``runloop_agent._calls.Denied``)."""
_ANSWER_LOST = "effect.answer_lost"
"""A call happened, as a person says, and its answer is gone."""
_FINAL_KINDS = frozenset({CallErrorKind.DENIED, CallErrorKind.INVALID, CallErrorKind.BUDGET})


@dataclass(frozen=True, slots=True)
class AttemptSpec:
    """Everything that decides what an attempt does, beside the answers to its calls: equal specs behave equally."""

    run_id: str
    node: str
    attempt: int
    with_args: Mapping[str, Any]
    inputs: Mapping[str, list[Any]]
    run_seed: bytes
    start_ms: int

    @property
    def seed(self) -> bytes:
        """32 bytes of this attempt's own: no two attempts of a run see the same random numbers."""
        hasher = _SEEDS.copy()
        hasher.update(self.run_seed)
        hasher.update(f"{self.node}\0{self.attempt}".encode())
        return hasher.digest()

    def guest(self, bundle: Bundle, limits: Limits, python_guest: str | None = None) -> GuestSpec:
        """The guest of this attempt, run from ``bundle``; ``python_guest`` is the digest of a kept one (None: the installed)."""
        run = {"run_id": self.run_id, "node": self.node, "attempt": self.attempt}
        request = {"with": dict(self.with_args), "inputs": dict(self.inputs), "run": run}
        is_python = bundle.kind == "python"
        return GuestSpec(
            kind=bundle.kind,
            digest=bundle.digest,
            entry=bundle.name if bundle.kind == "wasm32-wasip1" else bundle.entry,
            request_json=plain_json(request) or _as_json(request),
            seed=self.seed,
            start_ms=self.start_ms,
            limits=limits,
            sources=bundle.sources() if is_python else None,
            data=bundle.data() if is_python else {},
            code=None if is_python else bundle.code(),
            guest=python_guest if is_python else None,
        )


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """Why an attempt failed, in the plan's terms; ``detail`` is the traceback where the agent raised, ``hint`` what its author can do."""

    code: str
    message: str
    retryable: bool
    detail: str | None = None
    hint: str | None = None


def ports_of(result: Any, declared: Mapping[str, Any]) -> Ports:
    """The output ports of a result: a dict whose keys are all declared ports maps to them, anything else is port ``out`` (ADR 1)."""
    if isinstance(result, dict) and result and declared and result.keys() <= declared.keys():
        return {port: [value] for port, value in result.items()}
    return {DEFAULT_PORT: [result]}


def failure_of(error: GuestError, refusal: CallError | None, *, asked_outside: bool = True) -> AttemptFailed:
    """What a guest's end without a result means.

    An agent that fell over a denied call fails with the denial's code, whether it let it pass or raised an exception of its own because
    of it; what the agent said is kept.

    A failed attempt may be repeated only where another try could go otherwise: never after a refusal that would come again (denied,
    invalid, budget) or a limit that the same work would reach again, not because of a call that happened or may have, and not where a
    deterministic agent had only read what is here (``asked_outside`` false).
    """
    denied = refusal if refusal is not None and refusal.kind is CallErrorKind.DENIED and refusal.message in error.message else None
    if error.code == "guest.trap" and denied is not None:  # what upstream's functions do where a call is denied
        return AttemptFailed(denied.code, error.message, retryable=False, hint=denied.hint or None)
    if error.code != "guest.exception":
        return AttemptFailed(error.code, error.message, error.retryable, hint=error.hint or None)
    said = error.said or exception_line(error.message)
    if refusal is not None and refusal.message in error.message:
        passed_on = said.startswith(_REFUSAL_CLASSES)
        once = refusal.outcome_unknown or refusal.code == _ANSWER_LOST
        if passed_on or refusal.kind is CallErrorKind.DENIED:
            retryable = refusal.kind not in _FINAL_KINDS and not once
            return AttemptFailed(refusal.code, refusal.message if passed_on else said, retryable, error.message, refusal.hint or None)
        asked_outside = asked_outside and not once
    return AttemptFailed(error.code, said, asked_outside, error.message, error.hint or None)


def exception_line(traceback: str) -> str:
    """What a traceback says in the end: the exception's type and message, without the frames above it."""
    lines = traceback.strip().splitlines()
    frames = [number for number, line in enumerate(lines) if line.startswith("  ")]
    said = lines[frames[-1] + 1 :] if frames else lines
    return "\n".join(said or lines[-1:])
