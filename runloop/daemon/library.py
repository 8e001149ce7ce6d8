"""Agents and openings as the daemon holds them: loaded, verified and checked ahead, replaced whole when their files change.

A file that does not load any more leaves the last good version in place and is listed as a problem. Nobody holds a half-changed
version: a run keeps the bundles it pinned.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from blake3 import blake3

from runloop.bundles.errors import BundleNotFound
from runloop.dataclass import dataclass
from runloop.errors import Denied, InvalidInput, RunloopError, exhausted
from runloop.openings.parse import examine
from runloop.runs.disk import DiskLookup
from runloop.runs.lookup import SUFFIXES, OpeningText, find_opening
from runloop.runs.places import opening_dirs

if TYPE_CHECKING:
    from runloop.bundles import Bundle
    from runloop.config import Settings

Loaded = TypeVar("Loaded")
Key = TypeVar("Key")
AgentKey = tuple[str, str | None]
Signature = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong; of what could not be loaded ``kept`` tells whether an older version still serves."""

    what: str
    name: str
    error: RunloopError
    since_ms: int
    kept: bool | None

    def shown(self) -> dict[str, Any]:
        """As `rlp status` lists it."""
        return {"what": self.what, "name": self.name, "since_ms": self.since_ms, "last_good_kept": self.kept, "error": self.error.to_dict()}


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that a rescan found: ``state`` is ``loaded``, ``broken`` or ``removed``."""

    what: str
    name: str
    state: str
    digest: str | None = None
    error: RunloopError | None = None

    def shown(self) -> dict[str, Any]:
        """As the event says it."""
        found: dict[str, Any] = {"v": 1, "what": self.what, "name": self.name, "state": self.state}
        if self.digest is not None:
            found["digest"] = self.digest
        if self.error is not None:
            found["error"] = self.error.to_dict()
        return found


@dataclass(slots=True)
class Entry(Generic[Loaded]):
    """One agent or opening: what its files looked like when it was last tried, and the last good version."""

    signature: Signature
    loaded: Loaded | None = None
    digest: str | None = None
    error: RunloopError | None = None
    since_ms: int = 0

    def good(self) -> Loaded:
        """The last good version. Raises what is wrong where there is none; another thread may be loading it anew."""
        error, loaded = self.error, self.loaded  # in this order: what is loaded is there before its error goes
        if loaded is None:
            assert error is not None  # noqa: S101 - an entry that can be found has one of both
            raise error
        return loaded


@dataclass(slots=True)
class Library:
    """All agents and openings of the settings' directories. ``rescan`` reads what changed; lookups never touch an unchanged file."""

    settings: Settings
    clock_ms: Callable[[], int]
    _disk: DiskLookup = field(init=False)
    _agents: dict[AgentKey, Entry[Bundle]] = field(default_factory=dict)
    _openings: dict[str, Entry[OpeningText]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._disk = DiskLookup(self.settings, _nowhere(self.settings))

    def change(self, settings: Settings) -> None:
        """Look where other settings say; a rescan follows."""
        self.settings = settings
        self._disk = DiskLookup(settings, _nowhere(settings))
        for entries in (self._agents, self._openings):
            for entry in entries.values():
                entry.signature = ()

    # ── looking up ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def agent(self, name: str, variant: str | None) -> Bundle:
        """The last good version. Raises what is wrong where there is none."""
        entry = self._agents.get((name, variant))
        if entry is None:
            self._load_agent((name, variant))
            entry = self._agents.get((name, variant))
            if entry is None:
                return self._disk.agent(name, variant)  # says where it looked
        return entry.good()

    def bundle_at(self, path: Path) -> Bundle:
        """The sound bundle in a directory, narrowed to what it may do here. Raises what is wrong with it."""
        return self._disk.at(path)

    def opening(self, name: str) -> OpeningText:
        """The last good version by name; what came since the last look is read from the disk."""
        entry = self._openings.get(name)
        if entry is None:
            return self._disk.opening(name)
        return entry.good()

    @property
    def counts(self) -> dict[str, int]:
        """How many serve."""
        agents = sum(entry.loaded is not None for entry in self._agents.values())
        return {"agents": agents, "openings": sum(entry.loaded is not None for entry in self._openings.values())}

    def listing(self) -> list[dict[str, Any]]:
        """Every agent and opening: kind, name, version and digest of what serves (None where nothing does), and what is wrong."""
        agents: list[tuple[str, str, Entry[Any]]] = [("agent", _ref(key), entry) for key, entry in self._agents.items()]
        openings: list[tuple[str, str, Entry[Any]]] = [("opening", name, entry) for name, entry in self._openings.items()]
        return [
            {
                "what": what,
                "name": name,
                "version": getattr(entry.loaded, "version", None),
                "digest": entry.digest,
                "error": None if entry.error is None else entry.error.to_dict(),
            }
            for what, name, entry in sorted([*agents, *openings], key=lambda each: each[:2])
        ]

    def problems(self) -> list[Problem]:
        """What could not be loaded, sorted."""
        agents: list[tuple[str, str, Entry[Any]]] = [("agent", _ref(key), entry) for key, entry in self._agents.items()]
        openings: list[tuple[str, str, Entry[Any]]] = [("opening", name, entry) for name, entry in self._openings.items()]
        return [
            Problem(what, name, entry.error, entry.since_ms, entry.loaded is not None)
            for what, name, entry in sorted([*agents, *openings], key=lambda each: each[:2])
            if entry.error is not None
        ]

    def watched(self) -> list[Path]:
        """The directories whose changes matter, as far as they exist."""
        state = self.settings.base.state
        places = [*opening_dirs(self.settings, _nowhere(self.settings)), *self._disk.bundles.search_dirs, state / "policy-overrides"]
        return [path for path in dict.fromkeys(places) if path.is_dir()]

    def linked(self) -> frozenset[Path]:
        """The files elsewhere that openings are links to."""
        found = (path for directory in opening_dirs(self.settings, _nowhere(self.settings)) for path in _yaml_files(directory))
        return frozenset(Path(os.path.realpath(path)) for path in found if path.is_symlink())

    # ── loading ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def rescan(self) -> list[Change]:
        """Load what is new, load anew what changed, forget what is gone; what that did."""
        return [*self._rescan_agents(), *self._rescan_openings()]

    def _rescan_agents(self) -> Iterator[Change]:
        found = self._agent_keys()
        for key in [key for key in self._agents if key not in found]:
            del self._agents[key]
            yield Change("agent", _ref(key), "removed")
        for key in found:
            change = self._load_agent(key)
            if change is not None:
                yield change

    def _agent_keys(self) -> list[AgentKey]:
        """What the directories offer by name, and what runs asked for in another form and is still there."""
        keys: dict[AgentKey, None] = {}
        for base in self._disk.bundles.search_dirs:
            for root in _bundle_roots(base):
                name, at, variant = root.name.partition("@")
                keys[name, variant if at else None] = None
        for key in self._agents:
            try:
                self._disk.bundles.find(*key)
            except RunloopError:
                continue
            keys[key] = None
        return list(keys)

    def _load_agent(self, key: AgentKey) -> Change | None:
        try:
            root = self._disk.bundles.find(*key)
        except BundleNotFound:
            return None
        except RunloopError as error:
            return self._broken("agent", _ref(key), self._agents, key, self._agents.get(key) or Entry(()), error)
        signature = _signature([root, *self._disk.bundles.override_files(*key)])
        entry = self._agents.get(key)
        if entry is not None and entry.signature == signature:
            return None
        entry = entry or Entry(())
        entry.signature = signature
        try:
            bundle = self._disk.agent(*key)
        except RunloopError as error:
            if isinstance(error, Denied):  # what is not allowed does not serve as it was before either
                entry.loaded = entry.digest = None
            return self._broken("agent", _ref(key), self._agents, key, entry, error)
        changed = entry.loaded != bundle or entry.error is not None
        entry.loaded, entry.digest, entry.error = bundle, bundle.digest, None
        self._agents[key] = entry
        return Change("agent", _ref(key), "loaded", bundle.digest) if changed else None

    def _rescan_openings(self) -> Iterator[Change]:
        found: dict[str, Path] = {}
        for directory in opening_dirs(self.settings, _nowhere(self.settings)):
            for path in _yaml_files(directory):
                found.setdefault(path.stem, path)
        for name in [name for name in self._openings if name not in found]:
            del self._openings[name]
            yield Change("opening", name, "removed")
        for name, path in found.items():
            change = self._load_opening(name, path)
            if change is not None:
                yield change

    def _load_opening(self, name: str, path: Path) -> Change | None:
        signature = _signature([path])
        entry = self._openings.get(name)
        if entry is not None and entry.signature == signature:
            return None
        entry = entry or Entry(())
        entry.signature = signature
        wrong: RunloopError | None = None
        try:
            text = find_opening(str(path), ())
            if problems := examine(text.source, file=text.file).problems:
                first = problems[0]
                wrong = InvalidInput(first.message, code=first.code, where=first.where, hint=first.hint)
        except RunloopError as error:
            wrong = error
        if wrong is not None:
            return self._broken("opening", name, self._openings, name, entry, wrong)
        digest = blake3(text.source.encode()).hexdigest()
        changed = entry.digest != digest or entry.error is not None
        entry.loaded, entry.digest, entry.error = text, digest, None
        self._openings[name] = entry
        return Change("opening", name, "loaded", digest) if changed else None

    def _broken(self, what: str, name: str, held: dict[Key, Entry[Loaded]], key: Key, entry: Entry[Loaded], error: RunloopError) -> Change:
        """Hold what could not be loaded, with the reason; what was loaded before still serves."""
        entry.error, entry.since_ms = error, self.clock_ms()
        held[key] = entry  # only now: runs may look for it at any moment
        return Change(what, name, "broken", entry.digest, error)


@dataclass(frozen=True, slots=True)
class WithWorkdir:
    """A library, and after it the names that a client's working directory adds: they are read from the disk when they are asked for."""

    library: Library
    workdir: Path

    def agent(self, name: str, variant: str | None) -> Bundle:
        """The library's, or the working directory's."""
        try:
            return self.library.agent(name, variant)
        except BundleNotFound:
            return DiskLookup(self.library.settings, self.workdir).agent(name, variant)

    def opening(self, name: str) -> OpeningText:
        """The library's, or the working directory's."""
        try:
            return self.library.opening(name)
        except InvalidInput as error:
            if error.code != "opening.not_found":
                raise
            return DiskLookup(self.library.settings, self.workdir).opening(name)


def _ref(key: AgentKey) -> str:
    return key[0] if key[1] is None else f"{key[0]}@{key[1]}"


def _bundle_roots(base: Path) -> Iterator[Path]:
    try:
        children = sorted(os.scandir(base), key=lambda each: each.name)
    except OSError as error:
        _check_there(error)
        return
    for child in children:
        if not child.name.startswith(".") and os.path.lexists(os.path.join(child.path, "manifest.toml")):  # noqa: PTH118 - twice as fast, and there are many
            yield Path(child.path)


def _yaml_files(directory: Path) -> list[Path]:
    try:
        return sorted(path for path in directory.iterdir() if path.suffix in SUFFIXES and not path.name.startswith("."))
    except OSError as error:
        _check_there(error)
        return []


def _check_there(error: OSError) -> None:
    """Raise where a directory may well be there, but this process could not look: what is in it is not gone."""
    if (spent := exhausted(error)) is not None:
        raise spent from None


def _signature(paths: list[Path]) -> Signature:
    """What tells that files changed, without reading them: names, sizes, times and inodes, at every depth."""
    found: list[tuple[str, int, int, int]] = []
    for path in paths:
        if path.is_dir():
            for directory, _, files in os.walk(path):
                found += [_stat(os.path.join(directory, name)) for name in files]  # noqa: PTH118
        else:
            found.append(_stat(str(path)))
    return tuple(sorted(found))


def _stat(path: str) -> tuple[str, int, int, int]:
    try:
        stat = os.stat(path)  # noqa: PTH116
    except OSError:
        return path, -1, -1, -1
    return path, stat.st_size, stat.st_mtime_ns, stat.st_ino


def _nowhere(settings: Settings) -> Path:
    """A working directory that adds nothing: the daemon has none of its own, clients name theirs."""
    return settings.base.state
