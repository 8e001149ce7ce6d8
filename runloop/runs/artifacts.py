"""Saved ports of a finished run as files: ``artifacts.save`` of the opening, each value a file of its own."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from runloop.dataclass import dataclass
from runloop.effects.perform.artifact import artifact_filename
from runloop.effects.perform.storage import write_new
from runloop.errors import NO_ROOM, RunloopError, Where
from runloop.events.records import ArtifactCreated, Saved
from runloop.runs.results import RunHalted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LOOKS_S = 1.0
"""So often it is looked whether there is room again."""


@dataclass(frozen=True, slots=True)
class SavedFile:
    """A file that was written, for its record and for the run's last record."""

    record: ArtifactCreated
    saved: Saved


async def save_with_room(
    save: Callable[[], list[SavedFile]], waiting: Callable[[RunloopError], None], halted: Callable[[], bool]
) -> list[SavedFile]:
    """Call ``save`` until there is room, as records wait for it too; ``waiting`` hears once of what has none.

    Raises what ``save`` does for other reasons, and RunHalted once the process is to leave the run.
    """
    told = False
    while True:
        try:
            return await asyncio.to_thread(save)
        except RunloopError as error:
            if not error.retryable:
                raise
            if not told:
                told = True
                waiting(error)
        if halted():
            raise RunHalted
        await asyncio.sleep(_LOOKS_S)


def save_ports(
    directory: str, run_id: str, saved: Mapping[str, list[Any]], labels: Callable[[str], frozenset[str]] = lambda _: frozenset()
) -> list[SavedFile]:
    """Write every value of ``saved`` (``node.port`` → values) below ``directory/run_id``. Blocking; durable when it returns.

    ``labels`` tells where what a node put out came from.

    Text is written as it is, anything else as indented JSON. Raises RunloopError ``run.artifact_write``, retryable where
    there is no room.
    """
    files = []
    for ref, values in saved.items():
        node, _, port = ref.partition(".")
        for value in values:
            is_text = isinstance(value, str)
            content = (value if is_text else json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode("utf-8", "surrogatepass")
            digest = blake3(content).hexdigest()
            path = Path(directory) / run_id / artifact_filename(f"{ref}.{'txt' if is_text else 'json'}", digest)
            try:
                write_new(path, content)
            except OSError as error:
                raise RunloopError(
                    f"cannot save {ref} to {path}: {error.strerror}",
                    code="run.artifact_write",
                    where=Where(file=str(path), node=node, port=port),
                    hint="check the disk and the rights of the artifacts directory; the value is in the ledger",
                    retryable=error.errno in NO_ROOM,
                ) from error
            sha256, size = hashlib.sha256(content).hexdigest(), len(content)
            kind = "text" if is_text else "json"
            taint = sorted(labels(node)) or None
            record = ArtifactCreated(node, kind, str(path), digest, sha256, summary=f"{ref} of the run", bytes=size, taint=taint)
            files.append(SavedFile(record, Saved(str(path), kind, node, port, ref, digest, sha256, size)))
    return files
