"""From the bytes of a ``meta`` to who gets the frame. Both steps are remembered, so that a frame like the one before costs two look-ups."""

from __future__ import annotations

from typing import Final

from runloop.bus.acl import DROPS, INBOX, Acl
from runloop.bus.counters import TopicCounts
from runloop.bus.errors import bad
from runloop.bus.subscription import DURABLE, SUB, Subscription
from runloop.bus.topic import Plan, Routing, Topic, checked_reply_to
from runloop.bus.topics import TopicIndex, check_topic
from runloop.rmp.scan import read_meta_bytes

_METAS: Final = 4096
_TOPICS: Final = 1024
_META_BYTES: Final = 64 * 1024
_KEPT_BYTES: Final = 1024
"""Of a ``meta`` that is remembered: of most it is all, and what nobody reads in others is not kept when their sender has gone."""
_INBOX_LEVELS: Final = tuple(INBOX.split("/"))


class Routes:
    """The topics in use, the subscriptions to them, and the topics that the hosting process serves itself."""

    __slots__ = ("_acl", "_most", "folded", "handlers", "index", "metas", "topics")

    def __init__(self, acl: Acl) -> None:
        self._acl = acl
        self.index: TopicIndex[Subscription] = TopicIndex()
        self.handlers: dict[str, bool] = {}
        """The topics that are served, and whether who asks there has to say where the answer goes."""
        self.topics: dict[str, Topic] = {}
        self.metas: dict[bytes, Routing] = {}
        """Only what says nothing but where to publish; may be looked into directly."""
        self._most = _TOPICS
        self.folded = TopicCounts()
        """The counts of topics that were forgotten."""

    def serve(self, topic: str, *, answered: bool = False) -> None:
        """From now on frames of this topic go to a handler too; ``answered`` says that those without a ``reply_to`` are refused."""
        self.handlers[check_topic(topic)] = answered
        self.index.generation += 1

    def topic(self, name: str) -> Topic:
        """The state of a checked topic."""
        found = self.topics.get(name)
        if found is None:
            if len(self.topics) >= self._most:
                self._fold()
            found = self.topics[name] = Topic(name, self._acl.publishers(name), self._acl.publishing_agent(name))
        return found

    def _fold(self) -> None:
        """Count topics in which nothing waits together, and forget them; what a durable subscription follows stays."""
        for name, topic in list(self.topics.items()):
            if not topic.counts.queued and not any(sub.session.subs.get(sub.sub) is sub for sub in topic.plan.durable):
                self.folded.add(topic.counts)
                del self.topics[name]
        self.metas.clear()
        self._most = max(_TOPICS, 2 * len(self.topics))  # so that looking at all of them stays rare where few can go

    def routing(self, packed: bytes) -> Routing:
        """What a ``meta`` asks for; raises BodyDecodeError or BadFrame."""
        known = self.metas.get(packed)
        if known is not None:
            return known
        if len(packed) > _META_BYTES:
            raise bad(
                f"meta has {len(packed)} bytes; the limit is {_META_BYTES}", key="meta", hint="what is large belongs into the payload"
            )
        meta = read_meta_bytes(packed)
        ack, seq = meta.get("ack", False), meta.get("seq")
        if not isinstance(ack, bool):
            raise bad("meta.ack is not true or false", key="meta.ack", hint="true asks for an acknowledgement")
        if seq is not None and (not isinstance(seq, int) or isinstance(seq, bool) or seq < 1):
            raise bad("meta.seq is not a positive integer", key="meta.seq", hint="records count from 1")
        if SUB in meta:
            raise bad("meta.sub is set by the bus", key="meta.sub", hint="leave it out")
        topic = None if meta.get("topic") is None else self.topic(check_topic(meta["topic"]))
        routing = Routing(topic, ack, checked_reply_to(meta), seq)
        asks = ack or routing.reply_to is not None or seq is not None
        if topic is not None and not asks and not topic.name.startswith(INBOX) and len(packed) <= _KEPT_BYTES:
            if len(self.metas) >= _METAS:
                self.metas.clear()
            self.metas[packed] = routing
        return routing

    def plan(self, topic: Topic) -> Plan:
        """Who gets the frames of a topic, matched against the subscriptions as they are now."""
        if topic.plan.generation == self.index.generation:
            return topic.plan
        name = topic.name
        found = [sub for sub in self.index.match(name) if self._may_receive(sub, name)]
        of_session: dict[str, int] = {}
        for sub in found:
            of_session[sub.session.id] = of_session.get(sub.session.id, 0) + 1
        durable = tuple(sub for sub in found if sub.klass == DURABLE)
        plain = tuple(sub for sub in found if sub.klass != DURABLE and of_session[sub.session.id] == 1)
        tagged = tuple(sub for sub in found if sub.klass != DURABLE and of_session[sub.session.id] > 1)
        # Notices are many messages with one trace, and a reply goes to one inbox once: neither is looked up.
        unique = not name.startswith((DROPS, INBOX))
        windows = tuple({id(sub.window): sub.window for sub in plain + tagged}.values()) if unique else ()
        handler = name if name in self.handlers else None
        simple = not tagged and not durable and handler is None
        shared = frozenset(sub for sub in durable if of_session[sub.session.id] > 1)
        topic.plan = Plan(self.index.generation, plain, tagged, durable, windows, handler, simple, shared)
        return topic.plan

    def _may_receive(self, sub: Subscription, name: str) -> bool:
        """An inbox is for the owner's own subscription to it: what a pattern matches must not depend on whose it is."""
        if name.startswith(INBOX + "/"):
            return sub.pattern[:2] == _INBOX_LEVELS and name.split("/")[2] == sub.session.id
        return self._acl.may_receive(sub.session.role, sub.session.id, name, sub.session.agent)
