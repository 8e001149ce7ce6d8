"""What git would obey in a directory: the configuration of the repository that it finds there.

A repository can name programs that reading it runs (gitattributes(5), git-config(1)), so a command that only reads is asked about where
it does, and where the agent could change which repository that is.
"""

from __future__ import annotations

import os
from codecs import BOM_UTF8
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from runloop.patterns import lazy
from runloop.policy.paths import within

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST = 1 << 20
_POINTER = "gitdir:"
_OBEYED = lazy(
    r"(?im)^\s*(?:\[.*\]\s*)?(fsmonitor|hookspath|external|command|textconv|clean|smudge|process|program|showsignature|promisor|partialclone"
    r"|alternaterefscommand|worktree)\s*(?:[=#;]|$)"
)
_ELSEWHERE = lazy(r"(?im)^\s*(?:\[.*\]\s*)?\[\s*(include(?:if)?)[\s.\"\]]")


class _Repository(NamedTuple):
    top: str
    own: str  # where its state is
    shared: str  # where the state is that it has in common with other work trees


def obeyed(cwd: str, writable: Iterable[str]) -> str | None:
    """Why git is not only reading in ``cwd``, a resolved directory, for whoever may write below ``writable``; None where it is."""
    try:
        found = _find(cwd)
    except (OSError, ValueError) as error:  # a place that may not be searched, a name that none can have
        return f"git obeys the repository it finds, which cannot be read: {error}"
    if any(within(cwd, root) or any(within(place, root) or within(root, place) for place in found or ()) for root in writable):
        return "git obeys the repository it finds, which fs_rw in policy.caps lets the agent change"
    if found is None:
        return None
    if any(map(os.path.lexists, (f"{found.top}/.gitmodules", f"{found.shared}/modules"))):
        return f"git obeys the submodules of {found.top} too"
    for path in (Path(found.shared, "config"), Path(found.own, "config.worktree")):
        text = _text(path)
        if text is None:
            return f"git obeys {path}, which cannot be read"
        if named := _OBEYED.search(text) or _ELSEWHERE.search(text):
            return f"git obeys {path}, which says {named[1]}"
    return None


def _find(cwd: str) -> _Repository | None:
    for place in (Path(cwd), *Path(cwd).parents):
        inner = Path(os.path.realpath(place / ".git"))
        if inner.is_file():
            inner = place / (_text(inner) or "").removeprefix(_POINTER).strip()
        elif not inner.is_dir():
            if not all((place / name).exists() for name in ("HEAD", "objects", "refs")):
                continue
            inner = place
        common = (_text(inner / "commondir") or "").strip()
        return _Repository(str(place), os.path.realpath(inner), os.path.realpath(inner / common))
    return None


def _text(path: Path) -> str | None:
    """What a file says, nothing where there is none; None where that cannot be told."""
    try:
        if not path.is_file():
            return None if os.path.lexists(path) else ""
        with path.open("rb") as file:
            read = file.read(_LONGEST + 1)
    except OSError:
        return None
    return None if len(read) > _LONGEST else read.removeprefix(BOM_UTF8).decode("latin-1")
