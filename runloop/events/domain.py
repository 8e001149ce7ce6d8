"""Payloads of events that state facts outside a run: people, notes, files, mail, audits (spec 15.4)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

Email = Annotated[str, Meta(min_length=3, max_length=320, pattern=r"^[^@\s<>,;\"]+@[^@\s<>,;\"]+$")]
Hash = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
AnyHash = Annotated[str, Meta(pattern="^[0-9a-fA-F]{64}$")]
EventRef = Annotated[int, Meta(ge=1)]
Line = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]
Text = Annotated[str, Meta(min_length=1)]


class Payload(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A closed set of fields; absent optional fields are left out of the stored form."""


class ContactUpserted(Payload, frozen=True):
    """A person is known under an e-mail address; a later event for the same address replaces the earlier one.

    ``email`` is the preferred address and the key; ``emails`` are all of them, ``phones`` telephone numbers as they are written.
    ``source`` says where it comes from, ``path`` and ``line`` in which file it stood.
    """

    name: Text
    email: Email
    org: str | None = None
    trust: Annotated[float, Meta(ge=0, le=1)] | None = None
    evidence: list[EventRef] | None = None
    nicknames: list[Text] | None = None
    emails: list[Email] | None = None
    phones: list[Text] | None = None
    source: str | None = None
    path: str | None = None
    line: Line | None = None


class AccountUpserted(Payload, frozen=True):
    """Somebody is known by ``handle`` at ``service``; ``contact`` is the e-mail address of the contact whose account it is."""

    service: Text
    handle: Text
    contact: Email | None = None
    url: str | None = None
    source: str | None = None
    evidence: list[EventRef] | None = None
    path: str | None = None
    line: Line | None = None


class Span(Payload, frozen=True):
    """A place in what an event says, and what stands there.

    ``start`` and ``end`` count characters of the text (end exclusive), ``line`` and ``end_line`` the lines of the file that it came from.
    """

    event_id: EventRef
    quote: Text
    start: Count | None = None
    end: Count | None = None
    line: Line | None = None
    end_line: Line | None = None


class Stamp(Payload, frozen=True):
    """Who answers for a fact: the ``person`` who said it, or the ``validator``, a program that made these checks of an agent's proposal."""

    by: Literal["person", "validator"]
    checks: list[Text] = []


class FactRemembered(Payload, frozen=True):
    """``value`` names the blob ``{"salt": hexadecimal, "value": any}``: the event tells nothing of it, and the blob can be erased."""

    subject: Text
    predicate: Text
    value: Hash
    stamp: Stamp
    spans: list[Span] | None = None
    evidence: list[EventRef] | None = None


class FactSuperseded(Payload, frozen=True):
    """The fact that event ``fact`` said has this value now; the event is a fact of its own with the same subject and predicate."""

    fact: EventRef
    value: Hash
    stamp: Stamp
    spans: list[Span] | None = None
    evidence: list[EventRef] | None = None


class FactForgotten(Payload, frozen=True):
    """The fact that event ``fact`` said does not hold any more."""

    fact: EventRef
    stamp: Stamp
    reason: str | None = None


class Erased(Payload, frozen=True):
    """An event that lost its content: its content hash, and the hash of the payload and provenance that were left in its place.

    ``said`` is a hash under a key of the ledger's, by which an importer knows the record again (``runloop.kb.recognising``).
    """

    id: EventRef
    hash: Hash
    left: Hash
    said: Hash | None = None


class EventsErased(Payload, frozen=True):
    """These events, all earlier, lost their content in the transaction that stored this one; ``erasure`` is what stands in their place.

    ``blobs`` are those that the events named; what no other event names was deleted with them.
    """

    erasure: Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
    events: Annotated[list[Erased], Meta(min_length=1)]
    blobs: list[Hash] | None = None
    reason: str | None = None


class ArtifactFile(Payload, frozen=True):
    """A file that was made outside a run; inside a run the same kind is a run record (it then has ``v``)."""

    kind: Text
    path: Text
    sha256: AnyHash
    summary: str | None = None
    citations: list[EventRef] | None = None


