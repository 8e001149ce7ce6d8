"""Regular expressions that are compiled when they are first used: a command compiles the few it needs, not all that its modules have."""

from __future__ import annotations

import re

TYPE_CHECKING = False  # `rlp route` loads this module, and has no time for typing
if TYPE_CHECKING:
    from typing import Any


class _Lazy:
    """Stands for the compiled pattern; each method is looked up there once, and is its own from then on."""

    def __init__(self, text: str, flags: int) -> None:
        self._made_of = (text, flags)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = getattr(re.compile(*self._made_of), name)
        self.__dict__[name] = found
        return found


def lazy(text: str, flags: int = 0) -> re.Pattern[str]:
    """The pattern; raises re.error only when it is used."""
    return _Lazy(text, flags)  # type: ignore[return-value]
