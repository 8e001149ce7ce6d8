"""Answer hostcalls in an author's own tests, without a host."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from runloop_agent._calls import CallError, Unavailable, install

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["answering"]

Answer = dict[str, Any]


@contextmanager
def answering(answers: Mapping[str, Answer | CallError | Callable[[dict[str, Any]], Answer]]) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Answer each call by its name with a dict, a refusal to raise, or a function of the request; yields the calls as they happen.

    Calls that are not named are refused as unavailable, except ``emit.progress`` and ``emit.log``, which succeed.
    """
    calls: list[tuple[str, dict[str, Any]]] = []

    def dispatch(name: str, request: str) -> str:
        arguments = json.loads(request)
        calls.append((name, arguments))
        answer = answers.get(name)
        if answer is None and name in {"emit.progress", "emit.log"}:
            answer = {}
        if answer is None:
            raise Unavailable(f"this test has no answer for {name}", "name it in answering({...})")
        if isinstance(answer, CallError):
            raise answer
        return json.dumps(answer(arguments) if callable(answer) else answer)

    previous = install(dispatch)
    try:
        yield calls
    finally:
        install(previous)
