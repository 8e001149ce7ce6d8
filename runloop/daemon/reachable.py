"""The socket and the token file while the daemon runs: what somebody removes is made again, or nobody could reach or stop it any more."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from runloop.bus.token import ensure_token
from runloop.daemon.library import Problem
from runloop.daemon.logs import logger
from runloop.daemon.watching import Watcher
from runloop.errors import RunloopError
from runloop.runs.clock import clock_ms

if TYPE_CHECKING:
    from runloop.daemon.app import Daemon
    from runloop.daemon.logs import Log


class Reachable:
    """Looks after the token file, and the socket that the daemon made; one that systemd opened is none of it."""

    def __init__(self, daemon: Daemon, log: Log) -> None:
        self._daemon = daemon
        self._log = log
        self._watcher: Watcher | None = None
        self._one_at_a_time = asyncio.Lock()
        self.problems: dict[str, Problem] = {}
        """Why nobody can connect any more, or what is wrong with the token file."""
        self.made_again_ms: int | None = None
        """When the socket was last made again."""

    @property
    def _token(self) -> Path:
        return self._daemon.settings.directories.token

    def watch(self) -> None:
        """Follow the directories of both from now on; a directory of the same name that is made later is another one."""
        path = self._daemon.bus.path
        self._watcher = Watcher(self._changed, self._unwatched, recursive=False)
        self._watcher.watch([self._token.parent, *([] if path is None else [path.parent])])

    async def close(self) -> None:
        """Look after it no more."""
        async with self._one_at_a_time:
            if self._watcher is not None:
                await self._watcher.close()
                self._watcher = None

    def _changed(self, paths: set[Path]) -> None:
        if self._daemon.bus.unreachable or self._token in paths or not self._token.exists():
            self._daemon.keep(self.look())

    def _unwatched(self, error: Exception) -> None:
        if self._daemon.bus.unreachable:  # its directory was gone before it could be watched
            self._changed(set())
        else:
            logger().error("the socket is not watched any more; if it is removed, SIGHUP makes it again", why=str(error))

    async def look(self) -> None:
        """Make again what was removed, and take the token that stands in its file."""
        bus = self._daemon.bus
        async with self._one_at_a_time:
            if self._watcher is None:
                return
            self._read_token()
            if not bus.unreachable:
                return
            try:
                await bus.listen_again()
            except RunloopError as error:
                self.problems["socket"] = Problem("socket", str(bus.path), error, clock_ms(), kept=False)
                logger().error(
                    "the socket was removed and cannot be made again, so nobody can connect; SIGHUP tries once more",
                    code=error.code, why=error.message, hint=error.hint,
                )  # fmt: skip
                return
            self.problems.pop("socket", None)
            self.made_again_ms = clock_ms()
            logger().warning("the socket was removed; it is there again", socket=str(bus.path))
            await self._watcher.close()
            self.watch()

    def _read_token(self) -> None:
        broker, path = self._daemon.bus.broker, self._token
        try:
            token = ensure_token(path)
        except RunloopError as error:
            self.problems["token"] = Problem("token", str(path), error, clock_ms(), kept=True)
            logger().error(
                "the token file cannot be used; the token that it had counts", code=error.code, why=error.message, hint=error.hint
            )
            return
        self.problems.pop("token", None)
        if token != broker.token:
            self._log.hide(token)
            broker.token = token
            logger().warning("the token file was removed or changed: its token counts now, the one before no more", file=str(path))
