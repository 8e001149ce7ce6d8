"""Whose checkpoints count in a ledger that came from elsewhere: trust on first use, and it is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.cli import context, output

if TYPE_CHECKING:
    from pathlib import Path


def meet_signers(ledger: Path) -> str | None:
    """Bind a ledger to the one key that its checkpoints are signed with, where none is known for it yet; the key that was met now."""
    from runloop.kb import Ledger
    from runloop.kb.pruning.checkpoints import checkpoints
    from runloop.runs.archives.signing import KnownSigners, own_signers

    keys = context.settings().directories.state / "keys"
    with Ledger.open(ledger, writable=False) as opened, opened.reading() as db:
        signed = {each.public_key.hex() for each in checkpoints(db)}
        known = KnownSigners(keys)
        if len(signed) != 1 or signed <= own_signers(keys, opened.id) or known.of(opened.id) is not None:
            return None
        [signer] = signed
        known.remember(opened.id, signer)
        return signer


def tell(signer: str | None) -> None:
    """Say that a key was met, and what that means."""
    if signer is not None:
        output.print_line(f"what was pruned is signed by {signer[:16]}…, first met now: `rlp kb verify` counts this key for this ledger")
