"""A home with a daemon that dies: six agents, the opening, a model server and a mail server, and a person who always answers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
import uuid
from collections import Counter
from dataclasses import dataclass, field
from email import message_from_string
from pathlib import Path

from runloop.bundles.seal import seal
from runloop.bus import BusClient, read_token
from runloop.errors import RunloopError
from runloop.kb import Ledger

HERE = Path(__file__).parent
SUPPORT = HERE.parent / "support"
KEPT = ("PATH", "LANG", "PYTHONPATH", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")
RUN_EVENT = "observation.run.event.v1"
HEAD = "import random\n\nfrom runloop_agent import *\nfrom runloop_agent import agent\n\n\n@agent\n"
PATIENCE_S = 90
PORTS = ("plan", "text", "part")
MANIFEST = """[agent]
name = "{name}"
version = "1.0.0"
kind = "python"
entry = "agent.py"

[ports]
in = [{ports}]
out = ["out"]

[caps]
file = "policy.caps"
"""
CONFIG = """\
models:
  default: here:m
  broker:
    providers: [{{id: here, kind: http_openai_chat, base_url: "http://127.0.0.1:{model}"}}]
    cache: {{ttl_ms: 0}}
    prices: [{{provider: here, model: m, input: 1.0, output: 2.0}}]
mail:
  from: Me <me@here.example>
  smtp: {{host: 127.0.0.1, port: {mail}, tls: none}}
security:
  approval_wait_ms: 86400000
runtime:
  drain_grace_ms: 0
"""
AGENTS = {
    "planner": ("model = true", "def run():\n    return {'out': model.complete('plan the letter').text}\n"),
    "writer": (
        "model = true",
        (
            "def run(plan=''):\n    first = model.complete(f'draft {plan}').text\n    emit.log('half of it')\n"
            "    return {'out': model.complete(f'polish {first}').text}\n"
        ),
    ),
    # The random numbers of an attempt follow from the run's seed, which the launcher fixes: the same attempts fail on every run.
    "moody": (
        "model = true",
        (
            "def run(plan=''):\n    mood = random.random()\n    said = model.complete(f'check {plan} {mood}').text\n"
            "    if mood < 0.6:\n        raise ValueError(f'not in the mood for {said}')\n    return {'out': said}\n"
        ),
    ),
    "inner": ("model = true", "def run():\n    return {'out': model.complete('aside of the child').text}\n"),
    "chooser": ("ask = true", "def run():\n    return {'out': ask.person('Send it?', options=['now', 'never']).answer}\n"),
    "sender": (
        "mail = true",
        (
            "def run(text='', part=''):\n    sent = mail.send([{'email': 'you@there.example'}], subject='Letter', text=f'{text} {part}')\n"
            "    return {'out': sent.status}\n"
        ),
    ),
}
INNER = "version: 0\nname: nested\nnodes: [{id: only, use: 'agent:inner'}]\nedges: []\nartifacts: {save: [only.out]}\n"
LETTER = """version: 0
name: letter
nodes:
  - {id: plan, use: "agent:planner"}
  - {id: write, use: "agent:writer"}
  - {id: check, use: "agent:moody", retry: {max_attempts: 9, initial_ms: 20, max_ms: 40}}
  - {id: aside, use: "opening:nested"}
  - {id: choose, use: "agent:chooser"}
  - {id: send, use: "agent:sender"}
edges:
  - {from: plan.out, to: write.plan}
  - {from: plan.out, to: check.plan}
  - {from: write.out, to: aside.in}
  - {from: check.out, to: choose.in}
  - {from: aside.out, to: send.in}
  - {from: choose.out == "now", to: send.in}
  - {from: write.out, to: send.text}
  - {from: check.out, to: send.part}
