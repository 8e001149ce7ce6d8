"""What performers need from the rest of Runloop, as narrow protocols; the composition root hands in the real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from runloop.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runloop.effects.types import CallContext


@dataclass(frozen=True, slots=True)
class Proposal:
    """A fact that an agent wants in the ledger."""

    kind: str
    payload: Mapping[str, Any]
    evidence: tuple[int, ...]
    rationale: str
    idempotency_key: str


class KnowledgePort(Protocol):
    """The knowledge base as agents see it. Methods raise :class:`runloop.errors.RunloopError`."""

    async def search(self, query: str, domains: Sequence[str], limit: int, *, raw_contacts: bool) -> list[dict[str, Any]]:
        """Hits as ADR 1 ``kb.search`` names them, best first."""
        ...

    async def get(self, key: str, *, raw_contacts: bool) -> dict[str, Any] | None:
        """The entity as ADR 1 ``kb.get`` names it."""
        ...

    async def labels(self, event_ids: Sequence[int]) -> frozenset[str]:
        """Where the content of these events came from, as far as agents said them that had seen something from outside."""
        ...

    async def labels_of_people(self) -> frozenset[str]:
        """The same for what the tables of contacts and accounts say."""
        ...

    async def query(self, sql: str, limit: int) -> dict[str, Any]:
        """Columns, rows and whether there are more, of one read-only statement over the masked tables."""
        ...

    async def propose(self, proposal: Proposal, ctx: CallContext) -> int:
        """Add the fact, once per idempotency key; the id of its event."""
        ...


@dataclass(frozen=True, slots=True)
class Question:
    """What a person is asked; ``timeout_ms`` None waits until the run ends. With the options of ``comment_on`` words are wanted too."""

    text: str
    options: tuple[str, ...]
    default: str | None
    detail: str
    timeout_ms: int | None
    comment_on: tuple[str, ...] = ()
    closes_ms: int | None = None
    """When it is decided without an answer, Unix milliseconds; ``on_timeout`` is what is chosen then."""
    on_timeout: str = ""
    stays_open: bool = False
    """Whether only a person can answer it, so that it waits for one wherever there is a place to wait."""


@dataclass(frozen=True, slots=True)
class PersonAnswer:
    """What was answered and by whom: a role such as ``operator``, or ``default`` where the time ran out, and the user's number.

    ``comment`` adds words.
    """

    answer: str
    by: str
    comment: str = ""
    uid: int | None = None


def in_time(question: Question) -> PersonAnswer:
    """What counts where the time of a question ran out: its default. Raises TimeoutError where it has none."""
    if question.default is None:
        raise TimeoutError
    return PersonAnswer(question.default, "default")


class Asker(Protocol):
    """Reaches a person."""

    async def ask(self, question: Question, ctx: CallContext) -> PersonAnswer | None:
        """The answer, or None when nobody is there to give one. Raises what :func:`in_time` raises where somebody could have."""
        ...


class Clock(Protocol):
    """Waits; a test or a replay waits in its own way."""

    async def sleep(self, ms: int) -> None:
        """Return after that many milliseconds."""
        ...


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file kept for a run; hashes are lower-case hex."""

    name: str
    kind: str
    path: str
    blake3: str
    sha256: str
    bytes: int
    summary: str
    sources: tuple[Mapping[str, Any], ...]


class RunReporter(Protocol):
    """Where a node's progress, log lines, marks and artifacts are told."""

    async def progress(self, ctx: CallContext, text: str, fraction: float | None) -> None:
        """Show how far the node is; may be dropped."""
        ...

    def delta(self, ctx: CallContext, at: int, text: str) -> None:
        """Show a piece of an answer that is still coming, which begins at that code point; may be dropped."""
        ...

    async def log(self, ctx: CallContext, level: str, text: str) -> None:
        """Record a line."""
        ...

    async def mark(self, ctx: CallContext, label: str) -> None:
        """Record a named place of the run."""
        ...

    async def artifact(self, ctx: CallContext, artifact: Artifact) -> int:
        """Record an artifact, once per idempotency key; the id of its event."""
        ...


class BlobStore(Protocol):
    """Content-addressed bytes; putting the same bytes twice stores them once."""

    def put(self, data: bytes) -> str:
        """Keep the bytes durably; their BLAKE3 as hex. Blocking."""
        ...


@dataclass(frozen=True, slots=True)
class SentMail:
    """What is known of a message that was put out: ``status`` is ``outbox`` or ``sent``."""

    key: str
    message_id: str
    status: str
    path: str | None
    digest: str
    recipients: tuple[str, ...]


class SentLog(Protocol):
    """Remembers which messages went out, by their key, so that a retry cannot send twice."""

    async def find(self, key: str) -> SentMail | None:
        """The record of an earlier sending, or None."""
        ...

    async def record(self, mail: SentMail, ctx: CallContext) -> None:
        """Keep the record durably; a second record of the same key changes nothing."""
        ...

    async def unsettled(self, ctx: CallContext) -> bool:
        """Whether an earlier attempt at the same work handed this message over, and the record has no answer to that."""
        ...
