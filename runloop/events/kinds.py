"""The registry of event kinds: what each may say, which of its fields may become blobs, and whether it is stored at all."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from runloop.dataclass import dataclass
from runloop.events import domain, imported, records
from runloop.events.errors import InvalidEvent, UnknownKind
from runloop.events.ids import UUID_PATTERN
from runloop.events.records import Level, RecordMeta

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runloop.events.blobs import Path

M = TypeVar("M", bound=RecordMeta)

VERSION_KEY = "$v"  # in the stored payload of a kind's second and every later version

RunId = Annotated[str, Meta(pattern=f"^{UUID_PATTERN}$")]
OpeningId = Annotated[str, Meta(pattern=f"^opening:{UUID_PATTERN}$")]
OneLine = Annotated[str, Meta(pattern=r"^[^\n\r]*$")]


class RunPayload(Struct, Generic[M], frozen=True, forbid_unknown_fields=True):
    """The ledger form of a run record: the outer keys that are not columns, and the meta of its kind."""

    v: Literal[1]
    seq: Annotated[int, Meta(ge=1)]
    run_id: RunId
    opening_id: OpeningId
    opening_name: str
    parent_run_id: RunId | None
    level: Level
    message: OneLine
    meta: M


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of event: ``meta`` is set for run records, ``payload`` for other events, both where both forms exist.

    ``version`` is that of what is written now; ``events.upcast`` has the way up from every earlier one.
    """

    name: str
    doc: str
    meta: type[RecordMeta] | None = None
    payload: type[domain.Payload] | None = None
    blob_fields: tuple[Path, ...] = ()
    live: bool = False
    version: int = 1


def _run(
    name: str, meta: type[RecordMeta], doc: str, *blob_fields: str, live: bool = False, also: type[domain.Payload] | None = None
) -> Kind:
    return Kind(name, doc, meta, also, tuple(("meta", field) for field in blob_fields), live)


def _fact(name: str, payload: type[domain.Payload], doc: str, *blob_fields: str) -> Kind:
    return Kind(name, doc, None, payload, tuple((field,) for field in blob_fields))


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        _run("run.submitted", records.RunStarted, "A run was accepted.", "params", "opening", "overrides", "nested"),
        _run("run.started", records.RunStarted, "A run began.", "params", "opening", "overrides", "nested"),
        _run("run.waiting", records.RunChanged, "Nothing can go on until a person, model, timer or lease answers."),
        _run("run.paused", records.RunChanged, "A person or policy paused the run."),
        _run("run.resumed", records.RunChanged, "The run goes on after waiting or a pause."),
        _run("run.recovered", records.RunChanged, "The run goes on after its process had ended."),
        _run("run.clock_set", records.ClockSet, "The clock was set, or Runloop stood still: that counts against no time-out."),
        _run("run.cancelling", records.RunChanged, "Somebody cancelled the run: it ends, whatever happens to its process."),
        _run("run.finished", records.RunFinished, "The run ended; always its last record."),
        _run("node.ready", records.NodeStarted, "A node has its inputs and waits for a worker.", "inputs"),
        _run("node.started", records.NodeStarted, "An attempt of a node began; `worker` is left out: none is chosen yet.", "inputs"),
        _run("node.evicted", records.NodeMoved, "A waiting guest was dropped from memory."),
        _run("node.rebuilt", records.NodeMoved, "A dropped guest was rebuilt by re-running it."),
        _run("node.progress", records.NodeText, "How far a node is.", live=True),
        _run("node.log", records.NodeText, "A line that an agent logged.", "text"),
        _run("node.finished", records.NodeFinished, "A node, or an attempt of it, ended.", "outputs"),
        _run(
            "effect.requested",
            records.EffectRequested,
            "A guest asked the host for something; `refused` if before anything was prepared.",
            "args",
        ),
        _run("effect.completed", records.EffectEnded, "The host answered.", "result"),
        _run("effect.failed", records.EffectEnded, "The host answered with an error.", "result"),
        _run("effect.unknown", records.EffectEnded, "Whether the effect happened cannot be known.", "result"),
        _run("effect.delta", records.EffectDelta, "A piece of an answer that is still coming.", live=True),
        _run("approval.requested", records.ApprovalRequested, "A person is asked to approve.", "what", "outputs"),
        _run("approval.decided", records.ApprovalEnded, "An approval was given or refused."),
        _run("approval.expired", records.ApprovalEnded, "Nobody decided in time, or before something else would happen (`changed`)."),
        _run("artifact.created", records.ArtifactCreated, "A file was made.", also=domain.ArtifactFile),
        _run("divergence.found", records.DivergenceFound, "A re-run left the recorded path.", "expected", "actual"),
        _fact("contact.upserted", domain.ContactUpserted, "A person is known under an e-mail address."),
        _fact("account.upserted", domain.AccountUpserted, "Somebody has an account with a service."),
        _fact("fact.remembered", domain.FactRemembered, "A fact is known; its value lies in a salted blob."),
        _fact("fact.superseded", domain.FactSuperseded, "A fact has another value from now on."),
        _fact("fact.forgotten", domain.FactForgotten, "A fact is no longer held to be true."),
        _fact("events.erased", domain.EventsErased, "Events lost their content for good."),
        _fact("note.imported", domain.NoteImported, "A passage of a text file was read.", "text"),
        _fact("note.removed", domain.NoteRemoved, "A text file that had been imported is gone or empty."),
        _fact("message.imported", imported.MessageImported, "A mail message was read.", "text", "to", "cc", "references", "attachments"),
        _fact("message.removed", imported.MessageRemoved, "A message is gone from the mailbox it was read from."),
        _fact("appointment.imported", imported.AppointmentImported, "An appointment was read.", "description", "attendees"),
        _fact("appointment.removed", imported.AppointmentRemoved, "An appointment is gone from the calendar it was read from."),
        _fact("commit.imported", imported.CommitImported, "A commit was read.", "message", "files"),
        _fact("commit.removed", imported.CommitRemoved, "A commit is gone from the repository it was read from."),
        _fact("command.imported", imported.CommandImported, "A command line of a shell's history was read.", "text"),
        _fact("email.sent", domain.EmailSent, "A message was sent or put into the outbox."),
        _fact("privileged.read", domain.PrivilegedRead, "A person read something without masks."),
        _fact("cap.audit", domain.CapAudit, "Policy decided about a capability."),
        _fact("import.finished", domain.ImportFinished, "An import ended."),
        _fact("replay.reported", domain.ReplayReported, "A run was replayed.", "attempts"),
        _fact("files.putting_back", domain.FilesPutBack, "What a run wrote over is about to be put back."),
        _fact("files.put_back", domain.FilesPutBack, "Files are again as they were before a run wrote them."),
        _fact("runs.archived", domain.RunsArchived, "Records of ended runs left the ledger for an archive.", "runs", "stretches"),
        _fact("runs.restored", domain.RunsRestored, "Archived records are in the ledger again.", "runs"),
        _fact("archive.imported", domain.ArchiveImported, "Runs of another ledger were taken in."),
    )
}

