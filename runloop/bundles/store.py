"""Finding bundles by name: search directories, lookup order and the overrides that narrow what a bundle may do."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from runloop.bundles.bundle import Bundle, Inspection, inspect_bundle, load_bundle
from runloop.bundles.errors import BundleInvalid, BundleNotFound
from runloop.bundles.manifest import MANIFEST, VARIANT
from runloop.bundles.tree import IGNORED_DIRS
from runloop.dataclass import dataclass
from runloop.errors import RunloopError, SeveralInvalid, Where
from runloop.policy import Capabilities, override_key, parse_override

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from runloop.bundles.manifest import Manifest

_DEPTH = 3
_NAME = VARIANT


@dataclass(frozen=True, slots=True)
class OverrideDirs:
    """Where overrides lie, the system's first; both only narrow, so their order changes nothing."""

    system: Path | None = Path("/etc/runloop/policy-overrides")
    user: Path | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """A place that holds a manifest: what :meth:`BundleStore.list` found there."""

    inspection: Inspection
    search_dir: Path

    @property
    def status(self) -> str:
        """``ok``, ``digest_mismatch``, ``missing`` (a listed file is not there) or ``invalid``."""
        problems = self.inspection.problems
        if not problems:
            return "ok"
        if all(problem.code == "bundle.file_missing" for problem in problems):
            return "missing"
        return "digest_mismatch" if self.inspection.altered else "invalid"


