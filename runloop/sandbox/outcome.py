"""How guests end: a result that everyone behind the boundary can carry, or a failure with a stable code."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass
from runloop.sandbox.execution import Stopped
from runloop.sandbox.jsontext import BadJson, check
from runloop.sandbox.spec import MAX_REQUEST_BYTES

if TYPE_CHECKING:
    from runloop.sandbox.command import Command
    from runloop.sandbox.execution import Execution

_KINDS = {"exception": "guest.exception", "memory": "guest.memory", "bad-result": "guest.result", "bad-agent": "guest.request"}

_SHOWN = 60
_NO_ROOM = "Cannot allocate memory (os error 12)"
_NO_MEMORY = re.compile(r"memory allocation of (\d+) bytes failed")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a guest ended: ``text`` is the result, or with a ``code`` the message of a failure; ``said`` as in :class:`GuestError`."""

    text: str
    code: str | None = None
    said: str = ""

    @classmethod
    def failed(cls, code: str, message: str, said: str = "") -> Outcome:
        """Make a failure."""
        return cls(message, code, said)


def checked(execution: Execution, text: str) -> Outcome:
    """Accept a result within the limit of output; one that nobody could carry under any limit is told so."""
    if execution.reason is None and (too_large := _too_large(text)) is not None:
        return too_large
    try:
        execution.write(len(text.encode()))
    except Stopped:
        return Outcome.failed(*(execution.reason or ("guest.output", "too much output")))
    return accepted(execution, text)


def accepted(execution: Execution, text: str) -> Outcome:
    """Accept a result that everyone behind the boundary can carry; its bytes are counted already."""
    if execution.reason is not None and execution.reason[0] != "guest.exit":
        return Outcome.failed(*execution.reason)
    if (too_large := _too_large(text)) is not None:
        return too_large
    try:
        check(text)
    except BadJson as wrong:
        return Outcome.failed("guest.result", f"the agent's result cannot be used: {wrong}")
    return Outcome(text)


def _too_large(text: str) -> Outcome | None:
    if len(text) > MAX_REQUEST_BYTES or len(text.encode()) > MAX_REQUEST_BYTES:
        return Outcome.failed("guest.output", f"the result is larger than {MAX_REQUEST_BYTES} bytes")
    return None


def failure(record: Any) -> Outcome:
    """Turn the world's failure record into an outcome; its texts are the guest's and are cut to 64 Ki characters."""
    code = _KINDS.get(getattr(record, "kind", ""), "guest.trap")
    message, detail = str(getattr(record, "message", ""))[:4096], str(getattr(record, "detail", ""))[:65536]
    if code == "guest.exception" and detail.strip():
        return Outcome.failed(code, detail, message.strip())
    return Outcome.failed(code, message if message.strip() else "the agent failed and did not say why")


def trapped(execution: Execution, error: str) -> Outcome:
    """Name the reason of a trap: ours if we stopped the guest, else what wasmtime says."""
    if execution.reason is not None:
        return Outcome.failed(*execution.reason)
    if "all fuel consumed" in error:
        return Outcome.failed("guest.fuel", f"the agent used more than {execution.limits.fuel} units of fuel")
    if "memory count too high" in error:
        return Outcome.failed("guest.memory", "the agent has more than one memory; it may have one, which is what its limit counts")
    if "memory minimum size" in error or "exceeds memory limits" in error:
        return Outcome.failed("guest.memory", f"the agent needs more than {execution.limits.memory_bytes} bytes to start")
    if (room := no_room(error)) is not None:
        return room
    cause = re.findall(r"wasm trap: ([^\n]+)|Caused by:\s*\n\s*(?:\d+: )?([^\n]+)", error)
    said = next((one for pair in reversed(cause) for one in pair if one), error.strip().splitlines()[0] if error.strip() else "unknown")
    if "call stack exhausted" in said:
        said = "call stack exhausted (recursion without end, or data nested too deeply)"
    if (wanted := _NO_MEMORY.search(execution.said.last)) is not None:
        return Outcome.failed("guest.memory", f"the agent needs more memory than it may have: {wanted[1]} bytes more, at once")
    return Outcome.failed("guest.trap", f"the agent crashed: {said}{execution.said.tail}")


def no_room(error: str) -> Outcome | None:
    """Name it where wasmtime says that the system gave it no memory or no addresses; None where it says anything else."""
    if _NO_ROOM not in error:
        return None
    return Outcome.failed("guest.no_room", f"the system gives this process no room for an agent: {_NO_ROOM}")


def commanded(execution: Execution, command: Command) -> Outcome:
    """Judge a command that came to its end: the exit code decides, standard output is the result."""
    if command.exit_code:
        return Outcome.failed("guest.exception", f"the agent ended with exit code {command.exit_code}{execution.said.tail}")
    try:
        text = bytes(command.stdout).decode()
    except UnicodeDecodeError:
        return Outcome.failed("guest.result", "the agent's standard output is not UTF-8 text")
    if not text.strip():
        return Outcome.failed("guest.result", "the agent wrote nothing to standard output; one JSON document is its result")
    result = accepted(execution, text)
    if result.code == "guest.result":
        return Outcome.failed("guest.result", f"{result.text}; its standard output begins with {text.lstrip()[:_SHOWN]!r}")
    return result
