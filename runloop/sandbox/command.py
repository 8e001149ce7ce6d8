"""A core module as a command: its arguments, its environment, its standard streams."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runloop.sandbox.execution import Execution


class Command:
    """What a ``wasm32-wasip1`` guest is given and what it wrote (spec section 14.1).

    Arguments are the name and ``--key value`` for every key of ``with`` (strings verbatim, others as JSON); ``RUNLOOP_NODE_INPUT`` is
    ``with`` as JSON; standard input and the mailbox hold the whole request. Standard output is the result; standard error is logged.
    """

    def __init__(self, execution: Execution, name: str, request: str) -> None:
        self._execution = execution
        self.request = request
        self.parsed: dict[str, Any] = json.loads(request)
        with_ = self.parsed.get("with") or {}
        texts = [name]
        for key, value in with_.items():
            texts += [f"--{key}", value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))]
        self.arguments = [text.replace("\0", "").encode() for text in texts]
        self.environment = [b"RUNLOOP_NODE_INPUT=" + json.dumps(with_, separators=(",", ":")).encode()]
        self.exit_code: int | None = None
        self.stdout = bytearray()
        self.mail = request.encode()
        self.answer = b""
        self._stdin = memoryview(request.encode())

    def read(self, count: int) -> bytes:
        """Take bytes of standard input."""
        piece, self._stdin = bytes(self._stdin[:count]), self._stdin[count:]
        return piece

    def write(self, descriptor: int, data: bytes) -> None:
        """Take output; the execution has counted it."""
        if descriptor == 1:
            self.stdout += data
        else:
            self._execution.said.write("warn", data)
