"""What runs leave behind when they leave memory is free at once, and not when the collector comes by."""

import gc
import weakref

from runloop.daemon.memory import give_back


class Left:
    """Something that only the collector can free."""

    def __init__(self):
        self.me = self


def test_cycles_are_free_at_once():
    gc.disable()
    try:
        left = weakref.ref(Left())
        assert left() is not None
        give_back()
        assert left() is None
    finally:
        gc.enable()
