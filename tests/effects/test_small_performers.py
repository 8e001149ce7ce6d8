"""kb.*, ask.person, timer.sleep, emit.*, checkpoint.mark and secrets.handle: rights first, then the port."""

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from blake3 import blake3

from runloop.effects.perform.artifact import EmitArtifact, artifact_filename
from runloop.effects.perform.ask import AskPerson
from runloop.effects.perform.emit import CheckpointMark, EmitLog, EmitProgress
from runloop.effects.perform.kb import KbGet, KbPropose, KbQuery, KbSearch
from runloop.effects.perform.ports import PersonAnswer, Proposal, Question
from runloop.effects.perform.secrets import (
    EnvironmentSecrets,
    KeyringSecrets,
    SecretsHandle,
    SecretStore,
    environment_name,
    handle_of,
    hide,
    substitute,
)
from runloop.effects.perform.timer import TimerSleep, WallClock
from runloop.effects.types import CallErrorKind, EffectClass
from runloop.errors import InvalidInput, RunloopError, Unavailable
from runloop.policy import Capabilities
from runloop.policy.names import NameGrants


def kb_caps(read=(), write=()):
    return Capabilities(kb_read=NameGrants(names=frozenset(read)), kb_write=NameGrants(names=frozenset(write)))


@dataclass
class Knowledge:
    entity: dict | None = None
    hits: tuple = ({"key": "k", "event_id": 1},)
    origins: dict = field(default_factory=dict)
    error: RunloopError | None = None
    asked: list = field(default_factory=list)

    async def search(self, query, domains, limit, *, raw_contacts):
        if self.error:
            raise self.error
        self.asked.append((query, tuple(domains), limit, raw_contacts))
        return list(self.hits)

    async def get(self, key, *, raw_contacts):
        if self.error:
            raise self.error
        self.asked.append((key, raw_contacts))
        return self.entity

    async def labels(self, event_ids):
        return frozenset(label for event_id in event_ids for label in self.origins.get(event_id, ()))

    async def labels_of_people(self):
        return frozenset({"http:a.example"})

    async def query(self, sql, limit):
        if self.error:
            raise self.error
        self.asked.append((sql, limit))
        return {"columns": ["n"], "rows": [{"n": 1}], "truncated": False}

    async def propose(self, proposal, ctx):
        if self.error:
            raise self.error
        self.asked.append(proposal)
        return 7


DOMAINS = ("contacts", "notes")


async def test_a_search_covers_the_granted_domains(make_ctx, crossing):
    kb = Knowledge()
    outcome = await crossing(KbSearch(kb, DOMAINS), {"query": "q"}, make_ctx(kb_caps(["notes"])))

    assert outcome.result == {"hits": [{"key": "k", "event_id": 1}]}
    assert kb.asked == [("q", ("notes",), 10, False)]


async def test_a_search_in_a_domain_that_is_not_granted_is_denied(make_ctx, refusal):
    asked = await refusal(KbSearch(Knowledge(), DOMAINS), {"query": "q", "domains": ["contacts"]}, make_ctx(kb_caps(["notes"])))
    nothing = await refusal(KbSearch(Knowledge(), DOMAINS), {"query": "q"}, make_ctx())

    assert (asked.kind, asked.code) == (CallErrorKind.DENIED, "denied.kb.read.namespace_not_permitted")
    assert nothing.code == "denied.kb.read.namespace_not_permitted"


async def test_unmasked_addresses_need_their_own_grant(make_ctx, crossing):
    kb = Knowledge()
    await crossing(KbSearch(kb, DOMAINS), {"query": "q", "limit": 2}, make_ctx(kb_caps(["contacts", "contacts_raw"])))

    assert kb.asked == [("q", ("contacts",), 2, True)]


async def test_an_entity_is_given_where_its_domain_is_granted(make_ctx, crossing, refusal):
    kb = Knowledge(entity={"domain": "contacts", "key": "k", "data": {}, "event_id": 1})

    assert (await crossing(KbGet(kb, DOMAINS), {"key": "k"}, make_ctx(kb_caps(["contacts"])))).result == kb.entity
    assert (await crossing(KbGet(Knowledge(), DOMAINS), {"key": "k"}, make_ctx(kb_caps(["contacts"])))).result is None
    assert (await crossing(KbGet(kb, DOMAINS), {"key": "k"}, make_ctx(kb_caps(["notes"])))).result is None
    assert (await refusal(KbGet(kb, DOMAINS), {"key": "k"}, make_ctx())).kind is CallErrorKind.DENIED
    assert '"notes"' in (await refusal(KbGet(kb, DOMAINS), {"key": "note:/a.md#0"}, make_ctx())).hint


