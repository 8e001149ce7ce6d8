"""Mail: into the outbox, or sent where that is configured and approved."""

from __future__ import annotations

from dataclasses import dataclass, field

from runloop_agent._calls import call
from runloop_agent._records import record

__all__ = ["Address", "Sent", "send"]


@dataclass(frozen=True, slots=True)
class Address:
    """A recipient."""

    email: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of the message: ``status`` is "outbox" or "sent"; ``path`` is the message file, if there is one.

    ``repeated`` says that this very message had been sent before, and was not sent again.
    """

    message_id: str
    status: str = ""
    path: str | None = None
    recipients: list[str] = field(default_factory=list)
    identity: str = ""
    repeated: bool = False


def send(
    to: list[Address] | list[dict[str, str]],
    *,
    subject: str,
    text: str,
    cc: list[Address] | list[dict[str, str]] | None = None,
    in_reply_to: str | None = None,
) -> Sent:
    """Send one message; it asks a person unless the policy has approved it."""
    return record(Sent, call("mail.send", {"to": to, "subject": subject, "text": text, "cc": cc, "in_reply_to": in_reply_to}))
