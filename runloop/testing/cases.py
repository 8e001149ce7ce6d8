"""``tests/cases.yaml`` of a bundle: what goes in, what the host answers, what must come out (docs/agents.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any

from runloop.dataclass import dataclass
from runloop.effects.catalogue import CATALOGUE
from runloop.errors import InvalidInput, Where
from runloop.nearest import did_you_mean
from runloop.openings.errors import OpeningError, Report
from runloop.openings.fields import place_at, to_json
from runloop.openings.yamltree import compose
from runloop.policy.located import dotted

CASES = "tests/cases.yaml"
_CASE_KEYS = ("name", "recorded", "with", "inputs", "answers", "expect", "expect_error")
_RECORDED_KEYS = ("run_id", "node", "attempt", "seed", "start_ms")
_ANSWER_KEYS = ("call", "args", "at_ms", "answer", "error")
_SEED = re.compile(r"[0-9a-f]{64}")
_REFUSALS = ("denied", "invalid", "budget", "timeout", "unavailable", "cancelled")

Expected = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Scripted:
    """What the host says to one call whose arguments contain ``args``: ``answer``, or a refusal (code, message, hint).

    ``at_ms`` is the time at which it says it, Unix milliseconds: the agent's clock moves there.
    """

    call: str
    line: int | None
    args: Mapping[str, Any] = field(default_factory=dict)
    answer: Any = None
    error: Mapping[str, str] | None = None
    at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class ExpectedError:
    """How a run must fail: the code, and a part of the message."""

    code: str
    contains: str = ""


@dataclass(frozen=True, slots=True)
class RecordedAt:
    """The attempt of a real run that a case comes from: its ids, the run's seed (64 hexadecimal digits) and when it began."""

    run_id: str
    node: str
    attempt: int
    seed: str
    start_ms: int


@dataclass(frozen=True, slots=True)
class Case:
    """One run of the agent; exactly one of ``expect`` (values by port) and ``expect_error`` is set."""

    name: str
    line: int | None
    with_args: Mapping[str, Any]
    inputs: Mapping[str, list[Any]]
    answers: tuple[Scripted, ...]
    expect: Expected | None
    expect_error: ExpectedError | None
    recorded: RecordedAt | None = None

    def same_as(self, other: Case) -> bool:
        """Whether both say the same, wherever they stand."""
        return _placeless(self) == _placeless(other)


def _placeless(case: Case) -> Case:
    return replace(case, line=None, answers=tuple(replace(answer, line=None) for answer in case.answers))


def read_cases(text: str, *, file: str | None = None) -> tuple[Case, ...]:
    """Read the cases; raises ``InvalidInput`` with the place of the first thing that is wrong."""
    report = Report(file)
    try:
        tree = compose(text, report)
        document = to_json(tree, report, "cases")
    except OpeningError as error:
        raise InvalidInput(error.message, code="cases.yaml", where=error.where, hint=error.hint) from None
    if report.problems:
        first = report.problems[0]
        raise InvalidInput(first.message, code="cases.yaml", where=first.where, hint=first.hint)
    return _Reader(document, lambda path: place_at(tree, path), file).cases()


