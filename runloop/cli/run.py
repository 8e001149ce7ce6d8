"""`rlp run`: run an opening, with a live view on a terminal and NDJSON everywhere else."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import context, output
from runloop.errors import EXIT_DENIED, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, InvalidInput, RunloopError, Where

if TYPE_CHECKING:
    from runloop.cli.screen import Screen
    from runloop.config import Settings
    from runloop.openings import Opening
    from runloop.runs.run import RunResult

app = typer.Typer(add_completion=False, help="Run an opening and show what happens, node by node.")
_INTERRUPTED = "interrupted at the terminal"
_NO_READER = "the output can no longer be written"
_DENIED = ("denied.", "policy.denied", "approval.")


@app.command()
def run(
    opening: Annotated[str, typer.Argument(help="An opening's file or name.")],
    params: Annotated[str | None, typer.Option("--params", metavar="JSON", help="Parameters, as one JSON object.")] = None,
    param: Annotated[list[str] | None, typer.Option("--param", "-p", metavar="KEY=VALUE", help="One parameter; may be repeated.")] = None,
    *,
    local: Annotated[bool, typer.Option("--local", help="Run in this process (the only way in this version).")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run's records as NDJSON, also on a terminal.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Approve in advance what the opening allows to be approved in advance.")] = False,
    trace_out: Annotated[
        Path | None, typer.Option("--trace-out", metavar="FILE", help="Write the run's trace there when it ended.")
    ] = None,
    agents_dir: Annotated[Path | None, typer.Option("--agents-dir", metavar="DIR", help="Look for agents there first.")] = None,
    openings_dir: Annotated[Path | None, typer.Option("--openings-dir", metavar="DIR", help="Look for openings there first.")] = None,
) -> int:
    """Run OPENING to its end. Exit codes: 0 succeeded, 1 failed, 2 invalid input, 4 denied, 130 interrupted."""
    del local  # accepted so that scripts may say it; there is no daemon to prefer yet
    settings = _settings({"agents.search_dirs": agents_dir, "openings.search_dirs": openings_dir})
    chosen = _load(opening, settings, params, param or [])
    with_view = not as_json and output.is_terminal(sys.stdout)
    if trace_out is not None:
        _check_trace_out(trace_out)
    return asyncio.run(_run(chosen, settings, yes=yes, with_view=with_view, trace_out=trace_out))


def _settings(first: Mapping[str, Path | None]) -> Settings:
    """The settings in force, with directories that were asked for in front of the configured ones."""
    settings = context.settings()
    flags: dict[str, object] = {}
    for key, directory in first.items():
        if directory is not None:
            if not directory.is_dir():
                where = Where(file=str(directory))
                raise InvalidInput(f"there is no directory {directory}", code="run.directory", where=where, hint="give one that exists")
            flags[key] = json.dumps([str(each).replace("$", "$$") for each in (directory.resolve(), *settings.get(key)) if each.is_dir()])
    return context.settings(flags) if flags else settings


def _load(name: str, settings: Settings, params: str | None, pairs: list[str]) -> Opening:
    from runloop.openings import parse_opening
    from runloop.runs.lookup import find_opening
    from runloop.runs.places import opening_dirs

    found = find_opening(name, opening_dirs(settings))
    given = _params_object(params)
    if pairs:
        declared = parse_opening(found.source, file=found.file, params=given or None).params
        given.update(_pairs(pairs, declared, given))
    return parse_opening(found.source, file=found.file, params=given or None)


def _params_object(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        value = _json(text)
    except ValueError as error:
        where = Where(key="--params")
        raise InvalidInput(
            f"--params is not JSON: {error}", code="run.params", where=where, hint="""for example --params '{"topic": "Q4"}'"""
        ) from error
    if not isinstance(value, dict):
        hint = """for example --params '{"topic": "Q4"}'"""
        raise InvalidInput("params must be a JSON object", code="run.params", where=Where(key="--params"), hint=hint)
    return value


def _pairs(pairs: list[str], declared: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """``key=value`` options in the type of the parameter's default: text stays text, everything else is read as JSON."""
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        where = Where(key=f"-p {key}")
        if not equals or not key:
            raise InvalidInput(f"-p takes KEY=VALUE, not {pair!r}", code="run.params", where=where, hint="for example -p topic='Q4 plan'")
        if key in values or key in given:
            raise InvalidInput(f"the parameter {key!r} is given twice", code="run.params", where=where, hint="give it once")
        default = declared.get(key)
        if default is None or isinstance(default, str):
            values[key] = text
            continue
        try:
            values[key] = _json(text)
        except ValueError as error:
            wanted = f"{type(default).__name__} like its default {json.dumps(default)}"
            message = f"the parameter {key!r} is {wanted}, and {text[:80]!r} is not: {error}"
            raise InvalidInput(message, code="run.params", where=where, hint="write it as JSON") from error
    return values


