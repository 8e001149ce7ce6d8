"""Outputs against the contract of their node. The check of a large one takes seconds: others must not wait meanwhile."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from runloop.openings.contract import faults
from runloop.openings.states import NodeSucceeded
from runloop.runs.beside import beside
from runloop.schemas import StepsError

if TYPE_CHECKING:
    from runloop.openings.clauses import Contract
    from runloop.openings.model import Opening
    from runloop.runs.history import RecordedRun

QUICK_STEPS = 10_000
"""Steps that are taken at once, in some 10 ms at most: nearly all outputs need less."""


async def judged(opening: Opening, event: NodeSucceeded) -> NodeSucceeded:
    """The end of an attempt with what the contract of its node says of it."""
    contract = _contract(opening, event.node)
    if contract is None:
        return event
    try:
        found = faults(contract, event.outputs, QUICK_STEPS)
    except StepsError:
        found = await beside(partial(faults, contract, event.outputs))
    return replace(event, faults=found)


async def judge_all(opening: Opening, recorded: RecordedRun) -> None:
    """The same for what a plan is to be made of again."""
    told = [(at_ms, await judged(opening, event) if isinstance(event, NodeSucceeded) else event) for at_ms, event in recorded.events]
    recorded.events = told


def _contract(opening: Opening, node: str) -> Contract | None:
    try:
        return opening.node(node).output
    except KeyError:  # the record is not one of this opening, which is for the plan to say
        return None
