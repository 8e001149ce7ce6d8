"""Where a daemon may listen, and the token that makes its operators."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from runloop.bus.token import TokenError, TokenHidden, read_token
from runloop.dataclass import dataclass

if TYPE_CHECKING:
    from runloop.config import Settings

SYSTEM_SOCKET: Final = Path("/run/runloop/rmp.sock")
SYSTEM_TOKEN: Final = Path("/var/lib/runloop/token")


@dataclass(frozen=True, slots=True)
class Place:
    """A socket where a daemon may listen, and the file of its token. Where it is ``explicit``, no other is tried."""

    socket: Path
    token: Path
    explicit: bool = False

    def read_token(self) -> tuple[str | None, str]:
        """The token, or None and why this process has none; raises TokenError for a file of ours that cannot be trusted."""
        try:
            found = read_token(self.token)
        except TokenHidden as error:
            return None, error.message
        except TokenError as error:
            if self.token != SYSTEM_TOKEN:
                raise
            return None, error.message
        return found, "" if found is not None else f"there is no token file {self.token}"

    @property
    def is_without_token(self) -> bool:
        """Whether nobody has made the token yet, as far as this process may look."""
        try:
            self.token.lstat()
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return False

    @property
    def is_there(self) -> bool:
        """Whether to try it: what is set is always tried, else there is a socket that this process may see."""
        try:
            return self.explicit or self.socket.is_socket()
        except PermissionError:  # a machine's daemon, to whom this user is a stranger
            return False

    @property
    def is_closed(self) -> bool:
        """Whether there is something, or may be, that this user may not use."""
        try:
            self.socket.stat()
        except PermissionError:
            return True
        except OSError:
            return False
        return not os.access(self.socket, os.R_OK | os.W_OK, effective_ids=True)

    @property
    def starting(self) -> str | None:
        """What the daemon there says of its start, in words; None where it says nothing."""
        from runloop.bus.listen import starting  # not for who has no daemon

        if (far := starting(self.socket)) is None:
            return None
        done, of = far
        return f"it brings the derived tables up to the ledger: {done * 100 // of} % ({done:,} of {of:,} events)"

    @property
    def of_the_machine(self) -> bool:
        """Whether the machine's daemon is meant, which is for who may read its token."""
        return self.socket == SYSTEM_SOCKET and not self.explicit


def places(settings: Settings, socket: Path | None = None) -> tuple[Place, ...]:
    """Where to look, in order: ``socket`` or the one that is set and no other, else the user's and then the machine's."""
    token = settings.directories.token
    explicit: Path | None = socket or settings.get("runtime.socket_path")
    if explicit is not None:
        return (Place(explicit, token, explicit=True),)
    return (*(Place(each, token) for each in settings.sockets), Place(SYSTEM_SOCKET, SYSTEM_TOKEN))
