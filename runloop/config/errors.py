"""Errors and warnings about settings."""

from __future__ import annotations

from runloop.dataclass import dataclass
from runloop.errors import SeveralInvalid, Where


class ConfigError(SeveralInvalid):
    """A setting, a configuration file or a directory that Runloop needs cannot be used."""

    code = "config.invalid_value"


@dataclass(frozen=True, slots=True)
class ConfigWarning:
    """Something in the settings that works, but not as its author may think."""

    code: str
    message: str
    where: Where = Where()

    def __str__(self) -> str:
        place = str(self.where)
        return f"{self.message} ({place})" if place else self.message
