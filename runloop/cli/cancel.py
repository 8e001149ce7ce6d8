"""`rlp cancel`: stop a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from runloop.cli import context, link, output
from runloop.cli.finding import ReasonOption, UnfinishedArgument
from runloop.cli.link import waited
from runloop.cli.options import JsonOption
from runloop.errors import RunloopError

if TYPE_CHECKING:
    from runloop.config import Settings

app = typer.Typer(add_completion=False, help="Stop a run, whatever it does.")


@app.command()
def cancel(run: UnfinishedArgument, *, reason: ReasonOption = None, as_json: JsonOption = False) -> int:
    """Stop RUN: what works is interrupted, what waits is dropped, what is queued never starts.

    A run that its process left unfinished is taken up in this process and ended, so that every call that was begun gets an outcome.

    Example: `rlp cancel 3f2a91c0 --reason "wrong recipient"`.
    """
    found = waited(_cancel(context.settings(), run, reason))
    output.print_changed(found, as_json=as_json)
    return 0


async def _cancel(settings: Settings, ref: str, reason: str | None) -> dict[str, Any]:
    client = None if link.own_settings() else await link.find(settings)
    if client is not None:
        async with client:
            try:
                return await client.ask("cancel", run=ref, reason=reason)
            except RunloopError as error:
                if error.code != link.NOT_HERE:
                    raise
    from runloop.cli import taking
    from runloop.runs.errors import RunEnded

    try:
        (run_id,) = taking.find(ref)
    except RunEnded as ended:
        if ended.status != "cancelled":
            raise
        return {"run_id": ended.run_id, "state": ended.status}
    return {"run_id": run_id, "state": await taking.cancel(settings, run_id, reason or "cancelled at the terminal")}
