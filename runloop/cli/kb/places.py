"""Where the files of the knowledge base lie, for verbs that work on the files themselves."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from runloop.cli import context
from runloop.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

BESIDE = ("archive", "files", "imported", "kept")
"""Directories beside the ledger with what events name by digest: pruned runs, what files held before, imported archives, agents."""


@dataclass(frozen=True, slots=True)
class Files:
    """The ledger, the files derived from it, the directories that a backup holds too, and where backups lie unless somebody says."""

    ledger: Path
    views: Path
    vectors: Path
    beside: Mapping[str, Path]
    backups: Path

    @property
    def derived(self) -> tuple[Path, ...]:
        """What is made anew from the ledger."""
        return self.views, self.vectors

    def new_backup(self) -> Path:
        """A free place among the backups."""
        return free(self.backups)

    def aside(self) -> Path:
        """A free place for a ledger that a restore replaces; what is there is never removed by `--keep`."""
        return free(self.backups / "replaced")


def files() -> Files:
    """Those of the settings in force."""
    from runloop.kb.base import VECTORS_DB

    settings = context.settings()
    places = settings.directories
    return Files(
        places.pog / settings.get("kb.events_db"),
        places.pog / settings.get("kb.view_db"),
        places.pog / VECTORS_DB,
        {**{name: places.pog / name for name in BESIDE}, "artifacts": places.artifacts},
        places.state / "backups",
    )


def free(folder: Path) -> Path:
    """A name in ``folder`` that is not taken, after the time (UTC) to the second."""
    name = datetime.fromtimestamp(time.time(), UTC).strftime("%Y%m%dT%H%M%SZ")
    candidates = (folder / (name if number == 1 else f"{name}-{number}") for number in range(1, 1_000_000))
    return next(path for path in candidates if not path.exists())
