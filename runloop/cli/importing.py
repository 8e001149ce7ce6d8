"""`rlp import`: take in the runs of another machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runloop.cli import context, output, stalls
from runloop.cli.finding import imported, perhaps_ledger
from runloop.cli.options import JsonOption, TableOption
from runloop.errors import EXIT_OK, Denied, InvalidInput

if TYPE_CHECKING:
    from runloop.runs.archives.archive import Archive

app = typer.Typer(add_completion=False, help="Take in a run that `rlp export` wrote.")


@app.command("import")
def import_archive(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The archive; - is standard input.")],
    *,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Take it although nobody signed it.")] = False,
    accept_signer: Annotated[bool, typer.Option("--accept-signer", help="Take it under another key than the earlier ones.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Take it in place of another archive of the same run.")] = False,
    as_json: JsonOption = False,
    as_table: TableOption = False,
) -> int:
    """Verify the archive FILE and keep it beside the ledger, for show, trace, replay and diff. A second import changes nothing."""
    archive = _read(file)
    manifest = archive.manifest
    if archive.signer is None and not unsigned:
        hint = "if you know where it comes from: rlp import --unsigned"
        raise Denied("nobody signed the archive", code="archive.unsigned", hint=hint)
    with perhaps_ledger() as ledger:
        own = ledger is not None and archive.root in ledger.run_ids(archive.root)
    known = taken = False
    if not own:
        known, taken = _keep(archive, accept_signer=accept_signer, replace=replace)
    if output.wants_json(as_json=as_json, as_table=as_table):
        output.print_json(
            {
                "run_id": archive.root,
                "archive": archive.digest,
                "imported": taken,
                "own": own,
                "runs": [entry.run_id for entry in manifest.runs],
                "ledger_id": manifest.ledger_id,
                "signer": archive.signer,
                "signer_known": known,
                "selected": manifest.selected,
                "redacted": manifest.redacted,
            }
        )
        return EXIT_OK
    said = "is a run of this machine; nothing to import" if own else "imported" if taken else "was imported already"
    output.print_line(f"run {archive.root} of {manifest.runs[0].opening_name}: {said}")
    if not own:
        signer = "nobody" if archive.signer is None else f"{archive.signer[:16]}… ({'known' if known else 'first met now'})"
        output.print_line(f"signed by {signer}; from ledger {manifest.ledger_id}")
    if manifest.redacted is not None:
        output.print_line(f"{manifest.redacted} values are masked; it cannot be replayed")
    if manifest.selected is not None:
        output.print_line(f"only the nodes {', '.join(manifest.selected)}")
    return EXIT_OK


def _read(file: str) -> Archive:
    from runloop.runs.archives.archive import open_archive, read_archive
    from runloop.runs.archives.container import MAX_BYTES

    if file != "-":
        return open_archive(Path(file))
    if sys.stdin.buffer.isatty():
        raise InvalidInput("an archive is not typed", code="cli.usage", hint="Give a file, or redirect it: rlp import - < run.rlz")
    return read_archive(sys.stdin.buffer.read(MAX_BYTES + 1))


def _keep(archive: Archive, *, accept_signer: bool, replace: bool) -> tuple[bool, bool]:
    """Check the signer and keep the archive: whether the signer was known, and whether the archive is new."""
    from runloop.events import NewEvent
    from runloop.runs.archives.signing import KnownSigners
    from runloop.runs.places import open_knowledge

    settings = context.settings()
    signers = KnownSigners(settings.directories.state / "keys")
    known = signers.check(archive.manifest.ledger_id, archive.signer, accept=accept_signer)
    taken = imported().add(archive, replace=replace)
    signers.remember(archive.manifest.ledger_id, archive.signer)
    payload = {
        "archive": archive.digest,
        "root": archive.root,
        "runs": [entry.run_id for entry in archive.manifest.runs],
        "ledger_id": archive.manifest.ledger_id,
        **({} if archive.signer is None else {"signer": archive.signer}),
    }
    with open_knowledge(settings, stalls.tell) as kb:  # not only of one that is new: an import may have ended before it was noted
        noted = [event.payload["archive"] for event in kb.ledger.read(kinds=["archive.imported"]) if event.payload["root"] == archive.root]
        if noted[-1:] != [archive.digest]:
            kb.ledger.append([NewEvent("archive.imported", payload, "user")])
    return known, taken
