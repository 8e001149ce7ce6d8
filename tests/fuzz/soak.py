"""A daemon under everything at once, for a given time: runs, publishers, readers that come and go, stall and misbehave; then the accounts.

    soak.py SECONDS [--seed N] [--runs-per-s N] [--frames-per-s N]

It starts a daemon in a home of its own. Ends with status 1 and says why if a run has no end or two, if a record of a followed run is
lost, repeated or out of order, if published is not delivered + dropped + queued, if the ledger does not verify, if a process is left
behind, or if memory or descriptors of the last quarter of the time lie above those of the first by more than a bound. The last line is the
result as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import wasmtime
from fuzz_bus import Finding, misbehave, size_of

from runloop.bundles.seal import seal
from runloop.bus import BusClient
from runloop.errors import RunloopError

GROWTH_MB = 48
"""From the first quarter, in which windows and caches fill up to their bounds, to the last."""
FLAT_MB = 10
"""From the second quarter to the last, where the time is long enough that they are full then; beside SQLite's pages."""
WARM_S = 60
"""Memory is not judged before: on a busy machine the first quarter of some seconds has seen next to nothing."""
LONG_S = 300
GROWTH_FDS = 16
SAMPLES = 80
QUIET_S = 60
RUNNERS = 8
FOLLOWERS = 2
PAYLOAD = "x" * 200
SEEN = ("sent", "frames", "runs", "records", "reconnects", "stalls", "visits")
MANIFEST = """[agent]
name = "{name}"
version = "1.0.0"
kind = "{kind}"
entry = "{entry}"

[ports]
in = []
out = ["out"]

[caps]
file = "policy.caps"
"""
COMMAND = """(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "{\\22out\\22:42}")
  (func (export "_start")
    (i32.store (i32.const 100) (i32.const 0)) (i32.store (i32.const 104) (i32.const 10))
    (drop (call $write (i32.const 1) (i32.const 100) (i32.const 1) (i32.const 108)))))"""
HEAD = "from runloop_agent import *\nfrom runloop_agent import agent\n\n\n@agent\n"
AGENTS = {
    "logs": (HEAD + "def run():\n    for number in range(20):\n        emit.log(str(number))\n    return {'out': number}\n", ""),
    "breaks": (HEAD + "def run():\n    raise ValueError('as it should')\n", ""),
    "naps": (HEAD + "def run():\n    timer.sleep(1.5)\n    return {'out': 'woken'}\n", "time = true"),
    "loops": (HEAD + "def run():\n    while True:\n        pass\n", ""),
}
OPENINGS = {"quick": ("core", "core", "core"), "logs": ("core", "logs"), "breaks": ("breaks",), "naps": ("naps",), "loops": ("loops",)}
SHARES = {"quick": 80, "logs": 10, "breaks": 4, "naps": 4, "loops": 2}
"""How often each opening is run."""
ENDS = {"quick": {"succeeded"}, "logs": {"succeeded"}, "breaks": {"failed"}, "naps": {"succeeded"}, "loops": {"cancelled"}}


