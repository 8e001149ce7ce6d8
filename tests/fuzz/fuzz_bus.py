"""A client that mutates what it says, against a live bus, for a given time; and the proof that the bus and its other users go on.

    fuzz_bus.py SECONDS [--socket PATH] [--seed N]

Without ``--socket`` it starts a bus of its own in another process. Two well-behaved clients talk all the while: if one message of theirs is
lost, repeated or out of order, if a goodbye has no code, if the counts do not add up, or if the memory or the descriptors of the bus grow
without bound, it ends with status 1 and says what happened; the seed repeats it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from runloop import rmp
from runloop.bus import BusClient, BusLimits, BusServer, frames
from runloop.bus.acl import agent_token
from runloop.bus.subscription import BATCHED, REALTIME
from runloop.rmp import registry

TOPICS = [
    "a",
    "a/b",
    "rlp/ctrl",
    "rlp/sys/drops",
    "rlp/inbox/x/1",
    "agent/x",
    "rlp/runs/t/agents/x/1",
    "rlp/runs/t/events",
    "action.decision",
    "*",
    "**",
    "",
    "a//b",
    "é",
    "a" * 600,
]
ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    2**53,
    2**64 - 1,
    "",
    "x" * 3000,
    b"",
    b"\x00" * 5000,
    [],
    {},
    [[[[]]]],
    {"a": {"b": []}},
    1.5,
    float("nan"),
]
TOKEN = "f" * 64
GROWTH_MB = 64
GROWTH_FDS = 32


def wild(chance: random.Random) -> Any:
    """Any value that MsgPack has."""
    return chance.choice(ODD)


def payload_for(type_: str, chance: random.Random) -> Any:
    """Roughly what the type wants."""
    sub = chance.randrange(4)
    made: dict[str, Any] = {
        frames.HELLO: {"role": chance.choice(["client", "agent", "operator", "worker", "daemon"]), "name": "fuzz", "version": "1"},
        frames.SUBSCRIBE: {"sub": sub, "pattern": chance.choice(TOPICS), "class": chance.choice(["realtime", "batched", "durable"])},
        frames.UNSUBSCRIBE: {"sub": sub},
        frames.CREDIT: {"sub": sub, "messages": chance.randrange(9), "bytes": chance.randrange(9999)},
    }.get(type_, {"x": wild(chance)})
    while made and chance.random() < 0.2:
        made[chance.choice([*made, "max_messages", "max_bytes", "from_seq", "token"])] = wild(chance)
    return made


def frame(chance: random.Random, type_: str | None = None) -> bytes:
    """A valid frame with a likely or an unlikely content."""
    type_ = type_ or chance.choice(
        [frames.SUBSCRIBE, frames.UNSUBSCRIBE, frames.CREDIT, frames.PING, *(each.type for each in registry.all())]
    )
    meta: dict[str, Any] = {}
    for key in ("topic", "ack", "reply_to", "seq", "sub", "priority", "tags"):
        if chance.random() < (0.7 if key == "topic" else 0.1):
            meta[key] = chance.choice(TOPICS) if key in {"topic", "reply_to"} and chance.random() < 0.9 else wild(chance)
    with contextlib.suppress(rmp.RmpError):
        now = time.time_ns() // 1_000_000
        return rmp.encode_frame(
            rmp.Envelope(type_, payload_for(type_, chance), meta or None),
            trace_id=chance.randrange(3),
            msg_id=chance.randrange(50),
            created_at_ms=now - chance.choice([0, 0, 0, 10**6]),
            ttl_ms=chance.choice([1, 100, 30_000]),
        )
    return frame(chance, frames.PING)


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Bytes changed, cut, doubled or made up."""
    raw = bytearray(data)
    match chance.randrange(6):
        case 0:
            for _ in range(chance.randrange(1, 4)):
                raw[chance.randrange(len(raw))] = chance.randrange(256)
        case 1:
            del raw[chance.randrange(len(raw)) :]
        case 2:
            at = chance.randrange(len(raw))
            raw[at:at] = raw[: chance.randrange(1, 80)]
        case 3:
            raw[:4] = chance.randrange(2**32).to_bytes(4, "big")
        case 4:
            return chance.randbytes(chance.randrange(1, 300))
        case _:
            raw[20:24] = chance.randrange(2**32).to_bytes(4, "big")
    return bytes(raw)


