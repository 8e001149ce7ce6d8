"""Who goes when more connect than may."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from runloop.bus.session import Session


def who_makes_room(there: Sequence[Session], newcomer: Session) -> Session:
    """The connection that ends for one too many; ``there`` are the open ones, the oldest first.

    Who has too many pays: a process with more than a quarter of all. Of it, or else of everybody, the oldest that has not
    said hello goes; if all did, the newest of that process, or else the newcomer.
    """
    crowd = Counter(_process(each) for each in (newcomer, *there))
    biggest, count = crowd.most_common(1)[0]
    if count * 4 <= len(there):
        return next((each for each in there if not each.greeted), newcomer)
    its = [each for each in (*there, newcomer) if _process(each) == biggest]
    return next((each for each in its if not each.greeted), its[-1])


def _process(session: Session) -> tuple[int, int]:
    return session.peer.uid, session.peer.pid
