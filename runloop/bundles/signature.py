"""Who vouches for an agent: an Ed25519 signature over the digest of its bundle, in ``bundle.sig`` beside the manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runloop.bundles.errors import BundleAltered, build_again
from runloop.bundles.tree import SIGNATURE
from runloop.errors import Denied, Where

if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from runloop.bundles.bundle import Bundle

_WHAT: Final = "runloop agent v1"


def signer_of(content: bytes, digest: str, root: Path) -> str:
    """The public key, in hexadecimal, that signed the bundle with this digest.

    Raises:
        BundleAltered: ``bundle.signature``, when the signature cannot be read or is none over this bundle.

    """
    import msgspec

    from runloop.signatures import Signature, verify

    where = Where(file=f"{root}/{SIGNATURE}")
    hint = f"if you changed the agent yourself, run `{build_again(root)}` and sign it anew; otherwise install it anew"
    try:
        signature = msgspec.json.decode(content, type=Signature, strict=True)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BundleAltered(f"the signature cannot be read: {str(error)[:200]}", code="bundle.signature", where=where, hint=hint) from None
    if not verify(_WHAT, digest, signature):
        raise BundleAltered("the signature is not one of these files", code="bundle.signature", where=where, hint=hint)
    return signature.public_key


def sign(bundle: Bundle, key: Ed25519PrivateKey) -> str:
    """Write the signature of a sound bundle into its directory, in place of any other; returns the public key in hexadecimal."""
    import msgspec

    from runloop import signatures
    from runloop.bundles.writing import replace_file

    signature = signatures.sign(_WHAT, bundle.digest, key)
    replace_file(bundle.root, SIGNATURE, msgspec.json.encode(signature).decode() + "\n")
    return signature.public_key


def trusted(bundle: Bundle, signers: Container[str]) -> bool:
    """Whether the agent came with Runloop itself or was signed by one of ``signers``."""
    return bundle.shipped or (bundle.signer is not None and bundle.signer in signers)


def refused(bundle: Bundle) -> Denied:
    """The error that an agent meets where it is not trusted and has to be."""
    where = Where(file=str(bundle.root), key="security.allow_unsigned_agents")
    if bundle.signer is None:
        return Denied(
            f"agent {bundle.ref} is not signed, and security.allow_unsigned_agents is false",
            code="policy.denied.unsigned",
            where=where,
            hint="have it signed (`rlp agent sign`) by one of security.allowed_agent_signers",
        )
    return Denied(
        f"agent {bundle.ref} is signed with {bundle.signer}, which is not among security.allowed_agent_signers",
        code="policy.denied.signer",
        where=where,
        hint="if you know whose key that is and trust it, add it to security.allowed_agent_signers",
    )