class EmailSent(Payload, frozen=True):
    """A message left the machine, or entered the outbox; ``artifact_id`` is the event that made its text."""

    to: Annotated[list[Email], Meta(min_length=1)]
    subject: Text
    artifact_id: EventRef
    cc: list[Email] | None = None
    message_id: str | None = None
    status: Literal["outbox", "sent"] | None = None
    path: str | None = None
    content_hash: Hash | None = None


class PrivilegedRead(Payload, frozen=True):
    """A person read something without masks: which command, what it was about, why, and as which user of the system."""

    what: Text
    subject: str
    reason: Text
    uid: Count


class CapAudit(Payload, frozen=True):
    """A capability was asked for, and what policy said."""

    agent: str
    cap: str
    op: str
    target: str
    args_hash: Hash
    decision: Literal["allow", "deny"]
    severity: Literal["info", "warn", "error"]
    reason: str


class NoteImported(Payload, frozen=True):
    """A passage of a text file, lines ``line`` to ``end_line`` (from 1, inclusive) of the version with hash ``file_hash``."""

    path: Text
    line: Line
    end_line: Line
    text: Any  # text, or the blob that holds it
    file_hash: Hash
    part: Count
    parts: Annotated[int, Meta(ge=1)]
    title: str | None = None


class NoteRemoved(Payload, frozen=True):
    """A file that had been imported has nothing more to say: it is empty now, or gone from an imported directory."""

    path: Text
    reason: Literal["gone", "empty"]


class ImportFinished(Payload, frozen=True):
    """An import ended: how many records it took (``changed`` of them in place of what they were before), knew already, or refused.

    ``scrubbed`` counts secrets that were taken out of the records before they were stored.
    """

    what: Literal["contacts", "accounts", "notes", "mail", "calendar", "git", "shell"]
    source: Text
    taken: Count
    known: Count
    refused: Count
    removed: Count = 0
    files: Count = 0
    changed: Count = 0
    scrubbed: Count = 0


class ReplayReported(Payload, frozen=True):
    """A run was replayed: all that a replay writes. ``agents`` are digests of other code that took the place of agents, by name."""

    run: Text
    origin: Literal["own", "imported", "file"]
    matches: bool
    attempts: Any  # a list of what became of each attempt, or the blob that holds it
    recorded_hash: Hash | None = None
    final_hash: Hash | None = None
    agents: dict[str, Hash] | None = None
    archive: Hash | None = None


class PutBack(Payload, frozen=True):
    """A file that a run had written: ``written`` is what stood there, kept as well, ``previous`` what stands there now, None where it went.

    ``effect`` is the event that answered the writing.
    """

    path: Text
    effect: EventRef
    written: Hash
    previous: Hash | None = None


class FilesPutBack(Payload, frozen=True):
    """A person had files put back as they were before a run wrote them, the newest writing first."""

    run: Text
    files: Annotated[list[PutBack], Meta(min_length=1)]


class RunsArchived(Payload, frozen=True):
    """Records of ended runs left the ledger for an archive; what is left of them is in the checkpoint of that number.

    ``archive`` is the file and ``digest`` its BLAKE3. ``runs`` has ``run_id`` and ``opening_name`` of each, ``stretches`` the first and
    the last id of every unbroken row of events that went.
    """

    checkpoint: Annotated[int, Meta(ge=1)]
    archive: Text
    digest: Hash
    events: Annotated[int, Meta(ge=1)]
    runs: Any  # a list of objects, or the blob that holds it
    stretches: Any  # a list of pairs, or the blob that holds it


class ArchiveImported(Payload, frozen=True):
    """An archive with runs of another ledger was taken in. Its records stay in the archive, outside of this ledger."""

    archive: Hash
    root: Text
    runs: list[Text]
    ledger_id: Text
    signer: Hash | None = None


class RunsRestored(Payload, frozen=True):
    """Archived records are in the ledger again: all that the checkpoint of that number stood for, ``first`` being the lowest id."""

    checkpoint: Annotated[int, Meta(ge=1)]
    archive: Text
    digest: Hash
    events: Annotated[int, Meta(ge=1)]
    first: EventRef
    runs: Any  # a list of objects, or the blob that holds it
