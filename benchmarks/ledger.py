"""Row 5: durable appends to the ledger, `synchronous=FULL`, hash-chained. Run: `python benchmarks/ledger.py [--small]`.

The events are run records of the usual size (a `node.finished`, about 600 bytes), built before the clock starts; what is
measured is append to "it is on disk": canonical JSON, both hashes, the transaction and the wake-up. "raw" is the same
file and the same commit rate without anything of ours: one `INSERT` of 500 bytes in one transaction.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import threading
import time
from pathlib import Path

import apsw
from _common import arguments, percentile, repeat, report

from runloop.events import RunIdentity, new_uuid, outputs_hash, run_event
from runloop.events.records import NodeFinished
from runloop.kb import AsyncLedger, Ledger


def events(count):
    run = RunIdentity(new_uuid(), f"trace:{new_uuid()}", f"opening:{new_uuid()}", "compose_email")
    outputs = {"out": ["Dear Ada, the figures of the fourth quarter are ready."]}
    meta = NodeFinished(node="writer", attempt=1, status="ok", outputs=outputs, outputs_hash=outputs_hash(outputs), ms=12, tokens=0, usd=0)
    return [run_event(run, seq, "node.finished", meta, "writer finished") for seq in range(1, count + 1)]


def workload(count, size=1):
    """`count` appends of `size` events, from a few that stay in the processor's cache as freshly made ones would, newly numbered."""
    batches = [events(size) for _ in range(4)]
    for number in range(count):
        batch = batches[number % len(batches)]
        for event in batch:
            event.payload["seq"] += size
        yield batch


def rates(name, seconds, latencies, size=1):
    return {
        f"{name} events/s": len(latencies) * size / seconds,
        f"{name} p50 ms": percentile(latencies, 50) * 1e3,
        f"{name} p99 ms": percentile(latencies, 99) * 1e3,
    }


def raw(path, count):
    db = apsw.Connection(str(path))
    db.pragma("journal_mode", "wal")
    db.pragma("synchronous", "full")
    db.execute("CREATE TABLE raw(id INTEGER PRIMARY KEY, data TEXT)")
    latencies = []
    began = time.perf_counter()
    for _ in range(count):
        start = time.perf_counter()
        with db:
            db.execute("INSERT INTO raw(data) VALUES(?)", ("x" * 500,))
        latencies.append(time.perf_counter() - start)
    seconds = time.perf_counter() - began
    db.close()
    return rates("raw", seconds, latencies)


def single(ledger, count):
    latencies = []
    batches = workload(count)
    began = time.perf_counter()
    for batch in batches:
        start = time.perf_counter()
        ledger.append(batch, check=False)
        latencies.append(time.perf_counter() - start)
    return rates("single", time.perf_counter() - began, latencies)


async def producers(name, ledger, count, width, check=False, size=1):
    aio = AsyncLedger(ledger)
    latencies = []

    async def produce(batches):
        for batch in batches:
            start = time.perf_counter()
            await aio.append(batch, check=check)
            latencies.append(time.perf_counter() - start)

    work = [workload(count // width // size, size) for _ in range(width)]
    began = time.perf_counter()
    await asyncio.gather(*(produce(batches) for batches in work))
    return rates(name, time.perf_counter() - began, latencies, size)


def threads(ledger, count, width):
    latencies = []

    def produce(batches):
        for batch in batches:
            start = time.perf_counter()
            ledger.append(batch, check=False)
            latencies.append(time.perf_counter() - start)

    work = [workload(count // width) for _ in range(width)]
    workers = [threading.Thread(target=produce, args=(batches,)) for batches in work]
    began = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return rates(f"{width} threads", time.perf_counter() - began, latencies)


def measure(folder, count):
    with tempfile.TemporaryDirectory(dir=folder) as place, Ledger.open(Path(place) / "events.sqlite") as ledger:
        gc.collect()
        figures = raw(Path(place) / "raw.sqlite", count // 16)
        figures |= single(ledger, count // 16)
        figures |= asyncio.run(producers("64 producers", ledger, count, 64))
        figures |= asyncio.run(producers("64 producers, schemas checked", ledger, count, 64, check=True))
        figures |= asyncio.run(producers("64 producers, 4 events an append", ledger, count, 64, size=4))
        figures |= asyncio.run(producers("1024 producers", ledger, count, 1024))
        figures |= threads(ledger, count // 4, 64)
        report = ledger.verify()
        if not report.ok:
            raise SystemExit(f"the ledger is broken: {report.broken}")
        return figures


def main():
    options = arguments(__doc__.splitlines()[0])
    count, runs = (2048, 1) if options.small else (32768, options.runs)
    with tempfile.TemporaryDirectory(prefix="runloop-bench-") as folder:
        report("ledger", repeat(lambda: measure(folder, count), runs=runs), "apsw", "msgspec", "blake3", sqlite=apsw.sqlite_lib_version())


if __name__ == "__main__":
    main()
