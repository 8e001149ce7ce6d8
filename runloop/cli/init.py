"""`rlp init`: the first set-up, a step at a time, each of which says what it did and how to undo it. Done twice it changes nothing."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from runloop.cli import context, output
from runloop.cli.options import JsonOption
from runloop.cli.whole import remedy, write_whole
from runloop.dataclass import dataclass
from runloop.errors import InvalidInput, RunloopError, Where

if TYPE_CHECKING:
    from runloop.cli.detecting import Found
    from runloop.config import Settings

app = typer.Typer(add_completion=False, help="Set Runloop up for this user.")
_UNIT = "runloopd.service"
_SHOWN_MODELS = 4


@dataclass(frozen=True, slots=True)
class Step:
    """What became of one step: done now, there before, left out, or failed; ``undo`` is how to take it back, else how to do it."""

    name: str
    state: Literal["done", "there", "left", "failed"]
    detail: str
    undo: str = ""


@dataclass(frozen=True, slots=True)
class How:
    """Who decides: the person, asked; everything proposed is taken; or nothing but the file is made."""

    ask: bool
    take: bool

    def agrees(self, question: str) -> bool:
        """Whether the step is wanted."""
        return self.take if not self.ask else output.heard(f"{question} [Y/n] ").lower() in {"", "y", "yes"}


@app.command(name="init")
def init(
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Take every proposal without asking.")] = False,
    non_interactive: Annotated[
        bool, typer.Option("--non-interactive", help="Ask nothing; write the configuration file only, and say what else there is.")
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Write a configuration file, look for models, and offer completion, shell integration, the daemon and a first import.

    Nothing that is there is changed: a second time it says what is there. Keys are named, never read into a file.

    Examples: `rlp init`, `rlp init --yes`, `rlp init --non-interactive --json`.
    """
    if yes and non_interactive:
        raise InvalidInput("--yes and --non-interactive exclude each other", code="cli.usage", hint="give one of them")
    from runloop.cli.person import person_present

    ask = not (yes or non_interactive or as_json)
    if ask and not person_present():
        hint = "on a terminal it asks; else give --yes or --non-interactive"
        raise InvalidInput("nobody is here to be asked", code="cli.usage", where=Where(key="--yes"), hint=hint)
    how, settings = How(ask, yes), context.settings()
    found: list[Step] = []
    for step in (_config, _completion, _shell, _import, _service):
        try:
            done = step(settings, how)
        except RunloopError as error:
            done = Step(step.__name__.strip("_"), "failed", f"{error.message} [{error.code}]", error.hint)
        found.append(done)
        if not as_json:
            _print(done)
    if as_json:
        output.print_json([asdict(each) for each in found])
    else:
        output.print_line("\n`rlp doctor` checks all of it; `rlp run compose_email -p recipient=ADDRESS -p topic=…` is a first run")
    return 1 if any(each.state == "failed" for each in found) else 0


def _print(step: Step) -> None:
    word = {"done": "done", "there": "there already", "left": "not done", "failed": "failed"}[step.state]
    output.print_line(f"{step.name:<11} {word}: {step.detail}")
    if step.undo:
        label = {"done": "undo", "there": "undo", "left": "to do it", "failed": "hint"}[step.state]
        output.print_line(f"{'':<11} {label}: {step.undo}")


# ── configuration and models ─────────────────────────────────────────────────────────────────────────────────────────────


def _config(settings: Settings, how: How) -> Step:
    from runloop.cli.detecting import detect

    there = next((path for path in reversed(settings.base.user_files) if path.exists()), None)
    found = detect(os.environ)
    if there is not None:
        known = {each["base_url"] for each in settings.get("models.broker.providers")}
        new = [each for each in found if each.base_url not in known]
        more = f"; not in it: {_listed(new)}" if new else ""
        return Step("config", "there", f"{there}{more}", f"rm {there}, and `rlp init` writes it anew")
    path = settings.base.state / "config.yaml"
    said = f"models found: {_listed(found)}" if found else "no model found"
    if how.ask:
        output.print_line(said)
    if how.ask and not how.agrees(f"Write {path}?"):
        return Step("config", "left", said, "rlp init")
    _write(path, found)
    context.current().settings = None  # the next step sees what was written
    return Step("config", "done", f"{path}; {said}", f"rm {path}")


