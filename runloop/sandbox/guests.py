"""The guest kinds as one: load compiled code, run it, and put what came out into one of a few outcomes."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass
from typing import Any

import wasmtime
from wasmtime import component as wasm

from runloop.sandbox.component import Prepared
from runloop.sandbox.engine import Ticker, new_engine
from runloop.sandbox.execution import Execution, Stopped, enter
from runloop.sandbox.jsontext import BadJson, check
from runloop.sandbox.spec import MAX_REQUEST_BYTES, Answer, Limits

_CODES_KEPT = 64
_COMPILE_LIMITS = Limits(memory_bytes=512 << 20, wall_ms=20_000)
_KINDS = {"exception": "guest.exception", "memory": "guest.memory", "bad-result": "guest.result", "bad-agent": "guest.request"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a guest ended: ``text`` is the result, or with a ``code`` the message of a failure."""

    text: str
    code: str | None = None

    @classmethod
    def failed(cls, code: str, message: str) -> Outcome:
        """Make a failure."""
        return cls(message, code)


class Guests:
    """Compiled guests by path, each loaded once, and the engines they were compiled for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engines: dict[bool, wasmtime.Engine] = {}
        self._prepared: dict[tuple[str, bool], Prepared] = {}
        self._codes: dict[str, str] = {}
        self._ticker = Ticker()

    def prepare(self, kind: str, path: str, *, fuel: bool) -> Prepared:
        """Load compiled code from the cache, whose seal the pool has checked."""
        with self._lock:
            if fuel not in self._engines:
                self._engines[fuel] = new_engine(fuel=fuel)
                self._ticker.add(self._engines[fuel])
            engine = self._engines[fuel]
            if (path, fuel) not in self._prepared:
                self._prepared[path, fuel] = Prepared(engine, wasm.Component.deserialize_file(engine, path))
            return self._prepared[path, fuel]

    def run(self, prepared: Prepared, execution: Execution, message: dict[str, Any]) -> Outcome:
        """Run one guest on this thread; never raises for what a guest does."""
        request = self._wrapped(prepared, message) if message["kind"] == "python" else message["request"]
        enter(execution)
        try:
            with self._ticker:
                ok, answer = prepared.run(execution, request)
        except (wasmtime.WasmtimeError, wasmtime.Trap, Stopped) as error:
            return trapped(execution, str(error))
        finally:
            enter(None)
        if execution.reason is not None:
            return Outcome.failed(*execution.reason)
        return checked(execution, answer) if ok else failure(answer)


    def _wrapped(self, prepared: Prepared, message: dict[str, Any]) -> str:
        """Wrap a request for the Python guest, with the agent's sources and its compiled code."""
        digest, sources = message["digest"], message["sources"]
        codes = self._codes.get(digest)
        if codes is None:
            codes = self._compile(prepared, sources)
            with self._lock:
                self._codes[digest] = codes
                while len(self._codes) > _CODES_KEPT:
                    self._codes.pop(next(iter(self._codes)))
        entry, seed = json.dumps(message["entry"]), message["seed"].hex()
        return f'{{"entry":{entry},"seed":"{seed}","sources":{sources},"codes":{codes},"request":{message["request"]}}}'

    def _compile(self, prepared: Prepared, sources: str) -> str:
        """Let one guest compile for all that follow; what does not compile is left to the run, which will say so."""
        execution = Execution(_COMPILE_LIMITS, bytes(32), 0, _no_calls)
        enter(execution)
        try:
            with self._ticker:
                ok, codes = prepared.run(execution, f'{{"compile":{sources}}}')
        except (wasmtime.WasmtimeError, wasmtime.Trap, Stopped):
            return "{}"
        finally:
            enter(None)
        return codes if ok else "{}"


def _no_calls(name: str, _args: str) -> Answer:
    raise Stopped(f"{name} while compiling")


def checked(execution: Execution, text: str) -> Outcome:
    """Accept a result that everyone behind the boundary can carry, within the limit of output."""
    try:
        execution.write(len(text.encode()))
    except Stopped:
        return Outcome.failed(*(execution.reason or ("guest.output", "too much output")))
    if len(text) > MAX_REQUEST_BYTES or len(text.encode()) > MAX_REQUEST_BYTES:
        return Outcome.failed("guest.output", f"the result is larger than {MAX_REQUEST_BYTES} bytes")
    try:
        check(text)
    except BadJson as wrong:
        return Outcome.failed("guest.result", f"the agent's result cannot be used: {wrong}")
    return Outcome(text)


def failure(record: Any) -> Outcome:
    """Turn the world's failure record into an outcome; its texts are the guest's and are cut to 64 Ki characters."""
    code = _KINDS.get(getattr(record, "kind", ""), "guest.trap")
    message, detail = str(getattr(record, "message", ""))[:4096], str(getattr(record, "detail", ""))[:65536]
    if code == "guest.exception" and detail:
        return Outcome.failed(code, detail)
    return Outcome.failed(code, message)


def trapped(execution: Execution, error: str) -> Outcome:
    """Name the reason of a trap: ours if we stopped the guest, else what wasmtime says."""
    if execution.reason is not None:
        return Outcome.failed(*execution.reason)
    if "all fuel consumed" in error:
        return Outcome.failed("guest.fuel", f"the agent used more than {execution.limits.fuel} units of fuel")
    if "memory minimum size" in error or "exceeds memory limits" in error:
        return Outcome.failed("guest.memory", f"the agent needs more than {execution.limits.memory_bytes} bytes to start")
    cause = re.findall(r"wasm trap: ([^\n]+)|Caused by:\s*\n\s*(?:\d+: )?([^\n]+)", error)
    said = next((one for pair in reversed(cause) for one in pair if one), error.strip().splitlines()[0] if error.strip() else "unknown")
    if "call stack exhausted" in said:
        said = "call stack exhausted (recursion without end, or data nested too deeply)"
    last = bytes(execution.stderr[-2000:]).decode(errors="replace").strip()
    return Outcome.failed("guest.trap", f"the agent crashed: {said}" + (f"\n{last}" if last else ""))
