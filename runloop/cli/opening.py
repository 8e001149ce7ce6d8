"""`rlp opening`: check openings, draw their graphs, print them canonically, begin new ones. docs/openings.md describes the language."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import context, output
from runloop.cli.opening_list import list_openings
from runloop.cli.options import JsonOption
from runloop.errors import EXIT_FAILED, EXIT_INVALID, EXIT_OK, InvalidInput, Where

if TYPE_CHECKING:
    from collections.abc import Callable

    from runloop.openings import AgentPorts, Examined, Opening, Problem
    from runloop.openings.templates import Cast

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="List, check, draw, format and begin openings.")
app.command("list")(list_openings)


class GraphFormat(StrEnum):
    """How `rlp opening graph` draws."""

    TEXT = "text"
    DOT = "dot"
    MERMAID = "mermaid"
    JSON = "json"


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


_STDIN = "<stdin>"
_SUFFIXES = {OpeningForm.YAML: ".yaml", OpeningForm.BRACE: ".opening"}

FileArgument = Annotated[str, typer.Argument(metavar="FILE", help="An opening by file or name; - is standard input.")]


@app.command(name="check")
def check_files(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Openings by file or name; - is standard input.")],
    as_json: JsonOption = False,
    agents: Annotated[bool, typer.Option("--agents/--no-agents", help="Check ports and arguments against the installed agents.")] = True,
    root: Annotated[Path | None, typer.Option("--root", metavar="DIR", help="Directory of agents to use first.")] = None,
) -> int:
    """Show every problem of the openings with its place; exit code 2 if there is any."""
    from runloop.openings import examine

    resolve, nested = (_resolver(root), _nested()) if agents else (None, None)
    results: list[tuple[str, Examined]] = []
    for file in files:
        name, data = _read(file)
        examined = examine(data, file=name, resolve=resolve, nested=nested)
        results.append((name, examined))
        if not as_json:
            _print_result(name, data, examined)
    found = any(examined.problems for _, examined in results)
    if as_json:
        output.print_json([_result(name, examined) for name, examined in results])
    return EXIT_INVALID if found else EXIT_OK


@app.command()
def graph(
    file: FileArgument,
    form: Annotated[GraphFormat, typer.Option("--format", help="How to draw it.")] = GraphFormat.TEXT,
    width: Annotated[
        int | None, typer.Option("--width", min=20, metavar="N", help="Columns to draw in; the terminal's by default.")
    ] = None,
    ascii_only: Annotated[bool, typer.Option("--ascii", help="Draw with ASCII characters only.")] = False,
) -> None:
    """Draw the graph of an opening: nodes in layers, dashed lines where a guard decides."""
    from runloop.openings import parse_opening

    name, data = _read(file)
    opening = parse_opening(data, file=name)
    if form is GraphFormat.JSON:
        from runloop.openings.export import to_graph

        output.print_json(to_graph(opening))
    else:
        output.print_line(_drawing(opening, form, width, ascii_only=ascii_only))


@app.command(name="fmt")
def format_files(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Openings by file or name; - is standard input.")],
    to: Annotated[OpeningForm | None, typer.Option("--to", help="The form to write, yaml or brace; its own by default.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Only say which files would change; exit code 1 if there is any.")] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Write the files; another form goes beside the file, under its own suffix.")
    ] = False,
) -> int:
    """Print an opening in its canonical layout, comments included, or convert it to the other form."""
    from runloop.openings.fmt import Form, format_opening

    if check and write:
        raise InvalidInput("--check and --write exclude each other", code="opening.usage", hint="give one of them")
    if len(files) > 1 and not (check or write):
        raise InvalidInput("several openings cannot be printed as one", code="opening.usage", hint="name one, or add --check or --write")
    form = Form(to) if to else None
    changed = 0
    for file in files:
        name, data = _read(file)
        printed = format_opening(data, to=form, file=name)
        differs = printed.text != printed.source
        changed += differs
        if check and differs:
            output.print_line(f"would change: {name}")
        elif write and differs:
            output.print_line(f"wrote {_write(name, printed.text, None if form in (None, printed.was) else to)}")
        elif not (check or write):
            _print_text(printed.text)
    return EXIT_FAILED if check and changed else EXIT_OK


@app.command()
def schema() -> None:
    """Print the JSON Schema of an opening's YAML, for editors; check says more."""
    import json

    from runloop.openings.schema import document_schema

    output.print_line(json.dumps(document_schema(), indent=2, ensure_ascii=False))


@app.command()
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
) -> None:
    """Begin an opening from a template: plain nodes with comments, which run as soon as the agents are there."""
    from runloop.openings.templates import TEMPLATES, expand

    text = expand(TEMPLATES[template], name, _cast(agents or []), rounds=rounds, branches=branches)
    if str(to_file) == "-":
        _print_text(text)
        return
    path = to_file or context.settings().directories.openings / f"{name}.yaml"
    _create(path, text, force=force)
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


def _write(name: str, text: str, converted_to: OpeningForm | None) -> str:
    """Put ``text`` into the file ``name``, or beside it where it is of another form."""
    if name == _STDIN:
        raise InvalidInput("standard input cannot be written", code="opening.usage", hint="leave --write out")
    if converted_to is None:
        _replace(Path(name), text)
        return name
    path = Path(name).with_suffix(_SUFFIXES[converted_to])
    _create(path, text, force=False)
    return f"{path} ({name} is still there; keep one of them)"


