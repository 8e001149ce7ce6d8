"""The guest kinds as one: load compiled code, run it, and judge how it ended."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import wasmtime
from wasmtime import component as wasm

from runloop.sandbox.command import Command
from runloop.sandbox.component import Prepared
from runloop.sandbox.configuration import MAX_LIVE
from runloop.sandbox.core import PreparedModule
from runloop.sandbox.engine import Ticker, new_engine
from runloop.sandbox.execution import Execution, Stopped, enter
from runloop.sandbox.outcome import Outcome, checked, commanded, failure, no_room, trapped
from runloop.sandbox.said import Said
from runloop.sandbox.spec import Answer, Limits

if TYPE_CHECKING:
    from collections.abc import Callable

_CODES_KEPT = 64
_COMPILE_BYTES = 512 << 20
_COMPILE_CPU_S = 60.0
"""Seconds of processor that compiling an agent's files may take, however long these are in coming."""
_COMPILE_MS = 8_000
"""How much longer than the agent itself that may take on the clock: less than what the pool grants beyond an agent's limit."""


class Guests:
    """Compiled guests by path, each loaded once, and the engines they were compiled for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engines: dict[bool, wasmtime.Engine] = {}
        self._prepared: dict[tuple[str, bool], Prepared | PreparedModule] = {}
        self._codes: dict[tuple[str, str], str] = {}
        self._ticker = Ticker()

    def prepare(self, kind: str, path: str, *, fuel: bool) -> Prepared | PreparedModule:
        """Load compiled code from the cache, whose seal the pool has checked."""
        with self._lock:
            if fuel not in self._engines:
                self._engines[fuel] = new_engine(fuel=fuel, slots=MAX_LIVE)
                self._ticker.add(self._engines[fuel])
            engine = self._engines[fuel]
            known = self._prepared.get((path, fuel))
            if known is None:
                if kind == "wasm32-wasip1":
                    known = PreparedModule(engine, wasmtime.Module.deserialize_file(engine, path))
                else:
                    known = Prepared(engine, wasm.Component.deserialize_file(engine, path))
                self._prepared[path, fuel] = known
            return known

    def run(self, execution: Execution, message: dict[str, Any], compiled: Callable[[], object] | None = None) -> Outcome:
        """Run one guest on this thread; never raises for what a guest does. ``compiled`` is called where its files had to be compiled."""
        try:
            prepared = self.prepare(message["kind"], message["path"], fuel=message["limits"]["fuel"] is not None)
        except wasmtime.WasmtimeError as error:
            return no_room(str(error)) or Outcome.failed("guest.request", f"the agent's code cannot be linked: {error}")
        execution.begin()
        if isinstance(prepared, PreparedModule):
            return self._run_command(prepared, execution, message)
        request = self._wrapped(prepared, execution, message, compiled) if message["kind"] == "python" else message["request"]
        execution.begin()
        enter(execution)
        try:
            with self._ticker:
                ok, answer = prepared.run(execution, request)
            execution.said.finish()
        except (wasmtime.WasmtimeError, wasmtime.Trap, Stopped) as error:
            return _trapped(execution, str(error))
        finally:
            enter(None)
        if execution.reason is not None:
            return Outcome.failed(*execution.reason)
        return checked(execution, answer) if ok else failure(answer)

    def clear_up(self, execution: Execution, message: dict[str, Any], *, idle: bool) -> None:
        """Drop what a guest left; on a thread that is ``idle`` then, make the next Python guest ready."""
        execution.close()
        if not idle or message["kind"] != "python":
            return
        enter(Execution(execution.limits, bytes(32), 0, _no_calls))  # it may have to go on at a tick
        try:
            prepared = self.prepare("python", message["path"], fuel=message["limits"]["fuel"] is not None)
            if isinstance(prepared, Prepared):
                prepared.keep_spare(execution.limits)
        except (wasmtime.WasmtimeError, wasmtime.Trap, Stopped):
            return  # the next guest makes its own, and says what is wrong
        finally:
            enter(None)

    def _run_command(self, prepared: PreparedModule, execution: Execution, message: dict[str, Any]) -> Outcome:
        command = Command(execution, message["entry"], message["request"])
        enter(execution)
        try:
            with self._ticker:
                prepared.run(execution, command)
            execution.said.finish()
        except (wasmtime.WasmtimeError, wasmtime.Trap, Stopped) as error:
            if command.exit_code is None:
                return _trapped(execution, str(error))
        finally:
            enter(None)
        return commanded(execution, command)

    def _wrapped(
        self, prepared: Prepared, execution: Execution, message: dict[str, Any], compiled: Callable[[], object] | None = None
    ) -> str:
        """Wrap a request for the Python guest, with the agent's files and its compiled code."""
        sources = message["sources"]
        key = message["path"], message["digest"]  # bytecode is for the guest that made it
        codes = self._codes.get(key)
        if codes is None:
            codes = self._compile(prepared, sources, execution)
            if compiled is not None:
                compiled()
            with self._lock:
                if execution.reason is None:
                    self._codes[key] = codes
                while len(self._codes) > _CODES_KEPT:
                    self._codes.pop(next(iter(self._codes)))
        entry, seed = json.dumps(message["entry"]), message["seed"].hex()
        files = f'"sources":{sources},"codes":{codes},"data":{message["data"]}'
        return f'{{"entry":{entry},"seed":"{seed}",{files},"request":{message["request"]}}}'

    def _compile(self, prepared: Prepared, sources: str, outer: Execution) -> str:
        """Let one guest compile for all that follow; what does not compile is left to the run, which will say so."""
        limits = Limits(memory_bytes=_COMPILE_BYTES, wall_ms=outer.limits.wall_ms + _COMPILE_MS)
        execution = Execution(limits, bytes(32), 0, _no_calls, outer=outer)

        def tick() -> None:
            if outer.at_tick is not None:
                outer.at_tick()
            if execution.computed_s > _COMPILE_CPU_S:
                execution.stop("guest.timeout", "compiling its files takes too long")

        execution.at_tick = tick
        execution.begin()
        execution.said = Said(lambda _level, _text: None)  # what is wrong with the code is said when it runs
        enter(execution)
        try:
            with self._ticker:
                ok, codes = prepared.run(execution, f'{{"compile":{sources}}}')
        except (wasmtime.WasmtimeError, wasmtime.Trap, Stopped):
            return "{}"
        finally:
            enter(None)
            execution.close()
        return codes if ok else "{}"


def _trapped(execution: Execution, error: str) -> Outcome:
    """Log what a guest that crashed had begun to say, and name the reason."""
    execution.last_words()
    return trapped(execution, error)


def _no_calls(name: str, _args: str) -> Answer:
    raise Stopped(f"{name} outside of a run")
