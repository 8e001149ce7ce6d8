"""Keeping a provider's key out of what the provider says: in whole texts, in pieces of them, and as JSON may escape it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TypeVar

from runloop.models.types import Completion, Vectors

MARK = "[secret]"
SHORTEST_KEY = 12
"""Characters of a key that is looked for in answers. Shorter ones are place holders of local servers (``ollama``): words of texts."""

Answer = TypeVar("Answer", Completion, Vectors)


def without_key(text: str, key: str | None) -> str:
    """A text for people, with the mark where the key stands, also with any of its characters escaped as in JSON."""
    if not key:
        return text
    return re.sub("".join(f"(?:{re.escape(each)}|\\\\{re.escape(each)}|\\\\u00(?i:{ord(each):02x}))" for each in key), MARK, text)


def veil(text: str, key: str | None) -> str:
    """What a model says, with the mark where the key stands."""
    return text.replace(key, MARK) if key and len(key) >= SHORTEST_KEY else text


def begun(text: str, key: str | None) -> int:
    """How many characters at the end of a text may be the beginning of the key."""
    if not key or len(key) < SHORTEST_KEY:
        return 0
    return next((size for size in range(min(len(key) - 1, len(text)), 0, -1) if key.startswith(text[-size:])), 0)


def veiled(answer: Answer, key: str | None) -> Answer:
    """An answer without the key in any of its texts."""
    model = veil(answer.model, key)
    if isinstance(answer, Vectors):
        return replace(answer, model=model)
    text, reasoning, refusal = (veil(each, key) for each in (answer.text, answer.reasoning, answer.refusal))
    return replace(answer, model=model, text=text, reasoning=reasoning, refusal=refusal)
