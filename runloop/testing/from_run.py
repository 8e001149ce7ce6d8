"""A test case from a real run: what one attempt was given and told, and what it gave, as an entry of ``tests/cases.yaml``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

from runloop.errors import InvalidInput, Where
from runloop.testing.cases import read_cases

if TYPE_CHECKING:
    from runloop.effects.journal import Crossing
    from runloop.openings import Opening
    from runloop.runs.history import RecordedAttempt, RecordedRun

_ITEM = re.compile(r"^( *)- ", re.MULTILINE)


def attempt_of(run: RecordedRun, agent: str, node: str | None) -> RecordedAttempt:
    """The last attempt of ``agent`` in the run that ended by itself; of ``node`` where one is named.

    Raises:
        InvalidInput: ``agent.from_run``, where there is none, or several nodes have that agent and none is named.

    """
    last = {each.node: each for each in run.attempts}
    ended = {name: each for name, each in last.items() if each.agent.get("name") == agent and not each.cut}
    found = [attempt for name, attempt in ended.items() if node in {None, name}]
    if len(found) == 1:
        return found[0]
    named = ", ".join(ended)
    if found:
        raise _cannot(f"several nodes of the run are {agent}: {named}", f"name one: --from-run {run.run_id[:8]}:{next(iter(ended))}")
    where = "" if node is None else f" as node {node}"
    raise _cannot(f"{agent} did not come to an end in run {run.run_id[:8]}{where}", f"its nodes there: {named or 'none'}")


def case_document(run: RecordedRun, attempt: RecordedAttempt, opening: Opening) -> dict[str, Any]:
    """The case of an attempt: its clock, its random numbers and the times of its answers are those of the run.

    ``opening`` is as the run has it in which the attempt ended: what a fork shares was asked with the parameters of its parent.
    """
    if not all(crossing.answered for crossing in attempt.crossings):
        raise _cannot("a call of that attempt has no answer in the record", "take a run that came to its end")
    document: dict[str, Any] = {
        "name": f"as in run {run.run_id[:8]}, node {attempt.node}",
        "recorded": {
            "run_id": attempt.run_id,
            "node": attempt.node,
            "attempt": attempt.attempt,
            "seed": run.submitted["seed"],
            "start_ms": attempt.start_ms,
        },
        "with": dict(opening.node(attempt.node).with_args),
        "inputs": dict(attempt.inputs),
        "answers": [_answer(crossing) for crossing in attempt.crossings],
    }
    if attempt.error is None:
        return {**document, "expect": {port: values[0] for port, values in (attempt.outputs or {}).items()}}
    code = attempt.error["code"]
    # a refusal that the agent fell over is the attempt's code in a run; to the sandbox it is an exception of the agent
    return {
        **document,
        "expect_error": {"code": code if code.startswith("guest.") else "guest.exception", "contains": attempt.error["message"]},
    }


def with_case(text: str | None, document: Mapping[str, Any], *, file: str) -> str | None:
    """The text of a cases file with one more case at its end, None where that case is there already; what was there stays as it is.

    Raises:
        InvalidInput: ``cases.append``, where the file is written in a way in which nothing can be added to its end.

    """
    added = yaml.safe_dump([dict(document)], allow_unicode=True, sort_keys=False, width=120)
    (case,) = read_cases("cases:\n" + _indented(added, "  "))
    if text is None:
        return "# Each case runs the agent in the sandbox; `answers` are what the host says to its calls.\ncases:\n" + _indented(
            added, "  "
        )
    before = read_cases(text, file=file)
    if any(each.same_as(case) for each in before):
        return None
    item = _ITEM.search(text)
    whole = text.rstrip("\n") + "\n\n" + _indented(added, "  " if item is None else item[1])
    try:
        after = read_cases(whole, file=file)
    except InvalidInput as error:
        raise _unwritable(file, error.message) from None
    if len(after) != len(before) + 1 or not after[-1].same_as(case):
        raise _unwritable(file, "the cases are not at its end")
    return whole


def _answer(crossing: Crossing) -> dict[str, Any]:
    answer: dict[str, Any] = {"call": crossing.name, "args": crossing.args or {}, "at_ms": crossing.completed_ms}
    failure = crossing.failure
    if failure is None:
        return {**answer, "answer": crossing.result}
    return {**answer, "error": {"code": failure.code, "message": failure.message, "hint": failure.hint}}


def _indented(text: str, by: str) -> str:
    return "".join(by + line if line.strip() else line for line in text.splitlines(keepends=True))


def _cannot(message: str, hint: str) -> InvalidInput:
    return InvalidInput(message, code="agent.from_run", where=Where(key="--from-run"), hint=hint)


def _unwritable(file: str, why: str) -> InvalidInput:
    hint = "write `cases:` as a list of its own lines at the end of the file, one `- name: …` for each case"
    return InvalidInput(f"a case cannot be added to the file: {why}", code="cases.append", where=Where(file=file), hint=hint)
