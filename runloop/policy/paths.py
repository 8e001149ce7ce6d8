"""Directories an agent was granted: expansion, containment and intersection, all on text alone.

Nothing here looks at the disk. Whoever opens a file resolves its symbolic links first and asks again with the result.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Self

from runloop.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")


def canonical_root(text: str, *, home: str | None, env: Mapping[str, str]) -> str:
    """Write an absolute directory without ``.``, ``..`` or doubled slashes; ValueError says why there is none."""
    before = ""
    if text == "~" or text.startswith("~/"):
        if home is None:
            raise ValueError("there is no home directory to expand '~' with")
        before, text = home, text[1:]
    elif text.startswith("~"):
        raise ValueError("only '~' itself is expanded, not another user's home")
    text = before + _VARIABLE.sub(lambda found: _variable(found[1] or found[2], env), text)  # the home is what it is called
    if not text.startswith("/"):
        raise ValueError("it must be absolute or start with '~/'")
    if problem := path_problem(text):
        raise ValueError(problem)
    root = collapse(text)
    if root == "/":
        raise ValueError("it would grant the whole file system")
    return root


def _variable(name: str, env: Mapping[str, str]) -> str:
    value = env.get(name, "")
    if not value:
        raise ValueError(f"the variable {name} is not set")
    return value


def path_problem(path: str) -> str | None:
    """Why ``path`` cannot be judged by its text: relative, climbing or with a NUL byte; None if it can."""
    if not path.startswith("/"):
        return "it is not absolute"
    if "\0" in path:
        return "it contains a NUL byte"
    if ".." in path.split("/"):
        return "it contains '..'"
    return None


def collapse(path: str) -> str:
    """``//a/./b/`` → ``/a/b``; only for paths without ``..``."""
    return "/" + posixpath.normpath(path).lstrip("/")


def within(path: str, root: str) -> bool:
    """Whether ``path`` is ``root`` or below it, by whole components (``/ab`` is not below ``/a``)."""
    return path == root or path.startswith(root.rstrip("/") + "/")


@dataclass(frozen=True, slots=True)
class PathGrants:
    """Readable and writable directories in normal form: no root lies inside another that grants as much."""

    roots: frozenset[tuple[str, bool]] = frozenset()

    @classmethod
    def of(cls, roots: Iterable[tuple[str, bool]]) -> Self:
        """From (canonical root, writable) pairs, in any order and with repeats."""
        given = set(roots)
        return cls(
            frozenset(
                (root, write)
                for root, write in given
                if not any((other, may) != (root, write) and within(root, other) and (may or not write) for other, may in given)
            )
        )

    def allows(self, path: str, *, write: bool) -> bool:
        """Whether a collapsed absolute path may be read, or written."""
        return any(within(path, root) and (may_write or not write) for root, may_write in self.roots)

    def intersect(self, other: PathGrants) -> PathGrants:
        """Return what both allow: of two roots one inside the other, the inner; writable only where both are."""
        return PathGrants.of(
            (inner, mine_writes and theirs_writes)
            for mine, mine_writes in self.roots
            for theirs, theirs_writes in other.roots
            for inner in _inner(mine, theirs)
        )

    def also_at(self, resolve: Callable[[str], str]) -> PathGrants:
        """Return the same grants at the resolved form of each root too, for hosts whose ``/home`` or ``/tmp`` is a link.

        A root that resolves to ``/`` adds nothing: a link must not grant what the policy file may not.
        """
        real = ((resolve(root), write) for root, write in self.roots)
        return PathGrants.of([*self.roots, *((root, write) for root, write in real if root != "/")])


def _inner(one: str, other: str) -> Iterable[str]:
    if within(one, other):
        return (one,)
    return (other,) if within(other, one) else ()
