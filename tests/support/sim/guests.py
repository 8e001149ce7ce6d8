"""Agents as random programs, and the workers that run them: deterministic guests whose every contact with the world is a hostcall.

A program is a tree of tuples, made from a seed by :func:`make_program`; what it does depends on nothing but its request, its seed and the
answers. ``digest`` folds everything that it learned; the time goes only into arguments of calls, never into results, because it is the
one thing in which an interrupted run differs from one that was not.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter, deque
from pathlib import Path

from blake3 import blake3

from runloop.bundles.bundle import Bundle
from runloop.bundles.manifest import Limits, Port
from runloop.policy import Capabilities
from runloop.policy.names import NameGrants
from runloop.sandbox.spec import Answer, CallError, GuestError, GuestResult

LEAVES_IN_S = (0.001, 0.001, 0.05, 1.0)
"""How long a guest may take to leave its worker once it is stopped."""
CAPS = Capabilities(time=True, model=True, mail=True, ask=True, spawn=NameGrants(everything=True))
PORTS = ("out", "ok", "n")
CALLS = (
    *("model.complete",) * 6,
    *("kb.search", "http.fetch", "http.fetch", "mail.send", "mail.send", "exec.run", "files.write", "kb.propose"),
    *("ask.person", "timer.sleep", "timer.sleep", "emit.artifact", "checkpoint.mark"),
)


def make_bundle(name, digest_of=""):
    """A bundle whose digest names its program."""
    digest = blake3(f"{name}\0{digest_of}".encode()).hexdigest()
    ports_in = {port: Port(port) for port in ("in", "x", "y", "item", "revise", "feedback", "vote")}
    return Bundle(
        name=name, version="1.0.0", variant=None, kind="python", description="", root=Path("/simulated") / name, manifest_digest=digest,
        digest=digest, entry="agent.py", ports_in=ports_in, ports_out={port: Port(port) for port in PORTS}, with_schema=None,
        limits=Limits(), caps=CAPS, tools=(), files={"agent.py": name.encode()},
    )  # fmt: skip


def make_program(chance, spawnable):
    """A random program: calls, loops, branches, chance, logs, caught and uncaught refusals, exceptions of its own."""
    return _block(chance, spawnable, depth=0)


def _block(chance, spawnable, depth):
    return tuple(_statement(chance, spawnable, depth) for _ in range(chance.randint(1, 3 - depth // 2)))


def _statement(chance, spawnable, depth):
    roll = chance.random()
    if roll < 0.55 or depth == 2:
        if spawnable and chance.random() < 0.12:
            return ("spawn", chance.choice(spawnable))
        return ("call", chance.choice(CALLS), chance.randrange(1 << 30))
    if roll < 0.65:
        return ("if", chance.randint(2, 3), _block(chance, spawnable, depth + 1), _block(chance, spawnable, depth + 1))
    if roll < 0.72:
        return ("loop", chance.randint(1, 3), _block(chance, spawnable, depth + 1))
    if roll < 0.84:
        return ("try", _block(chance, spawnable, depth + 1))
    if roll < 0.88:
        return ("raise", chance.randint(3, 6))
    if roll < 0.92:
        return ("random",)
    if roll < 0.96:
        return ("clock",)
    return ("log",)


RUN = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""What a guest is told of which run its child is, be it in why another one failed; in a fork that is another one."""


class RefusedError(Exception):
    """A hostcall was refused; ends the guest unless it catches it."""

    def __init__(self, error):
        super().__init__(error.message)
        self.error = error


class AgentError(Exception):
    """The agent's own exception."""


class Guest:
    """One guest under way."""

    def __init__(self, spec, hostcall):
        self._hostcall = hostcall
        self.request = json.loads(spec.request_json)
        self.chance = random.Random(spec.seed)
        self.now_ms = spec.start_ms
        self.stamp = 0
        self.calls = 0
        inputs = json.dumps([self.request["with"], self.request["inputs"]], sort_keys=True)
        self.digest = blake3(RUN.sub("", inputs).encode()).hexdigest()

    def learn(self, *facts):
        self.digest = blake3((self.digest + json.dumps(facts, sort_keys=True)).encode()).hexdigest()

    @property
    def number(self):
        return int(self.digest[:8], 16)

    async def run(self, block):
        for statement in block:
            await getattr(self, f"do_{statement[0]}")(*statement[1:])

    async def do_if(self, modulus, first, second):
        await self.run(first if self.number % modulus == 0 else second)

    async def do_loop(self, times, block):
        for _ in range(times):
            await self.run(block)

    async def do_try(self, block):
        try:
            await self.run(block)
        except RefusedError as refused:
            self.learn("caught", refused.error.code)

    async def do_raise(self, modulus):
        if self.number % modulus == 0:
            raise AgentError(f"gave up at {self.digest[:6]}")

    async def do_random(self):
        self.learn(self.chance.random())

    async def do_clock(self):
        self.stamp = self.now_ms

    async def do_log(self):
        await self._hostcall("emit.log", json.dumps({"level": "info", "text": f"at {self.digest[:6]}"}))

    async def do_spawn(self, target):
        kind, name = target
        if kind == "agent":
            await self.call("spawn.agent", {"name": name, "with": {"n": self.number % 7}})
        else:
            await self.call("spawn.opening", {"name": name, "params": {}})

    async def do_call(self, name, variant):
        await self.call(name, ARGS[name](self, variant))

    async def call(self, name, args):
        self.calls += 1
        answer = await self._hostcall(name, json.dumps(args, sort_keys=True))
        self.now_ms = max(self.now_ms, answer.now_ms)
        if isinstance(answer.value, CallError):
            self.learn(name, answer.value.code)
            raise RefusedError(answer.value)
        self.learn(name, RUN.sub("", answer.value))


