"""`rlp down` where asking is of no use."""

import asyncio

from runloop.cli import down, link
from runloop.rmp import UnsupportedVersion


def test_a_daemon_whose_frames_cannot_be_read_is_told_by_a_signal(monkeypatch):
    async def find(_settings):
        raise UnsupportedVersion("header version 1 of 64 bytes; this is version 0 of 64")

    monkeypatch.setattr(link, "find", find)
    assert asyncio.run(down._ask_to_stop(None, 0)) is None
