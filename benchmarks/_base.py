"""A large knowledge base for benchmarks: runs, notes and contacts with words as frequent as in real text."""

from __future__ import annotations

import itertools
import random
import uuid

from runloop.events import NewEvent, RunIdentity, outputs_hash, run_event
from runloop.events.records import EffectEnded, EffectRequested, NodeFinished, NodeStarted, RunFinished, RunStarted, Versions

PASSAGES = 20  # of a file of notes
BATCH = 2000
CALLS = 5  # of the one node of a run: with its other records, 15 events
EVENTS_OF_A_RUN = 5 + 2 * CALLS
_SYLLABLES = [consonant + vowel for consonant in "bdfghklmnprstvz" for vowel in "aeio"]
_HASH = "0" * 64


class Words:
    """A vocabulary whose n-th word is as frequent as Zipf's law says; the first stands in about half of all passages."""

    def __init__(self, seed: int = 7, size: int = 30_000) -> None:
        self.random = random.Random(seed)
        made: dict[str, None] = {}
        while len(made) < size:
            made["".join(self.random.choices(_SYLLABLES, k=self.random.randint(2, 5)))] = None
        self.all = list(made)
        self._cumulative = list(itertools.accumulate(1 / (place + 8) for place in range(size)))

    def some(self, count):
        return self.random.choices(self.all, cum_weights=self._cumulative, k=count)

    def text(self, count):
        words = self.some(count)
        lines = [" ".join(words[at : at + 12]) for at in range(0, count, 12)]
        return "\n".join(lines)

    def uuid(self):
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))


def contacts(words, count):
    for number in range(count):
        first, last, org = (word.capitalize() for word in words.random.choices(words.all, k=3))
        email = f"{first}.{last}{number}@{org}.example".lower()
        yield NewEvent("contact.upserted", {"name": f"{first} {last}", "email": email, "org": org}, "user", "user")


def notes(words, count):
    for number in range(count):
        file, part = divmod(number, PASSAGES)
        text = words.text(words.random.randint(30, 90))
        line = 1 + part * 10
        payload = {
            "path": f"/home/user/notes/{file:05d}.md",
            "line": line,
            "end_line": line + text.count("\n"),
            "title": " ".join(words.some(3)),
            "text": text,
            "file_hash": _HASH,
            "part": part,
            "parts": min(PASSAGES, count - file * PASSAGES),
        }
        yield NewEvent("note.imported", payload, "user", "user")


def runs(words, count):
    for _ in range(count):
        yield from one_run(words)


def one_run(words):
    run = RunIdentity(
        words.uuid(), f"trace:{words.uuid()}", f"opening:{words.uuid()}", words.random.choice(("compose_email", "brief", "tidy"))
    )
    numbers = itertools.count(1)

    def record(kind, meta):
        return run_event(run, next(numbers), kind, meta, "")

    started = RunStarted(opening_digest=_HASH, params={"topic": words.text(6)}, versions=Versions(runloop="1"), mode="daemon")
    yield record("run.submitted", started)
    yield record("run.started", started)
    yield record("node.started", NodeStarted(node="writer", attempt=1))
    for call in range(CALLS):
        asked = EffectRequested(node="writer", attempt=1, call=call, name="kb.search", klass="read", args_hash=_HASH, args={"query": "x"})
        yield record("effect.requested", asked)
        yield record("effect.completed", EffectEnded(node="writer", attempt=1, call=call, name="kb.search", result={"hits": []}, ms=3))
    outputs = {"out": [words.text(40)]}
    done = NodeFinished(node="writer", attempt=1, status="ok", outputs=outputs, outputs_hash=outputs_hash(outputs), ms=12)
    yield record("node.finished", done)
    yield record("run.finished", RunFinished(status="succeeded", ms=20, final_hash=_HASH))


def batches(events, size=BATCH):
    while batch := list(itertools.islice(events, size)):
        yield batch


def fill(kb, words, *, people, passages, run_count, progress=None):
    """Append everything, mixed a little, without looking at it twice; the derived tables follow."""
    done = 0
    for batch in batches(itertools.chain(contacts(words, people), notes(words, passages), runs(words, run_count))):
        kb.ledger.append(batch, check=False)
        done += len(batch)
        if done % 50_000 == 0:
            kb.sync()
            if progress is not None:
                progress(done)
    kb.sync()
    return done
