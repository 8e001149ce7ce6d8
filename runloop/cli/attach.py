"""`rlp attach`: follow a run of the daemon, from its first record or any later one."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import context, link, output
from runloop.errors import EXIT_FAILED, RunloopError

if TYPE_CHECKING:
    from runloop.config import Settings

app = typer.Typer(add_completion=False, help="Follow a run of the daemon.")


@app.command()
def attach(
    run: Annotated[str, typer.Argument(help="A run's id, the beginning of one, or `last`.")],
    from_seq: Annotated[int, typer.Option("--from", metavar="SEQ", min=1, help="Begin with this record.")] = 1,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the records as NDJSON, also on a terminal.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Only watch: what the run asks is not asked here.")] = False,
) -> int:
    """Show a run's records as they come, to its end; Ctrl-C leaves it running. The exit code is that of `rlp run`."""
    return asyncio.run(_attach(context.settings(), run, from_seq, as_json=as_json, watch=watch))


async def _attach(settings: Settings, ref: str, from_seq: int, *, as_json: bool, watch: bool) -> int:
    from runloop.cli.person import TerminalPerson, person_present
    from runloop.cli.remote import Shown
    from runloop.cli.showing import exit_code

    as_lines = as_json or not output.is_terminal(sys.stdout)
    attended = person_present() and not watch
    async with link.linked(settings, reconnect_s=link.RECONNECT_S) as client:
        run = await client.attach(ref, from_seq, attended=attended)
        shown = Shown(client, run, _show_line if as_lines else _show_text, TerminalPerson() if attended else None)
        try:
            return exit_code(await shown.follow(), interrupted=False)
        except RunloopError as error:
            if error.code != "run.unfinished":
                raise
            output.print_warning(error.code, f"{error.message}: this is what is recorded")
            return EXIT_FAILED


def _show_line(record: Mapping[str, Any]) -> None:
    print(output.record_line(record), flush=True)


def _show_text(record: Mapping[str, Any]) -> None:
    if record["level"] != "debug":
        output.print_line(f"{record['seq']:>5}  {record['message']}")
