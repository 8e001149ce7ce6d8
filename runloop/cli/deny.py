"""`rlp deny`: say no to what a run of the daemon waits for, from any terminal."""

from __future__ import annotations

import typer

from runloop.cli.answering import IdArgument, ReasonOption, decide
from runloop.cli.options import JsonOption

app = typer.Typer(add_completion=False, help="Refuse what a run of the daemon waits for.")


@app.command()
def deny(approval_id: IdArgument, *, reason: ReasonOption = None, as_json: JsonOption = False) -> int:
    """Refuse ID: nothing is done, and the agent is told so. At a gate this is `reject`. The first answer counts.

    Examples: `rlp deny 3f2a91c0 --reason "wrong address"`, `rlp deny last`.
    """
    return decide(approval_id, "reject", reason=reason, as_json=as_json)
