"""`rlp replay`: run again from the record, with nobody who could act, and name what differs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import context, masking, output, stalls
from runloop.cli.finding import RunArgument, finding
from runloop.cli.link import waited
from runloop.cli.options import JsonOption, TableOption
from runloop.errors import EXIT_OK, EXIT_VERIFICATION, InvalidInput, VerificationFailed, Where

if TYPE_CHECKING:
    from runloop.bundles import Bundle
    from runloop.runs.replay import ReplayReport
    from runloop.runs.sources import FoundRun

app = typer.Typer(add_completion=False, help="Run again from the record alone, and name the first divergence.")
_COLUMNS = ("node", "try", "verdict", "calls", "detail")


@app.command()
def replay(
    run: RunArgument = "last",
    *,
    with_agent: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="AGENT=DIR", help="Run the code in DIR in place of that agent; may be repeated."),
    ] = None,
    agents_dir: Annotated[
        Path | None, typer.Option("--agents-dir", metavar="DIR", help="Look for the run's agents in DIR before those that are installed.")
    ] = None,
    opening: Annotated[
        Path | None,
        typer.Option("--opening", metavar="FILE", help="Refuse unless FILE, with the run's parameters, is the run's opening."),
    ] = None,
    any_guest: Annotated[bool, typer.Option("--any-guest", help="Replay also with another build of the Python guest.")] = False,
    as_json: JsonOption = False,
    as_table: TableOption = False,
) -> int:
    """Re-run every attempt of RUN and of its child runs with the recorded answers, and compare what it asks and gives.

    Nothing can happen outside, and nothing is recorded but that it was replayed. Exit code 5 when anything differs.
    """
    from runloop.runs.places import open_knowledge
    from runloop.runs.replaying import replay_found, report_event

    settings, replaced = context.settings(), _replaced(with_agent or [])
    with finding(run) as found:
        if opening is not None:
            _check_opening(found, opening)
        report = waited(replay_found(settings, found, agents_dir=agents_dir, replaced=replaced, any_guest=any_guest))
        event = report_event(found, report, replaced)
        with open_knowledge(settings, stalls.tell) as kb:
            kb.ledger.append([event])
        _print(found, report, as_json=as_json, as_table=as_table)
    return EXIT_OK if report.matches else EXIT_VERIFICATION


def _check_opening(found: FoundRun, file: Path) -> None:
    from runloop.cli.opening_source import read
    from runloop.openings.parse import digest_of
    from runloop.runs.history import load_run

    name, data = read(str(file))
    now, then = digest_of(data, file=name), load_run(found.source, found.run_id).submitted["opening_digest"]
    if now != then:
        raise VerificationFailed(
            f"the run was of another opening ({then[:12]}) than this one ({now[:12]})",
            code="replay.opening",
            where=Where(file=name),
            hint=f"`rlp why {found.run_id[:8]}` names the run's; without --opening it is the one that is replayed",
        )


def _replaced(pairs: list[str]) -> dict[str, Bundle]:
    from runloop.runs.replaying import bundle_at

    replaced: dict[str, Bundle] = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not name or not equals or not path:
            hint = "For example: --with writer=./agents/writer"
            raise InvalidInput(f"--with needs AGENT=DIR, not {pair!r}", code="cli.usage", where=Where(key="--with"), hint=hint)
        replaced[name] = bundle_at(context.settings(), Path(path))
    return replaced


def _print(found: FoundRun, report: ReplayReport, *, as_json: bool, as_table: bool) -> None:
    data: dict[str, Any] = {
        "run_id": report.run_id,
        "origin": found.origin,
        "matches": report.matches,
        "recorded_hash": report.recorded_hash,
        "final_hash": report.final_hash,
        "attempts": masking.masked([each.to_dict() for each in report.attempts]),
    }
    several = len({each.run_id for each in report.attempts}) > 1
    rows = [
        (
            f"{each.run_id[:8]}/{each.node}" if several else each.node,
            each.attempt,
            each.verdict,
            each.calls,
            "" if each.divergence else masking.masked_text(each.detail) or _short(each.actual or ""),
        )
        for each in report.attempts
    ]
    output.print_rows(_COLUMNS, rows, as_json=as_json, as_table=as_table, data=data, empty="no node had started")
    if output.wants_json(as_json=as_json, as_table=as_table):
        return
    for each in report.attempts:
        if each.divergence is not None:
            output.print_line(f"{each.node}, attempt {each.attempt}: {masking.masked_text(str(each.divergence))}")
    if report.final_hash != report.recorded_hash and not report.unknown:
        output.print_line(f"the run's final hash differs: recorded {report.recorded_hash}, replayed {report.final_hash}")
    verdict = "texts of it were erased: whether the replay is identical is not known" if report.unknown else "the replay differs"
    output.print_line(f"run {report.run_id}: " + ("the replay is identical" if report.matches else verdict))


def _short(actual: str) -> str:
    """The beginning of a hash; what an attempt failed with stays whole."""
    return actual if actual.startswith("error ") else actual[:12]
