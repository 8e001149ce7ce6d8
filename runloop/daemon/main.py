"""`runloopd`: read the arguments and the settings, then live as a daemon. Started by systemd, by `rlp up`, or by hand."""

from __future__ import annotations

import argparse
import grp
import os
import resource
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runloop import __version__
from runloop.collecting import collect_seldom
from runloop.daemon.notify import Notifier
from runloop.errors import EXIT_FAILED, EXIT_OK, InvalidInput, RunloopError, exhausted

if TYPE_CHECKING:
    from runloop.config import Settings
    from runloop.sandbox.starting import Started

SYSTEM_SOCKETS = Path("/run/runloop")
SYSTEM_STATE = Path("/var/lib/runloop")
SYSTEM_CACHE = Path("/var/cache")
_GROUP = "runloop"
_SWITCH_S = 0.0005
"""How long the event loop waits for the ledger's writer thread to let go of the interpreter; Python's default is ten times that."""
_FILES = 65_536
"""As many open files as the units allow."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon; the exit codes are those of `rlp`. Never prints a traceback for an error with a name."""
    tune_interpreter()
    os.umask(os.umask(0o077) & 0o077)  # one that takes the owner's own rights away makes files that nobody can use
    allow_files()
    arguments = _parser().parse_args(argv)
    notifier = Notifier.of(os.environ, os.getpid())
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "RUNLOOP_READY_FD"):
        os.environ.pop(name, None)  # they are for this process, not for what it starts
    try:
        return _serve(arguments, notifier)
    except RunloopError as error:
        return _failed(error, notifier)
    except (OSError, MemoryError, RuntimeError) as error:
        known = exhausted(error)
        if known is None:
            raise
        return _failed(known, notifier)
    except KeyboardInterrupt:
        return EXIT_FAILED


def _failed(error: RunloopError, notifier: Notifier) -> int:
    """Say in every place where it is looked for why the daemon does not run; the exit code."""
    notifier.starter({"ready": False, "error": {**error.to_dict(), "exit_code": error.exit_code}})
    notifier.systemd(f"STATUS={error.message}", "STOPPING=1")
    place = f"\n  at {error.where}" if str(error.where) else ""
    hint = f"\n  hint: {error.hint}" if error.hint else ""
    sys.stderr.write(f"runloopd: error[{error.code}]: {error.message}{place}{hint}\n")
    return error.exit_code


def _serve(arguments: argparse.Namespace, notifier: Notifier) -> int:
    from runloop.config import as_setting

    if arguments.system:
        _system_environment()
    if arguments.config is not None:
        os.environ["RUNLOOP_CONFIG"] = as_setting(arguments.config.absolute())
    flags: dict[str, Any] = {}
    for pair in arguments.set or ():
        key, equals, value = pair.partition("=")
        if not equals:
            raise InvalidInput(f"--set takes KEY=VALUE, not {pair!r}", code="cli.usage", hint="for example --set logging.level=debug")
        flags[key.strip()] = value
    if arguments.socket is not None:
        flags["runtime.socket_path"] = as_setting(arguments.socket.absolute())
    elif arguments.system:
        flags.setdefault("runtime.sockets_dir", str(SYSTEM_SOCKETS))

    here: Path | None = None

    def load() -> Settings:
        from runloop.config import load as load_settings

        return load_settings(flags, cwd=here)

    settings = load()
    here = Path.cwd()  # where relative paths start at every reading, wherever the daemon works
    if arguments.at_home:
        from runloop.config import ensure

        os.chdir(ensure(settings.base.state))
    if arguments.prepare:
        import asyncio

        from runloop.daemon.preparing import prepare

        sys.stdout.write(f"{asyncio.run(prepare(settings.directories.cache))}\n")
        return EXIT_OK
    from runloop.sandbox.starting import ahead_of, cores, started_ahead

    ahead = ahead_of(settings.get("sandbox.workers") or cores(), cores())
    with started_ahead(settings.directories.cache, ahead) as workers:
        return _live(arguments, settings, load, workers, notifier)


def _live(
    arguments: argparse.Namespace, settings: Settings, load: Callable[[], Settings], workers: list[Started], notifier: Notifier
) -> int:
    """Import the rest, which takes as long as the workers do, and be a daemon."""
    import asyncio

    from runloop.daemon.app import Daemon, Options
    from runloop.daemon.logs import Log, unwritable
    from runloop.daemon.loops import loop_factory

    log = Log()
    try:
        log.configure(settings)
    except OSError as error:
        raise unwritable(settings.get("logging.file"), error) from error
    os.umask(0o077)
    options = Options(load, arguments.system, _group(arguments), workers)

    async def live() -> None:
        await Daemon(settings, options, log, notifier).run()

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(live())
    return EXIT_OK


def tune_interpreter() -> None:
    """Set the interpreter up for a loop beside the ledger's writer: for this process, as long as it lives."""
    collect_seldom()
    sys.setswitchinterval(_SWITCH_S)


def allow_files() -> None:
    """Let this process open as many files as it may, up to what the units allow: a shell allows 1,024, and so many may be clients."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _system_environment() -> None:
    """System mode: the machine's directories, whoever's environment this is (spec 1.1)."""
    state = os.environ.get("STATE_DIRECTORY", str(SYSTEM_STATE)).partition(":")[0]
    cache = os.environ.get("CACHE_DIRECTORY", "").partition(":")[0]
    os.environ["RUNLOOP_HOME"] = state
    os.environ["XDG_CACHE_HOME"] = str(Path(cache).parent) if cache else str(SYSTEM_CACHE)


def _group(arguments: argparse.Namespace) -> int | None:
    """The group that shares the socket in system mode, where the machine has it."""
    name = arguments.group if arguments.group is not None else _GROUP if arguments.system else None
    if name is None:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        if arguments.group is None:
            return None
        raise InvalidInput(f"there is no group {name!r}", code="daemon.group", hint="create it, or leave --group out") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="runloopd", description="The Runloop daemon: hosts runs and the bus.")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--user", action="store_true", help="run for this user (the default)")
    mode.add_argument("--system", action="store_true", help="run for the machine: /var/lib/runloop, /run/runloop, group runloop")
    parser.add_argument("--config", type=Path, metavar="FILE", help="read this file instead of the user's and the system's")
    parser.add_argument("--socket", type=Path, metavar="PATH", help="listen here instead of where the settings say")
    parser.add_argument("--group", metavar="NAME", help="share the socket with this group (mode 0660)")
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help="override one setting; may be repeated")
    parser.add_argument("--at-home", action="store_true", help="work in the state directory; relative paths start where it is called")
    parser.add_argument("--foreground", action="store_true", help="stay in the foreground (runloopd always does; `rlp up` detaches it)")
    parser.add_argument("--prepare", action="store_true", help="compile the Python guest for this machine, and end: packages do it once")
    parser.add_argument("-V", "--version", action="version", version=f"runloopd {__version__}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
