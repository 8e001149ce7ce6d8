"""The child runs of runs: an opening or an agent that a node asks for, on its parent's budget and within what that may approve."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from runloop.effects.types import CallError, CallErrorKind
from runloop.errors import InvalidInput
from runloop.openings import parse_once
from runloop.runs.results import ChildCall, ChildResult, RunHalted, child_id
from runloop.runs.run import Run
from runloop.runs.submission import SEED_BYTES, Submission
from runloop.runs.submitted import opening_of
from runloop.tasks import shielded

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from runloop.openings import Opening
    from runloop.runs.history import RecordedRun
    from runloop.runs.manager import RunManager

_NOTHING = nullcontext()
_CHILD_SEED = "runloop child run seed v1"
_STOPPED = "the run that asked for this one was stopped"


class ChildRuns:
    """Makes, takes up and ends the child runs of a manager's runs."""

    def __init__(self, manager: RunManager) -> None:
        self._manager = manager

    async def run(self, parent: Run, call: ChildCall, making_it: AbstractContextManager[None] = _NOTHING) -> ChildResult:
        """Run what ``call`` asks for as a child of ``parent``, on its budget and within what it may approve.

        The child's id follows from the call, so a recovered parent finds the child that it had. ``making_it`` is held until the child is
        there: its guests may have to be compiled.
        """
        making = asyncio.create_task(self._child_of(parent, call))
        try:
            with making_it:
                run = await shielded(making)
        except asyncio.CancelledError:
            await self._unmake(parent, call, making)
            raise
        whole = "agent" if call.agent else None
        return run if isinstance(run, ChildResult) else await self._drive_child(parent, call, run, whole)

    async def end(self, parent: Run, call: ChildCall, reason: str) -> None:
        """Bring a child to its end that an earlier process began for an attempt which is not taken up again."""
        recorded = await self._recorded_child(child_id(parent.run_id, call.node, call.attempt, call.call))
        if recorded is not None and recorded.finished is None:
            run = await self._manager.taken_up(recorded, parent, parent.desk.operator, parent.lookup, (), node=call.node, ended=True)
            await self._end_unbegun(parent, run, call, reason)

    async def _end_unbegun(self, parent: Run, run: Run, call: ChildCall, reason: str = _STOPPED) -> None:
        """Drive a child that has not begun here to its end, which is recorded with that of the node that asked for it."""
        run.end(reason, partial(parent.under_way.closing.child, call.node))
        with suppress(RunHalted):
            await self._manager.drive(run)

    async def _child_of(self, parent: Run, call: ChildCall) -> Run | ChildResult:
        """The child in this process, or what it came to where it has ended already."""
        recorded = await self._recorded_child(run_id := child_id(parent.run_id, call.node, call.attempt, call.call))
        if recorded is not None and recorded.finished is not None:
            return _ended_child(recorded, whole="agent" if call.agent else None)
        if recorded is not None:
            run = await self._manager.taken_up(recorded, parent, parent.desk.operator, parent.lookup, (), node=call.node)
        else:
            limit = self._manager.services.rules.max_depth
            if parent.depth + 1 > limit:
                message = f"openings are nested more than {limit} deep"
                raise CallError(CallErrorKind.BUDGET, message, code="run.too_deep", hint="an opening that starts itself never ends")
            submission = Submission(
                self._child_opening(parent, call), mode=parent.mode, yes=parent.desk.yes, seed=_child_seed(parent.seed, call),
                run_id=run_id, operator=parent.desk.operator, lookup=parent.lookup, patient=parent.patient,
            )  # fmt: skip
            run = await self._manager.begin(submission, parent, (), call.taint | parent.base_taint, node=call.node)
        if not call.call:
            run.parent_attempt = call.node, call.attempt
        return run

    async def _recorded_child(self, run_id: str) -> RecordedRun | None:
        try:
            return await self._manager.services.recorded(run_id)
        except InvalidInput:
            return None

    async def _unmake(self, parent: Run, call: ChildCall, making: asyncio.Task[Run | ChildResult]) -> None:
        """Nobody wants the child any more that is being made: once it is recorded it needs an end, unless a recovery will find it."""
        if parent.recorder.halted:
            making.cancel()
        await asyncio.wait({making})
        run = None if making.cancelled() or making.exception() is not None else making.result()
        if isinstance(run, Run) and not parent.recorder.halted:
            await self._end_unbegun(parent, run, call)

    def _child_opening(self, parent: Run, call: ChildCall) -> Opening:
        if not call.agent:
            find = parent.lookup.opening if parent.lookup else self._manager.services.resolve_opening
            found = parent.tree.openings.get(call.name) or find(call.name)
            return parse_once(found.source, file=found.file, params=dict(call.params))
        import yaml

        document = {
            "version": 0,
            "name": f"agent-{call.name.replace('@', '-')}",
            "nodes": [{"id": "agent", "use": f"agent:{call.name}", "with": dict(call.params)}],
            "edges": [],
        }
        return parse_once(yaml.safe_dump(document, allow_unicode=True, sort_keys=False))

    async def _drive_child(self, parent: Run, call: ChildCall, run: Run, whole: str | None) -> ChildResult:
        """``whole`` names a node whose ports are the child's outputs; else they are what the opening saves."""
        parent.adopt(run)
        task = asyncio.create_task(self._manager.drive(run))
        try:
            result = await shielded(task)
        except asyncio.CancelledError:
            if parent.recorder.halted:
                run.halt()
                task.cancel()  # it may wait for a ledger that does not answer any more
                with suppress(RunHalted, asyncio.CancelledError):
                    await task
            else:
                run.end(_STOPPED, partial(parent.under_way.closing.child, call.node))
                with suppress(RunHalted):
                    await task
            raise
        finally:
            parent.give_up(run)
        outputs = result.saved if whole is None else run.outputs_of(whole)
        return ChildResult(run.run_id, result.status, result.reason, result.code, outputs, run.taint)


def _child_seed(parent: bytes, call: ChildCall) -> bytes:
    """A child run's seed follows from its parent's, so that the parent's seed decides the chance of the whole family."""
    hasher = blake3(derive_key_context=_CHILD_SEED)
    hasher.update(parent)
    hasher.update(f"{call.node}\0{call.attempt}\0{call.call}".encode())
    return hasher.digest(length=SEED_BYTES)


def _ended_child(recorded: RecordedRun, whole: str | None) -> ChildResult:
    """What a child run that ended before its parent was taken up gives to it."""
    finished = recorded.finished or {}
    latest = {attempt.node: attempt.taint for attempt in recorded.attempts}  # as while it runs: what one try had read, the next has not
    taint = frozenset(recorded.submitted.get("taint") or ()).union(*latest.values())
    outputs: dict[str, list[Any]] = {}
    if whole is not None:
        outputs = {port: list(values) for port, values in recorded.outputs.get(whole, {}).items()}
    else:
        for ref in opening_of(recorded.submitted).save:
            values = recorded.outputs.get(ref.node, {}).get(ref.port)
            if values is not None:
                outputs[str(ref)] = list(values)
    error = finished.get("error") or {}
    return ChildResult(recorded.run_id, str(recorded.status), recorded.reason or "", error.get("code", ""), outputs, taint)
