"""Helpers to drive a plan by hand, and the parts of a small document."""

from __future__ import annotations

from typing import Any

from runloop.openings import Opening, Plan
from runloop.openings.states import Begin, Command, NodeDone, StartNode

OUT = {"out": ["x"]}
DAY = 86_400_000
RETRY = {"max_attempts": 3, "backoff_ms": 100, "jitter": 0.0}
HEAD = "version: 0\nname: t\n"
NODES = "nodes: [{id: a, use: agent:a}, {id: b, use: agent:b}]\n"
REST = NODES + "edges: [{from: a.out, to: b.in}]\n"


def node(fields: str, top: str = "") -> str:
    """A document whose only node has ``fields``; ``top`` stands before the nodes."""
    return f"{HEAD}{top}nodes: [{{id: a, use: agent:a, {fields}}}]\nedges: []\n"


def begun(opening: Opening, now: int = 0, **options: Any) -> Plan:
    """A plan that was begun at ``now``."""
    plan = Plan(opening, b"seed", **options)
    plan.step(Begin(), now)
    return plan


def only(kind: type[Command], commands: list[Command]) -> list[Any]:
    """The commands of one kind."""
    return [command for command in commands if isinstance(command, kind)]


def started(commands: list[Command]) -> dict[str, int]:
    """The attempts that are started, by node."""
    return {command.node: command.attempt for command in only(StartNode, commands)}


def ended(commands: list[Command]) -> dict[str, str]:
    """How nodes ended."""
    return {command.node: str(command.status) for command in only(NodeDone, commands)}
