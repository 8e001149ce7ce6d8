"""Programs of the host, never through a shell."""

from __future__ import annotations

from dataclasses import dataclass

from runloop_agent._calls import call
from runloop_agent._records import record
from runloop_agent.emit import log

__all__ = ["Finished", "run"]


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended; ``exit_code`` is negative, and ``signal`` such as "SIGKILL", if a signal ended it."""

    exit_code: int
    stdout: str = ""
    stderr: str = ""
    timed_out: bool = False
    truncated: bool = False
    signal: str | None = None


def run(argv: list[str], *, cwd: str | None = None, stdin: str | None = None, timeout_ms: int | None = None) -> Finished:
    """Run one program to its end.

    Of longer output than 256 KiB the rest is left out, and the log says so.
    """
    found = record(Finished, call("exec.run", {"argv": argv, "cwd": cwd, "stdin": stdin, "timeout_ms": timeout_ms}))
    if found.truncated:
        log(f"exec.run kept only the first 256 KiB of what {argv[0][:200]} wrote", "warn")
    return found
