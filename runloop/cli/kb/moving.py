"""`rlp kb backup` and `rlp kb restore`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import output
from runloop.cli.kb.maintaining import print_report
from runloop.cli.kb.opened import open_kb
from runloop.cli.kb.places import files, free
from runloop.cli.kb.progress import progress
from runloop.cli.kb.signers import meet_signers
from runloop.cli.kb.signers import tell as tell_signer
from runloop.cli.options import JsonOption, TableOption
from runloop.errors import EXIT_OK, EXIT_VERIFICATION

if TYPE_CHECKING:
    from runloop.kb.keeping.restoring import Restored


def backup(
    place: Annotated[
        Path | None,
        typer.Argument(metavar="[PLACE]", help="A name for the backup that is free, or a directory to put it into under the time."),
    ] = None,
    *,
    keep: Annotated[int | None, typer.Option("--keep", min=1, metavar="N", help="Then remove older backups there, all but N.")] = None,
    json: JsonOption = False,
    table: TableOption = False,
) -> int:
    """Back up the ledger and what its events name, while runs go on; verified before it gets its name.

    The default place is `backups` in the state directory.
    """
    from runloop.kb.importers.textfile import is_folder
    from runloop.kb.keeping.backup import make_backup

    at = files()
    target = at.new_backup() if place is None else free(place) if is_folder(place) else place
    with progress() as tell:
        made = make_backup(at.ledger, target, at.beside, keep=keep, progress=tell)
    if output.wants_json(as_json=json, as_table=table):
        output.print_json(made.to_dict())
        return EXIT_OK
    listed = made.manifest
    output.print_line(f"backup {made.path}")
    output.print_line(f"verified: events up to {listed.head_id}, {len(listed.files)} files, {listed.bytes:,} bytes")
    output.print_line(f"head {listed.head_id}:{listed.head_chain}")
    for path in made.removed:
        output.print_line(f"removed {path}")
    return EXIT_OK


def restore(
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="A backup, as `rlp kb backup` printed it.")],
    *,
    json: JsonOption = False,
    table: TableOption = False,
) -> int:
    """Put a backup's ledger in the place of yours, which is kept aside; then verify. Exit code 5 when that finds something.

    The daemon has to be down. Runs without an end in the backup are paused. Files of agents, archives and artifacts are added where
    they are missing; nothing else is touched.
    """
    from runloop.kb.keeping.restoring import restore as put_back

    at = files()
    with progress() as tell:
        done = put_back(source, at.ledger, at.derived, at.beside, at.aside(), progress=tell)
        met = meet_signers(at.ledger)
        with open_kb() as kb:
            report = kb.verify(views=True, progress=tell)
    if output.wants_json(as_json=json, as_table=table):
        output.print_json({**done.to_dict(), "signer_met": met, "verify": report.to_dict()})
        return EXIT_OK if report.ok else EXIT_VERIFICATION
    output.print_line(f"restored {source}: events up to {done.manifest.head_id}")
    for line in _about(done):
        output.print_line(line)
    tell_signer(met)
    report.require(str(at.ledger))
    print_report(report)
    for run in done.paused:
        what = f"run {run} had no end then and is paused: what it did since is not known; `rlp resume {run}` or `rlp cancel {run}`"
        output.print_warning("kb.paused", what)
    if done.erased_again:
        what = f"what was erased since the backup is there again ({done.erased_again} times): erase it anew"
        output.print_warning("kb.erased_again", what)
    return EXIT_OK


def _about(done: Restored) -> list[str]:
    lines: list[Any] = []
    if done.files:
        lines.append(f"{done.files} files put back")
    if done.aside is not None:
        broken = ", which was broken, as plain copies" if done.aside_broken else ""
        lines.append(f"the old ledger{broken} is kept in {done.aside}")
    if done.undone:
        lines.append(f"{done.undone} events came after the backup: they are only there")
    return lines