def _print_text(text: str) -> None:
    """A file's text as it is, in UTF-8; made harmless for a terminal."""
    if output.is_terminal(sys.stdout):
        output.print_line(text.removesuffix("\n"))
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()


def _create(path: Path, text: str, *, force: bool) -> None:
    if os.path.lexists(path) and not force:
        hint = "choose another name, or remove what is there"
        raise InvalidInput(f"path already exists: {path}", code="opening.exists", where=Where(file=str(path)), hint=hint)
    _replace(path, text)


def _replace(path: Path, text: str) -> None:
    """Write beside the place and rename, so that nobody ever reads half a file; rights and links stay."""
    target = path.resolve()
    staged = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        mode = target.stat().st_mode & 0o777 if target.exists() else None
        staged.write_text(text, "utf-8")
        if mode is not None:
            staged.chmod(mode)
        staged.replace(target)
    except OSError as error:
        with suppress(OSError):
            staged.unlink()
        message = f"cannot write {path}: {error.strerror}"
        raise InvalidInput(message, code="opening.unwritable", where=Where(file=str(path)), hint="check the directory") from None


def _drawing(opening: Opening, form: GraphFormat, width: int | None, *, ascii_only: bool) -> str:
    from runloop.openings.draw import draw
    from runloop.openings.export import to_dot, to_mermaid

    if form is GraphFormat.DOT:
        return to_dot(opening)
    if form is GraphFormat.MERMAID:
        return to_mermaid(opening)
    return draw(opening, width=width or output.terminal_width(), ascii_only=ascii_only or not _can_print_boxes())


def _can_print_boxes() -> bool:
    try:
        "│▽←".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _read(file: str) -> tuple[str, bytes]:
    """The name to show and the bytes of an opening, at most a little more than the language allows."""
    from runloop.openings.yamltree import MAX_BYTES

    if file == "-":
        return _STDIN, sys.stdin.buffer.read(MAX_BYTES + 1)
    path = Path(file)
    try:
        path = path if path.exists() else _named(file)
        with path.open("rb") as stream:
            return str(path), stream.read(MAX_BYTES + 1)
    except OSError as error:
        message, hint = f"cannot read {path}: {error.strerror}", "give the name of a file that you may read"
        raise InvalidInput(message, code="opening.unreadable", where=Where(file=str(path)), hint=hint) from error


def _named(name: str) -> Path:
    from runloop.runs.lookup import find_opening
    from runloop.runs.places import opening_dirs

    found = find_opening(name, opening_dirs(context.settings()))
    return Path(found.file or name)


def _resolver(root: Path | None) -> Callable[[str, str | None], AgentPorts | None]:
    from runloop.bundles.errors import BundleNotFound
    from runloop.openings import AgentPorts
    from runloop.runs.places import bundle_store

    store = bundle_store(context.settings(), root)

    def resolve(name: str, variant: str | None) -> AgentPorts | None:
        try:
            bundle = store.resolve(name, variant)
        except BundleNotFound:
            return None
        schema = None if bundle.with_schema is None else dict(bundle.with_schema)
        return AgentPorts(frozenset(bundle.ports_in), frozenset(bundle.ports_out), schema)

    return resolve


def _nested() -> Callable[[str], Opening | None]:
    from functools import cache

    from runloop.openings import parse_opening
    from runloop.runs.lookup import find_opening
    from runloop.runs.places import opening_dirs

    search_dirs = opening_dirs(context.settings())

    @cache
    def nested(name: str) -> Opening | None:
        try:
            found = find_opening(name, search_dirs)
        except InvalidInput as error:
            if error.code == "opening.not_found":
                return None
            raise
        return parse_opening(found.source, file=found.file)

    return nested


def _print_result(name: str, data: bytes, examined: Examined) -> None:
    if not examined.problems and examined.opening is not None:
        opening = examined.opening
        output.print_line(f"{name}: ok ({_counted(len(opening.nodes), 'node')}, {_counted(len(opening.edges), 'edge')})")
        return
    text = data.decode("utf-8", "replace")
    for problem in examined.problems:
        _print_problem(name, text, problem)
    output.print_line(f"{name}: {_counted(len(examined.problems), 'problem')}")


def _print_problem(name: str, text: str, problem: Problem) -> None:
    from runloop.openings.excerpt import excerpt, source_line

    where = problem.where
    place = f"{name}:{where.line}:{where.column}" if where.line is not None else name
    output.print_line(f"{place}: {problem.message} [{problem.code}]")
    if where.line is not None and where.column is not None:
        gutter = f"{where.line:>5} | "
        line, caret = excerpt(source_line(text, where.line), where.column, max(20, output.terminal_width() - len(gutter)))
        output.print_line(f"{gutter}{line}")
        output.print_line(f"{'':>5} | {caret}")
    if problem.hint:
        output.print_line(f"{'':>5} = hint: {problem.hint}")


def _result(name: str, examined: Examined) -> dict[str, Any]:
    opening = examined.opening
    return {
        "file": name,
        "ok": not examined.problems,
        "name": opening.name if opening else None,
        "digest": opening.digest if opening else None,
        "problems": [problem.to_dict() for problem in examined.problems],
    }


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
