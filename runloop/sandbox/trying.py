"""Whether an agent starts here at all: with the limits that this process has, and all that the kernel and the disk refuse."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from runloop.sandbox.pool import WorkerPool
from runloop.sandbox.spec import Answer, GuestSpec

if TYPE_CHECKING:
    from pathlib import Path

_SOURCE = "from runloop_agent import agent\n\n\n@agent\ndef run() -> dict:\n    return {}\n"
_REQUEST = '{"with": {}, "inputs": {}, "run": {"run_id": "doctor", "node": "guest", "attempt": 1}}'


async def try_guest(cache: Path) -> None:
    """Start a worker and run an agent that does nothing in it; raises what keeps a run from doing so."""
    digest = hashlib.blake2b(_SOURCE.encode(), digest_size=32).hexdigest()
    spec = GuestSpec("python", digest, "agent.py", _REQUEST, bytes(32), 0, sources={"agent.py": _SOURCE})
    async with WorkerPool(cache, workers=1) as pool:
        await pool.run(spec, _refuse)


async def _refuse(_name: str, _args_json: str) -> Answer:
    return Answer("{}", 0)
