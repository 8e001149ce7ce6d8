"""What a process can see of the machine: programs of PATH, files of the working directory. The rest of the facts comes from the shell."""

from __future__ import annotations

import os

from runloop.router.values import RouterSettings, ShellFacts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_MEMBERS: dict[str, type | tuple[type, ...]] = {
    "shell": str,
    "path": str,
    "cwd": str,
    "expanded": str,
    "aliases": dict,
    "functions": list,
    "builtins": list,
    "keywords": list,
    "commands": list,
    "files": list,
}
_MAX_NAME = 4096


class Programs:
    """The programs of a PATH. What was found is remembered until one of the directories changes."""

    __slots__ = ("_cwd", "_directories", "_known", "_stamps")

    def __init__(self, path: str, cwd: str) -> None:
        self._directories = [os.path.join(cwd, each or ".") for each in path.split(os.pathsep)]  # noqa: PTH118 - pathlib is slow to start
        self._cwd = cwd
        self._known: dict[str, bool] = {}
        self._stamps: list[int] | None = None  # read when they first matter: a line that is asked about alone needs none

    def refresh(self) -> None:
        """Forget what was found if a directory has changed."""
        stamps = self._read_stamps()
        if stamps != self._stamps:
            self._stamps = stamps
            self._known.clear()

    def __call__(self, name: str) -> bool:
        """Whether ``name`` is a program: a file that may be executed, by path or in PATH."""
        found = self._known.get(name)
        if found is None:
            found = self._find(name)
            if "/" not in name:
                self._known[name] = found
        return found

    def _find(self, name: str) -> bool:
        if not _is_path(name):
            return False
        if "/" in name:
            return _executable(os.path.join(self._cwd, os.path.expanduser(name)))  # noqa: PTH111, PTH118
        return any(_executable(directory + "/" + name) for directory in self._directories)

    def _read_stamps(self) -> list[int]:
        stamps = []
        for directory in self._directories:
            try:
                stamps.append(os.stat(directory).st_mtime_ns)  # noqa: PTH116
            except (OSError, ValueError):
                stamps.append(0)
        return stamps


class Files:
    """The files of a directory, by the names that one types in it."""

    __slots__ = ("_cwd",)

    def __init__(self, cwd: str) -> None:
        self._cwd = cwd

    def __call__(self, name: str) -> bool:
        """Whether there is such a file or directory."""
        return _is_path(name) and os.path.lexists(os.path.join(self._cwd, os.path.expanduser(name)))  # noqa: PTH111, PTH118


def facts(environment: Mapping[str, str], given: Mapping[str, Any] | None = None) -> ShellFacts:
    """The facts of a shell: ``given`` is what it said itself, by the names of ``docs/router.md``; the rest is looked up.

    Raises ``route.facts`` for members that are unknown or of another type.
    """
    said = {} if given is None else given
    _check(said)
    cwd = said.get("cwd") or _cwd()
    return ShellFacts(
        said.get("shell") or os.path.basename(environment.get("SHELL", "")) or "sh",  # noqa: PTH119
        commands=said["commands"] if "commands" in said else Programs(said.get("path", environment.get("PATH", os.defpath)), cwd),
        files=said["files"] if "files" in said else Files(cwd),
        openings=Files("/"),
        aliases=said.get("aliases"),
        functions=frozenset(said.get("functions", ())),
        builtins=frozenset(said["builtins"]) if "builtins" in said else None,
        keywords=frozenset(said["keywords"]) if "keywords" in said else None,
        expanded=said.get("expanded", ""),
    )


def settings_of(settings: Any) -> RouterSettings:
    """The router's part of the settings in force."""
    return RouterSettings(
        sigil=settings.get("router.sigil"),
        sentences=settings.get("router.sentences"),
        fastpath_shell=settings.get("router.fastpath_shell"),
        allowlist=settings.get("router.allowlist"),
        denylist=settings.get("router.denylist"),
        known_commands=settings.get("router.known_commands"),
        opening_dirs=[str(directory) for directory in settings.get("openings.search_dirs")],
    )


def _check(said: Mapping[str, Any]) -> None:
    for name, value in said.items():
        wanted = _MEMBERS.get(name)
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        if wanted is None:
            raise _unusable(f"the shell's facts have no member {name!r}")
        if not isinstance(value, wanted) or not all(isinstance(each, str) for each in inner):
            raise _unusable(f"{name} in the shell's facts has the wrong type")


def _unusable(problem: str) -> Exception:
    from runloop.errors import InvalidInput

    return InvalidInput(
        problem,
        code="route.facts",
        hint="shell, path, cwd, expanded are text, aliases maps text to text, functions, builtins, keywords, commands, files are lists.",
    )


def _cwd() -> str:
    try:
        return os.getcwd()  # noqa: PTH109
    except OSError:
        return "/"


def _is_path(name: str) -> bool:
    return bool(name) and "\0" not in name and len(name) < _MAX_NAME


def _executable(path: str) -> bool:
    try:
        return os.access(path, os.X_OK) and os.path.isfile(path)  # noqa: PTH113
    except ValueError:  # a character that no file name can have
        return False
