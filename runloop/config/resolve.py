"""From layers to values: read each value by its key's type, let the highest layer win, hold the result within the hard limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from runloop.config import raw as raws
from runloop.config import registry
from runloop.config.errors import ConfigError, ConfigWarning
from runloop.config.kinds import ListOf
from runloop.config.layers import Findings, Layer, named
from runloop.config.paths import Expansion, as_setting
from runloop.config.raw import Raw
from runloop.config.registry import Key
from runloop.config.settings import Assignment, Explanation
from runloop.config.tighten import NOTHING, beyond, combine
from runloop.errors import Where

_DEFAULT = Where()


def resolve(layers: Sequence[Layer], expansion: Expansion, findings: Findings) -> Mapping[str, Explanation]:
    """Every key's value; problems go to ``findings``, and then the result must not be used."""
    found: dict[str, Explanation] = {}
    for key in registry.all_keys().values():
        assignments = (_default(key, expansion), *_assignments(key, layers, expansion, findings))
        found[key.path] = _narrowest(key, assignments, findings) if key.tighten else _highest(key, assignments)
    for path, explanation in found.items():
        bound = found.get(explanation.key.limit or "")
        if bound is not None:
            found[path] = _within(explanation, bound, findings)
    if not findings.errors:
        _check_together(found, findings)
        _warn(found, layers, findings)
    return found


def _check_together(found: Mapping[str, Explanation], findings: Findings) -> None:
    """What is wrong with keys that are right each by itself."""
    events, views = found["kb.events_db"], found["kb.view_db"]
    if events.value == views.value:
        message = f"kb.events_db and kb.view_db both name {events.value!r}, but are two files"
        where = next((each.where for each in (views, events) if each.layer != "default"), _DEFAULT)
        findings.errors.append(ConfigError(message, where=where, hint="Give each its own name."))
    directory = found["runtime.sockets_dir"]
    if directory.value is None and found["runtime.socket_path"].value is None:
        message = f"{directory.key.path} cannot be empty when runtime.socket_path is unset"
        findings.errors.append(ConfigError(message, where=named(directory.where, directory.key.path), hint=f"It is: {directory.key.doc}"))


def _default(key: Key, expansion: Expansion) -> Assignment:
    value = None if key.default is None else key.kind.read(raws.of_python(_filled(key.default, expansion), _DEFAULT), expansion)
    return Assignment("default", "default", _DEFAULT, value)


def _filled(default: Any, expansion: Expansion) -> Any:
    """A default with the user's own directories in it."""
    if isinstance(default, list):
        return [_filled(each, expansion) for each in default]
    if isinstance(default, str) and "{" in default:
        base = expansion.base
        for name, path in (("{state}", base.state), ("{sockets}", base.sockets), ("{cache}", base.cache)):
            default = default.replace(name, as_setting(path))
        return default
    return default


def _assignments(key: Key, layers: Sequence[Layer], expansion: Expansion, findings: Findings) -> list[Assignment]:
    found: list[Assignment] = []
    for layer in layers:
        raw = layer.values.get(key.path)
        if raw is None:
            continue
        try:
            value = _read(key, raw, expansion)
        except ConfigError as error:
            findings.errors.append(_of_key(error, key))
            continue
        where = raw.key_where or raw.where
        if key.rewrite is not None:
            value, why = key.rewrite(value)
            if why:
                findings.warnings.append(ConfigWarning("config.deprecated", f"{key.path}: {why}", where))
        found.append(Assignment(layer.name, layer.source, where, value))
    return found


def _read(key: Key, raw: Raw, expansion: Expansion) -> Any:
    null = raw.value is None or (raw.value == "null" and raw.where.line is None)  # a variable or a flag has no other way to say it
    if null or (raw.value == "" and key.nullable and not isinstance(key.kind, ListOf) and not key.path.startswith("runtime.")):
        if key.nullable:
            return None
        raise ConfigError("needs a value", where=raw.where, hint="Give it one, or leave it out to use the default.")
    return key.kind.read(raw, expansion)