def _listed(found: list[Found]) -> str:
    return ", ".join(_named(each) for each in found)


def _named(each: Found) -> str:
    if each.variable is not None:
        return f"{each.id} (key in ${each.variable}; as secret {each.secret_id})"
    more = len(each.models) - _SHOWN_MODELS
    models = ", ".join(each.models[:_SHOWN_MODELS]) + (f", {more} more" if more > 0 else "")
    return f"{each.id} at {each.base_url} ({models or 'no models yet'})"


def _write(path: Path, found: list[Found]) -> None:
    from runloop.cli.first_config import text
    from runloop.config import ensure

    ensure(path.parent)
    try:
        write_whole(path, text(found), mode=0o600, new=True)
    except OSError as error:
        hint = remedy(error, "check its rights")
        raise RunloopError(f"it cannot be written: {error.strerror}", code="init.write", where=Where(file=str(path)), hint=hint) from error


# ── the shell ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _own_shell() -> str:
    name = Path(os.environ.get("SHELL", "")).name
    return name if name in ("bash", "zsh", "fish") else ""


def _completion(_settings: Settings, how: How) -> Step:
    from runloop.cli import completion

    shell = _own_shell()
    if not shell:
        return Step("completion", "left", "SHELL is none of bash, zsh and fish", "rlp --install-completion SHELL")
    path = completion.place(shell, os.environ)
    packaged = any(Path(prefix, place).exists() for prefix in _PREFIXES for place in _PACKAGED[shell])
    if path.exists() or packaged:
        return Step("completion", "there", f"for {shell}", f"rm {path}" if path.exists() else "")
    if not how.agrees(f"Install completion for {shell} as {path}?"):
        return Step("completion", "left", f"for {shell}", f"rlp --install-completion {shell}")
    _silently(lambda: completion.install(shell, os.environ))
    needed = completion.needs(shell, path)
    return Step("completion", "done", f"{path}" + (f"; {needed}" if needed else ""), f"rm {path}")


_PREFIXES = ("/usr", "/usr/local")
"""Where shells look for what packages brought; what lies in a virtual environment, they never see."""
_PACKAGED = {
    "bash": ("share/bash-completion/completions/rlp",),
    "zsh": ("share/zsh/site-functions/_rlp", "share/zsh/vendor-completions/_rlp"),
    "fish": ("share/fish/vendor_completions.d/rlp.fish",),
}


def _shell(_settings: Settings, how: How) -> Step:
    from runloop.cli import shell as integration

    shell = _own_shell()
    if not shell:
        return Step("shell", "left", "SHELL is none of bash, zsh and fish", "rlp shell enable --shell SHELL")
    start = integration.rc_file(shell, os.environ)
    if integration.enabled_in(shell):
        return Step("shell", "there", f"the integration is in {start}", f"rlp shell disable --shell {shell}")
    if not how.agrees(f"Let lines that are no commands go to agents in {shell} (a block in {start})?"):
        return Step("shell", "left", f"{shell} sends nothing to agents", f"rlp shell enable --shell {shell}")
    _silently(lambda: integration.enable(shell=integration.Shell(shell)))
    return Step("shell", "done", f"a block in {start}; a new {shell} has it", f"rlp shell disable --shell {shell}")


# ── the daemon ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _service(settings: Settings, how: How) -> Step:
    from runloop.cli import link

    try:
        running = link.ask_once(settings, "status")
    except RunloopError as error:
        if error.code != "daemon.unavailable":
            raise
        running = None
    if running is not None:
        return Step("daemon", "there", f"process {running['pid']}", "rlp down")
    if _systemd_runs():
        return _unit(settings, how)
    if not how.agrees("Start the daemon now?"):
        return Step("daemon", "left", "runs work without it, in their own process", "rlp up")
    from runloop.cli.up import up

    _silently(lambda: up(wait=True))
    return Step("daemon", "done", "started; this user has no systemd, so it does not start by itself", "rlp down")


