"""The end of a run: its last commit holds the ends of its nodes and of its child runs, its artifacts, and its own end."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from runloop.errors import RunloopError
from runloop.events import record_of
from runloop.runs.artifacts import SavedFile, save_ports, save_with_room
from runloop.runs.drafts import warning
from runloop.runs.recorder import Draft, Ending
from runloop.runs.results import RunHalted, RunResult

if TYPE_CHECKING:
    from runloop.openings.states import RunDone
    from runloop.runs.run import Run


async def finish(run: Run, done: RunDone, drafts: list[Draft], others: list[Ending]) -> RunResult:
    """Write the end, with ``drafts`` before it and the ends of ``others``. Raises RunHalted where the heir of the run has them."""
    status, reason, code = done.status.value, done.reason, done.code
    saved: list[SavedFile] = []
    try:
        if done.saved:
            save = partial(save_ports, run.services.artifacts_dir, run.run_id, done.saved, run.labels.of)
            saved = await save_with_room(save, partial(_no_room, run), lambda: run.recorder.halted)
    except RunloopError as error:
        if status == "succeeded":
            status, reason, code = "failed", error.message, error.code
    drafts += [Draft("artifact.created", f"saved {file.record.path}", file.record) for file in saved]
    drafts.append(run.book.ended(done, status, reason, code, saved, run.since.ms(run.since.recorded(run.submitted_ms))))
    if run.heir is not None:
        run.recorder.halted = True
        run.heir([*others, Ending(run.recorder, drafts)])
        raise RunHalted
    stored = await run.recorder.write_long(drafts, others)
    return RunResult(run.run_id, status, reason, code, record_of(stored[len(drafts) - 1]), done.saved)


def _no_room(run: Run, error: RunloopError) -> None:
    """Say what the run waits for; where the ledger is on the same disk that waits too."""
    message = f"{error.message}; the run ends when there is room"
    run.recorder.write(warning(error.where.node or "", message)).add_done_callback(run.heed)
