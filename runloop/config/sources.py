"""Where the layers come from: the files of the system and the user, the environment, the flags."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from runloop.config import layers
from runloop.config.errors import ConfigError
from runloop.config.layers import Findings, Layer, LayerName
from runloop.config.paths import SYSTEM_CONFIG, Expansion, expand, find_base
from runloop.config.raw import Raw, items
from runloop.dataclass import dataclass
from runloop.errors import Where

FILE_NAME = "config.yaml"


@dataclass(frozen=True, slots=True)
class Place:
    """Everything outside the files that loading depends on."""

    expansion: Expansion
    system_file: Path
    only_file: Path | None


def find(env: Mapping[str, str], *, cwd: Path | None = None, system_dir: Path | None = None) -> Place:
    """The places to read, from the environment; nothing is opened yet."""
    expansion = Expansion(env, find_base(env), cwd or _cwd())
    named = env.get("RUNLOOP_CONFIG", "").strip()
    only = expand(named, expansion, Where(key="RUNLOOP_CONFIG")) if named else None
    return Place(expansion, (system_dir or SYSTEM_CONFIG) / FILE_NAME, only)


def _cwd() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise ConfigError(
            "the working directory no longer exists", code="config.path_unresolved", hint="Change to one that does."
        ) from None


def read(place: Place, flags: Mapping[str, Any], findings: Findings) -> list[Layer]:
    """The layers above the defaults, lowest first.

    ``RUNLOOP_CONFIG`` replaces every file, except that the hard limits of the system file always hold.
    """
    found = [_file("system", place.system_file, findings, only_policy=place.only_file is not None)]
    if place.only_file is not None:
        layer = _file("user", place.only_file, findings)
        if layer.status == "missing":
            message = f"the configuration file {place.only_file} does not exist"
            hint = "RUNLOOP_CONFIG or --config names it: name another, or create it."
            findings.errors.append(ConfigError(message, code="config.missing_file", where=Where(key="RUNLOOP_CONFIG"), hint=hint))
        found.append(layer)
    else:
        found += [_file("user", path, findings) for path in place.expansion.base.user_files]
    found.append(layers.from_environment(place.expansion.env, findings))
    found.append(layers.from_flags(flags, findings))
    return found


def _file(name: LayerName, path: Path, findings: Findings, *, only_policy: bool = False) -> Layer:
    with suppress(OSError):  # where nobody may look, reading says why
        if not path.exists() and not path.is_symlink():
            return Layer(name, str(path), {}, "missing")
    from runloop.config.yamlfile import read_file

    try:
        tree = read_file(path)
    except ConfigError as error:
        findings.errors.append(error)
        return Layer(name, str(path), {})
    if tree is None:
        return Layer(name, str(path), {}, "missing")
    if only_policy:
        tree = Raw({key: each for key, each in items(tree) if key == "policy"}, tree.where)
    return layers.from_tree(name, str(path), tree, findings)
