"""`rlp kb`: everything about the knowledge base, a module for each subject. A command imports its own."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

import typer

COMMANDS = {
    "import": "importing.app",
    "search": "searching.search",
    "embed": "embedding.embed",
    "query": "querying.query",
    "tables": "querying.tables",
    "why": "explaining.why",
    "remember": "facts.remember",
    "supersede": "facts.supersede",
    "forget": "facts.forget",
    "facts": "facts.facts",
    "show": "showing.show",
    "timeline": "showing.timeline",
    "rebuild": "mending.rebuild",
    "poison": "mending.poison",
    "verify": "maintaining.verify",
    "migrate": "maintaining.migrate",
    "vacuum": "maintaining.vacuum",
    "stats": "maintaining.stats",
    "backup": "moving.backup",
    "restore": "moving.restore",
    "prune": "pruning.prune",
    "export": "exporting.export",
}
"""Where each command, or family of commands, is defined."""


def app_of(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """`rlp kb` with these commands."""
    app = typer.Typer(
        add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Query, search, import into and verify the knowledge base."
    )
    for name in names:
        module, _, defined = COMMANDS[name].partition(".")
        found = getattr(import_module(f"{__name__}.{module}"), defined)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command(name)(found)
    return app
