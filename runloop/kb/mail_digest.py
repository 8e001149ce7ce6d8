"""By which content a mail that went out is known: in its event, and where somebody asks about a file."""

from __future__ import annotations

from blake3 import blake3


def content_digest(content: bytes) -> str:
    """What a message says, whenever it was written: the digest of all but its date."""
    head, end, body = content.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"Date: ")]
    return blake3(b"\r\n".join(lines) + end + body).hexdigest()
