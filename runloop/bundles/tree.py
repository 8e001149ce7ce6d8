"""Reading the files of a bundle, once and whole, without following anything out of it.

Every file is opened relative to its already opened folder and never through a link, and the bytes that were read are the
bytes that are hashed and later run. Nothing is remembered by name, size or time, so no cache can be made to vouch for other
bytes: BLAKE3 over a bundle costs less than the system calls that read it.
"""

from __future__ import annotations

import os
import stat
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

from runloop.bundles.errors import BundleAltered, BundleInvalid
from runloop.dataclass import dataclass
from runloop.errors import RunloopError, Where

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_DIGEST_CONTEXT = "runloop bundle v1"
SIGNATURE = "bundle.sig"
"""Beside the manifest: who vouches for the digest of everything else."""
MAX_FILES = 2_000
MAX_TOTAL_BYTES = 128 << 20
MAX_DEPTH = 16
MAX_PATH = 240

#: Left by tools that work on a bundle (pip compiles what it installs). They are never read, so they cannot matter.
IGNORED_DIRS = frozenset({"__pycache__", ".git", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis"})


@dataclass(slots=True)
class Tree:
    """The files of a directory by relative path, and what could not be read and why."""

    files: dict[str, bytes] = field(default_factory=dict)
    problems: list[RunloopError] = field(default_factory=list)
    total: int = 0


def bundle_digest(files: Mapping[str, bytes]) -> str:
    """Return one BLAKE3 over the paths and contents of all files, manifest included; only a signature, which is over it, is left out."""
    hasher = blake3(derive_key_context=_DIGEST_CONTEXT)
    for path in sorted(files.keys() - {SIGNATURE}):
        name = path.encode("utf-8")
        hasher.update(len(name).to_bytes(4, "big") + name + blake3(files[path]).digest())
    return hasher.hexdigest()


def read_tree(root: Path) -> Tree:
    """Read every file below ``root``; what is not a plain file with a plain name becomes a problem of the tree.

    Raises ``BundleInvalid`` when ``root`` is no readable directory or holds more than the limits above.
    """
    tree = Tree()
    try:
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise BundleInvalid(
            f"the bundle directory cannot be read: {error.strerror}",
            code="bundle.unreadable",
            where=Where(file=str(root)),
            hint="check that it exists and is a directory that you may read",
        ) from None
    try:
        _read_dir(tree, root, descriptor, "")
    finally:
        os.close(descriptor)
    return tree


def path_problem(path: str) -> str | None:
    """Why a relative path may not be part of a bundle; None if it may."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return "its name is not valid UTF-8"
    if path.startswith("/"):
        return "it is absolute"
    parts = path.split("/")
    if ".." in parts:
        return "it contains '..'"
    if "" in parts or "." in parts:
        return "it has an empty or '.' component"
    if "\\" in path or any(not char.isprintable() for char in path):
        return "its name has a backslash or an unprintable character"
    if len(path) > MAX_PATH or len(parts) > MAX_DEPTH:
        return f"it is longer than {MAX_PATH} characters or deeper than {MAX_DEPTH} folders"
    return None


def _read_dir(tree: Tree, root: Path, descriptor: int, prefix: str) -> None:
    for name, kind in _entries(tree, root, descriptor, prefix):
        path = prefix + name
        if stat.S_ISDIR(kind) and name in IGNORED_DIRS:
            continue
        if problem := path_problem(path):
            tree.problems.append(
                _refused(root, _printable(path), "bundle.path", f"{_printable(path)!r} cannot be in a bundle: {problem}", "rename it")
            )
        elif stat.S_ISLNK(kind):
            message = f"{path!r} is a symbolic link"
            tree.problems.append(_refused(root, path, "bundle.link", message, "put the file itself into the bundle"))
        elif stat.S_ISDIR(kind):
            _read_subdir(tree, root, descriptor, name, path)
        elif stat.S_ISREG(kind):
            _read_file(tree, root, descriptor, name, path)
        else:
            message = f"{path!r} is neither a file nor a directory"
            tree.problems.append(_refused(root, path, "bundle.special_file", message, "remove it from the bundle"))


def _entries(tree: Tree, root: Path, descriptor: int, prefix: str) -> Iterator[tuple[str, int]]:
    try:
        for name in sorted(os.listdir(descriptor)):
            yield name, os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode
    except OSError as error:
        tree.problems.append(
            _refused(root, prefix or ".", "bundle.unreadable", f"a folder cannot be read: {error.strerror}", "check its mode")
        )


def _read_subdir(tree: Tree, root: Path, descriptor: int, name: str, path: str) -> None:
    try:
        inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=descriptor)
    except OSError as error:
        tree.problems.append(
            _refused(root, path, "bundle.unreadable", f"the folder {path!r} cannot be read: {error.strerror}", "check its mode")
        )
        return
    try:
        _read_dir(tree, root, inner, f"{path}/")
    finally:
        os.close(inner)


def _read_file(tree: Tree, root: Path, descriptor: int, name: str, path: str) -> None:
    from runloop.links import regular

    try:
        with regular(name, inside=descriptor) as file:  # whatever was put in its place since it was listed
            content = file.read(MAX_TOTAL_BYTES - tree.total + 1)
    except OSError as error:
        tree.problems.append(_refused(root, path, "bundle.unreadable", f"{path!r} cannot be read: {error.strerror}", "check its mode"))
        return
    tree.total += len(content)
    if tree.total > MAX_TOTAL_BYTES or len(tree.files) >= MAX_FILES:
        raise BundleInvalid(
            f"the bundle holds more than {MAX_FILES} files or {MAX_TOTAL_BYTES >> 20} MiB",
            code="bundle.too_large",
            where=Where(file=str(root)),
            hint="remove what the agent does not need",
        )
    tree.files[path] = content


def _refused(root: Path, path: str, code: str, message: str, hint: str) -> BundleAltered:
    return BundleAltered(message, code=code, where=Where(file=f"{root}/{path}"), hint=hint)


def _printable(path: str) -> str:
    return path.encode("utf-8", "backslashreplace").decode("utf-8")
