"""Watching files: what changes in the library's directories or in a configuration file is loaded a moment later."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

STEP_MS = 15
"""How long no further change must come before the gathered ones count: an editor writes in several steps."""
DEBOUNCE_MS = 100
"""How long changes are gathered at most while more keep coming."""
_SETTLED_MS = 1000
_IGNORED = ("__pycache__", ".git")


class Watcher:
    """Calls ``changed`` on the loop with the paths that changed; ``watch`` begins anew with other directories.

    ``changed`` is called once with none soon after it began. ``failed`` hears why nothing is watched any more.
    A thread waits for the kernel: watchfiles with asyncio costs 25 ms of imports.
    """

    def __init__(
        self, changed: Callable[[set[Path]], None], failed: Callable[[Exception], None], *, recursive: bool = True, hidden: bool = False
    ) -> None:
        """``hidden``: tell of hidden files too, and of those that editors make for themselves."""
        self._changed = changed
        self._failed = failed
        self._recursive = recursive
        self._filter = None if hidden else _matters
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self.watched: tuple[Path, ...] = ()

    def watch(self, directories: Iterable[Path], *, anew: bool = False) -> None:
        """Watch these from now on; ``anew`` also where they have the same names, since one may be another directory now."""
        wanted = tuple(dict.fromkeys(directories))
        if not anew and wanted == self.watched and self._thread is not None and self._thread.is_alive():
            return
        self._stop.set()
        self._stop, self._thread, self.watched = threading.Event(), None, wanted
        if wanted:
            self._thread = threading.Thread(target=self._run, args=(wanted, self._stop, asyncio.get_running_loop()), daemon=True)
            self._thread.start()

    async def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    def _run(self, directories: tuple[Path, ...], stop: threading.Event, loop: asyncio.AbstractEventLoop) -> None:
        from watchfiles import watch

        def heard(paths: set[Path]) -> None:
            if not stop.is_set():
                self._changed(paths)

        watching = watch(
            *directories, watch_filter=self._filter, debounce=DEBOUNCE_MS, step=STEP_MS, stop_event=stop, recursive=self._recursive,
            rust_timeout=_SETTLED_MS, yield_on_timeout=True,
        )  # fmt: skip
        settled = False
        try:
            for changes in watching:
                if changes or not settled:  # what changed while the watch was being set up is looked for once
                    loop.call_soon_threadsafe(heard, {Path(path) for _, path in changes})
                settled = True
        except Exception as error:  # noqa: BLE001 - whatever the kernel refuses, the daemon goes on and says so
            loop.call_soon_threadsafe(self._failed, error)


def _matters(_change: object, path: str) -> bool:
    parts = path.split("/")
    return not parts[-1].startswith(".") and not parts[-1].endswith(("~", ".swp", ".tmp")) and not any(part in parts for part in _IGNORED)