class _Reader:
    """Turns the plain values into cases, and any mismatch into an error with a place."""

    def __init__(self, document: Any, place: Any, file: str | None) -> None:
        self._document = document
        self._place = place
        self._file = file

    def cases(self) -> tuple[Case, ...]:
        self._keys(self._document, ("cases",), ())
        entries = self._document.get("cases")
        if not isinstance(entries, list) or not entries:
            raise self._wrong("cases must be a list with at least one case", (), "write `cases:` and below it `- name: ...`")
        cases = tuple(self._case(entry, ("cases", index)) for index, entry in enumerate(entries))
        for index, case in enumerate(cases):
            if case.name in {other.name for other in cases[:index]}:
                raise self._wrong(f"the name {case.name!r} is there twice", ("cases", index, "name"), "give each case its own name")
        return cases

    def _case(self, entry: Any, path: tuple[str | int, ...]) -> Case:
        self._keys(entry, _CASE_KEYS, path)
        name = entry.get("name")
        if not isinstance(name, str) or not name.strip():
            raise self._wrong("a case needs a name", path, "say in a sentence what it shows")
        if ("expect" in entry) == ("expect_error" in entry):
            raise self._wrong("a case has either expect or expect_error", path, "write `expect: {out: ...}` or `expect_error: {code: ...}`")
        inputs = self._mapping(entry, "inputs", path)
        for port, values in inputs.items():
            if not isinstance(values, list):
                raise self._wrong(
                    f"the input {port!r} must be a list, one value for each edge", (*path, "inputs", port), f"write {port}: [...]"
                )
        answers = entry.get("answers", [])
        if not isinstance(answers, list):
            raise self._wrong("answers must be a list", (*path, "answers"), "write `- call: ...` below it")
        return Case(
            name=name,
            line=self._line(path),
            with_args=self._mapping(entry, "with", path),
            inputs=inputs,
            answers=tuple(self._answer(each, (*path, "answers", index)) for index, each in enumerate(answers)),
            expect=self._mapping(entry, "expect", path) if "expect" in entry else None,
            expect_error=self._expected_error(entry["expect_error"], (*path, "expect_error")) if "expect_error" in entry else None,
            recorded=self._recorded(entry["recorded"], (*path, "recorded")) if "recorded" in entry else None,
        )

    def _recorded(self, entry: Any, path: tuple[str | int, ...]) -> RecordedAt:
        self._keys(entry, _RECORDED_KEYS, path)
        values = [entry.get(key) for key in _RECORDED_KEYS]
        kinds = (str, str, int, str, int)
        typed = all(isinstance(value, kind) and not isinstance(value, bool) for value, kind in zip(values, kinds, strict=True))
        if not typed or not _SEED.fullmatch(values[3]) or values[2] < 1 or values[4] < 0:
            hint = "`rlp agent test --from-run` writes it; leave it out of cases that you write"
            raise self._wrong("recorded needs run_id, node, attempt, seed (64 hexadecimal digits) and start_ms", path, hint)
        return RecordedAt(*values)

    def _answer(self, entry: Any, path: tuple[str | int, ...]) -> Scripted:
        self._keys(entry, _ANSWER_KEYS, path)
        call = entry.get("call")
        if not isinstance(call, str) or call not in CATALOGUE:
            raise self._wrong(f"there is no hostcall {call!r}", (*path, "call"), did_you_mean(str(call), CATALOGUE))
        if ("answer" in entry) == ("error" in entry):
            raise self._wrong("an answer has either answer or error", path, "write `answer: {...}` or `error: {code: ..., message: ...}`")
        error = None
        if "error" in entry:
            error = self._mapping(entry, "error", path)
            self._keys(error, ("code", "message", "hint"), (*path, "error"))
            if error.get("code") not in _REFUSALS:
                raise self._wrong(f"{error.get('code')!r} is no code of a refused call", (*path, "error"), f"known: {', '.join(_REFUSALS)}")
            if not all(isinstance(value, str) for value in error.values()):
                raise self._wrong("code, message and hint are texts", (*path, "error"), "put them in quotes")
        at_ms = entry.get("at_ms")
        if at_ms is not None and (not isinstance(at_ms, int) or isinstance(at_ms, bool) or at_ms < 0):
            raise self._wrong("at_ms is a time in Unix milliseconds", (*path, "at_ms"), "leave it out unless the agent looks at the clock")
        return Scripted(call, self._line(path), self._mapping(entry, "args", path), entry.get("answer"), error, at_ms)

    def _expected_error(self, entry: Any, path: tuple[str | int, ...]) -> ExpectedError:
        self._keys(entry, ("code", "contains"), path)
        if not all(isinstance(value, str) for value in entry.values()) or "code" not in entry:
            raise self._wrong(
                "expect_error needs a code, and perhaps a text that the message contains",
                path,
                "write {code: guest.exception, contains: ...}",
            )
        return ExpectedError(entry["code"], entry.get("contains", ""))

    def _mapping(self, entry: Mapping[str, Any], key: str, path: tuple[str | int, ...]) -> dict[str, Any]:
        value = entry.get(key, {})
        if not isinstance(value, dict):
            raise self._wrong(f"{key} must be a mapping", (*path, key), f"write `{key}: {{name: value}}`")
        return value

    def _keys(self, entry: Any, known: tuple[str, ...], path: tuple[str | int, ...]) -> None:
        if not isinstance(entry, dict):
            raise self._wrong(f"{dotted(path) or 'the document'} must be a mapping", path, f"known keys: {', '.join(known)}")
        for key in entry:
            if key not in known:
                raise self._wrong(f"unknown key {key!r}", (*path, key), did_you_mean(key, known))

    def _line(self, path: tuple[str | int, ...]) -> int | None:
        line: int = self._place(path).line
        return line

    def _wrong(self, message: str, path: tuple[str | int, ...], hint: str) -> InvalidInput:
        place = self._place(path)
        where = Where(file=self._file, line=place.line, column=place.column, key=dotted(path) or None)
        return InvalidInput(message, code="cases.invalid", where=where, hint=hint)
