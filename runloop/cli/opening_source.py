"""Where the verbs of `rlp opening` read an opening from: a file, a name, or standard input."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from runloop.cli import context
from runloop.errors import InvalidInput, Where
from runloop.links import readable

STDIN = "<stdin>"
FileArgument = Annotated[str, typer.Argument(metavar="FILE", help="An opening by file or name; - is standard input.")]
FilesArgument = Annotated[list[str], typer.Argument(metavar="FILE...", help="Openings by file or name; - is standard input.")]


def read(file: str) -> tuple[str, bytes]:
    """The name to show and the bytes of an opening, at most a little more than the language allows."""
    from runloop.openings.yamltree import MAX_BYTES

    if file == "-":
        return STDIN, sys.stdin.buffer.read(MAX_BYTES + 1)
    path = Path(file)
    try:
        path = path if path.exists() and not path.is_dir() else _named(file)
        with readable(path) as stream:
            return str(path), stream.read(MAX_BYTES + 1)
    except OSError as error:
        message, hint = f"cannot read {path}: {error.strerror}", "give the name of a file that you may read"
        raise InvalidInput(message, code="opening.unreadable", where=Where(file=str(path)), hint=hint) from error


def _named(name: str) -> Path:
    from runloop.runs.lookup import find_opening
    from runloop.runs.places import opening_dirs

    found = find_opening(name, opening_dirs(context.settings()))
    return Path(found.file or name)
