"""One guest per case, in the sandbox that runs use, with the same clock and seed every time."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from runloop.dataclass import dataclass
from runloop.effects.catalogue import CATALOGUE, decode_args
from runloop.effects.perform.artifact import artifact_filename
from runloop.effects.perform.secrets import handle_of
from runloop.effects.types import CallError as Refused
from runloop.runs.attempt import AttemptSpec, ports_of
from runloop.sandbox.spec import Answer, CallError, GuestError, Limits
from runloop.testing.cases import Case, RecordedAt, Scripted
from runloop.testing.grants import denial

if TYPE_CHECKING:
    from runloop.bundles import Bundle
    from runloop.runs.services import Guests

START_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z: the clock of every case starts there."""
_RUN_ID = "00000000-0000-4000-8000-000000000000"
_NODE = "case"


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What became of a case: ``failures`` are texts for people, empty where it passed."""

    name: str
    line: int | None
    failures: tuple[str, ...]
    hostcalls: int

    @property
    def ok(self) -> bool:
        """Whether the case passed."""
        return not self.failures


async def run_cases(bundle: Bundle, cases: Sequence[Case], guests: Guests, limits: Limits) -> AsyncIterator[CaseResult]:
    """Run the cases one after the other and yield each result as it is known."""
    for case in cases:
        yield await _run(bundle, case, guests, limits)


async def _run(bundle: Bundle, case: Case, guests: Guests, limits: Limits) -> CaseResult:
    at = case.recorded or RecordedAt(_RUN_ID, _NODE, 1, blake3(case.name.encode("utf-8")).hexdigest(), START_MS)
    script = _Script(bundle, list(case.answers), at)
    attempt = AttemptSpec(at.run_id, at.node, at.attempt, case.with_args, case.inputs, bytes.fromhex(at.seed), at.start_ms)
    if fault := _with_fault(bundle, case):
        outcome: Mapping[str, Any] | GuestError = GuestError(fault, code="agent.with")
    else:
        try:
            result = await guests.run(attempt.guest(bundle, limits), script)
            outcome = {port: values[0] for port, values in ports_of(json.loads(result.result_json), bundle.ports_out).items()}
        except GuestError as error:
            outcome = error
    failures = [*_compare(case, outcome), *script.complaints()]
    return CaseResult(case.name, case.line, tuple(failures), script.calls)


@dataclass(slots=True)
class _Script:
    """Answers a guest's calls from the case, each answer once; what is not in the script is refused and noted."""

    bundle: Bundle
    left: list[Scripted]
    at: RecordedAt
    calls: int = 0
    slept_ms: int = 0
    unanswered: list[str] = field(default_factory=list)

    async def __call__(self, name: str, args_json: str, /) -> Answer:
        self.calls += 1
        value, at_ms = self._value(name, args_json)
        return Answer(value, self.at.start_ms + self.calls + self.slept_ms if at_ms is None else at_ms)

    def _value(self, name: str, args_json: str) -> tuple[str | CallError, int | None]:
        """What is said to a call, and when, where the case tells."""
        try:
            args = decode_args(name, args_json)
        except Refused as error:
            given = self._take(name, {}, refusing=error.kind.value)
            return (_said(given), given.at_ms) if given else (CallError(error.kind.value, error.message, error.hint), None)
        if refused := denial(self.bundle.caps, name, args):
            given = self._take(name, args, refusing="denied")
            return (_said(given), given.at_ms) if given else (CallError("denied", refused.message, refused.hint), None)
        given = self._take(name, args)
        if name == "timer.sleep" and (given is None or given.error is None):
            self.slept_ms += args["ms"]
        if given:
            return _said(given), given.at_ms
        return self._unscripted(name, args), None

    def _take(self, name: str, args: Mapping[str, Any], refusing: str | None = None) -> Scripted | None:
        """The next answer to such a call, which is then used up; with ``refusing`` only one that refuses in that way."""
        for scripted in self.left:
            fits = refusing is None or (scripted.error is not None and scripted.error["code"] == refusing)
            if fits and scripted.call == name and _contains(args, scripted.args):
                self.left.remove(scripted)
                return scripted
        return None

    def _unscripted(self, name: str, args: Mapping[str, Any]) -> str | CallError:
        """The answer to a call that the case says nothing about: what follows from the call itself, or that nobody is there."""
        if name == "secrets.handle":
            return json.dumps({"handle": handle_of(self.at.run_id, args["name"])})
        if name == "emit.artifact":
            return json.dumps(_kept(args["name"], args["text"].encode()))
        if CATALOGUE[name].live or name in {"timer.sleep", "checkpoint.mark"}:
            return "{}"
        self.unanswered.append(f"{name} {_short(args)}")
        return CallError("unavailable", f"the case has no answer for {name}", "add it under answers")

    def complaints(self) -> list[str]:
        asked = [f"no answer is given for the call {call}" for call in self.unanswered]
        unused = [f"the answer to {each.call} (line {each.line}) was never asked for" for each in self.left]
        return asked + unused


def _kept(name: str, content: bytes) -> dict[str, Any]:
    """What an agent is told of a document; nothing is written, and there is no event of it."""
    digest = blake3(content).hexdigest()
    return {
        "path": artifact_filename(name, digest),
        "blake3": digest,
        "sha256": hashlib.sha256(content).hexdigest(),
        "event_id": None,
    }


def _said(scripted: Scripted) -> str | CallError:
    if scripted.error is None:
        return json.dumps(scripted.answer, ensure_ascii=False)
    return CallError(scripted.error["code"], scripted.error.get("message", scripted.error["code"]), scripted.error.get("hint", ""))


def _with_fault(bundle: Bundle, case: Case) -> str | None:
    if bundle.with_schema is None:
        return None
    from runloop.openings.hints import violations

    fault = next(violations(dict(bundle.with_schema), case.with_args), None)
    return None if fault is None else f"with breaks schemas.with: {fault.message}"


def _compare(case: Case, outcome: Mapping[str, Any] | GuestError) -> list[str]:
    if isinstance(outcome, GuestError):
        return _compare_error(case, outcome)
    if case.expect_error is not None:
        return [f"expected the error {case.expect_error.code}, but the agent returned\n{_pretty(outcome)}"]
    expected = dict(case.expect or {})
    actual = {port: value for port, value in outcome.items() if port in expected}
    return [] if _same(actual, expected) else [_diff(expected, actual or dict(outcome))]


def _compare_error(case: Case, error: GuestError) -> list[str]:
    wanted = case.expect_error
    shown = f"{error.code}: {error.message.rstrip()}" + (f"\nhint: {error.hint}" if error.hint else "")
    if wanted is None:
        return [f"the agent failed with {shown}"]
    if error.code != wanted.code:
        return [f"expected the error {wanted.code}, but the agent failed with {shown}"]
    if wanted.contains not in error.message:
        return [f"expected a message that contains {wanted.contains!r}, but it is {shown}"]
    return []


def _contains(value: Any, part: Any) -> bool:
    """Whether ``value`` has everything that ``part`` has: objects by key, everything else whole."""
    if isinstance(part, Mapping):
        return isinstance(value, Mapping) and all(key in value and _contains(value[key], inner) for key, inner in part.items())
    return _same(value, part)


def _same(one: Any, other: Any) -> bool:
    """Equality of JSON values, where true is not 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _diff(expected: Any, actual: Any) -> str:
    lines = difflib.unified_diff(_pretty(expected).splitlines(), _pretty(actual).splitlines(), "expected", "returned", lineterm="")
    return "\n".join(lines)


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:199]}…"
