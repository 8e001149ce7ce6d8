"""The derived tables beside a fresh rebuild: the first difference, table by table, and the search index word by word."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from runloop.kb import materialise, views
from runloop.kb.database import connect, translated
from runloop.kb.keeping.chain import Broken
from runloop.kb.rebuilding import built
from runloop.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import apsw

    from runloop.kb.ledger import Ledger

_SHOWN = 120  # characters of a value in a message
_GIVEN_OUT = {"documents": ("id",)}
"""Columns whose values only have to be distinct: the numbers under which the search index knows its documents."""


def differences(path: Path, ledger: Ledger, tick: Callable[[int, int], None]) -> Iterator[Broken]:
    """What of the derived file differs from a rebuild up to the same event, in a file of its own that is gone afterwards."""
    live = connect(path, readonly=True)
    try:
        live.execute("BEGIN")
        upto = materialise.watermark(live)
        with (
            translated(path.parent),
            scratch(path.parent) as folder,
            built(folder / path.name, ledger, until=upto, tick=lambda done: tick(done, upto)) as (fresh, _),
        ):
            yield from _file(live)
            for table in views.table_names():
                yield from _table(fresh, live, table)
            yield from _words(fresh, live)
    finally:
        live.close()


def _file(live: apsw.Connection) -> Iterator[Broken]:
    """SQLite's own check, which also asks the search index for its integrity."""
    for (said,) in live.execute("PRAGMA integrity_check(1)"):
        if said != "ok":
            yield Broken(0, "the file of the derived tables", "whole", str(said))


def _table(fresh: apsw.Connection, live: apsw.Connection, table: str) -> Iterator[Broken]:
    info = fresh.execute(f"PRAGMA table_info({table})").fetchall()
    leave = _GIVEN_OUT.get(table, ())
    columns = [str(column[1]) for column in info if column[1] not in leave]
    keys = [str(name) for _, name in sorted((column[5], column[1]) for column in info if column[5]) if name not in leave] or columns
    columns = [*keys, *(name for name in columns if name not in keys)]
    sql = f"SELECT {', '.join(columns)} FROM {table} ORDER BY {', '.join(keys)}"  # noqa: S608 - names of our own tables
    for key, expected, actual in unequal_rows(fresh.execute(sql), live.execute(sql), len(keys)):
        place = ", ".join(f"{name} {_short(value)}" for name, value in zip(keys[:3], key, strict=False))
        yield Broken(0, f"table {table} at {place}", *_told(columns, expected, actual))


def _words(fresh: apsw.Connection, live: apsw.Connection) -> Iterator[Broken]:
    for db in (fresh, live):
        db.execute("CREATE VIRTUAL TABLE temp.words USING fts5vocab(main, search, row)")
    sql = "SELECT term, doc, cnt FROM words ORDER BY term"
    for key, expected, actual in unequal_rows(fresh.execute(sql), live.execute(sql), 1):
        told = _told(("word", "documents", "uses"), expected, actual)
        yield Broken(0, f"the search index at the word {_short(key[0])}", *told)


def unequal_rows(expected: Iterator[Any], actual: Iterator[Any], keys: int) -> Iterator[tuple[Any, Any, Any]]:
    """The first pair of rows that differs, with its key (the first ``keys`` columns, by which both are ordered); None for no row."""
    for one, two in zip_longest(expected, actual):
        if one != two:
            if two is None or (one is not None and one[:keys] < two[:keys]):
                yield one[:keys], one, None
            elif one is None or two[:keys] < one[:keys]:
                yield two[:keys], None, two
            else:
                yield one[:keys], one, two
            return


def _told(columns: Sequence[str], expected: Any, actual: Any) -> tuple[str, str]:
    """The first column in which two rows differ, or which of them is not there."""
    if expected is None or actual is None:
        return ("no row", "a row") if expected is None else ("a row", "no row")
    name, one, two = next(each for each in zip(columns, expected, actual, strict=True) if each[1] != each[2])
    return f"{name} {_short(one)}", f"{name} {_short(two)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
