"""The one table of hostcalls: name, class, capability, strict arguments, and what it is for.

Everything else (docs/effects.md, the argument check before any effect, the classes in records) is derived from it.
Classes: contracts section 2. Arguments and results: ADR 1.
"""

from __future__ import annotations

import json
from dataclasses import field
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn

from runloop.dataclass import dataclass
from runloop.effects.types import CallError, CallErrorKind, EffectClass, invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

Json = dict[str, Any]

READ_METHODS = frozenset({"GET", "HEAD"})
MAX_TEXT = 1_048_576
MAX_ARGS_BYTES = 8 * 1_048_576  # the body limit of one RMP frame; spec section 3.1
MAX_DEPTH = 64  # as the envelope's payload; architecture section 4
MAX_WAIT_MS = 31 * 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Effect:
    """One hostcall; ``actions`` are the names that approvals know it by."""

    name: str
    klass: EffectClass
    capability: str
    summary: str
    args_schema: Json
    result: str
    actions: tuple[str, ...] = field(default=())

    @property
    def waiting(self) -> bool:
        """Whether the guest may be dropped from memory until the answer comes."""
        return self.klass is EffectClass.WAITING

    @property
    def live(self) -> bool:
        """Whether the call only informs and never fails the guest."""
        return self.klass is EffectClass.LIVE


def _text(max_length: int = MAX_TEXT, min_length: int = 0) -> Json:
    return {"type": "string", "minLength": min_length, "maxLength": max_length}


def _name(max_length: int = 200) -> Json:
    return _text(max_length, 1)


def _int(low: int, high: int, default: int | None = None) -> Json:
    bounds: Json = {"type": "integer", "minimum": low, "maximum": high}
    return bounds if default is None else bounds | {"default": default}


def _list(items: Json, high: int, low: int = 0) -> Json:
    return {"type": "array", "items": items, "minItems": low, "maxItems": high}


def _args(required: Json | None = None, **optional: Json) -> Json:
    required = required or {}
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": sorted(required),
        "additionalProperties": False,
    }


_PERSON = _args({"email": _text(320, 3)}, name=_text(200))
_SOURCE = _args(event_id=_int(1, 2**53 - 1), path=_text(4096), line=_int(1, 2**31 - 1))
_JSON: Json = {}

_V, _R, _I, _X, _W, _L = (
    EffectClass.VIRTUAL,
    EffectClass.READ,
    EffectClass.IDEMPOTENT,
    EffectClass.EXTERNAL,
    EffectClass.WAITING,
    EffectClass.LIVE,
)

