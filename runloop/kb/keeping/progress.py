"""How far something long is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with a check's name, how much of it is done, and how much there is."""


def silent(_check: str, _done: int, _of: int) -> None:
    """A progress that nobody watches."""
