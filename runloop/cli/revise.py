"""`rlp revise`: let the node before a gate do its work again, with what should change."""

from __future__ import annotations

from typing import Annotated

import typer

from runloop.cli.answering import IdArgument, decide
from runloop.cli.options import JsonOption

app = typer.Typer(add_completion=False, help="Send the work at a gate back, with what should change.")


@app.command()
def revise(
    approval_id: IdArgument,
    words: Annotated[list[str], typer.Argument(metavar="WORDS...", help="What should change; the node reads it.")],
    *,
    as_json: JsonOption = False,
) -> int:
    """Send what waits at the gate ID back to its node, which runs again and is told WORDS.

    Examples: `rlp revise 3f2a91c0 "shorter, and without the second paragraph"`, `rlp revise last name the sources`.
    """
    return decide(approval_id, "revise", reason=" ".join(words), as_json=as_json)