_TABLE = (
    Effect("time.now", _V, "none", "The run's own clock, in milliseconds; it moves only when a call is answered.", _args(), "ms"),
    Effect("random.bytes", _V, "none", "Random bytes derived from the run's seed.", _args({"count": _int(1, 65_536)}), "bytes"),
    Effect(
        "model.complete", _I, "model", "Complete a prompt with the configured model.",
        _args(
            {"prompt": _text(min_length=1)}, system=_text(), model=_name(), max_tokens=_int(1, 1_000_000),
            temperature={"type": "number", "minimum": 0, "maximum": 2}, stop=_list(_name(), 8), context=_JSON,
        ),
        "text, reasoning (where the provider tells), tokens_in, tokens_out, usd, provider, model, finish_reason, cached",
        actions=("model.complete",),
    ),
    Effect(
        "model.embed", _I, "model", "Turn texts into vectors with the configured embedding model.",
        _args({"texts": _list(_text(min_length=1), 256, 1)}, model=_name()), "vectors, model, tokens_in", actions=("model.complete",),
    ),
    Effect(
        "kb.search", _R, "kb_read", "Search the knowledge base; hits name the event, file and line they come from.",
        _args({"query": _text(10_000, 1)}, domains=_list(_name(), 32), limit=_int(1, 200, 10)),
        "hits: [{domain, key, title, excerpt, event_id, path, line, score, data}]",
    ),
    Effect("kb.get", _R, "kb_read", "One entity of the knowledge base by its key, or null.", _args({"key": _name(1000)}),
           "{domain, key, title, data, event_id} or null"),
    Effect(
        "kb.query", _R, "kb_read", "One read-only SELECT over the masked tables (`rlp kb tables`); needs the domain `query`.",
        _args({"sql": _text(20_000, 1)}, limit=_int(1, 1000, 100)), "columns, rows: [{column: value}], truncated",
    ),
    Effect(
        "kb.propose", _I, "kb_write", "Add a fact to the ledger, with the events that support it; `fact.remembered` is of domain `facts`.",
        _args({"kind": _name(), "payload": {"type": "object"}}, evidence=_list(_int(1, 2**53 - 1), 256), rationale=_text(10_000)),
        "event_id", actions=("kb.propose",),
    ),
    Effect(
        "http.fetch", _X, "net", "Fetch a URL of an allowed host; GET and HEAD are reads, every other method sends and asks.",
        _args(
            {"url": _text(8192, 8)}, method={"enum": ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"], "default": "GET"},
            headers={"type": "object", "additionalProperties": _text(8192), "maxProperties": 64}, body=_text(),
            timeout_ms=_int(1, 300_000, 30_000), max_bytes=_int(1, MAX_ARGS_BYTES, 1_048_576),
        ),
        "status, headers (names in small letters; of several set-cookie each is a line), body, encoding (text or base64), url, truncated",
        actions=("http.send",),
    ),
    Effect(
        "files.read", _R, "fs",
        "Read a UTF-8 text file under a granted root, at most `max_bytes` of it, from byte `offset` on (negative: from the end).",
        _args({"path": _name(4096)}, max_bytes=_int(1, MAX_ARGS_BYTES, 1_048_576), offset=_int(-(2**53 - 1), 2**53 - 1)),
        "text, path, bytes, blake3, truncated, offset (where the text begins), size (of the whole file)",
    ),
    Effect(
        "files.list", _R, "fs",
        "List a directory under a granted root, or its names that match `glob`, at most `limit` of them.",
        _args({"path": _name(4096)}, glob=_name(), limit=_int(1, 10_000, 1000)),
        "entries: [{path, kind (file, directory, link or other), bytes, mtime_ms}], truncated",
    ),
    Effect("files.write", _X, "fs_rw", "Write a text file under a granted root; the previous content is kept.",
           _args({"path": _name(4096), "text": _text(4 * MAX_TEXT)}), "path, bytes, blake3, previous", actions=("files.write",)),
    Effect(
        "exec.run", _X, "exec", "Run a program (no shell), with limits, in a directory of its own or one under a granted root.",
        _args({"argv": _list(_text(65_536), 256, 1)}, cwd=_name(4096), stdin=_text(), timeout_ms=_int(1, 600_000, 30_000)),
        "exit_code (minus the number of a signal), signal, stdout, stderr, timed_out, truncated", actions=("exec.run",),
    ),
    Effect(
        "mail.send", _X, "mail", "Put a message into the outbox, or send it over SMTP where that is configured.",
        _args(
            {"to": _list(_PERSON, 50, 1), "subject": _text(900, 1), "text": _text(min_length=1)},
            cc=_list(_PERSON, 50), in_reply_to=_text(900, 3),
        ),
        "message_id, status, path, recipients, from, identity (configured or local), repeated, same_content",
        actions=("mail.outbox", "mail.smtp"),
    ),
    Effect(
        "ask.person", _W, "ask", "Ask the person at the terminal.",
        _args({"question": _text(10_000, 1)}, options=_list(_name(500), 50), default=_text(10_000), detail=_text(),
              timeout_ms=_int(1, MAX_WAIT_MS)),
        "answer, by",
    ),
    Effect("secrets.handle", _V, "secrets", "An opaque handle for a secret; its value is put in at the edge of the host.",
           _args({"name": _name()}), "handle"),
    Effect("spawn.agent", _W, "spawn", "Run another agent as a child run.", _args({"name": _name()}, **{"with": {"type": "object"}}),
           "outputs, run_id, status (succeeded or failed); code and reason of a failure"),
    Effect("spawn.opening", _W, "spawn", "Run another opening as a child run.", _args({"name": _name()}, params={"type": "object"}),
           "outputs, run_id, status (succeeded or failed); code and reason of a failure"),
    Effect("timer.sleep", _W, "time", "Wait; a replay does not.", _args({"ms": _int(0, MAX_WAIT_MS)}), "{}"),
    Effect("emit.progress", _L, "none", "Tell the person how far the work is.",
           _args({"text": _text(2000)}, fraction={"type": "number", "minimum": 0, "maximum": 1}), "{}"),
    Effect("emit.log", _L, "none", "Write a line to the run's log.",
           _args({"level": {"enum": ["debug", "info", "warn", "error"]}, "text": _text(16_384)}), "{}"),
    Effect(
        "emit.artifact", _I, "none", "Keep a text as an artifact of the run, with its sources.",
        _args({"name": _name(), "text": _text(4 * MAX_TEXT)},
              kind=_name(64) | {"default": "text"}, summary=_text(2000), sources=_list(_SOURCE, 256)),
        "path, blake3, sha256, event_id",
    ),
    Effect("checkpoint.mark", _I, "none", "Name this place of the run, for people and for forks.", _args({"label": _name()}), "{}"),
)  # fmt: skip

CATALOGUE: Mapping[str, Effect] = {effect.name: effect for effect in _TABLE}


def effect_named(name: str) -> Effect:
    """The hostcall of that name. Raises :class:`CallError` (invalid) with the nearest name."""
    found = CATALOGUE.get(name)
    if found is None:
        from runloop.nearest import nearest

        near = nearest(name, CATALOGUE)
        hint = f"did you mean {near}?" if near else f"hostcalls are: {', '.join(CATALOGUE)}"
        raise CallError(CallErrorKind.INVALID, f"there is no hostcall {name[:80]!r}", code="call.unknown", hint=hint)
    return found


def class_of(name: str, args: Mapping[str, Any] | None) -> EffectClass:
    """What repeating such a call would mean, where nobody prepares it; None for arguments that cannot be read."""
    effect = CATALOGUE.get(name)
    if effect is None or (name == "http.fetch" and args is not None and args.get("method", "GET") in READ_METHODS):
        return EffectClass.READ
    return effect.klass


def decode_args(name: str, args_json: str) -> Json:
    """The checked arguments of a call from the guest's JSON.

    Raises:
        CallError: ``invalid`` for text that is too long or too deep, is not one JSON object, repeats a key, or breaks the schema.

    """
    if len(args_json) > MAX_ARGS_BYTES:
        raise CallError(
            CallErrorKind.INVALID,
            f"{name}: the arguments have {len(args_json)} characters, more than {MAX_ARGS_BYTES}",
            code="call.args_too_large",
            hint="send less at once",
        )
    try:
        args = json.loads(args_json, parse_constant=_no_constant, object_pairs_hook=_unique_keys)
    except RecursionError:
        raise _bad_json(name, "it is nested too deeply") from None
    except ValueError as error:
        raise _bad_json(name, str(error)) from None
    validate(name, args)
    return args  # type: ignore[no-any-return]  # validate() has made sure that it is an object


def validate(name: str, args: Any) -> None:
    """Check arguments against the call's schema, before anything else looks at them. Raises :class:`CallError` (invalid)."""
    schema_of = effect_named(name)
    _check_text(name, args, depth=0)
    error = next(iter(sorted(_validator(schema_of.name).iter_errors(args), key=lambda found: len(found.absolute_path))), None)
    if error is not None:
        raise _schema_error(schema_of, error)


def prepare() -> None:
    """Make now what checks arguments: else the first call of a process waits 40 ms for it. Safe on any thread."""
    for name in CATALOGUE:
        _validator(name)


@cache
def _validator(name: str) -> Validator:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(CATALOGUE[name].args_schema)


def _schema_error(effect: Effect, error: ValidationError) -> CallError:
    key = ".".join(str(part) for part in error.absolute_path) or "(arguments)"
    properties: Json = effect.args_schema["properties"]
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        allowed: Json = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
        extra = next((found for found in error.instance if found not in allowed), "")
        return invalid(
            f"{effect.name} takes no argument {extra[:80]!r}",
            key=extra[:80],
            hint=f"it takes: {', '.join(allowed) or 'none'}",
            code="call.unknown_argument",
        )
    message = error.message if len(error.message) <= 300 else f"the value breaks the rule {error.validator}: {error.validator_value}"[:300]
    return invalid(f"{effect.name}: {key}: {message}", key=key, hint=f"arguments: {', '.join(properties) or 'none'}; see docs/effects.md")


def _check_text(name: str, value: Any, depth: int) -> None:
    """Refuse what could not be stored: lone surrogates (not UTF-8) and nesting beyond the limit of a frame."""
    if depth > MAX_DEPTH:
        raise _bad_json(name, f"it is nested more than {MAX_DEPTH} deep")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise invalid(f"{name}: a text holds half a surrogate pair", key="text", hint="send well-formed Unicode") from None
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_text(name, key, depth)
            _check_text(name, item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check_text(name, item, depth + 1)


def _bad_json(name: str, why: str) -> CallError:
    return CallError(
        CallErrorKind.INVALID, f"{name}: the arguments are not one JSON object: {why}", code="call.bad_json", hint="send an object"
    )


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _unique_keys(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found
