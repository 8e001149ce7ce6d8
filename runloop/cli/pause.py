"""`rlp pause`; see :mod:`runloop.cli.cancel`."""

from __future__ import annotations

from runloop.cli.cancel import pause_app as app

__all__ = ["app"]
