"""The socket file while the daemon runs: one that somebody removes is made again, or nobody could reach the daemon any more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from runloop.daemon.library import Problem
from runloop.daemon.logs import logger
from runloop.daemon.watching import Watcher
from runloop.errors import RunloopError
from runloop.runs.compose import clock_ms

if TYPE_CHECKING:
    from runloop.daemon.app import Daemon


class Reachable:
    """Looks after the socket that the daemon made; one that systemd opened is none of it."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._watcher: Watcher | None = None
        self._one_at_a_time = asyncio.Lock()
        self.problem: Problem | None = None
        """Why nobody can connect any more."""
        self.made_again_ms: int | None = None
        """When the socket was last made again."""

    def watch(self) -> None:
        """Follow the directory of the socket from now on; a directory of the same name that is made later is another one."""
        path = self._daemon.bus.path
        if path is not None:
            self._watcher = Watcher(lambda _paths: self._changed(), self._unwatched, recursive=False)
            self._watcher.watch([path.parent])

    async def close(self) -> None:
        """Look after it no more."""
        async with self._one_at_a_time:
            if self._watcher is not None:
                await self._watcher.close()
                self._watcher = None

    def _changed(self) -> None:
        if self._daemon.bus.unreachable:
            self._daemon.keep(self.look())

    def _unwatched(self, error: Exception) -> None:
        if self._daemon.bus.unreachable:  # its directory was gone before it could be watched
            self._changed()
        else:
            logger().error("the socket is not watched any more; if it is removed, SIGHUP makes it again", why=str(error))

    async def look(self) -> None:
        """Make the socket again where it was removed."""
        bus = self._daemon.bus
        async with self._one_at_a_time:
            if self._watcher is None or not bus.unreachable:
                return
            try:
                await bus.listen_again()
            except RunloopError as error:
                self.problem = Problem("socket", str(bus.path), error, clock_ms(), kept=False)
                logger().error(
                    "the socket was removed and cannot be made again, so nobody can connect; SIGHUP tries once more",
                    code=error.code, why=error.message, hint=error.hint,
                )  # fmt: skip
                return
            self.problem, self.made_again_ms = None, clock_ms()
            logger().warning("the socket was removed; it is there again", socket=str(bus.path))
            await self._watcher.close()
            self.watch()
