"""Everything `rlp` prints: JSON, tables, errors and warnings, with control characters made harmless.

A table is for a terminal and JSON for everything else, unless ``--json`` or ``--table`` says otherwise.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import re
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from runloop.dataclass import dataclass
from runloop.patterns import lazy
from runloop.text import ASCII
from runloop.text import broken as broken  # noqa: PLC0414 - the command line finds it here
from runloop.text import clean as clean  # noqa: PLC0414 - the command line finds it here
from runloop.text import clean_line as clean_line  # noqa: PLC0414 - the command line finds it here
from runloop.text import display_width as display_width  # noqa: PLC0414 - the command line finds it here
from runloop.text import fitted as fitted  # noqa: PLC0414 - the command line finds it here
from runloop.text import lookalikes as lookalikes  # noqa: PLC0414 - the command line finds it here

if TYPE_CHECKING:
    from runloop.errors import RunloopError

MIN_COLUMN_WIDTH = 8
FALLBACK_WIDTH = 80
_SEPARATOR = " | "
LACKING = "runloop.lacking"
"""The name of the way in which characters are written that the encoding of a stream lacks (:func:`prepare_streams`)."""
_BRANCH = lazy("([ │├└─]*)(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TableStyle:
    """How a table is cut: ``None`` is no limit on columns or rows; ``fit`` false lets rows be longer than the terminal."""

    max_cols: int | None = None
    max_rows: int | None = None
    fit: bool = True


class _Remarks(io.TextIOWrapper):
    """Standard error. What cannot be written there is lost (its reader is gone, its disk is full) and ends no work; ``lost`` says why."""

    lost: OSError | None = None

    def write(self, text: str, /) -> int:
        """Write, or lose it."""
        try:
            return super().write(text)
        except OSError as error:
            self._lose(error)
            return len(text)

    def flush(self) -> None:
        """Write what is buffered, or lose it."""
        try:
            super().flush()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        self.lost = error
        _to_nowhere(self.fileno())
        super().flush()


def unread() -> bool:
    """Whether something was for a reader of standard error who has closed it."""
    return isinstance(getattr(sys.stderr, "lost", None), BrokenPipeError)


def prepare_streams() -> None:
    """Let no character that the terminal's encoding lacks raise while printing or typing, and no closed stream be missed.

    A standard descriptor that was closed (``rlp … >&-``) leads nowhere from now on: otherwise the next file that is opened, the ledger
    perhaps, would get its number and with it whatever somebody prints there.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            try:
                os.fstat(number)
            except OSError:
                os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))
    if type(sys.stderr) is io.TextIOWrapper:
        sys.stderr = _Remarks(os.fdopen(2, "wb", closefd=False), encoding=sys.stderr.encoding, line_buffering=True)
    codecs.register_error(LACKING, _instead)
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, LACKING), (sys.stderr, LACKING)):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=errors)


def _instead(error: UnicodeError) -> tuple[str, int]:
    """What is written for characters that the encoding lacks: for our own signs others of their width, for the rest escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(chr(ASCII[ord(char)]) if ord(char) in ASCII else _escaped(char, "ascii") for char in lacking), error.end


def _escaped(text: str, encoding: str) -> str:
    return text.encode(encoding, "backslashreplace").decode(encoding)


def exact(text: str, stream: TextIO) -> str:
    """Text for a stream where nothing may stand for another sign: what its encoding lacks is an escape."""
    return _escaped(text, getattr(stream, "encoding", None) or "utf-8")


def stdout_error() -> OSError | None:
    """What keeps standard output from being written (a full disk), if anything; found out by trying, with an empty line."""
    try:
        print(flush=True)
    except OSError as error:
        return error
    return None


def unwritable(error: OSError) -> RunloopError:
    """Standard output cannot be written, as an error for people."""
    from runloop.errors import RunloopError

    return RunloopError(
        f"the output cannot be written: {error.strerror or error}",
        code="cli.output",
        hint="make room, or send the output somewhere else; of a run the ledger has all",
    )


def no_text(error: UnicodeEncodeError) -> RunloopError | None:
    """What was typed, or the name of a place, has bytes that are no text, as Python hands them on; None for anything else."""
    from runloop.errors import InvalidInput
    from runloop.text import legible

    if not "\udc80" <= error.object[error.start] <= "\udcff":
        return None
    hint = "set the terminal to UTF-8, or convert what you type (iconv -f LATIN1 -t UTF-8); rename what has such a name"
    return InvalidInput(f"{legible(error.object)[:80]!r} holds bytes that are no UTF-8", code="cli.not_text", hint=hint)


def abandon_stdout() -> None:
    """After output that nobody can take: send what is still buffered nowhere, so that the interpreter ends quietly."""
    try:
        target = sys.stdout.fileno()
    except (OSError, ValueError):
        return
    _to_nowhere(target)


def _to_nowhere(descriptor: int) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


def use_color(stream: TextIO) -> bool:
    """Whether colour may be written: a terminal, no NO_COLOR, not TERM=dumb."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def is_terminal(stream: TextIO) -> bool:
    """Whether a person reads the stream."""
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def heard(prompt: str) -> str:
    """What a person types after the prompt; the end of the input is an interrupt. What is shown next begins a line, however that ends."""
    text = ""
    try:
        print(clean_line(prompt), end="", file=sys.stderr, flush=True)
        text = sys.stdin.readline()
    finally:
        if not text:
            print(file=sys.stderr)
    if not text:
        raise KeyboardInterrupt
    return text.strip()


