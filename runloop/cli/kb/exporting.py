"""`rlp kb export` and `rlp kb import events`."""

from __future__ import annotations

import io
import sys
import time
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from runloop.cli import output
from runloop.cli.document import require_file, standard_output
from runloop.cli.kb.opened import open_kb
from runloop.cli.kb.places import files
from runloop.cli.kb.progress import progress
from runloop.cli.kb.signers import meet_signers
from runloop.cli.kb.signers import tell as tell_signer
from runloop.cli.masking import UnmaskedOption
from runloop.cli.options import JsonOption, TableOption
from runloop.errors import EXIT_OK, InvalidInput, Where

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from runloop.kb import KnowledgeBase


class Format(StrEnum):
    """What an export is written as."""

    JSONL = "jsonl"
    GRAPHML = "graphml"
    MARKDOWN = "markdown"


def export(
    *,
    form: Annotated[Format, typer.Option("--format", "-f", help="Events, the graph, or a page about one entity.")] = Format.JSONL,
    entity: Annotated[str | None, typer.Option("--entity", metavar="ENTITY", help="Only this one, as `rlp why` takes it.")] = None,
    since: Annotated[str | None, typer.Option("--since", metavar="TIME|N", help="Only events after event N, or since a time (2d).")] = None,
    into: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to FILE instead of standard output.")] = None,
    unmasked: UnmaskedOption = None,
    json: JsonOption = False,
) -> int:
    """Write the events as JSON Lines, the graph as GraphML, or an entity as Markdown; masked unless told otherwise.

    What can be imported elsewhere is written with --unmasked. With --json it is said what FILE holds.
    """
    require_file(into, as_json=json)
    if form is Format.MARKDOWN and entity is None:
        raise InvalidInput("a page is about one entity", code="cli.usage", hint="name it: rlp kb export --format markdown --entity ENTITY")
    if since is not None and form is not Format.JSONL:
        raise InvalidInput("--since is for events", code="cli.usage", hint="leave it out, or use --format jsonl")
    with open_kb(unmasked, "kb export", entity or form.value) as kb:
        mask = kb.redactor.value if unmasked is None else None
        key = None if entity is None else _key(kb, entity)
        with _output(into, form) as out:
            done = _events(kb, out, mask, key, _after(kb, since)) if form is Format.JSONL else _text(kb, out, form, mask, key)
    if json:
        output.print_json({"file": str(into), "format": form.value, "entity": key, **done, "masked": mask is not None})
    elif form is not Format.MARKDOWN:
        print(_said(done, masked=mask is not None, whole=key is None), file=sys.stderr)
    return EXIT_OK


def _said(done: Mapping[str, int], *, masked: bool, whole: bool) -> str:
    if "nodes" in done:
        return f"{done['nodes']:,} nodes, {done['edges']:,} edges"
    how = "masked, not for importing" if masked else "whole" if whole else "unmasked"
    return f"{done['events']:,} events and {done['blobs']:,} blobs, {done['bytes']:,} bytes, up to event {done['head_id']}; {how}"


def _key(kb: KnowledgeBase, entity: str) -> str:
    from runloop.kb.naming import only

    return only(entity, kb.find(entity, Path.cwd()), kb.redactor.text).key


def _after(kb: KnowledgeBase, since: str | None) -> int:
    """The event after which to begin: its number, or the last one before a time."""
    from runloop.cli.times import moment

    if since is None or since.isdecimal():
        return int(since or 0)
    return kb.event_at(int(moment(since, round(time.time() * 1000), "--since") or 0))


def _events(kb: KnowledgeBase, out: BinaryIO, mask: Callable[[Any], Any] | None, key: str | None, after: int) -> dict[str, int]:
    from runloop.kb.exporting.events import export_events

    only = None if key is None else [event.id for event in kb.why(key)]
    selected = None if key is None else str(kb.redactor.value(key))
    with progress() as tell:
        done = export_events(kb.ledger, out, mask=mask, after=after, only=only, selected=selected, progress=tell)
    return done.to_dict()


def _text(kb: KnowledgeBase, out: BinaryIO, form: Format, mask: Callable[[Any], Any] | None, key: str | None) -> dict[str, int]:
    from runloop.kb.exporting.graphml import write_graphml
    from runloop.kb.exporting.markdown import entity_page

    shown = mask or (lambda value: value)
    text = io.TextIOWrapper(out, encoding="utf-8", newline="\n", write_through=False)
    done: dict[str, int] = {}
    if form is Format.MARKDOWN:
        text.write(entity_page(kb, key or "", shown))
    else:
        with kb.reading() as db:
            done["nodes"], done["edges"] = write_graphml(db, text, shown, entity=key)
    text.flush()
    text.detach()
    return done


@contextmanager
def _output(into: Path | None, form: Format) -> Iterator[BinaryIO]:
    """Standard output, or a file that gets its name when it is whole and on disk; a pipe or a device is written into."""
    if into is None:
        with standard_output(of_json=form is Format.JSONL) as out:
            yield out
        return
    from runloop.kb.keeping.copying import whole_file
    from runloop.links import followed

    target = followed(into)
    if target.is_dir() or not target.parent.is_dir():
        why = "it is a directory" if target.is_dir() else f"there is no directory {target.parent}"
        raise _unwritable(into, why)
    if target.exists() and not target.is_file():
        try:
            with into.open("wb") as out:
                yield out
        except OSError as error:
            raise _unwritable(into, error.strerror or str(error)) from None
        return
    with whole_file(target) as out:
        yield out


def _unwritable(into: Path, why: str) -> InvalidInput:
    message = f"the export cannot be written to {into}: {why}"
    return InvalidInput(message, code="export.unwritable", where=Where(key="--output"), hint="name a file in a directory that is there")


def import_events(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `rlp kb export --unmasked REASON` wrote.")],
    *,
    json: JsonOption = False,
    table: TableOption = False,
) -> int:
    """Take in the events of an export: into an empty knowledge base, or the rest of the one that it continues. All of it or nothing.

    The daemon has to be down.
    """
    from runloop.kb.exporting.taking import take_export
    from runloop.links import readable

    at = files()
    try:
        source = readable(file)
    except OSError as error:
        hint = "name a file that can be read"
        raise InvalidInput(f"{error.strerror}", code="export.unreadable", where=Where(file=str(file)), hint=hint) from None
    with source, progress() as tell:
        done = take_export(source, str(file), at.ledger, at.derived, progress=tell)
    met = meet_signers(at.ledger)
    if output.wants_json(as_json=json, as_table=table):
        output.print_json({**done.to_dict(), "signer_met": met})
        return EXIT_OK
    output.print_line(f"ledger {done.ledger_id}: {done.events:,} events and {done.blobs:,} blobs taken, {done.known:,} events were here")
    if done.erased:
        output.print_line(f"{done.erased:,} events were erased there, and now here too")
    tell_signer(met)
    return EXIT_OK
