"""`rlp undo`: the files that a run wrote hold again what they held before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from runloop.cli import context, masking, output, stalls
from runloop.cli.finding import RunArgument, finding
from runloop.cli.options import JsonOption, TableOption
from runloop.errors import EXIT_FAILED, EXIT_OK, InvalidInput, Where

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runloop.runs.undoing import Writing

app = typer.Typer(add_completion=False, help="Put back the files that a run wrote.")
_COLUMNS = ("node", "file", "was", "state")


@app.command()
def undo(
    run: RunArgument = "last",
    *,
    node: Annotated[str | None, typer.Option("--node", metavar="NODE", help="Only what this node wrote.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be put back, change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
    as_table: TableOption = False,
) -> int:
    """Put back what RUN and its child runs wrote over with `files.write`, the newest writing first; a file that was new goes.

    Only files that still hold what was written are touched, and what they hold now is kept. Mail that was sent, commands and requests
    cannot be undone. It is recorded, before and after (`rlp kb timeline`). Exit code 1 where something had to stay.

    Examples: `rlp undo last --dry-run`, `rlp undo 3f2a91c0 --node save --yes`.
    """
    from runloop.runs.fork import node_names
    from runloop.runs.places import kept_files, open_knowledge
    from runloop.runs.undoing import PUT_BACK, READY, event_of, look, put_back, writings

    settings = context.settings()
    blobs = kept_files(settings)
    with finding(run) as found:
        if found.origin != "own":
            hint = "its files are another machine's, or its records were archived: `rlp kb prune --restore` brings those back"
            raise InvalidInput(f"run {found.run_id} cannot be undone here", code="undo.not_here", where=Where(key="RUN"), hint=hint)
        wrote = [each for each in writings(found.source, found.run_id) if node is None or node in node_names(each.node)]
        run_id = found.run_id
    look(wrote, blobs)
    ready = sum(each.state == READY for each in wrote)
    asks = not yes and not dry_run and ready > 0
    as_json = output.wants_json(as_json=as_json, as_table=as_table)
    if asks and not as_json:
        _print(wrote, as_json=False)
    agreed = asks and output.agreed(f"Put back {ready} {'writing' if ready == 1 else 'writings'}?")
    goes = not dry_run and (agreed or not asks)
    if goes and (begun := event_of(run_id, wrote, READY)) is not None:
        with open_knowledge(settings, stalls.tell) as kb:
            kb.ledger.append([begun])  # no file changes that no record tells of
            put_back(wrote, blobs)
            if (done := event_of(run_id, wrote, PUT_BACK)) is not None:
                kb.ledger.append([done])
    if asks and not agreed and not as_json:
        output.print_line("nothing was put back")
    else:
        _print(wrote, as_json=as_json)
    return EXIT_FAILED if goes and any(each.why for each in wrote) else EXIT_OK


def _print(wrote: Sequence[Writing], *, as_json: bool) -> None:
    rows = []
    for each in wrote:
        state = f"{each.state}: {each.why}" if each.why else each.state
        was = "not there" if each.previous is None else "not kept" if each.previous_bytes is None else f"{each.previous_bytes} bytes"
        rows.append((each.node, masking.masked_text(each.path), was, state))
    data = masking.masked([each.to_dict() for each in wrote])
    output.print_rows(_COLUMNS, rows, as_json=as_json, as_table=not as_json, data=data, empty="the run wrote no files")