def agreed(question: str) -> bool:
    """Whether a person typed the whole word, for what cannot be taken back by the same way.

    Raises:
        InvalidInput: ``cli.needs_answer`` where nobody sits at a terminal.

    """
    from runloop.errors import InvalidInput

    if not is_terminal(sys.stdin):
        raise InvalidInput("nobody can be asked", code="cli.needs_answer", hint="look with --dry-run, then say --yes")
    return heard(f"{question} Type yes: ").lower() == "yes"


def shows_progress() -> bool:
    """Whether progress is drawn: a person reads stderr and did not ask for `--quiet`."""
    from runloop.cli import context

    return is_terminal(sys.stderr) and not context.current().quiet


def write_over(text: str = "") -> None:
    """A line of progress on stderr, in the place of the one before. What would wrap is cut: it would come again and again below itself."""
    width = terminal_width() - 1
    cut = fitted(text, width)
    line = f"\r{cut.ljust(width)}\r{cut}" if os.environ.get("TERM") == "dumb" else f"\r\x1b[K{cut}"
    print(line, end="", file=sys.stderr, flush=True)


def wants_json(*, as_json: bool, as_table: bool) -> bool:
    """The format to print: what was asked for, else a table on a terminal and JSON otherwise. Both asked for is a usage error."""
    if as_json and as_table:
        from runloop.errors import InvalidInput

        raise InvalidInput("--json and --table exclude each other", code="cli.usage", hint="Give one of them.")
    return as_json or (not as_table and not is_terminal(sys.stdout))


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    print(to_json(value))


