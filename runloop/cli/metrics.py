"""`rlp metrics`: what the daemon measures, for Prometheus or as JSON."""

from __future__ import annotations

import typer

from runloop.cli import context, link, output
from runloop.cli.options import JsonOption

app = typer.Typer(add_completion=False, help="Show what the daemon measures.")


@app.command()
def metrics(*, as_json: JsonOption = False) -> int:
    """Print the metrics in the text form of Prometheus, or as the JSON that the bus carries."""
    found = link.ask_once(context.settings(), "metrics")
    if as_json:
        output.print_json(found["snapshot"])
    else:
        print(found["prometheus"], end="")
    return 0
