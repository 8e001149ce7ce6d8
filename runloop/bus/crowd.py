"""Who goes when more connect than may."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from runloop.bus.errors import LimitExceeded
from runloop.bus.session import Session


def who_makes_room(there: Sequence[Session], newcomer: Session, hall: int) -> Session | None:
    """The connection that ends for one too many; ``there`` are the open ones, the oldest first.

    Who has too many pays: a process with more than a quarter of all. Of it, or else of everybody, the oldest that has not
    said hello goes; if all did, the newest of that process, or else the newcomer. Where no process has too many, ``hall`` beyond the limit
    may stay until they have said who they are: then :func:`who_leaves` decides.
    """
    crowd = Counter(_process(each) for each in (newcomer, *there))
    biggest, count = crowd.most_common(1)[0]
    if count * 4 <= len(there):
        silent = [each for each in there if not each.greeted]
        return None if len(silent) < hall else next(iter(silent), newcomer)
    its = [each for each in (*there, newcomer) if _process(each) == biggest]
    return next((each for each in its if not each.greeted), its[-1])


def who_leaves(greeted: Sequence[Session], newcomer: Session, *, trusted: bool) -> Session:
    """Who goes when one too many says hello: for one that showed a token the newest that did not, else itself."""
    return next((each for each in reversed(greeted) if trusted and not each.trusted), newcomer)


def too_many(most: int) -> LimitExceeded:
    """What that one is told."""
    hint = "send the hello as soon as it is connected, and close connections that are not used"
    return LimitExceeded(f"{most} connections are open", code="bus.connections", hint=hint, retryable=True)


def _process(session: Session) -> tuple[int, int]:
    return session.peer.uid, session.peer.pid
