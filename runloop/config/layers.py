"""From sources to layers: which keys a file, the environment or the flags set, before their values are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

from runloop.config import raw as raws
from runloop.config import registry
from runloop.config.errors import ConfigError, ConfigWarning
from runloop.config.raw import Raw
from runloop.dataclass import dataclass
from runloop.errors import Where

LayerName = Literal["default", "system", "user", "environment", "flag"]


@dataclass(frozen=True, slots=True)
class Layer:
    """One source of settings: its unread values by path. ``source`` is the file, or what else to call it."""

    name: LayerName
    source: str
    values: Mapping[str, Raw]
    status: Literal["loaded", "missing", "baseline"] = "loaded"


@dataclass(slots=True)
class Findings:
    """What was found wrong or worth a warning while loading."""

    errors: list[ConfigError]
    warnings: list[ConfigWarning]


def from_tree(name: LayerName, source: str, tree: Raw, findings: Findings) -> Layer:
    """The layer that a file's map makes."""
    return Layer(name, source, _collect(_leaves(tree, "", findings), findings))


def from_environment(env: Mapping[str, str], findings: Findings) -> Layer:
    """The layer of ``RUNLOOP__SECTION__KEY`` variables and the exact aliases; the former win, whatever the order."""
    found: list[tuple[str, Raw]] = []
    for alias, path in registry.aliases().items():
        if alias in env:
            found.append((path, _variable(alias, env[alias], findings)))
    named: list[tuple[str, Raw]] = []
    for variable in sorted(name for name in env if name.startswith(registry.PREFIX)):
        path = registry.path_of(variable)
        named += _at(path, _variable(variable, env[variable], findings), findings)
    values = dict(found)
    values.update(_collect(named, findings))
    return Layer("environment", "environment", values)


def from_flags(flags: Mapping[str, Any], findings: Findings) -> Layer:
    """The layer of command-line flags: by path, each text as typed or a Python value."""
    found: list[tuple[str, Raw]] = []
    for path, value in flags.items():
        where = Where(file="command line", key=path)
        try:
            raw = raws.of_text(value, where) if isinstance(value, str) else raws.of_python(value, where)
        except ConfigError as error:
            findings.errors.append(error)
            continue
        found += _at(path, raw, findings)
    return Layer("flag", "command line", _collect(found, findings))


def _variable(name: str, text: str, findings: Findings) -> Raw:
    where = Where(key=name)
    try:
        return raws.of_text(text, where)
    except ConfigError as error:
        findings.errors.append(error)
        return Raw(None, where)


def _at(path: str, raw: Raw, findings: Findings) -> Iterator[tuple[str, Raw]]:
    """The leaves that a value at one path sets: itself, or those of a map given for a section."""
    if path in registry.all_keys() or path in registry.deprecated():
        yield path, raw
    elif path in registry.sections() and isinstance(raw.value, dict):
        yield from _leaves(raw, path, findings)
    else:
        findings.errors.append(registry.unknown(path, raw.where))


def _leaves(tree: Raw, section: str, findings: Findings) -> Iterator[tuple[str, Raw]]:
    for name, raw in raws.items(tree):
        path = f"{section}.{name}" if section else name
        if path in registry.all_keys() or path in registry.deprecated():
            yield path, raw
        elif path in registry.sections():
            if raw.value is not None and not isinstance(raw.value, dict):
                message = f"{path} is a section, not a value (found {raw.shape})"
                hint = f"Its keys are {', '.join(registry.children(path))}."
                findings.errors.append(ConfigError(message, where=raw.where, hint=hint))
            yield from _leaves(raw, path, findings)
        else:
            findings.errors.append(registry.unknown(path, raw.key_where or raw.where))


def _collect(leaves: Iterator[tuple[str, Raw]] | list[tuple[str, Raw]], findings: Findings) -> dict[str, Raw]:
    """Values by the path in force: a deprecated name is rewritten with a warning, and yields to the new one."""
    found: dict[str, Raw] = {}
    old: dict[str, Raw] = {}
    for path, raw in leaves:
        new = registry.deprecated().get(path)
        if new is None:
            found[path] = raw
            continue
        place = raw.key_where or raw.where
        message = f"{path} is deprecated; write {new}"
        findings.warnings.append(ConfigWarning("config.deprecated", message, place))
        old.setdefault(new, raw)
    return {**old, **found}


def named(where: Where, path: str) -> Where:
    """A place with its key added."""
    return where if where.key else replace(where, key=path)
