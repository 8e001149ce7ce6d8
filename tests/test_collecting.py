"""How much the collector looks at in one go, while everything else waits."""

import gc
import sys

import pytest

from runloop.collecting import collect_seldom


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="there the old ones are looked through in steps")
def test_what_stays_is_looked_at_again_in_small_portions():
    before, seen, kept = gc.get_threshold(), [], []

    def look(phase, info):
        if phase == "start" and info["generation"] == 1:
            seen.append(len(gc.get_objects(0)) + len(gc.get_objects(1)))

    gc.collect()
    try:
        collect_seldom()
        gc.callbacks.append(look)
        kept += [[number] for number in range(500_000)]
    finally:
        gc.callbacks.remove(look)
        gc.set_threshold(*before)
    assert len(kept) == 500_000
    assert seen
    assert max(seen) < 100_000
