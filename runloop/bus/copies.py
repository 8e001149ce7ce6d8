"""The copy of a frame for one subscription: the bytes as received, or with ``meta.sub`` where its connection has others that match."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.bus.routing import SUB
from runloop.bus.subscription import Run, frame_end
from runloop.bus.topics import matches
from runloop.rmp.scan import with_meta

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runloop.bus.subscription import Subscription
    from runloop.bus.topic import Topic


def copy_for(sub: Subscription, topic: Topic, raw: bytes, soonest: int, *, tagged: bool) -> Run:
    """One frame for a subscription; ``tagged`` where it must say for which."""
    return Run(topic, with_meta(raw, {SUB: sub.sub}) if tagged else raw, 0, 1, soonest, tagged)


def tag_waiting(subs: Iterable[Subscription], pattern: tuple[str, ...]) -> None:
    """From now on another subscription of the connection, to ``pattern``, matches too: what waits says which of these it is for."""
    for sub in subs:
        for number, run in enumerate(sub.queue):
            if not run.tagged and matches(pattern, run.topic.name):
                sub.queue[number] = _tagged(sub, run)


def _tagged(sub: Subscription, run: Run) -> Run:
    frames: list[bytes] = []
    at = run.at
    while at < len(run.data):
        end = frame_end(run.data, at)
        frames.append(with_meta(run.data[at:end], {SUB: sub.sub}))
        at = end
    data = b"".join(frames)
    sub.size += len(data) - (len(run.data) - run.at)
    return run._replace(data=data, at=0, tagged=True)
