"""Row 4: the bus against NATS and Redis, side by side in one run: a server, a publisher and a subscriber, each a process of its own.

Everybody gets the same messages by the usual calls of its Python client: ``await publish(…)`` on one side, a callback with the payload
on the other. Ours runs with TTL, dedupe and ACL on, and every frame is checked by the broker, and by the subscriber in routing and body.
Throughput counts from the first publish to the last message in the subscriber's hand; latency is one way, at a message a millisecond.
Needs ``nats-server`` and ``redis-server`` on the path and the packages ``nats-py`` and ``redis``; a rival that is missing is left out, and
the result says so.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Protocol

from _common import percentile, report, summary
from _cpu import thread_seconds

TOPIC = "bench/topic"
STAMP = struct.Struct(">q")
CLIENTS_LOOP = "RUNLOOP_BENCH_LOOP"
"""Set to ``uvloop`` for the processes of all clients, ours and the others'."""
FILL = 5_000
"""Messages that fill sockets and queues of who stalls, before anything is measured."""


class Bus(Protocol):
    """What the two ends of a measurement need of a client."""

    async def publish(self, body: bytes) -> None: ...
    async def flush(self) -> None: ...
    async def consume(self, on_body: Any, done: asyncio.Event, ready: Any) -> None: ...
    async def close(self) -> None: ...


class Ours:
    """Runloop."""

    def __init__(self, client: Any) -> None:
        self.client = client

    @classmethod
    async def connect(cls, address: str) -> Ours:
        from runloop.bus import BusClient

        return cls(await BusClient.connect(address))

    async def publish(self, body: bytes) -> None:
        await self.client.publish(TOPIC, "observation.generic.v1", body)

    async def flush(self) -> None:
        await self.client.flush()

    async def consume(self, on_body: Any, done: asyncio.Event, ready: Any) -> None:
        def arrived(message: Any) -> None:
            on_body(message.payload)

        await self.client.subscribe(TOPIC, max_messages=1_000_000, max_bytes=64 << 20, on_message=arrived)
        ready()
        await done.wait()

    async def close(self) -> None:
        await self.client.close()


class Nats:
    """NATS over TCP on the loopback, as it has no Unix sockets."""

    def __init__(self, client: Any) -> None:
        self.client = client

    @classmethod
    async def connect(cls, address: str) -> Nats:
        import nats

        return cls(await nats.connect(address, pending_size=64 << 20))

    async def publish(self, body: bytes) -> None:
        await self.client.publish(TOPIC, body)

    async def flush(self) -> None:
        await self.client.flush()

    async def consume(self, on_body: Any, done: asyncio.Event, ready: Any) -> None:
        async def arrived(message: Any) -> None:
            on_body(message.data)

        await self.client.subscribe(TOPIC, cb=arrived, pending_msgs_limit=2_000_000, pending_bytes_limit=1 << 30)
        await self.client.flush()
        ready()
        await done.wait()

    async def close(self) -> None:
        await self.client.close()


