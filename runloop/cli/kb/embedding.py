"""`rlp kb embed`: make the vectors that are missing, or say how far they are."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import context, output
from runloop.cli.kb.opened import open_kb
from runloop.cli.options import JsonOption, TableOption
from runloop.errors import EXIT_OK, InvalidInput

if TYPE_CHECKING:
    from runloop.kb.vectors import Progress, Status


def embed(
    *,
    status: Annotated[bool, typer.Option("--status", help="Only say how far the vectors are.")] = False,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, metavar="N", help="Make at most N vectors now.")] = None,
    json: JsonOption = False,
    table: TableOption = False,
) -> int:
    """Make the vectors of documents that have none; the daemon does the same in the background. Can be interrupted and goes on later."""
    from runloop.kb.vectors import catch_up
    from runloop.runs.meaning import meaning

    chosen = meaning(context.settings())
    if chosen is None:
        hint = "set it to hashed, wordllama, or provider:model"
        raise InvalidInput("kb.vectors.embedder is off", code="kb.vectors_off", hint=hint)
    as_json = output.wants_json(as_json=json, as_table=table)
    with open_kb() as kb:
        kb.sync()
        made: Progress | None = None
        if not status:
            made = catch_up(kb.vectors, chosen, most=limit, progress=_show if output.shows_progress() else lambda _: None)
        now = kb.vectors.status(chosen.domains, counted=True)
    answer: dict[str, Any] = {
        "embedder": chosen.embedder.identity,
        "made_by": now.embedder,
        "index": now.index,
        "dimensions": now.dimensions,
        "documents": now.documents,
        "embedded": now.embedded if now.embedder == chosen.embedder.identity else 0,
        **({} if made is None else {"made": made.made, "removed": made.removed}),
    }
    if as_json:
        output.print_json(answer)
        return EXIT_OK
    if made is not None:
        output.print_line(f"{made.made} made, {made.removed} removed" + (", all anew for another embedder" if made.anew else ""))
    output.print_line(_state(now, chosen.embedder.identity))
    return EXIT_OK


def _show(progress: Progress) -> None:
    output.write_over(f"{progress.embedded} of {progress.documents} documents")
    if progress.embedded >= progress.documents:
        print(file=sys.stderr)


def _state(now: Status, wanted: str) -> str:
    if now.embedder is None:
        return f"no vectors yet of {now.documents} documents; embedder {wanted}"
    if now.embedder != wanted:
        return f"the vectors are those of {now.embedder}; `rlp kb embed` makes them anew with {wanted}"
    return f"{now.embedded} of {now.documents} documents have a vector ({now.dimensions} numbers, {wanted}, {now.index})"
