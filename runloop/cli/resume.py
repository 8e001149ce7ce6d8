"""`rlp resume`: let paused runs go on, and take up those whose process ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import context, link, output
from runloop.cli.finding import PerhapsUnfinishedArgument, ReasonOption, one_or_all
from runloop.cli.link import waited
from runloop.cli.options import JsonOption
from runloop.errors import RunloopError

if TYPE_CHECKING:
    from runloop.config import Settings

app = typer.Typer(add_completion=False, help="Let paused runs go on, and take up those whose process ended.")


@app.command()
def resume(
    run: PerhapsUnfinishedArgument = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Every paused run, and every one that no process has.")] = False,
    reason: ReasonOption = None,
    as_json: JsonOption = False,
) -> int:
    """Let RUN go on. With a daemon that is the end of a pause, or it takes up what a killed `rlp run --local` left.

    Without one the run is taken up in this process: what was answered is not asked again, and what it asks is asked here. Exit codes
    as of `rlp run`; 4 also where only a person can go on and none is there. Ctrl-C leaves it unfinished.

    Examples: `rlp resume 3f2a91c0`, `rlp resume last --json`, `rlp resume --all`.
    """
    one_or_all(run, every=every)
    settings = context.settings()
    changed = waited(_in_daemon(settings, run, reason))
    if changed is not None:
        output.print_changed(changed, as_json=as_json)
        return 0
    from runloop.cli import taking

    found = taking.find(run)
    if not found:
        if as_json:
            output.print_json({"runs": 0})
        else:
            output.print_line("no run is unfinished")
        return 0
    return waited(taking.take_up(settings, found, why=reason or "resumed at the terminal", as_json=as_json))


async def _in_daemon(settings: Settings, ref: str | None, reason: str | None) -> dict[str, Any] | None:
    """What the daemon did; None where none answers, or where it does not have the run."""
    client = None if link.own_settings() else await link.find(settings)
    if client is None:
        return None
    async with client:
        try:
            return await client.ask("resume", run=ref, all=True if ref is None else None, reason=reason)
        except RunloopError as error:
            if error.code != link.NOT_HERE:
                raise
            return None
