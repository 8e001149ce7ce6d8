"""`rlp kb prune`: old runs move to an archive."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import context, output
from runloop.cli.kb.opened import open_kb
from runloop.cli.options import JsonOption, TableOption
from runloop.cli.times import date_clock, moment
from runloop.errors import EXIT_OK, InvalidInput, Where

if TYPE_CHECKING:
    from runloop.kb.pruning.plan import Plan
    from runloop.kb.pruning.prune import Pruned

_STAYING = {"unfinished": "have no end, or belong to one that has none", "later": "ended later", "failed": "did not succeed"}
_OPENINGS_SHOWN = 6


def prune(
    *,
    before: Annotated[str | None, typer.Option("--before", metavar="TIME", help="Runs that ended before: an ISO date, or 90d ago.")] = None,
    older_than: Annotated[str | None, typer.Option("--older-than", metavar="AGE", help="Runs that ended longer ago than 90d.")] = None,
    keep_failed: Annotated[bool, typer.Option("--keep-failed", help="Leave runs that did not succeed.")] = False,
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Where the archive goes; beside the ledger without it.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    restore: Annotated[
        str | None,
        typer.Option("--restore", metavar="ARCHIVE", help="Take back what is in an archive: its file, or a checkpoint's number."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="List at most N of the runs that go; all are counted.")] = 20,
    json: JsonOption = False,
    table: TableOption = False,
) -> int:
    """Move the records of old, ended runs to an archive, with their child runs and forks; runs of the daemon go on meanwhile.

    The archive is verified before anything is removed, and a signed checkpoint takes the place of what went. What runs made stays known,
    and so do records that something else rests on. `rlp runs --archived` lists the archived runs; show, trace, replay and export read them.

    `--restore` puts archived runs back where they were, as if they had never gone.

    Examples: `rlp kb prune --older-than 90d --dry-run`, `rlp kb prune --before 2026-01-01 --to /mnt/backup/runs.gz`,
    `rlp kb prune --restore /mnt/backup/runs.gz`.
    """
    from runloop.kb.pruning import prune as pruning
    from runloop.signatures import signing_key

    if restore is not None:
        if before is not None or older_than is not None or keep_failed or to is not None or dry_run:
            message, hint = "--restore goes alone", "leave the other options out"
            raise InvalidInput(message, code="cli.usage", where=Where(key="--restore"), hint=hint)
        return _restore(restore, as_json=json, as_table=table)
    before_ms = _before(before, older_than)
    with open_kb() as kb:
        if dry_run:
            plan = pruning.plan_prune(kb.ledger, before_ms, keep_failed=keep_failed)
            return _print_plan(plan, before_ms, limit, as_json=json, as_table=table)
        key = signing_key(_keys())
        plan, done = pruning.prune(kb.ledger, before_ms, key=key, keep_failed=keep_failed, to=to)
        kb.settle()
    if output.wants_json(as_json=json, as_table=table):
        output.print_json({**_plan(plan, before_ms, limit), "pruned": done and _done(done)})
        return EXIT_OK
    if done is None:
        output.print_line(f"nothing to prune: no family of runs ended before {date_clock(before_ms)}")
        _print_staying(plan)
        return EXIT_OK
    output.print_line(f"archived {_runs(done.runs)} ({done.events:,} records) in {done.archive}, {_mb(done.archive_bytes)}")
    if done.held:
        output.print_line(f"{done.held:,} records stay: they tell what runs made, or other events rest on them")
    last = done.checkpoint + done.checkpoints - 1
    said = f"checkpoint {last}" if done.checkpoints == 1 else f"checkpoints {done.checkpoint} to {last}"
    output.print_line(f"{said}; {_mb(done.free_bytes)} are free inside the ledger, `rlp kb vacuum` gives them back")
    _print_staying(plan)
    return EXIT_OK


def _runs(count: int) -> str:
    return f"{count:,} run" if count == 1 else f"{count:,} runs"


def _restore(named: str, *, as_json: bool, as_table: bool) -> int:
    from runloop.kb.pruning.restoring import restore_archive

    with open_kb() as kb:
        done = restore_archive(kb.ledger, named)
        kb.settle()
    if output.wants_json(as_json=as_json, as_table=as_table):
        said = {"archive": str(done.archive), "runs": done.runs, "events": done.events, "erasures": done.erasures}
        output.print_json(said)
        return EXIT_OK
    if not done.events:
        output.print_line(f"everything in {done.archive} was taken back already")
        return EXIT_OK
    output.print_line(f"took back {_runs(done.runs)} ({done.events:,} records) from {done.archive}, which is not needed any more")
    if done.erasures:
        output.print_line(
            f"since they were archived something was erased {done.erasures:,} times: `rlp forget` again, if it was of a person"
        )
    return EXIT_OK


def signers(ledger_id: str) -> frozenset[str]:
    """Whose checkpoints count for a ledger here."""
    from runloop.runs.archives.signing import own_signers

    return own_signers(_keys(), ledger_id)


def accept(ledger_id: str, key: str) -> None:
    """Let checkpoints of this ledger under that public key count from now on. Raises InvalidInput ``cli.usage``."""
    from runloop.runs.archives.signing import KnownSigners

    if len(key) != 64 or not set(key) <= set("0123456789abcdef"):
        message, hint = f"{key[:80]!r} is no public key", "give the 64 digits that `rlp kb verify` printed"
        raise InvalidInput(message, code="cli.usage", where=Where(key="--accept-signer"), hint=hint)
    KnownSigners(_keys()).remember(ledger_id, key)


def _keys() -> Path:
    path: Path = context.settings().directories.state / "keys"
    return path


def _before(before: str | None, older_than: str | None) -> int:
    if (before is None) == (older_than is None):
        message = "say which runs: --before TIME or --older-than AGE" if before is None else "--before and --older-than exclude each other"
        raise InvalidInput(message, code="cli.usage", where=Where(key="--before"), hint="for example --older-than 90d")
    now_ms = time.time_ns() // 1_000_000
    option = "--before" if older_than is None else "--older-than"
    found = moment(before if older_than is None else older_than, now_ms, option)
    if found is None or found > now_ms:
        hint = "for example --older-than 90d"
        raise InvalidInput("the time lies in the future", code="cli.time", where=Where(key=option), hint=hint)
    return found


def _print_plan(plan: Plan, before_ms: int, limit: int, *, as_json: bool, as_table: bool) -> int:
    if output.wants_json(as_json=as_json, as_table=as_table):
        output.print_json({**_plan(plan, before_ms, limit), "pruned": None})
        return EXIT_OK
    runs = plan.runs
    if runs:
        ended = sorted(each.run.finished_ms or 0 for each in runs)
        span = f"which ended from {date_clock(ended[0])} to {date_clock(ended[-1])}"
        output.print_line(f"would archive {_runs(len(runs))}, {len(plan.ids()):,} records, {_mb(plan.payload_bytes)}, {span}")
        counts = _counts(plan)
        said = [f"{count:,} of {output.clean_line(name)} {status}" for (name, status), count in counts[:_OPENINGS_SHOWN]]
        others = sum(count for _, count in counts[_OPENINGS_SHOWN:])
        output.print_line(f"  {', '.join([*said, f'{others:,} others'] if others else said)}")
    rows = [
        (each.run.run_id[:8], each.run.opening_name, each.run.status, date_clock(each.run.finished_ms or 0), len(each.ids))
        for each in runs[:limit]
    ]
    if rows or not runs:
        output.print_rows(("run", "opening", "state", "ended", "records"), rows, as_table=as_table, empty="nothing to prune")
    if len(runs) > len(rows):
        output.print_line(f"and {len(runs) - len(rows):,} more (use --limit to see more than {limit})")
    if plan.held:
        output.print_line(f"{plan.held:,} records would stay: they tell what runs made, or other events rest on them")
    _print_staying(plan)
    return EXIT_OK


def _print_staying(plan: Plan) -> None:
    for why, count in plan.staying.items():
        if count:
            output.print_line(f"{count:,} runs stay: they {_STAYING[why]}")


def _counts(plan: Plan) -> list[tuple[tuple[str, str | None], int]]:
    """How many runs go of each opening and state, the most first."""
    return Counter((each.run.opening_name, each.run.status) for each in plan.runs).most_common()


def _plan(plan: Plan, before_ms: int, limit: int) -> dict[str, Any]:
    runs = plan.runs
    counted = [{"opening_name": name, "status": status, "count": count} for (name, status), count in _counts(plan)]
    listed = [{**each.run._asdict(), "records": len(each.ids)} for each in runs[:limit]]
    said = {"events": len(plan.ids()), "bytes": plan.payload_bytes, "held": plan.held, "staying": dict(plan.staying)}
    return {"before_ms": before_ms, "count": len(runs), "openings": counted, "runs": listed, **said}


def _done(done: Pruned) -> dict[str, Any]:
    names = ("checkpoint", "checkpoints", "digest", "archive_bytes", "runs", "events", "held", "free_bytes")
    return {"archive": str(done.archive), **{name: getattr(done, name) for name in names}}


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
