"""What the connections may have the bus hold together: those that showed a token, and apart from them all others. Pure.

Anybody makes as many connections as there may be, so what one of them may hold bounds nothing. Who showed no token takes nothing from
who did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runloop.bus.errors import LimitExceeded
from runloop.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

    from runloop.bus.core import Broker
    from runloop.bus.session import Session

_ENTRY_BYTES: Final = 256
"""What an entry of a queue takes beside its frames."""
_REQUEST_BYTES: Final = 4096
"""What a request takes beside its frame."""
_BUILT: Final = 16
"""How much more the values of a frame may take than its bytes, where it was written for that."""
LOOK_BYTES: Final = 32 * 1024 * 1024
"""After so many bytes that came in it is looked what waits; else once a second."""


@dataclass(slots=True, eq=False)
class Side:
    """What the connections of one side hold."""

    subscriptions: int = 0
    request_bytes: int = 0


def request_size(raw: bytes, *, trusted: bool) -> int:
    """What a request counts until it is answered."""
    return _REQUEST_BYTES + len(raw) * (1 if trusted else _BUILT)


def relieve(broker: Broker, now_ms: int) -> None:
    """Send away who has most waiting, as long as too much waits for the connections of a side."""
    most = broker.limits.waiting_bytes
    for trusted in (False, True):
        waiting = {each: _waiting(each) for each in broker.sessions.values() if each.trusted is trusted and not each.closing}
        total = sum(waiting.values())
        while total > most:
            first = max(waiting, key=waiting.__getitem__)
            total -= waiting.pop(first)
            whose = "operators and agents" if trusted else "all who are no operators"
            message = f"more than {most} bytes wait for the connections of {whose}, and this one reads least of it"
            hint = "read what the bus sends, or ask for less; the setting runtime.max_waiting_bytes allows more"
            broker.goodbye(first, LimitExceeded(message, code="bus.bytes_in_flight", hint=hint, retryable=True), now_ms)


def who_holds_most(broker: Broker, held: Callable[[Session], int]) -> Session:
    """Who holds most, the newest of several, of the side whose connections hold more together."""
    there = [each for each in reversed(broker.sessions.values()) if not each.closing]
    mine = sum(held(each) * (1 if each.trusted else -1) for each in there)
    return max((each for each in there if each.trusted is (mine > 0)), key=held)


def _waiting(session: Session) -> int:
    queues = sum([sub.size + _ENTRY_BYTES * len(sub.queue) for sub in session.subs.values()])
    return queues + session.control_bytes + session.answer_bytes