@dataclass(slots=True)
class Daemon:
    """A daemon in a home of its own, and what the clients of it have counted."""

    root: Path
    seed: int
    runs_per_s: float
    frames_per_s: float
    done: asyncio.Event = field(default_factory=asyncio.Event)
    submitted: dict[str, str] = field(default_factory=dict)
    """Opening by run id."""
    terminal: dict[str, int] = field(default_factory=dict)
    """How many ends of a run its follower has seen."""
    seen: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SEEN, 0))
    samples: list[dict[str, float]] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    @property
    def state(self) -> Path:
        """Its own folder."""
        return self.root / "state"

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.state / "sock" / "rmp.sock"

    @property
    def pid(self) -> int:
        """Its process."""
        assert self.process is not None
        return self.process.pid

    @property
    def env(self) -> dict[str, str]:
        """The environment of everything in this home; compiled guests are kept in the person's own cache."""
        cache = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
        return {**os.environ, "HOME": str(self.root), "RUNLOOP_HOME": str(self.state), "XDG_CACHE_HOME": cache}

    def furnish(self) -> None:
        """Write the agents and the openings."""
        self.state.mkdir(mode=0o700)
        self._agent("core", "wasm32-wasip1", "agent.wasm", bytes(wasmtime.wat2wasm(COMMAND)), "")
        for name, (code, caps) in AGENTS.items():
            self._agent(name, "python", "agent.py", code.encode(), caps)
        (self.state / "openings").mkdir()
        for name, agents in OPENINGS.items():
            nodes = "".join(f"  - {{id: n{number}, use: 'agent:{agent}'}}\n" for number, agent in enumerate(agents))
            edges = "".join(f"  - {{from: n{number}.out, to: n{number + 1}.in}}\n" for number in range(len(agents) - 1))
            text = f"version: 0\nname: {name}\nnodes:\n{nodes}" + (f"edges:\n{edges}" if edges else "edges: []\n")
            (self.state / "openings" / f"{name}.yaml").write_text(text)

    def _agent(self, name: str, kind: str, entry: str, code: bytes, caps: str) -> None:
        directory = self.state / "agents" / name
        directory.mkdir(parents=True)
        (directory / "manifest.toml").write_text(MANIFEST.format(name=name, kind=kind, entry=entry))
        (directory / "policy.caps").write_text(f"[capabilities]\n{caps}\n")
        (directory / entry).write_bytes(code)
        sealed, problems = seal(directory)
        if sealed is None:
            raise Finding(f"the agent {name} cannot be sealed: {problems}")

    def start(self) -> None:
        """Start it and wait until it is ready."""
        reading, writing = os.pipe()
        settings = ["logging.level=error", "runtime.park_after_ms=300", "runtime.max_agents=8"]
        flags = [part for each in settings for part in ("--set", each)]
        command = [sys.executable, "-P", "-m", "runloop.daemon.main", *flags]
        env = {**self.env, "RUNLOOP_READY_FD": str(writing)}
        self.process = subprocess.Popen(command, env=env, pass_fds=(writing,), stdin=subprocess.DEVNULL, cwd=self.root)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            line = pipe.readline()
        if not line or not json.loads(line)["ready"]:
            raise Finding("the daemon did not start")

    async def client(self, **options: Any) -> BusClient:
        """A connection as operator."""
        token = (self.state / "token").read_text().strip()
        return await BusClient.connect(self.socket, "operator", token, name="soak", **{"reconnect_s": 0, **options})

    async def pause(self, seconds: float) -> None:
        """So long, or until the end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.done.wait()


async def ask(client: BusClient, verb: str, **fields: Any) -> dict[str, Any]:
    """A control verb; its answer or error."""
    found: dict[str, Any] = (await client.request("rlp/ctrl", "intent.ctrl.request.v1", {"verb": verb, **fields}, 60_000)).payload
    return found


# ── clients that behave ──────────────────────────────────────────────────────────────────────────────────────────────


async def run_on(daemon: Daemon, number: int) -> None:
    """Submit runs one after the other and follow each to its end, sometimes on a second connection in the middle of it."""
    chance = random.Random(f"{daemon.seed}/runner/{number}")
    async with await daemon.client() as client:
        while not daemon.done.is_set():
            name = chance.choices(list(SHARES), SHARES.values())[0]
            run_id = str(uuid.UUID(bytes=chance.randbytes(16), version=4))
            answer = await ask(client, "submit", request_id=run_id, opening=name)
            if "error" in answer:
                if answer["error"].get("retryable"):
                    await daemon.pause(0.2)
                    continue
                raise Finding(f"a run was refused: {answer['error']}")
            daemon.submitted[run_id] = name
            if name == "loops":
                await daemon.pause(chance.random() / 2)
                await ask(client, "cancel", run=run_id)
            await follow(daemon, client, run_id, chance)
            await daemon.pause(chance.expovariate(daemon.runs_per_s / RUNNERS))


async def follow(daemon: Daemon, client: BusClient, run_id: str, chance: random.Random) -> None:
    """Read every record of a run once, in order, to its end; raises Finding."""
    topic, seq, status = f"rlp/runs/trace:{run_id}/events", 0, ""
    leaves_after = chance.randrange(1, 8) if chance.random() < 0.2 else None
    while not status:
        own = leaves_after is not None
        reader = await daemon.client() if own else client
        sub = await reader.subscribe(topic, "durable", from_seq=seq + 1)
        try:
            async with asyncio.timeout(120):
                async for message in sub:
                    record = message.payload
                    if record.get("event_id") is None:
                        continue
                    if record["seq"] != seq + 1:
                        raise Finding(f"run {run_id}: record {record['seq']} came after {seq}")
                    seq += 1
                    daemon.seen["records"] += 1
                    if record["kind"] == "run.finished":
                        status = record["meta"]["status"]
                        break
                    if leaves_after is not None and seq >= leaves_after:
                        break
        except TimeoutError:
            raise Finding(f"run {run_id} ({daemon.submitted[run_id]}): nothing came after record {seq} for two minutes") from None
        finally:
            if own:
                daemon.seen["reconnects"] += 1
                await reader.close()
            else:
                await client.unsubscribe(sub)
        leaves_after = None
    daemon.terminal[run_id] = daemon.terminal.get(run_id, 0) + 1
    daemon.seen["runs"] += 1
    if status not in ENDS[daemon.submitted[run_id]]:
        raise Finding(f"run {run_id} of {daemon.submitted[run_id]} ended {status}")


async def publish(daemon: Daemon, number: int) -> None:
    """Frames on a topic, in bursts; a reader of the same process gets every one of them, in order."""
    topic, a_burst = f"soak/{number}", 50
    async with await daemon.client() as writer, await daemon.client() as reader:
        heard = await reader.subscribe(topic, "batched", max_messages=10_000, max_bytes=16 * 1024 * 1024)
        sent = got = 0
        while not daemon.done.is_set():
            began = time.monotonic()
            for _ in range(a_burst):
                sent += 1
                await writer.publish(topic, "observation.generic.v1", {"n": sent, "x": PAYLOAD}, ttl_ms=600_000)
            while got < sent:
                try:
                    async with asyncio.timeout(60):
                        message = await anext(heard)
                except TimeoutError:
                    raise Finding(f"frame {got + 1} of {topic} was lost") from None
                got += 1
                if message.payload["n"] != got:
                    raise Finding(f"frame {message.payload['n']} of {topic} came instead of {got}")
            daemon.seen["frames"] += a_burst
            await daemon.pause(max(0.0, a_burst * FOLLOWERS / daemon.frames_per_s - (time.monotonic() - began)))


# ── clients that do not ──────────────────────────────────────────────────────────────────────────────────────────────


async def visit(daemon: Daemon, number: int) -> None:
    """Come, subscribe to something, read a little or nothing, and go, politely or not."""
    chance = random.Random(f"{daemon.seed}/visitor/{number}")
    while not daemon.done.is_set():
        stalls = chance.random() < 0.2
        with contextlib.suppress(RunloopError, OSError):
            client = await daemon.client()
            try:
                pattern = chance.choice(["soak/*", "rlp/runs/**", "rlp/runs/*/events", "rlp/sys/**", "**"])
                klass = chance.choice(["realtime", "batched"])
                heard = await client.subscribe(
                    pattern, klass, max_messages=chance.choice([16, 1024]), max_bytes=chance.choice([4096, 1 << 20])
                )
                if stalls:
                    daemon.seen["stalls"] += 1
                    stall(client)
                    await daemon.pause(chance.uniform(1, 10))
                else:
                    await read_some(heard, chance)
                    if chance.random() < 0.5:
                        await ask(client, chance.choice(["status", "list", "metrics", "approvals"]))
            finally:
                daemon.seen["visits"] += 1
                if stalls or chance.random() < 0.3:
                    abort(client)
                await client.close()
        await daemon.pause(chance.uniform(0, 0.2))


async def read_some(heard: Any, chance: random.Random) -> None:
    """A few messages, or a moment of them."""
    with contextlib.suppress(TimeoutError, StopAsyncIteration):
        async with asyncio.timeout(chance.uniform(0.05, 1.0)):
            for _ in range(chance.choice([1, 20, 2000])):
                await anext(heard)


def stall(client: BusClient) -> None:
    """Read nothing of this connection any more."""
    wire = client._wire
    if wire is not None and wire._transport is not None:
        wire._transport.pause_reading()


def abort(client: BusClient) -> None:
    """Break the connection."""
    wire = client._wire
    if wire is not None and wire._transport is not None:
        wire._transport.abort()


# ── the accounts ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def sample(daemon: Daemon, every_s: float) -> None:
    """Memory and descriptors of the daemon and its workers."""
    while not daemon.done.is_set():
        await daemon.pause(every_s)
        async with await daemon.client() as client:
            answer = (await client.request("rlp/ctrl", "intent.ctrl.request.v1", {"verb": "metrics"}, 60_000)).payload
        daemon.samples.append(measured(daemon.pid, answer["ok"]["snapshot"]["gauges"]["sqlite_bytes"] / 1e6))


def measured(pid: int, sqlite_mb: float) -> dict[str, float]:
    """Resident MB and descriptors of the daemon, and of its workers together; SQLite's pages, which fill up to a bound, by themselves."""
    mb, descriptors = size_of(pid)
    workers = [size_of(child) for child in children_of(pid)]
    workers_mb, workers_fds = (sum(column) for column in zip(*workers, strict=True))
    return {
        "daemon_mb": mb - sqlite_mb,
        "sqlite_mb": sqlite_mb,
        "daemon_fds": descriptors,
        "workers_mb": workers_mb,
        "workers_fds": workers_fds,
    }


