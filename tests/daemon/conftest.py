"""A daemon as a process of its own: an empty home, a socket, and clients that talk to it. Everything started here is ended here."""

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import textwrap
import uuid
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from runloop.bundles.seal import seal
from runloop.bus.listen import holder
from runloop.client import Client
from runloop.config import load
from runloop.kb import KnowledgeBase

DAEMON = [sys.executable, "-P", "-m", "runloop.daemon.main", "--foreground"]
RLP = [sys.executable, "-P", "-m", "runloop"]
KEPT = ("PATH", "LANG", "PYTHONPATH", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")
MANIFEST = """[agent]
name = "{name}"
version = "1.0.0"
kind = "python"
entry = "agent.py"

[ports]
in = []
out = ["out"]

[caps]
file = "policy.caps"
"""
HEAD = "from runloop_agent import *\nfrom runloop_agent import agent\n\n\n@agent\n"
QUICK = HEAD + "def run() -> dict:\n    return {'out': 'done'}\n"
LOOP = HEAD + "def run() -> dict:\n    emit.log('in the loop')\n    while True:\n        pass\n"
ONE_NODE = "version: 0\nname: {name}\nnodes:\n  - {{id: a, use: agent:{name}}}\nedges: []\n"
RUN_EVENT = "observation.run.event.v1"


class Daemon:
    """One home with a daemon that can be started and stopped several times."""

    def __init__(self, root, cache):
        self.root = root
        self.state = root / "state"
        self.socket = self.state / "sock" / "rmp.sock"
        self.process = None
        self.env = {
            **{name: os.environ[name] for name in KEPT if name in os.environ},
            "HOME": str(root),
            "RUNLOOP_HOME": str(self.state),
            "XDG_CACHE_HOME": str(cache),
            "COLUMNS": "120",
        }
        self.settings = {"sandbox.workers": 1}

    def configure(self, text):
        self.state.mkdir(exist_ok=True, mode=0o700)
        (self.state / "config.new").write_text(textwrap.dedent(text))
        (self.state / "config.new").replace(self.state / "config.yaml")  # nobody reads half of it

    def agent(self, name, code, caps=""):
        directory = self.state / "agents" / name
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "manifest.toml").write_text(MANIFEST.format(name=name))
        (directory / "policy.caps").write_text(f"[capabilities]\n{caps}\n")
        (directory / "agent.py").write_text(code)
        sealed, problems = seal(directory)
        assert (sealed is not None, problems) == (True, [])
        return directory

    def opening(self, name, text=None):
        directory = self.state / "openings"
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{name}.yaml"
        path.write_text(ONE_NODE.format(name=name) if text is None else text)
        return path

    def start(self, *arguments, env=None, through=(), given=()):
        """Start it, ``through`` another command, which has the descriptors ``given``, and wait until it says that it is ready; the line."""
        reading, writing = os.pipe()
        flags = [part for key, value in self.settings.items() for part in ("--set", f"{key}={value}")]
        with (self.root / "stderr").open("ab") as errors:
            self.process = subprocess.Popen(
                [*through, *DAEMON, *flags, *arguments],
                env={**self.env, "RUNLOOP_READY_FD": str(writing), **(env or {})},
                pass_fds=(writing, *given), stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, cwd=self.root,
            )  # fmt: skip
        os.close(writing)
        with os.fdopen(reading) as pipe:
            line = pipe.readline()
        return json.loads(line) if line else None

    def stop(self, number=signal.SIGTERM):
        """Signal it and wait for its end; the exit code."""
        if self.process is None:
            return None
        process, self.process = self.process, None
        process.send_signal(number)
        return process.wait(60)

    def end_detached(self):
        """End the daemon that `rlp up` has started, where the test broke off before it stopped it."""
        pid = holder(self.socket)
        if pid is not None:
            ended = os.pidfd_open(pid)
            signal.pidfd_send_signal(ended, signal.SIGKILL)
            select.select([ended], [], [], 60)
            os.close(ended)

    def leave(self):
        """From now on programs have the socket alone: their home is another one, without a token. The path where it would be."""
        elsewhere = self.root / "elsewhere"
        elsewhere.mkdir(mode=0o700)
        for name in ("agents", "openings"):
            (elsewhere / name).symlink_to(self.state / name)
        self.env |= {"RUNLOOP_HOME": str(elsewhere), "RUNLOOP__RUNTIME__SOCKET_PATH": str(self.socket)}
        return elsewhere / "token"

    def rlp(self, *arguments, stdin=None, timeout=120):
        return subprocess.run(
            [*RLP, *map(str, arguments)],
            env=self.env,
            cwd=self.root,
            input=stdin,
            timeout=timeout,
            capture_output=True,
            text=True,
            check=False,
        )

    def log(self):
        """What it said so far."""
        said = self.root / "stderr"
        return said.read_text() if said.exists() else ""

    def connection(self, **options):
        """A client that finds this daemon as a program of its user would; not connected yet."""
        return Client(settings=load(env=self.env), **{"reconnect_s": 0, **options})

    @asynccontextmanager
    async def client(self, role="operator"):
        async with self.connection(role=role) as client:
            yield Link(client)