def print_changed(answer: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what the daemon did with one run, or with how many."""
    if as_json:
        print_json(answer)
    elif "runs" in answer:
        print_line(f"{answer['runs']} {'run' if answer['runs'] == 1 else 'runs'}")
    else:
        print_line(f"run {answer['run_id']} {answer['state']}")


def to_json(value: Any, *, indent: int | None = 2) -> str:
    """JSON text whose control characters are escaped, and whatever the output's encoding lacks; other objects appear as their ``str``."""
    return harmless_json(json.dumps(value, indent=indent, ensure_ascii=not _writes_unicode(), default=str))


def harmless_json(text: str) -> str:
    """JSON text with the escapes of JSON for every character that could drive a terminal, or hide in it: the same value."""
    return clean(text, _json_escape)


def record_line(record: Mapping[str, Any]) -> str:
    """A run record as one line: the same bytes for the same record, live, over the bus or from the ledger."""
    return to_json({**record, "meta": _same_form(record["meta"])}, indent=None)


def _same_form(value: Any) -> Any:
    """As the ledger gives it back: keys in order, whole numbers without a fraction."""
    if isinstance(value, dict):
        return {key: _same_form(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [_same_form(each) for each in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def _writes_unicode() -> bool:
    return (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "").startswith("utf")


def _json_escape(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1] if match[0] != "\x7f" and not "\x80" <= match[0] <= "\x9f" else f"\\u{ord(match[0]):04x}"


def print_line(text: str = "") -> None:
    """Print text for people, made harmless."""
    print(clean(text))


def print_rows(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    as_json: bool = False,
    as_table: bool = False,
    style: TableStyle | None = None,
    empty: str = "",
    data: Any = None,
    optional: Collection[str] = (),
) -> None:
    """Print rows as a table or as JSON (``data``, or a list of objects by column); ``empty`` is said where a table has no rows.

    A table leaves ``optional`` columns out where no row has anything in them.
    """
    listed = [list(row) for row in rows]
    if wants_json(as_json=as_json, as_table=as_table):
        print_json(data if data is not None else [dict(zip(columns, row, strict=True)) for row in listed])
        return
    if not listed and empty:
        print(clean(empty))
        return
    used = [at for at, name in enumerate(columns) if name not in optional or any(row[at] is not None for row in listed)]
    shown = [[row[at] for at in used] for row in listed]
    for line in table_lines([columns[at] for at in used], shown, style or TableStyle(), terminal_width()):
        print(line)


def terminal_width() -> int:
    """Columns of the terminal, 80 where there is none."""
    from shutil import get_terminal_size

    return get_terminal_size((FALLBACK_WIDTH, 24)).columns


def table_lines(columns: Sequence[str], rows: Sequence[Sequence[Any]], style: TableStyle, width: int) -> list[str]:
    """A table as lines: header, rule, rows, and notes on what was cut. Numbers stand right, long cells end in ``…``.

    A column is wider than it needs to be, up to the least width, where there is room for it.
    Where not even columns of the least width fit beside each other, each row is a block of lines instead: column, value.
    """
    count = len(columns) if style.max_cols is None else max(1, min(style.max_cols, len(columns)))
    shown = rows if style.max_rows is None else rows[: style.max_rows]
    header = [clean_line(column) for column in columns[:count]]
    cells = [[_cell(value) for value in row[:count]] for row in shown]
    numeric = [bool(shown) and all(_is_number(row[index]) or row[index] is None for row in shown) for index in range(count)]
    needed = [max(display_width(row[index]) for row in [header, *cells]) for index in range(count)]
    widths = [max(MIN_COLUMN_WIDTH, size) for size in needed]
    if style.fit and sum(widths) > (available := width - len(_SEPARATOR) * (count - 1)):
        widths = _fit(needed, available)
    if style.fit and count > 1 and sum(widths) + len(_SEPARATOR) * (count - 1) > width:
        lines = _blocks(header, cells, width)
    else:
        lines = [_line(header, widths, [False] * count), "-+-".join("-" * size for size in widths)]
        lines += [_line(row, widths, numeric) for row in cells]
    if len(shown) < len(rows):
        hidden = len(rows) - len(shown)
        lines.append(f"… {hidden} more {'row' if hidden == 1 else 'rows'} (use --max-rows to adjust)")
    if count < len(columns):
        lines.append(f"columns truncated to first {count}; use --max-cols to adjust")
    return lines


def _blocks(header: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """A line for each cell with its column's name in front, a blank line between rows."""
    size = max(map(display_width, header))
    lines: list[str] = []
    for row in rows:
        lines += [""] if lines else []
        for name, cell in zip(header, row, strict=True):
            lines.append(f"{_pad(name, size, right=False)}  {fitted(cell, max(1, width - size - 2))}")
    return lines


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list, tuple)):
        return clean_line(json.dumps(value, ensure_ascii=False, default=str))
    return clean_line(str(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _fit(widths: list[int], available: int) -> list[int]:
    """Take from the widest columns until all fit; no column goes under the minimum, and the first, which names the row, gives way last."""
    fitted = list(widths)
    for first in (1, 0):
        while sum(fitted) > available and len(fitted) > first:
            widest = max(range(first, len(fitted)), key=fitted.__getitem__)
            if fitted[widest] <= MIN_COLUMN_WIDTH:
                break
            fitted[widest] -= 1
    return fitted


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    return _SEPARATOR.join(_pad(cell, size, right=at_right) for cell, size, at_right in zip(cells, widths, right, strict=True)).rstrip()


def wrapped(line: str, size: int) -> list[str]:
    """The line as lines of at most ``size`` columns, broken at blanks; what goes on stands under its branch of a tree, or indented."""
    branch, text = _BRANCH.fullmatch(line).groups()  # type: ignore[union-attr] # it matches every line
    under = branch.replace("├", "│").replace("└", " ").replace("─", " ") + "  "
    lines, here = [], branch
    for word in text.split(" "):
        if here not in {branch, under} and display_width(here) + 1 + display_width(word) > size:
            lines.append(here.rstrip())
            here = under
        here += word if here in {branch, under} else f" {word}"
    return [*lines, here.rstrip()]


def _pad(text: str, size: int, *, right: bool) -> str:
    text = fitted(text, size)
    space = " " * (size - display_width(text))
    return space + text if right else text + space


def print_error(error: RunloopError, *, as_json: bool = False) -> None:
    """Print an error on stderr: code and message, where, hint; as one JSON object when asked."""
    if as_json:
        print(to_json({"error": error.to_dict()}, indent=None), file=sys.stderr)
        return
    red, bold, plain = ("\x1b[31m", "\x1b[1m", "\x1b[0m") if use_color(sys.stderr) else ("", "", "")
    for each in (error, *getattr(error, "others", ())):
        print(f"{red}error[{clean_line(each.code)}]{plain}: {bold}{clean(each.message)}{plain}", file=sys.stderr)
        if place := str(each.where):
            print(f"  at {clean_line(place)}", file=sys.stderr)
        if each.hint:
            print("  hint: " + clean(each.hint).replace("\n", "\n        "), file=sys.stderr)


def print_warning(code: str, message: str) -> None:
    """Print a warning on stderr, one line: JSON where errors are."""
    from runloop.cli import context

    if context.current().json_errors:
        print(to_json({"warning": {"code": code, "message": message}}, indent=None), file=sys.stderr)
        return
    print(clean(f"warning[{code}]: {message}"), file=sys.stderr)
