"""One attempt of one agent node: its guest run to a result, dropped while it waits, re-run from the record when it goes on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from runloop.dataclass import dataclass
from runloop.effects.journal import Crossing, Diverged
from runloop.errors import RunloopError
from runloop.events import canonical
from runloop.events.records import DivergenceFound, NodeMoved
from runloop.openings.states import NodeFailed, NodeSucceeded
from runloop.runs.attempt import failure_of, ports_of
from runloop.runs.call import answer_of
from runloop.runs.crossings import Evicted
from runloop.runs.recorder import Draft
from runloop.sandbox.spec import GuestError, GuestResult, Taped

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from runloop.bundles import Bundle
    from runloop.runs.attempt import AttemptFailed
    from runloop.runs.crossings import Crossings
    from runloop.runs.services import Guests
    from runloop.sandbox.spec import GuestSpec

_NO_WORKER = frozenset({"pool.restarts", "worker.start"})
MOST_CRASHES = 3
"""How often an attempt that lost its worker is taken up from its record before the loss counts as the attempt's failure."""


@dataclass(slots=True)
class Working:
    """An attempt that is being made. ``recorded`` reads its crossings back, ``failed`` hears of a failure."""

    guests: Guests
    spec: GuestSpec
    bundle: Bundle
    crossings: Crossings
    recorded: Callable[[], Awaitable[list[Crossing]]]
    failed: Callable[[AttemptFailed], None]

    async def run(self, record: Iterable[Crossing] = ()) -> NodeSucceeded | NodeFailed:
        """To the attempt's end, answered from ``record`` as far as that goes. Raises what must stop the run."""
        who, spent = self.crossings.who, self.crossings.usage
        try:
            result = await self._to_end(record)
            outputs = ports_of(json.loads(result.result_json), self.bundle.ports_out)
            canonical(outputs)
        except GuestError as error:
            failed = failure_of(error, self.crossings.refusal, asked_outside=self.crossings.asked_outside)
        except Diverged as error:
            failed = await self._diverged(error)
        except RunloopError as error:
            if error.code in _NO_WORKER:
                failed = failure_of(GuestError(error.message, code=error.code, retryable=True), None)
            elif error.code.startswith("events."):
                failed = failure_of(GuestError(f"the result cannot be kept: {error.message}", code="guest.result"), None)
            else:
                raise
        else:
            return NodeSucceeded(who.node, who.attempt, outputs, spent.tokens, spent.usd_micros)
        finally:
            await self.crossings.abandon()
        self.failed(failed)
        return NodeFailed(who.node, who.attempt, failed.message, failed.code, failed.retryable, spent.tokens, spent.usd_micros)

    async def _to_end(self, record: Iterable[Crossing]) -> GuestResult:
        tape, crashes = self._tape(record), 0
        while True:
            try:
                result = await self.guests.run(self.spec, self.crossings, tape, self.crossings.in_line)
            except Evicted:
                tape = self._tape(await self._away("left memory while it waits"))
            except GuestError as error:
                crashes += 1
                if error.code != "worker.crashed" or crashes > MOST_CRASHES:
                    if error.code == "guest.exception":
                        await self._finish()
                    raise
                tape = self._tape(await self._away("lost its worker"))
            else:
                await self._finish()
                return result

    async def _finish(self) -> None:
        """The guest ended: the record must have ended with it, or other code went its own way."""
        self.crossings.journal.finish()
        await self.crossings.tell_parted()

    def _tape(self, record: Iterable[Crossing]) -> list[Taped]:
        """The answers ahead; none for other code than was recorded, whose calls may differ."""
        return [] if self.crossings.journal.lenient else tape_of(record)

    async def _away(self, why: str) -> list[Crossing]:
        """The guest is gone; what it needs to come back, when the answer that it waits for is in the record."""
        who = self.crossings.who
        self.crossings.recorder.note(Draft("node.evicted", f"node {who.node} {why}", NodeMoved(who.node, who.attempt), level="debug"))
        await self.crossings.answered()
        record = await self.recorded()
        self.crossings.rewind(record)
        return record

    async def _diverged(self, error: Diverged) -> AttemptFailed:
        meta = DivergenceFound(error.node, error.attempt, error.call, error.expected, error.actual)
        await self.crossings.recorder.write(Draft("divergence.found", error.message, meta, level="error"))
        return failure_of(GuestError(error.message, code=error.code), None)


def tape_of(record: Iterable[Crossing]) -> list[Taped]:
    """The recorded answers up to the first call without one."""
    tape = []
    for crossing in record:
        if not crossing.answered:
            break
        tape.append(Taped(crossing.name, answer_of(crossing)))
    return tape
