"""`rlp shell`: switch the shell integration on and off in a shell's start file, and say how it stands."""

from __future__ import annotations

import os
import shutil
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import output
from runloop.cli.options import JsonOption, LinesOption, TableOption
from runloop.cli.whole import home, remedy, write_whole
from runloop.dataclass import dataclass
from runloop.errors import EXIT_OK, InvalidInput, RunloopError, Where
from runloop.links import followed, regular
from runloop.router import rcblock

if TYPE_CHECKING:
    from collections.abc import Mapping

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Switch the shell integration on and off, and say how it stands.",
)

SHARED = (Path("/usr/share/runloop/shell"), Path("/usr/local/share/runloop/shell"))
"""Where packages put the snippets; what this installation brings itself comes first."""
_DONE = {
    "added": "installed runloop shell integration in",
    "updated": "updated runloop shell integration in",
    "present": "shell integration already present in",
    "removed": "removed runloop shell integration from",
    "not_found": "shell integration block not found in",
}


class Shell(StrEnum):
    """The shells that it is for; ``auto`` is the one in SHELL."""

    AUTO = "auto"
    ZSH = "zsh"
    BASH = "bash"
    FISH = "fish"


ShellOption = Annotated[Shell, typer.Option("--shell", help="For which shell; auto is the one in SHELL.")]
RcOption = Annotated[Path | None, typer.Option("--rc-path", metavar="FILE", help="The shell's start file, if it is not the usual one.")]
DryOption = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and print the file as it would be; change nothing.")]


@app.command()
def enable(
    *,
    shell: ShellOption = Shell.AUTO,
    rc_path: RcOption = None,
    snippet: Annotated[
        Path | None, typer.Option("--snippet", metavar="FILE", help="Another snippet than the one that comes with rlp.")
    ] = None,
    opening: Annotated[
        Path | None, typer.Option("--opening", metavar="FILE", help="The opening for requests that fit no other, in this shell.")
    ] = None,
    ssh: Annotated[bool | None, typer.Option("--ssh/--no-ssh", help="Also in sessions over SSH.")] = None,
    dry_run: DryOption = False,
    as_json: JsonOption = False,
    as_table: LinesOption = False,
) -> int:
    """Write the block into the start file, once; a backup of the file is kept beside it. A new shell has it.

    Where the block is there already, it keeps what an earlier `--ssh` or `--opening` said.
    """
    name = _shell(shell)
    source = _snippet(name, snippet)
    start = _Start(name, rc_path or rc_file(name, os.environ))
    variables = rcblock.variables(start.block() or "", name)
    if opening is not None:
        if not opening.is_file():
            message = f"opening file '{opening}' does not exist"
            raise InvalidInput(message, code="shell.opening", where=Where(key="--opening"), hint="name a file; `rlp opening list` has some")
        variables["RUNLOOP_ROUTER_OPENING_PATH"] = str(opening.resolve())
    if ssh:
        variables["RUNLOOP_ROUTER_SSH"] = "1"
    elif ssh is not None:
        variables.pop("RUNLOOP_ROUTER_SSH", None)
    edited = start.edit(lambda text: rcblock.enabled(text, name, rcblock.block(name, str(source), variables)))
    return _edit(start, edited, dry_run, as_json=output.wants_json(as_json=as_json, as_table=as_table))


@app.command()
def disable(
    *,
    shell: ShellOption = Shell.AUTO,
    rc_path: RcOption = None,
    dry_run: DryOption = False,
    as_json: JsonOption = False,
    as_table: LinesOption = False,
) -> int:
    """Take the block out of the start file again; a backup of the file is kept beside it."""
    name = _shell(shell)
    start = _Start(name, rc_path or rc_file(name, os.environ))
    edited = start.edit(lambda text: rcblock.disabled(text, name))
    return _edit(start, edited, dry_run, as_json=output.wants_json(as_json=as_json, as_table=as_table))


@app.command()
def status(as_json: JsonOption = False, as_table: TableOption = False) -> int:
    """Say for each shell whether the block stands in its start file, and whether what it names is there."""
    rows: list[dict[str, Any]] = []
    for name in rcblock.SHELLS:
        start = _Start(name, rc_file(name, os.environ))
        try:
            text = start.block()
        except RunloopError as error:
            state, source = error.message, None
        else:
            source = None if text is None else rcblock.snippet(text)
            here = source is None or Path(source).is_file()
            state = "off" if text is None else "on" if here else "on, but its snippet is gone: run `rlp shell enable` again"
        rows.append({"shell": name, "state": state, "installed": shutil.which(name) is not None, "rc": str(start.path), "snippet": source})
    rows_shown = [(each["shell"], each["state"], each["installed"], each["rc"], each["snippet"]) for each in rows]
    output.print_rows(("shell", "state", "installed", "file", "snippet"), rows_shown, as_json=as_json, as_table=as_table, data=rows)
    return EXIT_OK


