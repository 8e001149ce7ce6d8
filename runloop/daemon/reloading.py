"""What changes while the daemon runs: agents, openings and safe settings, read anew when their files change or somebody asks."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runloop.daemon.library import Change
from runloop.daemon.logs import logger
from runloop.daemon.watching import Watcher
from runloop.errors import RunloopError
from runloop.runs.clock import clock_ms

if TYPE_CHECKING:
    from collections.abc import Callable

    from runloop.config import Settings
    from runloop.config.errors import ConfigWarning
    from runloop.daemon.app import Daemon
    from runloop.daemon.logs import Log
    from runloop.daemon.notify import Notifier

RELOAD_TOPIC = "rlp/sys/reload"
_CHANGE = "observation.opening.event.v1"


class Reloading:
    """Keeps a daemon's files and settings current; one reading at a time. A file that broke leaves the last good version in force."""

    def __init__(self, daemon: Daemon, load: Callable[[], Settings], log: Log, notifier: Notifier) -> None:
        """``load`` reads the settings."""
        self._daemon = daemon
        self._load = load
        self._log = log
        self._notifier = notifier
        self._files: Watcher
        self._links: Watcher
        """The directories of files elsewhere that openings are links to."""
        self._linked: frozenset[Path] = frozenset()
        self._configs: Watcher | None = None
        self._concerning: set[Path] = set()
        """The files of settings and all directories above them: what changes there may change the settings."""
        self._one_at_a_time = asyncio.Lock()
        self.config_error: tuple[RunloopError, int] | None = None
        """What is wrong with the configuration, and since when (epoch ms)."""
        self.log_error: tuple[RunloopError, int] | None = None
        """Why the log could not be opened anew, and since when."""
        self.needs_restart: list[str] = []
        """Keys that changed and cannot be obeyed before the daemon starts anew."""
        self._warned: frozenset[ConfigWarning] = frozenset()
        """What the settings in force were warned of."""

    def watch(self) -> list[Watcher]:
        """Follow the files of agents, openings and configuration; what has to be closed."""
        self._warn(self._daemon.settings)
        self._files = Watcher(lambda _paths: self._rescan_soon(), self._unwatched)
        self._links = Watcher(self._linked_changed, self._unwatched, recursive=False)
        self._watch_files()
        self._configs = Watcher(self._config_changed, self._unwatched, recursive=False, hidden=True)
        self._watch_settings()
        return [self._files, self._links, self._configs]

    def _watch_files(self) -> None:
        self._files.watch(self._daemon.library.watched())
        self._linked = self._daemon.library.linked()
        self._links.watch(sorted({file.parent for file in self._linked if file.parent.is_dir()}))

    def _linked_changed(self, paths: set[Path]) -> None:
        if not paths or paths & self._linked:
            self._rescan_soon()

    def _watch_settings(self, *, anew: bool = False) -> None:
        """Follow each file of settings where it is named and where it lies, and the nearest directory above one that is not there."""
        if self._configs is None:
            return
        settings = self._daemon.settings
        files = {name for file in settings.files for name in (file, Path(os.path.realpath(file)))}
        self._concerning = files.union(*(file.parents for file in files))
        directories = {next(each for each in file.parents if os.access(each, os.R_OK | os.X_OK)) for file in files}
        state = {settings.base.state} if settings.base.state.is_dir() else set()
        self._configs.watch(sorted(directories | state), anew=anew)

    def _unwatched(self, error: Exception) -> None:
        logger().error("files are not watched any more; `rlp reload` reads them", why=str(error))

    def _config_changed(self, paths: set[Path]) -> None:
        if paths & self._concerning:
            self._watch_settings(anew=not paths.isdisjoint(self._configs.watched if self._configs else ()))
            self.soon("a configuration file changed")
        elif not paths:
            self._daemon.keep(self._look_at_settings())
        elif any(path.parent == self._daemon.settings.base.state for path in paths):
            self._rescan_soon(new_places_only=True)

    async def _look_at_settings(self) -> None:
        """Obey what was saved while the watch was being set up, of which nobody was told."""
        try:
            differs = bool(_differing(self._daemon.settings, await asyncio.to_thread(self._load)))
        except RunloopError:
            differs = True
        if differs:
            self.soon("a configuration file changed")
        self._rescan_soon(new_places_only=True)

    def _rescan_soon(self, *, new_places_only: bool = False) -> None:
        if not new_places_only or tuple(self._daemon.library.watched()) != self._files.watched:
            self._daemon.keep(self.rescan())

    def soon(self, why: str) -> None:
        """Read everything anew, without anybody waiting for it."""
        self._daemon.keep(self._reload_logged(why))

    async def _reload_logged(self, why: str) -> None:
        try:
            await self.reload(why)
        except RunloopError as error:
            logger().error("the reload failed", code=error.code, why=error.message)

    async def rescan(self) -> list[Change]:
        """Read agents and openings anew, and tell what changed."""
        async with self._one_at_a_time:
            return await self._rescan()

    async def _rescan(self) -> list[Change]:
        changes = await asyncio.to_thread(self._daemon.library.rescan)
        self._watch_files()
        for change in changes:
            self._tell(change)
        return changes

    async def reload(self, why: str) -> dict[str, Any]:
        """Read everything anew. Raises what is wrong with the configuration, whose old one stays in force, or at the end with the log."""
        self._notifier.systemd("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            self._reopen_log()
            self._daemon.kb.ledger.poke()
            await self._daemon.reachable.look()
            self._watch_settings()
            async with self._one_at_a_time:
                changed = await self._read_settings()
                changes = await self._rescan()
        finally:
            self._notifier.systemd("READY=1")
        logger().info("reloaded", why=why, changed=changed, needs_restart=self.needs_restart, files=len(changes))
        if self.log_error is not None:
            raise self.log_error[0]
        return {"changed": changed, "needs_restart": list(self.needs_restart), "files": [change.shown() for change in changes]}

    def _reopen_log(self) -> None:
        try:
            self._log.reopen()
        except RunloopError as error:
            self.log_error = (error, clock_ms())
            logger().error("the log cannot be opened anew: lines go on into the file that is open", code=error.code, why=error.message)
        else:
            self.log_error = None

    async def _read_settings(self) -> list[str]:
        """The keys that changed. Raises what is wrong with the configuration."""
        try:
            loaded = await asyncio.to_thread(self._load)
            self._warn(loaded)
            changed = await self._take_settings(loaded)
        except RunloopError as error:
            self.config_error = (error, clock_ms())
            self._tell(Change("config", str(error.where) or "configuration", "broken", error=error))
            raise
        repaired, self.config_error = self.config_error is not None, None
        if changed or repaired:
            self._tell(Change("config", ", ".join(changed) or "configuration", "loaded"))
        return changed

    async def _take_settings(self, loaded: Settings) -> list[str]:
        """Obey what may change while the daemon runs, and remember what may not; the keys that changed."""
        old = self._daemon.settings
        differing = _differing(old, loaded)
        self.needs_restart = [path for path in differing if not loaded.explain(path).key.reloadable]
        changed = [path for path in differing if loaded.explain(path).key.reloadable]
        if changed:
            kept = {path: old.resolved[path] for path in self.needs_restart}
            settings = replace(loaded, resolved={**loaded.resolved, **kept})
            await self._daemon.session.reconfigure(settings, self._daemon.library)
            self._daemon.settings = settings
            self._daemon.library.change(settings)
            self._daemon.people.wait_ms = self._daemon.settings.get("security.approval_wait_ms")
            self._daemon.hosting.allow(self._daemon.settings.get("runtime.max_runs"), self._daemon.settings.get("runtime.max_queued_runs"))
            self._log.configure(self._daemon.settings)
        return changed

    def _warn(self, settings: Settings) -> None:
        """Log what does not work as its author may think, once for as long as it is so: of a service nobody sees another word."""
        for warning in settings.warnings:
            if warning not in self._warned:
                logger().warning("a setting", code=warning.code, why=str(warning))
        self._warned = frozenset(settings.warnings)

    def _tell(self, change: Change) -> None:
        self._daemon.bus.publish(RELOAD_TOPIC, _CHANGE, change.shown())
        if change.error is not None:
            logger().warning("not loaded", what=change.what, name=change.name, code=change.error.code, why=change.error.message)
        else:
            logger().info(change.state, what=change.what, name=change.name, digest=change.digest)


def _differing(old: Settings, loaded: Settings) -> list[str]:
    """The keys that have another value now."""
    return [path for path, each in loaded.resolved.items() if each.value != old.resolved[path].value]
