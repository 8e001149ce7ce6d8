"""Payloads of what a person imports: mail, appointments, commits and commands (ADR 6, "In and out").

People in them are mentions, not contacts. A record names the place it was read from; what it says does not depend on that place.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from runloop.events.domain import Count, Hash, Line, Payload, Text

CommitHash = Annotated[str, Meta(pattern="^(?:[0-9a-f]{40}|[0-9a-f]{64})$")]


class Mention(Payload, frozen=True):
    """Somebody named in a record, as the record names them; the address is whatever stood there."""

    name: str | None = None
    email: str | None = None


class Attachment(Payload, frozen=True):
    """A part of a message that is not its text: its name, type, size and BLAKE3; ``kept`` when the bytes are a blob of that hash."""

    type: str
    bytes: Count
    hash: Hash
    name: str | None = None
    kept: bool = False


class MessageImported(Payload, frozen=True):
    """A mail message; ``message`` is the hash of what it says, ``mailbox`` the mbox file, folder or file that holds it.

    ``sent_ms`` is the time in ``date`` where that can be read; ``references`` are Message-IDs, the thread's first one first;
    ``problems`` say what of the message could not be read as it claims.
    """

    message: Hash
    mailbox: Text
    path: Text
    subject: str
    text: Any  # text, or the blob that holds it
    line: Line | None = None
    message_id: str | None = None
    date: str | None = None
    sent_ms: int | None = None
    sender: list[Mention] | None = None
    to: Any = None  # a list of Mention, or the blob that holds it
    cc: Any = None
    in_reply_to: str | None = None
    references: Any = None  # a list of text, or the blob that holds it
    attachments: Any = None  # a list of Attachment, or the blob that holds it
    problems: list[str] | None = None


class MessageRemoved(Payload, frozen=True):
    """A message is no longer in the mailbox that it was read from."""

    message: Hash
    mailbox: Text
    reason: Literal["gone"]


class Moment(Payload, frozen=True):
    """A day (``2026-11-20``) or a local time (``2026-11-20T09:30:00``), its zone's name, and the Unix milliseconds where they are known."""

    at: Text
    zone: str | None = None
    ms: int | None = None


class Attendee(Mention, frozen=True):
    """Somebody invited: their answer and their role, in the words of RFC 5545."""

    status: str | None = None
    role: str | None = None


class AppointmentImported(Payload, frozen=True):
    """An appointment of a calendar; a recurrence is kept as its rules, one change of one occurrence has ``occurrence``.

    ``appointment`` is the hash of the UID and the occurrence; a later event for it replaces the earlier one.
    """

    appointment: Hash
    uid: Text
    path: Text
    line: Line
    summary: str
    description: Any = None  # text, or the blob that holds it
    location: str | None = None
    starts: Moment | None = None
    ends: Moment | None = None
    rules: list[str] | None = None
    occurrence: str | None = None
    organizer: Mention | None = None
    attendees: Any = None  # a list of Attendee, or the blob that holds it
    status: str | None = None
    categories: list[str] | None = None
    url: str | None = None
    problems: list[str] | None = None


class AppointmentRemoved(Payload, frozen=True):
    """An appointment is no longer in the calendar file that it was read from."""

    appointment: Hash
    path: Text
    reason: Literal["gone"]


class CommitImported(Payload, frozen=True):
    """A commit of a Git repository; times are Unix milliseconds, ``files`` are lists of path, lines added and lines removed."""

    commit: CommitHash
    repository: Text
    subject: str
    message: Any  # text, or the blob that holds it
    author: Mention
    authored_ms: int
    committer: Mention
    committed_ms: int
    parents: list[CommitHash] | None = None
    files: Any = None  # a list of [path, added, removed] (both null for binary files), or the blob that holds it


class CommitRemoved(Payload, frozen=True):
    """A commit can no longer be reached in the repository that it was read from."""

    commit: CommitHash
    repository: Text
    reason: Literal["gone"]


class CommandImported(Payload, frozen=True):
    """A command line of a shell's history without its secrets (``scrubbed`` says how many were taken out).

    ``command`` is the hash of shell, text and time.
    """

    command: Hash
    shell: Literal["bash", "zsh", "fish"]
    path: Text
    line: Line
    text: Any  # text, or the blob that holds it
    at_ms: int | None = None
    seconds: Count | None = None
    scrubbed: Count = 0