def enabled_in(shell: str) -> bool:
    """Whether the block stands in the start file of a shell. Raises RunloopError where that cannot be read."""
    return _Start(shell, rc_file(shell, os.environ)).block() is not None


def snippet_of(shell: str) -> Path | None:
    """The file that the block of a shell names, whether or not it is there; None without a block."""
    text = _Start(shell, rc_file(shell, os.environ)).block()
    source = None if text is None else rcblock.snippet(text)
    return None if source is None else Path(source)


def rc_file(shell: str, environment: Mapping[str, str]) -> Path:
    """The file that a new interactive shell of this kind reads."""
    own = home(environment)
    if shell == "zsh":
        return Path(environment.get("ZDOTDIR") or own) / ".zshrc"
    if shell == "bash":
        return own / ".bashrc"
    return Path(environment.get("XDG_CONFIG_HOME") or own / ".config") / "fish" / "config.fish"


@dataclass(frozen=True, slots=True)
class _Start:
    """A start file: its bytes as text, whatever they are; written back in place of what a link names."""

    shell: str
    path: Path

    def read(self) -> str:
        try:
            with regular(self.path) as file:
                return file.read().decode("utf-8", "surrogateescape")
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise self._failed("cannot be read", error) from error

    def block(self) -> str | None:
        found: str | None = self._whole(lambda text: rcblock.current(text, self.shell))
        return found

    def edit(self, change: Any) -> rcblock.Edited:
        edited: rcblock.Edited = self._whole(change)
        return edited

    def _whole(self, of: Any) -> Any:
        """What ``of`` makes of the file; a block in it that is not whole is an error with its line."""
        try:
            return of(self.read())
        except rcblock.Broken as broken:
            raise InvalidInput(
                f"{broken} in {self.path}",
                code="shell.block",
                where=Where(file=str(self.path), line=broken.line),
                hint="remove what is left of the block by hand, and try again",
            ) from broken

    def write(self, text: str) -> Path | None:
        """Keep what is there under another name, then replace it whole; the name of the backup."""
        real = followed(self.path)
        try:
            backup = None
            if real.exists():
                backup = _unused(self.path)
                write_whole(backup, real.read_bytes().decode("utf-8", "surrogateescape"), new=True)
                shutil.copystat(real, backup)
            write_whole(real, text)
        except OSError as error:
            raise self._failed("cannot be written", error) from error
        return backup

    def _failed(self, what: str, error: OSError) -> RunloopError:
        where = Where(file=str(self.path))
        return RunloopError(
            f"{self.path} {what}: {error.strerror}",
            code="shell.rc_file",
            where=where,
            hint=remedy(error, "check its rights, or name another with --rc-path"),
        )


def _edit(start: _Start, edited: rcblock.Edited, dry_run: bool, *, as_json: bool) -> int:
    changed = edited.action in ("added", "updated", "removed")
    backup = start.write(edited.text) if changed and not dry_run else None
    if as_json:
        output.print_json(
            {
                "shell": start.shell,
                "action": edited.action,
                "rc": str(start.path),
                "backup": None if backup is None else str(backup),
                "dry_run": dry_run,
            }
        )
        return EXIT_OK
    if dry_run and changed:
        output.print_line(edited.text.rstrip("\n"))
        return EXIT_OK
    output.print_line(f"{_DONE[edited.action]} {start.path}")
    if backup is not None:
        output.print_line(f"the file as it was: {backup}")
    if edited.action in ("added", "updated"):
        output.print_line(f"a new {start.shell} has it; `rlp shell disable --shell {start.shell}` takes it out")
    return EXIT_OK


def _shell(shell: Shell) -> str:
    if shell is not Shell.AUTO:
        return shell.value
    name = Path(os.environ.get("SHELL", "")).name
    if name not in rcblock.SHELLS:
        said = f"SHELL is {name!r}" if name else "SHELL is not set"
        raise InvalidInput(
            f"{said}: there is no integration for it", code="shell.unknown", hint="say --shell zsh, --shell bash or --shell fish"
        )
    return name


def _snippet(shell: str, given: Path | None) -> Path:
    """The file to source; one that was named, else the one that comes with this installation, else a package's."""
    own = Path(__file__).resolve().parent.parent / "data" / "shell"
    places = [given] if given is not None else [directory / f"runloop.{shell}" for directory in (own, *SHARED)]
    for place in places:
        if place.is_file():
            return place.resolve()
    tried = ", ".join(map(str, places))
    raise InvalidInput(f"snippet not found; tried: {tried}", code="shell.snippet", hint="name it with --snippet")


def _unused(path: Path) -> Path:
    """``<rc>.runloop.bak.<seconds>``, or the next second that is free."""
    second = int(time.time())
    while (backup := path.with_name(f"{path.name}.runloop.bak.{second}")).exists():
        second += 1
    return backup
