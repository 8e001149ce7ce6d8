"""`rlp forget`: everything that mentions a person, and its erasure."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import output
from runloop.cli.kb.opened import open_kb
from runloop.cli.kb.places import files
from runloop.cli.kb.progress import progress
from runloop.cli.options import JsonOption, MaxColsOption, MaxRowsOption, NoWrapOption, TableOption
from runloop.errors import EXIT_FAILED, EXIT_OK, InvalidInput
from runloop.text import legible

if TYPE_CHECKING:
    from pathlib import Path

    from runloop.kb import KnowledgeBase
    from runloop.kb.forgetting import Forgetting

app = typer.Typer(add_completion=False, rich_markup_mode=None, help="Erase everything that mentions a person.")

_COLUMNS = ("event", "kind", "what", "action")


@app.command()
def forget(
    person: Annotated[str | None, typer.Argument(metavar="[PERSON]", help="An e-mail address, a name, or contact:KEY.")] = None,
    *,
    also: Annotated[
        list[str] | None, typer.Option("--also", metavar="TEXT", help="Another text that means them, or the only one; may be repeated.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List everything, erase nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: JsonOption = False,
    table: TableOption = False,
    max_cols: MaxColsOption = None,
    max_rows: MaxRowsOption = None,
    no_wrap: NoWrapOption = False,
) -> int:
    """List everything that mentions a person, and erase it from the files once you say so. Nothing brings it back but a backup.

    Exit code 1 where something had to stay.
    """
    from runloop.kb.forgetting import again, carry_out, plan, stored_since

    if person is None and not also:
        raise InvalidInput("whom to forget is missing", code="cli.usage", hint="give a PERSON, or a text by --also")
    as_json = output.wants_json(as_json=json, as_table=table)
    with open_kb() as kb:
        head = kb.ledger.head().id
        with progress() as tell:
            found = plan(
                kb,
                None if person is None else legible(person),
                [legible(each) for each in also or ()],
                lambda done: tell("looking", done, head),
            )
        outside = _outside(kb, found)
        answer: dict[str, Any] = {**found.to_dict(), "outside": outside, "erasure": None, "again": None}
        stays = any(mention.action == "stays" for mention in found.mentions)
        if not as_json:
            _show(found, outside, output.TableStyle(max_cols, max_rows, fit=not no_wrap))
        if found.lefts and not dry_run and (yes or output.agreed(f"Erase {len(found.lefts)} events for good?")):
            erasure = carry_out(kb, found)
            remains = [] if stays else _remains(kb, found)
            since = stored_since(kb, found)
            answer["erasure"] = {**erasure.to_dict(), "remains_in": remains, "stored_since": since}
            if stays or since:
                answer["again"] = shlex.join(["rlp", "forget", *(f"--also={each}" for each in again(found, erasure))])
            stays = stays or bool(remains or erasure.remarks or since)
            if not as_json:
                output.print_line(f"erased: events {len(erasure.events)}, blobs {len(erasure.blobs)}, by event:{erasure.event_id}")
                late = [f"{len(since)} events that were stored meanwhile mention them, the first is event:{since[0]}"] if since else []
                copies = [f"free space of {name} still holds copies; run `rlp kb vacuum`" for name in remains]
                for remark in (*erasure.remarks, *(f"{each}: forget again" for each in late), *copies):
                    output.print_warning("kb.erased_in_part", remark)
                if answer["again"] is not None:
                    output.print_line(f"nobody is known under these texts any more; for what stayed, then: {answer['again']}")
        elif not dry_run and found.lefts:
            output.print_line("nothing was erased")
    if as_json:
        output.print_json(answer)
    return EXIT_FAILED if stays and not dry_run else EXIT_OK


def _show(found: Forgetting, outside: list[dict[str, str]], style: output.TableStyle) -> None:
    rows = [
        (f"event:{each.event_id}", each.kind, each.what, each.action + (f": {each.why}" if each.why else "")) for each in found.mentions
    ]
    data = [each.to_dict() for each in found.mentions]
    output.print_rows(_COLUMNS, rows, as_json=False, as_table=True, style=style, empty="nothing mentions them", data=data)
    if outside:
        output.print_line("\nnot reached from here:")
        for each in outside:
            output.print_line(f"  {each['path']}: {each['what']}")


def _outside(kb: KnowledgeBase, found: Forgetting) -> list[dict[str, str]]:
    """Files that this program does not change: what was read, what runs made, backups, archives."""
    from pathlib import Path

    from runloop.kb.forgetting import holding
    from runloop.kb.pruning.checkpoints import archive_place, checkpoints

    places = files()
    listed = {path: "it was read from here, or a run made it" for path in found.outside if _may_be(Path(path))}
    folders = (*places.beside.values(), places.backups)
    for path in holding(
        (each for folder in folders if folder.is_dir() for each in sorted(folder.rglob("*")) if each.is_file()), found.texts
    ):
        listed.setdefault(str(path), "a backup; remove it" if places.backups in path.parents else "mentions them")
    for path in sorted(places.backups.iterdir()) if places.backups.is_dir() else ():
        if not any(Path(each) == path or path in Path(each).parents for each in listed):
            listed.setdefault(str(path), "a backup in which they do not stand as they are written here")
    with kb.ledger.reading() as db:
        archives = [archive_place(each, kb.ledger.path) for each in checkpoints(db)]
    archives += sorted(places.beside["archive"].glob("*.jsonl.gz*"))  # also those of a prune that was killed before it named them
    listed |= {str(path): "an archive of pruned runs, which was not looked into" for path in archives}
    return [{"path": path, "what": what} for path, what in listed.items()]


def _may_be(path: Path) -> bool:
    """Whether the file is there, or is where nobody may look."""
    try:
        return path.exists()
    except OSError:
        return True


def _remains(kb: KnowledgeBase, found: Forgetting) -> list[str]:
    from runloop.kb.forgetting import holding, stands

    texts = [text for text in found.texts if not text.startswith("contact:") and not stands(kb, text)]
    looked: list[Path] = [path for path in sorted(kb.root.glob("*.sqlite*")) if path.is_file()]
    return [path.name for path in holding(looked, texts)]
