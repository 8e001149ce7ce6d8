"""runloopd as it is, with a hand on its life: it counts the places where it could die, and dies at the one that it is told.

Usage: python launcher.py ARGUMENTS OF runloopd. In the environment: CRASH_LOG, a file that gets one line for each place as it is reached;
CRASH_AT, the number of the place (from 1) at which the process kills itself with SIGKILL; CRASH_WORKER_AT, the one at which it kills
one of its workers; CRASH_MODEL, the control address of the model server, so that it can die while a model works.

A place is before and after every commit that holds records of a run, and before, inside and after every call that goes outside.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import urllib.request
from pathlib import Path

from runloop.daemon.main import main
from runloop.events.kinds import RUN_KINDS
from runloop.kb.writer import Writer
from runloop.runs import compose
from runloop.sandbox import WorkerPool

WATCHED = ("model.complete", "mail.send", "http.fetch", "exec.run", "files.write", "emit.artifact", "ask.person")
SEED = bytes(range(32))
SEED_BYTES = 32


class Places:
    """Counts, and kills."""

    def __init__(self, environment):
        self.log = Path(environment["CRASH_LOG"]).open("a", encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
        self.die_at = int(environment.get("CRASH_AT", 0))
        self.worker_at = int(environment.get("CRASH_WORKER_AT", 0))
        self.model = environment.get("CRASH_MODEL")
        self.pools = []
        self._count = 0
        self._lock = threading.Lock()

    def reach(self, what):
        """One more place."""
        with self._lock:
            self._count += 1
            self.log.write(f"{self._count} {what}\n")
            self.log.flush()
            if self._count == self.die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            if self._count == self.worker_at:
                for pool in self.pools:
                    for pid in pool.pids[:1]:
                        os.kill(pid, signal.SIGKILL)

    def next_kills(self):
        """Whether the process dies at the next place."""
        return self._count + 1 == self.die_at

    async def inside(self, performing):
        """Die while the model works on its answer, if this is the place: once it has the request, as the server itself says."""
        if self.model is None:
            return await performing
        if not self.next_kills():
            self.reach("inside model.complete")
            return await performing
        before = await asyncio.to_thread(self._asked)
        task = asyncio.ensure_future(performing)
        while await asyncio.to_thread(self._asked) == before and not task.done():
            await asyncio.sleep(0)
        self.reach("inside model.complete")
        return await task

    def _asked(self):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.model + "/_count", timeout=10) as answer:
            return int(answer.read())


class Watched:
    """A performer with a place before and after what it does."""

    def __init__(self, places, name, performer):
        self._places, self._name, self._performer = places, name, performer
        self.prepare = performer.prepare
        if hasattr(performer, "evidence"):
            self.evidence = performer.evidence

    async def perform(self, prepared, ctx):
        self._places.reach(f"before {self._name}")
        performing = self._performer.perform(prepared, ctx)
        outcome = await (self._places.inside(performing) if self._name == "model.complete" else performing)
        self._places.reach(f"after {self._name}")
        return outcome


def watch(places):
    """Put the places where they belong."""
    write, performers, start, services = Writer._write, compose.make_performers, WorkerPool.start, compose.Services

    def watched_write(writer, batch):
        kinds = [row.event.kind for submission in batch for row in submission.rows if row.event.kind in RUN_KINDS]
        if kinds:
            places.reach(f"before commit of {', '.join(kinds)}")
        written = write(writer, batch)
        if kinds:
            places.reach(f"after commit of {', '.join(kinds)}")
        return written

    def watched_performers(*arguments, **named):
        found = performers(*arguments, **named)
        return {name: Watched(places, name, each) if name in WATCHED else each for name, each in found.items()}

    async def watched_start(pool):
        places.pools.append(pool)
        await start(pool)

    def seeded(*arguments, fresh, **named):
        return services(*arguments, fresh=lambda count: SEED if count == SEED_BYTES else fresh(count), **named)

    Writer._write, compose.make_performers, WorkerPool.start, compose.Services = watched_write, watched_performers, watched_start, seeded


if __name__ == "__main__":
    watch(Places(os.environ))
    sys.exit(main(sys.argv[1:]))
