"""Errors and warnings about settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runloop.dataclass import dataclass
from runloop.errors import InvalidInput, Where


class ConfigError(InvalidInput):
    """A setting, a configuration file or a directory that Runloop needs cannot be used."""

    code = "config.invalid_value"

    def __init__(self, message: str, *, code: str | None = None, where: Where | None = None, hint: str = "") -> None:
        super().__init__(message, code=code, where=where, hint=hint)
        self.others: tuple[ConfigError, ...] = ()

    def with_others(self, others: Sequence[ConfigError]) -> ConfigError:
        """The same error, carrying the further problems found in the same load."""
        self.others = tuple(others)
        return self

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; further problems stand under ``others``."""
        own = super().to_dict()
        return {**own, "others": [other.to_dict() for other in self.others]} if self.others else own


@dataclass(frozen=True, slots=True)
class ConfigWarning:
    """Something in the settings that works, but not as its author may think."""

    code: str
    message: str
    where: Where = Where()

    def __str__(self) -> str:
        place = str(self.where)
        return f"{self.message} ({place})" if place else self.message
