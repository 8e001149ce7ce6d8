"""Which versions of Runloop understand each other's verbs: those of one minor version, and from 1.0 on those of one major version."""

from __future__ import annotations

import runloop
from runloop.errors import Unavailable


def fits(theirs: str) -> bool:
    """Whether a bus of that version, as its welcome says it, is answered as this one would; so is one that names no version."""
    return (series := _series(theirs)) is None or series == _series(runloop.__version__)


def other_version(theirs: str) -> Unavailable:
    """Says which side is older, and what to do."""
    ours = runloop.__version__
    older = (_series(theirs) or ()) < (_series(ours) or ())
    hint = "`rlp down` ends it, and `rlp up` starts the installed one; one that is a service is restarted"
    if not older:
        hint = "use the program that was installed with it, or update this one (`rlp version` says where it is)"
    message = f"the daemon is Runloop {theirs or 'of no version'}, which is {'older' if older else 'newer'} than this program, {ours}"
    return Unavailable(message, code="daemon.version", hint=hint, retryable=False)


def _series(version: str) -> tuple[int, ...] | None:
    """The numbers that two versions have in common which understand each other; None for what is no version."""
    major, _, rest = version.partition(".")
    minor = rest.partition(".")[0]
    if not (major.isdecimal() and minor.isdecimal()):
        return None
    return (0, int(minor)) if int(major) == 0 else (int(major),)
