"""Who vouches for an archive: an Ed25519 key of the user, made when it is first needed, and the keys that were met.

Trust is on first use, and that is all it is: a signature proves that an archive is what the holder of that key exported. Whose key it is
nobody proves. The first archive from a ledger binds that ledger to its key (or to none); a later one from the same ledger under another
key is refused until a person says otherwise.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from runloop.dataclass import dataclass
from runloop.errors import InvalidInput, VerificationFailed, Where, exhausted
from runloop.runs.archives.manifest import Signature

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_CONTEXT = b"runloop archive v1\n"
_KEY = "export-ed25519"
_KNOWN = "known-signers"
UNSIGNED = "unsigned"


def sign(digest: str, key: Ed25519PrivateKey) -> Signature:
    """The signature of an archive's digest."""
    return Signature("ed25519", key.public_key().public_bytes_raw().hex(), key.sign(_signed(digest)).hex())


def verify(digest: str, signature: Signature) -> bool:
    """Whether the signature was made over that digest with the key that it names."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signature.public_key))
        key.verify(bytes.fromhex(signature.signature), _signed(digest))
    except (InvalidSignature, ValueError):
        return False
    return True


def signing_key(directory: Path) -> Ed25519PrivateKey:
    """The user's key in ``directory``, made there at first use: for the user alone, never overwritten, 32 bytes in hexadecimal."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from runloop.private import make_private

    path = directory / _KEY
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
        raise InvalidInput(
            f"the key for exports cannot be used: {why}", code="archive.key", where=Where(file=str(path)), hint=hint
        ) from None


def own_signers(directory: Path, ledger_id: str) -> frozenset[str]:
    """The public keys, in hexadecimal, that this installation signs with or that it knows for that ledger; none is made."""
    found = {KnownSigners(directory).of(ledger_id)}
    if (directory / _KEY).exists():
        found.add(signing_key(directory).public_key().public_bytes_raw().hex())
    return frozenset(each for each in found if each not in {None, UNSIGNED})


@dataclass(frozen=True, slots=True)
class KnownSigners:
    """Which key archives of which ledger came under: a file of lines ``<ledger> <key or "unsigned">``."""

    directory: Path

    def check(self, ledger_id: str, signer: str | None, *, accept: bool) -> bool:
        """Whether archives of this ledger were met before, under this signer or, with ``accept``, another one.

        Raises:
            VerificationFailed: ``archive.signer_changed``, when they came under another key.

        """
        known, now = self._read(), signer or UNSIGNED
        before = known.get(ledger_id)
        if before == now:
            return True
        if before is not None and not accept:
            raise VerificationFailed(
                f"archives of this ledger were signed with {_short(before)} until now, this one is signed with {_short(now)}",
                code="archive.signer_changed",
                where=Where(file=str(self.directory / _KNOWN)),
                hint="ask whoever made it why; `--accept-signer` takes the new key from now on",
            )
        return before is not None

    def of(self, ledger_id: str) -> str | None:
        """The signer under which the ledger is known, None where it is not."""
        return self._read().get(ledger_id)

    def remember(self, ledger_id: str, signer: str | None) -> None:
        """Bind the ledger to this signer from now on."""
        known, now = self._read(), signer or UNSIGNED
        if known.get(ledger_id) != now:
            self._write({**known, ledger_id: now})

    def _read(self) -> dict[str, str]:
        try:
            lines = (self.directory / _KNOWN).read_text("ascii").splitlines()
        except FileNotFoundError:
            return {}
        return {ledger: key for ledger, _, key in (line.partition(" ") for line in lines)}

    def _write(self, known: dict[str, str]) -> None:
        from runloop.private import make_private

        make_private(self.directory)
        staged = self.directory / f".{_KNOWN}.{os.getpid()}"
        staged.write_text("".join(f"{ledger} {key}\n" for ledger, key in sorted(known.items())), "ascii")
        staged.replace(self.directory / _KNOWN)


def _signed(digest: str) -> bytes:
    return _CONTEXT + digest.encode("ascii")


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


def _short(key: str) -> str:
    return "no key" if key == UNSIGNED else f"{key[:16]}…"
