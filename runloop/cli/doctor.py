"""`rlp doctor`: is everything that runs need in order, and what to do where it is not."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from runloop import __version__
from runloop.cli import context, link, output
from runloop.cli.addresses import LIFT, few_addresses, too_few
from runloop.cli.link import waited
from runloop.cli.options import JsonOption, TableOption
from runloop.dataclass import dataclass
from runloop.errors import RunloopError, exhausted

if TYPE_CHECKING:
    from runloop.config import ConfigError, Settings

app = typer.Typer(add_completion=False, help="Check what runs need.")
_LOW_BYTES = 500_000_000
_FAST_VERIFY_EVENTS = 20_000
_FILES = ("system", "user")


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: ``warn`` works with limits, ``fail`` does not work."""

    name: str
    state: Literal["ok", "warn", "fail"]
    detail: str
    hint: str = ""


@app.command()
def doctor(*, as_json: JsonOption = False, as_table: TableOption = False) -> int:
    """Check all that runs need, and say how to repair what is not in order. Exit code 1 where something does not work."""
    from runloop.cli.doctor_more import MORE

    settings, broken = context.settings_or_why()
    findings = _config(settings, broken)
    findings += [_guarded(check, settings) for check in (_daemon, _rights, _sandbox, _guest, _ledger, *MORE, _secrets, _models, _disk)]
    if output.wants_json(as_json=as_json, as_table=as_table):
        output.print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            output.print_line(f"{finding.state:<5} {finding.name:<12} {finding.detail}")
            if finding.hint and finding.state != "ok":
                output.print_line(f"      {'':<12} hint: {finding.hint}")
    return 1 if any(finding.state == "fail" for finding in findings) else 0


def _guarded(check: Callable[[Settings], Finding], settings: Settings) -> Finding:
    name = check.__name__.strip("_")
    try:
        return check(settings)
    except RunloopError as error:
        return _failed(name, error)
    except (OSError, RuntimeError, MemoryError) as error:
        if (spent := exhausted(error)) is not None:
            return _failed(name, spent)
        if not isinstance(error, OSError):
            raise
        at = "" if error.filename is None else f": {error.filename}"
        return Finding(name, "fail", f"{error.strerror}{at}", "check its rights and the file system")


def _failed(name: str, error: RunloopError) -> Finding:
    where = f" (at {error.where})" if str(error.where) else ""
    return Finding(name, "fail", f"{error.message}{where} [{error.code}]", error.hint)


def _config(settings: Settings, broken: ConfigError | None) -> list[Finding]:
    """Each thing that is wrong with the files of settings; the other checks go by the defaults then."""
    if broken is None:
        files = [layer.source for layer in settings.layers if layer.name in _FILES and layer.status == "loaded"]
        return [Finding("config", "ok", f"sound: {', '.join(files)}" if files else "no file; the defaults count")]
    failed = [_failed("config", each) for each in (broken, *broken.others)]
    repair = "correct it; until then every check here goes by the defaults"
    return [replace(each, hint=each.hint or repair) for each in failed]


def _daemon(settings: Settings) -> Finding:
    try:
        found = link.ask_once(settings, "status")
    except RunloopError as error:
        if error.code not in {"daemon.unavailable", "daemon.unreachable"}:
            raise
        return _no_daemon(settings, error)
    problems = found["problems"]
    detail = f"{found['state']}, process {found['pid']} at {found['socket']}"
    if found["workers"]["suspended"]:
        return Finding(
            "daemon", "fail", f"{detail}; workers die: {found['workers']['last_cause']}", "`rlp down` and `rlp up`; its log says more"
        )
    if (few := few_addresses(found["pid"])) is not None:
        return Finding("daemon", "warn", f"{detail}; {too_few(few)}", LIFT)
    if found["version"] != __version__:
        return Finding("daemon", "warn", f"{detail}; it is {found['version']}, and {__version__} is installed", "`rlp down` and `rlp up`")
    if problems:
        return Finding("daemon", "warn", f"{detail}; problems: {len(problems)}", "`rlp status` lists them")
    return Finding("daemon", "ok", detail)


