"""What runs are taken up, replayed and forked with: their agents and Python guests by digest, kept beside the ledger."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from runloop.bundles import load_bundle
from runloop.bundles.tree import SIGNATURE
from runloop.dataclass import dataclass
from runloop.effects.perform.storage import write_new
from runloop.errors import InvalidInput, Unavailable, Where
from runloop.kb.database import sync_directory
from runloop.sandbox import keep_guest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from runloop.bundles import Bundle

DIRECTORY = "kept"
_FRESH_S = 3600.0


@dataclass(slots=True)
class KeptOnDisk:
    """In ``root``: ``bundles/<digest>/`` with every file of a bundle, ``guests/<digest>.wasm``, ``shipped/<digest>`` for what came with us.

    ``narrow`` cuts what is loaded down.
    """

    root: Path
    narrow: Callable[[Bundle], Bundle]
    load: Callable[[Path], Bundle] = load_bundle
    _there: set[tuple[str, str | None]] = field(default_factory=set)

    async def keep(self, bundles: Iterable[Bundle]) -> None:
        """As :class:`runloop.runs.services.Kept`; free of cost for what this process has kept before."""
        new = {(bundle.digest, bundle.signer): bundle for bundle in bundles if (bundle.digest, bundle.signer) not in self._there}
        if new:
            import asyncio

            try:
                await asyncio.to_thread(self._keep, new.values())
            except OSError as error:
                raise Unavailable(
                    f"what the run needs to be taken up again cannot be kept: {error.strerror or error}",
                    code="run.keep_failed",
                    where=Where(file=str(self.root)),
                    hint="make room on the disk, or check the rights of the directory; where the file system keeps none (FAT, exFAT), "
                    "set RUNLOOP_HOME to a directory on another one",
                ) from error
            self._there.update(new)

    def _keep(self, bundles: Iterable[Bundle]) -> None:
        for bundle in bundles:
            place = self._place(bundle.digest)
            if not place.exists():
                part = place.with_name(f".{place.name}.{os.urandom(8).hex()}")
                for path, content in bundle.files.items():
                    write_new(part / path, content)
                try:
                    part.rename(place)
                except OSError:  # another process was faster
                    shutil.rmtree(part, ignore_errors=True)
                sync_directory(place.parent)
            elif bundle.signer is not None and _content(place / SIGNATURE) != bundle.files[SIGNATURE]:  # signed since
                part = self.root / f".{os.urandom(8).hex()}"
                write_new(part, bundle.files[SIGNATURE])
                part.rename(place / SIGNATURE)
            if bundle.shipped and not self._shipped(bundle.digest).exists():
                write_new(self._shipped(bundle.digest), b"")
            if bundle.kind == "python":
                keep_guest(self.root)

    def bundle(self, digest: str) -> Bundle:
        """As :class:`runloop.runs.services.Kept`."""
        place = self._place(digest)
        if not place.exists():
            raise InvalidInput(
                f"the agent with the digest {digest[:12]} is not kept here",
                code="run.not_kept",
                where=Where(file=str(place)),
                hint="the run was made by another installation, or its files were removed; run the opening anew",
            )
        loaded = self.load(place)
        return self.narrow(replace(loaded, shipped=True) if self._shipped(digest).exists() else loaded)

    def forget_guests_but(self, needed: set[str]) -> None:
        """Remove the Python guests of earlier versions that no unfinished run needs, nor one that is just being submitted. Blocking.

        Agents stay: they are small, and a finished run is replayed and forked with them.
        """
        before = time.time() - _FRESH_S
        for place in _children(self.root / "guests"):
            if place.stem not in needed and place.stat().st_mtime < before:
                with suppress(OSError):
                    place.unlink()

    def _shipped(self, digest: str) -> Path:
        return self.root / "shipped" / digest

    def _place(self, digest: str) -> Path:
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise InvalidInput(f"{digest[:80]!r} is no digest", code="run.not_kept", hint="run `rlp kb verify`")
        return self.root / "bundles" / digest


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _children(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else []
