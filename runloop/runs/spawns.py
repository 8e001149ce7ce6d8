"""``spawn.agent`` and ``spawn.opening``: a node starts a child run and waits for its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runloop.effects.types import CallError, CallErrorKind, EffectClass, Outcome, Prepared, require
from runloop.runs.results import ChildCall

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runloop.effects.types import CallContext
    from runloop.runs.manager import RunManager
    from runloop.runs.results import ChildResult


class SpawnAgent:
    """Runs one agent as a child."""

    def __init__(self, manager: RunManager) -> None:
        self._manager = manager

    def prepare(self, args: Mapping[str, Any], ctx: CallContext) -> Prepared:
        """Check that the agent may start that one."""
        require(ctx.caps.check_spawn(f"agent:{args['name']}"))
        return Prepared("spawn.agent", EffectClass.WAITING, f"run the agent {args['name']}", data=dict(args))

    async def perform(self, prepared: Prepared, ctx: CallContext) -> Outcome:
        """Run it to its end."""
        data = prepared.data
        call = ChildCall(data["name"], data.get("with", {}), ctx.taint, ctx.node, ctx.attempt, ctx.call, agent=True)
        return _outcome(await self._manager.child_runs.run(self._manager.run_of(ctx), call))


class SpawnOpening:
    """Runs an opening as a child."""

    def __init__(self, manager: RunManager) -> None:
        self._manager = manager

    def prepare(self, args: Mapping[str, Any], ctx: CallContext) -> Prepared:
        """Check that the agent may start that one."""
        require(ctx.caps.check_spawn(f"opening:{args['name']}"))
        return Prepared("spawn.opening", EffectClass.WAITING, f"run the opening {args['name']}", data=dict(args))

    async def perform(self, prepared: Prepared, ctx: CallContext) -> Outcome:
        """Run it to its end."""
        data = prepared.data
        call = ChildCall(data["name"], data.get("params", {}), ctx.taint, ctx.node, ctx.attempt, ctx.call)
        return _outcome(await self._manager.child_runs.run(self._manager.run_of(ctx), call))


def _outcome(child: ChildResult) -> Outcome:
    if child.status == "cancelled":
        raise CallError(CallErrorKind.CANCELLED, f"run {child.run_id} was cancelled: {child.reason}", code="spawn.cancelled")
    why = {"code": child.code, "reason": child.reason} if child.status == "failed" else {}
    outputs = {ref: list(values) for ref, values in child.outputs.items()}
    return Outcome({"run_id": child.run_id, "status": child.status, "outputs": outputs, **why}, taint=child.taint)
