"""Who receives what: people's content for operators, work for the agent that it is addressed to, and nothing by a pattern's detour."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.bus import frames
from runloop.bus.acl import ROLES, RULES, Acl, agent_token
from runloop.bus.topics import check_pattern, covers, matches, overlaps

GENERIC = "observation.generic.v1"
TOKEN = "f" * 64
LEVELS = st.sampled_from(["a", "b"])
TOPICS = st.lists(LEVELS, min_size=1, max_size=4).map("/".join)
PATTERNS = st.tuples(st.lists(st.sampled_from(["a", "b", "*"]), max_size=3), st.sampled_from(["a", "*", "**"])).map(
    lambda parts: (*parts[0], parts[1])
)
REAL = st.sampled_from(["rlp", "runs", "agents", "x", "y", "events", "agent", "*", "sys", "action.request", "runtime", "hello", "ctrl"])
REAL_PATTERNS = st.tuples(st.lists(REAL, max_size=4), st.sampled_from(["x", "events", "*", "**", "hello", "action.request"])).map(
    lambda parts: (*parts[0], parts[1])
)
EVERY_TOPIC = [
    "rlp/ctrl", "rlp/sys/drops", "rlp/runs/x/events", "rlp/runs/x", "rlp/runs/x/agents/x/y", "rlp/runs/y/agents/y/x",
    "rlp/runs/x/agents/x/y/x", "rlp/agents/x/metrics", "rlp/runtime/hello", "action.request", "action.decision", "agent/x", "agent/y",
    "agent/x/y", "x", "x/y", "events", "rlp/x",
]  # fmt: skip


def refused(rig, session, pattern, sub=9):
    rig.say(session, frames.SUBSCRIBE, frames.Subscribe(sub, pattern).payload())
    answer = rig.read(session)[-1].envelope.payload
    return None if answer["ok"] else answer["error"]


@given(PATTERNS, PATTERNS, TOPICS)
def test_a_pattern_covers_another_when_no_topic_of_that_is_missing(one, other, topic):
    if covers(one, other) and matches(other, topic):
        assert matches(one, topic)
    if matches(one, topic) and matches(other, topic):
        assert overlaps(one, other)
        assert overlaps(other, one)


@pytest.mark.parametrize(
    ("one", "other", "covered", "overlap"),
    [
        ("rlp/runs/**", "rlp/runs/*/events", True, True),
        ("rlp/runs/**", "rlp/**", False, True),
        ("a/*", "a/**", False, True),
        ("a/**", "a/**", True, True),
        ("a/**", "a", False, False),
        ("a/b", "a/*", False, True),
        ("a/*", "a/b", True, True),
        ("a/b", "a/c", False, False),
    ],
)
def test_which_patterns_cover_and_overlap(one, other, covered, overlap):
    one, other = check_pattern(one), check_pattern(other)
    assert (covers(one, other), overlaps(one, other)) == (covered, overlap)


@given(st.sampled_from(ROLES), st.sampled_from(["", "x", "y"]), REAL_PATTERNS)
def test_a_subscription_is_refused_only_where_nothing_could_ever_come(role, agent, pattern):
    acl = Acl()
    agent = agent if role == "agent" else ""
    if not acl.may_ever_receive(role, "s", pattern, agent):
        assert [topic for topic in EVERY_TOPIC if matches(pattern, topic) and acl.may_receive(role, "s", topic, agent)] == []


@pytest.mark.parametrize("role", ["client", "agent", "worker"])
@pytest.mark.parametrize(
    "pattern",
    ["rlp/runs/trace:1/events", "rlp/runs/*/events", "rlp/runs/**", "action.request", "action.decision", "agent/x", "agent/*", "agent/**"],
)
def test_what_people_wrote_is_refused_with_a_hint_to_who_is_no_operator(rig, role, pattern):
    error = refused(rig, rig.joined("c", role), pattern)
    assert error["code"] == "bus.forbidden"
    assert ("token file" if role != "agent" else "the agent's token") in error["hint"]


def test_what_people_wrote_does_not_come_through_wider_patterns_either(rig):
    reader, operator = rig.joined("c"), rig.joined("o", "operator")
    for session in (reader, operator):
        rig.subscribe(session, "**")
    for topic in ("rlp/runs/trace:1/events", "rlp/runs/run:2/events", "action.request"):
        rig.broker.publish(rig.frame(GENERIC, "private", meta={"topic": topic}), rig.now)
    rig.publish(operator, "agent/x", "private")
    rig.publish(operator, "news", "open")
    assert ([frame.envelope.payload for frame in rig.read(reader)], len(rig.read(operator))) == (["open"], 5)


def test_an_agent_receives_its_own_work_and_no_other(rig):
    mine, other, operator = rig.agent("x"), rig.agent("y"), rig.joined("o", "operator")
    for session in (mine, other):
        rig.subscribe(session, "agent/*")
        rig.subscribe(session, "**", 2)
    rig.publish(operator, "agent/x", "work")
    assert ([frame.envelope.payload for frame in rig.read(mine)], rig.read(other)) == (["work", "work"], [])
    assert refused(rig, other, "agent/x")["code"] == "bus.forbidden"


def test_a_repeated_frame_on_the_topic_of_another_agent_is_not_taken_for_a_repetition(rig):
    mine, other, operator = rig.agent("x"), rig.agent("y"), rig.joined("o", "operator")
    for session in (mine, other):
        rig.subscribe(session, "agent/*")
    rig.publish(operator, "agent/x", 1, msg_id=77)
    rig.publish(operator, "agent/y", 2, msg_id=77)
    assert (rig.payloads(mine), rig.payloads(other)) == ([1], [2])


def test_an_agent_answers_where_its_name_stands_and_nowhere_else(rig):
    mine, operator = rig.agent("x"), rig.joined("o", "operator")
    rig.subscribe(operator, "rlp/runs/*/agents/*/*")
    for topic in (
        "rlp/runs/trace:1/agents/x/u",
        "rlp/runs/trace:1/agents/y/u",
        "rlp/runs/trace:1/events",
        "agent/x",
        "agent/y",
        "action.decision",
    ):
        rig.publish(mine, topic, topic, meta={"ack": True})
    assert [answer["ok"] for answer in rig.payloads(mine)] == [True, False, False, False, False, False]
    assert rig.payloads(operator) == ["rlp/runs/trace:1/agents/x/u"]


FOREIGN = ("rlp/runs/trace:x/events", "rlp/sys/state", "action.request", "action.decision", "agent/x", "rlp/runs/x/agents/x/y")


@pytest.mark.parametrize("topic", FOREIGN)
def test_nobody_has_an_answer_published_where_publishing_is_not_allowed_to_it(rig, topic):
    rig.broker.routes.serve("rlp/ctrl")
    client = rig.joined("c")
    for asked in ("rlp/ctrl", "any/service"):
        rig.publish(client, asked, {}, meta={"reply_to": topic})
        assert [answer["error"]["code"] for answer in rig.payloads(client)] == ["bus.forbidden"]
    assert not rig.broker.calls


def test_answers_go_to_inboxes_to_free_topics_and_where_the_asker_may_publish(rig):
    rig.broker.routes.serve("rlp/ctrl")
    client, agent = rig.joined("c"), rig.agent("x")
    rig.publish(client, "rlp/ctrl", {}, meta={"reply_to": "rlp/inbox/c/1"})
    rig.publish(client, "rlp/ctrl", {}, meta={"reply_to": "news/today"})
    rig.publish(agent, "rlp/ctrl", {}, meta={"reply_to": "rlp/runs/x/agents/x/y"})
    assert [call.reply_to for call in rig.broker.calls] == ["rlp/inbox/c/1", "news/today", "rlp/runs/x/agents/x/y"]


@pytest.mark.parametrize("pattern", ["rlp/inbox/other/*", "rlp/inbox/other/**", "rlp/inbox/other/1"])
def test_the_inbox_of_somebody_else_is_refused_also_as_a_pattern(rig, pattern):
    error = refused(rig, rig.joined("c"), pattern)
    assert (error["code"], error["hint"]) == ("bus.forbidden", "your own inbox stands in the welcome")


@pytest.mark.parametrize(
    ("name", "token", "code"),
    [
        ("x", agent_token(TOKEN, "y"), "bus.token"),
        ("x", TOKEN, "bus.token"),
        ("x/y", agent_token(TOKEN, "x/y"), "bus.hello"),
        ("*", agent_token(TOKEN, "*"), "bus.topic"),
        ("a b", agent_token(TOKEN, "a b"), "bus.topic"),
    ],
)
def test_a_name_that_is_not_proved_ends_the_connection(rig, name, token, code):
    session = rig.broker.connect("s", rig.joined("p").peer, 0, rig.now)
    rig.say(session, frames.HELLO, frames.Hello("agent", name, "1", token).payload())
    assert [frame.envelope.payload["code"] for frame in rig.read(session)] == [code]


def test_the_token_of_an_agent_makes_no_operator(rig):
    session = rig.connect("s", "operator", agent_token(TOKEN, "x"))
    assert rig.payloads(session)[0]["code"] == "bus.token"


def test_a_bus_without_a_token_has_no_agents(make_rig):
    rig = make_rig()
    rig.broker.token = None
    session = rig.connect("s", "agent", agent_token("", "s"))
    assert rig.payloads(session)[0]["code"] == "bus.token"


def test_an_agent_that_connects_again_takes_the_place_of_its_connection_before(rig):
    before = rig.agent("x")
    rig.subscribe(before, "agent/x")
    other = rig.agent("y")
    rig.broker.disconnect(rig.broker.sessions["session of y"])
    after = rig.broker.connect("after", before.peer, 0, rig.now)
    rig.say(after, frames.HELLO, frames.Hello("agent", "x", "1", agent_token(TOKEN, "x")).payload())
    assert rig.payloads(before)[-1]["code"] == "bus.resumed"
    assert (after.closing, other.closed) == (False, True)


def test_every_rule_can_be_reached():
    patterns = [check_pattern(rule.pattern) for rule in RULES]
    hidden = [
        RULES[number].pattern for number, pattern in enumerate(patterns) if any(covers(before, pattern) for before in patterns[:number])
    ]
    assert hidden == []
