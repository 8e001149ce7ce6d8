"""The `rlp` that is installed: `rlp route` answers within a keystroke, so it starts without what the other verbs need.

So does the completion that shells ask for.
"""

from __future__ import annotations

import gc
import os
import sys

_COLLECT = (50_000, 20, 100)
"""When the collector looks for cycles: imports make many objects and few cycles, and Python looks after every 700."""


def main() -> int:
    """Run `rlp` with the arguments of the process; return the exit code."""
    gc.set_threshold(*_COLLECT)
    os.umask(os.umask(0o077) & 0o077)  # one that takes the owner's own rights away makes files that nobody can use
    try:
        return _run()
    finally:
        gc.freeze()  # the process ends: nothing is gained by a last look for cycles, which would take a tenth of the whole


def _run() -> int:
    if sys.argv[1:2] == ["route"]:
        from runloop.cli import route

        code = route.quick(sys.argv[2:])
        if code is not None:
            return code
    if sys.argv[1:2] == ["__complete"]:
        from runloop.cli import completion

        return completion.answer(sys.argv[2:])
    from runloop.cli.main import main as whole

    return whole()
