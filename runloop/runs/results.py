"""How a run in this process came to its end, or to a stop; and what is asked of, and what comes of, a child run."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runloop.events.records import OpenQuestion


PAUSED = "a resumption"
"""What a paused run waits for."""


class RunHalted(Exception):  # noqa: N818 - it says what happened
    """The process leaves the run unfinished in the ledger, to be recovered."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended, as its last record says it; ``code`` is the failure's stable code, empty on success."""

    run_id: str
    status: str
    reason: str
    code: str
    record: Mapping[str, Any]
    saved: Mapping[str, list[Any]]


@dataclass(frozen=True, slots=True)
class ChildResult:
    """What a child run gives to the node that asked for it."""

    run_id: str
    status: str
    reason: str
    code: str
    outputs: Mapping[str, list[Any]]
    taint: frozenset[str]


@dataclass(frozen=True, slots=True)
class Parked:
    """What is left of a run, and of its children, that was dropped because all of it waits.

    It goes on at ``until_ms`` (Unix milliseconds), or when one of ``questions`` is answered.
    """

    why: str
    until_ms: int | None
    questions: tuple[OpenQuestion, ...]


@dataclass(frozen=True, slots=True)
class ChildCall:
    """A child run that is asked for: an opening by ``name``, or one ``agent``, by which call of which attempt (0: by the node itself)."""

    name: str
    params: Mapping[str, Any]
    taint: frozenset[str]
    node: str
    attempt: int
    call: int = 0
    agent: bool = False


SPAWNS = frozenset({"spawn.agent", "spawn.opening"})
"""Calls that ask for a child run."""


def child_id(parent_id: str, node: str, attempt: int, call: int) -> str:
    """The run id of the child that a call asks for; call 0 is a node that is a nested opening itself."""
    return str(uuid.uuid5(uuid.UUID(parent_id), f"{node}/{attempt}/{call}"))
