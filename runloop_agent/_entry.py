"""The mark on the function that does an agent's work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

MARK = "__runloop_agent__"

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


@overload
def agent(function: FunctionT) -> FunctionT: ...
@overload
def agent(function: None = None) -> Callable[[FunctionT], FunctionT]: ...
def agent(function: FunctionT | None = None) -> FunctionT | Callable[[FunctionT], FunctionT]:
    """Mark the function that does the agent's work; its parameters are filled by name from ``with`` and the input ports.

    Without the mark, a function named ``run`` is taken.
    """
    if function is None:
        return agent
    setattr(function, MARK, True)
    return function
