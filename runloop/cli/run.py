"""`rlp run`: run an opening, with a live view on a terminal and NDJSON everywhere else."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import context, output
from runloop.errors import EXIT_DENIED, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, InvalidInput, RunloopError, Where

if TYPE_CHECKING:
    from runloop.cli.person import TerminalPerson
    from runloop.cli.screen import Screen
    from runloop.client import Client
    from runloop.client import RunResult as RemoteResult
    from runloop.config import Settings
    from runloop.openings import Opening
    from runloop.runs.results import RunResult
    from runloop.runs.services import OpeningText

app = typer.Typer(add_completion=False, help="Run an opening and show what happens, node by node.")
_INTERRUPTED = "interrupted at the terminal"
_NO_READER = "the output can no longer be written"
_OF_THE_LINK = frozenset({"runtime.socket_path", "runtime.sockets_dir"})
_DENIED = ("denied.", "policy.denied", "approval.")


@app.command()
def run(
    opening: Annotated[str, typer.Argument(help="An opening's file or name.")],
    params: Annotated[str | None, typer.Option("--params", metavar="JSON", help="Parameters, as one JSON object.")] = None,
    param: Annotated[list[str] | None, typer.Option("--param", "-p", metavar="KEY=VALUE", help="One parameter; may be repeated.")] = None,
    *,
    local: Annotated[bool, typer.Option("--local", help="Run in this process, also when a daemon is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run's records as NDJSON, also on a terminal.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Approve in advance what the opening allows to be approved in advance.")] = False,
    trace_out: Annotated[
        Path | None, typer.Option("--trace-out", metavar="FILE", help="Write the run's trace there when it ended.")
    ] = None,
    agents_dir: Annotated[Path | None, typer.Option("--agents-dir", metavar="DIR", help="Look for agents there first.")] = None,
    openings_dir: Annotated[Path | None, typer.Option("--openings-dir", metavar="DIR", help="Look for openings there first.")] = None,
) -> int:
    """Run OPENING to its end. Exit codes: 0 succeeded, 1 failed, 2 invalid input, 4 denied, 130 interrupted."""
    settings = _settings({"agents.search_dirs": agents_dir, "openings.search_dirs": openings_dir})
    chosen = _load(opening, settings, params, param or [])
    with_view = not as_json and output.is_terminal(sys.stdout)
    if trace_out is not None:
        _check_trace_out(trace_out)
    shown = _Shown(chosen.opening, with_view=with_view, trace_out=trace_out)
    in_process = local or agents_dir is not None or openings_dir is not None
    return asyncio.run(_run(chosen, settings, shown, yes=yes, local=in_process))


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


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The opening to run, parsed, and what it was parsed from."""

    opening: Opening
    found: OpeningText
    params: Mapping[str, Any]


def _load(name: str, settings: Settings, params: str | None, pairs: list[str]) -> _Chosen:
    from runloop.openings import parse_opening
    from runloop.runs.lookup import find_opening
    from runloop.runs.places import opening_dirs

    found = find_opening(name, opening_dirs(settings))
    given = _params_object(params)
    if pairs:
        declared = parse_opening(found.source, file=found.file, params=given or None).params
        given.update(_pairs(pairs, declared, given))
    return _Chosen(parse_opening(found.source, file=found.file, params=given or None), found, given)


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


class _Shown:
    """Where the records of the run go: a live view or NDJSON, and a trace file where one is wanted."""

    def __init__(self, opening: Opening, *, with_view: bool, trace_out: Path | None) -> None:
        self.screen: Screen | None = None
        if with_view:
            from runloop.cli.screen import Screen

            self.screen = Screen(opening)
        self.printer = _Printer()
        self._trace_out = trace_out
        self._records: list[Mapping[str, Any]] = []

    def take(self, record: Mapping[str, Any]) -> None:
        """Show one record."""
        if self._trace_out is not None and record["event_id"] is not None:
            self._records.append(record)
        if self.screen is not None:
            self.screen.feed(record)
        else:
            self.printer.take(record)

    @contextmanager
    def watching(self, cancel: Callable[[str], None]) -> Iterator[_Interrupts]:
        """Draw, and let signals and a reader that goes away cancel the run."""
        loop, interrupts = asyncio.get_running_loop(), _Interrupts(lambda: cancel(_INTERRUPTED))
        self.printer.on_gone = lambda: cancel(_NO_READER)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, interrupts.take)
        try:
            if self.screen is not None:
                self.screen.start()
            yield interrupts
        finally:
            if self.screen is not None:
                self.screen.stop()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
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


