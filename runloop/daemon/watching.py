"""Watching files: what changes in the library's directories or in a configuration file is loaded a moment later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

STEP_MS = 15
"""How long no further change must come before the gathered ones count: an editor writes in several steps."""
DEBOUNCE_MS = 100
"""How long changes are gathered at most while more keep coming."""
_IGNORED = ("__pycache__", ".git")


class Watcher:
    """Calls ``changed`` with the paths that changed; ``watch`` begins anew with other directories.

    ``failed`` hears why nothing is watched any more.
    """

    def __init__(self, changed: Callable[[set[Path]], None], failed: Callable[[Exception], None], *, recursive: bool = True) -> None:
        self._changed = changed
        self._failed = failed
        self._recursive = recursive
        self._task: asyncio.Task[None] | None = None
        self._stop: asyncio.Event | None = None
        self.watched: tuple[Path, ...] = ()

    def watch(self, directories: Iterable[Path]) -> None:
        """Watch these from now on."""
        wanted = tuple(dict.fromkeys(directories))
        if wanted == self.watched and self._task is not None and not self._task.done():
            return
        self._end()
        self.watched = wanted
        if wanted:
            self._stop = asyncio.Event()
            self._task = asyncio.create_task(self._run(wanted, self._stop))

    async def close(self) -> None:
        """Stop watching."""
        task = self._task
        self._end()
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)

    def _end(self) -> None:
        if self._stop is not None:
            self._stop.set()
        self._task = self._stop = None

    async def _run(self, directories: tuple[Path, ...], stop: asyncio.Event) -> None:
        from watchfiles import awatch

        watching = awatch(
            *directories, watch_filter=_matters, debounce=DEBOUNCE_MS, step=STEP_MS, stop_event=stop, recursive=self._recursive
        )
        try:
            async for changes in watching:
                if not stop.is_set():
                    self._changed({Path(path) for _, path in changes})
        except Exception as error:  # noqa: BLE001 - whatever the kernel refuses, the daemon goes on and says so
            self._failed(error)


def _matters(_change: object, path: str) -> bool:
    parts = path.split("/")
    return not parts[-1].startswith(".") and not parts[-1].endswith(("~", ".swp", ".tmp")) and not any(part in parts for part in _IGNORED)
