"""`agtop`: the monitor with what only the command line has: settings, the knowledge base, masks."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from runloop import __version__
from runloop.cli import context, output
from runloop.dataclass import dataclass
from runloop.errors import EXIT_INTERRUPTED, EXIT_OK, InvalidInput, RunloopError, Where

if TYPE_CHECKING:
    from collections.abc import Mapping
    from io import BufferedIOBase

    from runloop.config import Settings
    from runloop.tui.ports import Feed, Hit

EXAMPLES: Final = (
    "agtop",
    "agtop --run 3f2a91c0",
    "rlp attach last --watch --json | agtop --input -",
    "agtop --at 2h",
    "agtop --plain",
    "agtop --web",
)
_EPILOG: Final = (
    "Without --input and --at it follows the daemon. ? shows the keys; docs/agtop.md has the rest.\n\nexamples: "
    + "\n          ".join(EXAMPLES)
)
_PAST_RUNS: Final = 500
_HITS: Final = 50
_WHY_DEPTH: Final = 8


def main(argv: Sequence[str] | None = None) -> int:
    """Run `agtop`; return the exit code."""
    output.prepare_streams()
    options = _parser().parse_args(argv)
    context.begin()
    try:
        return _run(options)
    except RunloopError as error:
        output.print_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "agtop", description="See what runs, and decide what would leave.", epilog=_EPILOG, formatter_class=argparse.RawTextHelpFormatter
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--connect", action="store_true", help="follow the daemon (this is what it does anyway)")
    source.add_argument("-i", "--input", metavar="FILE", help="show run records (NDJSON) of a file, - for standard input")
    source.add_argument("--at", metavar="TIME|SEQ", help="show the runs as they were: 2d, 09:30, a date, or an event's number")
    parser.add_argument("--run", "--trace-id", metavar="RUN", help="begin with this run: its id, or the beginning of it")
    parser.add_argument("--socket", metavar="PATH", help="the daemon's socket")
    parser.add_argument("--theme", metavar="NAME", help="mono, dark, light or contrast, instead of ui.theme")
    parser.add_argument("--ascii", action="store_true", help="draw with ASCII characters only")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--plain", action="store_true", help="lines of text and commands, for screen readers and pipes")
    shown.add_argument("--web", action="store_true", help="the same in a browser on this machine, behind a token")
    parser.add_argument("--port", type=int, default=0, metavar="N", help="port for --web (default: a free one)")
    parser.add_argument("-V", "--version", action="version", version=f"agtop {__version__}")
    return parser


def _run(options: argparse.Namespace) -> int:
    flags: dict[str, object] = {}
    if options.socket is not None:
        flags["runtime.socket_path"] = str(Path(options.socket).absolute())
    if options.theme is not None:
        flags["ui.theme"] = options.theme
    settings = context.settings(flags)
    desk = KnowledgeDesk()
    again = _again(options) if options.web else None
    feed = _feed(options, settings, desk)  # what is wrong with it is said here, not to a browser
    if again is not None:
        from runloop.tui.web import serve

        serve(again, options.port)
        return EXIT_OK
    if options.plain:
        from runloop.tui.plain import follow

        return follow(feed, desk, sys.stdin.buffer if options.input != "-" else None, run=options.run)
    return _screen(options, settings, feed, desk)


def _screen(options: argparse.Namespace, settings: Settings, feed: Feed, desk: KnowledgeDesk) -> int:
    streams = {"input": sys.stdin, "output": sys.stdout, "error": sys.stderr}  # it is painted on standard error
    other = next((name for name, stream in streams.items() if not output.is_terminal(stream)), None)
    if other is not None and "TEXTUAL_DRIVER" not in os.environ:
        message = f"the screen needs a terminal, and standard {other} is none"
        raise InvalidInput(message, code="tui.no_terminal", hint="use --plain where there is none")
    if os.environ.get("TERM") == "dumb" and "TEXTUAL_DRIVER" not in os.environ:
        message = "the screen needs a terminal with a cursor that can be moved, and by TERM=dumb this is none"
        raise InvalidInput(message, code="tui.no_terminal", hint="use --plain, or set TERM to what the terminal is")
    from runloop.tui.app import Agtop

    encoding = sys.stdout.encoding or "ascii"
    ascii_only = options.ascii or not encoding.lower().startswith("utf")
    app = Agtop(feed, desk, theme=settings.get("ui.theme"), ascii_only=ascii_only, encoding=encoding, run=options.run)
    error = app.run()
    if error is not None:
        raise error
    return app.return_code or EXIT_OK


def _again(options: argparse.Namespace) -> list[str]:
    """The command that shows the same in a browser's terminal."""
    command = [sys.executable, "-P", "-m", "runloop.cli.agtop"]
    for name in ("input", "at", "run", "socket", "theme"):
        value = getattr(options, name)
        if name == "input" and value == "-":
            raise InvalidInput("--web cannot show a pipe", code="cli.usage", where=Where(key="--input"), hint="write it to a file first")
        if value is not None:
            command += [f"--{name}", value]
    return [*command, "--ascii"] if options.ascii else command


