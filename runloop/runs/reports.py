"""What agents' calls tell of their runs while they are under way: progress, lines, marks, artifacts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.events.records import EffectDelta, NodeText
from runloop.runs.recorder import Draft

if TYPE_CHECKING:
    from runloop.effects.perform.ports import Artifact
    from runloop.effects.types import CallContext
    from runloop.models.budget import Budget
    from runloop.runs.manager import RunManager


class Reports:
    """What performers report to and ask of the run that a call belongs to."""

    def __init__(self, manager: RunManager) -> None:
        self._manager = manager

    def budget_of(self, ctx: CallContext) -> Budget:
        """The budget of the attempt that a call belongs to."""
        return self._manager.run_of(ctx).budget_of(ctx.node)

    async def progress(self, ctx: CallContext, text: str, fraction: float | None) -> None:
        """Show how far the node is."""
        self._manager.run_of(ctx).recorder.live("node.progress", text, NodeText(ctx.node, text, ctx.attempt, fraction=fraction))

    def delta(self, ctx: CallContext, at: int, text: str) -> None:
        """Show a piece of an answer that is still coming."""
        meta = EffectDelta(ctx.node, ctx.call, text, ctx.attempt, at)
        self._manager.run_of(ctx).recorder.live("effect.delta", f"{ctx.node} gets an answer", meta)

    async def log(self, ctx: CallContext, level: str, text: str) -> None:
        """Record a line."""
        meta = NodeText(ctx.node, text, ctx.attempt, level)  # type: ignore[arg-type]  # the catalogue's schema allows the four words only
        self._manager.run_of(ctx).recorder.note(Draft("node.log", text, meta, level=level, agent_id=f"agent:{ctx.agent}"))

    async def mark(self, ctx: CallContext, label: str) -> None:
        """Record a named place of the run."""
        text = f"checkpoint: {label}"
        meta = NodeText(ctx.node, text, ctx.attempt, "debug")
        self._manager.run_of(ctx).recorder.note(Draft("node.log", text, meta, level="debug", agent_id=f"agent:{ctx.agent}"))

    async def artifact(self, ctx: CallContext, artifact: Artifact) -> int:
        """Record an artifact; the id of its event."""
        meta = {
            "node": ctx.node,
            "kind": artifact.kind,
            "path": artifact.path,
            "blake3": artifact.blake3,
            "sha256": artifact.sha256,
            "bytes": artifact.bytes,
            **({"summary": artifact.summary} if artifact.summary else {}),
            **({"sources": [dict(source) for source in artifact.sources]} if artifact.sources else {}),
            **({"taint": sorted(ctx.taint)} if ctx.taint else {}),
        }
        run = self._manager.run_of(ctx)
        if ctx.asked_ms is not None:  # an earlier process asked for it and may have recorded it
            asked = run.requests[ctx.node, ctx.attempt, ctx.call]
            for event_id, made in (await run.services.recorded(ctx.run_id)).artifacts:
                if event_id > asked and (made["node"], made["path"], made["blake3"]) == (ctx.node, artifact.path, artifact.blake3):
                    return event_id
        draft = Draft("artifact.created", f"{ctx.node} made {artifact.name}", meta, agent_id=f"agent:{ctx.agent}")
        stored = await run.recorder.write(draft)
        return stored[0].id
