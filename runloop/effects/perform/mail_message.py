"""An RFC 5322 message from an agent's words, exact before anyone approves it and the same on every retry.

Nothing an agent writes can become a header of its own: control characters are refused, not escaped, and the finished bytes
are read back and compared before they count as a message.
"""

from __future__ import annotations

import base64
import email
import email.policy
import re
from datetime import UTC, datetime
from email.header import Header, decode_header, make_header
from email.headerregistry import Address, HeaderRegistry
from email.message import EmailMessage
from email.utils import format_datetime, getaddresses, parseaddr
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from runloop.dataclass import dataclass
from runloop.effects.types import invalid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LONGEST_LINE = 78  # RFC 5322 2.1.1 recommends; longer lines are encoded
_LONGEST_MAILBOX = 68
_LONGEST_SUBJECT = 68
_LONGEST_WORD = 75  # RFC 2047 2
_KEY_BYTES = 20
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+( [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_ATOM = r"[^\x00-\x20\x7f()<>\[\]:;@\\,.\"]+"
_LOCAL = re.compile(rf"{_ATOM}(\.{_ATOM})*")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# Line ends of every kind, controls, and what turns the direction of text around, so that an address shows as another.
_NOT_PLAIN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_MESSAGE_ID = re.compile(r"<[!-;=?-~]+@[!-;=?-~]+>")


class _Headers(HeaderRegistry):
    """The classes of headers, each made once: the standard library makes new ones for every message, which only the collector frees."""

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[type, type] = {}

    def __getitem__(self, name: str) -> type:
        kind = self.registry.get(name.lower(), self.default_class)
        made = self._made.get(kind)
        if made is None:
            made = self._made[kind] = super().__getitem__(name)
        return made


_POLICY = email.policy.SMTP.clone(header_factory=_Headers())


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
    message_id = f"<{key}@{sender.domain}>"
    date = format_datetime(datetime.fromtimestamp(now_ms / 1000, UTC))
    fixed = [("Date", date), ("Message-ID", message_id)]
    if args.get("in_reply_to"):
        fixed += [("In-Reply-To", _reply_to(args["in_reply_to"])), ("References", args["in_reply_to"])]
    people = [("From", (sender,)), ("To", to), *([("Cc", cc)] if cc else [])]
    headers = [(name, ",\r\n ".join(map(_mailbox, found))) for name, found in people] + [("Subject", _words(subject)), *fixed]
    content = "".join(f"{name}: {value}\r\n" for name, value in headers).encode() + _part(text)
    _verify(content, to, cc, subject, text)
    shown_headers = [(name, ", ".join(map(str, found))) for name, found in people] + [("Subject", subject), *fixed]
    shown = "".join(f"{name}: {value}\n" for name, value in shown_headers if name != "References") + f"\n{text}"
    return Mail(key, message_id, sender.addr_spec, recipients, content, shown, blake3(content).hexdigest(), needs_utf8)


def _people(people: Sequence[Mapping[str, Any]], key: str) -> tuple[Address, ...]:
    found = [parse_address(person["email"], f"{key}.{number}.email", person.get("name", "")) for number, person in enumerate(people)]
    return tuple({address.addr_spec.casefold(): address for address in reversed(found)}.values())[::-1]


def _body(text: str) -> str:
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    if any(character < " " and character not in "\n\t" for character in plain) or "\x7f" in plain:
        raise invalid("the text holds a control character", key="text", hint="send plain text", code="mail.text")
    return plain if plain.endswith("\n") else plain + "\n"


def _part(text: str) -> bytes:
    """The content with its own headers; encoded where a line is long or not ASCII, so that no server on the way changes it."""
    plain = text.isascii() and all(len(line) <= LONGEST_LINE for line in text.split("\n"))
    part = EmailMessage(policy=_POLICY)
    part.set_content(text, charset="us-ascii" if plain else "utf-8", cte="7bit" if plain else "quoted-printable")
    return part.as_bytes()


def _mailbox(address: Address) -> str:
    """One address as a header holds it: name as atoms, quoted, or encoded (RFC 5322 3.4, RFC 2047 5)."""
    name = address.display_name
    if not name:
        return address.addr_spec
    if not name.isascii() or "=?" in name:
        shown = _encoded(name)
    elif _ATOMS.fullmatch(name):
        shown = name
    else:
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        shown = f'"{quoted}"'
    gap = "\r\n " if len(shown) + len(address.addr_spec) > _LONGEST_MAILBOX else " "
    return f"{shown}{gap}<{address.addr_spec}>"


def _words(text: str) -> str:
    """A subject as a header holds it: as it is when short and ASCII, else in encoded words."""
    return text if text.isascii() and "=?" not in text and len(text) <= _LONGEST_SUBJECT else _encoded(text)


def _encoded(text: str) -> str:
    """Encoded words of at most 75 characters, one a line."""
    return Header(text, "utf-8", maxlinelen=_LONGEST_WORD, header_name="Subject").encode(linesep="\r\n")


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


def read_people(content: bytes) -> list[tuple[str, str]]:
    """Name and address of everyone in To and Cc, as a receiver decodes them.

    By RFC 2047 6.2 white space between encoded words is no part of the name; the newer parser of Python 3.11 keeps it.
    """
    plain = email.message_from_string(content.decode(), policy=email.policy.compat32)
    found = getaddresses([plain[header] for header in ("To", "Cc") if plain[header]])
    return [(str(make_header(decode_header(name))), address) for name, address in found]


def _verify(content: bytes, to: Sequence[Address], cc: Sequence[Address], subject: str, text: str) -> None:
    """Read the bytes back: what a receiver will see is what was asked for, or there is no message."""
    read = email.message_from_string(content.decode(), policy=_POLICY)
    people = read_people(content)
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
