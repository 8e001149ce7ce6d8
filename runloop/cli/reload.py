"""`rlp reload`: let the daemon read its configuration, agents and openings anew."""

from __future__ import annotations

import typer

from runloop.cli import context, link, output
from runloop.cli.options import JsonOption, LinesOption

app = typer.Typer(add_completion=False, help="Let the daemon read its files anew.")


@app.command(name="reload")
def reload_(*, as_json: JsonOption = False, as_table: LinesOption = False) -> int:
    """Read configuration, agents and openings anew; exit code 2 where the configuration is wrong, and the old one stays in force."""
    wants_json = output.wants_json(as_json=as_json, as_table=as_table)
    found = link.ask_once(context.settings(), "reload")
    if wants_json:
        output.print_json(found)
        return 0
    output.print_line("changed: " + (", ".join(found["changed"]) or "no setting"))
    if found["needs_restart"]:
        output.print_line("needs a restart to count: " + ", ".join(found["needs_restart"]))
    for change in found["files"]:
        output.print_line(f"{change['state']}: {change['what']} {change['name']}")
    return 0