def _model(guest, variant):
    return {"prompt": f"{variant} {guest.digest[:8]} at {guest.stamp}"}


def _fetch(guest, variant):
    sends = {"method": "POST", "body": guest.digest[:8]} if variant % 2 else {}
    return {"url": f"https://site{variant % 3}.example/{guest.stamp}", **sends}


def _mail(guest, variant):
    to = [{"email": f"person{variant % 3}@example.org"}]
    return {"to": to, "subject": f"s{variant % 100}", "text": f"{guest.digest[:8]} at {guest.stamp}"}


def _ask(guest, variant):
    limit = ({}, {"timeout_ms": 60_000}, {"timeout_ms": 60_000, "default": "later"})[variant % 3]
    return {"question": f"which one, {guest.digest[:6]}?", "options": ["yes", "no", "later"], **limit}


ARGS = {
    "model.complete": _model,
    "kb.search": lambda guest, variant: {"query": f"q{variant % 100} {guest.digest[:4]}"},
    "http.fetch": _fetch,
    "mail.send": _mail,
    "exec.run": lambda guest, variant: {"argv": ["tool", guest.digest[:8], str(variant % 10)]},
    "files.write": lambda guest, variant: {"path": f"/work/f{variant % 3}", "text": f"{guest.digest} at {guest.stamp}"},
    "kb.propose": lambda guest, variant: {"kind": "note.taken", "payload": {"text": guest.digest[:8]}},
    "ask.person": _ask,
    "timer.sleep": lambda guest, variant: {"ms": (10, 500, 5_000)[variant % 3]},
    "emit.artifact": lambda guest, variant: {"name": f"a{variant % 10}", "text": guest.digest},
    "checkpoint.mark": lambda guest, variant: {"label": f"m{variant % 10}"},
}


class SimGuests:
    """The workers of one process. A program that the scenario dooms crashes its worker at the same call on every run of that attempt.

    ``unsteady`` workers also crash by chance, in the middle of a call, at most twice in an attempt; that must change nothing.
    """

    def __init__(self, process, *, unsteady):
        self._process = process
        self._unsteady = unsteady
        self._crashes = Counter()

    async def prepare(self, spec=None):
        self._process.alive()

    async def run(self, spec, hostcall, tape=(), in_line=None):
        process = self._process
        process.alive()
        if in_line is not None and process.chance.random() < 0.05:
            with in_line(process.chance.random() < 0.5):
                await asyncio.sleep(process.chance.uniform(0.001, 2))
            process.alive()
        worker = Worker(process, hostcall, tape)
        guest = Guest(spec, worker.call)
        run = guest.request["run"]
        worker.doomed_after = process.world.outside.worker_fate(spec.digest, run["node"], run["attempt"])
        place = (run["run_id"], run["node"], run["attempt"])
        if self._unsteady and self._crashes[place] < 2 and process.chance.random() < 0.1:
            worker.crashes_in = process.chance.randrange(1, 8)
        await asyncio.sleep(process.chance.uniform(0.0005, 0.004))
        process.live_guests += 1
        try:
            await guest.run(process.world.scenario.programs[spec.digest])
            await worker.flush()
        except RefusedError as refused:
            await worker.flush()
            kind = refused.error.code.capitalize()
            trace = f"Traceback (most recent call last):\n  in run\nrunloop_agent._calls.{kind}: {refused.error.message}"
            raise GuestError(trace, code="guest.exception") from None
        except AgentError as raised:
            await worker.flush()
            raise GuestError(f"Traceback (most recent call last):\n  in run\nValueError: {raised}", code="guest.exception") from None
        except GuestError as error:
            if error.code == "worker.crashed" and worker.crashes_in == 0:
                self._crashes[place] += 1
            raise
        finally:
            process.live_guests -= 1
        outputs = {"out": guest.digest, "ok": guest.number % 2 == 0, "n": guest.number % 4}
        return GuestResult(json.dumps(outputs), 1.0, 0.0, guest.calls, 0, 1)


class Worker:
    """Between a guest and its handler: recorded answers are given at once and told in batches; a crash ends both, as the pool does it."""

    doomed_after = None
    crashes_in = None

    def __init__(self, process, hostcall, tape):
        self._process, self._hostcall = process, hostcall
        self._tape = deque(tape)
        self._told = []
        self._calls = 0

    async def call(self, name, args):
        """The guest's call."""
        if name == "emit.log":
            return Answer("{}", 0) if self._tape else await self._ask(name, args)
        self._calls += 1
        if self.doomed_after is not None and self._calls > self.doomed_after:
            raise self._crashed()
        if self._tape and self._tape[0].name == name:
            self._told.append((name, args))
            if self._process.chance.random() < 0.3:
                await self.flush()
            return self._tape.popleft().answer
        await self.flush()
        if self.crashes_in is not None:
            self.crashes_in -= 1
        return await self._ask(name, args)

    async def flush(self):
        """Let the handler compare what was answered ahead."""
        told, self._told = self._told, []
        for name, args in told:
            await self._hostcall(name, args)

    async def _ask(self, name, args):
        asking = asyncio.ensure_future(self._hostcall(name, args))
        try:
            if self.crashes_in == 0:
                await asyncio.wait({asking}, timeout=self._process.chance.uniform(0, 0.3))
                asking.cancel()
                self._process.world.note(self._process.clock_ms(), f"  a worker crashes in {name}")
                raise self._crashed()
            await asyncio.wait({asking})
        except asyncio.CancelledError:
            asking.cancel()
            await asyncio.sleep(self._process.chance.choice(LEAVES_IN_S))  # until the worker says that the guest is out
            raise
        return asking.result()

    @staticmethod
    def _crashed():
        return GuestError("the worker is gone", code="worker.crashed", retryable=True)
