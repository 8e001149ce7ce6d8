"""`rlp run`: run an opening, with a live view on a terminal and NDJSON everywhere else."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import context, output
from runloop.cli.link import waited
from runloop.cli.options import LinesOption
from runloop.cli.params import param_pairs, params_object
from runloop.cli.showing import RunShown, exit_code, run_shown, show_compiling
from runloop.dataclass import dataclass
from runloop.errors import InvalidInput, RunloopError, Where

if TYPE_CHECKING:
    from runloop.client import Client, RunHandle
    from runloop.config import Settings
    from runloop.openings import Opening
    from runloop.runs.lookup import OpeningText


class ErrorsFormat(StrEnum):
    """How errors are said on stderr."""

    TABLE = "table"
    JSON = "json"


app = typer.Typer(add_completion=False, help="Run an opening and show what happens, node by node.")


@app.command()
def run(
    opening: Annotated[str, typer.Argument(help="An opening's file or name.")],
    params: Annotated[
        str | None,
        typer.Option(
            "--params", metavar="JSON", help="Parameters, as one JSON object; @FILE reads it from a file, @- from standard input."
        ),
    ] = None,
    param: Annotated[list[str] | None, typer.Option("--param", "-p", metavar="KEY=VALUE", help="One parameter; may be repeated.")] = None,
    *,
    local: Annotated[bool, typer.Option("--local", help="Run in this process, also when a daemon is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run's records as NDJSON, also on a terminal.")] = False,
    as_table: LinesOption = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Give it to the daemon and return at once; what it asks waits for `rlp approve`.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Approve in advance what the opening allows to be approved in advance.")] = False,
    trace_out: Annotated[
        Path | None, typer.Option("--trace-out", metavar="FILE", help="Write the run's trace there when it ended.")
    ] = None,
    errors_format: Annotated[
        ErrorsFormat | None, typer.Option("--errors-format", help="Say errors in lines, or as JSON; without it as --json says.")
    ] = None,
    agents_dir: Annotated[Path | None, typer.Option("--agents-dir", metavar="DIR", help="Look for agents there first.")] = None,
    openings_dir: Annotated[Path | None, typer.Option("--openings-dir", metavar="DIR", help="Look for openings there first.")] = None,
) -> int:
    """Run OPENING to its end. Exit codes: 0 succeeded, 1 failed, 2 invalid input, 4 denied, 130 interrupted.

    Examples: `rlp run compose_email -p topic="Q4 plan"`, `rlp run ./letter.yaml --json`, `rlp run nightly --detach`.
    """
    if errors_format is not None:
        context.current().json_errors = errors_format is ErrorsFormat.JSON
    if detach:
        _check_detach({"--local": local, "--trace-out": trace_out, "--agents-dir": agents_dir, "--openings-dir": openings_dir})
    settings = _settings({"agents.search_dirs": agents_dir, "openings.search_dirs": openings_dir})
    chosen = _load(opening, settings, params, param or [])
    if detach:
        return waited(_detach(chosen, settings, yes=yes, as_json=as_json, as_table=as_table))
    if trace_out is not None:
        _check_trace_out(trace_out)
    shown = run_shown(chosen.opening, as_json=as_json, as_table=as_table, trace_out=trace_out)
    in_process = local or agents_dir is not None or openings_dir is not None
    return waited(execute(chosen, settings, shown, yes=yes, local=in_process))


def _settings(first: Mapping[str, Path | None]) -> Settings:
    """The settings in force, with directories that were asked for in front of the configured ones."""
    from runloop.config import as_setting

    settings = context.settings()
    flags: dict[str, object] = {}
    for key, directory in first.items():
        if directory is not None:
            if not directory.is_dir():
                where = Where(file=str(directory))
                raise InvalidInput(f"there is no directory {directory}", code="run.directory", where=where, hint="give one that exists")
            flags[key] = json.dumps([as_setting(each) for each in (directory.resolve(), *settings.get(key)) if each.is_dir()])
    return context.settings(flags) if flags else settings


@dataclass(frozen=True, slots=True)
class Chosen:
    """The opening to run, parsed, and what it was parsed from."""

    opening: Opening
    found: OpeningText
    params: Mapping[str, Any]


def _load(name: str, settings: Settings, params: str | None, pairs: list[str]) -> Chosen:
    from runloop.openings import parse_opening
    from runloop.runs.lookup import find_opening
    from runloop.runs.places import opening_dirs

    found = find_opening(name, opening_dirs(settings))
    given = params_object(params)
    if pairs:
        declared = parse_opening(found.source, file=found.file, params=given or None).params
        given.update(param_pairs(pairs, declared, given))
    return Chosen(parse_opening(found.source, file=found.file, params=given or None), found, given)


def _check_detach(given: Mapping[str, object]) -> None:
    from runloop.cli.link import own_settings

    other = next((name for name, value in given.items() if value), None) or next((f"--set {key}" for key in own_settings()), None)
    if other is not None:
        raise InvalidInput(
            f"--detach and {other} exclude each other", code="cli.usage", where=Where(key="--detach"), hint="the daemon has its own"
        )


async def _detach(chosen: Chosen, settings: Settings, *, yes: bool, as_json: bool, as_table: bool) -> int:
    from runloop.cli.link import linked

    async with linked(settings) as client:
        run = await _submitted(client, chosen, settings, yes=yes, patient=True)
        state = await run.state()
    if output.wants_json(as_json=as_json, as_table=as_table):
        output.print_json({"run_id": run.id, "opening_name": run.opening_name, "state": state, "topic": run.topic})
    else:
        short = run.id[:8]
        output.print_line(f"run {run.id} {state}")
        output.print_line(f"`rlp attach {short}` follows it, `rlp runs` lists it, `rlp approve` decides what it asks")
    return 0


def working_directory() -> str:
    """The working directory, as the record keeps it: text."""
    place = str(Path.cwd())
    try:
        place.encode()
    except UnicodeEncodeError:
        hint = "change to a directory whose name is; its agents/ and openings/ can be copied there"
        raise InvalidInput(f"the working directory {place!a} is not UTF-8", code="config.path_not_text", hint=hint) from None
    return place


async def _submitted(client: Client, chosen: Chosen, settings: Settings, **how: Any) -> RunHandle:
    """The run that the daemon begins: the opening as it is here, with the agents as they are here."""
    digests, broken = _digests(chosen.opening, settings)
    found = chosen.found
    try:
        run = await client.submit(
            source=found.source, file=found.file, params=chosen.params, workdir=working_directory(), agent_digests=digests,
            traceparent=_traceparent(), **how,
        )  # fmt: skip
    except RunloopError as error:
        if broken is not None and error.code != broken[0]:  # a daemon that has no other version says itself what is wrong
            output.print_warning(*broken)
        raise
    if broken is not None:
        output.print_warning(*broken)
    return run


def _traceparent() -> str | None:
    """The span that this command is part of, as the variable ``TRACEPARENT`` says; what cannot be understood there counts for nothing."""
    given = os.environ.get("TRACEPARENT")
    if given is None:
        return None
    from runloop.events.traceparent import origin_of

    return None if origin_of(given) is None else given


async def execute(chosen: Chosen, settings: Settings, shown: RunShown, *, yes: bool = False, local: bool = False) -> int:
    """Run it, in the daemon where one answers, and show it; the exit code of the run."""
    if not local:
        from runloop.cli.link import RECONNECT_S, find, own_settings

        own = own_settings()
        client = None if own else await find(settings, reconnect_s=RECONNECT_S)
        if client is not None:
            async with client:
                return await _run_in_daemon(client, chosen, settings, shown, yes=yes)
        why = f"--set {own[0]} is for this process" if own else "no daemon answers (`rlp up` starts one)"
        print(f"note: running in this process: {why}", file=sys.stderr)
    return await _run_here(chosen, settings, shown, yes=yes)


async def _run_here(chosen: Chosen, settings: Settings, shown: RunShown, *, yes: bool) -> int:
    from runloop.runs.compose import session
    from runloop.runs.submission import Submission

    async with session(settings, shown.person(), progress=show_compiling) as opened:
        submission = Submission(chosen.opening, yes=yes, workdir=working_directory(), traceparent=_traceparent())
        current = await opened.manager.submit(submission, (shown.take,))
        with shown.watching(current.cancel) as interrupts:
            result = await opened.manager.drive(current)
        shown.end(result)
    return exit_code(result, interrupted=interrupts.taken > 0)


async def _run_in_daemon(client: Client, chosen: Chosen, settings: Settings, shown: RunShown, *, yes: bool) -> int:
    from runloop.cli.remote import run_there

    async def submit(run_id: str, attended: bool) -> None:
        await _submitted(client, chosen, settings, request_id=run_id, yes=yes, attended=attended)

    return await run_there(client, shown, submit)


def _digests(opening: Opening, settings: Settings) -> tuple[dict[str, str] | None, tuple[str, str] | None]:
    """The agents as they are here, so that the daemon runs no others; None where one cannot be used here, and what to say of that.

    Then the daemon runs the last version that it could load, or says why it has none.
    """
    from runloop.bundles.errors import BundleNotFound
    from runloop.runs.places import bundle_store

    store = bundle_store(settings)
    found: dict[str, str] = {}
    for name, variant in dict.fromkeys((node.name, node.variant) for node in opening.nodes if node.kind == "agent"):
        try:
            bundle = store.resolve(name, variant)
        except BundleNotFound:
            return None, None  # it may be where only the daemon looks
        except RunloopError as broken:
            why = f"agent {name!r} cannot be used as it is now: {broken.message}" + (f" ({broken.hint})" if broken.hint else "")
            return None, (broken.code, f"{why}; the daemon runs the last version that it could load")
        found[name if variant is None else f"{name}@{variant}"] = bundle.digest
    return found or None, None


def _check_trace_out(path: Path) -> None:
    """Refuse before the run what can be seen before it."""
    if str(path) == "-":
        hint = "name the file to write; `rlp trace --json` prints it when the run ended"
        raise InvalidInput("standard output has the run's records", code="run.trace_out", where=Where(key="--trace-out"), hint=hint)
    if path.is_dir():
        raise InvalidInput(f"{path} is a directory", code="run.trace_out", where=Where(file=str(path)), hint="name the file to write")
    if not path.parent.is_dir():
        raise InvalidInput(
            f"there is no directory {path.parent}", code="run.trace_out", where=Where(file=str(path)), hint="create it first"
        )
