"""A run manager on real parts: the ledger on disk, the worker pool, bundles that the tests write and seal."""

import asyncio
import itertools
import os
import time
from contextlib import asynccontextmanager

import pytest

from runloop.bundles import BundleStore
from runloop.bundles.seal import seal
from runloop.effects.perform.artifact import EmitArtifact
from runloop.effects.perform.ask import AskPerson
from runloop.effects.perform.emit import CheckpointMark, EmitLog, EmitProgress
from runloop.effects.perform.timer import TimerSleep
from runloop.effects.types import EffectClass, Outcome, Prepared, require
from runloop.kb import AsyncLedger, Ledger
from runloop.models.budget import Budget
from runloop.openings import parse_opening
from runloop.runs.history import load_run
from runloop.runs.kept import KeptOnDisk
from runloop.runs.lookup import OpeningText
from runloop.runs.manager import RunManager
from runloop.runs.operator import ApprovalDecision, Nobody
from runloop.runs.reports import Reports
from runloop.runs.results import RunHalted
from runloop.runs.services import RunRules, Services
from runloop.runs.spawns import Spawn
from runloop.runs.submission import Submission
from runloop.sandbox import WorkerPool, guest_digest
from runloop.sandbox.spec import Limits

MANIFEST = """[agent]
name = "{name}"
version = "1.0.0"
kind = "python"
entry = "agent.py"

[ports]
in = [{ports_in}]
out = [{ports_out}]

[caps]
file = "policy.caps"
"""


class Desk:
    """An operator whose answers a test scripts; remembers what it was shown."""

    def __init__(self, *decisions, answers=(), present=True):
        self.present = present
        self.decisions = list(decisions)
        self.answers = list(answers)
        self.shown = []

    def has_said_no(self, _question_id):
        return False

    async def decide(self, request):
        self.shown.append(request)
        answer = self.decisions.pop(0)
        return answer if isinstance(answer, ApprovalDecision) else ApprovalDecision(approved=answer, rationale="scripted")

    async def ask(self, question, ctx):
        self.shown.append(question)
        return self.answers.pop(0) if self.answers else None


class Outbox:
    """A performer with an outside: every performed message is kept, so a test can count what left."""

    def __init__(self):
        self.sent = []
        self.fail = []
        self.hold = None

    def prepare(self, args, ctx):
        require(ctx.caps.check_mail())
        return Prepared(
            "mail.outbox",
            EffectClass.EXTERNAL,
            f"to {args['to'][0]['email']}: {args['text']}",
            (args["to"][0]["email"],),
            external=True,
            data=dict(args),
        )

    async def perform(self, prepared, ctx):
        if self.fail:
            raise self.fail.pop(0)
        if self.hold is not None:
            await self.hold()
        self.sent.append((ctx.idempotency_key, prepared.data["text"]))
        return Outcome(
            {"message_id": f"<{ctx.idempotency_key}>", "status": "outbox", "path": "/x", "recipients": list(prepared.recipients)}
        )


class Search:
    """A read whose answer carries taint."""

    def __init__(self):
        self.fail = []

    def prepare(self, args, ctx):
        return Prepared("kb.search", EffectClass.READ, args["query"], data=dict(args))

    async def perform(self, prepared, ctx):
        if self.fail:
            raise self.fail.pop(0)
        return Outcome({"hits": []}, taint=frozenset({"web"}))


class Model:
    """A model that counts what it was asked and costs what a test says."""

    def __init__(self):
        self.prompts = []
        self.usage = (10, 5, 250)
        self.estimated = False
        self.hold, self.hold_at = None, 1
        """Set, when the call of that number has come; it never ends then."""
        self.gate, self.gate_at, self.hold_seen = None, 0, None
        """The call of that number waits for the gate, and says that it does."""

    def prepare(self, args, ctx):
        return Prepared("model.complete", EffectClass.IDEMPOTENT, args["prompt"], data=dict(args))

    async def perform(self, prepared, ctx):
        self.prompts.append(prepared.data["prompt"])
        number = len(self.prompts)
        if self.hold is not None and number >= self.hold_at:
            self.hold.set()
            await asyncio.get_running_loop().create_future()
        if self.gate is not None and number == self.gate_at:
            if self.hold_seen is not None:
                self.hold_seen.set()
            await self.gate.wait()
        tokens_in, tokens_out, micros = self.usage
        result = {
            "text": f"answer {number}",
            "tokens_in": tokens_in,
            "tokens_out": tokens_out,
            "usd": None if micros is None else micros / 1e6,
            "provider": "test",
            "model": "m",
            "finish_reason": "stop",
            "cached": False,
        }
        return Outcome(result, tokens_in, tokens_out, micros, tokens_estimated=self.estimated)


