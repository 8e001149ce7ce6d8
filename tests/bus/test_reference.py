"""The bus a second time, frame by frame, as docs/protocol.md says it: who gets what, in which order, and what is told of the rest."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st
from tests_bus_helpers import GENERIC

from runloop.bus import frames

TOPICS = ("t/a", "t/a/b", "t/b")
PATTERNS = ("t/a", "t/a/b", "t/*", "t/**", "t/**", "*/*/b", "t/a/**")
DROPS = "rlp/sys/drops"


def covers(pattern: list[str], topic: list[str]) -> bool:
    if not pattern or not topic:
        return not pattern and not topic
    return pattern == ["**"] or (pattern[0] in ("*", topic[0]) and covers(pattern[1:], topic[1:]))


@dataclass(frozen=True)
class Copy:
    topic: str
    number: int
    size: int
    expires: int
    tagged: bool
    batch: bool


@dataclass
class Sub:
    number: int
    pattern: str
    klass: str
    most: int
    most_bytes: int
    queue: deque[Copy] = field(default_factory=deque)
    seen: dict[int, int] = field(default_factory=dict)
    taken: int = 0

    def __post_init__(self) -> None:
        self.credit, self.credit_bytes = self.most, self.most_bytes

    def matches(self, topic: str) -> bool:
        return covers(self.pattern.split("/"), topic.split("/"))

    @property
    def size(self) -> int:
        return sum(copy.size for copy in self.queue)

    def put(self, copy: Copy, now: int) -> tuple[str, list[Copy]]:
        """Let it wait; why and what is dropped for it."""
        if not self.queue:
            self.taken = now
        stalled = self.stalled(now)
        self.queue.append(copy)
        lost = []
        if self.over(self.most, self.most_bytes):
            part = 3 if stalled and self.klass == "realtime" and copy.size <= self.most_bytes else 4
            while self.over(self.most * part // 4, self.most_bytes * part // 4) and not (self.klass == "batched" and lost):
                lost.append(self.queue.pop() if self.klass == "batched" else self.queue.popleft())
        return "backpressure_timeout" if stalled else "overflow", lost

    def stalled(self, now: int) -> bool:
        return bool(self.queue) and now - self.taken >= 50

    def over(self, most: int, most_bytes: int) -> bool:
        return len(self.queue) > 1 and (len(self.queue) > most or self.size > most_bytes)

    def take(self, now: int, tag: int) -> tuple[list[Copy], list[Copy]]:
        """What is sent, and what expired."""
        sent, late = [], []
        batched = self.klass == "batched"
        while self.queue and not (batched and not sent and not late and min(self.credit, self.credit_bytes) <= 0):
            if self.queue[0].expires <= now:
                late.append(self.queue.popleft())
                continue
            if batched and min(self.credit, self.credit_bytes) <= 0:
                break
            copy = self.queue.popleft()
            self.credit -= 1
            self.credit_bytes -= copy.size + copy.tagged * tag
            sent.append(copy)
        self.taken = now if sent or late else self.taken
        return sent, late


class Bus:
    """What should be, beside a rig that shows what is."""

    def __init__(self, rig) -> None:
        self.rig = rig
        self.readers = {name: rig.joined(name) for name in ("r0", "r1")}
        self.subs: dict[str, dict[int, Sub]] = {name: {} for name in self.readers}
        self.writer, self.watcher = rig.joined("w"), rig.joined("d")
        rig.subscribe(self.watcher, DROPS, max_messages=10_000)
        self.count, self.delivered, self.lost, self.told = 0, Counter(), Counter(), Counter()

    def subscribe(self, name: str, number: int, pattern: str, klass: str, most: int, most_bytes: int) -> None:
        self.rig.say(self.readers[name], frames.SUBSCRIBE, frames.Subscribe(number, pattern, klass, None, most, most_bytes).payload())
        mine = self.subs[name]
        if number in mine:
            return
        new = mine[number] = Sub(number, pattern, klass, most, most_bytes)
        for sub in mine.values():
            sub.queue = deque(replace(copy, tagged=copy.tagged or new.matches(copy.topic)) for copy in sub.queue)

    def unsubscribe(self, name: str, number: int) -> None:
        self.rig.say(self.readers[name], frames.UNSUBSCRIBE, {"sub": number})
        if sub := self.subs[name].pop(number, None):
            self.lost.update((copy.topic, "closed") for copy in sub.queue)

    def publish(self, topic: str, msg_id: int, ttl: int, size: int, *, together: int) -> None:
        """So many frames in one reading. Who has stalled loses such frames in batches, not one by one, and reads before."""
        for name, mine in self.subs.items():
            for sub in mine.values():
                if sub.stalled(self.rig.now) and (together > 1 or any(copy.batch for copy in sub.queue)):
                    self.read(name)
        raws = []
        for ahead in range(together):
            self.count += 1
            number = msg_id + ahead if msg_id < 5 else 1000 + self.count
            raw = self.rig.frame(GENERIC, [self.count, b"x" * size], meta={"topic": topic, "ack": together == 1}, msg_id=number, ttl_ms=ttl)
            raws.append(raw)
            for mine in self.subs.values():
                matching = [sub for sub in mine.values() if sub.matches(topic)]
                for sub in matching:
                    copy = Copy(topic, self.count, len(raw), self.rig.now + ttl, tagged=len(matching) > 1, batch=together > 1)
                    repeated = sub.seen.get(number, -30_000) > self.rig.now - 30_000
                    sub.seen[number] = self.rig.now
                    why, lost = ("duplicate", [copy]) if repeated else sub.put(copy, self.rig.now)
                    self.lost.update((each.topic, why) for each in lost)
        self.rig.raw(self.writer, b"".join(raws))
        if together == 1:
            (ack,) = self.rig.payloads(self.writer)
            assert ack["matched"] == sum(sub.matches(topic) for mine in self.subs.values() for sub in mine.values())

    def expired(self, topic: str) -> None:
        self.rig.now += 10
        raw = self.rig.frame(GENERIC, 0, meta={"topic": topic}, ttl_ms=10)
        self.rig.now += 10
        self.rig.raw(self.writer, raw)
        (ack,) = self.rig.payloads(self.writer)
        assert ack["error"]["code"] == "rmp.expired"
        matched = sum(sub.matches(topic) for mine in self.subs.values() for sub in mine.values())
        self.lost[topic, "ttl_expired"] += matched
        self.told[topic, "ttl_expired"] += not matched

    def credit(self, name: str, number: int, messages: int, size: int) -> None:
        self.rig.say(self.readers[name], frames.CREDIT, {"sub": number, "messages": messages, "bytes": size})
        if sub := self.subs[name].get(number):
            sub.credit, sub.credit_bytes = min(sub.most, sub.credit + messages), min(sub.most_bytes, sub.credit_bytes + size)

    def read(self, name: str) -> None:
        """All that can be sent; what has gathered for 10 ms is sent."""
        self.rig.tick(10)
        got = [frame for frame in self.rig.read(self.readers[name]) if frame.type == GENERIC]
        for sub in self.subs[name].values():
            sent, late = sub.take(self.rig.now, len(b"\xa3sub") + 1)
            self.lost.update((copy.topic, "ttl_expired") for copy in late)
            self.delivered.update(copy.topic for copy in sent)
            mine = {copy.number for copy in sent if not copy.tagged}
            found = [
                frame
                for frame in got
                if frame.meta.get("sub") == sub.number or ("sub" not in frame.meta and frame.envelope.payload[0] in mine)
            ]
            assert [(frame.envelope.payload[0], "sub" in frame.meta) for frame in found] == [(copy.number, copy.tagged) for copy in sent]
            got = [frame for frame in got if frame not in found]
        assert got == []

    def leave(self, name: str) -> None:
        self.rig.broker.disconnect(self.readers[name])
        for number in list(self.subs[name]):
            self.lost.update((copy.topic, "closed") for copy in self.subs[name].pop(number).queue)
        self.count += 1
        self.readers[name] = self.rig.joined(f"{name} {self.count}")

    def check(self) -> None:
        """Counts as the page has them, at every instant."""
        waiting = Counter(copy.topic for mine in self.subs.values() for sub in mine.values() for copy in sub.queue)
        for name, counts in self.rig.broker.stats().topics.items():
            if name in TOPICS:
                assert (counts.delivered, counts.queued) == (self.delivered[name], waiting[name])
                assert {why: lost for why, lost in counts.dropped.items() if lost} == {
                    why: lost for (topic, why), lost in self.lost.items() if topic == name and lost
                }
                assert counts.published == counts.delivered + sum(counts.dropped.values()) + waiting[name]


names, numbers, topics, ids = (
    st.sampled_from(["r0", "r0", "r1"]),
    st.integers(1, 3),
    st.sampled_from(TOPICS),
    st.sampled_from([0, 1, 2, 9, 9]),
)
klasses, sizes = st.sampled_from(["realtime", "batched"]), st.sampled_from([150, 500, 4096])
SUBSCRIBE = st.tuples(st.just("subscribe"), names, numbers, st.sampled_from(PATTERNS), klasses, st.integers(1, 8), sizes)
PUBLISH = st.tuples(st.just("publish"), topics, ids, st.sampled_from([20, 100, 60_000]), st.sampled_from([0, 300]), st.just(1))
TOGETHER = st.tuples(st.just("publish"), topics, ids, st.sampled_from([20, 60_000, 60_000]), st.just(0), st.integers(2, 4))
CREDIT = st.tuples(st.just("credit"), names, numbers, st.sampled_from([1, 3, 8]), st.sampled_from([0, 126, 260, 4096]))
OTHERS = st.one_of(
    st.tuples(st.just("time"), st.sampled_from([1, 50, 20_000])),
    st.tuples(st.just("time"), st.sampled_from([30, 15_000, 30_000])),
    st.tuples(st.just("expired"), topics),
    st.tuples(st.just("unsubscribe"), names, numbers),
    st.tuples(st.just("leave"), names),
    SUBSCRIBE,
)
READ = st.tuples(st.just("read"), names)
STEPS = st.lists(st.sampled_from([PUBLISH, PUBLISH, TOGETHER, READ, CREDIT, OTHERS]).flatmap(lambda step: step), min_size=20, max_size=60)


@settings(max_examples=150, deadline=None)
@given(st.lists(SUBSCRIBE, min_size=3, max_size=5), STEPS)
def test_each_subscription_gets_what_the_protocol_says_and_no_loss_is_untold(make_rig, first, steps):
    bus = Bus(make_rig(heartbeat_ms=10**9, batch_ms=10))
    told = Counter()
    for step, *rest in [*first, *steps, ("time", 1000), ("time", 1000)]:
        if step == "time":
            bus.rig.tick(*rest)
        elif step == "publish":
            bus.publish(*rest[:-1], together=rest[-1])
        else:
            getattr(bus, step)(*rest)
        bus.check()
        for frame in bus.rig.read(bus.watcher):
            notice = frame.envelope.payload
            told[notice["topic"], notice["reason"]] += notice["count"]
    assert told == bus.told + Counter({(topic, why): lost for (topic, why), lost in bus.lost.items() if why != "closed"})
