import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.bus.errors import BadFrame
from runloop.bus.topics import TopicIndex, check_pattern, check_topic, matches

LEVELS = st.sampled_from(["a", "b", "c"])
TOPICS = st.lists(LEVELS, min_size=1, max_size=4).map("/".join)
PATTERNS = st.tuples(st.lists(st.sampled_from(["a", "b", "*"]), max_size=3), st.sampled_from(["a", "*", "**"])).map(
    lambda parts: (*parts[0], parts[1])
)


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/b/c", False),
        ("a/*", "a/b", True),
        ("a/*", "a/b/c", False),
        ("a/*", "a", False),
        ("*/b", "a/b", True),
        ("a/**", "a/b", True),
        ("a/**", "a/b/c", True),
        ("a/**", "a", False),
        ("**", "a", True),
        ("a/*/c", "a/b/c", True),
        ("a/*/**", "a/b", False),
        ("a/*/**", "a/b/c", True),
    ],
)
def test_a_pattern_covers_as_many_levels_as_it_says(pattern, topic, expected):
    assert matches(check_pattern(pattern), topic) is expected


@given(st.lists(PATTERNS, max_size=12), TOPICS)
def test_the_index_finds_what_comparing_each_pattern_finds(patterns, topic):
    index = TopicIndex()
    for number, pattern in enumerate(patterns):
        index.add(pattern, number)
    assert sorted(index.match(topic)) == [number for number, pattern in enumerate(patterns) if matches(pattern, topic)]


@given(st.lists(PATTERNS, max_size=12), st.data())
def test_what_is_removed_is_found_no_more_and_leaves_no_nodes(patterns, data):
    index = TopicIndex()
    for number, pattern in enumerate(patterns):
        index.add(pattern, number)
    for number in data.draw(st.permutations(range(len(patterns)))):
        index.remove(patterns[number], number)
        assert number not in index.match("a/b")
    assert not index


@pytest.mark.parametrize(
    "topic", ["", "/", "a//b", "/a", "a/", "a b", "a\n", "a/\u200b", "*", "a/*", "**", "a*", "x" * 513, "/".join("a" * 33), 7, None, b"a"]
)
def test_what_is_no_topic_is_refused_with_its_key(topic):
    with pytest.raises(BadFrame) as caught:
        check_topic(topic)
    assert (caught.value.code, caught.value.where.key) == ("bus.topic", "topic")
    assert caught.value.hint


@pytest.mark.parametrize("pattern", ["", "a/**/b", "a*/b", "a/***", "**/a"])
def test_what_is_no_pattern_is_refused(pattern):
    with pytest.raises(BadFrame) as caught:
        check_pattern(pattern)
    assert caught.value.code == "bus.topic"