# ── where records come from ──────────────────────────────────────────────────────────────────────────────────────────────


def _feed(options: argparse.Namespace, settings: Settings, desk: KnowledgeDesk) -> Feed:
    if options.input is not None:
        from runloop.tui.recorded import StreamFeed

        name = "standard input" if options.input == "-" else options.input
        return StreamFeed(_stream(options.input), name, desk.mask)
    if options.at is not None:
        return _past(options.at, desk)
    from runloop.client import Client
    from runloop.tui.live import LiveFeed

    return LiveFeed(lambda: Client(settings=settings, name="agtop", reconnect_s=0), desk.mask)


def _stream(name: str) -> BufferedIOBase:
    """The records; where they come on standard input, the keys come from the terminal."""
    if name != "-":
        try:
            return Path(name).open("rb")
        except OSError as error:
            hint = "give a file that can be read, or - for standard input"
            raise InvalidInput(f"it cannot be read: {error.strerror}", code="tui.input", where=Where(file=name), hint=hint) from None
    stream = os.fdopen(os.dup(0), "rb")
    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
    except OSError:
        return stream
    os.dup2(terminal, 0)
    os.close(terminal)
    return stream


def _past(at: str, desk: KnowledgeDesk) -> Feed:
    from runloop.cli.kb.past import event_of
    from runloop.cli.ledger import reading_base
    from runloop.cli.times import date_clock
    from runloop.events import record_of
    from runloop.events.runrecord import is_run_record
    from runloop.kb.runs import RunFilter
    from runloop.tui.live import MOST_OPEN, OPEN
    from runloop.tui.recorded import PastFeed

    with reading_base() as kb:
        last = event_of(kb, at)
        at_ms = kb.ledger.read(last - 1, 1)[0].ts_ms
        with kb.at(last) as past:
            newest = past.runs(RunFilter(limit=_PAST_RUNS))
            older = len(newest) == _PAST_RUNS
            still = [row for state in OPEN for row in past.runs(RunFilter(state=state, limit=MOST_OPEN))] if older else []
            rows = desk.mask(list({row["run_id"]: row for row in (*still, *newest)}.values()))

    def history(run_id: str) -> Iterable[Mapping[str, Any]]:
        with reading_base() as kb:
            for event in kb.run_events(run_id):
                if event.id <= last and is_run_record(event):
                    yield desk.mask(record_of(event))

    return PastFeed(rows, history, at_ms, f"as it was at {date_clock(at_ms)}, event {last}", older=older)


@dataclass(slots=True)
class KnowledgeDesk:
    """The knowledge base of these settings, opened for each question."""

    def mask(self, value: Any) -> Any:
        """As `rlp` prints it."""
        from runloop.cli import masking

        return masking.masked(value)

    def search(self, words: str) -> Sequence[Hit]:
        """As `rlp search` finds it, by words."""
        from runloop.cli.kb.opened import open_kb
        from runloop.cli.ledger import has_ledger
        from runloop.cli.times import day
        from runloop.kb.search import Request
        from runloop.tui.ports import Hit

        if not has_ledger():
            return []
        with open_kb() as kb:
            found = kb.search_for(Request(words, limit=_HITS).checked(), meaning=None)
        return [
            Hit(f"event:{hit.event_id}", hit.domain, hit.title, _line_of(hit.excerpt), "" if hit.ts_ms is None else day(hit.ts_ms))
            for hit in found.hits
        ]

    def why(self, key: str) -> Sequence[str]:
        """As `rlp why` tells it."""
        from runloop.cli.kb import drawing
        from runloop.cli.kb.explaining import named
        from runloop.cli.kb.opened import open_kb
        from runloop.runs.telling import RunTelling

        with open_kb() as kb:
            said = kb.explain(named(kb, key).key, RunTelling(kb))
        first, *rest = drawing.tree(said, _WHY_DEPTH, whole=False)
        return [first, *(f"  {line}" for line in drawing.summary_lines(said)), *rest]


def _line_of(excerpt: str) -> str:
    return " ".join(excerpt.split())


if __name__ == "__main__":
    raise SystemExit(main())
