"""Ed25519 signatures over digests, and the one key that a user signs with: made when it is first needed.

A signature proves that something is what the holder of a key signed. Whose key it is nobody proves: that is what whoever trusts it
has to know. What is signed begins with a line that says what it is, so that a signature of one thing is none of another.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec
from msgspec import Meta

from runloop.errors import InvalidInput, Where, exhausted

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY: Final = "export-ed25519"
"""The file of the user's key, in ``~/.runloop/keys``."""


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signature as it is written down: the public key in 64, the signature in 128 hexadecimal digits."""

    algorithm: Literal["ed25519"]
    public_key: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    signature: Annotated[str, Meta(pattern="^[0-9a-f]{128}$")]


def sign(what: str, digest: str, key: Ed25519PrivateKey) -> Signature:
    """Sign the digest of a thing; ``what`` says of which kind it is, as ``runloop archive v1``."""
    return Signature("ed25519", key.public_key().public_bytes_raw().hex(), key.sign(_signed(what, digest)).hex())


def verify(what: str, digest: str, signature: Signature) -> bool:
    """Whether the signature was made over that digest of that kind of thing with the key that it names."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signature.public_key))
        key.verify(bytes.fromhex(signature.signature), _signed(what, digest))
    except (InvalidSignature, ValueError):
        return False
    return True


def signing_key(directory: Path) -> Ed25519PrivateKey:
    """The user's key in ``directory``, made there at first use: for the user alone, never overwritten, 32 bytes in hexadecimal.

    Raises:
        InvalidInput: ``signing.key``, when it cannot be read or made.

    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from runloop.private import make_private

    path = directory / KEY
    try:
        make_private(directory)
        if not path.exists():
            _make(path, Ed25519PrivateKey.generate().private_bytes_raw().hex())
        text = path.read_text("ascii")
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text.strip()))
    except (OSError, ValueError) as error:
        if (spent := exhausted(error)) is not None:
            raise spent from None
        why = error.strerror if isinstance(error, OSError) else "it is not 64 hexadecimal digits"
        hint = "make it readable for you alone and its directory writable, or move it away: a new one is made"
        raise InvalidInput(f"your signing key cannot be used: {why}", code="signing.key", where=Where(file=str(path)), hint=hint) from None


def _signed(what: str, digest: str) -> bytes:
    return f"{what}\n{digest}".encode("ascii")


def _make(path: Path, text: str) -> None:
    """Write the key where there is none, complete before it has its name."""
    staged = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    try:
        with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
            file.write(text + "\n")
        os.link(staged, path)  # fails where a key is: two first uses at once agree on one
    except FileExistsError:
        pass
    finally:
        staged.unlink(missing_ok=True)
