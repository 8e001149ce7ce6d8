"""What can be wrong with a bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.errors import InvalidInput, VerificationFailed

if TYPE_CHECKING:
    from pathlib import Path


class BundleInvalid(InvalidInput):
    """A bundle, or what was asked about one, cannot be used as it is."""

    code = "bundle.invalid"


class BundleNotFound(BundleInvalid):
    """No search directory has a bundle of that name."""

    code = "bundle.not_found"


class BundleAltered(VerificationFailed):
    """The files of a bundle are not those that its manifest was sealed over."""

    code = "bundle.altered"


def build_again(root: Path) -> str:
    """The command line that seals the bundle in ``root`` anew."""
    import shlex

    return f"rlp agent build {shlex.quote(str(root))}"
