"""What waits for a subscription of a connection with others that match: it goes with ``meta.sub``, and shares its bytes until then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.bus.topics import matches

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runloop.bus.subscription import Subscription


def tag_waiting(subs: Iterable[Subscription], pattern: tuple[str, ...]) -> None:
    """From now on another subscription of the connection, to ``pattern``, matches too: what waits says which of these it is for."""
    for sub in subs:
        for number, run in enumerate(sub.queue):
            if not run.tagged and matches(pattern, run.topic.name):
                sub.queue[number] = run._replace(tagged=True)
