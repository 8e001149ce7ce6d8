"""`rlp trace`: the ladder of a run's crossings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import masking, output
from runloop.cli.finding import elsewhere, finding, stored_records
from runloop.cli.masking import UnmaskedOption
from runloop.cli.options import JsonOption, MaxColsOption, MaxRowsOption, NoWrapOption, TableOption
from runloop.cli.times import clock_ms
from runloop.errors import InvalidInput, Where

if TYPE_CHECKING:
    from collections.abc import Sequence

app = typer.Typer(add_completion=False, help="Show the crossings of a run: who, to whom, what, size, time, cost.")
_COLUMNS = ("time", "from → to", "what", "size", "ms", "tokens", "usd", "note")
_LEAST = ("usd", "size", "tokens")
"""What a table leaves out where the terminal is so narrow that nobody could read who asks whom, the first first."""
_MOST_BYTES = 512 * 1024 * 1024
"""More is no trace: as much as an archive of `rlp export` may have."""
_NUMBERS = ("seq", "ts_ms", "bytes", "ms", "tokens", "usd")
_TEXTS = ("from", "to", "kind", "note")


@app.command()
def trace(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run's id, its first letters, `last`, or a file of `rlp export` or `--trace-out`.")
    ] = "last",
    *,
    relative: Annotated[bool, typer.Option("--relative", help="Show times since the run's first record.")] = False,
    control: Annotated[
        bool, typer.Option("--include-control", help="Also what happened to the run as a whole: submitted, paused, recovered, ….")
    ] = False,
    as_json: JsonOption = False,
    as_table: TableOption = False,
    max_cols: MaxColsOption = None,
    max_rows: MaxRowsOption = None,
    no_wrap: NoWrapOption = False,
    unmasked: UnmaskedOption = None,
) -> int:
    """Show every crossing of RUN in order. With --json: the whole trace, with nodes, hashes and ladder."""
    masking.unmask(unmasked, "trace", run)
    if _is_trace(run):
        found, origin = _from_file(Path(run)), "  (read from a file)"
        start = found["ladder"][0]["ts_ms"] if found["ladder"] else 0
    else:
        found, origin, start = _made(run, control=control)
    if output.wants_json(as_json=as_json, as_table=as_table):
        output.print_json(found)
        return 0
    rows = [
        (
            f"+{(hop['ts_ms'] - start) / 1000:.3f}s" if relative else clock_ms(hop["ts_ms"]),
            f"{hop['from']} → {hop['to']}",
            hop["kind"],
            size(hop["bytes"]),
            hop["ms"],
            hop["tokens"],
            None if hop["usd"] is None else f"{hop['usd']:.6f}",
            hop["note"],
        )
        for hop in found["ladder"]
    ]
    used = [position for position in range(len(_COLUMNS)) if any(row[position] not in {None, ""} for row in rows)]
    narrow = not no_wrap and max_cols is None
    shown, room = _wide_enough(rows, used, output.terminal_width()) if narrow else (used, None)
    if room is not None:
        rows = [(*row[:-1], output.fitted(row[-1], room)) for row in rows]
    output.print_line(f"run {found['run_id']} of {found['opening_name']}{origin}")
    output.print_rows(
        [_COLUMNS[position] for position in shown],
        [[row[position] for position in shown] for row in rows],
        as_table=True,
        style=output.TableStyle(max_cols=max_cols, max_rows=max_rows, fit=not no_wrap),
        empty="no ladder entries captured for this trace",
    )
    if left := [_COLUMNS[position] for position in used if position not in shown]:
        output.print_line(f"left out for want of room: {', '.join(left)}; --no-wrap shows all")
    return 0


def _made(run: str, *, control: bool) -> tuple[dict[str, Any], str, int]:
    """The trace of a recorded run, masked, where the run is from, and the time of its first record."""
    from runloop.runs.trace import NO_RUNG, run_trace

    with finding(run) as found:
        told = (each for each in stored_records(found) if control or each["kind"] not in NO_RUNG)
        records, origin = list(map(masking.masked, told)), elsewhere(found)
    return run_trace(records, control=control), origin, records[0]["ts_ms"]


def _is_trace(ref: str) -> bool:
    """Whether a reference names a trace that was written as JSON, and neither a run nor an archive."""
    return ref.endswith(".json") or ("/" in ref and _begins(Path(ref)) == b"{")


def _begins(path: Path) -> bytes:
    """The first byte of a file; of a pipe none is taken, for it could not be read again."""
    from runloop.links import regular

    try:
        with regular(path) as file:
            return file.read(1)
    except OSError:
        return b""


def _read(path: Path) -> dict[str, Any]:
    """A trace of `--trace-out` or `rlp trace --json`. Raises InvalidInput ``run.trace_file``."""
    from runloop.links import readable

    try:
        with readable(path) as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise _no_trace(path, error.strerror or str(error)) from None
    if len(data) > _MOST_BYTES:
        raise _no_trace(path, f"it is larger than {_MOST_BYTES >> 20} MiB")
    try:
        found = json.loads(data)
    except ValueError:
        raise _no_trace(path, "it is no JSON") from None
    rungs = found.get("ladder") if isinstance(found, dict) else None
    if not isinstance(rungs, list) or not {"run_id", "opening_name"} <= found.keys() or not all(map(_is_rung, rungs)):
        raise _no_trace(path, "it lacks what a trace has")
    return dict(found)


def _from_file(path: Path) -> dict[str, Any]:
    """The trace in a file, masked."""
    try:
        return dict(masking.masked(_read(path)))
    except RecursionError:  # of reading or of masking: which of them goes deeper depends on the Python
        raise _no_trace(path, "it is nested too deeply") from None


def _is_rung(value: Any) -> bool:
    if not isinstance(value, dict) or not {*_NUMBERS, *_TEXTS} <= value.keys() or value["ts_ms"] is None:
        return False
    numbers = all(value[key] is None or (isinstance(value[key], int | float) and abs(value[key]) < 1e15) for key in _NUMBERS)
    return numbers and all(isinstance(value[key], str) for key in _TEXTS)


def _no_trace(path: Path, what: str) -> InvalidInput:
    hint = "give what `rlp run --trace-out` or `rlp trace --json` wrote; an archive of `rlp export` ends in .rlz"
    return InvalidInput(f"no trace of a run can be read from {path}: {what}", code="run.trace_file", where=Where(file=str(path)), hint=hint)


def _wide_enough(rows: Sequence[Sequence[Any]], used: Sequence[int], width: int) -> tuple[list[int], int]:
    """The columns of ``used`` without the least important, as many as it takes for all but the note to be whole; the room of the note."""
    shown, least, note = list(used), list(_LEAST), len(_COLUMNS) - 1
    while True:
        cells = [[_COLUMNS[position], *("–" if row[position] is None else str(row[position]) for row in rows)] for position in shown]
        whole = sum(max(map(output.display_width, column)) for column, position in zip(cells, shown, strict=True) if position != note)
        room = width - whole - 3 * (len(shown) - 1)
        if room >= (output.MIN_COLUMN_WIDTH if note in shown else 0) or not least:
            return shown, max(room, output.MIN_COLUMN_WIDTH)
        shown = [position for position in shown if _COLUMNS[position] != least[0]]
        del least[0]


def size(count: int | None) -> str | None:
    """A byte count for people, None where there is none."""
    if count is None:
        return None
    return f"{count} B" if count < 1024 else f"{count / 1024:.1f} KiB" if count < 1 << 20 else f"{count / (1 << 20):.1f} MiB"
