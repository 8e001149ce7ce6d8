"""``spawn.agent`` and ``spawn.opening``: a node starts a child run and waits for its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from runloop.effects.types import CallError, CallErrorKind, EffectClass, Outcome, Prepared, require
from runloop.runs.results import ChildCall

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runloop.effects.types import CallContext
    from runloop.runs.manager import RunManager
    from runloop.runs.results import ChildResult


class Spawn:
    """Runs an agent or an opening as a child."""

    def __init__(self, manager: RunManager, kind: Literal["agent", "opening"]) -> None:
        self._manager = manager
        self._kind = kind

    def prepare(self, args: Mapping[str, Any], ctx: CallContext) -> Prepared:
        """Check that the agent may start that one."""
        require(ctx.caps.check_spawn(f"{self._kind}:{args['name']}"))
        return Prepared(f"spawn.{self._kind}", EffectClass.WAITING, f"run the {self._kind} {args['name']}", data=dict(args))

    async def perform(self, prepared: Prepared, ctx: CallContext) -> Outcome:
        """Run it to its end."""
        data, is_agent = prepared.data, self._kind == "agent"
        params = data.get("with" if is_agent else "params", {})
        call = ChildCall(data["name"], params, ctx.taint, ctx.node, ctx.attempt, ctx.call, agent=is_agent)
        return _outcome(await self._manager.child_runs.run(self._manager.run_of(ctx), call))


def _outcome(child: ChildResult) -> Outcome:
    if child.status == "cancelled":
        raise CallError(CallErrorKind.CANCELLED, f"run {child.run_id} was cancelled: {child.reason}", code="spawn.cancelled")
    why = {"code": child.code, "reason": child.reason} if child.status == "failed" else {}
    outputs = {ref: list(values) for ref, values in child.outputs.items()}
    return Outcome({"run_id": child.run_id, "status": child.status, "outputs": outputs, **why}, taint=child.taint)
