"""A run at this terminal: its records as a live view or as NDJSON, signals, a reader that goes away, and how it ended."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from runloop.cli import context, masking, output
from runloop.errors import EXIT_DENIED, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, RunloopError, Where

if TYPE_CHECKING:
    from pathlib import Path

    from runloop.cli.person import TerminalPerson
    from runloop.cli.screen import Screen
    from runloop.client import RunResult as RemoteResult
    from runloop.openings import Opening
    from runloop.runs.results import RunResult

Line = Callable[[Mapping[str, Any]], str | None]
"""A record as a line, or None where it is not shown."""
_INTERRUPTED = "interrupted at the terminal"
_CANCELLING = (signal.SIGINT, signal.SIGTERM)
_NO_READER = "the output can no longer be written"
_DENIED = ("denied.", "policy.denied", "approval.", "http.link_local", "secrets.host_not_permitted")
"""How the codes of refusals begin."""


def text_line(record: Mapping[str, Any]) -> str | None:
    """A record for people: its number and what it says, of a run that failed with what to do; None where it says nothing to them."""
    if record["level"] == "debug":
        return None
    line = f"{record['seq']:>5}  {output.clean_line(record['message'])}"
    hint = (record["meta"].get("error") or {}).get("hint") if record["kind"] == "run.finished" else None
    return f"{line}\n       hint: {output.clean_line(hint)}" if hint else line


def text_of_many(record: Mapping[str, Any]) -> str | None:
    """As :func:`text_line`, where several runs are shown."""
    line = text_line(record)
    return None if line is None else f"{record['run_id'][:8]} {line}"


def run_shown(opening: Opening, *, as_json: bool, as_table: bool, trace_out: Path | None = None) -> RunShown:
    """A run's records as NDJSON; with a terminal a live view of its opening, and with ``--table`` elsewhere lines for people."""
    if output.wants_json(as_json=as_json, as_table=as_table):
        return RunShown(None, trace_out=trace_out)
    if output.is_terminal(sys.stdout):
        return RunShown(opening, trace_out=trace_out)
    return RunShown(None, line=text_line, trace_out=trace_out)


