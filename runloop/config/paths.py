"""Directories of the user and of the system, and how a path in a setting is expanded.

Nothing here reads the process environment by itself: it comes in as a mapping.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from runloop.config.errors import ConfigError
from runloop.dataclass import dataclass
from runloop.errors import Where
from runloop.patterns import lazy

SYSTEM_CONFIG = Path("/etc/runloop")
SOCKET_NAME = "rmp.sock"
_VARIABLE = lazy(r"\$(?:\$|\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")


@dataclass(frozen=True, slots=True)
class Base:
    """Where things lie before any setting is read. Every path is absolute."""

    state: Path
    cache: Path
    user_files: tuple[Path, ...]
    sockets: Path
    home: Path | None


@dataclass(frozen=True, slots=True)
class Expansion:
    """What a path in a setting may refer to."""

    env: Mapping[str, str]
    base: Base
    cwd: Path


def find_base(env: Mapping[str, str]) -> Base:
    """The user's directories from HOME, RUNLOOP_HOME and the XDG variables; raises where they make no sense.

    ``user_files`` are in rising precedence: the XDG file, then the one in the state directory.
    """
    home = _absolute(env, "HOME")
    own = _absolute(env, "RUNLOOP_HOME", home)
    if own is not None:
        state = own
    elif home is not None:
        state = home / ".runloop"
    else:
        raise ConfigError(
            "there is no home directory: neither HOME nor RUNLOOP_HOME is set",
            code="config.no_home",
            hint="Set HOME, or set RUNLOOP_HOME to a directory for Runloop's own files.",
        )
    cache = _absolute(env, "XDG_CACHE_HOME", home)
    xdg_config = _absolute(env, "XDG_CONFIG_HOME", home)
    if xdg_config is None and home is not None:
        xdg_config = home / ".config"
    runtime = _absolute(env, "XDG_RUNTIME_DIR", home)
    files = (*((xdg_config / "runloop" / "config.yaml",) if xdg_config else ()), state / "config.yaml")
    if cache is None and home is not None:
        cache = home / ".cache"
    sockets = runtime / "runloop" if runtime is not None and own is None else state / "sock"
    base = Base(state, cache / "runloop" if cache is not None else state / "cache", files, sockets, home)
    _require_text(
        base.state,
        Where(key="RUNLOOP_HOME" if own is not None else "HOME"),
        "Set RUNLOOP_HOME and XDG_CACHE_HOME to directories whose names are.",
    )
    _require_text(base.cache, Where(key="XDG_CACHE_HOME"), "Set XDG_CACHE_HOME to another one.")
    _require_text(base.sockets, Where(key="XDG_RUNTIME_DIR"), "Unset XDG_RUNTIME_DIR.")
    return base


def _require_text(path: Path, where: Where, hint: str) -> None:
    """Raise where a path is not the UTF-8 that SQLite makes of its text: it has other bytes, or the locale has another encoding."""
    try:
        if str(path).encode() == os.fsencode(path):
            return
    except UnicodeEncodeError:
        pass
    raise ConfigError(f"the path {str(path)!a} is not UTF-8", code="config.path_not_text", where=where, hint=hint)


def _absolute(env: Mapping[str, str], name: str, home: Path | None = None) -> Path | None:
    text = env.get(name, "").strip()
    if not text:
        return None
    if home is not None and (text == "~" or text.startswith("~/")):
        return home / text[2:]
    if not text.startswith("/"):
        raise ConfigError(
            f"{name} is {text!r}, which is not an absolute path",
            code="config.path_relative",
            where=Where(key=name),
            hint=f"Set {name} to a path that starts with /, or unset it.",
        )
    path = Path(text)
    return Path(os.path.realpath(path)) if ".." in path.parts else path  # paths below it are normalised, which would leave a link unseen


def as_setting(path: Path) -> str:
    """A path as the settings write it, so that :func:`expand` gives it back: what it is called refers to no variable."""
    return str(path).replace("$", "$$")


def expand(text: str, expansion: Expansion, where: Where) -> Path:
    """The absolute path that ``text`` means; an unset variable or unknown user is an error, never left as it is."""
    if text.startswith("env:"):
        text = _variable(text[4:].strip(), expansion, where)  # a name may have a dollar sign, as in what $NAME stands for
    else:
        text = _VARIABLE.sub(lambda match: "$" if match[0] == "$$" else _variable(match[1] or match[2], expansion, where), text)
    if text.startswith("~"):
        text = _home(text, expansion, where)
    if "\0" in text:
        raise ConfigError("a path cannot contain a NUL character", where=where)
    path = Path(os.path.normpath(expansion.cwd / text))
    _require_text(path, where, "Name a path of UTF-8 text.")
    return path


def _variable(name: str, expansion: Expansion, where: Where) -> str:
    value = expansion.env.get(name, "")
    if not value:
        raise ConfigError(
            f"the path refers to the variable {name}, which is not set",
            code="config.path_unresolved",
            where=where,
            hint=f"Set {name}, or write the path out."
            if name.isidentifier()
            else "`env:` takes the name of one variable; `$NAME/…` goes on.",
        )
    return value


def _home(text: str, expansion: Expansion, where: Where) -> str:
    user, slash, rest = text[1:].partition("/")
    if not user:
        if expansion.base.home is None:
            raise ConfigError("the path starts with ~ but HOME is not set", code="config.path_unresolved", where=where, hint="Set HOME.")
        return str(expansion.base.home) + slash + rest
    try:
        import pwd

        return pwd.getpwnam(user).pw_dir + slash + rest
    except (ImportError, KeyError):
        raise ConfigError(
            f"the path names a user that does not exist: {user!r}",
            code="config.path_unresolved",
            where=where,
            hint="Write the path out, or begin it with ~/ for your own home.",
        ) from None


@dataclass(frozen=True, slots=True)
class Directories:
    """Where Runloop keeps the user's things. Nothing is created until :func:`ensure` is called."""

    state: Path
    pog: Path
    agents: Path
    openings: Path
    outbox: Path
    artifacts: Path
    token: Path
    cache: Path
    socket: Path


def ensure(path: Path) -> Path:
    """Create a directory and its parents for this user alone (0700); existing ones keep their mode."""
    from runloop.private import make_private

    try:
        make_private(path)
    except (FileExistsError, NotADirectoryError):
        raise _unusable(path, "a file stands there or above it, or a link that leads nowhere", "Move that away") from None
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from None
    if not path.is_dir():
        raise _unusable(path, "it is not a directory")
    if not os.access(path, os.W_OK | os.X_OK):
        raise _unusable(path, "it is not writable")
    return path


def _unusable(path: Path, why: str, do: str = "Make it writable for this user") -> ConfigError:
    return ConfigError(
        f"the directory {path} cannot be used: {why}",
        code="config.directory_unusable",
        where=Where(file=str(path)),
        hint=f"{do}, or name another: RUNLOOP_HOME has all of them, runtime.socket_path the socket's.",
    )
