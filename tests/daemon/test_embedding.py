from __future__ import annotations

import asyncio
import contextlib

import pytest

from runloop.config import load
from runloop.daemon import embedding
from runloop.daemon.embedding import Embedding
from runloop.events import NewEvent
from runloop.kb.vectors import catch_up

KINDS = ("notes",)


def note(number):
    payload = {"path": f"/{number}", "line": 1, "end_line": 1, "text": f"note {number}", "file_hash": "a" * 64, "part": 0, "parts": 1}
    return NewEvent("note.imported", payload, "user", "user")


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNLOOP_HOME", str(tmp_path))
    return load


@contextlib.asynccontextmanager
async def following(kb, settings):
    task = asyncio.create_task(Embedding(kb, settings, look_s=0.01).run())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(holds):
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.01)


def embedded(kb):
    return kb.vectors.status(KINDS, counted=True).embedded


async def test_documents_get_their_vectors_as_they_come(kb, settings):
    kb.ledger.append([note(number) for number in range(3)])
    async with following(kb, settings):
        await until(lambda: embedded(kb) == 3)
        kb.ledger.append([note(3)])
        await until(lambda: embedded(kb) == 4)


async def test_the_tables_follow_in_pieces(kb, settings, monkeypatch):
    monkeypatch.setattr(embedding, "EVENTS", 3)
    kb.ledger.append([note(number) for number in range(10)])
    synced = []
    plain = kb.sync
    monkeypatch.setattr(kb, "sync", lambda most=None: synced.append((most, plain(most))) or synced[-1][1])
    async with following(kb, settings):
        await until(lambda: embedded(kb) == 10)
    assert [(most, each.applied) for most, each in synced[:4]] == [(3, 3), (3, 3), (3, 3), (3, 1)]


async def test_a_switch_or_another_embedder_takes_effect_while_it_runs(kb, settings, monkeypatch):
    monkeypatch.setenv("RUNLOOP__KB__VECTORS__EMBEDDER", "off")
    kb.ledger.append([note(1)])
    async with following(kb, settings):
        monkeypatch.setenv("RUNLOOP__KB__VECTORS__EMBEDDER", "nowhere:x")
        await asyncio.sleep(0)
        monkeypatch.setenv("RUNLOOP__KB__VECTORS__EMBEDDER", "hashed")
        await until(lambda: embedded(kb) == 1)


async def test_it_stops_between_two_batches_and_its_thread_is_over_when_it_is(kb, settings, monkeypatch):
    ended = []

    def observed(*args, **more):
        try:
            return catch_up(*args, **more)
        finally:
            ended.append(True)

    monkeypatch.setattr(embedding, "catch_up", observed)
    kb.ledger.append([note(number) for number in range(400)])
    async with following(kb, settings) as task:
        await until(lambda: embedded(kb) > 0)
        task.cancel()
        await asyncio.wait([task])
        assert ended == [True]
        before = embedded(kb)
    assert 0 < before < 400
    assert embedded(kb) == before
