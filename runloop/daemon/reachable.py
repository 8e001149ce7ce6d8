"""The sockets, the token file and the ledger while the daemon runs: what somebody removes is made again, or told where it cannot be."""

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

_PATROL_S = 5.0
"""How often the sockets are looked at that no directory tells of: one is unmounted, as at a logout, or comes back."""


class Reachable:
    """Looks after the token file, and the sockets that the daemon made; one that systemd opened is none of it."""

    def __init__(self, daemon: Daemon, log: Log) -> None:
        self._daemon = daemon
        self._log = log
        self._watcher: Watcher | None = None
        self._one_at_a_time = asyncio.Lock()
        self.problems: dict[str, Problem] = {}
        """Why nobody can connect any more or nothing is recorded, or what is wrong with the token file."""
        self.made_again_ms: int | None = None
        """When a socket was last made again."""
        self._lost: dict[Path, RunloopError] = {}
        """Sockets that cannot be made again at the moment."""

    @property
    def _token(self) -> Path:
        return self._daemon.settings.directories.token

    def watch(self) -> None:
        """Follow their directories from now on; a directory of the same name that is made later is another one."""
        directories = [path.parent for path in self._daemon.bus.paths]
        self._watcher = Watcher(self._changed, self._unwatched, recursive=False)
        self._watcher.watch([self._token.parent, *(each for each in directories if each.is_dir())])

    async def patrol(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(_PATROL_S)
            self.look_at_ledger()
            if self._daemon.bus.removed:
                await self.look()

    def look_at_ledger(self) -> None:
        """Say once that the ledger was taken away, and once that it is back."""
        moved = self._daemon.kb.ledger.moved
        if moved is None and self.problems.pop("ledger", None) is not None:
            logger().info("the ledger is back: what comes is recorded again", file=str(self._daemon.kb.ledger.path))
        elif moved is not None:
            self._tell("ledger", self._daemon.kb.ledger.path, moved, "nothing is recorded any more", kept=None)

    def _tell(self, what: str, path: Path, error: RunloopError, said: str, *, kept: bool | None) -> None:
        """List what is wrong, and log it unless it was already."""
        before = self.problems.get(what)
        if before is None or before.error.message != error.message:
            self.problems[what] = Problem(what, str(path), error, clock_ms(), kept=kept)
            logger().error(said, code=error.code, why=error.message, hint=error.hint)

    async def close(self) -> None:
        """Look after it no more."""
        async with self._one_at_a_time:
            if self._watcher is not None:
                await self._watcher.close()
                self._watcher = None

    def _changed(self, paths: set[Path]) -> None:
        if self._daemon.bus.removed or self._token in paths or not self._token.exists():
            self._daemon.keep(self.look())

    def _unwatched(self, error: Exception) -> None:
        if self._daemon.bus.removed:  # its directory was gone before it could be watched
            self._changed(set())
        else:
            logger().error("sockets are not watched any more; they are looked at every few seconds", why=str(error))

    async def look(self) -> None:
        """Make again what was removed, and take the token that stands in its file."""
        bus = self._daemon.bus
        async with self._one_at_a_time:
            if self._watcher is None:
                return
            self._read_token()
            removed, before, self._lost = bus.removed, self._lost, {}
            for path in removed:
                try:
                    await bus.listen_again(path)
                except RunloopError as error:
                    self._lost[path] = error
                else:
                    self.made_again_ms = clock_ms()
                    logger().warning("the socket was removed; it is there again", socket=str(path))
            self._tell_lost(before)
            if len(self._lost) < len(removed):
                await self._watcher.close()
                self.watch()

    def _tell_lost(self, before: dict[Path, RunloopError]) -> None:
        """Say once of each socket that it is lost, and for how many that matters."""
        alone = len(self._lost) == len(self._daemon.bus.paths)
        for path, error in self._lost.items():
            if path in before and alone is ("socket" in self.problems):
                continue
            if alone:
                said = "the socket was removed and cannot be made again, so nobody can connect; SIGHUP tries once more, and so does time"
                logger().error(said, socket=str(path), code=error.code, why=error.message, hint=error.hint)
            else:
                said = "a socket was removed and cannot be made again yet; the other one serves"
                logger().warning(said, socket=str(path), code=error.code, why=error.message)
        if self._lost and alone:
            path, error = next(iter(self._lost.items()))
            self.problems.setdefault("socket", Problem("socket", str(path), error, clock_ms(), kept=False))
        else:
            self.problems.pop("socket", None)

    def _read_token(self) -> None:
        broker, path = self._daemon.bus.broker, self._token
        try:
            token = ensure_token(path)
        except RunloopError as error:
            self._tell("token", path, error, "the token file cannot be used; the token that it had counts", kept=True)
            return
        self.problems.pop("token", None)
        if token != broker.token:
            self._log.hide(token)
            broker.token = token
            logger().warning("the token file was removed or changed: its token counts now, the one before no more", file=str(path))