class Redis:
    """Redis pub/sub on a Unix socket."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.pipe: Any = None
        self.gathered = 0

    @classmethod
    async def connect(cls, address: str) -> Redis:
        import redis.asyncio

        return cls(redis.asyncio.Redis(unix_socket_path=address))

    async def publish(self, body: bytes) -> None:
        """One by one it would wait for an answer each time: batches of 100 are what its documentation advises."""
        self.pipe = self.pipe or self.client.pipeline(transaction=False)
        self.pipe.publish(TOPIC, body)
        self.gathered += 1
        if self.gathered == 100:
            await self.flush()

    async def flush(self) -> None:
        if self.gathered:
            self.gathered = 0
            await self.pipe.execute()

    async def consume(self, on_body: Any, done: asyncio.Event, ready: Any) -> None:
        pubsub = self.client.pubsub()
        await pubsub.subscribe(TOPIC)

        async def read() -> None:
            async for message in pubsub.listen():
                if message["type"] == "message":
                    on_body(message["data"])
                else:
                    ready()

        task = asyncio.create_task(read())
        await done.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await pubsub.aclose()

    async def close(self) -> None:
        await self.client.aclose()


KINDS: dict[str, Any] = {"runloop": Ours, "nats": Nats, "redis": Redis}


# -- the processes


async def serve(address: str) -> None:
    from runloop.bus import BusLimits, BusServer

    server = BusServer(limits=BusLimits())
    await server.start(address)
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    print(json.dumps(server.stats().total.to_dict()), flush=True)
    await server.close()


async def publish(kind: str, address: str, count: int, size: int, per_ms: int) -> None:
    bus = await KINDS[kind].connect(address)
    filler = bytes(size - STAMP.size)
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    began = time.monotonic_ns()
    if per_ms:
        for burst in range(count // per_ms):
            for _ in range(per_ms):
                await bus.publish(STAMP.pack(time.monotonic_ns()) + filler)
            if per_ms == 1 and kind == "redis":
                await bus.flush()
            left = began / 1e9 + (burst + 1) / 1000 - time.monotonic()
            await asyncio.sleep(max(0.0, left))
    else:
        for _ in range(count):
            await bus.publish(STAMP.pack(time.monotonic_ns()) + filler)
    await bus.flush()
    print(json.dumps({"began": began}), flush=True)
    await bus.close()


async def subscribe(kind: str, address: str, count: int, readers: int) -> None:
    done = asyncio.Event()
    seen = waiting = 0
    last = 0
    latencies: list[float] = []

    def on_body(body: bytes) -> None:
        nonlocal seen, last
        last = time.monotonic_ns()
        latencies.append((last - STAMP.unpack_from(body)[0]) / 1000)
        seen += 1
        if seen == count * readers:
            done.set()

    def ready() -> None:
        nonlocal waiting
        waiting += 1
        if waiting == readers:
            print("ready", flush=True)

    buses = [await KINDS[kind].connect(address) for _ in range(readers)]
    try:
        async with asyncio.timeout(120):
            await asyncio.gather(*(bus.consume(on_body, done, ready) for bus in buses))
    finally:
        print(json.dumps({"seen": seen, "last": last, "p50": percentile(latencies, 50), "p99": percentile(latencies, 99)}), flush=True)
    for bus in buses:
        await bus.close()


async def stall(kind: str, address: str) -> None:
    """Subscribe, with the bounds that a subscription has unless it asks, and never read."""
    bus = await KINDS[kind].connect(address)

    def ready() -> None:
        print("ready", flush=True)
        sys.stdin.read()  # the event loop stands still

    if kind == "runloop":
        await bus.client.subscribe(TOPIC)
        ready()
    await bus.consume(len, asyncio.Event(), ready)


# -- one measurement


class Process:
    """One role of the benchmark, started and heard."""

    def __init__(self, *args: str) -> None:
        self.process = subprocess.Popen([sys.executable, __file__, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.line("ready")

    def line(self, expected: str | None = None) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if expected is not None and line != expected:
            raise SystemExit(f"a process of the benchmark said {line!r}")
        return line

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def end(self) -> str:
        assert self.process.stdin is not None
        self.process.stdin.close()
        line = self.line()
        self.process.wait()
        return line


def cpu_s(pid: int) -> float:
    return sum(thread_seconds(pid).values())


def measure(
    kind: str, address: str, server_pid: int, *, count: int, size: int = 256, readers: int = 1, per_ms: int = 0, stalled: int = 0
) -> dict[str, float]:
    stalling = [Process("stall", kind, address) for _ in range(stalled)]
    if stalled:
        filler = Process("publish", kind, address, str(FILL), str(size), "0")
        filler.go()
        filler.line()
        filler.process.wait()
    reader = Process("subscribe", kind, address, str(count), str(readers))
    writer = Process("publish", kind, address, str(count), str(size), str(per_ms))
    cpu, wall = cpu_s(server_pid), time.monotonic()
    writer.go()
    began = json.loads(writer.line())["began"]
    result = json.loads(reader.line())
    cpu, wall = cpu_s(server_pid) - cpu, time.monotonic() - wall
    writer.process.wait()
    reader.process.wait()
    for each in stalling:
        each.process.kill()
        each.process.wait()
    return {
        "msgs_per_s": result["seen"] / ((result["last"] - began) / 1e9),
        "p50_us": result["p50"],
        "p99_us": result["p99"],
        "server_cpu_percent": 100 * cpu / wall,
        "server_cpu_us_per_msg": 1e6 * cpu / count,
        "lost": count * readers - result["seen"],
    }


@contextlib.contextmanager
def servers(folder: Path) -> Any:
    """Addresses and pids of what is installed."""
    found: dict[str, tuple[str, int]] = {}
    started: list[subprocess.Popen[Any]] = []
    ours = Process("serve", str(folder / "bus" / "rmp.sock"))
    found["runloop"] = (str(folder / "bus" / "rmp.sock"), ours.process.pid)
    if shutil.which("nats-server") and importlib.util.find_spec("nats"):
        port = _free_port()
        started.append(subprocess.Popen(["nats-server", "-a", "127.0.0.1", "-p", str(port)], stderr=subprocess.DEVNULL))
        _wait_for(socket.AF_INET, ("127.0.0.1", port))
        found["nats"] = (f"nats://127.0.0.1:{port}", started[-1].pid)
    if shutil.which("redis-server") and importlib.util.find_spec("redis"):
        path = str(folder / "redis.sock")
        started.append(
            subprocess.Popen(
                ["redis-server", "--port", "0", "--unixsocket", path, "--save", "",
                 "--client-output-buffer-limit", "pubsub", "0", "0", "0"],
                stdout=subprocess.DEVNULL, cwd=folder,
            )
        )  # fmt: skip
        _wait_for(socket.AF_UNIX, path)
        found["redis"] = (path, started[-1].pid)
    try:
        yield found
    finally:
        ours.end()
        for process in started:
            process.terminate()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(family: int, address: Any) -> None:
    for _ in range(500):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            if probe.connect_ex(address) == 0:
                return
        time.sleep(0.01)
    raise SystemExit(f"nothing listens at {address}")


CASES: dict[str, dict[str, int]] = {
    "throughput, 256 B, 1 subscriber": {"count": 100_000},
    "throughput, 256 B, 1 subscriber beside 1 that stalls": {"count": 100_000, "stalled": 1},
    "latency, 256 B, 1 subscriber": {"count": 2_000, "per_ms": 1},
    "throughput, 256 B, 8 subscribers": {"count": 20_000, "readers": 8},
    "throughput, 256 B, 64 subscribers": {"count": 2_000, "readers": 64},
    "throughput, 16 KiB, 1 subscriber": {"count": 3_500, "size": 16_384},
    "10k messages/s, 256 B, 1 subscriber": {"count": 30_000, "per_ms": 10},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="one short run, to prove that the script works")
    parser.add_argument("--runs", type=int, default=5, help="measured runs after one warm-up (default 5)")
    parser.add_argument("--uvloop", action="store_true", help="all clients on uvloop, instead of asyncio's own loop")
    parser.add_argument("--case", default="", help="only cases whose name contains this")
    args = parser.parse_args()
    if args.uvloop:
        os.environ[CLIENTS_LOOP] = "uvloop"
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, servers(Path(folder)) as found:
        for name, case in CASES.items():
            if args.case not in name:
                continue
            given = {**case, "count": max(100, case["count"] // 50)} if args.small else case
            results: dict[str, list[dict[str, float]]] = {kind: [] for kind in found}
            for run in range(1 if args.small else args.runs + 1):
                for kind, (address, pid) in found.items():
                    measured = measure(kind, address, pid, **given)
                    if run or args.small:
                        results[kind].append(measured)
            figures[name] = {kind: {key: summary([each[key] for each in rows]) for key in rows[0]} for kind, rows in results.items()}
            if "nats" in found:
                mine, theirs = figures[name]["runloop"], figures[name]["nats"]
                figures[name]["ours/NATS"] = {
                    key: round(mine[key]["median"] / theirs[key]["median"], 2) for key in ("msgs_per_s", "p50_us", "p99_us")
                }
    packages = [name for name in ("msgpack", "msgspec", "nats-py", "redis", "uvloop") if _installed(name)]
    versions = {
        name: subprocess.run([name, "--version"], capture_output=True, text=True, check=False).stdout.strip()
        for name in ("nats-server", "redis-server")
        if shutil.which(name)
    }
    report(
        "bus",
        figures,
        *packages,
        clients_loop="uvloop" if args.uvloop else "asyncio",
        servers=versions,
        missing=[kind for kind in KINDS if kind not in found],
    )


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _loops(*, fast: bool) -> Any:
    """The module whose ``run`` runs a role."""
    if fast:
        with contextlib.suppress(ImportError):
            import uvloop

            return uvloop
    return asyncio


def _run_role(role: str, *args: str) -> None:
    loops = _loops(fast=role == "serve" or os.environ.get(CLIENTS_LOOP) == "uvloop")  # the server as the daemon: where it is installed
    if role == "serve":
        loops.run(serve(args[0]))
    elif role == "publish":
        loops.run(publish(args[0], args[1], *(int(each) for each in args[2:])))
    elif role == "stall":
        loops.run(stall(*args))
    else:
        loops.run(subscribe(args[0], args[1], *(int(each) for each in args[2:])))


if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[1] in {"serve", "publish", "subscribe", "stall"}:
        _run_role(*sys.argv[1:])
    else:
        main()