async def _run(chosen: _Chosen, settings: Settings, shown: _Shown, *, yes: bool, local: bool) -> int:
    if not local:
        from runloop.cli.link import RECONNECT_S, find

        own = sorted(set(context.current().overrides) - _OF_THE_LINK)
        client = None if own else await find(settings, reconnect_s=RECONNECT_S)
        if client is not None:
            async with client:
                return await _run_in_daemon(client, chosen, settings, shown, yes=yes)
        why = f"--set {own[0]} is for this process" if own else "no daemon answers (`rlp up` starts one)"
        print(f"note: running in this process: {why}", file=sys.stderr)
    return await _run_here(chosen, settings, shown, yes=yes)


async def _run_here(chosen: _Chosen, settings: Settings, shown: _Shown, *, yes: bool) -> int:
    from runloop.runs.compose import session
    from runloop.runs.manager import Submission

    async with session(settings, shown.person(), progress=_show_compiling) as opened:
        current = await opened.manager.submit(Submission(chosen.opening, yes=yes), (shown.take,))
        with shown.watching(current.cancel) as interrupts:
            result = await opened.manager.drive(current)
        shown.end(result)
    return exit_code(result, interrupted=interrupts.taken > 0)


async def _run_in_daemon(client: Client, chosen: _Chosen, settings: Settings, shown: _Shown, *, yes: bool) -> int:
    from runloop.cli.person import person_present
    from runloop.cli.remote import Shown

    attended, begun = person_present(), False
    run = client.handle(str(uuid.uuid4()), attended=attended)
    tasks: set[asyncio.Task[Any]] = set()

    async def begin() -> None:
        nonlocal begun
        await client.submit(
            source=chosen.found.source,
            file=chosen.found.file,
            params=chosen.params,
            request_id=run.id,
            yes=yes,
            attended=attended,
            workdir=Path.cwd(),
            agent_digests=_digests(chosen.opening, settings),
        )
        begun = True

    async def cancel_there(reason: str) -> None:
        if begun:
            with suppress(RunloopError):  # it may have ended meanwhile
                await run.cancel(reason)

    def cancel(reason: str) -> None:
        task = asyncio.ensure_future(cancel_there(reason))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    following = Shown(client, run, shown.take, shown.person() if attended else None)
    with shown.watching(cancel) as interrupts:
        result = await following.follow(begin=begin)
    shown.end(result)
    return exit_code(result, interrupted=interrupts.taken > 0)


def _digests(opening: Opening, settings: Settings) -> dict[str, str] | None:
    """The agents as they are here, so that the daemon runs no others; None where one cannot be used here: then the daemon says why."""
    from runloop.runs.places import bundle_store

    store = bundle_store(settings)
    found: dict[str, str] = {}
    for name, variant in dict.fromkeys((node.name, node.variant) for node in opening.nodes if node.kind == "agent"):
        try:
            bundle = store.resolve(name, variant)
        except RunloopError:
            return None
        found[name if variant is None else f"{name}@{variant}"] = bundle.digest
    return found or None


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
            print(output.record_line(record), flush=True)
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


def _show_result(screen: Screen, result: RunResult | RemoteResult) -> None:
    meta = result.record["meta"]
    for artifact in meta.get("artifacts") or ():
        output.print_line(f"saved {artifact['name']}: {artifact['path']}")
    for path in screen.made:
        output.print_line(f"made {path}")
    if result.status == "succeeded":
        output.print_line(f"run {result.run_id} succeeded; `rlp trace {result.run_id[:8]}` shows every crossing")
    else:
        output.print_line(f"run {result.run_id} {result.status}: {output.clean_line(result.reason)}")


def exit_code(result: RunResult | RemoteResult, *, interrupted: bool) -> int:
    """The exit code of a run that ended so."""
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