@pytest.mark.parametrize(
    ("key", "domain"), [("contact:ab", "contacts"), ("event:3", "events"), ("mail:7", "messages"), ("run:0f8f", "runs")]
)
async def test_who_may_not_read_a_domain_is_not_told_what_is_in_it(make_ctx, refusal, key, domain):
    there = Knowledge({"domain": domain, "key": key, "data": {}, "event_id": 1})
    notes = make_ctx(kb_caps(["notes"]))

    said = [await refusal(KbGet(kb, (*DOMAINS, "messages", "runs")), {"key": key}, notes) for kb in (there, Knowledge())]

    assert [(each.code, f'"{domain}"' in each.hint) for each in said] == [("denied.kb.read.namespace_not_permitted", True)] * 2


async def test_sql_is_asked_where_the_domain_query_is_named(make_ctx, crossing, refusal):
    kb = Knowledge()

    outcome = await crossing(KbQuery(kb), {"sql": "SELECT 1 AS n"}, make_ctx(kb_caps(["query"])))
    denied = await refusal(KbQuery(kb), {"sql": "SELECT 1 AS n"}, make_ctx(kb_caps(["notes", "contacts"])))

    assert outcome.result == {"columns": ["n"], "rows": [{"n": 1}], "truncated": False}
    assert (kb.asked, denied.kind) == ([("SELECT 1 AS n", 100)], CallErrorKind.DENIED)


@pytest.mark.parametrize(
    ("key", "taint"),
    [
        ("message:ab", {"kb:mail"}),
        ("appointment:ab", {"kb:calendar"}),
        ("commit:ab", {"kb:git"}),
        ("note:/a.md#0", set()),
        ("command:ab", set()),
        ("mail:7", set()),
    ],
)
async def test_what_others_wrote_is_outside_content_for_whoever_reads_it(make_ctx, crossing, key, taint):
    caps = make_ctx(kb_caps(["notes", "events"]))
    kind = key.replace(":", ".").split(".")[0] + ".imported"
    found = await crossing(
        KbSearch(Knowledge(hits=({"key": "note:x", "event_id": 1}, {"key": key, "event_id": 2})), DOMAINS), {"query": "q"}, caps
    )
    got = await crossing(KbGet(Knowledge({"domain": "notes", "key": key, "data": {}, "event_id": 2}), DOMAINS), {"key": key}, caps)
    event = await crossing(
        KbGet(Knowledge({"domain": "events", "key": "event:3", "data": {"kind": kind}, "event_id": 3}), DOMAINS), {"key": "event:3"}, caps
    )
    assert (found.taint, got.taint, event.taint) == (taint, taint, taint)


async def test_what_an_agent_said_that_had_seen_something_from_outside_is_from_there_for_whoever_reads_it(make_ctx, crossing):
    origins, caps = {2: {"http:a.example", "file:/x"}, 3: {"exec:git"}}, make_ctx(kb_caps(["notes", "facts"]))
    hits = ({"key": "note:x", "event_id": 1}, {"key": "fact:2", "event_id": 2}, {"key": "message:ab", "event_id": 3})
    found = await crossing(KbSearch(Knowledge(hits=hits, origins=origins), DOMAINS), {"query": "q"}, caps)
    entity = {"domain": "facts", "key": "fact:2", "data": {}, "event_id": 2}
    got = await crossing(KbGet(Knowledge(entity, origins=origins), ("facts",)), {"key": "fact:2"}, caps)
    assert (found.taint, got.taint) == ({"http:a.example", "file:/x", "exec:git", "kb:mail"}, {"http:a.example", "file:/x"})


async def test_a_query_that_may_show_what_others_wrote_gives_outside_content(make_ctx, crossing):
    ctx = make_ctx(kb_caps(["query"]))
    queries = {
        "SELECT 1": set(),
        "SELECT text FROM notes": set(),
        'SELECT * FROM "Messages"': {"kb:query"},
        "SELECT label FROM nodes": {"kb:query"},
        "SELECT sum(usd) FROM costs": set(),
        "SELECT error FROM effects": {"kb:query"},
        "SELECT reason FROM runs": {"kb:query"},
        "SELECT value FROM facts": {"kb:query"},
        "SELECT summary FROM artifacts": {"kb:query"},
        "SELECT subject FROM mails": {"kb:query"},
        "SELECT name FROM Contacts": {"http:a.example"},
        "SELECT handle FROM accounts, runs": {"http:a.example", "kb:query"},
    }
    for sql, taint in queries.items():
        assert (await crossing(KbQuery(Knowledge()), {"sql": sql}, ctx)).taint == taint, sql


