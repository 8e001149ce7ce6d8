"""The session frames (schema ids 16 to 24): their payloads as typed values, checked when read. docs/protocol.md is their published form."""

from __future__ import annotations

from typing import Any, Final

from runloop.bus.acl import ROLES
from runloop.bus.errors import bad
from runloop.bus.subscription import CLASSES, DURABLE, REALTIME
from runloop.bus.topics import check_pattern
from runloop.dataclass import dataclass
from runloop.rmp import Envelope, encode_frame

HELLO: Final = "intent.bus.hello.v1"
WELCOME: Final = "toolresult.bus.welcome.v1"
SUBSCRIBE: Final = "intent.bus.subscribe.v1"
UNSUBSCRIBE: Final = "intent.bus.unsubscribe.v1"
ACK: Final = "toolresult.bus.ack.v1"
CREDIT: Final = "intent.bus.credit.v1"
PING: Final = "observation.bus.ping.v1"
PONG: Final = "observation.bus.pong.v1"
GOODBYE: Final = "error.bus.goodbye.v1"

FIRST_ID: Final = 16
LAST_ID: Final = 24
_I53: Final = 2**53 - 1
_NAME_CHARACTERS: Final = 128
_TOKEN_CHARACTERS: Final = 512


@dataclass(frozen=True, slots=True)
class Hello:
    """Who connects. ``resume`` is the key of this client's session before, which ends if it still exists."""

    role: str
    name: str
    version: str
    token: str | None = None
    resume: str | None = None

    def payload(self) -> dict[str, Any]:
        """As sent."""
        return _without_none(role=self.role, name=self.name, version=self.version, token=self.token, resume=self.resume)


@dataclass(frozen=True, slots=True)
class Subscribe:
    """A subscription under the connection's own number ``sub``; bounds of None are the server's."""

    sub: int
    pattern: str
    klass: str = REALTIME
    from_seq: int | None = None
    max_messages: int | None = None
    max_bytes: int | None = None

    def payload(self) -> dict[str, Any]:
        """As sent: the key of the class is ``class``."""
        bounds = _without_none(from_seq=self.from_seq, max_messages=self.max_messages, max_bytes=self.max_bytes)
        return {"sub": self.sub, "pattern": self.pattern, "class": self.klass, **bounds}


@dataclass(frozen=True, slots=True)
class Credit:
    """Room for so much more of a subscription."""

    sub: int
    messages: int
    bytes: int

    def payload(self) -> dict[str, Any]:
        """As sent."""
        return {"sub": self.sub, "messages": self.messages, "bytes": self.bytes}


def read_hello(payload: Any) -> Hello:
    """Raises BadFrame."""
    fields = _map(payload, "hello")
    role = _text(fields, "role", 16)
    if role not in ROLES:
        raise bad(f"there is no role {role!r}", key="role", hint=f"use one of {', '.join(ROLES)}")
    return Hello(
        role,
        _text(fields, "name", _NAME_CHARACTERS),
        _text(fields, "version", _NAME_CHARACTERS),
        _text(fields, "token", _TOKEN_CHARACTERS) if fields.get("token") is not None else None,
        _text(fields, "resume", _NAME_CHARACTERS) if fields.get("resume") is not None else None,
    )


def read_subscribe(payload: Any) -> Subscribe:
    """Raises BadFrame; the pattern is checked, the bounds are only known to be positive."""
    fields = _map(payload, "subscribe")
    pattern = "/".join(check_pattern(fields.get("pattern")))
    klass = REALTIME if fields.get("class") is None else _text(fields, "class", 16)
    if klass not in CLASSES:
        raise bad(f"there is no class {klass!r}", key="class", hint=f"use one of {', '.join(CLASSES)}")
    from_seq = _optional_int(fields, "from_seq", 0)
    if from_seq is not None and klass != DURABLE:
        raise bad(f"from_seq with class {klass}", key="from_seq", hint="only class durable has sequence numbers")
    if klass == DURABLE and "*" in pattern:
        raise bad("a durable subscription to a pattern", key="pattern", hint="name one topic: each topic has its own sequence numbers")
    return Subscribe(
        _int(fields, "sub", 0), pattern, klass, from_seq, _optional_int(fields, "max_messages", 1), _optional_int(fields, "max_bytes", 1)
    )


def read_unsubscribe(payload: Any) -> int:
    """The number of the subscription; raises BadFrame."""
    return _int(_map(payload, "unsubscribe"), "sub", 0)


def read_credit(payload: Any) -> Credit:
    """Raises BadFrame."""
    fields = _map(payload, "credit")
    return Credit(_int(fields, "sub", 0), _int(fields, "messages", 0), _int(fields, "bytes", 0))


def encode(type_: str, payload: Any, *, msg_id: int, now_ms: int, trace_id: int = 0) -> bytes:
    """A session frame."""
    return encode_frame(Envelope(type_, payload), trace_id=trace_id, msg_id=msg_id, created_at_ms=now_ms)


def _map(payload: Any, what: str) -> dict[str, Any]:
    if not isinstance(payload, dict):
        raise bad(f"the payload of {what} is not a map", key="payload", hint="docs/protocol.md lists its keys")
    return payload


def _text(fields: dict[str, Any], key: str, most: int) -> str:
    value = fields.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= most:
        raise bad(f"{key} is not a string of 1 to {most} characters", key=key, hint="docs/protocol.md lists the keys")
    return value


def _int(fields: dict[str, Any], key: str, least: int) -> int:
    value = fields.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _I53:
        raise bad(f"{key} is not an integer from {least} to 2^53 - 1", key=key, hint="docs/protocol.md lists the keys")
    return value


def _optional_int(fields: dict[str, Any], key: str, least: int) -> int | None:
    return None if fields.get(key) is None else _int(fields, key, least)


def _without_none(**fields: Any) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}