artifacts: {save: [send.out]}
"""


@dataclass
class Ended:
    """What a run came to, by what can be seen from outside and by its records."""

    status: str
    outputs: dict
    final_hash: str | None
    tokens: int
    usd: float | None
    mails: int
    prompts: Counter
    problems: list
    lives: int = 1
    places: list = field(default_factory=list)


class Servers:
    """The model server and the mail server of one home."""

    def __init__(self, spool, delay_ms=0):
        self.spool = spool
        spool.mkdir()
        self._processes = []
        self.model = self._start(HERE / "model.py", "--delay", str(delay_ms))
        self.mail = self._start(SUPPORT / "mail_server.py", "--spool", str(spool))

    def _start(self, script, *arguments):
        command = [sys.executable, str(script), *arguments]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._processes.append(process)
        return int(process.stdout.readline())

    def prompts(self):
        """What the model was asked, in order."""
        return self._model("/_prompts")

    def forget(self):
        """Begin to count anew."""
        self._model("/_reset", b"{}")
        for path in self.spool.iterdir():
            path.unlink()

    def _model(self, path, data=None):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(f"http://127.0.0.1:{self.model}{path}", data=data), timeout=30) as answer:
            return json.loads(answer.read())

    @property
    def mails(self):
        """The messages that the mail server took."""
        return [json.loads(path.read_text()) for path in sorted(self.spool.glob("*.json"))]

    def close(self):
        for process in self._processes:
            process.stdin.close()
            process.stdout.close()
        for process in self._processes:
            process.wait(10)


class Home:
    """One person's Runloop, in a directory of its own. ``root`` is short: a socket's path may have 107 bytes."""

    def __init__(self, root, cache, *, delay_ms=0, config=""):
        self.root = root
        self.state = root / "state"
        self.state.mkdir(mode=0o700)
        self.servers = Servers(root / "spool", delay_ms)
        (self.state / "config.yaml").write_text(CONFIG.format(model=self.servers.model, mail=self.servers.mail) + config)
        self.env = {name: os.environ[name] for name in KEPT if name in os.environ}
        self.env |= {"HOME": str(root), "RUNLOOP_HOME": str(self.state), "XDG_CACHE_HOME": str(cache)}
        self.daemon = None

    def agent(self, name, code, caps):
        ports = [port for port in PORTS if port in code.partition(")")[0]]
        directory = self.state / "agents" / name
        directory.mkdir(parents=True)
        (directory / "manifest.toml").write_text(MANIFEST.format(name=name, ports=", ".join(f'"{port}"' for port in ports)))
        (directory / "policy.caps").write_text(f"[capabilities]\n{caps}\n")
        (directory / "agent.py").write_text(HEAD + code)
        sealed, problems = seal(directory)
        if sealed is None:
            raise AssertionError(problems)

    def opening(self, name, text):
        directory = self.state / "openings"
        directory.mkdir(exist_ok=True)
        (directory / f"{name}.yaml").write_text(text)

    def letter(self):
        """The six agents and the two openings."""
        for name, (caps, code) in AGENTS.items():
            self.agent(name, code, caps)
        self.opening("nested", INNER)
        return LETTER

    def start(self, places, *, die_at=0, worker_at=0):
        """Start the daemon; False when it died before it was ready."""
        reading, writing = os.pipe()
        env = {**self.env, "RUNLOOP_READY_FD": str(writing), "CRASH_LOG": str(places), "CRASH_AT": str(die_at)}
        env |= {"CRASH_WORKER_AT": str(worker_at), "CRASH_MODEL": f"http://127.0.0.1:{self.servers.model}"}
        with (self.root / "stderr").open("ab") as errors:
            self.daemon = subprocess.Popen(
                [sys.executable, "-P", str(HERE / "launcher.py"), "--foreground", "--set", "sandbox.workers=1"],
                env=env, pass_fds=(writing,), stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, cwd=self.root,
            )  # fmt: skip
        os.close(writing)
        with os.fdopen(reading) as pipe:
            return bool(pipe.readline())

    def stop(self):
        if self.daemon is not None:
            self.daemon.send_signal(signal.SIGTERM)
            if self.daemon.wait(60):
                raise AssertionError(f"the daemon ended with {self.daemon.returncode}:\n{self.log}")
            self.daemon = None

    @property
    def log(self):
        return (self.root / "stderr").read_text()[-2000:]

    def close(self):
        if self.daemon is not None:
            self.daemon.kill()
            self.daemon.wait()
        self.servers.close()

    # ── a run ────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def run(self, opening, die_at=(), worker_at=0):
        """Submit the opening and bring it to its end, over as many lives of the daemon as ``die_at`` names places, and one more.

        ``worker_at`` is the place of the first life at which it loses a worker.
        """
        self.servers.forget()
        (self.root / "stderr").unlink(missing_ok=True)
        return asyncio.run(self._run(opening, list(die_at), worker_at))

    async def _run(self, opening, die_at, worker_at):
        run_id, lives, places = str(uuid.uuid4()), 0, []
        while True:
            log = self.root / f"places-{run_id[:8]}-{lives}"
            ready = self.start(log, die_at=die_at.pop(0) if die_at else 0, worker_at=0 if lives else worker_at)
            lives += 1
            ended = False
            if ready:
                ended = await self._follow(run_id, opening)
            if ended:
                await asyncio.to_thread(self.stop)
            else:
                code = await asyncio.to_thread(self.daemon.wait, PATIENCE_S)
                self.daemon = None
                if code != -signal.SIGKILL:
                    raise AssertionError(f"the daemon ended with {code}:\n{self.log}")
            places.append(log.read_text().splitlines() if log.exists() else [])
            if ended:
                return self._account(run_id, lives, places)

    async def _follow(self, run_id, opening):
        """Submit, answer for the person, and follow to the end; False when the daemon died."""
        try:
            token = read_token(self.state / "token")
            async with asyncio.timeout(PATIENCE_S), await BusClient.connect(self.socket, "operator", token, reconnect_s=0) as client:
                return await self._live(client, run_id, opening)
        except TimeoutError:
            raise AssertionError(f"the run does not end:\n{self.log}") from None
        except (RunloopError, OSError) as error:
            if await asyncio.to_thread(self._died):
                return False
            raise AssertionError(f"{error!r}\n{self.log}") from error

    def _died(self):
        try:
            return self.daemon.wait(10) == -signal.SIGKILL
        except subprocess.TimeoutExpired:
            return False

    @property
    def socket(self):
        return self.state / "sock" / "rmp.sock"

    async def _live(self, client, run_id, opening):
        asked = await client.subscribe("action.request", "realtime")
        person = asyncio.create_task(self._answer(client, asked))
        try:
            await ask(client, "submit", opening_source=opening, request_id=run_id)
            records = await client.subscribe(f"rlp/runs/trace:{run_id}/events", "durable", from_seq=1, max_bytes=1 << 20)
            for shown in (await ask(client, "approvals"))["open"]:
                await self._decide(client, shown)
            async for message in records:
                if message.type == RUN_EVENT and message.payload["kind"] == "run.finished":
                    return True
            return False
        finally:
            person.cancel()
            await asyncio.gather(person, return_exceptions=True)

    async def _answer(self, client, asked):
        async for message in asked:
            if message.payload["state"] == "open":
                await self._decide(client, message.payload)

    async def _decide(self, client, shown):
        """Approve; say that the letter goes now; and of a mail whose fate is not known, what the mail server knows."""
        given = {"approved": True, "scope": "once"}
        if shown["type"] == "question":
            given = {"answer": shown["options"][0]}
            if "did it happen" in shown["question"].lower():
                there = any(message_from_string(mail["content"])["Message-ID"] in shown["question"] for mail in self.servers.mails)
                given = {"answer": "it happened" if there else "do it now"}
        try:
            await ask(client, "answer", approval_id=shown["approval_id"], **given)
        except RefusedError as refused:
            if refused.code != "approval.unknown":  # answered already, when it was announced or when it was listed
                raise

    def _account(self, run_id, lives, places):
        prompts, mails = self.servers.prompts(), self.servers.mails
        with Ledger.open(self.state / "pog" / "events.sqlite", writable=False) as ledger:
            problems = [] if ledger.verify().ok else ["the ledger does not verify"]
            outputs = {}
            for each in ledger.run_ids(limit=100_000):
                events = [ledger.full(event) for event in ledger.read(run_id=each, limit=100_000)]
                if events[0].provenance["trace_id"] != f"trace:{run_id}":
                    continue
                problems += examine(events)
                if each == run_id:
                    meta = events[-1].payload["meta"]
                    for event in events:
                        if event.kind == "node.finished" and event.payload["meta"]["status"] == "ok":
                            outputs[event.payload["meta"]["node"]] = plain(event.payload["meta"]["outputs"])
        ended = (meta["status"], outputs, meta.get("final_hash"), meta.get("tokens"), meta.get("usd"))
        return Ended(*ended, len(mails), Counter(prompts), problems, lives, places)


class RefusedError(Exception):
    """The daemon refused a request."""

    def __init__(self, error):
        super().__init__(str(error))
        self.code = error["code"]


async def ask(client, verb, **fields):
    """One control verb."""
    payload = {"verb": verb, **fields}
    answer = (await client.request("rlp/ctrl", "intent.ctrl.request.v1", payload, 60_000)).payload
    if "error" in answer:
        raise RefusedError(answer["error"])
    return answer["ok"]


def examine(events):
    """What is wrong with the records of one run."""
    name, problems = events[0].payload["opening_name"], []
    seqs = [event.payload["seq"] for event in events]
    if seqs != list(range(1, len(seqs) + 1)):
        problems.append(f"{name}: the numbers are {seqs}")
    ends = [number for number, event in enumerate(events) if event.kind == "run.finished"]
    if ends != [len(events) - 1]:
        problems.append(f"{name}: run.finished at {ends} of {len(events)}")
    calls = Counter()
    for event in events:
        meta = event.payload["meta"]
        if event.kind == "effect.requested":
            calls[meta["node"], meta["attempt"], meta["call"]] += 1
        elif event.kind.startswith("effect."):
            calls[meta["node"], meta["attempt"], meta["call"]] += 1000
    return problems + [
        f"{name}: call {call} has {count % 1000} requests, {count // 1000} outcomes" for call, count in calls.items() if count != 1001
    ]


def plain(outputs):
    """Outputs without the ids of child runs, which every run has its own of."""
    return json.loads(json.dumps(outputs), object_hook=lambda found: {key: value for key, value in found.items() if key != "run_id"})
