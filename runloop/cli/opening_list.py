"""`rlp opening list`: the openings that can be used by name."""

from __future__ import annotations

from typing import Any

from runloop.cli import context, output
from runloop.cli.options import JsonOption, TableOption
from runloop.errors import EXIT_OK


def list_openings(json: JsonOption = False, table: TableOption = False) -> int:
    """List the openings that can be used by name: what each is for, its parameters, and where it lies. What cannot be read is told."""
    from runloop.cli.requests import candidates, warn_unusable

    known, unusable = candidates(context.settings())
    rows = [
        (each.candidate.name, next(iter(each.opening.goals), None), ", ".join(each.opening.params) or None, each.found.file)
        for each in known
    ]
    data: list[dict[str, Any]] = [
        {
            "name": each.candidate.name,
            "goals": list(each.opening.goals),
            "examples": [example.text for example in each.opening.examples],
            "params": dict(each.opening.params),
            "file": each.found.file,
            "digest": each.opening.digest,
        }
        for each in known
    ]
    output.print_rows(("opening", "for", "params", "file"), rows, as_json=json, as_table=table, empty="no openings", data=data)
    warn_unusable(unusable)
    return EXIT_OK