def _json(text: str) -> Any:
    """``text`` as JSON, where no key stands twice; anything that is not is a ValueError."""
    try:
        return json.loads(text, object_pairs_hook=_each_key_once)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for key, item in pairs:
        if key in value:
            raise ValueError(f"the key {key!r} stands twice")
        value[key] = item
    return value


async def _run(opening: Opening, settings: Settings, *, yes: bool, with_view: bool, trace_out: Path | None) -> int:
    from runloop.cli.person import TerminalPerson
    from runloop.cli.screen import Screen
    from runloop.runs.compose import session
    from runloop.runs.manager import Submission

    screen = Screen(opening) if with_view else None
    person = TerminalPerson(*((screen.hide, screen.show) if screen else ()))
    printer = _Printer()
    records: list[Mapping[str, Any]] = []
    loop = asyncio.get_running_loop()

    def on_record(record: Mapping[str, Any]) -> None:
        if trace_out is not None and record["event_id"] is not None:
            records.append(record)
        if screen is not None:
            screen.feed(record)
        else:
            printer.take(record)

    async with session(settings, person, progress=_show_compiling) as opened:
        current = await opened.manager.submit(Submission(opening, yes=yes), (on_record,))
        interrupts = _Interrupts(lambda: current.cancel(_INTERRUPTED))
        printer.on_gone = lambda: current.cancel(_NO_READER)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, interrupts.take)
        try:
            if screen is not None:
                screen.start()
            result = await opened.manager.drive(current)
        finally:
            if screen is not None:
                screen.stop()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.remove_signal_handler(number)
        if trace_out is not None:
            from runloop.runs.trace import run_trace

            _write_trace(trace_out, run_trace(records))
        if screen is not None:
            _show_result(screen, result)
    return _exit_code(result, interrupted=interrupts.taken > 0)


class _Interrupts:
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


class _Printer:
    """Prints each record as a line of JSON, at once. When that is no longer possible, nothing more is printed and the run is cancelled."""

    def __init__(self) -> None:
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
        if self._gone:
            return
        try:
            print(output.to_json(record, indent=None), flush=True)
        except OSError as error:
            self._gone = True
            output.abandon_stdout()
            if not isinstance(error, BrokenPipeError):  # a reader that has enough needs no telling
                output.print_error(output.unwritable(error), as_json=context.current().json_errors)
            self.on_gone()


def _show_compiling(progress: Any) -> None:
    """A line on stderr while a guest is compiled for the first time on this machine."""
    if not output.is_terminal(sys.stderr):
        return
    if progress.done:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        return
    share = min(0.99, progress.elapsed_s / progress.expected_s) if progress.expected_s else 0.0
    filled = int(share * 24)
    bar = "█" * filled + "░" * (24 - filled)
    print(f"\rPreparing the Python guest (once per machine) {bar} {progress.elapsed_s:.0f} s", end="", file=sys.stderr, flush=True)


def _show_result(screen: Screen, result: RunResult) -> None:
    meta = result.record["meta"]
    for artifact in meta.get("artifacts") or ():
        output.print_line(f"saved {artifact['name']}: {artifact['path']}")
    for path in screen.made:
        output.print_line(f"made {path}")
    if result.status == "succeeded":
        output.print_line(f"run {result.run_id} succeeded; `rlp trace {result.run_id[:8]}` shows every crossing")
    else:
        output.print_line(f"run {result.run_id} {result.status}: {output.clean_line(result.reason)}")


def _exit_code(result: RunResult, *, interrupted: bool) -> int:
    if result.status == "succeeded":
        return EXIT_OK
    if result.status == "cancelled" and interrupted:
        return EXIT_INTERRUPTED
    return EXIT_DENIED if result.code.startswith(_DENIED) else EXIT_FAILED


def _check_trace_out(path: Path) -> None:
    """Refuse before the run what can be seen before it."""
    if path.is_dir():
        raise InvalidInput(f"{path} is a directory", code="run.trace_out", where=Where(file=str(path)), hint="name the file to write")
    if not path.parent.is_dir():
        raise InvalidInput(
            f"there is no directory {path.parent}", code="run.trace_out", where=Where(file=str(path)), hint="create it first"
        )


def _write_trace(path: Path, trace: Mapping[str, Any]) -> None:
    try:
        path.write_text(output.to_json(trace) + "\n", encoding="utf-8")
    except OSError as error:
        message = f"the run ended, but its trace cannot be written: {error.strerror}"
        raise RunloopError(
            message, code="run.trace_out", where=Where(file=str(path)), hint="`rlp trace` shows it from the ledger"
        ) from error
