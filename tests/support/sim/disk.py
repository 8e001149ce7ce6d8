"""The ledger's disk: what is durable survives the process, what was only queued does not. Events, hashes and keys are the real ones."""

from __future__ import annotations

from blake3 import blake3
from msgspec import structs

from runloop.events import StoredEvent, chain_hash, kind_of, restore
from runloop.events.hashes import genesis, preimage
from runloop.kb.errors import BlobMissing, KeyConflict
from runloop.kb.ledger import Head
from runloop.kb.rows import prepare

LEDGER_ID = "simulated"


class Disk:
    """The durable events of all processes that ever ran; reads as :class:`runloop.kb.Ledger` does."""

    def __init__(self):
        self.id = LEDGER_ID
        self.events = []
        self.rows = []
        self.keys = {}
        self.blobs = {}
        self.chain = genesis(LEDGER_ID)

    def commit(self, rows, now_ms):
        """Store the rows of one submission together; the events, with those that their keys stood for already. Raises KeyConflict."""
        for row in rows:
            known = self.keys.get(row.event.key)
            if known is not None and known.content_hash != row.content:
                raise KeyConflict(f"idempotency key {row.event.key!r} stands for another event (event {known.id}, {known.kind})")
        return [self._put(row, now_ms) for row in rows]

    def _put(self, row, now_ms):
        new = row.event
        if new.key is not None and new.key in self.keys:
            return self.keys[new.key]
        event_id, ts_ms = len(self.events) + 1, now_ms if new.ts_ms is None else new.ts_ms
        self.chain = chain_hash(self.chain, event_id, ts_ms, row.content, new.key)
        parts = (event_id, ts_ms, new.kind, new.actor, new.scope, row.payload, new.provenance, row.content, self.chain, new.key)
        event = StoredEvent(*parts)
        self.events.append(event)
        self.rows.append(row)
        if new.key is not None:
            self.keys[new.key] = event
        self.blobs.update(row.blobs)
        return event

    def verify(self):
        """Recompute the chain from what is stored."""
        chain = genesis(LEDGER_ID)
        for event, row in zip(self.events, self.rows, strict=True):
            texts = (row.payload_json.encode(), row.provenance_json.encode())
            content = blake3(preimage(event.kind, event.actor, event.scope, *texts)).digest()
            chain = chain_hash(chain, event.id, event.ts_ms, content, event.key)
            if (content, chain) != (event.content_hash, event.chain_hash):
                return False
        return chain == self.chain

    def ended(self, run_id):
        """Whether the run has its last record."""
        return any(event.kind == "run.finished" and event.payload["run_id"] == run_id for event in self.events)

    def paused(self):
        """The runs that are paused and have not ended."""
        found = set()
        for event in self.events:
            if event.kind == "run.paused":
                found.add(event.payload["run_id"])
            elif event.kind in ("run.resumed", "run.finished"):
                found.discard(event.payload["run_id"])
        return found

    def children(self, run_id):
        """The runs that this run started, at every depth."""
        parents = {e.payload["run_id"]: e.payload["parent_run_id"] for e in self.events if e.kind == "run.submitted"}
        below, found = {run_id}, []
        for child, parent in parents.items():
            if parent in below:
                below.add(child)
                found.append(child)
        return found

    # as the ledger reads

    def read(self, after_id=0, limit=1000, *, kinds=None, run_id=None):
        found = []
        for event in self.events[after_id:]:
            if run_id is not None and event.payload.get("run_id") != run_id:
                continue
            if kinds is None or event.kind in kinds:
                found.append(event)
                if len(found) == limit:
                    break
        return found

    def read_run(self, run_id, after_seq=0):
        for event in self.read(run_id=run_id, limit=1 << 30):
            if event.payload.get("seq", 0) > after_seq:
                yield event
            if event.kind == "run.finished":
                return

    def get(self, event_id):
        return self.events[event_id - 1] if 0 < event_id <= len(self.events) else None

    def by_key(self, key):
        return self.keys.get(key)

    def run_ids(self, prefix="", limit=10):
        started = dict.fromkeys(e.payload["run_id"] for e in self.events if e.kind in ("run.submitted", "run.started"))
        return [run_id for run_id in reversed(started) if run_id.startswith(prefix)][:limit]

    def head(self):
        return Head(len(self.events), self.chain)

    def blob(self, name):
        try:
            return self.blobs[bytes.fromhex(name)]
        except KeyError:
            raise BlobMissing(f"blob {name} is not in the ledger") from None

    def full(self, event):
        return structs.replace(event, payload=restore(event.payload, kind_of(event.kind).blob_fields, self.blob))


class SimLedger:
    """One process's way to the disk, as :class:`runloop.kb.AsyncLedger`: whatever is queued goes into one commit, some commits stall.

    A crash can come before a commit, whose events are then lost, or after it, before anybody hears of it.
    """

    def __init__(self, process):
        self._process = process
        self.ledger = process.world.disk
        self._queue = []
        self._committing = False
        self._heard = 0.0

    def append(self, events, *, check=True, urgent=True):
        self._process.alive()
        future = self._process.loop.create_future()
        rows = [prepare(event, check=True) for event in events]  # also what the ledger believes of typed records
        self._queue.append((rows, future))
        if not self._committing:
            self._committing = True
            self._process.loop.call_later(self._latency(), self._commit)
        return future

    def _latency(self):
        chance = self._process.chance
        return chance.uniform(0.5, 2.0) if chance.random() < 0.01 else chance.uniform(0.0002, 0.003)

    def _commit(self):
        world = self._process.world
        batch, self._queue = self._queue, []
        if self._process.point(f"before commit of {_kinds(batch)}"):
            return
        done = []
        for rows, future in batch:
            try:
                stored = world.disk.commit(rows, self._process.wall_ms())
            except KeyConflict as error:
                done.append((future, None, error))
            else:
                done.append((future, stored, None))
                world.note_stored(stored)
        if self._process.point(f"after commit of {_kinds(batch)}"):
            return
        # the loop hears of commits in their order
        self._heard = max(self._heard + 1e-6, self._process.loop.time() + self._process.chance.uniform(0, 0.0005))
        self._process.loop.call_at(self._heard, self._resolve, done)
        self._committing = bool(self._queue)
        if self._committing:
            self._process.loop.call_later(self._latency(), self._commit)

    @staticmethod
    def _resolve(done):
        for future, stored, error in done:
            if future.done():
                continue
            if error is None:
                future.set_result(stored)
            else:
                future.set_exception(error)


def _kinds(batch):
    return ", ".join(row.event.kind for rows, _ in batch for row in rows)
