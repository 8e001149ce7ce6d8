"""What a person is told while a full disk keeps the ledger from going on."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from runloop.cli import output

if TYPE_CHECKING:
    from runloop.kb.errors import LedgerFull


def tell(full: LedgerFull | None) -> None:
    """One line on stderr when work stops for want of room, and one when it goes on; may be called on any thread."""
    if full is None:
        print("there is room again: going on", file=sys.stderr)
    else:
        output.print_warning(full.code, f"waiting for room on the disk, nothing is lost: {full.hint}")
