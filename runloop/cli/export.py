"""`rlp export`: a run as a file that another machine can replay."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import context, output
from runloop.cli.document import require_file
from runloop.cli.finding import RunArgument, finding
from runloop.cli.options import JsonOption
from runloop.errors import EXIT_OK, InvalidInput

if TYPE_CHECKING:
    from runloop.runs.sources import FoundRun

app = typer.Typer(add_completion=False, help="Write a run with all that a replay needs: rlp export RUN > run.rlz")


@app.command()
def export(
    run: RunArgument = "last",
    *,
    into: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to FILE instead of standard output.")] = None,
    select: Annotated[list[str] | None, typer.Option("--select", metavar="NODE", help="Only this node; may be repeated.")] = None,
    redact: Annotated[bool, typer.Option("--redact", help="Mask what was said; the archive can then be shown, but not replayed.")] = False,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Do not sign it with your key.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Write RUN, its child runs and its agents as one archive, signed with your key (made at first use). docs/replay.md has the format.

    With --json it is said what FILE holds.
    """
    require_file(into, as_json=as_json)
    if into is None and output.is_terminal(sys.stdout):
        raise InvalidInput(
            "an archive is not for a terminal", code="cli.usage", hint="Redirect it: rlp export RUN > run.rlz, or give -o FILE."
        )
    with finding(run) as found:
        data, missing = _archive(found, select or [], redact=redact, signed=not unsigned)
    if into is not None:
        from runloop.cli.whole import for_oneself

        try:
            with open(into, "wb", opener=for_oneself) as file:
                file.write(data)
        except OSError as error:
            raise InvalidInput(
                f"{into} cannot be written: {error.strerror}", code="archive.unwritable", hint="name another file with -o"
            ) from None
    else:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    if as_json and into is not None:
        output.print_json(_written(into, missing))
        return EXIT_OK
    for agent in missing:
        output.print_warning("archive.bundle_missing", f"agent {agent} is not installed any more: a replay elsewhere needs it")
    return EXIT_OK


def _written(into: Path, missing: tuple[str, ...]) -> dict[str, Any]:
    """What the file holds, as whoever gets it reads it."""
    from runloop.runs.archives.archive import open_archive

    archive = open_archive(into)
    return {
        "file": str(into),
        "bytes": len(archive.data),
        "digest": archive.digest,
        "signer": archive.signer,
        "ledger_id": archive.manifest.ledger_id,
        "run_id": archive.root,
        "runs": archive.run_ids(limit=len(archive.manifest.runs)),
        "missing_agents": list(missing),
    }


def _archive(found: FoundRun, select: list[str], *, redact: bool, signed: bool) -> tuple[bytes, tuple[str, ...]]:
    from runloop.runs.archives.making import make_archive
    from runloop.runs.replaying import bundle_exactly
    from runloop.signatures import signing_key

    settings = context.settings()
    if found.archive is not None:
        if select or redact or found.run_id != found.archive.root:
            hint = "export it whole: it is passed on as it came, under the signature that it has"
            raise InvalidInput("the run is another machine's, and its archive cannot be changed", code="archive.not_own", hint=hint)
        return found.archive.data, ()
    made = make_archive(
        found.source,
        found.run_id,
        ledger_id=found.ledger_id,
        bundle_of=bundle_exactly(settings),
        select=select,
        redact=redact,
        key=signing_key(settings.directories.state / "keys") if signed else None,
    )
    return made.data, made.missing
