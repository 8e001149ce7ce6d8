"""An RFC 5322 message from an agent's words, exact before anyone approves it and the same on every retry.

Nothing an agent writes can become a header of its own: control characters are refused, not escaped, and the finished bytes
are read back and compared before they count as a message.
"""

from __future__ import annotations

import base64
import email
import email.policy
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from runloop.effects.types import invalid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LONGEST_LINE = 78  # RFC 5322 2.1.1 recommends; longer lines are encoded
_KEY_BYTES = 20
_ATOM = r"[^\x00-\x20\x7f()<>\[\]:;@\\,.\"]+"
_LOCAL = re.compile(rf"{_ATOM}(\.{_ATOM})*")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# Line ends of every kind, controls, and what turns the direction of text around, so that an address shows as another.
_NOT_PLAIN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_MESSAGE_ID = re.compile(r"<[!-;=?-~]+@[!-;=?-~]+>")


@dataclass(frozen=True, slots=True)
class Mail:
    """A finished message. ``key`` names it for ever: the same call gives the same key, whatever it writes."""

    key: str
    message_id: str
    sender: str
    recipients: tuple[str, ...]
    content: bytes
    shown: str
    digest: str
    needs_utf8: bool


def mail_key(idempotency_key: str) -> str:
    """The lasting name of a message: 32 characters that fit a Message-ID and a file name."""
    return base64.b32encode(blake3(idempotency_key.encode()).digest(length=_KEY_BYTES)).decode().lower()


def parse_address(text: str, key: str, name: str = "") -> Address:
    """The address of one person, with its domain in ASCII. Raises :class:`CallError` (invalid)."""
    _require_plain(text, key)
    _require_plain(name, key)
    local, at, domain = text.strip().rpartition("@")
    domain = _ascii_domain(domain) if domain else ""
    if not at or len(local.encode()) > 64 or not _LOCAL.fullmatch(local) or not domain:
        raise invalid(f"{text[:120]!r} is not an e-mail address", key=key, hint="use the form name@example.org", code="mail.address")
    return Address(display_name=" ".join(name.split()), username=local, domain=domain)


def parse_mailbox(text: str, key: str) -> Address:
    """An address as the configuration writes it: ``ada@example.org`` or ``Ada <ada@example.org>``."""
    name, address = parseaddr(text) if "<" in text else ("", text)
    return parse_address(address, key, name)


def local_identity(user: str, hostname: str) -> str:
    """The sender of an outbox message while ``mail.from`` is not set: this user on this machine, as a local mail system would say."""
    local = re.sub(r"[^A-Za-z0-9_-]+", "-", user).strip("-") or "user"
    return f"{local}@{_ascii_domain(hostname) or 'localhost'}"


def compose(args: Mapping[str, Any], sender: Address, key: str, now_ms: int) -> Mail:
    """The message of a ``mail.send`` call. ``now_ms`` dates it. Raises :class:`CallError` (invalid)."""
    to, cc = _people(args["to"], "to"), _people(args.get("cc") or (), "cc")
    _require_plain(args["subject"], "subject")
    subject, text = " ".join(args["subject"].split()), _body(args["text"])
    recipients = tuple(dict.fromkeys(address.addr_spec for address in (*to, *cc)))
    needs_utf8 = not all(address.isascii() for address in (sender.addr_spec, *recipients))
    message = EmailMessage(policy=email.policy.SMTPUTF8 if needs_utf8 else email.policy.SMTP)
    message_id = f"<{key}@{sender.domain}>"
    message["From"] = sender
    message["To"] = to
    if cc:
        message["Cc"] = cc
    message["Subject"] = subject
    message["Date"] = format_datetime(datetime.fromtimestamp(now_ms / 1000, UTC))
    message["Message-ID"] = message_id
    if args.get("in_reply_to"):
        message["In-Reply-To"] = message["References"] = _reply_to(args["in_reply_to"])
    plain = text.isascii() and all(len(line) <= LONGEST_LINE for line in text.split("\n"))
    message.set_content(text, charset="us-ascii" if plain else "utf-8", cte="7bit" if plain else "quoted-printable")
    content = message.as_bytes()
    _verify(content, to, cc, subject, text)
    headers = [
        f"From: {sender}",
        f"To: {', '.join(map(str, to))}",
        *([f"Cc: {', '.join(map(str, cc))}"] if cc else []),
        f"Subject: {subject}",
    ]
    headers += [f"{name}: {message[name]}" for name in ("Date", "Message-ID", "In-Reply-To") if message[name]]
    shown = "\n".join(headers) + f"\n\n{text}"
    return Mail(key, message_id, sender.addr_spec, recipients, content, shown, blake3(content).hexdigest(), needs_utf8)


def _people(people: Sequence[Mapping[str, Any]], key: str) -> tuple[Address, ...]:
    found = [parse_address(person["email"], f"{key}.{number}.email", person.get("name", "")) for number, person in enumerate(people)]
    return tuple({address.addr_spec.casefold(): address for address in reversed(found)}.values())[::-1]


def _body(text: str) -> str:
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    if any(character < " " and character not in "\n\t" for character in plain) or "\x7f" in plain:
        raise invalid("the text holds a control character", key="text", hint="send plain text", code="mail.text")
    return plain if plain.endswith("\n") else plain + "\n"


def _reply_to(text: str) -> str:
    if not _MESSAGE_ID.fullmatch(text):
        raise invalid(f"{text[:120]!r} is not a message id", key="in_reply_to", hint="use the form <id@host>", code="mail.in_reply_to")
    return text


def _require_plain(text: str, key: str) -> None:
    if _NOT_PLAIN.search(text):
        hint = "line breaks and control characters would end the header; leave them out"
        raise invalid("a header would hold a control character", key=key, hint=hint, code="mail.header")


def _ascii_domain(domain: str) -> str:
    """The domain in lower-case ASCII (IDNA 2008), or an empty text when it is none."""
    domain = domain.strip().removesuffix(".").lower()
    if not domain.isascii():
        import idna

        try:
            domain = idna.encode(domain, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            return ""
    return domain if len(domain) <= 253 and all(_LABEL.fullmatch(label) for label in domain.split(".")) else ""


def _verify(content: bytes, to: Sequence[Address], cc: Sequence[Address], subject: str, text: str) -> None:
    """Read the bytes back: what a receiver will see is what was asked for, or there is no message."""
    read = email.message_from_string(content.decode(), policy=email.policy.SMTP)
    people = [(a.display_name, a.addr_spec) for header in ("to", "cc") for a in (read[header].addresses if read[header] else ())]
    wanted = [(a.display_name, a.addr_spec) for a in (*to, *cc)]
    seen = (people, str(read["subject"]), read.get_content().replace("\r\n", "\n"))
    if read.defects or seen != (wanted, subject, text):
        what = next(
            (name for name, one, other in zip(("to", "subject", "text"), seen, (wanted, subject, text), strict=True) if one != other),
            "text",
        )
        raise invalid(
            "the message would not read back as written", key=what, hint="use simpler characters in names and subject", code="mail.unclear"
        )
