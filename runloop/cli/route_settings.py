"""The settings of the router for a process that must start fast: what `runloop.config` resolved, kept in the cache directory.

The kept values hold while every file that they came from, the variables that could change them and this program are the same.
"""

from __future__ import annotations

import json
import os
import sys

import runloop
from runloop.router.values import RouterSettings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from runloop.config import Settings

_VARIABLES = (
    *("HOME", "RUNLOOP_HOME", "RUNLOOP_CONFIG", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"),
    *("RUNLOOP_ROUTER_SHELL_FASTPATH", "RUNLOOP_ROUTER_ALLOW_SHELL_FASTPATH"),
)
_OF_THE_ROUTER = ("RUNLOOP__ROUTER", "RUNLOOP_ROUTER_SHELL", "RUNLOOP_ROUTER_ALLOW")
_SECTIONS = ("RUNLOOP__ROUTER", "RUNLOOP__OPENINGS")


def load(environment: Mapping[str, str], *, overridden: bool = False) -> RouterSettings:
    """The settings in force, from the cache if it still holds. Those that ``--set`` overrides are this command's alone."""
    file = None if overridden else _file(environment)
    signature = _signature(environment)
    if file is not None and (kept := _read(file)) is not None and kept.get("signature") == signature and _unchanged(kept.get("files")):
        return RouterSettings(**kept["settings"])
    from runloop.cli import context
    from runloop.router.machine import settings_of

    resolved = context.settings()
    settings = settings_of(resolved)
    if file is not None and _the_same_everywhere(resolved):
        files = [layer.source for layer in resolved.layers if layer.name in ("system", "user")]
        _write(file, {"signature": signature, "files": {each: _stamp(each) for each in files}, "settings": settings.to_dict()})
    return settings


def hints(environment: Mapping[str, str], *, overridden: bool = False) -> str:
    """What a shell needs to let plain commands through; also kept in a file, with a mark beside it for each file of the configuration.

    A mark has the date of its file: another date of either tells a shell that what is kept is old, also where an older file took the
    place of a newer one. Every shell reads what is kept, so what a variable of this one or ``--set`` says is not in it.
    """
    from runloop.cli import context
    from runloop.config import load as load_settings
    from runloop.router.hints import hints as text_of
    from runloop.router.machine import settings_of

    resolved = context.settings()
    files = [layer.source for layer in resolved.layers if layer.name in ("system", "user")]
    where = ":".join(environment.get(name, "") for name in ("RUNLOOP_CONFIG", "XDG_CONFIG_HOME"))
    text = kept = text_of(settings_of(resolved), files, where)
    shared = {name: value for name, value in environment.items() if not name.upper().startswith(_OF_THE_ROUTER)}
    if overridden or len(shared) < len(environment):
        kept = text_of(settings_of(load_settings(env=shared)), files, where)
    file = f"{resolved.directories.state}/router.hints"
    _replace(file, kept)
    for number, each in enumerate(files, 1):
        _mark(f"{file}.d/{number}", _stamp(each))
    return text


def _mark(file: str, stamp: list[int] | None) -> None:
    """Make an empty file of this date, or none for what is not there."""
    try:
        if stamp is None:
            os.unlink(file)  # noqa: PTH108
        else:
            _replace(file, "")
            os.utime(file, ns=(stamp[0], stamp[0]))
    except OSError:
        pass  # none was there, or it cannot be kept, as _replace says


def _the_same_everywhere(resolved: Settings) -> bool:
    """Whether no directory of openings depends on the working directory or on a variable."""
    given = [layer.values["openings.search_dirs"].value for layer in resolved.layers if "openings.search_dirs" in layer.values]
    texts = [[str(each.value) for each in value] if isinstance(value, list) else str(value).split(",") for value in given]
    return all(_is_fixed(text.strip()) for each in texts for text in each)


def _is_fixed(path: str) -> bool:
    return path.startswith(("/", "~")) and "$" not in path


def _file(environment: Mapping[str, str]) -> str | None:
    if (config := environment.get("RUNLOOP_CONFIG", "").strip()) and not _is_fixed(config):
        return None
    cache = environment.get("XDG_CACHE_HOME") or (environment["HOME"] + "/.cache" if environment.get("HOME") else "")
    return f"{cache}/runloop/router.json" if cache.startswith("/") else None


def _signature(environment: Mapping[str, str]) -> list[str]:
    """All that decides which files are read and what overrides them."""
    table = os.path.dirname(runloop.__file__) + "/config/table.py"  # noqa: PTH120
    names = sorted(name for name in environment if name in _VARIABLES or name.upper().startswith(_SECTIONS))
    return [runloop.__version__, table, str(_stamp(table)), *(f"{name}={environment[name]}" for name in names)]


def _stamp(path: str) -> list[int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return [found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode]


def _unchanged(files: Any) -> bool:
    return isinstance(files, dict) and all(_stamp(path) == stamp for path, stamp in files.items())


def _read(file: str) -> dict[str, Any] | None:
    try:
        with open(file, encoding="utf-8") as stream:  # noqa: PTH123
            kept = json.load(stream)
    except (OSError, ValueError):
        return None
    return kept if isinstance(kept, dict) else None


def _write(file: str, kept: dict[str, Any]) -> None:
    """Keep the settings."""
    _replace(file, json.dumps(kept))


def _replace(file: str, text: str) -> None:
    """Replace the file whole; what cannot be kept is looked up again the next time."""
    own = f"{file}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(file), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120
        with open(own, "w", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)) as stream:
            stream.write(text)
        os.replace(own, file)  # noqa: PTH105
    except OSError as error:
        from runloop.cli.context import debugging

        if debugging():
            print(f"router settings are not kept: {error}", file=sys.stderr)
