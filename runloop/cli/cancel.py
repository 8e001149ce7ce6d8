"""`rlp cancel`, `rlp pause` and `rlp resume`: change a run of the daemon."""

from __future__ import annotations

from typing import Annotated

import typer

from runloop.cli import context, link, output
from runloop.cli.options import JsonOption

app = typer.Typer(add_completion=False, help="Cancel a run of the daemon.")
pause_app = typer.Typer(add_completion=False, help="Let a run of the daemon begin nothing new.")
resume_app = typer.Typer(add_completion=False, help="Let a paused run go on.")

_Run = Annotated[str, typer.Argument(help="A run's id, or the beginning of one.")]
_Reason = Annotated[str | None, typer.Option("--reason", help="Why; it stands in the records.")]


@app.command()
def cancel(run: _Run, *, reason: _Reason = None, as_json: JsonOption = False) -> int:
    """Stop a run: what works is interrupted, what waits is dropped, what is queued never starts."""
    return _change("cancel", run, reason, as_json=as_json)


@pause_app.command()
def pause(run: _Run, *, reason: _Reason = None, as_json: JsonOption = False) -> int:
    """Hold a run: no node and no call begins until `rlp resume`; what is under way goes on to its next call."""
    return _change("pause", run, reason, as_json=as_json)


@resume_app.command()
def resume(run: _Run, *, reason: _Reason = None, as_json: JsonOption = False) -> int:
    """Let a paused run go on."""
    return _change("resume", run, reason, as_json=as_json)


def _change(verb: str, run: str, reason: str | None, *, as_json: bool) -> int:
    found = link.ask_once(context.settings(), verb, run=run, reason=reason)
    if as_json:
        output.print_json(found)
    else:
        output.print_line(f"run {found['run_id']} {found['state']}")
    return 0
