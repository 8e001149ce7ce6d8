"""Who vouches for an archive, and the keys that were met.

Trust is on first use, and that is all it is: the first archive from a ledger binds that ledger to its key (or to none); a later one from
the same ledger under another key is refused until a person says otherwise.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from runloop import signatures
from runloop.dataclass import dataclass
from runloop.errors import VerificationFailed, Where
from runloop.signatures import KEY, signing_key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from runloop.signatures import Signature

_WHAT = "runloop archive v1"
_KNOWN = "known-signers"
UNSIGNED = "unsigned"


def sign(digest: str, key: Ed25519PrivateKey) -> Signature:
    """The signature of an archive's digest."""
    return signatures.sign(_WHAT, digest, key)


def verify(digest: str, signature: Signature) -> bool:
    """Whether the signature was made over that archive's digest with the key that it names."""
    return signatures.verify(_WHAT, digest, signature)


def own_signers(directory: Path, ledger_id: str) -> frozenset[str]:
    """The public keys, in hexadecimal, that this installation signs with or that it knows for that ledger; none is made."""
    found = {KnownSigners(directory).of(ledger_id)}
    if (directory / KEY).exists():
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


def _short(key: str) -> str:
    return "no key" if key == UNSIGNED else f"{key[:16]}…"
