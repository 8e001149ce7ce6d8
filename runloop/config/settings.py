"""The settings in force: every layer read, combined and explained.

Precedence: flag > environment > user file > system file > default. Hard limits (``policy.*``) are not overridden but combined, so
that each layer can only narrow them, and they hold the ordinary keys within them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runloop.config import registry
from runloop.config.errors import ConfigError, ConfigWarning
from runloop.config.layers import Findings, Layer
from runloop.config.paths import SOCKET_NAME, Base, Directories
from runloop.config.registry import Key
from runloop.dataclass import dataclass
from runloop.errors import Where


@dataclass(frozen=True, slots=True)
class Assignment:
    """What one layer says about a key."""

    layer: str
    source: str
    where: Where
    value: Any


@dataclass(frozen=True, slots=True)
class Explanation:
    """A key's value and why: the layer that decided, every layer's value from the lowest up, and what was narrowed."""

    key: Key
    value: Any
    layer: str
    where: Where
    assignments: tuple[Assignment, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, complete and valid. Made by :func:`runloop.config.load`."""

    base: Base
    layers: tuple[Layer, ...]
    warnings: tuple[ConfigWarning, ...]
    resolved: Mapping[str, Explanation]

    def get(self, path: str) -> Any:
        """The value of a key, in its type: int, float, bool, str, Path, tuple, dict, or ``None`` where it is not set."""
        return self.explain(path).value

    def explain(self, path: str) -> Explanation:
        """Where a key's value comes from; raises ``config.unknown_key`` for a key that does not exist."""
        return self.resolved[registry.lookup(path).path]

    def changed(self) -> list[str]:
        """The keys that some layer above the defaults sets, or that a limit narrows."""
        return [path for path, each in self.resolved.items() if len(each.assignments) > 1 or each.note]

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that settings are read from, whether they are there or not."""
        return tuple(Path(layer.source) for layer in self.layers if layer.name in ("system", "user"))

    @property
    def directories(self) -> Directories:
        """Where things are kept, settings applied."""
        state, work = self.base.state, self.get("runtime.workdir")
        return Directories(
            state=state,
            pog=self.get("kb.root_dir"),
            agents=state / "agents",
            openings=state / "openings",
            outbox=work / "outbox",
            artifacts=work / "artifacts",
            token=state / "token",
            cache=self.get("agents.cache_dir"),
            socket=self.sockets[0],
        )

    @property
    def sockets(self) -> tuple[Path, ...]:
        """Where this user's daemon listens and is looked for: where ``runtime.socket_path`` says and nowhere else, or in two places.

        The second is in the state directory, which is the same for a cron job, another login and ``su``, and stays at a logout.
        """
        explicit: Path | None = self.get("runtime.socket_path")
        if explicit is not None:
            return (explicit,)
        return tuple(dict.fromkeys(directory / SOCKET_NAME for directory in (self.get("runtime.sockets_dir"), self.base.state / "sock")))


def load(
    flags: Mapping[str, Any] | None = None,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    system_dir: Path | None = None,
) -> Settings:
    """Read every layer; raises :class:`ConfigError` naming the first problem, with the further ones in ``others``.

    ``flags`` are values by key. ``env``, ``cwd`` and ``system_dir`` are the process's own and ``/etc/runloop`` unless given.
    """
    from runloop.config import resolve, sources

    variables = os.environ if env is None else env
    findings = Findings([], [])
    place = sources.find(variables, cwd=cwd, system_dir=system_dir)
    layers = sources.read(place, flags or {}, findings)
    raise_first(findings.errors)
    resolved = resolve.resolve(layers, place.expansion, findings)
    raise_first(findings.errors)
    return Settings(place.expansion.base, tuple(layers), tuple(findings.warnings), resolved)


def raise_first(errors: Sequence[ConfigError]) -> None:
    """Raise the first error with the others attached; nothing if there are none."""
    if errors:
        raise errors[0].with_others(errors[1:])
