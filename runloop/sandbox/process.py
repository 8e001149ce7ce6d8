"""Starting our own Python processes: a clean environment, no inherited files, a session of their own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio.subprocess import Process

_ROOT = str(Path(__file__).parent.parent.parent)


def environment() -> dict[str, str]:
    """Only what Python needs to find Runloop; nothing of the user's environment."""
    return {
        "PYTHONPATH": _ROOT,
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C.UTF-8",
        "PATH": "/usr/bin:/bin",
        "RUST_BACKTRACE": "0",
        "MALLOC_ARENA_MAX": "2",
    }


def command(module: str, arguments: list[str]) -> list[str]:
    """The command line of one of our modules."""
    return [sys.executable, "-P", "-s", "-B", "-m", module, *arguments]


async def start_python(module: str, arguments: list[str], *, keep: int) -> Process:
    """Start a module with pipes on its standard streams; it inherits ``keep`` and no other file."""
    import asyncio

    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        *command(module, arguments),
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        pass_fds=(keep,),
        env=environment(),
        cwd=os.sep,
        start_new_session=True,
    )
