"""Which kinds of data are masked."""

from __future__ import annotations

from dataclasses import replace

from runloop.dataclass import dataclass

URL_PARAMS = ("token", "key", "password", "signature", "auth")
"""Names of URL parameters whose values are masked, unless the settings name others."""


@dataclass(frozen=True, slots=True)
class Rules:
    """A switch for each kind of data. ``url_param_denylist`` names parameters, alone or as the last part: ``key`` also is ``api_key``.

    ``drop_masked_rows`` leaves rows and hits out in which something would be masked.
    """

    enabled: bool = True
    email: bool = True
    phone: bool = True
    card: bool = True
    iban: bool = True
    keys: bool = True
    url_params: bool = True
    url_param_denylist: tuple[str, ...] = URL_PARAMS
    drop_masked_rows: bool = False

    def with_contacts(self) -> Rules:
        """The same without masks on how to reach a person: what the capability ``contacts_raw`` lifts."""
        return replace(self, email=False, phone=False)


EVERYTHING = Rules()
NOTHING = Rules(enabled=False)
