"""A message's bytes as the payload of ``message.imported``. Whatever the bytes are, there is one."""

from __future__ import annotations

from typing import Any, NamedTuple

from blake3 import blake3

from runloop.events import canonical
from runloop.kb.importers.mail import html, mime, words

MAX_HEADERS = 16  # of one sort that are read: a message has one


class Read(NamedTuple):
    """A message: its payload without the place it was read from, and the bytes of its attachments."""

    payload: dict[str, Any]
    blobs: tuple[bytes, ...]


def read_message(raw: bytes, *, fallback: str = "cp1252", keep: bool = False) -> Read:
    """The message; ``keep`` its attachments' bytes too. Its hash is of what it says, so marks of mail programs do not change it."""
    taken = mime.take_apart(raw)
    headers = taken.headers
    if not headers.fields:
        taken.note("no headers")
    texts, attachments, blobs = _bodies(raw, taken, fallback, keep=keep)
    payload: dict[str, Any] = {"subject": words.header_text(headers.get("subject"), fallback), "text": "\n\n".join(texts)}
    message_id = next(iter(words.ids(headers.get("message-id"))), None)
    if message_id is None and (bare := words.header_text(headers.get("message-id"), fallback)):
        message_id = bare[:900]
    date = words.header_text(headers.get("date"), fallback)
    sent = words.sent_ms(date) if date else None
    if date and sent is None:
        taken.note(f"date {date[:60]!r} cannot be read")
    references = words.ids(headers.get("references"))
    more: dict[str, Any] = {
        "message_id": message_id,
        "date": date,
        "sent_ms": sent,
        "sender": words.mentions(headers.every("from")[:4], fallback, taken.problems),
        "to": words.mentions(headers.every("to")[:MAX_HEADERS], fallback, taken.problems),
        "cc": words.mentions([*headers.every("cc"), *headers.every("bcc")][:MAX_HEADERS], fallback, taken.problems),
        "in_reply_to": next(iter(words.ids(headers.get("in-reply-to"))), None),
        "references": references,
        "attachments": attachments,
        "problems": taken.problems[:50],
    }
    payload |= {name: value for name, value in more.items() if value not in (None, "", [])}
    said = {name: value for name, value in payload.items() if name not in {"attachments", "problems"}}
    said["attachments"] = [(each["hash"], each.get("name")) for each in attachments]
    payload["message"] = blake3(canonical(said)).hexdigest()
    return Read(payload, tuple(blobs))


def _bodies(raw: bytes, taken: mime.Taken, fallback: str, *, keep: bool) -> tuple[list[str], list[dict[str, Any]], list[bytes]]:
    """The texts in order, the attachments, and their bytes where they are kept."""
    plain = {part.alternative for part in taken.parts if part.kind.type == "text/plain" and part.alternative}
    texts: list[str] = []
    attachments: list[dict[str, Any]] = []
    blobs: list[bytes] = []
    for part in taken.parts:
        kind = part.kind
        problems: list[str] = []
        data = mime.body_of(raw, part, problems)
        disposition = (part.headers.get("content-disposition") or b"").lower()
        is_text = kind.type in {"text/plain", "text/html"} and not disposition.startswith(b"attachment") and not kind.name
        if is_text and kind.type == "text/html" and part.alternative in plain and part.alternative:
            continue  # the same in plain text stands beside it
        if is_text:
            text = words.text_of(data, kind.charset, fallback, problems)
            text = html.to_text(text) if kind.type == "text/html" else text.strip("\n")
            if text.strip():
                texts.append(text)
        else:
            attachment: dict[str, Any] = {"type": words.clean(kind.type)[:200], "bytes": len(data), "hash": blake3(data).hexdigest()}
            if kind.name:
                attachment["name"] = words.header_text(kind.name.encode("utf-8", "surrogateescape"), fallback)[:1000]
            if keep and data:
                attachment["kept"] = True
                blobs.append(data)
            attachments.append(attachment)
        for problem in problems:
            taken.note(problem)
    return texts, attachments, blobs