RUN_KINDS = frozenset(name for name, kind in KINDS.items() if kind.meta is not None)
LIVE_KINDS = frozenset(name for name, kind in KINDS.items() if kind.live)

_PAYLOAD_TYPES: dict[str, Any] = {}
_USED: set[tuple[str, bool | None]] = set()
_FIRST_USE = threading.Lock()


def kind_of(name: str) -> Kind:
    """The registered kind, or :class:`UnknownKind`."""
    try:
        return KINDS[name]
    except KeyError:
        raise UnknownKind(f"schema not found for kind {name}", hint="docs/events.md lists the kinds") from None


def is_run_payload(kind: Kind, payload: Mapping[str, Any]) -> bool:
    """Whether the payload is a run record: of the kinds with two forms, that one has ``v``."""
    return kind.meta is not None and (kind.payload is None or "v" in payload)


def payload_type(kind: Kind, *, run: bool) -> Any:
    """The msgspec type of one form of the kind's stored payload."""
    if not run:
        return kind.payload
    found = _PAYLOAD_TYPES.get(kind.name)
    if found is None:
        found = _PAYLOAD_TYPES[kind.name] = RunPayload[kind.meta]  # type: ignore[name-defined] # the type is a value of the table
    return found


def validate(name: str, payload: Mapping[str, Any]) -> Kind:
    """The kind, when its stored form allows the payload; otherwise :class:`InvalidEvent` with every violation."""
    kind = kind_of(name)
    if kind.live:
        raise InvalidEvent(f"{name} is shown live and never stored", code="events.live_only", hint="publish it instead")
    if kind.version > 1:
        payload = _without_version(kind, payload)
    try:
        value = _convert(payload, kind, run=is_run_payload(kind, payload))
    except msgspec.ValidationError as error:
        raise _invalid(kind, _explain(kind, payload, str(error))) from error
    _check_beyond_types(kind, value)
    return kind


def validate_meta(name: str, payload: Mapping[str, Any]) -> None:
    """As :func:`validate` for a run record whose other keys are known to be right."""
    kind = KINDS[name]
    try:
        _convert(payload["meta"], kind)
    except msgspec.ValidationError as error:
        raise _invalid(kind, _explain(kind, payload, str(error))) from error


def _convert(value: Any, kind: Kind, *, run: bool | None = None) -> Any:
    """The value as one form of the kind, its meta where ``run`` is None.

    msgspec makes what it knows of a type at the first use; two threads that did so at once crashed (0.22.0).
    """
    wanted = kind.meta if run is None else payload_type(kind, run=run)
    if (kind.name, run) in _USED:
        return msgspec.convert(value, wanted, strict=True)
    with _FIRST_USE:
        try:
            return msgspec.convert(value, wanted, strict=True)
        finally:
            _USED.add((kind.name, run))


def _check_beyond_types(kind: Kind, value: Any) -> None:
    """The rules that span values: unique evidence, line order, text or blob."""
    if isinstance(value, domain.ContactUpserted) and value.evidence and len(set(value.evidence)) != len(value.evidence):
        raise _invalid(kind, "evidence has duplicates")
    if isinstance(value, domain.NoteImported):
        if value.end_line < value.line or value.part >= value.parts:
            raise _invalid(kind, "end_line lies before line, or part beyond parts")
        if not isinstance(value.text, (str, dict)):
            raise _invalid(kind, "text is not text")


def _without_version(kind: Kind, payload: Mapping[str, Any]) -> dict[str, Any]:
    if payload.get(VERSION_KEY) != kind.version:
        raise _invalid(kind, f"{VERSION_KEY} is not {kind.version}")
    return {name: value for name, value in payload.items() if name != VERSION_KEY}


def _invalid(kind: Kind, why: str) -> InvalidEvent:
    return InvalidEvent(f"payload validation failed: {why}", hint=f"see {kind.name} in docs/events.md")


def _explain(kind: Kind, payload: Mapping[str, Any], first: str) -> str:
    """Every violation, by JSON Schema; the first one alone when the schema finds none."""
    from runloop.events.schema import violations

    return "; ".join(violations(kind, payload)) or first
