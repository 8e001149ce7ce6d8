"""The shared Python guest: where it lies, and the digest that is part of every run's identity."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path

from runloop.errors import Unavailable, Where

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
    """Read the Python guest's component; raises Unavailable where it is another one than this process knows (``guest.replaced``)."""
    digest = guest_digest()
    try:
        return of_digest(WASM.read_bytes(), digest)
    except FileNotFoundError:
        raise _replaced() from None


def of_digest(code: bytes, digest: str) -> bytes:
    """The code that was read, if it is that of the installed guest's digest: an upgrade replaces the file under who runs."""
    if hashlib.blake2b(code, digest_size=32).hexdigest() != digest:
        raise _replaced()
    return code


def _replaced() -> Unavailable:
    return Unavailable(
        "another Python guest was installed since this process began",
        code="guest.replaced",
        where=Where(file=str(WASM)),
        hint="start it anew, a daemon with `rlp down` and `rlp up`; runs under way are taken up where they were",
        retryable=False,
    )
