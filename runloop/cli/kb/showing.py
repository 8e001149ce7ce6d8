"""`rlp kb show` and `rlp kb timeline`: one entity, and what happened."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import output
from runloop.cli.kb.drawing import short_path
from runloop.cli.kb.explaining import EntityArgument, named
from runloop.cli.kb.past import AtOption, opened_at
from runloop.cli.ledger import has_ledger
from runloop.cli.masking import UnmaskedOption
from runloop.cli.options import JsonOption, NoWrapOption, TableOption
from runloop.cli.times import date_clock, moment
from runloop.errors import EXIT_OK, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from runloop.kb.timeline import Entry

_TIMES = frozenset({"ts_ms", "submitted_ms", "started_ms", "finished_ms", "requested_ms", "decided_ms", "sent_ms", "said_ms"})


def show(
    entity: EntityArgument,
    *,
    at: AtOption = None,
    json: JsonOption = False,
    table: TableOption = False,
    no_wrap: NoWrapOption = False,
    unmasked: UnmaskedOption = None,
) -> int:
    """Show ENTITY: what is known of it, what it is related to, and what happened to it last.

    Examples: `rlp kb show maria@acme.example`, `rlp kb show notes/plan.md:12 --at 2026-11-01`.
    """
    with opened_at(at, unmasked, "kb show", entity) as kb:
        key = named(kb, entity).key
        found = kb.entity(key)
    if found is None:
        raise InvalidInput(f"{key} is in no table", code="kb.no_entity", hint=f"`rlp why {key}` shows the event itself")
    if output.wants_json(as_json=json, as_table=table):
        output.print_json(found)
        return EXIT_OK
    _print(_lines(found), no_wrap=no_wrap)
    return EXIT_OK


def timeline(
    entity: Annotated[str | None, typer.Argument(metavar="[ENTITY]", help="As for `rlp why`; without it, everything.")] = None,
    *,
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="Not older than (2d, 15m, 09:30, a date).")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Older than.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="Show the newest N.")] = 200,
    everything: Annotated[bool, typer.Option("--all", help="Every record of runs, too.")] = False,
    json: JsonOption = False,
    table: TableOption = False,
    no_wrap: NoWrapOption = False,
) -> int:
    """Show what happened to ENTITY, or in the whole base, newest last: when, what, who, and the file or run it comes from.

    Examples: `rlp kb timeline --since 1d`, `rlp kb timeline "Maria Lee"`, `rlp kb timeline last --all`.
    """
    from runloop.kb.timeline import Span

    now = time.time_ns() // 1_000_000
    span = Span(moment(since, now, "--since"), moment(until, now, "--until"), limit=limit, detail=everything)
    found: Sequence[Entry] = ()
    more = False
    if entity is not None or has_ledger():
        with opened_at(None) as kb:
            found, more = kb.timeline(None if entity is None else named(kb, entity).key, span)
    if output.wants_json(as_json=json, as_table=table):
        output.print_json([entry.to_dict() for entry in found])
        return EXIT_OK
    _print((_line(entry) for entry in found), no_wrap=no_wrap)
    if not found:
        output.print_line("nothing happened")
    if more:
        output.print_warning("kb.truncated", f"only the newest {limit}; --limit shows more, --since and --until others")
    return EXIT_OK


def _line(entry: Entry) -> str:
    source = f", {short_path(entry.source)}" if entry.source else ""
    return f"{date_clock(entry.ts_ms)}  {entry.what}  ({entry.who}{source})  event:{entry.event_id}"


def _print(lines: Iterable[str], *, no_wrap: bool) -> None:
    width = output.terminal_width()
    for line in lines:
        text = output.clean_line(line)
        for each in [text] if no_wrap else output.wrapped(text, width):
            output.print_line(each)


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"{found['kind']} {found['title'] or found['key']}"
    yield f"  key  {found['key']}"
    if found["ended_event"] is not None:
        yield f"  it is no more, since event:{found['ended_event']}"
    for name, value in found["properties"].items():
        if value not in ("", []):
            shown = date_clock(value) if name in _TIMES else value if isinstance(value, str) else output.to_json(value, indent=None)
            yield f"  {name}  {_short(shown)}"
    if found["relations"]:
        yield "related to"
    for each in found["relations"]:
        arrow = f"{each['relation']} →" if each["direction"] == "to" else f"← {each['relation']}"
        yield f"  {arrow} {each['label'] or ''}  {each['key']}  event:{each['source_event']}"
    if found["more_relations"]:
        yield f"  … {found['more_relations']} more (`rlp kb query` on edges has them all)"
    if found["history"]:
        yield "what happened"
    for each in found["history"]:
        yield f"  {date_clock(each['ts_ms'])}  {each['what']}  ({each['who']})  event:{each['event_id']}"


def _short(text: str) -> str:
    return text.replace("\n", "⏎ ") if len(text) <= 400 else text[:400].replace("\n", "⏎ ") + "…"
