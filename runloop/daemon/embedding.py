"""The vectors of documents, made in the background: a little at a time, so that runs and people do not notice."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from runloop.daemon.logs import logger
from runloop.errors import RunloopError
from runloop.kb.vectors import Meaning, Progress, catch_up
from runloop.runs.meaning import meaning
from runloop.tasks import shielded

if TYPE_CHECKING:
    from runloop.config import Settings
    from runloop.kb import KnowledgeBase

LOOK_S = 5.0  # between two looks for new documents
BATCH = 32  # documents at a time, some milliseconds of work
EVENTS = 256  # brought into the tables at a time
SHARE = 0.25  # of the time that may go into it
TROUBLE_S = 60.0  # before the next try after an error


class Embedding:
    """Follows the knowledge base until it is cancelled."""

    def __init__(self, kb: KnowledgeBase, settings: Callable[[], Settings], *, look_s: float = LOOK_S) -> None:
        self._kb, self._settings, self._look_s = kb, settings, look_s
        self._stop = threading.Event()
        self._done = -1
        self._made_by: Meaning | None = None
        self._named: tuple[object, ...] = ()

    async def run(self) -> None:
        """Look for documents without a vector, and make those."""
        log, told, wait_s = logger(), "", self._look_s
        while True:
            await asyncio.sleep(wait_s)
            wait_s = self._look_s
            try:
                await self._follow()
                told = ""
            except RunloopError as error:
                wait_s = TROUBLE_S
                if told != error.code:
                    log.warning("vectors are not made", code=error.code, why=error.message, hint=error.hint)
                told = error.code

    async def _follow(self) -> None:
        settings = self._settings()
        head = self._kb.ledger.head().id
        chosen = self._chosen(settings) if settings.get("kb.vectors.background") else None
        if chosen is None or head == self._done:
            return
        working = asyncio.ensure_future(asyncio.to_thread(self._work, chosen))
        try:
            progress = await shielded(working)
        except asyncio.CancelledError:
            self._stop.set()
            await asyncio.wait([working])  # the file is closed after this
            raise
        self._done = head
        if progress.anew:
            logger().info("vectors were made anew", embedder=chosen.embedder.identity, documents=progress.made)

    def _chosen(self, settings: Settings) -> Meaning | None:
        """What the settings name, made once for as long as they name it."""
        named = tuple(str(settings.get(f"kb.vectors.{key}")) for key in ("embedder", "kinds", "floor"))
        if named != self._named:
            self._made_by, self._named, self._done = meaning(settings), named, -1
        return self._made_by

    def _work(self, chosen: Meaning) -> Progress:
        began = time.monotonic()

        def rest(_: object) -> None:
            nonlocal began
            self._stop.wait((time.monotonic() - began) * (1 - SHARE) / SHARE)
            began = time.monotonic()

        head = self._kb.ledger.head().id
        while (synced := self._kb.sync(EVENTS)).watermark < head and not self._stop.is_set():
            if not synced.applied:  # the disk is full, or many that stood here are in an archive
                self._kb.sync()
                break
            rest(synced)
        return catch_up(self._kb.vectors, chosen, batch=BATCH, stop=self._stop.is_set, progress=rest)
