"""The daemon's loop waits for no name, not even as it ends."""

import asyncio
import socket
import threading

import pytest

from runloop.daemon.loops import loop_factory, names_beside

MOST = 40
"""More than any loop has threads for names."""


@pytest.mark.parametrize("made", [loop_factory(), names_beside(asyncio.SelectorEventLoop)], ids=["daemon", "standard"])
def test_names_that_are_not_found_hold_up_neither_another_nor_the_end(made, monkeypatch):
    found, release = socket.getaddrinfo, threading.Event()

    def slow(host, *args):
        if host != "localhost":
            release.wait()
        return found("localhost", *args)

    async def look():
        loop = asyncio.get_running_loop()
        waiting = [asyncio.create_task(loop.getaddrinfo(f"{number}.test", 80)) for number in range(MOST)]
        addresses = await asyncio.create_task(loop.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM))
        assert "127.0.0.1" in {address[4][0] for address in addresses}
        assert not any(task.done() for task in waiting)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    late = threading.Timer(60, release.set)
    late.start()
    with asyncio.Runner(loop_factory=made) as runner:
        runner.run(look())
    late.cancel()
    assert not release.is_set()
    release.set()
