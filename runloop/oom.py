"""Whom the kernel ends where memory runs out: what agents keep busy, not the process that keeps the record."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

ADJUSTMENT: Final = Path("/proc/self/oom_score_adj")
"""How readily a process is ended, from -1000 to 1000 (proc_pid_oom_score_adj(5)); children inherit it, and everybody may raise it."""
FIRST: Final = 300
"""As if a process used 30 % more of all memory: it stands before one that is larger by some hundred MB. The same for all who stand first:
the largest of them goes."""


def go_first() -> None:
    """Let this process, and what it starts from now on, be ended before one that never said so. What is higher already stays."""
    with suppress(OSError, ValueError):
        if int(ADJUSTMENT.read_text()) < FIRST:
            ADJUSTMENT.write_text(str(FIRST))
