"""``emit.progress``, ``emit.log``, ``checkpoint.mark``: what a node says about itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runloop.effects.types import CallContext, EffectClass, Outcome, Prepared

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runloop.effects.perform.ports import RunReporter


class EmitProgress:
    """Shows how far the node is."""

    def __init__(self, reporter: RunReporter) -> None:
        self._reporter = reporter

    def prepare(self, args: Mapping[str, Any], ctx: CallContext) -> Prepared:
        """Check the call and say what it would do."""
        return Prepared("emit.progress", EffectClass.LIVE, args["text"], data={"text": args["text"], "fraction": args.get("fraction")})

    async def perform(self, prepared: Prepared, ctx: CallContext) -> Outcome:
        """Do what was prepared."""
        await self._reporter.progress(ctx, prepared.data["text"], prepared.data["fraction"])
        return Outcome({})


class EmitLog:
    """Records a line."""

    def __init__(self, reporter: RunReporter) -> None:
        self._reporter = reporter

    def prepare(self, args: Mapping[str, Any], ctx: CallContext) -> Prepared:
        """Check the call and say what it would do."""
        return Prepared("emit.log", EffectClass.LIVE, args["text"], data={"level": args["level"], "text": args["text"]})

    async def perform(self, prepared: Prepared, ctx: CallContext) -> Outcome:
        """Do what was prepared."""
        await self._reporter.log(ctx, prepared.data["level"], prepared.data["text"])
        return Outcome({})


class CheckpointMark:
    """Names a place of the run."""

    def __init__(self, reporter: RunReporter) -> None:
        self._reporter = reporter

    def prepare(self, args: Mapping[str, Any], ctx: CallContext) -> Prepared:
        """Check the call and say what it would do."""
        return Prepared("checkpoint.mark", EffectClass.IDEMPOTENT, args["label"], data={"label": args["label"]})

    async def perform(self, prepared: Prepared, ctx: CallContext) -> Outcome:
        """Do what was prepared."""
        await self._reporter.mark(ctx, prepared.data["label"])
        return Outcome({})