def _systemd_runs() -> bool:
    """Whether this user has a service manager."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return bool(runtime) and Path(str(runtime), "systemd/private").exists() and shutil.which("systemctl") is not None


_PACKAGED_UNITS = tuple(Path(prefix, "lib/systemd/user", _UNIT) for prefix in ("/usr", "/usr/local"))
"""A unit that a package brought is enabled as it is, so that it changes with the package."""


def _unit(settings: Settings, how: How) -> Step:
    if settings.base.home is None or os.environ.get("RUNLOOP_HOME"):
        return Step("daemon", "left", "RUNLOOP_HOME is set, which a service would not know", "rlp up")
    own = Path(os.environ.get("XDG_CONFIG_HOME") or settings.base.home / ".config") / "systemd/user" / _UNIT
    packaged = next((each for each in _PACKAGED_UNITS if each.exists() and not own.exists()), None)
    place = packaged or own
    undo = f"systemctl --user disable --now {_UNIT}" + ("" if packaged else f"; rm {place}")
    if not how.agrees(f"Start the daemon with every login ({place})?"):
        return Step("daemon", "left", "runs work without it, in their own process", "rlp up, for now")
    if not place.exists():
        program = shutil.which("runloopd") or str(Path(sys.executable).with_name("runloopd"))
        shipped = (Path(__file__).resolve().parent.parent / "data/systemd/user" / _UNIT).read_text(encoding="utf-8")
        try:
            write_whole(place, shipped.replace("/usr/bin/runloopd", program))
        except OSError as error:
            hint = remedy(error, "check its rights, or start it with `rlp up`")
            raise RunloopError(f"{place} cannot be written: {error.strerror}", code="init.write", hint=hint) from error
    for words in (["daemon-reload"], ["enable", "--now", _UNIT]):
        _systemctl(words)
    return Step("daemon", "done", f"{place}, enabled and started", undo)


def _systemctl(words: list[str]) -> None:
    import subprocess

    done = subprocess.run(["systemctl", "--user", *words], capture_output=True, text=True, check=False)  # noqa: S603, S607 - the system's own
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).split("\n")[0]
        hint = f"`systemctl --user status {_UNIT}` says more; `rlp up` starts it without systemd"
        raise RunloopError(f"systemctl --user {' '.join(words)}: {said}", code="init.systemd", hint=hint)


# ── the first import ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _import(settings: Settings, how: How) -> Step:
    base = settings.directories.pog / settings.get("kb.events_db")
    if base.exists():
        return Step("import", "there", f"the knowledge base in {settings.directories.pog}")
    usual = "rlp kb import contacts FILE, notes DIR, mail PATH, calendar FILE, git REPO or shell"
    if not how.ask:
        return Step("import", "left", "the knowledge base is empty", usual)
    answer = output.heard("A directory of notes, or a file of contacts (.vcf, .csv), to begin with (Enter for none): ")
    if not answer:
        return Step("import", "left", "the knowledge base is empty", usual)
    path = Path(answer).expanduser()
    sort = "notes" if path.is_dir() else "contacts"
    from runloop.cli.commands import command_of

    code = command_of("kb")(args=["import", sort, str(path)], prog_name="rlp kb", standalone_mode=False)
    if code:
        return Step("import", "failed", f"{sort} from {path}", f"rlp kb import {sort} {path}")
    return Step("import", "done", f"{sort} from {path}", "rlp forget and rlp kb forget erase; the source was not changed")


def _silently(act: Callable[[], object]) -> None:
    """Do what another verb does, and leave the telling to the step."""
    from contextlib import redirect_stdout
    from io import StringIO

    with redirect_stdout(StringIO()):
        act()
