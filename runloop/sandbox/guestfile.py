"""The shared Python guest: where it lies, and the digest that is part of every run's identity."""

from __future__ import annotations

import functools
import json
from pathlib import Path

from runloop.errors import Unavailable

DIRECTORY = Path(__file__).parent.parent / "data" / "guest"
WASM = DIRECTORY / "python.wasm"
FACTS = DIRECTORY / "python.json"


@functools.cache
def guest_facts() -> dict[str, str]:
    """What the build wrote down: digest (BLAKE2b of the component, hexadecimal), inputs, versions."""
    try:
        facts: dict[str, str] = json.loads(FACTS.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Unavailable(
            "the Python guest is not built",
            code="guest.missing",
            hint="run scripts/build-guest in a checkout, or install Runloop from its wheel",
            retryable=False,
        ) from None
    return facts


def guest_digest() -> str:
    """Give the digest of the Python guest: the same digest means the same interpreter, library and behaviour."""
    return guest_facts()["digest"]


def guest_code() -> bytes:
    """Read the Python guest's component."""
    guest_facts()
    return WASM.read_bytes()