async def test_how_a_query_fails_is_outside_content_too_where_what_others_wrote_may_decide_it(make_ctx, refusal):
    ctx, broken = make_ctx(kb_caps(["query"])), Knowledge(error=InvalidInput("integer overflow", code="kb.bad_query"))
    for sql, taint in {
        "SELECT 1": set(),
        "SELECT text FROM messages": {"kb:query"},
        "SELECT name FROM contacts": {"http:a.example"},
    }.items():
        assert (await refusal(KbQuery(broken), {"sql": sql}, ctx)).taint == taint, sql


async def test_a_proposal_carries_its_evidence_and_key(make_ctx, crossing, refusal):
    kb = Knowledge()
    args = {"kind": "note.imported", "payload": {"a": 1}, "evidence": [3], "rationale": "why"}
    outcome = await crossing(KbPropose(kb), args, make_ctx(kb_caps(write=["note"])))
    denied = await refusal(KbPropose(kb), args, make_ctx(kb_caps(read=["note"])))

    assert outcome.result == {"event_id": 7}
    assert kb.asked == [Proposal("note.imported", {"a": 1}, (3,), "why", "run/n/1")]
    assert denied.code == "denied.kb.write.namespace_not_permitted"


@pytest.mark.parametrize(
    ("error", "kind"), [(InvalidInput("bad", code="kb.x"), CallErrorKind.INVALID), (Unavailable("busy"), CallErrorKind.UNAVAILABLE)]
)
async def test_what_the_knowledge_base_refuses_reaches_the_guest_as_an_error(error, kind, make_ctx, refusal):
    kb, caps = Knowledge(error=error), kb_caps(["notes", "query"], ["note"])
    for performer, args in (
        (KbSearch(kb, DOMAINS), {"query": "q"}),
        (KbGet(kb, DOMAINS), {"key": "k"}),
        (KbQuery(kb), {"sql": "SELECT 1"}),
        (KbPropose(kb), {"kind": "note.x", "payload": {}}),
    ):
        refused = await refusal(performer, args, make_ctx(caps))
        assert (refused.kind, refused.code) == (kind, error.code)


@dataclass
class Person:
    reply: PersonAnswer | None
    asked: list = field(default_factory=list)

    async def ask(self, question, ctx):
        self.asked.append(question)
        return self.reply


ASK = Capabilities(ask=True)


async def test_a_person_is_asked_with_options_default_and_a_time_that_the_nodes_does_not_shorten(make_ctx, crossing):
    person = Person(PersonAnswer("b", "operator"))
    args = {"question": "Which?", "options": ["a", "b"], "default": "a", "detail": "more", "timeout_ms": 5000}
    outcome = await crossing(AskPerson(person), args, make_ctx(ASK, deadline_ms=1_795_000_003_000))

    assert outcome.result == {"answer": "b", "by": "operator"}
    assert person.asked == [Question("Which?", ("a", "b"), "a", "more", 5000)]


async def test_a_question_that_is_taken_up_again_has_what_is_left_of_its_time(make_ctx, crossing):
    person = Person(PersonAnswer("b", "operator"))
    ctx = make_ctx(ASK)
    for passed_ms, left_ms in ((2000, 3000), (9000, 0), (-50, 5000)):
        await crossing(AskPerson(person), {"question": "Which?", "timeout_ms": 5000}, replace(ctx, asked_ms=ctx.now_ms - passed_ms))
        assert person.asked[-1].timeout_ms == left_ms


async def test_a_question_without_limits_waits(make_ctx, crossing):
    person = Person(PersonAnswer("free text", "operator"))
    await crossing(AskPerson(person), {"question": "Why?"}, make_ctx(ASK))

    assert person.asked == [Question("Why?", (), None, "", None)]


@pytest.mark.parametrize(
    ("args", "reply", "kind", "code"),
    [
        ({}, None, CallErrorKind.UNAVAILABLE, "ask.nobody"),
        ({"options": ["a", "a"]}, None, CallErrorKind.INVALID, "ask.options"),
        ({"options": ["a"], "default": "b"}, None, CallErrorKind.INVALID, "ask.default"),
        ({"options": ["a"]}, PersonAnswer("z", "operator"), CallErrorKind.INVALID, "ask.answer"),
    ],
)
async def test_a_question_that_cannot_be_asked_or_answered_is_refused(args, reply, kind, code, make_ctx, refusal):
    error = await refusal(AskPerson(Person(reply)), {"question": "?", **args}, make_ctx(ASK))

    assert (error.kind, error.code) == (kind, code)