def _no_daemon(settings: Settings, why: RunloopError) -> Finding:
    from runloop.bus.listen import require_short

    alone = "" if why.code == "daemon.unreachable" else "; `rlp run` works in its own process"
    try:
        require_short(settings.directories.socket)
    except RunloopError as error:
        return Finding("daemon", "warn" if alone else "fail", f"none can start: {error.message}{alone}", error.hint)
    if str(why.where):  # one is there and silent, or the only one that there may be is not there
        return _failed("daemon", why)
    return Finding("daemon", "warn", "none answers; `rlp run` works in its own process", "start one with `rlp up`")


def _rights(settings: Settings) -> Finding:
    directories = settings.directories
    *others, own = (path.parent for path in settings.sockets)
    foreign = [each for each in others if not _may_make(each)]
    private = [directories.state, directories.pog, own, directories.token, *(each for each in others if each not in foreign)]
    open_ones = [path for path in private if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077]
    if directories.token in open_ones:
        return Finding("rights", "fail", f"others may read {directories.token}", f"chmod 600 {directories.token}")
    if open_ones:
        hint = f"chmod 700 {open_ones[0]}; where that changes nothing (FAT, NTFS), set RUNLOOP_HOME to a directory on another file system"
        return Finding("rights", "warn", f"others may look into {open_ones[0]}", hint)
    unusable = [path for path in private if path.exists() and not os.access(path, os.W_OK)]
    if unusable and os.statvfs(unusable[0]).f_flag & os.ST_RDONLY:
        hint = "mount it writable, or name another place: RUNLOOP_HOME"
        return Finding("rights", "fail", f"{unusable[0]} lies on a read-only file system", hint)
    if unusable:
        return Finding("rights", "fail", f"{unusable[0]} is not writable", f"chown it to this user: sudo chown -R $USER {unusable[0]}")
    missing = next((path for path in private if not _stands(path)), None)
    if missing is not None and not _may_make(missing):
        place = _nearest(missing)
        hint = f"make {place} writable for this user, or name another place: RUNLOOP_HOME"
        return Finding("rights", "fail", f"{missing} cannot be made: {place} is not writable", hint)
    if foreign:
        hint = "unset XDG_RUNTIME_DIR, which another user's shell may have left (`su -` takes none over), or log in as this user"
        return Finding("rights", "warn", f"{foreign[0]} is not to be had: the daemon listens in the state directory alone", hint)
    return Finding("rights", "ok", f"{directories.state} is this user's alone")


def _stands(path: Path) -> bool:
    """Whether a file is there, also where it cannot be looked at."""
    return os.access(path, os.F_OK) or path.is_symlink()


def _nearest(path: Path) -> Path:
    """What stands of it: itself, or the first directory above that does."""
    return next(each for each in (path, *path.parents) if _stands(each))


def _may_make(path: Path) -> bool:
    """Whether this user can make what is missing of a directory, and write there."""
    nearest = _nearest(path)
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


def _sandbox(_settings: Settings) -> Finding:
    landlock = Path("/sys/kernel/security/lsm")
    modules = landlock.read_text(encoding="ascii").strip().split(",") if landlock.exists() else []
    if "landlock" in modules:
        return Finding("sandbox", "ok", "landlock and seccomp confine the workers")
    hint = "boot with lsm=landlock,… (Linux 5.13 or newer), and mount securityfs where it is missing"
    return Finding("sandbox", "warn", "the kernel does not show landlock; seccomp and WebAssembly still confine agents", hint)


