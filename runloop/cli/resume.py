"""`rlp resume`; see :mod:`runloop.cli.cancel`."""

from __future__ import annotations

from runloop.cli.cancel import resume_app as app

__all__ = ["app"]