async def test_asking_needs_its_right(make_ctx, refusal):
    assert (await refusal(AskPerson(Person(None)), {"question": "?"}, make_ctx())).code == "denied.ask.person.cap_missing"


@dataclass
class Clock:
    slept: list = field(default_factory=list)

    async def sleep(self, ms):
        self.slept.append(ms)


async def test_a_sleep_waits_through_its_clock_however_short_the_nodes_time_is(make_ctx, crossing, refusal):
    clock, caps = Clock(), Capabilities(time=True)
    outcome = await crossing(TimerSleep(clock), {"ms": 86_400_000}, make_ctx(caps, deadline_ms=1_795_000_001_000))
    denied = await refusal(TimerSleep(clock), {"ms": 1}, make_ctx())

    assert (outcome.result, clock.slept) == ({}, [86_400_000])
    assert denied.kind is CallErrorKind.DENIED


async def test_a_sleep_ends_when_it_should_though_the_machine_slept_meanwhile_and_timers_stood_still(monkeypatch):
    boot_s, slept = [100.0], []

    async def sleep(seconds):
        slept.append(seconds)
        boot_s[0] += seconds + (3600 if len(slept) == 2 else 0)

    monkeypatch.setattr("asyncio.sleep", sleep)
    clock = WallClock(lambda: boot_s[0])
    await clock.sleep(600_000)
    await clock.sleep(31_000)
    await clock.sleep(0)

    assert slept == [30, 30, 30, 1]


async def test_a_sleep_that_is_taken_up_again_lasts_what_is_left_of_it(make_ctx, crossing):
    clock, ctx = Clock(), make_ctx(Capabilities(time=True))
    for passed_ms in (400, 5000, -5):
        await crossing(TimerSleep(clock), {"ms": 1000}, replace(ctx, asked_ms=ctx.now_ms - passed_ms))

    assert clock.slept == [600, 0, 1000]


async def test_the_wall_clock_returns():
    assert await WallClock().sleep(0) is None


@dataclass
class Reporter:
    told: list = field(default_factory=list)

    async def progress(self, ctx, text, fraction):
        self.told.append(("progress", text, fraction))

    async def log(self, ctx, level, text):
        self.told.append(("log", level, text))

    async def mark(self, ctx, label):
        self.told.append(("mark", label))

    async def artifact(self, ctx, artifact):
        self.told.append(artifact)
        return 12


async def test_progress_lines_and_marks_are_told(make_ctx, crossing):
    reporter = Reporter()
    for performer, args in (
        (EmitProgress(reporter), {"text": "half", "fraction": 0.5}),
        (EmitProgress(reporter), {"text": "on"}),
        (EmitLog(reporter), {"level": "warn", "text": "odd"}),
        (CheckpointMark(reporter), {"label": "drafted"}),
    ):
        assert (await crossing(performer, args, make_ctx())).result == {}

    assert reporter.told == [("progress", "half", 0.5), ("progress", "on", None), ("log", "warn", "odd"), ("mark", "drafted")]


async def test_an_artifact_is_kept_under_its_hash_with_its_sources(tmp_path, make_ctx, crossing):
    reporter = Reporter()
    args = {"name": "Brief an Ada.md", "text": "grüß", "summary": "s", "sources": [{"event_id": 3}]}
    outcome = await crossing(EmitArtifact(tmp_path, reporter), args, make_ctx())
    again = await crossing(EmitArtifact(tmp_path, reporter), args, make_ctx())

    data = "grüß".encode()
    digest = blake3(data).hexdigest()
    path = tmp_path / f"Brief-an-Ada-{digest[:16]}.md"
    assert outcome.result == {"path": str(path), "blake3": digest, "sha256": hashlib.sha256(data).hexdigest(), "event_id": 12}
    assert again.result == outcome.result
    assert path.read_bytes() == data
    assert (reporter.told[0].kind, reporter.told[0].bytes, reporter.told[0].sources) == ("text", 6, ({"event_id": 3},))


