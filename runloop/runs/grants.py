"""Approvals that outlive their run: kept in a file of the state directory, listed and taken back by `rlp inbox`.

The decision itself is a record of the run that it was given in; whatever passes by a grant later names it in a record of its own.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from runloop.config import ensure
from runloop.dataclass import dataclass
from runloop.errors import InvalidInput, Where
from runloop.policy import Grant, Scope

FILE: Final = "grants.json"
STANDING: Final = frozenset({Scope.OPENING, Scope.ALWAYS})
"""Scopes that reach beyond the run."""
_VERSION: Final = 1
_MAX_BYTES: Final = 64 << 20  # grants are some hundred bytes each
_TEXTS: Final = ("id", "action", "agent", "agent_name", "opening", "opening_name", "approval_id", "run_id")


@dataclass(frozen=True, slots=True)
class StandingGrant:
    """A grant with what a person wants to know of it: names, and which approval it came from."""

    id: str
    grant: Grant
    agent_name: str
    opening_name: str
    approval_id: str
    given_ms: int

    @classmethod
    def given(cls, grant: Grant, *, agent_name: str, opening_name: str, approval_id: str, given_ms: int) -> StandingGrant:
        """The grant that this approval gave; its id follows from the approval."""
        return cls(blake2b(approval_id.encode(), digest_size=6).hexdigest(), grant, agent_name, opening_name, approval_id, given_ms)

    def to_dict(self) -> dict[str, Any]:
        """As it is kept and shown."""
        grant = self.grant
        return {
            "id": self.id, "scope": grant.scope.value, "action": grant.action, "targets": sorted(grant.targets),
            "agent": grant.agent, "agent_name": self.agent_name, "opening": grant.opening, "opening_name": self.opening_name,
            "approval_id": self.approval_id, "run_id": grant.run_id, "given_ms": self.given_ms,
        }  # fmt: skip

    def may_answer(self, asked: Mapping[str, Any]) -> bool:
        """Whether it covers an open approval, for all that is shown of this: the digests are in the run that asks (:meth:`is_for`)."""
        grant, targets = self.grant, set(asked["recipients"])
        same = (grant.action, self.agent_name) == (asked["action"], asked["agent"])
        return same and grant.scope in asked["scopes"] and bool(targets) and targets <= grant.targets

    def is_for(self, submitted: Mapping[str, Any]) -> bool:
        """Whether the run that this began runs the agent, and for this opening alone the opening, for which it was given."""
        grant, agents = self.grant, submitted["versions"].get("bundles") or {}
        return grant.agent in agents.values() and (grant.scope is Scope.ALWAYS or grant.opening == submitted["opening_digest"])


@dataclass(slots=True)
class StandingGrants:
    """The grants of one state directory; without one they are kept in memory.

    Every process reads the file again when it has changed, so that what is taken back counts at once.
    """

    path: Path | None = None
    told: set[Callable[[Sequence[StandingGrant]], None]] = field(default_factory=set)
    """Who wants to hear, in this process, that some were given."""
    _heard: set[str] = field(default_factory=set)
    """The ids of those that were told of."""
    _known: tuple[StandingGrant, ...] = ()
    _stamp: tuple[int, int, int] | None = None

    def all(self) -> tuple[StandingGrant, ...]:
        """Every grant, oldest first. Raises InvalidInput ``grants.file`` where the file is not what this program wrote."""
        if self.path is None:
            return self._known
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            self._known, self._stamp = (), None
            return ()
        except OSError as error:
            raise _unreadable(self.path, str(error.strerror)) from error
        stamp = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if stamp != self._stamp:
            self._known = _read(self.path)
            self._stamp = stamp
        return self._known

    def covering(self) -> tuple[StandingGrant, ...]:
        """As :meth:`all`, for admission: a file that cannot be read grants nothing, so that the person is asked."""
        try:
            return self.all()
        except InvalidInput:
            return ()

    def keep(self, granted: StandingGrant) -> None:
        """Add a grant; the same one twice is one."""
        with self._changing() as grants:
            grants[granted.id] = granted
        self._tell([granted])

    def look(self) -> None:
        """Tell of what other processes gave since this was called last; the first time of all that there are."""
        given = self.covering()
        if new := [each for each in given if each.id not in self._heard]:
            self._tell(new)
        self._heard &= {each.id for each in given}

    def _tell(self, given: Sequence[StandingGrant]) -> None:
        self._heard |= {each.id for each in given}
        for hears in tuple(self.told):
            hears(given)

    def revoke(self, grant_id: str) -> StandingGrant:
        """Take a grant back, from now on. Raises InvalidInput ``grants.unknown``."""
        with self._changing() as grants:
            if grant_id not in grants:
                raise InvalidInput(f"there is no grant {grant_id!r}", code="grants.unknown", hint="`rlp inbox --grants` lists them")
            return grants.pop(grant_id)

    @contextmanager
    def _changing(self) -> Iterator[dict[str, StandingGrant]]:
        """The grants by id, written back whole at the end; one process at a time."""
        if self.path is None:
            grants = {each.id: each for each in self._known}
            yield grants
            self._known = tuple(grants.values())
            return
        directory = os.open(ensure(self.path.parent), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            grants = {each.id: each for each in self.all()}
            yield grants
            _write(self.path, tuple(grants.values()))
            os.fsync(directory)
        finally:
            os.close(directory)


def _read(path: Path) -> tuple[StandingGrant, ...]:
    try:
        found = json.loads(_content(path))
        if found["v"] != _VERSION:
            raise _unreadable(path, f"its version is {found['v']!r}, not {_VERSION}")
        return tuple(_grant(each) for each in found["grants"])
    except OSError as error:
        raise _unreadable(path, str(error.strerror)) from error
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise _unreadable(path, "it is no list of grants") from error


def _content(path: Path) -> bytes:
    """What the file holds; of more than any list of grants has, nothing. Raises OSError."""
    from runloop.links import regular

    with regular(path) as file:
        return file.read() if os.fstat(file.fileno()).st_size <= _MAX_BYTES else b""


def _grant(kept: dict[str, Any]) -> StandingGrant:
    """Raises ValueError, KeyError, TypeError or OverflowError where something is not as it was written."""
    texts = {name: kept[name] for name in _TEXTS}
    targets, scope = kept["targets"], Scope(kept["scope"])
    if not all(isinstance(text, str) for text in (*texts.values(), *targets)) or not isinstance(targets, list) or scope not in STANDING:
        raise TypeError(kept)
    "".join((*texts.values(), *targets)).encode()  # half characters can neither be written nor shown
    grant = Grant(scope, texts["action"], texts["agent"], frozenset(targets), texts["opening"], texts["run_id"])
    return StandingGrant(texts["id"], grant, texts["agent_name"], texts["opening_name"], texts["approval_id"], int(kept["given_ms"]))


def _write(path: Path, grants: tuple[StandingGrant, ...]) -> None:
    data = json.dumps({"v": _VERSION, "grants": [each.to_dict() for each in grants]}, ensure_ascii=False, indent=1) + "\n"
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data.encode())
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _unreadable(path: Path, why: str) -> InvalidInput:
    hint = f"nothing is granted by it; move it away (mv {path} {path}.old) and approve anew"
    return InvalidInput(f"the grants cannot be read: {why}", code="grants.file", where=Where(file=str(path)), hint=hint)