class Link:
    """A client with the words that the tests use."""

    def __init__(self, client):
        self.client = client

    async def raw(self, payload):
        return (await self.client.request("rlp/ctrl", "intent.ctrl.request.v1", payload, 60_000)).payload

    async def ask(self, verb, **fields):
        answer = await self.raw({"verb": verb, **fields})
        assert "ok" in answer, answer
        return answer["ok"]

    async def refused(self, verb, **fields):
        answer = await self.raw({"verb": verb, **fields})
        assert "error" in answer, answer
        return answer["error"]

    async def follow(self, run_id, from_seq=1):
        return await self.client.subscribe(f"rlp/runs/trace:{run_id}/events", "durable", from_seq=from_seq, max_bytes=256 * 1024)

    async def submit(self, source, **fields):
        fields.setdefault("request_id", str(uuid.uuid4()))
        return await self.ask("submit", opening_source=source, **fields)

    async def run(self, source, **fields):
        """Submit and follow to the end; the records."""
        run_id = fields.setdefault("request_id", str(uuid.uuid4()))
        records = await self.follow(run_id)
        await self.submit(source, **fields)
        return await to_end(records)


async def to_end(records):
    """Every record up to the run's end."""
    found = []
    async with asyncio.timeout(60):
        async for message in records:
            assert message.type == RUN_EVENT, message.payload
            found.append(message.payload)
            if message.payload["kind"] == "run.finished":
                await records.close()
                return found
    raise AssertionError("the records ended without an end of the run")


async def until(records, kind):
    """Every record up to the first of a kind."""
    found = []
    async with asyncio.timeout(60):
        async for message in records:
            found.append(message.payload)
            if message.payload.get("kind") == kind:
                return found
    raise AssertionError(f"no {kind} came")


@pytest.fixture
def daemon(guest_cache):
    """A daemon that is not started yet, in a short path: a socket's may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="rl-") as root:
        made = Daemon(Path(root), guest_cache)
        yield made
        if made.process is not None:
            made.process.kill()
            made.process.wait()
        made.end_detached()
        unseen = [line for line in made.log().splitlines() if '"source": "asyncio"' in line and '"error"' in line]
        assert unseen == []  # an exception of a callback, or of a task that nobody waited for


@pytest.fixture
def words():
    """What tests share."""
    from types import SimpleNamespace

    return SimpleNamespace(quick=QUICK, loop=LOOP, head=HEAD, one=lambda name: ONE_NODE.format(name=name), to_end=to_end, until=until)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A test that fails shows what the daemon logged."""
    outcome = yield
    report = outcome.get_result()
    made = getattr(item, "funcargs", {}).get("daemon")
    if report.failed and made is not None:
        report.sections.append(("log of the daemon", made.log()[-4000:]))


@pytest.fixture(scope="module")
def running(guest_cache):
    """One daemon for all tests of a file that change nothing in it."""
    with tempfile.TemporaryDirectory(prefix="rl-") as root:
        made = Daemon(Path(root), guest_cache)
        made.start()
        yield made
        made.stop()


@pytest.fixture
def kb(tmp_path):
    """An empty knowledge base, without a daemon."""
    with KnowledgeBase.open(tmp_path / "pog") as opened:
        yield opened
