"""The values that cross between a run and the sandbox: what to run, under which limits, and what came of it."""

from __future__ import annotations

import re
from dataclasses import field
from typing import TYPE_CHECKING, Literal, Protocol

from runloop.dataclass import dataclass
from runloop.errors import InvalidInput, RunloopError
from runloop.sandbox.world import LIVE_NAMES, NAMES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping
    from contextlib import AbstractContextManager

GuestKind = Literal["python", "component", "wasm32-wasip1"]
MIB = 1 << 20
_DIGEST = re.compile(r"[0-9a-f]{64}")
MAX_REQUEST_BYTES = 4 * MIB
"""Most bytes of one hostcall's request or answer and of a guest's request; below the 8 MiB of an RMP body (spec 3.1)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one guest may use. ``wall_ms`` counts only the time in which the guest itself runs, not its waiting for hostcalls."""

    memory_bytes: int = 256 * MIB
    wall_ms: int = 60_000
    fuel: int | None = None
    output_bytes: int = 8 * MIB
    hostcalls: int = 10_000

    def __post_init__(self) -> None:
        for name, least in (("memory_bytes", 1 << 16), ("wall_ms", 1), ("fuel", 1), ("output_bytes", 1), ("hostcalls", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InvalidInput(
                    f"the limit {name} is {value}, but the least is {least}", code="guest.limits", hint=f"raise {name} in the manifest"
                )


@dataclass(frozen=True, slots=True)
class GuestSpec:
    """One run of one guest.

    ``digest`` names the bundle, whose ``sources`` and ``data`` (kind python: files to import and to read) or ``code`` (the other kinds) are
    given with it. ``entry`` is the file to begin with, of a command the name that it gets as its first argument.
    ``guest`` names the Python guest (None: the installed one), which must be kept where another is installed.
    ``request_json`` is the object of ADR 1; ``seed`` (32 bytes) and ``start_ms`` (Unix time) make time and randomness.
    """

    kind: GuestKind
    digest: str
    entry: str
    request_json: str
    seed: bytes
    start_ms: int
    limits: Limits = field(default_factory=Limits)
    sources: Mapping[str, str] | None = None
    data: Mapping[str, bytes] = field(default_factory=dict)
    code: bytes | None = None
    guest: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("python", "component", "wasm32-wasip1"):
            raise InvalidInput(f"there is no guest kind {self.kind!r}", code="guest.kind", hint="use python, component or wasm32-wasip1")
        if len(self.seed) != 32:
            raise InvalidInput(f"a seed has 32 bytes, this one {len(self.seed)}", code="guest.seed")
        if self.guest is not None and not _DIGEST.fullmatch(self.guest):
            raise InvalidInput(
                f"{self.guest!r} is no digest of a Python guest",
                code="guest.digest",
                hint="it is in the record of the run, with 64 hexadecimal digits",
            )
        if (self.sources is None) if self.kind == "python" else (self.code is None):
            wanted = "sources" if self.kind == "python" else "code"
            raise InvalidInput(f"a guest of kind {self.kind} needs {wanted}", code="guest.code")


@dataclass(frozen=True, slots=True)
class GuestResult:
    """What a guest returned, as JSON text, and what it used."""

    result_json: str
    running_ms: float
    waiting_ms: float
    hostcalls: int
    output_bytes: int
    worker: int


@dataclass(frozen=True, slots=True)
class CallError:
    """A refused hostcall: ``code`` is one of denied, invalid, budget, timeout, unavailable, cancelled."""

    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one hostcall, and the time at which it was given: the guest's clock moves there."""

    value: str | CallError
    now_ms: int


@dataclass(frozen=True, slots=True)
class Taped:
    """One recorded call of a guest that is re-run: its name, and the answer that the guest got."""

    name: str
    answer: Answer

    def __post_init__(self) -> None:
        if self.name not in NAMES or self.name in LIVE_NAMES:
            raise InvalidInput(
                f"a record cannot hold the answer of {self.name!r}",
                code="guest.tape",
                hint="see docs/hostcalls.md for the calls that are recorded",
            )


class Hostcall(Protocol):
    """Answers the hostcalls of one guest, taped ones too; an exception from it stops the guest and comes out of ``WorkerPool.run``."""

    def __call__(self, name: str, args_json: str, /) -> Awaitable[Answer]:
        """Answer one call."""


class InLine(Protocol):
    """Entered while a guest waits for a place in a worker."""

    def __call__(self, again: bool, /) -> AbstractContextManager[None]:
        """``again``: it had one, takes long, and was taken out for others."""


class GuestError(RunloopError):
    """A guest ended without a result; the code says how (``guest.*``, or ``worker.crashed``, which is retryable).

    ``said`` is what the guest itself gave as the one-line reason where ``message`` is its whole traceback, else empty.
    """

    code = "guest.trap"
    said: str = ""
