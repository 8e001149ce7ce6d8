"""`rlp replay`: run again from the record, with nobody who could act, and name what differs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import context, output
from runloop.cli.ledger import reading_ledger
from runloop.cli.options import JsonOption, TableOption
from runloop.errors import EXIT_OK, EXIT_VERIFICATION

if TYPE_CHECKING:
    from runloop.runs.history import RecordedRun
    from runloop.runs.replay import ReplayedAttempt

app = typer.Typer(add_completion=False, help="Run again from the record, without effects, and name the first divergence.")
_COLUMNS = ("node", "try", "verdict", "calls", "detail")


@app.command()
def replay(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, its first letters, or `last`.")] = "last",
    *,
    as_json: JsonOption = False,
    as_table: TableOption = False,
) -> int:
    """Re-run every attempt of RUN with its recorded answers and compare the outputs byte for byte. Exit code 5 when any differs."""
    from runloop.runs.history import find_run, load_run

    with reading_ledger() as ledger:
        recorded = load_run(ledger, find_run(ledger, run))
    verdicts = asyncio.run(_replay(recorded))
    matches = all(each.verdict != "differs" for each in verdicts)
    data: dict[str, Any] = {
        "run_id": recorded.run_id,
        "matches": matches,
        "attempts": [
            {
                "node": each.node,
                "attempt": each.attempt,
                "verdict": each.verdict,
                "calls": each.calls,
                "expected": each.expected,
                "actual": each.actual,
                "detail": each.detail,
            }
            for each in verdicts
        ],
    }
    rows = [(each.node, each.attempt, each.verdict, each.calls, each.detail or (each.actual or "")[:12]) for each in verdicts]
    output.print_rows(_COLUMNS, rows, as_json=as_json, as_table=as_table, data=data, empty="no node had started")
    if not output.wants_json(as_json=as_json, as_table=as_table):
        output.print_line(f"run {recorded.run_id}: " + ("the replay is identical" if matches else "the replay differs"))
    return EXIT_OK if matches else EXIT_VERIFICATION


async def _replay(recorded: RecordedRun) -> list[ReplayedAttempt]:
    from runloop.effects.perform.secrets import SecretHandles, SecretsHandle, SecretStore
    from runloop.runs.compose import limits_from
    from runloop.runs.places import bundle_store
    from runloop.runs.replay import Replayer
    from runloop.sandbox import WorkerPool, guest_digest

    settings = context.settings()
    handles = SecretHandles(SecretStore(()), lambda _secret_id: ())
    async with WorkerPool(settings.directories.cache, workers=1) as pool:
        replayer = Replayer(
            pool, bundle_store(settings).resolve, limits_from(settings), {"secrets.handle": SecretsHandle(handles)}, guest_digest()
        )
        return await replayer.replay(recorded)
