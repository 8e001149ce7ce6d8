"""How hard limits combine: whichever layer speaks, the narrower value wins, so no layer can widen what another narrowed.

| rule | values | not set |
|---|---|---|
| min | the smaller number | no limit |
| any | true if any says so | false |
| all | true only if all say so | true |
| intersect | what every list contains | no limit |
| union | everything in any list | empty |
"""

from __future__ import annotations

from typing import Any, Final

from runloop.config.registry import Tighten
from runloop.patterns import lazy

NOTHING: Final = object()
_PORT = lazy(r":[0-9]+\Z")


def combine(rule: Tighten, first: Any, second: Any) -> Any:
    """The narrower of two values; ``None`` is no limit. Commutative and associative, up to the order of a list."""
    if first is None or second is None:
        return second if first is None else first
    if rule == "min":
        return min(first, second)
    if rule == "any":
        return first or second
    if rule == "all":
        return first and second
    if rule == "union":
        return (*first, *(each for each in second if each not in first))
    return _intersect(first, second)


def beyond(rule: Tighten, asked: Any, *, before: Any, after: Any) -> Any:
    """What of ``asked`` has no effect, since ``before`` was narrower; NOTHING where all of it has one."""
    if isinstance(asked, tuple):
        if rule == "union":  # to add to the list is no attempt to drop what is in it
            return asked if set(asked) < set(before) else NOTHING
        return tuple(each for each in asked if each not in after) or NOTHING
    return NOTHING if asked == after else asked


def _intersect(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    """Entries of one list that the other covers; ``host`` covers ``host:port``, each in its one form (:mod:`runloop.hosts`)."""
    kept = [each for each in first if _covered(each, second)]
    kept += [each for each in second if each not in kept and _covered(each, first)]
    return tuple(kept)


def _covered(entry: str, by: tuple[str, ...]) -> bool:
    return entry in by or _PORT.sub("", entry) in by