async def test_a_damaged_or_unwritable_artifact_is_said_so(tmp_path, make_ctx, crossing, refusal):
    performer, args = EmitArtifact(tmp_path / "a", Reporter()), {"name": "x.txt", "text": "t"}
    path = Path((await crossing(performer, args, make_ctx())).result["path"])
    path.write_text("changed")
    damaged = await refusal(performer, args, make_ctx())
    (tmp_path / "b").write_text("in the way")
    unwritable = await refusal(EmitArtifact(tmp_path / "b", Reporter()), args, make_ctx())
    control = await refusal(performer, {"name": "a\nb", "text": "t"}, make_ctx())

    assert (damaged.code, unwritable.code, control.code) == ("artifact.damaged", "artifact.write", "artifact.name")
    assert path.read_text() == "changed"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.txt", "a-0123456789abcdef.txt"),
        ("../../etc/passwd", "etc-passwd-0123456789abcdef"),
        ("..", "artifact-0123456789abcdef"),
        (".bashrc", "bashrc-0123456789abcdef"),
        ("日本.md", "artifact-0123456789abcdef.md"),
        ("x" * 300 + ".eml", "x" * 80 + "-0123456789abcdef.eml"),
        ("a.b/c", "a.b-c-0123456789abcdef"),
    ],
)
def test_an_artifacts_file_name_stays_in_its_directory(name, expected):
    assert artifact_filename(name, "0123456789abcdef" * 4) == expected


async def test_a_handle_is_given_without_looking_at_the_secret(handles, make_ctx, crossing, refusal):
    ctx = make_ctx(Capabilities(secrets=frozenset({"a/b"})))
    performer = SecretsHandle(handles)
    outcome = await crossing(performer, {"name": "a/b"}, ctx)
    denied = await refusal(performer, {"name": "other"}, ctx)

    assert outcome.result == {"handle": handle_of(ctx.run_id, "a/b")}
    assert performer.prepare({"name": "a/b"}, ctx).klass is EffectClass.VIRTUAL
    assert denied.code == "denied.secrets.get.secret_not_permitted"
    assert "other" not in denied.message


def test_forgotten_handles_stand_for_nothing(handles, make_ctx):
    ctx = make_ctx(Capabilities(secrets=frozenset({"token"})))
    handle = handles.issue(ctx.run_id, "token")
    known = handles.names_in(f"a {handle} b {handle}", ctx)
    handles.forget(ctx.run_id)
    with pytest.raises(RunloopError):
        handles.names_in(handle, ctx)

    assert known == ["token"]


def test_environment_names_are_upper_snake():
    assert environment_name("runloop/models/gemini") == "RUNLOOP_MODELS_GEMINI"
    assert EnvironmentSecrets({"RUNLOOP_TEST_SECRET": "v"}).get("runloop.test-secret") == "v"
    assert EnvironmentSecrets({"exact.name": "v", "EXACT_NAME": "w"}).get("exact.name") == "v"
    assert EnvironmentSecrets({"A": ""}).get("a") is None


async def test_the_keyring_comes_first_and_the_environment_where_it_has_none(monkeypatch):
    import keyring
    from keyring.errors import NoKeyringError

    kept = {("runloop", "a"): "from-keyring"}
    monkeypatch.setattr(keyring, "get_password", lambda service, name: kept.get((service, name)))
    store = SecretStore([KeyringSecrets(), EnvironmentSecrets({"A": "from-env", "B": "from-env"})])
    found = [await store.get(name) for name in ("a", "b", "c")]

    def none(*_):
        raise NoKeyringError

    monkeypatch.setattr(keyring, "get_password", none)

    assert found == ["from-keyring", "from-env", None]
    assert await store.get("a") == "from-env"


async def test_a_keyring_that_never_answers_is_passed_over(monkeypatch):
    import threading

    from runloop.effects.perform import secrets

    released, asked = threading.Event(), []

    class Stuck:
        def get(self, secret_id):
            asked.append(secret_id)
            released.wait()

    monkeypatch.setattr(secrets, "KEYRING_TIMEOUT_S", 0.05)
    try:
        store = SecretStore([Stuck(), EnvironmentSecrets({"A": "v"})])
        assert [await store.get("a") for _ in range(20)] == ["v"] * 20
        assert asked == ["a"]  # while it owes an answer it is not asked again
        with pytest.raises(Unavailable, match="the keyring does not answer, so that nobody knows whether it has b"):
            await store.get("b")
        asking = [each for each in threading.enumerate() if each.name == "secret"]
        assert [each.daemon for each in asking] == [True]
        released.set()
        asking[0].join()
        assert (await store.get("b"), asked) == (None, ["a", "b"])  # now it is
    finally:
        released.set()


def test_values_go_in_and_come_out_longest_first():
    one, two = handle_of("r", "one"), handle_of("r", "two")
    values = {one: "abc", two: "abcdef"}

    assert substitute(f"{one}-{two}-{handle_of('r', 'three')}", values) == f"abc-abcdef-{handle_of('r', 'three')}"
    assert hide("abcdef abc", values) == f"{two} {one}"
