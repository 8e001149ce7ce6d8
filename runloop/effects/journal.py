"""The journal of one node attempt: what the guest asked, in order, and what it was told.

Pure: it holds the record, compares, and answers; it performs nothing, so a re-run over a complete journal cannot act.
A guest is deterministic, so its n-th crossing is the same call with the same arguments on every run; anything else is
a divergence and is named (architecture section 1).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from runloop.dataclass import dataclass
from runloop.errors import VerificationFailed, Where

_SHOWN = 1000


@dataclass(frozen=True, slots=True)
class Failure:
    """A refused or failed call as the guest saw it; ``code`` is one of the call-error codes, ``reason`` the dotted stable one.

    ``unknown`` says that the effect may have happened.
    """

    code: str
    message: str
    hint: str = ""
    reason: str = "call.failed"
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Crossing:
    """One recorded crossing. ``result`` and ``failure`` are both None while the outcome is not known.

    ``completed_ms`` is the wall clock at which the answer was recorded: it moves the guest's virtual clock, on every run.
    ``asked_ms`` is that of the request.
    """

    call: int
    name: str
    args_hash: str
    result: Any = None
    failure: Failure | None = None
    completed_ms: int = 0
    taint: frozenset[str] = frozenset()
    answered: bool = True
    asked_ms: int = 0
    args: Any = None
    klass: str = ""
    refused: bool = False
    """Whether it was refused before anything was prepared for it."""

    def __str__(self) -> str:
        """Name and arguments, or where these are not known the beginning of their hash."""
        return shown_call(
            self.name, self.args_hash, None if self.args is None else json.dumps(self.args, ensure_ascii=False, sort_keys=True)
        )


@dataclass(frozen=True, slots=True)
class Recorded:
    """The record knows the answer: give it to the guest, do nothing."""

    crossing: Crossing


@dataclass(frozen=True, slots=True)
class Live:
    """The record ends here, or holds a request without an outcome (``pending``): this call is the first live one."""

    call: int
    pending: Crossing | None = None


class Diverged(VerificationFailed):
    """A re-run asked for something else than the record says."""

    code = "run.diverged"

    def __init__(self, node: str, attempt: int, call: int, expected: str, actual: str) -> None:
        super().__init__(
            f"call {call} of attempt {attempt} differs from the record: expected {expected}, the guest asked {actual}",
            where=Where(node=node),
            hint="the agent, its inputs or the Python guest changed since the run was recorded; fork the run to go on with the change",
        )
        self.node, self.attempt, self.call, self.expected, self.actual = node, attempt, call, expected, actual


class Journal:
    """Answers crossings from a record, and says where the record ends.

    ``recorded`` are the crossings of one attempt, numbered densely from 1 in the order they were asked. A ``lenient`` journal is for other
    code than was recorded: at the first call that differs the record ends, and ``parted`` says how.
    """

    def __init__(self, node: str, attempt: int, recorded: Iterable[Crossing] = (), *, lenient: bool = False) -> None:
        self._node, self._attempt = node, attempt
        self.lenient = lenient
        self.parted: Diverged | None = None
        self._recorded = tuple(recorded)
        self._asked = 0
        for position, crossing in enumerate(self._recorded, start=1):
            if crossing.call != position:
                raise VerificationFailed(
                    f"the record of attempt {attempt} is not dense: expected call {position}, found call {crossing.call}",
                    code="run.journal_gap",
                    where=Where(node=node),
                    hint="run `rlp kb verify`: events of this run are missing",
                )

    @property
    def asked(self) -> int:
        """How many crossings the guest has made."""
        return self._asked

    @property
    def replaying(self) -> bool:
        """Whether the next crossing is inside the record, with its answer."""
        return self._asked < len(self._recorded) and self._recorded[self._asked].answered

    @property
    def taint(self) -> frozenset[str]:
        """Where the answers in it came from that the guest is sure to get: none where the record may end at any call."""
        given = () if self.lenient else (crossing.taint for crossing in self._recorded if crossing.answered)
        return frozenset().union(*given)

    def ask(self, name: str, args_hash: str, args_json: str | None = None) -> Recorded | Live:
        """Take the guest's next crossing; ``args_json`` is for the message of a divergence.

        Raises:
            Diverged: the record holds another call at this place.

        """
        self._asked += 1
        if self._asked > len(self._recorded):
            return Live(self._asked)
        crossing = self._recorded[self._asked - 1]
        if (crossing.name, crossing.args_hash) != (name, args_hash):
            self._part(Diverged(self._node, self._attempt, self._asked, str(crossing), shown_call(name, args_hash, args_json)))
            return Live(self._asked)
        return Recorded(crossing) if crossing.answered else Live(self._asked, pending=crossing)

    def finish(self) -> None:
        """The guest ended: raise :class:`Diverged` when the record holds crossings that it did not make."""
        if self._asked < len(self._recorded):
            missing = self._recorded[self._asked]
            self._part(Diverged(self._node, self._attempt, self._asked + 1, str(missing), "the end of the attempt"))

    def _part(self, found: Diverged) -> None:
        if not self.lenient:
            raise found
        self.parted = found
        self._recorded = self._recorded[: found.call - 1]


def shown_call(name: str, args_hash: str, args_json: str | None) -> str:
    """A call for people: its name and arguments, shortened."""
    shown = args_hash[:12] if args_json is None else args_json
    return f"{name} {shown}" if len(shown) <= _SHOWN else f"{name} {shown[:_SHOWN]}… ({len(shown)} characters, {args_hash[:12]})"
