"""Ways to describe and answer a guest, shared by the sandbox tests and the processes that they start."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from runloop.sandbox import Answer, CallError, GuestSpec, Limits

START_MS = 1_763_600_000_000
SEED = bytes(range(32))


@dataclass
class Host:
    """Answers hostcalls and remembers them."""

    answers: dict[str, Any] = field(default_factory=dict)
    calls: list[tuple[str, Any]] = field(default_factory=list)
    now_ms: int = START_MS + 1000

    async def __call__(self, name: str, args_json: str) -> Answer:
        """Answer with what the test prepared, or an empty object."""
        arguments = json.loads(args_json)
        self.calls.append((name, arguments))
        answer = self.answers.get(name, {})
        if callable(answer):
            answer = answer(arguments)
        if isinstance(answer, CallError):
            return Answer(answer, self.now_ms)
        return Answer(json.dumps(answer), self.now_ms)

    def logged(self) -> list[tuple[str, str]]:
        """Level and text of every log line."""
        return [(arguments["level"], arguments["text"]) for name, arguments in self.calls if name == "emit.log"]


def python_spec(
    sources: str | dict[str, str],
    with_: dict[str, Any] | None = None,
    inputs: dict[str, list[Any]] | None = None,
    *,
    seed: bytes = SEED,
    entry: str = "agent.py",
    data: dict[str, bytes] | None = None,
    **limits: Any,
) -> GuestSpec:
    """Make a spec from the text of ``agent.py``, or from several files."""
    files = {"agent.py": sources} if isinstance(sources, str) else sources
    digest = hashlib.blake2b(json.dumps(files, sort_keys=True).encode(), digest_size=32).hexdigest()
    request = json.dumps({"with": with_ or {}, "inputs": inputs or {}, "run": {"run_id": "r", "node": "n", "attempt": 1}})
    return GuestSpec("python", digest, entry, request, seed, START_MS, Limits(**limits), sources=files, data=data or {})


def code_spec(
    kind: Any, code: bytes, with_: dict[str, Any] | None = None, inputs: dict[str, list[Any]] | None = None, **limits: Any
) -> GuestSpec:
    """Make a spec from WebAssembly."""
    run = {"run_id": "0000feed-0000-0000-0000-0000feedface", "node": "n", "attempt": 1}
    request = json.dumps({"with": with_ or {}, "inputs": inputs or {}, "run": run}, separators=(",", ":"))
    return GuestSpec(kind, hashlib.blake2b(code).hexdigest(), "tool", request, SEED, START_MS, Limits(**limits), code=code)
