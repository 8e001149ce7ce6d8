"""Putting back what a run wrote over: ``files.write`` keeps what stood there, and from there it goes back (contracts section 2)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from runloop.dataclass import dataclass
from runloop.effects.perform.files_write import MOST_PREVIOUS_BYTES, remove_file, replace_file
from runloop.effects.perform.paths import read_up_to, regular_file
from runloop.effects.types import CallError
from runloop.events import NewEvent
from runloop.runs.family import own_runs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runloop.effects.perform.storage import FileBlobs
    from runloop.events import StoredEvent
    from runloop.runs.sources import RunSource

READY, PUT_BACK, AS_IT_WAS, LEFT = "ready", "put back", "as it was", "left"


@dataclass(slots=True)
class Writing:
    """One writing of a run: ``written`` is the BLAKE3 of its text, ``previous`` of what stood there, None where nothing did.

    ``sure`` is False where the record does not tell what stood there. ``state`` is ``ready``, ``put back``, ``as it was``
    (what stood there before the run's first writing stands there again) or ``left``, and ``why`` why.
    """

    run_id: str
    node: str
    effect: int
    path: str
    written: str
    previous: str | None
    sure: bool
    previous_bytes: int | None = None
    """How much stood there, as far as it is kept."""
    state: str = READY
    why: str = ""

    def leave(self, why: str) -> None:
        """It stays as it is."""
        self.state, self.why = LEFT, why

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        names = ("run_id", "node", "effect", "path", "written", "previous", "previous_bytes", "state", "why")
        return {name: getattr(self, name) for name in names}


def writings(source: RunSource, run_id: str) -> list[Writing]:
    """What the run and its child runs wrote, the newest first; what a fork shares with its parent is its parent's."""
    found = [writing for each in own_runs(source, run_id) for writing in _of_run(each, map(source.full, source.read_run(each)))]
    return sorted(found, key=lambda writing: -writing.effect)


def _of_run(run_id: str, events: Iterable[StoredEvent]) -> list[Writing]:
    found: list[Writing] = []
    asked: set[tuple[str, int, int]] = set()
    for event in events:
        meta = event.payload["meta"]
        match event.kind:
            case "effect.requested" if meta["name"] == "files.write":
                asked.add((meta["node"], meta["attempt"], meta["call"]))
            case "run.recovered":
                asked.clear()  # what ends now was looked at afterwards, when nobody knew any more what had stood there
            case "effect.completed" if isinstance(result := meta.get("result"), dict) and {"path", "blake3", "previous"} <= result.keys():
                sure = result["previous"] is not None or (meta["node"], meta["attempt"], meta["call"]) in asked
                found.append(Writing(run_id, meta["node"], event.id, result["path"], result["blake3"], result["previous"], sure))
            case _:
                pass
    return found


def look(found: Sequence[Writing], blobs: FileBlobs) -> None:
    """Find out, the newest first, what can be put back: where a file holds what was written, and what stood there was kept. Blocking."""
    there: dict[str, str | None] = {}
    before = {os.path.realpath(writing.path): writing for writing in found}  # the oldest of each file
    for writing in found:
        if not writing.path.startswith(os.sep):  # every path that was written to is
            writing.leave("its path was erased from the record")
            continue
        real = os.path.realpath(writing.path)
        writing.previous_bytes = _kept_bytes(blobs, writing.previous)
        try:
            if real not in there:
                there[real] = _digest(real)
        except (OSError, CallError) as error:
            writing.leave(f"it cannot be read: {getattr(error, 'strerror', None) or error}")
            continue
        if there[real] != writing.written and before[real].sure and there[real] == before[real].previous:
            writing.state = AS_IT_WAS
        elif there[real] != writing.written:
            writing.leave("it is not there any more" if there[real] is None else "it was changed since")
        elif not writing.sure:
            writing.leave("its process ended while it was written, and the record does not tell what stood there")
        elif writing.previous is not None and writing.previous_bytes is None:
            writing.leave("what stood there is not kept any more")
        else:
            there[real] = writing.previous


def put_back(found: Sequence[Writing], blobs: FileBlobs) -> None:
    """Put back what is ready, the newest first; what stands there now is kept before. Blocking."""
    for writing in found:
        if writing.state != READY:
            continue
        real = os.path.realpath(writing.path)
        try:
            now = _content(real)
            if now is None or blake3(now).hexdigest() != writing.written:
                writing.leave("it was changed since")
                continue
            blobs.put(now)
            if writing.previous is None:
                remove_file(real)
            else:
                replace_file(real, blobs.path(writing.previous).read_bytes())
        except (OSError, CallError) as error:
            writing.leave(f"it cannot be written: {getattr(error, 'strerror', None) or error}")
        else:
            writing.state = PUT_BACK


def event_of(run_id: str, found: Sequence[Writing], state: str) -> NewEvent | None:
    """What is recorded of the writings in that state, before (``READY``) or after (``PUT_BACK``); None where there are none."""
    done = [each for each in found if each.state == state]
    files = [
        {"path": each.path, "effect": each.effect, "written": each.written} | ({} if each.previous is None else {"previous": each.previous})
        for each in done
    ]
    kind = "files.putting_back" if state == READY else "files.put_back"
    return NewEvent(kind, {"run": run_id, "files": files}, "user") if files else None


def _content(real: str) -> bytes | None:
    try:
        with regular_file(real) as (handle, _):
            return read_up_to(handle, MOST_PREVIOUS_BYTES + 1)
    except FileNotFoundError:
        return None


def _digest(real: str) -> str | None:
    content = _content(real)
    return None if content is None else blake3(content).hexdigest()


def _kept_bytes(blobs: FileBlobs, digest: str | None) -> int | None:
    try:
        content = b"" if digest is None else blobs.path(digest).read_bytes()
    except OSError:
        return None
    return len(content) if blake3(content).hexdigest() == digest else None
