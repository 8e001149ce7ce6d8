"""Upstream's import module ``runloop`` for core modules (spec section 12.1), made real: every function forwards to a hostcall.

A refusal by policy traps, as upstream does; other failures are the negative numbers of the table. Beyond upstream, ``call`` and
``take`` reach every hostcall of the world: ``call(name, request)`` gives the answer's length, or -1 to -6 for denied, invalid,
budget, timeout, unavailable, cancelled, with the refusal as JSON; ``take(ptr, cap)`` copies that text.
"""

from __future__ import annotations

import json
import re
import shlex
import uuid
from typing import TYPE_CHECKING, Any

import msgpack  # type: ignore[import-untyped]  # it ships no types

from runloop.sandbox.execution import current
from runloop.sandbox.foreign_core import Fault, Memory, Wide, define, signature
from runloop.sandbox.spec import MAX_REQUEST_BYTES, CallError
from runloop.sandbox.world import NAMES

if TYPE_CHECKING:
    from collections.abc import Callable

    import wasmtime

    from runloop.sandbox.command import Command

MODULE = "runloop"
_MODEL_STREAM, _MODEL_BUDGET, _MODEL_TIMEOUT, _MODEL_PROVIDER, _MODEL_INVALID, _MODEL_SPACE, _MODEL_CANCELLED = range(-1, -8, -1)
_MODEL_CODES = {
    "budget": _MODEL_BUDGET,
    "timeout": _MODEL_TIMEOUT,
    "unavailable": _MODEL_PROVIDER,
    "invalid": _MODEL_INVALID,
    "cancelled": _MODEL_CANCELLED,
}
_EXEC_INVALID, _EXEC_SPAWN, _EXEC_SIGNAL, _EXEC_SPACE = range(-1, -5, -1)
_EXEC_CODES = {"invalid": _EXEC_INVALID, "timeout": _EXEC_SIGNAL, "cancelled": _EXEC_SIGNAL}
_EXEC_MOST_CAPTURED = 65_536
_EXEC_LONGEST, _EXEC_SHOWN = 65_536, 1000
_WORD = r"""(?:[^\s'"\\|&;<>()$`*?\[\]{}~#!]|'[^']*'|"[^"\\$`]*")+"""
_WORDS = re.compile(rf"[ \t]*{_WORD}(?:[ \t]+{_WORD})*[ \t]*")
"""A command line that means to a shell the words it consists of, and nothing else."""
_CALL_CODES = {"denied": -1, "invalid": -2, "budget": -3, "timeout": -4, "unavailable": -5, "cancelled": -6}
_MAIL_SCHEMA, _MAIL_TTL_MS = 4000, 30_000
_DENIED = "capability denied: "


def _ask(capability: str, name: str, request: dict[str, Any]) -> dict[str, Any] | CallError:
    """Forward one call; a denial traps."""
    answer = current().call(name, json.dumps({key: value for key, value in request.items() if value is not None}))
    if isinstance(answer, str):
        parsed = json.loads(answer)
        return parsed if isinstance(parsed, dict) else {}
    if answer.code == "denied":
        told = answer.message.startswith(_DENIED)
        raise current().halt("guest.trap", answer.message if told else f"{_DENIED}{capability} ({answer.message})")
    return answer


def _command() -> Command:
    command = current().command
    if command is None:
        raise Fault("this guest is not a command")
    return command


def _time_now(_memory: Memory) -> Wide:
    return Wide(current().now_us())


def _http_request(memory: Memory, at: int, size: int) -> int:
    answer = _ask("net.http", "http.fetch", {"url": memory.text(at, size)})
    return -1 if isinstance(answer, CallError) else int(answer.get("status", 0))


def _kb_read(memory: Memory, at: int, size: int) -> int:
    """Ask whether a namespace can be read: upstream's function carries no data back."""
    namespace = memory.text(at, size)
    answer = _ask("kb.read", "kb.search", {"query": namespace, "domains": [namespace], "limit": 1})
    return -1 if isinstance(answer, CallError) else 0