def _guest(settings: Settings) -> Finding:
    from runloop.sandbox.cache import CompiledCache
    from runloop.sandbox.guestfile import guest_digest
    from runloop.sandbox.trying import try_guest

    cache = settings.directories.cache
    if cache.is_dir():
        CompiledCache(cache).require_executable()
    if not cache.is_dir() or CompiledCache(cache).verified(guest_digest(), fuel=False) is None:
        if (few := few_addresses()) is not None:
            return Finding("guest", "warn", f"not compiled on this machine yet, and {too_few(few, 'this shell')}", LIFT)
        return Finding(
            "guest", "warn", "the Python guest is not compiled on this machine yet", "the first run, or `rlp up`, takes some seconds for it"
        )
    waited(try_guest(cache))
    return Finding("guest", "ok", f"compiled in {cache}, and an agent starts")


def _ledger(settings: Settings) -> Finding:
    from runloop.kb import Ledger

    path = settings.directories.pog / settings.get("kb.events_db")
    if not path.exists():
        return Finding("ledger", "ok", "none yet; the first run makes it")
    with Ledger.open(path, writable=False) as ledger:
        events = ledger.head().id
        if events > _FAST_VERIFY_EVENTS:
            return Finding("ledger", "ok", f"{events} events; too many to verify here", "`rlp kb verify` checks every hash")
        report = ledger.verify()
    if not report.ok:
        return Finding("ledger", "fail", f"{events} events, and their chain is broken", "`rlp kb verify` names the first event")
    return Finding("ledger", "ok", f"{events} events, every hash verified")


def _secrets(settings: Settings) -> Finding:
    from runloop.cli.secrets import uses
    from runloop.effects.perform.secrets import KeyringSecrets
    from runloop.runs.places import secret_store

    provider, root = settings.get("security.secrets.provider"), settings.get("security.secrets.root")
    keyring = provider in {"auto", "keyring"} and KeyringSecrets.usable()
    if provider == "keyring" and not keyring:
        hint = "unlock or install one, or set security.secrets.provider to file or auto"
        return Finding("secrets", "fail", "no keyring is usable here", hint)
    store, missing = secret_store(settings), []
    for name in sorted(uses(settings)):
        try:
            if waited(store.get(name)) is None:
                missing.append(name)
        except RunloopError as error:
            return Finding("secrets", "fail", f"{name}: {error}", error.hint)
    if missing:
        return Finding("secrets", "warn", f"not there: {', '.join(missing)}", f"`rlp secrets set {missing[0]}` stores it")
    places = {"auto": f"in the environment and in files of {root}", "env": "in the environment", "file": f"in files of {root}"}
    return Finding("secrets", "ok", "in the keyring" if keyring else places[provider])


def _models(settings: Settings) -> Finding:
    from runloop.cli.doctor_models import unreachable, without_default

    providers = [each for each in settings.get("models.broker.providers") if each["kind"] != "none"]
    if not providers:
        return Finding(
            "models", "warn", "none is configured; agents that need one say so", "`rlp init` looks for one; docs/models.md has examples"
        )
    without = [said for each in providers if (said := unreachable(each)) is not None]
    if without:
        state: Literal["fail", "warn"] = "fail" if len(without) == len(providers) else "warn"
        hint = "start it, or correct base_url; a proxy is what HTTPS_PROXY, ALL_PROXY and NO_PROXY say"
        return Finding("models", state, f"not reachable: {', '.join(without)}", hint)
    reachable = f"reachable: {', '.join(each['id'] for each in providers)}"
    if lacking := without_default(settings):
        return Finding("models", "warn", f"{reachable}; but {lacking[0]}", lacking[1])
    return Finding("models", "ok", reachable)


def _disk(settings: Settings) -> Finding:
    place = settings.directories.pog
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    text = f"{free / 1e9:.1f} GB free at {place}"
    return (
        Finding("disk", "ok", text)
        if free >= _LOW_BYTES
        else Finding("disk", "fail", text, "free some space: every step is stored first; `rlp kb prune` archives old runs")
    )
