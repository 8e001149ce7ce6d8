"""The registry of settings: what a key is, and how one is found by its path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal

from runloop.config.errors import ConfigError
from runloop.config.kinds import Kind, keys_of_secrets
from runloop.dataclass import dataclass
from runloop.errors import Where

PREFIX = "RUNLOOP__"
"""How a variable begins that sets the key which the rest of it names."""
Tighten = Literal["min", "any", "all", "intersect", "union"]


@dataclass(frozen=True, slots=True)
class Key:
    """One setting.

    ``default`` is text or data as a person would write it (``{state}`` stands for the state directory), or ``None`` for not set.
    ``effect`` names what reads the key. Where nothing does, ``instead`` says what holds in its place, and so does setting it.
    ``limit`` names the hard limit that narrows the key; ``tighten`` is how a hard limit itself combines over the layers.
    """

    path: str
    kind: Kind
    default: Any
    doc: str
    effect: str = ""
    instead: str = ""
    nullable: bool = False
    aliases: tuple[str, ...] = ()
    deprecated: tuple[str, ...] = ()
    reload: bool = False
    secret: bool = False
    limit: str | None = None
    tighten: Tighten | None = None
    merge_by: str | None = None
    rewrite: Callable[[Any], tuple[Any, str]] | None = None

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return PREFIX + self.path.replace(".", "__").upper()

    @property
    def reloadable(self) -> bool:
        """Whether a daemon that runs takes a change: of keys that say so, of the hard limits, and of what these narrow."""
        return self.reload or self.tighten is not None or self.limit is not None


@cache
def all_keys() -> Mapping[str, Key]:
    """Every key by path, in the order of the documentation."""
    from runloop.config.table import KEYS

    return {key.path: key for key in KEYS}


@cache
def deprecated() -> Mapping[str, str]:
    """The path in force by deprecated path."""
    return {old: key.path for key in all_keys().values() for old in key.deprecated}


@cache
def aliases() -> Mapping[str, str]:
    """The path by exact name of an environment variable other than ``RUNLOOP__…``."""
    return {name: key.path for key in all_keys().values() for name in key.aliases}


def path_of(variable: str) -> str:
    """The path that a variable ``RUNLOOP__SECTION__KEY`` names."""
    return variable.removeprefix(PREFIX).lower().replace("__", ".")


@cache
def sections() -> frozenset[str]:
    """Every path that has keys below it; the empty one is the whole file."""
    found = {""}
    for path in (*all_keys(), *deprecated()):
        parts = path.split(".")
        found.update(".".join(parts[:depth]) for depth in range(1, len(parts)))
    return frozenset(found)


def children(section: str) -> tuple[str, ...]:
    """The names directly below a section, deprecated ones left out."""
    prefix = section + "." if section else ""
    return tuple(dict.fromkeys(path[len(prefix) :].split(".", 1)[0] for path in all_keys() if path.startswith(prefix)))


def lookup(path: str) -> Key:
    """The key at ``path``, under a deprecated name for it, or by a variable that sets it.

    Raises ``config.unknown_key`` with the nearest that exists.
    """
    path = path_of(path) if path.startswith(PREFIX) else path
    key = all_keys().get(deprecated().get(path) or aliases().get(path, path))
    if key is None:
        raise unknown(path, Where(key=path))
    return key


def unknown(path: str, where: Where) -> ConfigError:
    """The error for a path that is neither a key nor a section."""
    section, _, name = path.rpartition(".")
    shown = f"unknown configuration key {name!r}" + (f" under {section!r}" if section else "")
    return ConfigError(shown, code="config.unknown_key", where=where, hint=_suggestion(path, section, name))


def _suggestion(path: str, section: str, name: str) -> str:
    from runloop.nearest import nearest  # only who mistypes needs it

    if path.startswith("RUNLOOP_"):
        near = nearest(path, aliases())
        return (f"Did you mean {near}? " if near else "") + "docs/configuration.md lists the variables that set no key."
    if path in sections():
        return f"It is a section; its keys are {', '.join(children(path))}."
    siblings = children(section) if section in sections() else ()
    if own := keys_of_secrets(name, siblings):
        return own
    if near := nearest(name, siblings):
        return f"Did you mean {section + '.' if section else ''}{near}?"
    elsewhere = [known for known in all_keys() if known.rpartition(".")[2] == name]
    if near := nearest(path, elsewhere) or next(iter(elsewhere), "") or nearest(path, all_keys()):
        return f"Did you mean {near}?"
    if siblings:
        return f"Known {'under ' + section if section else 'at the top'}: {', '.join(siblings)}."
    return "`rlp config show --all` lists every key."
