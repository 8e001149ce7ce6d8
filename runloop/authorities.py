"""Which certificate authorities count: the system's, or those that ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` name; and what failed by one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

AUTHORITY_HINT = (
    "the message says what is wrong with the server's certificate; for one of an authority of your own set SSL_CERT_FILE"
    " where the daemon is started, or add the authority to the system's"
)


def authorities() -> ssl.SSLContext | bool:
    """What ``verify`` of an HTTP client takes that uses nothing else of the environment: True for the system's."""
    import ssl

    return ssl.create_default_context() if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR") else True


def of_tls(error: BaseException | None, *, certificate: bool = False) -> bool:
    """Whether a connection failed over what the other side said in its handshake; with ``certificate`` over who it is."""
    import ssl

    kind = ssl.SSLCertVerificationError if certificate else ssl.SSLError
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False
