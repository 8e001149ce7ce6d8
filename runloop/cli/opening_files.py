"""`rlp opening fmt` and `rlp opening new`: what writes the files of openings."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import context, output
from runloop.cli.document import print_document
from runloop.cli.opening_source import STDIN, FilesArgument, read
from runloop.cli.options import JsonOption
from runloop.errors import EXIT_FAILED, EXIT_OK, InvalidInput, Where
from runloop.links import replaceable

if TYPE_CHECKING:
    from runloop.openings.templates import Cast


class OpeningForm(StrEnum):
    """How an opening is written."""

    YAML = "yaml"
    BRACE = "brace"


class TemplateName(StrEnum):
    """What `rlp opening new` can begin with."""

    PIPELINE = "pipeline"
    PARALLEL = "parallel"
    FORK_JOIN = "fork_join"
    DEBATE = "debate"
    SWITCH = "switch"
    SWARM = "swarm"
    ITERATE = "iterate"
    MAP_REDUCE = "map_reduce"


_SUFFIXES = {OpeningForm.YAML: ".yaml", OpeningForm.BRACE: ".opening"}


def format_files(
    files: FilesArgument,
    to: Annotated[OpeningForm | None, typer.Option("--to", help="The form to write, yaml or brace; its own by default.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Only say which files would change; exit code 1 if there is any.")] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Write the files; another form goes beside the file, under its own suffix.")
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Print an opening in its canonical layout, comments included, or convert it to the other form."""
    from runloop.openings.fmt import Form, format_opening

    if check and write:
        raise InvalidInput("--check and --write exclude each other", code="opening.usage", hint="give one of them")
    if len(files) > 1 and not (check or write or as_json):
        hint = "name one, or add --check, --write or --json"
        raise InvalidInput("several openings cannot be printed as one", code="opening.usage", hint=hint)
    form = Form(to) if to else None
    done: list[dict[str, Any]] = []
    for file in files:
        name, data = read(file)
        printed = format_opening(data, to=form, file=name)
        differs = printed.text != printed.source
        written = _write(name, printed.text, None if form in (None, printed.was) else to) if write and differs else None
        one = {"file": name, "form": (form or printed.was).value, "differs": differs, "written": written and str(written)}
        done.append(one if check or write else {**one, "text": printed.text})
        if not as_json:
            _tell_formatted(name, printed.text, written, check=check, write=write, differs=differs)
    if as_json:
        output.print_json(done)
    return EXIT_FAILED if check and any(each["differs"] for each in done) else EXIT_OK


def _tell_formatted(name: str, text: str, written: Path | None, *, check: bool, write: bool, differs: bool) -> None:
    if written is not None:
        output.print_line(f"wrote {name}" if written == Path(name) else f"wrote {written} ({name} is still there; keep one of them)")
    elif check and differs:
        output.print_line(f"would change: {name}")
    elif not (check or write):
        print_document(text)


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the new opening: letters, digits, '-' and '_'.")],
    template: Annotated[TemplateName, typer.Option("--from", help=f"What to begin with: {', '.join(TemplateName)}.")],
    agents: Annotated[
        list[str] | None,
        typer.Option("--agent", metavar="[ROLE=]AGENT", help="Who works: in one role, or in all that have nobody. May be repeated."),
    ] = None,
    rounds: Annotated[int | None, typer.Option("--rounds", metavar="N", help="Rounds of a debate, or of revision.")] = None,
    branches: Annotated[int | None, typer.Option("--branches", metavar="N", help="Nodes that work side by side.")] = None,
    to_file: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write it (default: your own openings); - prints it.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Begin an opening from a template: plain nodes with comments, which run as soon as the agents are there."""
    from runloop.config import ensure
    from runloop.openings.templates import TEMPLATES, expand

    text = expand(TEMPLATES[template], name, _cast(agents or []), rounds=rounds, branches=branches)
    made = {"name": name, "template": template.value}
    if str(to_file) == "-":
        if as_json:
            output.print_json({**made, "file": None, "text": text})
        else:
            print_document(text)
        return
    path = to_file or ensure(context.settings().directories.openings) / f"{name}.yaml"
    _create(path, text, force=force)
    if as_json:
        output.print_json({**made, "file": str(path)})
        return
    reference = name if to_file is None else str(path)
    output.print_line(f"created {path}")
    output.print_line(f"next: edit it, then `rlp opening check {reference}` and `rlp run {reference}`")


def _cast(named: list[str]) -> Cast:
    from runloop.openings.templates import Cast

    roles: dict[str, list[str]] = {}
    everyone: list[str] = []
    for text in named:
        role, equals, agent = text.partition("=")
        if equals:
            roles.setdefault(role, []).append(agent)
        else:
            everyone.append(text)
    if len(everyone) > 1:
        hint = "write --agent ROLE=NAME for all but one of them"
        raise InvalidInput("several agents are named for all roles", code="opening.role", hint=hint)
    return Cast(roles, everyone[0] if everyone else "")


def _write(name: str, text: str, converted_to: OpeningForm | None) -> Path:
    """Put ``text`` into the file ``name``, or beside it where it is of another form; the file that was written."""
    if name == STDIN:
        raise InvalidInput("standard input cannot be written", code="opening.usage", hint="leave --write out")
    if converted_to is None:
        _replace(Path(name), text)
        return Path(name)
    path = Path(name).with_suffix(_SUFFIXES[converted_to])
    _create(path, text, force=False, forcible=False)
    return path


def _create(path: Path, text: str, *, force: bool, forcible: bool = True) -> None:
    if os.path.lexists(path) and not force:
        hint = "choose another name, or remove what is there" + (", or pass --force to replace it" if forcible else "")
        raise InvalidInput(f"path already exists: {path}", code="opening.exists", where=Where(file=str(path)), hint=hint)
    _replace(path, text)


def _replace(path: Path, text: str) -> None:
    """Write beside the place and rename, so that nobody ever reads half a file; rights and links stay."""
    from runloop.staged import staged

    try:
        target = replaceable(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with staged(target.parent, text.encode()) as own:
            if target.exists():
                own.chmod(target.stat().st_mode & 0o777)
            own.replace(target)
    except OSError as error:
        message = f"cannot write {path}: {error.strerror}"
        raise InvalidInput(message, code="opening.unwritable", where=Where(file=str(path)), hint="check the directory") from None
