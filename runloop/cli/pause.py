"""`rlp pause`: hold runs of the daemon."""

from __future__ import annotations

from typing import Annotated

import typer

from runloop.cli import context, link, output
from runloop.cli.finding import PerhapsUnfinishedArgument, ReasonOption, one_or_all
from runloop.cli.options import JsonOption

app = typer.Typer(add_completion=False, help="Hold runs of the daemon: nothing new begins in them.")


@app.command()
def pause(
    run: PerhapsUnfinishedArgument = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Hold every run that has not ended.")] = False,
    reason: ReasonOption = None,
    as_json: JsonOption = False,
) -> int:
    """Hold RUN, or all: no node and no call begins until `rlp resume`, over restarts too; what is under way goes on to its next call.

    Examples: `rlp pause 3f2a91c0`, `rlp pause --all --reason lunch`.
    """
    one_or_all(run, every=every)
    output.print_changed(link.ask_once(context.settings(), "pause", run=run, all=every or None, reason=reason), as_json=as_json)
    return 0
