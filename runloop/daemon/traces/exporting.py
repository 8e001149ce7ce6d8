"""Traces while the daemon runs: a thread of its own reads the ledger, so that nothing waits for a receiver and nothing is lost by a crash.

What has gone out is noted beside the ledger. While nobody takes the spans the ledger keeps what they are made of, and memory one batch.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from runloop import __version__
from runloop.daemon.library import Problem
from runloop.daemon.logs import logger
from runloop.daemon.traces.span import Span
from runloop.daemon.traces.telling import KINDS, Telling
from runloop.errors import InvalidInput, RunloopError, Unavailable, Where
from runloop.events import is_run_record
from runloop.runs.clock import clock_ms

if TYPE_CHECKING:
    from runloop.config import Settings
    from runloop.daemon.traces.otlp import Otlp
    from runloop.events import StoredEvent
    from runloop.kb import KnowledgeBase

FILE: Final = "traces.json"
LOOK_S: Final = 1.0
"""Between two looks at the ledger."""
TROUBLE_S: Final = 10.0
"""After a failure, before the next try."""
LAST_S: Final = 3.0
"""What the end of the daemon takes for the last spans."""
_EVENTS: Final = 500


class Exporting:
    """Sends the spans of what comes into the ledger, from :meth:`start` on until it is closed."""

    def __init__(self, kb: KnowledgeBase, settings: Settings, *, look_s: float = LOOK_S, trouble_s: float = TROUBLE_S) -> None:
        self._kb, self._look_s, self._trouble_s = kb, look_s, trouble_s
        self._endpoint: str | None = settings.get("observability.traces.otlp_endpoint")
        self._sampling: str = settings.get("observability.traces.sampling")
        self.enabled: bool = settings.get("observability.traces.enabled")
        self._place = kb.root / FILE
        self._stop = threading.Event()
        self._over = threading.Event()
        self._otlp: Otlp | None = None
        self._telling = Telling(self._sampling, self._past, kb.ledger.blob, kb.redactor.text)
        self._thread: threading.Thread | None = None
        self._read_to = self._sent_to = 0
        self._waiting: list[Span] = []
        self.sent = self.dropped = 0
        self.problem: Problem | None = None
        """Why nothing goes out."""

    def start(self) -> None:
        """Begin with what comes from now on, or go on where the last daemon stopped; switched off, what it knew is forgotten."""
        if not self.enabled:
            self._place.unlink(missing_ok=True)
            return
        self._read_to = self._noted()
        self._note()
        self._thread = threading.Thread(target=self._follow, name="traces", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Send what there is, if that takes no time; the rest goes out when a daemon runs again."""
        thread = self._thread
        if thread is None:
            return
        self._stop.set()
        await asyncio.to_thread(thread.join, LAST_S)
        self._over.set()
        if self._otlp is not None:
            self._otlp.close()

    @property
    def behind(self) -> int:
        """Events of the ledger whose spans have not gone out."""
        return self._kb.ledger.head().id - self._sent_to

    # ── the thread ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _follow(self) -> None:
        wait_s = 0.0
        while not self._stop.wait(wait_s):
            wait_s = self._look_s if self._pass() else max(self._trouble_s, self._otlp.wait_s if self._otlp else 0.0)
        if self.problem is None:
            self._pass()

    def _pass(self) -> bool:
        """Send everything that there is; whether that worked."""
        try:
            if self._otlp is None:
                self._otlp = _sender()(self._endpoint, self._kb.ledger.id, __version__)
            while not self._over.is_set() and self.behind:
                self._send(self._otlp)
        except RunloopError as error:
            self._trouble(error)
            return False
        except Exception as error:  # noqa: BLE001 - whatever a library does, the daemon goes on
            self._trouble(
                Unavailable(f"spans cannot be made: {error!r}", code="traces.broke", hint="the log of the daemon has the rest"), error
            )
            return False
        if self.problem is not None:
            logger().info("traces are exported again", behind=self.behind)
            self.problem = None
        return True

    def _send(self, otlp: Otlp) -> None:
        """Send one batch, and note it."""
        if not self._waiting:
            head = self._kb.ledger.head().id
            events = self._kb.ledger.read(self._read_to, _EVENTS, kinds=KINDS)
            self._waiting = [span for event in events if is_run_record(event) for span in self._telling.take(event)]
            self._read_to = events[-1].id if len(events) == _EVENTS else max([head, *(event.id for event in events[-1:])])
        if self._waiting:
            sent = otlp.send(self._waiting)
            if sent == "later":
                raise Unavailable(
                    f"spans cannot be handed over: {otlp.why}",
                    code="traces.unreachable",
                    where=Where(key="observability.traces.otlp_endpoint"),
                    hint="start a receiver of OTLP over HTTP there; a key goes into OTEL_EXPORTER_OTLP_HEADERS, the file of an authority "
                    "of your own into OTEL_EXPORTER_OTLP_CERTIFICATE; what happens meanwhile goes out when it answers",
                )
            dropped = len(self._waiting) if sent == "refused" else otlp.rejected
            if dropped:
                logger().error("spans were refused, and are dropped", spans=dropped, why=otlp.why)
            self.dropped += dropped
            self.sent += len(self._waiting) - dropped
            self._waiting = []
        self._note()

    def _trouble(self, error: RunloopError, cause: Exception | None = None) -> None:
        if not self._over.is_set() and (self.problem is None or self.problem.error.message != error.message):
            logger().warning("traces are not exported", code=error.code, why=error.message, hint=error.hint, exc_info=cause)
            self.problem = Problem("traces", self._endpoint or "observability.traces", error, clock_ms(), kept=None)

    def _past(self, run_id: str, before: int) -> Iterator[StoredEvent]:
        """The records of a run before an event."""
        return takewhile(lambda event: event.id < before, filter(is_run_record, self._kb.ledger.read_run(run_id)))

    # ── what has gone out ────────────────────────────────────────────────────────────────────────────────────────────────

    def _noted(self) -> int:
        """The last event that was looked at; the newest one, where this ledger was not followed before."""
        head = self._kb.ledger.head().id
        try:
            noted = json.loads(self._place.read_text())
            return min(int(noted["read_to"]), head) if noted["ledger"] == self._kb.ledger.id else head
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return head

    def _note(self) -> None:
        fresh = Path(f"{self._place}.new")
        fresh.write_text(json.dumps({"ledger": self._kb.ledger.id, "read_to": self._read_to}))
        os.replace(fresh, self._place)  # noqa: PTH105 - all of it or nothing
        self._sent_to = self._read_to


def _sender() -> type[Otlp]:
    """What sends; raises InvalidInput where its library is not installed."""
    try:
        from runloop.daemon.traces.otlp import Otlp
    except ImportError as error:
        raise InvalidInput(
            f"traces need a library that is not installed: {error.name}",
            code="traces.library_missing",
            where=Where(key="observability.traces.enabled"),
            hint="pip install 'runloop[otlp]' and start the daemon again, or set observability.traces.enabled to false",
        ) from None
    return Otlp