class Bench:
    """A run manager and everything behind it; ``run`` drives one opening and gives its result and records."""

    def __init__(self, root, pool, ledger, operator, rules):
        self.root, self.ledger, self.pool = root, ledger, pool
        self.agents_dir = root / "agents"
        self.openings = {}
        self.records = []
        self.outbox, self.model = Outbox(), Model()
        counter = itertools.count(1)
        self.services = Services(
            recorded=lambda run_id: asyncio.to_thread(load_run, ledger, run_id),
            events=lambda event_ids: asyncio.to_thread(lambda: [ledger.full(event) for event in ledger.those(event_ids)]),
            kept=KeptOnDisk(root / "kept", lambda bundle: bundle),
            owner="0" * 32,
            ledger=AsyncLedger(ledger),
            guests=pool,
            resolve_agent=BundleStore([self.agents_dir]).resolve,
            resolve_opening=lambda name: OpeningText(self.openings[name]),
            limits_of=lambda bundle: Limits(),
            budget=Budget,
            operator=operator or Nobody(),
            clock_ms=lambda: time.time_ns() // 1_000_000,
            fresh=lambda count: next(counter).to_bytes(count, "big") if count == 16 else os.urandom(count),
            runloop_version="test",
            guest_digest=guest_digest(),
            artifacts_dir=str(root / "artifacts"),
            rules=rules or RunRules(),
        )
        self.manager = RunManager(self.services)
        reports = Reports(self.manager)
        self.services.performers.update(
            {
                "emit.log": EmitLog(reports),
                "emit.progress": EmitProgress(reports),
                "emit.artifact": EmitArtifact(root / "artifacts", reports),
                "checkpoint.mark": CheckpointMark(reports),
                "timer.sleep": TimerSleep(),
                "ask.person": AskPerson(self.services.operator),
                "spawn.agent": Spawn(self.manager, "agent"),
                "spawn.opening": Spawn(self.manager, "opening"),
                "mail.send": self.outbox,
                "kb.search": Search(),
                "model.complete": self.model,
            }
        )

    def agent(self, name, code, *, ports_in=(), ports_out=("out",), caps=""):
        directory = self.agents_dir / name
        directory.mkdir(parents=True)
        quoted = [", ".join(f'"{port}"' for port in ports) for ports in (ports_in, ports_out)]
        (directory / "manifest.toml").write_text(MANIFEST.format(name=name, ports_in=quoted[0], ports_out=quoted[1]))
        (directory / "policy.caps").write_text(f"[capabilities]\n{caps}\n")
        (directory / "agent.py").write_text(f"from runloop_agent import *\nfrom runloop_agent import agent\n{code}")
        sealed, problems = seal(directory)
        assert (sealed is not None, problems) == (True, [])

    async def submit(self, text, *, yes=False, params=None, seed=None):
        opening = parse_opening(text, params=params)
        return await self.manager.submit(Submission(opening, yes=yes, seed=seed), (self.records.append,))

    async def run(self, text, **options):
        return await self.manager.drive(await self.submit(text, **options))

    async def left_while_asked(self, run, operator):
        """Drive a run until its person is asked to approve something, and leave it there, as a process that ends does."""
        decide, held = operator.decide, asyncio.Event()

        async def never(_request):
            held.set()
            await asyncio.get_running_loop().create_future()

        operator.decide = never
        await self._left(run, held)
        operator.decide = decide

    async def left_at_the_model(self, run):
        """Drive a run until it asks the model, and leave it there."""
        self.model.hold = asyncio.Event()
        await self._left(run, self.model.hold)
        self.model.hold = None

    async def _left(self, run, held):
        driving = asyncio.create_task(self.manager.drive(run))
        async with asyncio.timeout(30):
            await held.wait()
        run.halt()
        with pytest.raises(RunHalted):
            await driving
        await run.recorder.settled(60)  # a process that takes it up begins after this one's last commit

    def kinds(self):
        return [record["kind"] for record in self.records]

    def metas(self, kind):
        return [record["meta"] for record in self.records if record["kind"] == kind]


@pytest.fixture
def bench(tmp_path, guest_cache):
    """Opens benches: ``async with bench(operator=…) as b``."""

    @asynccontextmanager
    async def open_bench(operator=None, rules=None):
        with Ledger.open(tmp_path / "events.sqlite") as ledger:
            async with WorkerPool(guest_cache / "runloop", workers=1) as pool:
                yield Bench(tmp_path, pool, ledger, operator, rules)

    return open_bench


@pytest.fixture
def desk():
    """Makes operators with scripted decisions and answers."""
    return Desk
