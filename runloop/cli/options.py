"""The output options that every listing verb takes, as typer annotations."""

from __future__ import annotations

from typing import Annotated

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
TableOption = Annotated[bool, typer.Option("--table", help="Print a table, even when not on a terminal.")]
LinesOption = Annotated[bool, typer.Option("--table", help="Print lines for people, even when not on a terminal.")]
MaxColsOption = Annotated[int | None, typer.Option("--max-cols", min=1, metavar="N", help="Show at most N columns.")]
MaxRowsOption = Annotated[int | None, typer.Option("--max-rows", min=0, metavar="N", help="Show at most N rows.")]
NoWrapOption = Annotated[bool, typer.Option("--no-wrap", help="Let rows be longer than the terminal is wide.")]
