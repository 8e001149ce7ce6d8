"""``model.complete`` and ``model.embed``: the broker, within the agent's right and the run's budget."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from runloop.effects.types import CallContext, CallError, CallErrorKind, EffectClass, Outcome, Prepared, require
from runloop.models.budget import Budget
from runloop.models.coalesce import Coalescer
from runloop.models.errors import ModelError
from runloop.models.reading import Heard
from runloop.models.types import EmbedReply, EmbedRequest, ModelReply, ModelRequest, Usage

if TYPE_CHECKING:
    from runloop.effects.perform.ports import RunReporter

BudgetOf = Callable[[CallContext], Budget]


class ModelBroker(Protocol):
    """What of :class:`runloop.models.broker.Broker` the performers use."""

    def leaves_machine(self, request: ModelRequest | EmbedRequest) -> bool:
        """Tell whether a request goes to another host."""
        ...

    async def complete(
        self, request: ModelRequest, budget: Budget, remaining_ms: int | None = None, heard: Heard | None = None
    ) -> ModelReply:
        """Answer a prompt; ``heard`` is told the text while it comes."""
        ...

    async def embed(self, request: EmbedRequest, budget: Budget, remaining_ms: int | None = None) -> EmbedReply:
        """Turn texts into vectors."""
        ...


def _outcome(usage: Usage, result: Any, *, cached: bool = False) -> Outcome:
    return Outcome(result, usage.tokens_in, usage.tokens_out, usage.usd_micros, cached, tokens_estimated=usage.estimated)


def _refused(error: ModelError) -> CallError:
    spent = None if error.usage is None else _outcome(error.usage, None)
    return CallError(
        CallErrorKind(error.kind),
        error.message,
        code=error.code,
        hint=error.hint,
        where=error.where,
        retryable=error.retryable,
        spent=spent,
    )


class _Deltas:
    """Tells the text of one answer while it comes, coalesced; what is left when the answer is there is not told: the record has it all."""

    def __init__(self, tell: Heard) -> None:
        self._tell, self._coalescer = tell, Coalescer()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def take(self, at: int, text: str) -> None:
        """A piece of text."""
        self._coalescer.take(at, text)
        if self._timer is None:
            self._go_on()

    def close(self) -> None:
        """Tell nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def _go_on(self) -> None:
        self._timer = None
        wait_s = self._coalescer.wait_s(self._loop.time())
        if wait_s:
            self._timer = self._loop.call_later(wait_s, self._go_on)
        elif wait_s is not None:
            self._tell(*self._coalescer.give(self._loop.time()))


class ModelComplete:
    """Completes a prompt. ``budget_of`` gives the budget of a call's run; the text goes to ``reporter`` while it comes."""

    def __init__(self, broker: ModelBroker, budget_of: BudgetOf, reporter: RunReporter) -> None:
        self._broker, self._budget_of, self._reporter = broker, budget_of, reporter

    def prepare(self, args: Mapping[str, Any], ctx: CallContext) -> Prepared:
        """Check the right and the route; the content is the prompt as it will be sent."""
        require(ctx.caps.check_model())
        request = ModelRequest(
            prompt=args["prompt"],
            system=args.get("system"),
            model=args.get("model"),
            max_tokens=args.get("max_tokens"),
            temperature=args.get("temperature"),
            stop=tuple(args.get("stop") or ()),
            context=args.get("context"),
            trace_id=f"trace:{ctx.run_id}",
            idempotency_key=ctx.question_id,  # a second attempt of a node wants an answer of its own
            anew=ctx.attempt > 1,
        )
        try:
            leaves = self._broker.leaves_machine(request)
        except ModelError as error:
            raise _refused(error) from error
        what = f"{request.system}\n\n{request.text}" if request.system else request.text
        return Prepared("model.complete", EffectClass.IDEMPOTENT, what, leaves_machine=leaves, data={"request": request})

    async def perform(self, prepared: Prepared, ctx: CallContext) -> Outcome:
        """Ask the broker."""
        deltas = _Deltas(lambda at, text: self._reporter.delta(ctx, at, text))
        try:
            reply = await self._broker.complete(prepared.data["request"], self._budget_of(ctx), ctx.remaining_ms, deltas.take)
        except ModelError as error:
            raise _refused(error) from error
        finally:
            deltas.close()
        outcome = _outcome(reply.usage, None, cached=reply.cached)
        result = {
            "text": reply.text,
            **({"reasoning": reply.reasoning} if reply.reasoning else {}),
            "tokens_in": reply.usage.tokens_in,
            "tokens_out": reply.usage.tokens_out,
            "usd": outcome.usd,
            "provider": reply.provider,
            "model": reply.model,
            "finish_reason": reply.finish_reason,
            "cached": reply.cached,
        }
        return _outcome(reply.usage, result, cached=reply.cached)


class ModelEmbed:
    """Turns texts into vectors."""

    def __init__(self, broker: ModelBroker, budget_of: BudgetOf) -> None:
        self._broker, self._budget_of = broker, budget_of

    def prepare(self, args: Mapping[str, Any], ctx: CallContext) -> Prepared:
        """Check the right; the content is the texts."""
        require(ctx.caps.check_model())
        request = EmbedRequest(tuple(args["texts"]), args.get("model"), f"trace:{ctx.run_id}")
        try:
            leaves = self._broker.leaves_machine(request)
        except ModelError as error:
            raise _refused(error) from error
        return Prepared(
            "model.complete", EffectClass.IDEMPOTENT, "\n".join(request.texts), leaves_machine=leaves, data={"request": request}
        )

    async def perform(self, prepared: Prepared, ctx: CallContext) -> Outcome:
        """Ask the broker."""
        try:
            reply = await self._broker.embed(prepared.data["request"], self._budget_of(ctx), ctx.remaining_ms)
        except ModelError as error:
            raise _refused(error) from error
        vectors = [list(vector) for vector in reply.vectors]
        return _outcome(reply.usage, {"vectors": vectors, "model": reply.model, "tokens_in": reply.usage.tokens_in})
