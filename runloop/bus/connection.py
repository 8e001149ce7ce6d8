"""One connection of the server: bytes between the socket and the broker, and no faster than the peer reads."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from typing import TYPE_CHECKING, Final, cast

from runloop.bus import intake
from runloop.bus.errors import NotAllowed
from runloop.bus.peers import ROOT, credentials
from runloop.bus.session import Peer, Session

if TYPE_CHECKING:
    from runloop.bus.server import BusServer

_HIGH_WATER: Final = 256 * 1024
_LINGER_S: Final = 1.0


class Connection(asyncio.BufferedProtocol):
    """Between one transport and one session."""

    def __init__(self, server: BusServer) -> None:
        self._server = server
        self._broker = server.broker
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._session: Session | None = None
        self._paused = False
        self._ending = False
        self._linger: asyncio.TimerHandle | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self.gone: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask the kernel who it is, and let nobody else in."""
        transport = cast("asyncio.Transport", transport)  # uvloop's are none by inheritance
        self._transport = transport
        transport.set_write_buffer_limits(high=_HIGH_WATER)
        pid, uid, gid = credentials(transport.get_extra_info("socket"))
        mono_ms, now_ms = time.monotonic_ns() // 1_000_000, time.time_ns() // 1_000_000
        session = self._session = self._broker.connect(secrets.token_hex(16), Peer(uid, gid, pid), mono_ms, now_ms)
        session.owner = self
        session.direct = transport.write
        self._server.joined(self)
        if uid not in {os.geteuid(), ROOT} and not self._server.any_uid:
            refused = NotAllowed(f"user {uid} may not use this socket", code="bus.uid", hint="each user has a daemon of their own")
            self._broker.goodbye(session, refused, now_ms)
        self._server.pump()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to read into: one buffer for all, since nothing happens between this and :meth:`buffer_updated`."""
        return self._server.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Hand bytes to the broker, and send what they cause."""
        session = self._session
        if session is not None and not session.closing:
            intake.receive(self._broker, session, bytes(self._server.buffer[:nbytes]), time.time_ns() // 1_000_000)
            self._server.pump()
            if session.left is not None and self._transport is not None:
                if not self._transport.is_closing():
                    self._transport.pause_reading()
                self._loop.call_soon(self._proceed)

    def _proceed(self) -> None:
        """Go on with what was too much for one turn; then read on, or end where the peer has gone meanwhile."""
        session, transport = self._session, self._transport
        if session is None:
            return
        intake.proceed(self._broker, session, time.time_ns() // 1_000_000)
        self._server.pump()
        if session.left is not None:
            self._loop.call_soon(self._proceed)
        elif self._transport is None:
            self._end()
        elif transport is not None and not transport.is_closing():
            transport.resume_reading()

    def flush(self) -> None:
        """Send what waits, as long as the peer reads."""
        session, transport = self._session, self._transport
        if session is None or transport is None or self._ending:
            return
        while session.pending and not self._paused and not transport.is_closing():
            chunks = self._broker.outgoing(session, time.time_ns() // 1_000_000)
            if not chunks:
                break
            transport.write(chunks[0] if len(chunks) == 1 else b"".join(chunks))
        self._tell_room()
        if session.closing and not self._ending:
            if not session.control:
                self._ending = True
                self._loop.call_soon(transport.close)  # closed within resume_writing, asyncio's would end the connection twice
            if self._linger is None:  # what stands before the goodbye may never be read
                self._linger = self._loop.call_later(_LINGER_S, self.abort)

    async def room(self, size: int) -> None:
        """Wait until there is room for another answer of so many bytes, or nobody any more who would get it."""
        while self._session is not None and self._session.crowded(size):
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                self._waiters.remove(waiter)

    def _tell_room(self) -> None:
        if self._waiters and not (self._session is not None and self._session.crowded()):
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def pause_writing(self) -> None:
        """The peer reads slowly; what comes for it waits in its queues."""
        self._paused = True
        if self._session is not None:
            self._session.direct = None

    def resume_writing(self) -> None:
        """The peer has read on."""
        self._paused = False
        self.flush()
        if not self._paused and self._session is not None and self._transport is not None:
            self._session.direct = self._transport.write
        self._server.pump()

    def abort(self) -> None:
        """End without waiting."""
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection, once what it sent is taken."""
        self._transport = None
        if self._session is not None and self._session.left is not None and not self._session.closing:
            self._session.direct = None
        else:
            self._end()

    def _end(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
        if self._session is not None:
            self._broker.disconnect(self._session)
        self._session = None
        self._tell_room()
        self._server.left(self)
        if not self.gone.done():
            self.gone.set_result(None)
