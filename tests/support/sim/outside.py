"""Everything beyond the boundary: model, mail, web, programs, files, the person. What it answers depends on who asks, never on when.

Each performer has two crash points: right before its effect on the outside, and right after it.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field

from runloop.effects.perform.ports import PersonAnswer
from runloop.effects.types import CallError, CallErrorKind, EffectClass, Evidence, Outcome, Prepared
from runloop.policy import Scope
from runloop.runs.approvals import DO_IT, GIVE_UP, IT_HAPPENED
from runloop.runs.operator import ApprovalDecision

MINUTE, DAY = 60, 86_400


@dataclass
class Outside:
    """What lies outside and stays when a process dies: what was done there, by the key of the call that did it."""

    seed: object
    done: Counter = field(default_factory=Counter)
    asked: Counter = field(default_factory=Counter)
    answers_ms: dict = field(default_factory=dict)
    """When the person answers, by the id of what was asked; it does not depend on who waits for it."""
    resent: Counter = field(default_factory=Counter)
    """Calls that the person let be made again although they had been made."""
    changed: bool = False
    """Whether something was answered otherwise than it would have been without a crash, because nobody could know."""
    hung: bool = False
    """Whether a model never answered: who had to wait for its turn behind that lost time, and who that was is chance."""
    silent: bool = False
    """Nobody answers any more."""

    def draw(self, *about):
        """Chance that depends on nothing but the seed and what it is about."""
        return random.Random(f"{self.seed} {about!r}")

    def worker_fate(self, digest, node, attempt):
        """After how many calls the worker of an attempt dies; None for most."""
        chance = self.draw("worker", digest, node, attempt)
        return chance.randrange(4) if chance.random() < 0.03 else None


class Performer:
    """One kind of call, performed by chance that its crossing decides."""

    fails = 0.06
    klass = EffectClass.EXTERNAL

    def __init__(self, name, process):
        self.name, self.process = name, process
        self.outside = process.world.outside

    def prepare(self, args, ctx):
        return Prepared(self.name, self.klass, f"{self.name} {sorted(args.items())!r}", data=dict(args))

    def fate(self, ctx):
        return self.outside.draw(self.name, ctx.agent, ctx.node, ctx.attempt, ctx.call)

    def settled(self, ctx):
        """The fate of a call that did not fail, as it is when it answers."""
        fate = self.fate(ctx)
        fate.random()
        return fate

    async def perform(self, prepared, ctx):
        process, fate = self.process, self.fate(ctx)
        process.alive()
        process.world.check.performing(self.name, prepared, ctx)
        await asyncio.sleep(process.chance.uniform(0.001, 0.2))
        roll = fate.random()
        if roll < self.fails:
            retryable = fate.random() < 0.5
            raise CallError(CallErrorKind.UNAVAILABLE, f"{self.name} is down", code="sim.down", retryable=retryable)
        if process.point(f"before {self.name}"):
            await process.gone()
        self.act(prepared, ctx)
        if process.point(f"after {self.name}"):
            await process.gone()
        await asyncio.sleep(process.chance.uniform(0, 0.05))
        return self.answer(prepared, ctx, fate)

    def act(self, prepared, ctx):
        """The effect itself."""
        self.outside.done[self.name, key_of(ctx)] += 1

    def answer(self, prepared, ctx, fate):
        return Outcome({"answer": fate.randrange(1000)})


def key_of(ctx):
    """What one crossing of one attempt is known by outside."""
    return f"{ctx.idempotency_key}#{ctx.attempt}"


class Read(Performer):
    """Looks something up."""

    klass = EffectClass.READ


class Propose(Performer):
    """Adds a fact, once for each key."""

    klass = EffectClass.IDEMPOTENT


class Model(Performer):
    """Takes its time, costs money, and sometimes fails at a price."""

    klass = EffectClass.IDEMPOTENT
    fails = 0.05

    async def perform(self, prepared, ctx):
        if ctx.remaining_ms == 0:
            raise CallError(CallErrorKind.TIMEOUT, "no time is left for the model", code="model.timeout", retryable=True)
        fate = self.outside.draw("slow", ctx.agent, ctx.node, ctx.attempt, ctx.call).random()
        if fate < 0.01:
            self.outside.hung = True
            await self.process.never()  # until the node's time is up
        if fate < 0.1:
            await asyncio.sleep(fate * 50)
        return await Performer.perform(self, prepared, ctx)

    def answer(self, prepared, ctx, fate):
        tokens_in, tokens_out, micros = fate.randint(1, 60), fate.randint(1, 60), fate.randint(0, 400)
        result = {"text": f"answer {fate.randrange(10**6)}", "tokens_in": tokens_in, "tokens_out": tokens_out, "usd": micros / 1e6}
        return Outcome(result, tokens_in, tokens_out, micros)


class Fetch(Performer):
    """Reads a page, or sends something; what comes back is from outside."""

    def prepare(self, args, ctx):
        sends = args.get("method", "GET") != "GET"
        klass, what = (EffectClass.EXTERNAL if sends else EffectClass.READ), f"{args!r}"
        name = "http.send" if sends else "http.fetch"
        return Prepared(name, klass, what, (args["url"],), external=sends, leaves_machine=True, data=dict(args))

    def answer(self, prepared, ctx, fate):
        return Outcome({"status": 200, "body": f"page {fate.randrange(10**6)}"}, taint=frozenset({"web"}))


class Exec(Performer):
    """Runs a program."""

    def prepare(self, args, ctx):
        what = " ".join(args["argv"])
        return Prepared("exec.run", EffectClass.EXTERNAL, what, external=True, leaves_machine=True, data={"argv": tuple(args["argv"])})


class Mail(Performer):
    """Puts messages out: into an outbox, where a file tells afterwards that it happened, or over SMTP, where nothing does."""

    def prepare(self, args, ctx):
        recipients = tuple(person["email"] for person in args["to"])
        what = f"{args['subject']}\n\n{args['text']}"
        if self.process.world.scenario.smtp:
            return Prepared("mail.smtp", EffectClass.EXTERNAL, what, recipients, external=True, leaves_machine=True, data=dict(args))
        return Prepared("mail.outbox", EffectClass.EXTERNAL, what, recipients, external=True, reversible=True, data=dict(args))

    async def evidence(self, prepared, ctx):
        """An outbox tells; a mail server does not, but what it would have answered is known."""
        happened = None if prepared.action == "mail.smtp" else bool(self.outside.done[self.name, key_of(ctx)])
        return Evidence(happened, "what is there", self.answer(prepared, ctx, self.settled(ctx)))

    def answer(self, prepared, ctx, fate):
        return Outcome({"message_id": f"<{ctx.node}/{ctx.call}>", "status": "sent", "recipients": list(prepared.recipients)})


class Write(Performer):
    """Writes a file."""

    def prepare(self, args, ctx):
        return Prepared("files.write", EffectClass.EXTERNAL, args["text"], (args["path"],), external=True, reversible=True, data=dict(args))

    async def evidence(self, prepared, ctx):
        """The file holds the text or it does not."""
        happened = bool(self.outside.done[self.name, key_of(ctx)])
        return Evidence(happened, "the file", self.answer(prepared, ctx, self.settled(ctx)) if happened else None)


class Artifact(Performer):
    """Keeps a text, and reports it to the run."""

    klass = EffectClass.IDEMPOTENT

    async def perform(self, prepared, ctx):
        from runloop.effects.perform.ports import Artifact as Kept
        from runloop.runs.reports import Reports

        done = await super().perform(prepared, ctx)
        made = Kept(prepared.data["name"], "text", f"/artifacts/{prepared.data['name']}", "0" * 64, "0" * 64, 1, "", ())
        await Reports(self.process.manager).artifact(ctx, made)
        return done


class Person:
    """Approves or not by what the scenario says, soon or late or never; her answers about one request are always the same."""

    present = True

    def __init__(self, process):
        self.process = process
        self.outside = process.world.outside

    def has_said_no(self, _question_id):
        return False

    async def decide(self, request):
        process = self.process
        process.alive()
        process.world.check.asked(request)
        fate = self.outside.draw("decide", request.agent, request.node, request.approval_id.partition("/")[2])
        latency_s = None if fate.random() < 0.005 else fate.choice((1, 1, 1, 5 * MINUTE, 2 * DAY)) * fate.uniform(0.5, 1)
        await self._take_time(request.approval_id, latency_s)
        if process.point(f"the person decides about {request.action}"):
            await process.gone()
        if process.world.scenario.generous:
            return ApprovalDecision(approved=True, scope=Scope.RUN)
        return ApprovalDecision(approved=fate.random() < 0.85, scope=Scope.ONCE)

    async def ask(self, question, ctx):
        self.process.alive()
        if IT_HAPPENED in question.options:
            return await self._settle(ctx)
        fate = self.outside.draw("ask", ctx.agent, ctx.node, ctx.attempt, ctx.call)
        roll = fate.random()
        if ctx.call == 0:
            return await self._at_gate(question, ctx, fate, roll)
        if roll < 0.1:
            return None
        if roll < 0.15:
            await self._take_time(ctx.question_id, None if question.timeout_ms is None else question.timeout_ms / 1000)
            return None if question.default is None else PersonAnswer(question.default, "default")
        await self._take_time(ctx.question_id, fate.uniform(0.1, 2))
        if self.process.point("the person answers a question"):
            await self.process.gone()
        return PersonAnswer(fate.choice(question.options), "operator")

    async def _at_gate(self, question, ctx, fate, roll):
        """What she thinks of what a node produced: never anything, or after a while one of the options."""
        await self._take_time(ctx.question_id, None if roll < 0.05 else fate.choice((1, 600, 2 * DAY)) * fate.uniform(0.5, 1))
        if self.process.point("the person answers at a gate"):
            await self.process.gone()
        option = question.options[0] if roll < 0.6 else fate.choice(question.options)
        return PersonAnswer(option, "operator", "once more" if option == "revise" else "")

    async def _settle(self, ctx):
        """Whether an external call happened: she looks, and mostly says what is so; now and then she lets it be done again, or gives up."""
        run_id, node, call, attempt, _ = ctx.idempotency_key.split("/")
        key = f"{run_id}/{node}/{call}#{attempt}"
        names = [name for (name, known), times in self.outside.done.items() if known == key and times]
        fate = self.outside.draw("settle", node, attempt, call)
        await self._take_time(f"{ctx.question_id}", fate.uniform(1, 4000))
        if self.process.point("the person says whether it happened"):
            await self.process.gone()
        roll = fate.random()
        if roll < 0.05:
            self.outside.changed = True
            return PersonAnswer(GIVE_UP, "operator")
        if names and roll < 0.1:
            self.outside.resent[key] += 1
            return PersonAnswer(DO_IT, "operator")
        if names and names[0] not in WITNESSES:
            self.outside.changed = True  # that it happened is known now, what it answered is lost
        return PersonAnswer(IT_HAPPENED if names else DO_IT, "operator")

    async def _take_time(self, asked, latency_s):
        """Until the moment at which the person answers what was asked first then and then; None is never."""
        process = self.process
        if latency_s is None or self.outside.silent:
            await process.never()
        at_ms = self.outside.answers_ms.setdefault(asked, process.clock_ms() + round(latency_s * 1000))
        await asyncio.sleep(max(0, at_ms - process.clock_ms()) / 1000)


WITNESSES = frozenset({"mail.send", "files.write"})
PERFORMERS = {
    "model.complete": Model,
    "kb.search": Read,
    "kb.propose": Propose,
    "http.fetch": Fetch,
    "exec.run": Exec,
    "files.write": Write,
    "mail.send": Mail,
    "emit.artifact": Artifact,
}
