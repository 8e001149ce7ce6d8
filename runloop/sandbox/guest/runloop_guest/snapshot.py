"""The last step before the interpreter is frozen: everything a run would set up anew each time is set up once, here.

A run pays for the memory pages that it changes (a fault and 4 KiB each), so what can be done before the snapshot is done before it, and
the path of a run is walked a few times, so that the interpreter has specialised its code and filled its caches.
"""

import gc
import sys
from collections.abc import Callable
from functools import partial

from . import bundle, census, crossing, output, virtual

_WARM_AGENT = """
from runloop_agent import agent, emit, kb, model

@agent
def run(topic: str, contact: dict | None = None) -> dict:
    notes = [f"{topic} {n}" for n in range(3)]
    return {"out": {"body": "; ".join(notes), "sources": [1, 2.5, None, True, {"contact": contact}]}}
"""
_WARM_REQUEST = (
    '{"entry":"agent.py","seed":"' + "00" * 32 + '","sources":{"agent.py":%s},"codes":%s,"data":{},"request":'
    '{"with":{"topic":"warm"},"inputs":{"contact":[{"name":"n"}]},"run":{"run_id":"r","node":"n","attempt":1}}}'
)
_ROUNDS = 40
_ROOM = 1 << 20
"""Bytes at the end of the heap that a run can use before its memory has to grow."""
_POOLED = tuple(range(512, 16, -16))
"""Sizes of the objects that have a pool each, as CPython lays them out (``Objects/obmalloc.c``); the smallest is that of ``object()``."""
_kept: list[object] = []


def settle(run: Callable[[str], str]) -> None:
    """Install what runs share, walk their path, and keep the collector away from all that exists now."""
    import json

    output.install()
    crossing.connect()
    bundle.install()
    sys.path.clear()
    sys.path_importer_cache.clear()
    agent = json.dumps(_WARM_AGENT)
    request = _WARM_REQUEST % (agent, run(f'{{"compile":{{"agent.py":{agent}}}}}'))
    for _ in range(_ROUNDS):
        run(request)
        bundle.forget()
    virtual.pause_seed()
    gc.collect()
    _kept.append(census.count())
    _fill_holes()
    gc.freeze()


def _fill_holes() -> None:
    """Take what is free in the pools of small objects, so that those that a run makes lie together, on as few pages as they fill.

    A pool that is new is seen by where an object comes to lie: behind all others.
    """
    end = id(bytes(_ROOM))
    empty = sys.getsizeof(b"")
    for size in _POOLED:
        _fill(end, partial(bytes, size - empty))
    _fill(end, object)


def _fill(end: int, make: Callable[[], object]) -> None:
    while id(filler := make()) < end:
        _kept.append(filler)
    _kept.append(filler)