def children_of(pid: int) -> list[int]:
    """Process ids of the direct children."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


def growth(samples: list[dict[str, float]]) -> dict[str, list[float]]:
    """Medians of the four quarters of the time."""
    cuts = [len(samples) * part // 4 for part in range(5)]
    quarters = [samples[begin:end] for begin, end in pairwise(cuts)]
    return {name: [round(statistics.median(each[name] for each in quarter), 1) for quarter in quarters] for name in samples[0]}


def check_growth(quarters: dict[str, list[float]], seconds: float) -> None:
    """Raise Finding if the last quarter of the time lies too far above the first, or above the second of a long time."""
    for name, values in quarters.items():
        most = GROWTH_FDS if name.endswith("_fds") else GROWTH_MB if seconds >= WARM_S else math.inf
        if values[-1] - values[0] > most:
            raise Finding(f"{name} grew over the quarters of the time: {quarters}")
    for name in ("daemon_mb", "workers_mb") if seconds >= LONG_S else ():
        if quarters[name][-1] - quarters[name][1] > FLAT_MB:
            raise Finding(f"{name} still grew when everything was full: {quarters}")


async def accounts(daemon: Daemon) -> dict[str, Any]:
    """What the daemon counted against what its clients counted; raises Finding. Waits until no run is left."""
    async with await daemon.client() as client:
        async with asyncio.timeout(QUIET_S):
            while True:
                runs = (await ask(client, "status"))["ok"]["runs"]
                if not runs["running"] + runs["queued"] + runs["parked"]:
                    break
                await asyncio.sleep(0.1)
        found = (await ask(client, "metrics"))["ok"]["snapshot"]
    counters, gauges = found["counters"], found["gauges"]
    ended = {status: runs[status] for status in ("succeeded", "failed", "cancelled")}
    published, delivered, dropped = (counters[f"msgs_{name}_total"] for name in ("copies", "sent", "dropped"))
    queued = gauges["bus_queued"]
    if published != delivered + dropped + queued:
        raise Finding(f"{published} copies published, {delivered} delivered, {dropped} dropped, {queued} queued")
    if sum(ended.values()) != len(daemon.submitted):
        raise Finding(f"{len(daemon.submitted)} runs submitted, {ended} ended")
    lost = [run_id for run_id in daemon.submitted if daemon.terminal.get(run_id) != 1]
    if lost:
        raise Finding(f"{len(lost)} followers saw no end of their run, or two: {lost[:3]}")
    bus = {"frames": counters["msgs_recv_total"], "published": published, "delivered": delivered, "dropped": dropped, "queued": queued}
    return {"bus": bus, "runs": {"submitted": len(daemon.submitted), **ended}, "workers_lost": counters["workers_lost_total"]}


def verified(daemon: Daemon) -> dict[str, Any]:
    """The ledger after the daemon has stopped: the chain holds, and every run has one end; raises Finding."""
    workers = children_of(daemon.pid)
    assert daemon.process is not None
    daemon.process.terminate()
    code = daemon.process.wait(60)
    left = [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    if code != 0 or left or daemon.socket.exists():
        raise Finding(f"the daemon ended with {code}, left workers {left}, socket {daemon.socket.exists()}")
    command = [sys.executable, "-P", "-m", "runloop", "kb", "verify", "--json"]
    done = subprocess.run(command, env=daemon.env, cwd=daemon.root, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Finding(f"the ledger does not verify: {done.stdout}{done.stderr}")
    return {"ledger_mb": round(sum(file.stat().st_size for file in (daemon.state / "pog").rglob("*") if file.is_file()) / 1e6, 1)}


async def soak(daemon: Daemon, seconds: float) -> dict[str, Any]:
    """Everything at once for so long, then the accounts; raises Finding."""
    tasks = [
        *(run_on(daemon, number) for number in range(RUNNERS)),
        *(publish(daemon, number) for number in range(FOLLOWERS)),
        *(visit(daemon, number) for number in range(6)),
        *(misbehave(str(daemon.socket), random.Random(f"{daemon.seed}/{number}"), daemon.done, daemon.seen) for number in range(2)),
        sample(daemon, seconds / SAMPLES),
    ]
    began = time.monotonic()
    try:
        async with asyncio.TaskGroup() as together:
            for task in tasks:
                together.create_task(task)
            await daemon.pause(seconds)
            daemon.done.set()
    except BaseExceptionGroup as group:
        raise next((each for each in group.exceptions if isinstance(each, Finding)), group.exceptions[0]) from None
    passed, counted = round(time.monotonic() - began), await accounts(daemon)
    return {"seconds": passed, "seed": daemon.seed, **counted, "quarters": growth(daemon.samples), "clients": daemon.seen}


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--runs-per-s", type=float, default=20.0, help="how many runs a second are begun")
    parser.add_argument("--frames-per-s", type=float, default=1000.0, help="how many frames a second are published beside the runs")
    args = parser.parse_args()
    seed = random.SystemRandom().randrange(2**32) if args.seed is None else args.seed
    print(f"seed {seed}", file=sys.stderr)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it warns of every write to a connection that the bus ended
    with tempfile.TemporaryDirectory(prefix="rl-") as folder:
        daemon = Daemon(Path(folder), seed, args.runs_per_s, args.frames_per_s)
        try:
            daemon.furnish()
            daemon.start()
            result = asyncio.run(soak(daemon, args.seconds))
            result |= verified(daemon)
            check_growth(result["quarters"], args.seconds)
            print(json.dumps(result))
        except Finding as finding:
            print(f"seed {seed}: {finding}", file=sys.stderr)
            sys.exit(1)
        finally:
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.process.kill()
                daemon.process.wait()


if __name__ == "__main__":
    main()
