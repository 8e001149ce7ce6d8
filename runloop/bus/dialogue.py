"""The session frames: hello, subscribe, unsubscribe, credit, ping, pong; and the patience with peers that do not speak."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any, Final

from runloop.bus import frames, replay
from runloop.bus.acl import AGENT, CONTROL, INBOX, OPERATOR, agent_token
from runloop.bus.copies import tag_waiting
from runloop.bus.crowd import too_many, who_leaves
from runloop.bus.errors import LimitExceeded, NotAllowed, bad
from runloop.bus.subscription import DURABLE, REALTIME, Subscription
from runloop.bus.topics import check_pattern, check_topic
from runloop.bus.window import Window
from runloop.errors import RunloopError
from runloop.rmp import decode_frame
from runloop.rmp.registry import TYPE_OF

if TYPE_CHECKING:
    from runloop.bus.core import Broker
    from runloop.bus.session import Session
    from runloop.bus.topic import Facts

_ANSWERED: Final = frozenset({frames.SUBSCRIBE, frames.UNSUBSCRIBE})


def handle(broker: Broker, session: Session, raw: bytes, facts: Facts, now_ms: int) -> None:
    """Answer one session frame; raises what is wrong with it."""
    type_ = TYPE_OF[facts.schema_id]
    if len(raw) > broker.limits.session_frame_bytes:
        most = broker.limits.session_frame_bytes
        raise bad(f"a session frame of {len(raw)} bytes; the limit is {most}", key="payload", hint="docs/protocol.md lists what it holds")
    payload = decode_frame(raw, now_ms=None, max_body=broker.limits.max_body).envelope.payload
    if type_ == frames.HELLO:
        _hello(broker, session, payload, now_ms)
    elif not session.greeted:
        raise bad("the first frame of a connection is a hello", key="schema_id", hint="send intent.bus.hello.v1", code="bus.hello")
    elif type_ == frames.SUBSCRIBE:
        _subscribe(broker, session, payload, now_ms)
    elif type_ == frames.UNSUBSCRIBE:
        broker.end(_sub(session, frames.read_unsubscribe(payload)))
    elif type_ == frames.CREDIT:
        _credit(broker, session, payload)
    elif type_ == frames.PING:
        broker.send(session, frames.PONG, payload, now_ms)
    elif type_ == frames.GOODBYE:
        broker.goodbye(session, RunloopError("goodbye", code="bus.closed"), now_ms)
    elif type_ != frames.PONG:
        raise bad(f"{type_} is sent by the bus only", key="type", hint="docs/protocol.md says who sends what")
    if type_ in _ANSWERED:
        broker.send(session, frames.ACK, {"of": facts.msg_id, "ok": True}, now_ms)


def _hello(broker: Broker, session: Session, payload: Any, now_ms: int) -> None:
    if session.greeted:
        raise bad("a second hello", key="schema_id", hint="one hello opens a connection", code="bus.hello")
    hello = frames.read_hello(payload)
    if hello.role == OPERATOR and not _fits(broker.token, hello.token):
        hint = "send the content of the daemon's token file, or connect with the role client"
        raise NotAllowed("the role operator needs the operator token", code="bus.token", hint=hint)
    if hello.role == AGENT and hello.token is not None:
        _prove(broker, session, hello.name, hello.token, now_ms)
    if len(broker.sessions) > broker.limits.connections:
        _make_room(broker, session, now_ms, trusted=hello.role == OPERATOR or bool(session.agent))
    if hello.resume is not None:
        before = next((other for other in broker.sessions.values() if _fits(other.key, hello.resume)), None)
        if before is not None and before is not session and before.peer.uid == session.peer.uid and before.role == hello.role:
            broker.goodbye(before, RunloopError("the client went on in another connection", code="bus.resumed"), now_ms)
    session.role = hello.role
    session.peer = type(session.peer)(
        session.peer.uid, session.peer.gid, session.peer.pid, hello.role, session.id, hello.name, hello.version
    )
    welcome = {
        "session": session.key,
        "version": broker.version,
        "role": hello.role,
        "uid": session.peer.uid,
        "heartbeat_ms": broker.limits.heartbeat_ms,
        "inbox": f"{INBOX}/{session.id}",
        "limits": broker.limits.to_wire(),
    }
    broker.send(session, frames.WELCOME, welcome, now_ms)


def _make_room(broker: Broker, session: Session, now_ms: int, *, trusted: bool) -> None:
    """Where as many said hello as may be connected, one of them goes for this one. Raises LimitExceeded where that is this one."""
    most = broker.limits.connections
    greeted = [each for each in broker.sessions.values() if each.greeted and not each.closing]
    if len(greeted) < most:
        return
    goes = who_leaves(greeted, session, trusted=trusted)
    if goes is session:
        raise too_many(most)
    broker.goodbye(goes, too_many(most), now_ms)


def _prove(broker: Broker, session: Session, name: str, token: str, now_ms: int) -> None:
    """The connection is the agent of that name, and the only one: an earlier connection of it ends."""
    if "/" in check_topic(name):
        raise bad(f"{name!r} is no name of an agent", key="name", hint="one level of a topic, without slashes", code="bus.hello")
    if broker.token is None or not _fits(agent_token(broker.token, name), token):
        hint = "it is the HMAC-SHA-256 of `agent:<name>` under the operator token, in hex, as `runloop.client.agent_token` makes it"
        raise NotAllowed(f"this is not the token of the agent {name!r}", code="bus.token", hint=hint)
    for before in [other for other in broker.sessions.values() if other.agent == name]:
        broker.goodbye(before, RunloopError("the agent connected again", code="bus.resumed", hint="one connection for one name"), now_ms)
    session.agent = name


def _fits(ours: str | None, given: str | None) -> bool:
    return ours is not None and given is not None and hmac.compare_digest(ours.encode(), given.encode())


def _subscribe(broker: Broker, session: Session, payload: Any, now_ms: int) -> None:
    wanted = frames.read_subscribe(payload)
    limits = broker.limits
    if wanted.sub in session.subs:
        raise bad(f"subscription {wanted.sub} exists", key="sub", hint="count up, or unsubscribe first", code="bus.subscription")
    if len(session.subs) >= limits.subscriptions:
        raise _limit(f"{limits.subscriptions} subscriptions on one connection", "bus.subscriptions", "use patterns with * and **")
    side = broker.sides[session.trusted]
    if side.subscriptions >= limits.all_subscriptions:
        hint = "end those that nobody needs, and use patterns with * and **"
        raise _limit(f"{side.subscriptions} subscriptions on all connections", "bus.subscriptions", hint)
    messages, size = wanted.max_messages or limits.queue_messages, wanted.max_bytes or limits.queue_bytes
    if messages > limits.max_queue_messages or size > limits.max_queue_bytes:
        hint = f"ask for at most {limits.max_queue_messages} messages and {limits.max_queue_bytes} bytes"
        raise _limit(f"a queue of {messages} messages and {size} bytes", "bus.queue", hint)
    if session.reserved_bytes + size > limits.session_bytes:
        hint = f"the queues of a connection hold {limits.session_bytes} bytes together: ask for a smaller max_bytes"
        raise _limit(f"{session.reserved_bytes + size} bytes in the queues of one connection", "bus.bytes_in_flight", hint)
    if wanted.klass == DURABLE and not broker.has_ledger:
        raise bad("this bus has no ledger", key="class", hint="subscribe with class realtime", code="bus.not_durable")
    pattern = check_pattern(wanted.pattern)
    if not broker.acl.may_ever_receive(session.role, session.id, pattern, session.agent):
        hint = "connect with the role operator: the hello carries the content of the daemon's token file"
        if session.role == AGENT:
            hint = "an agent receives on agent/<its name>, once its hello proved the name with the agent's token"
        if wanted.pattern.startswith(INBOX + "/"):
            hint = "your own inbox stands in the welcome"
        raise NotAllowed(f"the role {session.role} may not receive from {wanted.pattern!r}", hint=hint)
    broker.epoch += 1
    key = (pattern, session.party)
    window = broker.windows.get(key)
    if window is None:
        window = broker.windows[key] = Window(now_ms)
    window.users += 1
    bounded = wanted.klass != REALTIME
    sub = Subscription(
        wanted.sub, session, pattern, wanted.klass, messages, size, window, broker.epoch,
        control=wanted.pattern == CONTROL or wanted.pattern.startswith(INBOX),
        credit_messages=messages if bounded else None,
        credit_bytes=size if bounded else None,
    )  # fmt: skip
    tag_waiting(session.subs.values(), pattern)
    session.subs[wanted.sub] = sub
    session.reserved_bytes += size
    side.subscriptions += 1
    broker.routes.index.add(pattern, sub)
    if wanted.klass == DURABLE:
        replay.begin(broker, sub, wanted.from_seq)


def _credit(broker: Broker, session: Session, payload: Any) -> None:
    credit = frames.read_credit(payload)
    sub = session.subs.get(credit.sub)
    if sub is None or sub.credit_messages is None:  # it crossed an unsubscribe, or means nothing for the class
        return
    sub.credit_messages = min(sub.credit_messages + credit.messages, sub.max_messages)
    sub.credit_bytes = min((sub.credit_bytes or 0) + credit.bytes, sub.max_bytes)
    if sub.sendable:
        session.schedule(sub)
        broker.touch(session)
    elif sub.klass == DURABLE:
        replay.want(broker, sub)


def _sub(session: Session, number: int) -> Subscription:
    try:
        return session.subs[number]
    except KeyError:
        raise bad(f"there is no subscription {number}", key="sub", hint="it ended, or never was", code="bus.subscription") from None


def _limit(message: str, code: str, hint: str) -> LimitExceeded:
    return LimitExceeded(f"{message} is above the limit", code=code, hint=hint)


def patience(broker: Broker, session: Session, now_ms: int, mono_ms: int) -> None:
    """End a connection that says no hello, leaves a frame half sent, or answers no ping."""
    limits = broker.limits
    if session.closing:
        return
    if session.heard:
        session.heard = False
        session.heard_ms = mono_ms
        session.pinged = 0
    if not session.buffer:
        session.frame_since_ms = None
    elif session.frame_since_ms is None:
        session.frame_since_ms = mono_ms
    if not session.greeted and mono_ms - session.opened_ms >= limits.hello_ms:
        broker.goodbye(session, _slow("no hello came", "bus.hello_timeout", limits.hello_ms), now_ms)
    elif session.frame_since_ms is not None and mono_ms - session.frame_since_ms >= limits.frame_ms:
        broker.goodbye(session, _slow("a frame did not end", "bus.frame_timeout", limits.frame_ms), now_ms)
    elif session.greeted and mono_ms - session.heard_ms >= limits.heartbeat_ms * (session.pinged + 1):
        if session.pinged >= limits.missed_heartbeats:
            broker.goodbye(session, _slow("no ping was answered", "bus.heartbeat", limits.heartbeat_ms * session.pinged), now_ms)
        else:
            session.pinged += 1
            broker.send(session, frames.PING, None, now_ms)


def _slow(message: str, code: str, after_ms: int) -> LimitExceeded:
    return LimitExceeded(f"{message} within {after_ms} ms", code=code, hint="connect again", retryable=True)