def _of_key(error: ConfigError, key: Key) -> ConfigError:
    """The same error naming its key, and without the text of a secret."""
    if key.secret:
        message = f"{key.path} cannot be used (its value is a secret and not shown)"
    elif key.path in error.message:
        message = error.message
    else:
        joint = "" if error.message.startswith(("[", ".")) else " " if error.message.startswith(("must ", "needs a value")) else ": "
        message = key.path + joint + error.message
    return ConfigError(message, code=error.code, where=named(error.where, key.path), hint=error.hint or f"It is: {key.doc}")


def _highest(key: Key, assignments: tuple[Assignment, ...]) -> Explanation:
    top = assignments[-1]
    value = _merged(key.merge_by, assignments) if key.merge_by else top.value
    return Explanation(key, value, top.layer, top.where, assignments)


def _merged(by: str, assignments: tuple[Assignment, ...]) -> tuple[dict[str, Any], ...]:
    """The entries of all layers; one of an upper layer takes the place of the one with the same id."""
    joined: dict[str, dict[str, Any]] = {}
    for assignment in assignments:
        for entry in assignment.value or ():
            joined[entry[by]] = entry
    return tuple(joined.values())


def _narrowest(key: Key, assignments: tuple[Assignment, ...], findings: Findings) -> Explanation:
    """A hard limit over all layers; a layer that tries to widen it is told so and has no effect."""
    if key.tighten is None:
        raise AssertionError("only hard limits are combined")
    value, decider, notes = assignments[0].value, assignments[0], []
    for each in assignments[1:]:
        narrowed = combine(key.tighten, value, each.value)
        asked = beyond(key.tighten, each.value, before=value, after=narrowed)
        if asked is not NOTHING:
            note = f"{each.layer} asks for {_shown(asked)}, which is wider than {_shown(narrowed)} and has no effect"
            notes.append(note)
            findings.warnings.append(ConfigWarning("config.limited", f"{key.path}: {note}", each.where))
        if narrowed != value or decider.layer == "default":
            decider = each
        value = narrowed
    return Explanation(key, value, decider.layer, decider.where, assignments, "; ".join(notes))


def _within(explanation: Explanation, bound: Explanation, findings: Findings) -> Explanation:
    """An ordinary key held within its hard limit; one that is not set takes the limit itself."""
    rule = bound.key.tighten
    if rule is None:
        raise AssertionError("only a hard limit bounds another key")
    value = combine(rule, explanation.value, bound.value)
    if value == explanation.value:
        return explanation
    note = f"{_shown(explanation.value)} is narrowed to {_shown(value)} by {bound.key.path} ({bound.layer}{_place(bound.where)})"
    if explanation.layer != "default":
        findings.warnings.append(ConfigWarning("config.limited", f"{explanation.key.path}: {note}", explanation.where))
    return replace(explanation, value=value, layer=bound.layer, where=bound.where, note=note)


def _place(where: Where) -> str:
    return f", {where}" if str(where) else ""


def _shown(value: Any) -> str:
    if value is None:
        return "no limit"
    if isinstance(value, tuple):
        return ", ".join(str(each) for each in value) or "nothing"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _idle(key: Key) -> str:
    return f"{key.path} ({key.instead})"


def _warn(found: Mapping[str, Explanation], layers: Sequence[Layer], findings: Findings) -> None:
    """Name what was set but nothing reads, search directories that do not exist, and an empty denylist."""
    for layer in layers:
        idle = [path for path in layer.values if not found[path].key.effect]
        if idle:
            verb = "has" if len(idle) == 1 else "have"
            place = layer.source if layer.name in ("system", "user") else ""
            message = f"{', '.join(_idle(found[path].key) for path in idle)} {verb} no effect"
            findings.warnings.append(ConfigWarning("config.no_effect", message, Where(file=place or None)))
    for path in ("openings.search_dirs", "agents.search_dirs"):
        if found[path].layer != "default":
            for directory in found[path].value:
                if not directory.is_dir():
                    findings.warnings.append(ConfigWarning("config.no_directory", f"{path}: {directory} does not exist", found[path].where))
    if not found["router.denylist"].value and found["security.confirm_external_actions"].value:
        findings.warnings.append(ConfigWarning("config.empty_denylist", "router.denylist is empty", found["router.denylist"].where))
