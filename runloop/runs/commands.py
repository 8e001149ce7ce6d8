"""What the commands of a plan come to: what they end, and in which portions many starts are carried out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.openings.states import CloseGate, Command, NodeDone, NodeReady, NodeRetrying, RunDone, StartNode, StopNode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runloop.runs.recorder import Draft

AT_ONCE = 32
"""Commands that are carried out together; more only where they are not all readies and starts."""
READY_AT_ONCE = 512
"""Readies without a start that are written together: some 10 ms."""


def portions(commands: Sequence[Command | Draft]) -> Iterator[Sequence[Command | Draft]]:
    """The commands, at most :data:`AT_ONCE` at a time: each start after its ready, in the end what is ready and does not start yet.

    Whatever is more than readies and starts stays whole: what ends something is one commit with what follows from it.
    """
    if len(commands) <= AT_ONCE or not all(isinstance(command, NodeReady | StartNode) for command in commands):
        yield commands
        return
    ready = {command.node: command for command in commands if isinstance(command, NodeReady)}
    portion: list[Command | Draft] = []
    for command in commands:
        if isinstance(command, StartNode):
            node = command.node.partition("[")[0]
            if node in ready:
                portion.append(ready.pop(node))
            portion.append(command)
            if len(portion) >= AT_ONCE:
                yield portion
                portion = []
    portion += ready.values()
    for first in range(0, len(portion), READY_AT_ONCE):
        yield portion[first : first + READY_AT_ONCE]


def ends_of(commands: Sequence[Command | Draft]) -> tuple[RunDone | None, list[tuple[str, int]], list[tuple[str, int]], list[str]]:
    """What the commands end: the run, attempts, gates by their round, and nodes."""
    done: RunDone | None = None
    stopped: list[tuple[str, int]] = []
    closed: list[tuple[str, int]] = []
    ended: list[str] = []
    for command in commands:
        if isinstance(command, NodeDone | NodeRetrying):
            ended.append(command.node)
        elif isinstance(command, RunDone):
            done = command
        elif isinstance(command, StopNode):
            stopped.append((command.node, command.attempt))
        elif isinstance(command, CloseGate):
            closed.append((command.node, command.round))
    return done, stopped, closed, ended
