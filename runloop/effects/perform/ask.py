"""``ask.person``: a question to the person at the terminal."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from runloop.effects.perform.ports import Asker, Question
from runloop.effects.types import CallContext, CallError, CallErrorKind, EffectClass, Outcome, Prepared, invalid, require

if TYPE_CHECKING:
    from collections.abc import Mapping


class AskPerson:
    """Asks, and answers with what was chosen; a default counts only where the person let the time run out."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    def prepare(self, args: Mapping[str, Any], ctx: CallContext) -> Prepared:
        """Check the call and say what it would do."""
        require(ctx.caps.check_ask())
        options = tuple(args.get("options") or ())
        if len(set(options)) != len(options):
            raise invalid("ask.person: the options repeat", key="options", hint="give each option once", code="ask.options")
        default = args.get("default")
        if options and default is not None and default not in options:
            raise invalid(
                "ask.person: the default is none of the options", key="default", hint="use one of the options", code="ask.default"
            )
        question = Question(args["question"], options, default, args.get("detail", ""), args.get("timeout_ms"))
        return Prepared("ask.person", EffectClass.WAITING, question.text, data={"question": question})

    async def perform(self, prepared: Prepared, ctx: CallContext) -> Outcome:
        """Ask for as long as is left: the time counts from the first asking, whatever happened to this process meanwhile."""
        question: Question = prepared.data["question"]
        if question.timeout_ms is not None and ctx.asked_ms is not None:
            question = replace(question, timeout_ms=max(0, question.timeout_ms - max(0, ctx.now_ms - ctx.asked_ms)))
        try:
            given = await self._asker.ask(question, ctx)
        except TimeoutError:
            hint = "answer sooner; an agent can give its question a default, or more time"
            raise CallError(CallErrorKind.TIMEOUT, "nobody answered in time", code="ask.timeout", hint=hint) from None
        if given is None:
            raise CallError(
                CallErrorKind.UNAVAILABLE,
                "nobody is there to answer the question",
                code="ask.nobody",
                hint="run on a terminal, or give the agent what it asks for as a parameter",
            )
        if question.options and given.answer not in question.options:
            raise invalid(
                f"the answer {given.answer[:80]!r} is none of the options", key="answer", hint="choose an option", code="ask.answer"
            )
        return Outcome({"answer": given.answer, "by": given.by})
