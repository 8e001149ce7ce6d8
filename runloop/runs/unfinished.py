"""Which runs in the ledger have no end, who has them, and what they need; and finding one that is to be changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass
from runloop.errors import InvalidInput, Where
from runloop.events import RunIdentity
from runloop.kb.runs import find_run, only_one, run_prefix

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runloop.kb import KnowledgeBase

_BEGIN = "run.submitted"


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A run without an end. ``waiting`` is the meta of its last record where that is ``run.waiting``, with ``waiting_ms`` its time.

    A ``queued`` one has no record but its submission.
    """

    identity: RunIdentity
    owner: str | None
    guest: str | None
    workdir: str | None
    patient: bool
    waiting: Mapping[str, Any] | None
    waiting_ms: int
    paused: bool = False
    queued: bool = False


def own_run(kb: KnowledgeBase, ref: str) -> str:
    """The id of the run of this ledger that ``ref`` names.

    Raises:
        InvalidInput: as :func:`runloop.kb.runs.find_run`, and ``run.imported`` where only an imported archive has it.

    """
    try:
        return find_run(kb.ledger, ref)
    except InvalidInput as error:
        if error.code == "run.unknown":
            refuse_imported(kb, ref)
        raise


def refuse_imported(kb: KnowledgeBase, ref: str) -> None:
    """Raise InvalidInput ``run.imported`` where ``ref`` names a run that an imported archive has, ``run.ambiguous`` where several."""
    text = run_prefix(ref)
    if text in {"", "last"}:
        return
    from runloop.runs.archives.imported import Imported

    archives = Imported(kb.root / "imported").runs()
    found = [run_id for run_id in archives if run_id.startswith(text)]
    if found:
        run_id = only_one(ref, found)
        raise InvalidInput(
            f"run {run_id} was imported: it is another machine's, and no part of what is known and driven here",
            code="run.imported",
            where=Where(file=str(archives[run_id])),
            hint=f"it can be looked at, replayed and compared: `rlp show {run_id[:8]}`, trace, logs, replay, diff, export",
        )


def is_patient(submitted: Mapping[str, Any]) -> bool:
    """Whether what the run asks waits in a daemon as long as it takes. So it does of one that was left by the process of its terminal."""
    return bool(submitted.get("patient")) or submitted["mode"] == "local"


def unfinished_runs(kb: KnowledgeBase, run_id: str | None = None) -> Iterator[Unfinished]:
    """The runs without an end that no other run asked for, oldest first, or the one of that id. Blocking; brings the views up to date."""
    rows = kb.open_runs(run_id)
    begun = {event.id: event.payload["meta"] for event in kb.ledger.those([row["first_event"] for row in rows]) if event.kind == _BEGIN}
    for row in rows:
        submitted, last = begun.get(row["first_event"]), kb.ledger.get(row["source_event"])
        if submitted is None or last is None:
            continue
        yield Unfinished(
            RunIdentity(str(row["run_id"]), str(row["trace_id"]), str(row["opening_id"]), str(row["opening_name"])),
            row["owner"],
            submitted["versions"].get("guest"),
            submitted.get("workdir"),
            is_patient(submitted),
            last.payload["meta"] if last.kind == "run.waiting" else None,
            last.ts_ms,
            paused=row["status"] == "paused",
            queued=last.kind == _BEGIN,
        )