def _kb_write(memory: Memory, at: int, size: int) -> int:
    """Propose the change in the text, the request of ``kb.propose`` as JSON; gives its event id."""
    text = memory.text(at, size)
    if len(text) > MAX_REQUEST_BYTES:
        return -1
    try:
        request = json.loads(text)
    except ValueError:
        return -1
    answer = _ask("kb.write", "kb.propose", request) if isinstance(request, dict) else None
    return -1 if answer is None or isinstance(answer, CallError) else int(answer.get("event_id", 0)) & 0x7FFF_FFFF


def _model_complete(memory: Memory, at: int, size: int, out_at: int, out_cap: int, meta_at: int, meta_cap: int) -> int:
    packed_request = memory.read(at, size)
    if len(packed_request) > MAX_REQUEST_BYTES:
        return _MODEL_INVALID
    try:
        request = msgpack.unpackb(packed_request)
        parameters = request.get("params") or {}
        wanted = {"prompt": request["prompt"], "system": request.get("role_system"), "model": request.get("model") or None}
        wanted |= {key: parameters.get(key) for key in ("max_tokens", "temperature", "stop")}
        if (budget := request.get("budget_tokens")) is not None:  # of prompt and answer together, at four bytes a token (spec 16)
            left = budget - -(-len(f"{wanted['prompt']}{wanted['system'] or ''}".encode()) // 4)
            wanted["max_tokens"] = min(wanted["max_tokens"] or left, left)
    except (ValueError, KeyError, TypeError, AttributeError, msgpack.UnpackException):
        return _MODEL_INVALID
    if request.get("stream"):
        return _MODEL_STREAM
    if budget is not None and left < 1:
        return _MODEL_BUDGET
    answer = _ask("model.use", "model.complete", wanted)
    if isinstance(answer, CallError):
        return _MODEL_CODES.get(answer.code, _MODEL_PROVIDER)
    text = str(answer.get("text", "")).encode()
    meta = {
        "tokens_in": answer.get("tokens_in"), "tokens_out": answer.get("tokens_out"), "cached": bool(answer.get("cached")),
        "provider": answer.get("provider", ""), "provider_model": answer.get("model", ""), "finish_reason": answer.get("finish_reason"),
    }  # fmt: skip
    packed: bytes = msgpack.packb(meta)
    if len(text) > out_cap or (meta_cap > 0 and len(packed) + 4 > meta_cap):
        return _MODEL_SPACE
    memory.write(out_at, text)
    if meta_cap > 0:
        memory.write(meta_at, len(packed).to_bytes(4, "little") + packed)
    return len(text)


def _resolve_secret(memory: Memory, at: int, size: int) -> int:
    answer = _ask("secrets.get", "secrets.handle", {"name": memory.text(at, size)})
    if isinstance(answer, CallError):
        return -1
    handle = str(answer.get("handle", "")).encode()
    memory.write(at, handle)
    return len(handle)


def _words(text: str) -> list[str] | None:
    """The words of a command line; None where a shell would do more than to start them, for there is no shell."""
    if not _WORDS.fullmatch(text):
        return None
    words = shlex.split(text)
    return None if not words[0] or "=" in words[0] else words


def _exec(memory: Memory, at: int, size: int) -> dict[str, Any] | int:
    text = memory.text(at, size)
    if len(text) > _EXEC_LONGEST:
        return _not_run(f"not run: the command line has {len(text)} characters; at most {_EXEC_LONGEST} are taken")
    if (argv := _words(text)) is None:
        return _not_run(f"not run, for there is no shell: {text[:_EXEC_SHOWN]!r}; give a program and its arguments")
    answer = _ask("exec.spawn", "exec.run", {"argv": argv})
    if isinstance(answer, CallError):
        return _EXEC_CODES.get(answer.code, _EXEC_SPAWN)
    return answer


def _not_run(why: str) -> int:
    current().log("warn", why)
    return _EXEC_INVALID


def _exec_status(answer: dict[str, Any]) -> int:
    code = answer.get("exit_code")
    return _EXEC_SIGNAL if answer.get("timed_out") or not isinstance(code, int) or code < 0 else code


def _exec_spawn(memory: Memory, at: int, size: int) -> int:
    answer = _exec(memory, at, size)
    return answer if isinstance(answer, int) else _exec_status(answer)


def _exec_capture(memory: Memory, at: int, size: int, out_at: int, out_cap: int, err_at: int, err_cap: int) -> int:
    if not (4 <= out_cap <= _EXEC_MOST_CAPTURED and 4 <= err_cap <= _EXEC_MOST_CAPTURED):
        return _EXEC_INVALID
    answer = _exec(memory, at, size)
    if isinstance(answer, int):
        return answer
    fits = not answer.get("truncated")
    for target, cap, key in ((out_at, out_cap, "stdout"), (err_at, err_cap, "stderr")):
        data = str(answer.get(key, "")).encode()
        fits = fits and len(data) + 4 <= cap
        data = data[: cap - 4]
        memory.write(target, len(data).to_bytes(4, "little") + data)
    return _exec_status(answer) if fits else _EXEC_SPACE


def _mailbox_peek_meta(memory: Memory, at: int, cap: int) -> int:
    command = _command()
    if not command.mail:
        return 0
    run_id = str((command.parsed.get("run") or {}).get("run_id", ""))
    try:
        trace = uuid.UUID(run_id.rpartition(":")[2]).hex
    except ValueError:
        trace = "0" * 32
    meta = {"trace_id": trace, "msg_id": 1, "created_at_ms": current().start_ms, "ttl_ms": _MAIL_TTL_MS, "schema_id": _MAIL_SCHEMA}
    text = json.dumps(meta, separators=(",", ":")).encode()
    if len(text) > cap:
        raise Fault(f"the mailbox's description has {len(text)} bytes, the guest's buffer {cap}")
    memory.write(at, text)
    return len(text)


def _mailbox_recv(memory: Memory, at: int, cap: int) -> int:
    command = _command()
    if not command.mail:
        return 0
    if len(command.mail) > cap:
        raise Fault(f"the message has {len(command.mail)} bytes, the guest's buffer {cap}")
    body, command.mail = command.mail, b""
    memory.write(at, body)
    return len(body)


def _call(memory: Memory, name_at: int, name_size: int, at: int, size: int) -> int:
    name = memory.text(name_at, name_size)
    answer = current().call(name, memory.text(at, size)) if name in NAMES else CallError("invalid", f"there is no hostcall {name!r}")
    command = _command()
    if isinstance(answer, str):
        command.answer = answer.encode()
        return len(command.answer)
    command.answer = json.dumps({"code": answer.code, "message": answer.message, "hint": answer.hint}).encode()
    return _CALL_CODES.get(answer.code, -2)


def _take(memory: Memory, at: int, cap: int) -> int:
    data = _command().answer
    if len(data) > cap:
        raise Fault(f"the answer has {len(data)} bytes, the guest's buffer {cap}")
    memory.write(at, data)
    return len(data)


FUNCTIONS: dict[str, tuple[str, str, Callable[..., int | None]]] = {
    "time_now": ("", "I", _time_now),
    "http_request": ("ii", "i", _http_request),
    "kb_read": ("ii", "i", _kb_read),
    "kb_write": ("ii", "i", _kb_write),
    "model_complete": ("iiiiii", "i", _model_complete),
    "resolve_secret": ("ii", "i", _resolve_secret),
    "exec_spawn": ("ii", "i", _exec_spawn),
    "exec_spawn_capture": ("iiiiii", "i", _exec_capture),
    "notify_ready": ("", "", lambda _memory: None),
    "mailbox_peek_meta": ("ii", "i", _mailbox_peek_meta),
    "mailbox_recv": ("ii", "i", _mailbox_recv),
    "call": ("iiii", "i", _call),
    "take": ("ii", "i", _take),
}


def define_all(linker: wasmtime.Linker) -> None:
    """Define the import module."""
    for name, (parameters, results, handler) in FUNCTIONS.items():
        define(linker, MODULE, name, signature(parameters, results), handler)