class Finding(Exception):  # noqa: N818 - what the fuzzer is for
    """Something that must not happen."""


async def misbehave(path: str, chance: random.Random, done: asyncio.Event, seen: dict[str, int]) -> None:
    """One bad peer after another."""
    while not done.is_set():
        try:
            reader, writer = await asyncio.open_unix_connection(path)
        except OSError:
            await asyncio.sleep(0.01)
            continue
        decoder = rmp.FrameDecoder()
        try:
            await attack(reader, writer, chance, seen)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.02 if chance.random() < 0.5 else 0.2):
                    while chance.random() < 0.9 and (data := await reader.read(65536)):
                        decoder.feed(data)
                        for got in decoder.frames():
                            judge(got, seen)
        except (OSError, EOFError):
            pass
        finally:
            if chance.random() < 0.5:
                writer.transport.abort()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def attack(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, chance: random.Random, seen: dict[str, int]) -> None:
    """Say hello, usually, and then some frames: most of them valid, some not, some in small pieces."""
    if chance.random() < 0.9:
        name = chance.choice(["x", "y", "a/b", "*", "fuzz"])
        agent = frames.Hello("agent", name, "1", agent_token(chance.choice([TOKEN, "0"]), name))
        hello = chance.choice([frames.Hello("client", "fuzz", "1"), agent]).payload()
        writer.write(frames.encode(frames.HELLO, hello, msg_id=1, now_ms=time.time_ns() // 1_000_000))
        if chance.random() < 0.5:  # else hardly anybody hears what the others say
            klass = chance.choice([REALTIME, BATCHED])
            wanted = frames.Subscribe(0, chance.choice(["**", "a/*", "a", "rlp/sys/drops"]), klass, None, chance.choice([1, 8, None]))
            writer.write(frames.encode(frames.SUBSCRIBE, wanted.payload(), msg_id=2, now_ms=time.time_ns() // 1_000_000))
    for _ in range(chance.choice([1, 5, 50, 300])):
        data = frame(chance)
        if chance.random() < 0.03:
            data = mutated(data, chance)
        for piece in (data[at : at + 7] for at in range(0, min(len(data), 700), 7)) if chance.random() < 0.05 else (data,):
            writer.write(piece)
            if chance.random() < 0.3:
                await asyncio.sleep(0)
        seen["sent"] += 1
        if reader.at_eof() or writer.is_closing():
            return


def judge(got: rmp.Frame, seen: dict[str, int]) -> None:
    """What the bus says to a bad peer is valid, and an error has a code; what it passes on can be routed, the payload is between peers."""
    if not frames.FIRST_ID <= got.header.schema_id <= frames.LAST_ID:
        try:
            seen["passed_on"] = seen.get("passed_on", 0) + ("topic" in got.meta)
        except rmp.RmpError as error:
            raise Finding(f"passed on, and nobody can route it: {got.raw.hex()}") from error
        return
    payload = got.envelope.payload
    error = (
        payload if got.type == frames.GOODBYE else payload.get("error") if got.type == frames.ACK and isinstance(payload, dict) else None
    )
    if error is not None:
        if not (isinstance(error.get("code"), str) and error.get("message")):
            raise Finding(f"an error without code or message: {error!r}")
        seen[error["code"]] = seen.get(error["code"], 0) + 1


async def behave(path: str, done: asyncio.Event, seen: dict[str, int]) -> None:
    """Two clients that talk; every message arrives once and in order, and soon."""
    async with await BusClient.connect(path, name="good", reconnect_s=0) as writer, await BusClient.connect(path, reconnect_s=0) as reader:
        heard = await reader.subscribe("good/topic")
        number = 0
        while not done.is_set():
            number += 1
            await writer.publish("good/topic", "observation.generic.v1", {"n": number}, ack=True)
            async with asyncio.timeout(10):
                got = (await anext(heard)).payload["n"]
            if got != number:
                raise Finding(f"message {number} was sent, {got} arrived")
            seen["good"] = number
            await asyncio.sleep(0.001)


def size_of(pid: int) -> tuple[float, int]:
    """Resident memory in MB, and open descriptors."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6, len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def fuzz(seconds: float, path: str, pid: int | None, seed: int) -> dict[str, Any]:
    """Attack for so long; raises Finding."""
    done, seen = asyncio.Event(), {"sent": 0, "good": 0, "passed_on": 0}
    bad = [asyncio.create_task(misbehave(path, random.Random(f"{seed}/{number}"), done, seen)) for number in range(8)]
    good = asyncio.create_task(behave(path, done, seen))
    tasks = [good, *bad]
    await asyncio.wait(tasks, timeout=min(5.0, seconds / 3), return_when=asyncio.FIRST_EXCEPTION)
    before = size_of(pid) if pid is not None else None
    await asyncio.wait(tasks, timeout=max(0.1, seconds - min(5.0, seconds / 3)), return_when=asyncio.FIRST_EXCEPTION)
    done.set()
    await asyncio.gather(*tasks)
    result: dict[str, Any] = {"seed": seed, **seen}
    if pid is not None and before is not None:
        await asyncio.sleep(0.5)
        after = size_of(pid)
        result |= {"mb": [round(before[0], 1), round(after[0], 1)], "descriptors": [before[1], after[1]]}
        if after[0] - before[0] > GROWTH_MB or after[1] - before[1] > GROWTH_FDS:
            raise Finding(f"the bus grew: {result}")
    return result


async def serve(path: str) -> None:
    """A bus that tells, at the end, whether its counts add up."""
    broken: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _loop, context: broken.append(repr(context.get("exception") or context["message"]))
    )
    server = BusServer(limits=BusLimits(hello_ms=200, frame_ms=200, heartbeat_ms=1000), token=TOKEN)

    async def control(request: Any) -> Any:
        return {"ok": request.payload}

    server.on_request("rlp/ctrl", control)
    await server.start(path)
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    queued: dict[str, int] = {}
    for session in server.broker.sessions.values():
        for sub in session.subs.values():
            for run in sub.queue:
                queued[run.topic.name] = queued.get(run.topic.name, 0) + run.frames
    wrong = {name: counts.to_dict() for name, counts in server.stats().topics.items() if counts.queued != queued.get(name, 0)}
    print(json.dumps({"wrong_counts": wrong, "broken": broken[:3], "handling": server.handling}), flush=True)
    await server.close()


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--socket", help="the socket of a bus that runs; it is not watched for growth")
    parser.add_argument("--seed", type=int, default=None)
    args = parser.parse_args()
    seed = random.SystemRandom().randrange(2**32) if args.seed is None else args.seed
    print(f"seed {seed}", file=sys.stderr)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it warns of every write to a connection that the bus ended
    try:
        if args.socket:
            print(json.dumps(asyncio.run(fuzz(args.seconds, args.socket, None, seed))))
            return
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "bus" / "rmp.sock")
            command = [sys.executable, __file__, "--serve", path]
            bus = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert bus.stdin is not None
            assert bus.stdout is not None
            try:
                if bus.stdout.readline() != "ready\n":
                    raise Finding("the bus did not start")
                result = asyncio.run(fuzz(args.seconds, path, bus.pid, seed))
                bus.stdin.close()
                verdict = json.loads(bus.stdout.readline())
                if verdict["wrong_counts"] or verdict["broken"]:
                    raise Finding(f"inside the bus: {verdict}")
                print(json.dumps({**result, **verdict}))
            finally:
                bus.kill()
                bus.wait()
    except Finding as finding:
        print(f"seed {seed}: {finding}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        asyncio.run(serve(sys.argv[2]))
    else:
        main()
