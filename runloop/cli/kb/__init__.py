"""`rlp kb`: everything about the knowledge base, a module for each subject."""

from __future__ import annotations

import typer

from runloop.cli.kb import (
    embedding,
    explaining,
    exporting,
    facts,
    importing,
    maintaining,
    mending,
    moving,
    pruning,
    querying,
    searching,
    showing,
)

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Query, search, import into and verify the knowledge base."
)
app.add_typer(importing.app, name="import")
app.command()(searching.search)
app.command()(embedding.embed)
app.command()(querying.query)
app.command()(querying.tables)
app.command()(explaining.why)
app.command()(facts.remember)
app.command()(facts.supersede)
app.command()(facts.forget)
app.command()(facts.facts)
app.command()(showing.show)
app.command()(showing.timeline)
app.command()(mending.rebuild)
app.add_typer(mending.poison, name="poison")
app.command()(maintaining.verify)
app.command()(maintaining.migrate)
app.command()(maintaining.vacuum)
app.command()(maintaining.stats)
app.command()(moving.backup)
app.command()(moving.restore)
app.command()(pruning.prune)
app.command()(exporting.export)
importing.app.command("events")(exporting.import_events)
