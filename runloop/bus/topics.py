"""Topics, patterns over them, and the index from a topic to what matches it.

A topic is levels between slashes. In a pattern ``*`` stands for one level and ``**``, only as the last, for one or more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Generic, TypeVar

from runloop.bus.errors import bad
from runloop.bus.limits import TOPIC_BYTES, TOPIC_LEVELS
from runloop.rmp.body import kind_of

ONE: Final = "*"
REST: Final = "**"
_HINT: Final = "levels between single slashes, such as `rlp/sys/drops`; `*` and `**` only in patterns"

T = TypeVar("T")


def check_topic(topic: object, key: str = "topic") -> str:
    """The topic, if one can publish on it; raises BadFrame ``bus.topic``, which names ``key``."""
    levels = _levels(topic, key)
    if ONE in levels or REST in levels:
        raise bad(f"the {key} {topic!r} has a wildcard", key=key, hint=_HINT, code="bus.topic")
    return "/".join(levels)


def check_pattern(pattern: object) -> tuple[str, ...]:
    """The levels of a pattern; raises BadFrame ``bus.topic``."""
    levels = _levels(pattern, "pattern")
    if REST in levels[:-1]:
        raise bad(
            f"the pattern {pattern!r} has ** before its end", key="pattern", hint="** stands for the rest: put it last", code="bus.topic"
        )
    return levels


def _levels(text: object, key: str) -> tuple[str, ...]:
    if not isinstance(text, str):
        raise bad(f"the {key} is not a string but {kind_of(text)}", key=key, hint=_HINT, code="bus.topic")
    levels = tuple(text.split("/"))
    if not all(levels) or not text.isprintable() or " " in text:
        raise bad(f"the {key} {text[:80]!r} has an empty level, a blank or a control character", key=key, hint=_HINT, code="bus.topic")
    if len(text) > TOPIC_BYTES or len(levels) > TOPIC_LEVELS:
        raise bad(f"the {key} is longer than {TOPIC_BYTES} characters or {TOPIC_LEVELS} levels", key=key, hint=_HINT, code="bus.topic")
    if any(ONE in level and level not in {ONE, REST} for level in levels):
        raise bad(f"the {key} {text!r} has a * inside a level", key=key, hint="a wildcard stands for a whole level", code="bus.topic")
    return levels


def matches(pattern: tuple[str, ...], topic: str) -> bool:
    """Whether the pattern covers the topic."""
    levels = topic.split("/")
    if pattern[-1] == REST:
        if len(levels) < len(pattern):
            return False
        pattern = pattern[:-1]
    elif len(levels) != len(pattern):
        return False
    return all(want in {ONE, level} for want, level in zip(pattern, levels, strict=False))


def covers(pattern: tuple[str, ...], narrower: tuple[str, ...]) -> bool:
    """Whether every topic of ``narrower``, a pattern too, is one of ``pattern``."""
    if pattern[-1] == REST:
        if len(narrower) < len(pattern):
            return False
        pattern = pattern[:-1]
    elif len(narrower) != len(pattern) or narrower[-1] == REST:
        return False
    return all(want == level or (want == ONE and level != REST) for want, level in zip(pattern, narrower, strict=False))


def overlaps(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether some topic is one of both patterns."""
    for mine, theirs in zip(one, other, strict=False):
        if REST in {mine, theirs}:
            return True
        if ONE not in {mine, theirs} and mine != theirs:
            return False
    return len(one) == len(other)


class _Node(Generic[T]):
    __slots__ = ("children", "here", "rest")

    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] = {}
        self.here: dict[T, None] = {}
        self.rest: dict[T, None] = {}

    @property
    def empty(self) -> bool:
        return not (self.children or self.here or self.rest)


class TopicIndex(Generic[T]):
    """Which values are interested in a topic; ``generation`` changes whenever an answer may, ``steps`` counts what looking costs."""

    __slots__ = ("_root", "generation", "steps")

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()
        self.generation = 0
        self.steps = 0

    def add(self, pattern: tuple[str, ...], value: T) -> None:
        """Enter a value under the levels of a pattern."""
        self.generation += 1
        node = self._root
        for level in pattern[:-1] if pattern[-1] == REST else pattern:
            node = node.children.setdefault(level, _Node())
        (node.rest if pattern[-1] == REST else node.here)[value] = None

    def remove(self, pattern: tuple[str, ...], value: T) -> None:
        """Take it out again, and the nodes that nobody needs any more."""
        self.generation += 1
        path = [self._root]
        levels = pattern[:-1] if pattern[-1] == REST else pattern
        for level in levels:
            path.append(path[-1].children[level])
        del (path[-1].rest if pattern[-1] == REST else path[-1].here)[value]
        for parent, level, node in zip(reversed(path[:-1]), reversed(levels), reversed(path[1:]), strict=True):
            if not node.empty:
                break
            del parent.children[level]

    def match(self, topic: str) -> list[T]:
        """The values whose pattern covers the topic, each once for each of its patterns."""
        return list(self._match(self._root, topic.split("/"), 0))

    def _match(self, node: _Node[T], levels: list[str], depth: int) -> Iterator[T]:
        self.steps += 1
        if depth == len(levels):
            yield from node.here
            return
        yield from node.rest
        for level in (levels[depth], ONE):
            child = node.children.get(level)
            if child is not None:
                yield from self._match(child, levels, depth + 1)

    def __bool__(self) -> bool:
        return not self._root.empty
