"""The form of a mask: ``[kind:xxxxxxxx]`` or ``[kind:xxxxxxxx:1234]``: what it was, a salted hash in letters, and the last digits."""

from __future__ import annotations

from blake3 import blake3

from runloop.patterns import lazy

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_LENGTH = 8
_SPACE = len(_LETTERS) ** _LENGTH

MARK = lazy(r"\[(?:phone|card|iban|key|param|userinfo|encoded):[a-z]{8}(?::[0-9]{2,4})?\]")
"""A mask that is one already; it has no room for what it stands for."""


def mark(kind: str, secret: str, salt: str, shown: str = "") -> str:
    """The mask of one value; the same value has the same mask under the same salt. Letters only, so that no mask looks like a number."""
    number = int.from_bytes(blake3(f"{salt}\0{kind}\0{secret}".encode("utf-8", "surrogatepass")).digest(8)) % _SPACE
    letters = []
    for _ in range(_LENGTH):
        number, letter = divmod(number, len(_LETTERS))
        letters.append(_LETTERS[letter])
    return f"[{kind}:{''.join(letters)}{':' if shown else ''}{shown}]"
