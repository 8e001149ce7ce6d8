"""`rlp fork`: a new run that shares the history of another one up to a point, with some of it changed, and goes on live."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import context, output
from runloop.cli.finding import finding, refuse_archived
from runloop.cli.link import waited
from runloop.cli.options import LinesOption
from runloop.cli.params import param_pairs, strict_json
from runloop.cli.showing import RunShown, exit_code, run_shown, show_compiling
from runloop.dataclass import dataclass
from runloop.errors import EXIT_OK, InvalidInput, Where

if TYPE_CHECKING:
    from runloop.bundles import Bundle
    from runloop.client import Client
    from runloop.config import Settings
    from runloop.openings import Opening

app = typer.Typer(add_completion=False, help="Go on from any point of a run, with other answers, parameters or code, as a new run.")


_OPTIONS = {"at": "--at", "answers": "--answer", "params": "--param", "agents": "--agent"}
"""Fields of a fork by the options that give them."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The fork that was asked for, and the opening that it is a run of."""

    parent: str
    opening: Opening
    at: str | None
    params: Mapping[str, Any]
    answers: Mapping[str, Any]
    agents: Mapping[str, Bundle]
    yes: bool


@app.command()
def fork(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run to fork: its id, its first letters, or `last`.")],
    *,
    at: Annotated[
        str | None, typer.Option("--at", metavar="SEQ|NODE", help="After the record with that number, or before that node started.")
    ] = None,
    param: Annotated[list[str] | None, typer.Option("--param", "-p", metavar="KEY=VALUE", help="Another value of a parameter.")] = None,
    answer: Annotated[
        list[str] | None,
        typer.Option("--answer", metavar="CALL=JSON", help="Another answer to a call: NODE/ATTEMPT/CALL, or its record's number."),
    ] = None,
    agent: Annotated[list[str] | None, typer.Option("--agent", metavar="NAME=DIR", help="The code in DIR for an agent.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Leave it to the daemon and print its id.")] = False,
    local: Annotated[bool, typer.Option("--local", help="Run in this process, also when a daemon is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run's records as NDJSON, also on a terminal.")] = False,
    as_table: LinesOption = False,
    yes: Annotated[bool, typer.Option("--yes", help="Approve in advance what the opening allows to be approved in advance.")] = False,
) -> int:
    """Make a new run of what RUN had done up to a point, and go on live from there. No effect before that point is repeated.

    Exit codes as `rlp run`.
    """
    if detach and local:
        raise InvalidInput("--detach and --local exclude each other", code="cli.usage", hint="a run in this process ends with it")
    settings = context.settings()
    wanted = _wanted(run, at, param or [], answer or [], agent or [], yes=yes)
    if detach:
        return waited(_detach(wanted, settings, as_json=as_json, as_table=as_table), _OPTIONS)
    return waited(_fork(wanted, settings, run_shown(wanted.opening, as_json=as_json, as_table=as_table), local=local), _OPTIONS)


def _wanted(ref: str, at: str | None, params: list[str], answers: list[str], agents: list[str], *, yes: bool) -> _Wanted:
    from runloop.openings import parse_opening
    from runloop.runs.disk import DiskLookup
    from runloop.runs.history import load_run

    with finding(ref) as found:
        if found.archive is not None:
            hint = "its records are another machine's; replay it, or run its opening here"
            raise InvalidInput("an imported run cannot be forked", code="fork.imported", hint=hint)
        refuse_archived(found)
        submitted = load_run(found.source, found.run_id).submitted
    said, before = submitted["opening"], submitted["params"] or {}
    changed = param_pairs(params, before, {})
    opening = parse_opening(said["source"], file=said.get("file"), params={**before, **changed} or None)
    code = {name: DiskLookup(context.settings()).at(Path(path)) for name, path in _each(agents, "--agent", "NAME=DIR").items()}
    told = {call: _json(call, text) for call, text in _each(answers, "--answer", "CALL=JSON").items()}
    return _Wanted(found.run_id, opening, at, changed, told, code, yes)


def _each(pairs: list[str], option: str, form: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals or not value or name in found:
            message = f"{option} needs {form}, each {form.partition('=')[0]} once, not {pair!r}"
            raise InvalidInput(message, code="cli.usage", where=Where(key=option), hint=f"`rlp fork --help` explains {option}")
        found[name] = value
    return found


def _json(call: str, text: str) -> Any:
    try:
        return strict_json(text)
    except ValueError as error:
        hint = """for example --answer draft/1/1='{"text": "…"}'"""
        raise InvalidInput(
            f"the answer to {call} is not JSON: {error}", code="fork.answer", where=Where(key="--answer"), hint=hint
        ) from None


async def _detach(wanted: _Wanted, settings: Settings, *, as_json: bool, as_table: bool) -> int:
    from runloop.cli.link import linked

    async with linked(settings) as client:
        found = await _ask(client, wanted, str(uuid.uuid4()), attended=False, patient=True)
    if output.wants_json(as_json=as_json, as_table=as_table):
        output.print_json({name: found[name] for name in ("run_id", "opening_name", "state", "topic")})
    else:
        output.print_line(f"run {found['run_id']} {found['state']}")
        output.print_line(f"`rlp attach {found['run_id'][:8]}` follows it, `rlp approve` decides what it asks")
    return EXIT_OK


async def _fork(wanted: _Wanted, settings: Settings, shown: RunShown, *, local: bool) -> int:
    if not local:
        from runloop.cli.link import RECONNECT_S, find
        from runloop.cli.remote import run_there

        client = await find(settings, reconnect_s=RECONNECT_S)
        if client is not None:
            async with client:
                return await run_there(client, shown, partial(_ask, client, wanted))
        print("note: running in this process: no daemon answers (`rlp up` starts one)", file=sys.stderr)
    return await _run_here(wanted, settings, shown)


async def _run_here(wanted: _Wanted, settings: Settings, shown: RunShown) -> int:
    from runloop.runs.compose import session
    from runloop.runs.forking import ForkRequest

    request = ForkRequest(wanted.parent, wanted.at, wanted.params, wanted.answers, wanted.agents, yes=wanted.yes)
    async with session(settings, shown.person(), progress=show_compiling) as opened:
        current = await opened.manager.fork(opened.kb.ledger, request, subscribers=(shown.take,))
        with shown.watching(current.cancel) as interrupts:
            result = await opened.manager.drive(current)
        shown.end(result)
    return exit_code(result, interrupted=interrupts.taken > 0)


async def _ask(client: Client, wanted: _Wanted, run_id: str, attended: bool, *, patient: bool = False) -> dict[str, Any]:
    return await client.ask(
        "fork",
        request_id=run_id,
        run=wanted.parent,
        at=wanted.at,
        params=dict(wanted.params),
        answers=dict(wanted.answers),
        agents=[{"name": name, "path": str(bundle.root), "digest": bundle.digest} for name, bundle in wanted.agents.items()],
        yes=wanted.yes,
        attended=attended,
        patient=patient,
    )
