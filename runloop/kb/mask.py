"""Masking of e-mail addresses: the same address always has the same mask, and the mask does not give it away (spec 15.7)."""

from __future__ import annotations

import re
from base64 import b32encode
from typing import Any

from blake3 import blake3

_EMAIL = re.compile(r"[^\s@<>()\[\],;:\"'`|]+@[^\s@<>()\[\],;:\"'`|]+\.[^\s@<>()\[\],;:\"'`|.]+|[^\s@<>()\[\],;:\"'`|]+@localhost\b")


def mask_email(email: str, salt: str) -> str:
    """First character of the local part, six characters of its salted hash, and the domain."""
    local, at, domain = email.rpartition("@")
    if not at or not local:
        return email
    return f"{local[0]}{b32encode(blake3((salt + local).encode()).digest())[:6].decode().lower()}@{domain}"


def mask_text(text: str, salt: str) -> str:
    """The text with every address in it masked."""
    return _EMAIL.sub(lambda match: mask_email(match[0], salt), text) if "@" in text else text


def mask_value(value: Any, salt: str) -> Any:
    """A JSON value with every address in its texts and keys masked."""
    if isinstance(value, str):
        return _mask_whole(value, salt)
    if isinstance(value, list):
        return [mask_value(item, salt) for item in value]
    if isinstance(value, dict):
        return {_mask_whole(key, salt): mask_value(item, salt) for key, item in value.items()}
    return value


def _mask_whole(text: str, salt: str) -> str:
    """Addresses without a dot in their domain are found only when they are the whole text."""
    local, at, domain = text.rpartition("@")
    if at and local and domain and not re.search(r"[\s@]", local + domain):
        return mask_email(text, salt)
    return mask_text(text, salt)