class RunShown:
    """Where the records of a run go: a live view of its ``opening``, else lines; and a trace file where one is wanted."""

    wants_outputs = False
    """Whether :meth:`end` is to get what the nodes gave."""

    def __init__(self, opening: Opening | None, *, line: Line = output.record_line, trace_out: Path | None = None) -> None:
        self.screen: Screen | None = None
        if opening is not None:
            from runloop.cli.screen import Screen

            self.screen = Screen(opening)
        self.printer = Printer(line)
        self._trace_out = trace_out
        self._records: list[Mapping[str, Any]] = []

    def take(self, record: Mapping[str, Any]) -> None:
        """Show one record, masked."""
        record = masking.masked(record)
        if self._trace_out is not None and record["event_id"] is not None:
            self._records.append(record)
        if self.screen is not None:
            self.screen.feed(record)
        else:
            self.printer.take(record)

    def say(self, note: str) -> None:
        """Tell the person why nothing happens; not where output is piped, and not with ``--quiet``."""
        if not output.shows_progress():
            return
        if self.screen is not None:
            self.screen.hide()
        print(f"note: {note}", file=sys.stderr, flush=True)
        if self.screen is not None:
            self.screen.show()

    def recall(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Let the view show what was recorded before."""
        for record in records:
            if self.screen is not None:
                self.screen.view.feed(masking.masked(record))

    @contextmanager
    def watching(self, cancel: Callable[[str], object]) -> Iterator[Interrupts]:
        """Draw, and let signals and a reader that goes away cancel the run; the end of a terminal ends this process and no run."""

        def stop(reason: str) -> None:
            cancel(reason)

        loop, interrupts = asyncio.get_running_loop(), Interrupts(partial(stop, _INTERRUPTED))
        self.printer.on_gone = partial(stop, _NO_READER)
        for number in _CANCELLING:
            loop.add_signal_handler(number, interrupts.take)
        try:
            if self.screen is not None:
                self.screen.start()
            yield interrupts
        finally:
            if self.screen is not None:
                self.screen.stop()
            for number in _CANCELLING:
                loop.remove_signal_handler(number)

    def person(self) -> TerminalPerson:
        """The person at this terminal."""
        from runloop.cli.person import TerminalPerson

        return TerminalPerson(*((self.screen.hide, self.screen.show) if self.screen else ()))

    def end(self, result: RunResult | RemoteResult) -> None:
        """Write the trace, say how it ended."""
        if self._trace_out is not None:
            from runloop.runs.trace import run_trace

            _write_trace(self._trace_out, run_trace(self._records))
        if self.screen is not None:
            _show_result(self.screen, result)


def exit_code(result: RunResult | RemoteResult, *, interrupted: bool) -> int:
    """The exit code of a run that ended so."""
    if result.status == "succeeded":
        return EXIT_OK
    if result.status == "cancelled" and interrupted:
        return EXIT_INTERRUPTED
    return EXIT_DENIED if result.code.startswith(_DENIED) else EXIT_FAILED


class Interrupts:
    """The first signal cancels the run and lets it record that; the third ends the process."""

    def __init__(self, cancel: Callable[[], None]) -> None:
        self.taken = 0
        self._cancel = cancel

    def take(self) -> None:
        """Take one signal."""
        self.taken += 1
        if self.taken == 1:
            self._cancel()
        elif self.taken > 2:
            raise KeyboardInterrupt


class Unshown(RunShown):
    """Shows nothing and holds the run's end: what counts is what it gave, and the steps are in `rlp show`."""

    wants_outputs = True
    result: RunResult | RemoteResult | None = None
    refused: Mapping[str, Any] | None = None
    """What kept the last model that was asked from answering, as the record has it: `code`, `message`, `hint`."""

    def take(self, record: Mapping[str, Any]) -> None:
        """Nothing is shown."""
        if record["kind"] == "effect.failed" and record["meta"]["name"].startswith("model."):
            self.refused = masking.masked(record)["meta"]["error"]

    def end(self, result: RunResult | RemoteResult) -> None:
        """Keep how it ended."""
        self.result = result


class Printer:
    """Prints each record as a line, at once. When that is no longer possible, nothing more is printed and the run is cancelled."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._on_gone: Callable[[], None] = lambda: None
        self._gone = False

    @property
    def on_gone(self) -> Callable[[], None]:
        """What is called, once, when nothing can be printed any more; at once if that has happened before it was set."""
        return self._on_gone

    @on_gone.setter
    def on_gone(self, call: Callable[[], None]) -> None:
        self._on_gone = call
        if self._gone:
            call()

    def take(self, record: Mapping[str, Any]) -> None:
        """Print one record."""
        line = None if self._gone else self._line(record)
        if line is None:
            return
        try:
            print(line, flush=True)
        except OSError as error:
            self._gone = True
            output.abandon_stdout()
            if not isinstance(error, BrokenPipeError):  # a reader that has enough needs no telling
                output.print_error(output.unwritable(error), as_json=context.current().json_errors)
            self.on_gone()


def show_compiling(progress: Any) -> None:
    """A line on stderr while a guest is compiled for the first time on this machine."""
    if not output.shows_progress():
        return
    if progress.done:
        output.write_over()
        return
    share = min(0.99, progress.elapsed_s / progress.expected_s) if progress.expected_s else 0.0
    filled = int(share * 24)
    bar = "█" * filled + "░" * (24 - filled)
    output.write_over(f"Preparing the Python guest (once per machine) {bar} {progress.elapsed_s:.0f} s")


def _show_result(screen: Screen, result: RunResult | RemoteResult) -> None:
    meta = masking.masked(result.record["meta"])
    for artifact in meta.get("artifacts") or ():
        output.print_line(f"saved {artifact['name']}: {artifact['path']}")
    for path in screen.made:
        output.print_line(f"made {path}")
    if result.status == "succeeded":
        shown = result.run_id[:8]
        output.print_line(
            f"run {result.run_id} succeeded; `rlp show {shown} --outputs` has what it gave, `rlp trace {shown}` every crossing"
        )
    else:
        error = meta.get("error") or {}
        code = error.get("code", "")
        shown = f" [{code}]" if code else ""
        output.print_line(f"run {result.run_id} {result.status}: {output.clean_line(masking.masked_text(result.reason))}{shown}")
        if hint := error.get("hint") or screen.view.hints.get(code):
            more = f"; `rlp show {result.run_id[:8]}` has the traceback" if code == "guest.exception" else ""
            output.print_line(f"  hint: {output.clean_line(masking.masked_text(hint))}{more}")


def _write_trace(path: Path, trace: Mapping[str, Any]) -> None:
    from runloop.cli.whole import for_oneself

    try:
        with open(path, "w", encoding="utf-8", opener=for_oneself) as file:
            file.write(output.to_json(trace) + "\n")
    except OSError as error:
        message = f"the run ended, but its trace cannot be written: {error.strerror}"
        raise RunloopError(
            message, code="run.trace_out", where=Where(file=str(path)), hint="`rlp trace` shows it from the ledger"
        ) from error
