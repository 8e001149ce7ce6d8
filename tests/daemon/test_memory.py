"""What runs leave behind when they leave memory is the system's again."""

import ctypes
import os
from pathlib import Path

import pytest

from runloop.daemon.memory import give_back

MIB = 1 << 20


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library gives memory back by itself, or never")
def test_what_lies_below_something_that_stays_is_given_back():
    freed = [bytes(2000) for _ in range(50 * MIB // 2000)]
    stays = freed[-1]
    before = resident()
    freed.clear()
    give_back()
    assert resident() < before - 30 * MIB
    assert len(stays) == 2000