class BundleStore:
    """Bundles of a list of search directories, first wins. Each call reads the disk anew: what is returned was verified now."""

    def __init__(
        self,
        search_dirs: Sequence[Path],
        *,
        overrides: OverrideDirs | None = None,
        home: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.search_dirs = tuple(Path(path) for path in search_dirs)
        self._overrides = overrides or OverrideDirs()
        self._home = home
        self._env = env

    def resolve(self, name: str, variant: str | None = None) -> Bundle:
        """Return the verified bundle of ``name[@variant]``, narrowed by its overrides.

        The first directory that holds a manifest decides: a bundle that is broken there is an error, never a reason to look on.
        """
        root = self.find(name, variant)
        bundle = load_bundle(root, home=self._home, env=self._env)
        if (fault := misnamed(root, bundle, name, variant)) is not None:
            raise fault
        return self.narrowed(bundle)

    def find(self, name: str, variant: str | None = None) -> Path:
        """Return the directory that holds the manifest of ``name[@variant]``; raises ``BundleNotFound`` with where it looked."""
        for text in (name, variant):
            if text is not None and not _NAME.fullmatch(text):
                raise BundleInvalid(f"invalid agent reference {text!r}", code="bundle.reference", hint="use letters, digits, '_' and '-'")
        if (found := self._place(name, variant)) is not None:
            return found
        wanted = name if variant is None else f"{name}@{variant}"
        searched = ", ".join(str(path) for path in self.search_dirs)
        raise BundleNotFound(f"agent {wanted!r} not found (searched: {searched})", hint=self._suggestion(name))

    def _place(self, name: str, variant: str | None) -> Path | None:
        places = (place for base in self.search_dirs for place in _candidates(base, name, variant))
        return next((place for place in places if os.path.lexists(place / MANIFEST)), None)

    def list(self) -> tuple[Listed, ...]:
        """Return every bundle of every directory, sorted within each; of a name and variant the one that is found by it, else the first."""
        listed: dict[tuple[str, str | None], Listed] = {}
        for base in self.search_dirs:
            for root in _manifest_dirs(base, _DEPTH):
                try:
                    inspection = inspect_bundle(root, home=self._home, env=self._env)
                except RunloopError as error:
                    inspection = Inspection(root, None, None, (error,), None, {})
                named = inspection.manifest if inspection.manifest and inspection.manifest.name else None
                key = (named.name, named.variant) if named else (root.name, None)
                if self._place(*key) == root:
                    listed.pop(key, None)  # what no name leads to stood in its place
                elif named and key not in listed:
                    inspection = replace(inspection, problems=(*inspection.problems, _nowhere(base, root, named)))
                listed.setdefault(key, Listed(inspection, base))
        return tuple(listed.values())

    def narrowed(self, bundle: Bundle) -> Bundle:
        """Return the bundle with its capabilities cut down by the override files of spec 11; an unreadable one is an error."""
        caps = bundle.caps
        for path in self.override_files(bundle.name, bundle.variant):
            caps = self._narrow(caps, path)
        return bundle if caps is bundle.caps else replace(bundle, caps=caps)

    def override_files(self, name: str, variant: str | None) -> tuple[Path, ...]:
        """Return the override files that exist: ``KEY.caps`` and ``KEY/policy.caps``, of the system and then of the user."""
        key = override_key(name, variant)
        bases = [base for base in (self._overrides.system, self._overrides.user) if base is not None]
        places = [place for base in bases for place in (base / f"{key}.caps", base / key / "policy.caps")]
        return tuple(place for place in places if os.path.lexists(place))

    def _narrow(self, caps: Capabilities, path: Path) -> Capabilities:
        try:
            override = parse_override(path.read_text("utf-8"), file=str(path), home=self._home, env=self._env)
        except (OSError, UnicodeError, RunloopError) as error:
            detail = error.message if isinstance(error, RunloopError) else str(error)
            where = error.where if isinstance(error, RunloopError) else Where(file=str(path))
            hint = error.hint if isinstance(error, RunloopError) else "make the file readable, or remove it"
            message = f"capability override error: failed to apply override {path}: {detail}"
            others = error.others if isinstance(error, SeveralInvalid) else ()
            raise SeveralInvalid(message, code="policy.override", where=where, hint=hint).with_others(others) from None
        return caps.intersect(replace(override, caps=override.caps.also_at(os.path.realpath)))

    def _suggestion(self, name: str) -> str:
        from runloop.nearest import nearest

        named = {listed.inspection.manifest.name: listed.inspection.root for listed in self.list() if listed.inspection.manifest}
        if name in named:
            return f"the agent in {named[name]} calls itself so: rename that directory"
        near = nearest(name, named)
        return f"did you mean {near!r}?" if near else "`rlp agent list` shows what there is"


def _nowhere(base: Path, root: Path, manifest: Manifest) -> BundleInvalid:
    place = base / (manifest.name if manifest.variant is None else f"{manifest.name}@{manifest.variant}")
    message = f"no name leads to it: the agent calls itself {place.name!r} and would be found in {place}"
    where = Where(file=str(root / MANIFEST))
    return BundleInvalid(message, code="bundle.name_mismatch", where=where, hint="move the directory there, or rename the agent")


def misnamed(root: Path, found: Bundle | Manifest, name: str, variant: str | None) -> BundleInvalid | None:
    """Why what was found in ``root`` is not the agent that was looked for; None where it is, or has no name that could be one's."""
    if not found.name:
        return None
    where = Where(file=str(root / MANIFEST))
    if found.name != name:
        message = f"manifest declares agent {found.name!r}, not {name!r}"
        return BundleInvalid(message, code="bundle.name_mismatch", where=where, hint="rename the directory or the agent")
    if variant is not None and found.variant != variant:
        message = f"variant mismatch (manifest {found.variant or 'none'}, requested {variant})"
        hint = "ask for the variant that is there, or install the other"
        return BundleInvalid(message, code="bundle.variant_mismatch", where=where, hint=hint)
    return None


def _candidates(base: Path, name: str, variant: str | None) -> Iterable[Path]:
    if variant is not None:
        yield base / f"{name}@{variant}"
        yield base / name / variant
        yield base / name / "variants" / variant
    yield base / name


def _manifest_dirs(base: Path, depth: int) -> Iterator[Path]:
    """Walk at most ``depth`` levels below ``base``, sorted, not below a directory that holds a manifest."""
    try:
        children = sorted(child for child in base.iterdir() if child.is_dir() and child.name not in IGNORED_DIRS)
    except OSError:
        return
    for child in children:
        if os.path.lexists(child / MANIFEST):
            yield child
        elif depth > 1 and not child.is_symlink():
            yield from _manifest_dirs(child, depth - 1)
