"""The known name that is nearest to one that is not known, for hints."""

from __future__ import annotations

TYPE_CHECKING = False  # the settings load this module, and have no time for typing
if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """The name of ``known`` that is most like ``name``, as it is written or in lower case; empty where none is like it."""
    from difflib import get_close_matches  # most commands have nothing to correct

    names = sorted(known)
    for wanted in dict.fromkeys((name, name.lower())):
        if found := get_close_matches(wanted, names, n=1, cutoff=0.6):
            return found[0]
    return ""


def did_you_mean(name: str, known: Iterable[str], most: int | None = None) -> str:
    """A hint that names the nearest of ``known``, or all of them (the first ``most``) where none is near; empty without any."""
    names = sorted(known)
    if found := nearest(name, names):
        return f"did you mean '{found}'?"
    return f"known: {', '.join(names[:most])}" + (", …" if most is not None and len(names) > most else "") if names else ""
