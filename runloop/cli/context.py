"""What one invocation of `rlp` shares between `main` and its verb: global options and the settings, loaded once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING

from runloop.dataclass import dataclass

if TYPE_CHECKING:
    from runloop.config import ConfigError, Settings
    from runloop.kb.redaction import Redactor


@dataclass(slots=True)
class Invocation:
    """The global options of this command."""

    json_errors: bool = False
    debug: bool = False
    quiet: bool = False
    pager: bool = True
    overrides: dict[str, str] = field(default_factory=dict)
    settings: Settings | None = None
    redactor: Redactor | None = None


_CURRENT = Invocation()


def begin(*, json_errors: bool = False, debug: bool = False) -> Invocation:
    """Start an invocation with nothing loaded and no overrides."""
    global _CURRENT  # noqa: PLW0603 - one process serves one command; tests begin a new one each
    _CURRENT = Invocation(json_errors=json_errors, debug=debug)
    return _CURRENT


def debugging() -> bool:
    """Whether RUNLOOP_DEBUG asks for tracebacks: any value but an empty one and the words that settings take for false."""
    value = os.environ.get("RUNLOOP_DEBUG", "").strip().casefold()
    if not value:
        return False
    from runloop.config.kinds import FALSE

    return value not in FALSE


def current() -> Invocation:
    """The invocation under way."""
    return _CURRENT


def settings(flags: Mapping[str, object] | None = None) -> Settings:
    """The settings in force: loaded on first use, warnings printed once.

    ``flags`` are the verb's own options by key (``{"sandbox.workers": 2}``); they beat ``--set``, the environment and the files.
    """
    from runloop.cli import output
    from runloop.config import load

    if flags or _CURRENT.settings is None:
        previous = _CURRENT.settings
        loaded = load(flags={**_CURRENT.overrides, **(flags or {})})
        shown = set(previous.warnings) if previous is not None else set()
        for warning in loaded.warnings:
            if warning not in shown:
                output.print_warning(warning.code, str(warning))
        _CURRENT.settings = loaded
    return _CURRENT.settings


def settings_for_the_daemon() -> Settings:
    """The settings, for verbs that look at a daemon or stop it: it goes on with the last good ones while a file of them is broken.

    That is a warning then, and what stands in the files does not count.
    """
    from runloop.cli import output

    found, broken = settings_or_why()
    if broken is not None:
        where = f" (at {broken.where})" if str(broken.where) else ""
        says = f"{broken.message}{where}; a daemon goes on with its last good settings"
        output.print_warning(broken.code, says)
    return found


def settings_or_why() -> tuple[Settings, ConfigError | None]:
    """The settings; where a file of them is broken, those without any file, and what is wrong with it."""
    from pathlib import Path

    from runloop.config import load
    from runloop.config.errors import ConfigError

    try:
        return settings(), None
    except ConfigError as broken:
        none = Path(os.devnull)  # not the system's either: its limits hold beside RUNLOOP_CONFIG, and it may be the broken one
        _CURRENT.settings = load(flags=_CURRENT.overrides, env={**os.environ, "RUNLOOP_CONFIG": str(none)}, system_dir=none)
        return _CURRENT.settings, broken
