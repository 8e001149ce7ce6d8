"""Installing a bundle: put together beside its place, verified there, then renamed."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from runloop.bundles.archive import SUFFIXES, unpack
from runloop.bundles.bundle import Bundle, Inspection, inspect_bundle
from runloop.bundles.errors import BundleAltered, BundleInvalid, build_again
from runloop.bundles.manifest import MANIFEST
from runloop.bundles.signature import refused, trusted
from runloop.bundles.tree import IGNORED_DIRS, read_tree
from runloop.dataclass import dataclass
from runloop.errors import Where
from runloop.links import followed
from runloop.scratch import exchange, scratch

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

_MANIFEST_DEPTH = 4
_OTHERS = "get it again from who made it; or unpack it, and `rlp agent build` the directory once you trust what is in it"


@dataclass(frozen=True, slots=True)
class Installed:
    """The bundle at its place, and whether another was there before."""

    bundle: Bundle
    path: Path
    replaced: bool


def install(
    source: str,
    root: Path,
    *,
    force: bool = False,
    signers: Container[str] | None = None,
    home: str | None = None,
    env: Mapping[str, str] | None = None,
) -> Installed:
    """Install the bundle at ``source`` (directory, manifest.toml, tar archive or ``file://`` URL) below ``root``.

    Digests, and a signature where there is one, are always verified; there is no way round. With ``signers``, one of those public keys
    must have signed it.
    """
    path = _local_path(source)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with scratch(root) as part:
            staged = part / "bundle"
            _stage(path, staged)
            return _place(staged, path, root, force=force, signers=signers, home=home, env=env)
    except OSError as error:
        where = Where(file=str(error.filename or root))
        raise BundleInvalid(
            f"the bundle cannot be installed: {error.strerror}", code="bundle.install", where=where, hint="check the directory"
        ) from None


def _local_path(source: str) -> Path:
    url = urlsplit(source)
    if "://" in source:
        if url.scheme != "file":
            raise BundleInvalid(
                f"unsupported URL scheme {url.scheme!r}", code="bundle.source", hint="download it, look at it, and install the file"
            )
        if url.netloc not in {"", "localhost"}:
            raise BundleInvalid(
                f"a file on another host cannot be read: {url.netloc!r}", code="bundle.source", hint="give a path of this machine"
            )
        source = unquote(url.path)
    path = Path(source)
    if path.name == MANIFEST:
        path = path.parent
    if not path.exists():
        raise BundleInvalid(
            f"there is nothing at {path}", code="bundle.source", where=Where(file=str(path)), hint="give a directory or a tar archive"
        )
    return followed(path)


def _stage(path: Path, staging: Path) -> None:
    staging.mkdir()
    if path.is_dir():
        _copy(path, staging)
    elif path.name.endswith(SUFFIXES):
        unpack(path, staging)
    else:
        raise BundleInvalid(
            f"{path.name!r} is no bundle",
            code="bundle.source",
            where=Where(file=str(path)),
            hint=f"known: a directory, {', '.join(SUFFIXES)}",
        )


def _copy(source: Path, staging: Path) -> None:
    """Copy the bytes that were read, not the directory: what is refused at reading never arrives."""
    tree = read_tree(source)
    if tree.problems:
        raise tree.problems[0]
    for path, content in tree.files.items():
        (staging / path).parent.mkdir(parents=True, exist_ok=True)
        (staging / path).write_bytes(content)


def _place(
    staging: Path,
    source: Path,
    root: Path,
    *,
    force: bool,
    signers: Container[str] | None,
    home: str | None,
    env: Mapping[str, str] | None,
) -> Installed:
    found = _bundle_dir(staging, source)
    inspection = inspect_bundle(found, home=home, env=env)
    if inspection.bundle is None:
        raise _invalid(inspection, found, source)
    bundle = inspection.bundle
    if signers is not None and not trusted(bundle, signers):
        raise refused(replace(bundle, root=source))
    target = root / bundle.ref
    if source == followed(target):
        raise BundleInvalid(
            "the source is the place to install to", code="bundle.same_place", where=Where(file=str(target)), hint="nothing to do"
        )
    replaced = os.path.lexists(target)
    if replaced and not force:
        raise BundleInvalid(
            f"path already exists: {target}", code="bundle.exists", where=Where(file=str(target)), hint="pass --force to replace it"
        )
    if replaced:
        exchange(found, target)  # the old one goes with the scratch directory
    else:
        found.rename(target)
    return Installed(replace(bundle, root=target), target, replaced)


def _bundle_dir(staging: Path, source: Path) -> Path:
    """Find the one directory with a manifest, at most four levels down."""
    found = sorted(_manifests(staging, _MANIFEST_DEPTH))
    if len(found) == 1:
        return found[0]
    where = Where(file=str(source))
    if not found:
        raise BundleInvalid(
            f"there is no {MANIFEST} within {_MANIFEST_DEPTH} levels", code="bundle.no_manifest", where=where, hint="give a bundle"
        )
    names = ", ".join(str(path.relative_to(staging)) for path in found)
    raise BundleInvalid(f"there are several bundles: {names}", code="bundle.several", where=where, hint="install them one by one")


def _manifests(directory: Path, depth: int) -> Iterator[Path]:
    if (directory / MANIFEST).is_file():
        yield directory
    if depth > 1:
        for child in directory.iterdir():
            if child.is_dir() and child.name not in IGNORED_DIRS:
                yield from _manifests(child, depth - 1)


def _invalid(inspection: Inspection, staged: Path, source: Path) -> BundleAltered | BundleInvalid:
    """All problems in one error, with the places named as in the source; altered files are a verification that failed."""
    texts, hint = [], inspection.problems[0].hint
    if str(staged) in hint:
        hint = hint.replace(build_again(staged), build_again(source)) if source.is_dir() else _OTHERS
    for problem in inspection.problems:
        place = str(problem.where).replace(str(staged), str(source))
        texts.append(f"{problem.message} ({place})" if place else problem.message)
    message, where = "; ".join(texts), Where(file=str(source))
    if inspection.altered:
        return BundleAltered(message, where=where, hint=hint)
    return BundleInvalid(message, code="bundle.refused", where=where, hint=hint)
