"""Archives that were imported: kept whole and as they came, beside the ledger and never in it.

So an imported run cannot be mistaken for one of this machine: it is no link of the chain, nothing recovers it, nothing is projected
from it. It is read from its archive, which is verified each time.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from runloop.dataclass import dataclass
from runloop.errors import InvalidInput, Where
from runloop.runs.archives.archive import Archive, peek
from runloop.runs.archives.container import ArchiveAltered, ArchiveInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runloop.runs.archives.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Imported:
    """The directory of imported archives: one file a root run, ``<run id>.rlz``."""

    directory: Path

    def add(self, archive: Archive, *, replace: bool = False) -> bool:
        """Keep the archive; False where it is there already.

        Raises:
            InvalidInput: ``archive.other_import``, when its run was imported from a different archive before.

        """
        place = self._place(archive.root)
        if place.exists():
            if place.read_bytes() == archive.data:
                return False
            if not replace:
                raise InvalidInput(
                    f"run {archive.root} was imported from another archive before",
                    code="archive.other_import",
                    where=Where(file=str(place)),
                    hint="`--replace` takes this one instead",
                )
        from runloop.private import make_private
        from runloop.scratch import scratch

        make_private(self.directory)
        with scratch(self.directory) as part:
            staged = part / place.name
            with staged.open("wb") as file:
                file.write(archive.data)
                file.flush()
                os.fsync(file.fileno())
            staged.replace(place)
        return True

    def manifests(self) -> Iterator[tuple[Path, Manifest]]:
        """What every archive says about itself, unverified, by the id of its run; one that cannot be read is passed over."""
        for path in sorted(self.directory.glob("*.rlz")) if self.directory.is_dir() else []:
            with suppress(ArchiveInvalid, ArchiveAltered):
                yield path, peek(path)

    def runs(self) -> dict[str, Path]:
        """The file of every imported run, child runs included; an archive's own run before one that another archive refers to."""
        listed = list(self.manifests())
        found = {manifest.root: path for path, manifest in listed}
        for path, manifest in listed:
            for entry in manifest.runs:
                found.setdefault(entry.run_id, path)
        return found

    def _place(self, run_id: str) -> Path:
        return self.directory / f"{run_id}.rlz"
