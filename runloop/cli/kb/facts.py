"""`rlp kb remember`, `supersede`, `forget` and `facts`: what a person says, kept as facts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import output
from runloop.cli.kb.opened import open_kb
from runloop.cli.kb.past import AtOption, opened_at
from runloop.cli.ledger import has_ledger
from runloop.cli.masking import UnmaskedOption
from runloop.cli.options import JsonOption, LinesOption, MaxColsOption, MaxRowsOption, NoWrapOption, TableOption
from runloop.errors import EXIT_OK, InvalidInput
from runloop.text import date_clock

if TYPE_CHECKING:
    import apsw

    from runloop.kb import KnowledgeBase
    from runloop.kb.facts import Fact

SourceOption = Annotated[list[str] | None, typer.Option("--source", metavar="event:N|FILE:LINE", help="Where it stands; may be repeated.")]
KeyOption = Annotated[str | None, typer.Option("--key", help="A repeat under the same key adds nothing.")]
FactArgument = Annotated[str, typer.Argument(metavar="FACT", help="fact:N, as `rlp kb facts` shows it.")]
_COLUMNS = ("fact", "subject", "predicate", "value", "said by", "time", "source")


def remember(
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="What it is about: a key, an e-mail address, or words.")],
    predicate: Annotated[str, typer.Argument(metavar="PREDICATE", help="What is said of it, such as birthday or prefers.")],
    value: Annotated[str, typer.Argument(metavar="VALUE")],
    *,
    source: SourceOption = None,
    key: KeyOption = None,
    json: JsonOption = False,
    table: LinesOption = False,
) -> int:
    """Remember a fact. Only you and what you allow say facts: nothing is made out of your texts."""
    return _propose(
        "fact.remembered",
        {"subject": subject, "predicate": predicate, "value": value},
        source,
        key,
        as_json=output.wants_json(as_json=json, as_table=table),
    )


def supersede(
    fact: FactArgument,
    value: Annotated[str, typer.Argument(metavar="VALUE")],
    *,
    source: SourceOption = None,
    key: KeyOption = None,
    json: JsonOption = False,
    table: LinesOption = False,
) -> int:
    """Give a fact another value; the old one stays in the record."""
    from runloop.kb.facts import parse_fact

    return _propose(
        "fact.superseded", {"fact": parse_fact(fact), "value": value}, source, key, as_json=output.wants_json(as_json=json, as_table=table)
    )


def forget(
    fact: FactArgument,
    *,
    erase: Annotated[bool, typer.Option("--erase", help="Erase what it said from the files for good; that it was there stays.")] = False,
    reason: Annotated[str | None, typer.Option("--reason", help="Why, for the record.")] = None,
    json: JsonOption = False,
    table: LinesOption = False,
) -> int:
    """Hold a fact to be true no more: it leaves the search, and with --erase the files."""
    from runloop.kb.facts import get, left_of, parse_fact

    number = parse_fact(fact)
    as_json = output.wants_json(as_json=json, as_table=table)
    with open_kb() as kb:
        with kb.reading() as db:
            known, left = get(db, number), left_of(db, number)
        event_id = None
        if known.status == "current" or not erase:
            event_id = _append(kb, "fact.forgotten", {"fact": number, **({"reason": reason} if reason else {})})
        erased = kb.erase([left], reason=reason) if erase else None
    answer = {"fact": known.key, "event_id": event_id, "erasure": None if erased is None else erased.to_dict()}
    if as_json:
        output.print_json(answer)
        return EXIT_OK
    output.print_line(f"forgotten: {known.key}" + (f" (event:{event_id})" if event_id else ""))
    if erased is not None:
        output.print_line(f"erased: event:{number}, by event:{erased.event_id}")
        for remark in erased.remarks:
            output.print_warning("kb.erased_in_part", remark)
    return EXIT_OK


def facts(
    subject: Annotated[
        str | None,
        typer.Argument(metavar="[SUBJECT]", help="Only what is about this: a key, an e-mail address, words, or a name as for `rlp why`."),
    ] = None,
    *,
    ended: Annotated[bool, typer.Option("--all", "-a", help="Also what was superseded or forgotten.")] = False,
    json: JsonOption = False,
    table: TableOption = False,
    max_cols: MaxColsOption = None,
    max_rows: MaxRowsOption = None,
    no_wrap: NoWrapOption = False,
    at: AtOption = None,
    unmasked: UnmaskedOption = None,
) -> int:
    """List the facts that hold, oldest first, with who said them."""
    data: list[dict[str, Any]] = []
    if at is not None or has_ledger():
        with opened_at(at, unmasked, "kb facts", subject or "all") as kb:
            data = [kb.redactor.value(each.to_dict()) for each in _selected(kb, subject, ended=ended)]
    columns = (*_COLUMNS, "status") if ended else _COLUMNS
    rows = [(*_row(each), each["status"])[: len(columns)] for each in data]
    style = output.TableStyle(max_cols, max_rows, fit=not no_wrap)
    output.print_rows(columns, rows, as_json=json, as_table=table, style=style, empty="no facts", data=data)
    return EXIT_OK


def _selected(kb: KnowledgeBase, subject: str | None, *, ended: bool) -> list[Fact]:
    """The facts under the very words, and those of whoever is called so."""
    from runloop.kb.facts import select

    meant = [] if subject is None else kb.find(subject, Path.cwd())
    with kb.reading() as db:
        found = {each.id: each for each in select(db, subject, ended=ended)}
        if len(meant) == 1 and not (found and _only_alike(db, subject)):
            found |= {each.id: each for each in select(db, meant[0].key, ended=ended)}
    return [found[number] for number in sorted(found)]


def _only_alike(db: apsw.Connection, subject: str | None) -> bool:
    """Whether the words are a name of nobody, and only close to one: then facts under the very words are what is meant."""
    from runloop.kb.people import find_people

    return any(person.match == "fuzzy" for person in find_people(db, subject or "", 1))


def _row(fact: dict[str, Any]) -> tuple[Any, ...]:
    when = date_clock(fact["said_ms"])[:-3]
    sources = ", ".join(f"event:{span['event_id']}" + (f" line {span['line']}" if "line" in span else "") for span in fact["spans"])
    return fact["fact"], fact["subject"], fact["predicate"], fact["value"], fact["said_by"], when, sources or None


def _propose(kind: str, payload: dict[str, Any], sources: list[str] | None, key: str | None, *, as_json: bool) -> int:
    with open_kb(make=kind == "fact.remembered") as kb:
        spans, evidence = _sources(kb, sources or [])
        event_id = _append(kb, kind, {**payload, **({"spans": spans} if spans else {})}, evidence, key)
        others = _also_said(kb, event_id)
    if others:
        message = f"another value holds as well ({', '.join(others)}); `rlp kb supersede {others[0]} VALUE` replaces it"
        output.print_warning("kb.fact_also", message)
    if as_json:
        output.print_json({"fact": f"fact:{event_id}", "event_id": event_id})
    else:
        output.print_line(f"remembered: fact:{event_id}")
    return EXIT_OK


def _also_said(kb: KnowledgeBase, number: int) -> list[str]:
    """The facts that hold of the same subject and predicate, and have another value."""
    from runloop.kb.derived import fold
    from runloop.kb.facts import select

    with kb.reading() as db:
        held = select(db)
        mine = next((each for each in held if each.id == number), None)
        about = [] if mine is None else select(db, mine.subject)
    said = (each for each in about if mine is not None and fold(each.predicate) == fold(mine.predicate))
    return [each.key for each in said if mine is not None and fold(each.value) != fold(mine.value)]


def _append(kb: KnowledgeBase, kind: str, payload: dict[str, Any], evidence: tuple[int, ...] = (), key: str | None = None) -> int:
    from runloop.kb.proposing import StateDelta

    return kb.propose(StateDelta(kind, payload, "user", evidence=evidence, key=key)).id


def _sources(kb: KnowledgeBase, sources: list[str]) -> tuple[list[dict[str, Any]], tuple[int, ...]]:
    """Spans of lines of imported files, and events named as a whole."""
    from runloop.events.ids import parse_event_id
    from runloop.kb.facts import passage

    spans, evidence = [], []
    for source in sources:
        file, colon, line = source.rpartition(":")
        if source.startswith("event:"):
            evidence.append(parse_event_id(source))
        elif colon and line.isascii() and line.isdigit() and 0 < int(line) < 2**31:
            with kb.reading() as db:
                spans.append(passage(db, file, int(line)))
        else:
            raise InvalidInput(f"{source!r} is not a source", code="cli.usage", hint="write event:12, or FILE:LINE of an imported note")
    return spans, tuple(evidence)
