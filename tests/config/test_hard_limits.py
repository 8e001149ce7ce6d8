from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.config.tighten import combine

ONE, TWO = "a" * 64, "b" * 64
VALUES = {
    "min": st.none() | st.integers(0, 9),
    "any": st.booleans(),
    "all": st.booleans(),
    "intersect": st.none() | st.lists(st.sampled_from(["a", "b", "a:1", "a:2", "b:1", "c"]), unique=True, max_size=4).map(tuple),
    "union": st.lists(st.sampled_from("abcd"), unique=True, max_size=3).map(tuple),
}


def as_set(value):
    return frozenset(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("rule", VALUES)
def test_the_order_of_the_layers_does_not_matter(rule):
    @given(st.tuples(VALUES[rule], VALUES[rule], VALUES[rule]))
    def check(values):
        results = {as_set(combine(rule, combine(rule, a, b), c)) for a, b, c in permutations(values)}
        assert len(results) == 1

    check()


@pytest.mark.parametrize("rule", VALUES)
def test_a_limit_combined_with_itself_is_itself(rule):
    @given(VALUES[rule])
    def check(value):
        assert as_set(combine(rule, value, value)) == as_set(value)

    check()


def permits(allowed, host, port):
    return allowed is None or host in allowed or f"{host}:{port}" in allowed


@given(VALUES["intersect"], VALUES["intersect"], st.sampled_from("abc"), st.sampled_from("123"))
def test_a_host_is_permitted_after_combining_exactly_if_both_lists_permit_it(first, second, host, port):
    combined = combine("intersect", first, second)
    assert permits(combined, host, port) == (permits(first, host, port) and permits(second, host, port))


@pytest.mark.parametrize(
    ("system", "asked", "held"),
    [
        ("2001:db8::1", "2001:db8::1:443", ()),  # another address
        ("2001:db8::1", "[2001:db8::1]:443", ("[2001:db8::1]:443",)),
        ("[2001:DB8::1]", "2001:db8:0::1", ("[2001:db8::1]",)),
        ("Bücher.example", "xn--bcher-kva.example:443", ("xn--bcher-kva.example:443",)),
        ("[::1]:443", "::1", ("[::1]:443",)),
        ("[::1]:443", "[::1]:80", ()),
        ("API.example.", "api.example:443", ("api.example:443",)),
    ],
)
def test_a_host_is_the_same_however_it_is_written_and_an_address_has_no_port_without_brackets(machine, system, asked, held):
    machine.system(f"policy: {{allowed_hosts: ['{system}']}}")
    assert machine.load({"policy.allowed_hosts": [asked]}).get("policy.allowed_hosts") == held


@pytest.mark.parametrize(
    ("key", "system", "wider", "narrower"),
    [
        ("policy.max_tokens", "100", "200", "50"),
        ("policy.max_usd", "1.5", "2", "0.5"),
        ("policy.memory_mb", "64", "128", "32"),
        ("policy.wall_ms", "1000", "2000", "500"),
        ("policy.output_bytes", "4096", "8192", "2048"),
        ("policy.hostcalls", "10", "20", "5"),
        ("policy.confirm_external_actions", "true", "false", None),
        ("policy.allow_exec", "false", "true", None),
        ("policy.allowed_hosts", "[a.org, b.org]", "a.org,b.org,c.org", "a.org"),
        ("policy.deny_actions", "[exec.run]", "[]", "exec.run,mail.smtp"),
        ("policy.allow_unsigned_agents", "false", "true", None),
        ("policy.allowed_agent_signers", f"[{ONE}, {TWO}]", f"{ONE},{TWO},{'c' * 64}", ONE),
        ("policy.approve_in_advance", "[mail.outbox, files.write]", "mail.outbox,files.write,exec.run", "mail.outbox"),
    ],
)
def test_every_hard_limit_can_be_narrowed_above_and_never_widened(machine, codes, key, system, wider, narrower):
    section, name = key.split(".")
    machine.system(f"{section}: {{{name}: {system}}}")
    held = machine.load().get(key)
    for layer in ("environment", "flag"):
        attempt = machine.load(
            {key: wider} if layer == "flag" else {}, **({} if layer == "flag" else {f"RUNLOOP__{key.replace('.', '__').upper()}": wider})
        )
        assert attempt.get(key) == held
        assert codes(attempt) == ["config.limited"]
        assert "no effect" in attempt.explain(key).note
        if narrower is not None:
            tight = machine.load({key: narrower})
            assert (tight.get(key) == held, codes(tight), tight.explain(key).layer) == (False, [], "flag")


def test_to_ask_for_no_limit_is_an_attempt_to_widen_one(machine):
    machine.system("policy: {max_tokens: 100}")
    settings = machine.load({"policy.max_tokens": "null"})
    note = "flag asks for no limit, which is wider than 100 and has no effect"
    assert (settings.get("policy.max_tokens"), settings.explain("policy.max_tokens").note) == (100, note)


@pytest.mark.parametrize(
    ("key", "system", "asked", "note"),
    [
        ("policy.deny_actions", "[exec.run]", "mail.smtp", ""),
        ("policy.deny_actions", "[exec.run, mail.smtp]", "mail.smtp,exec.run", ""),
        (
            "policy.deny_actions",
            "[exec.run, mail.smtp]",
            "mail.smtp",
            "flag asks for mail.smtp, which is wider than exec.run, mail.smtp and has no effect",
        ),
        ("policy.allowed_hosts", "[a.org, b.org]", "b.org,a.org", ""),
        ("policy.allowed_hosts", "[a.org, 'b.org:443']", "a.org,b.org:443", ""),
        ("policy.allowed_hosts", "[a.org, b.org]", "a.org,c.org", "flag asks for c.org, which is wider than a.org and has no effect"),
    ],
)
def test_only_what_has_no_effect_is_called_so(machine, codes, key, system, asked, note):
    section, name = key.split(".")
    machine.system(f"{section}: {{{name}: {system}}}")
    settings = machine.load({key: asked})
    assert (settings.explain(key).note, codes(settings)) == (note, ["config.limited"] if note else [])


@pytest.mark.parametrize(
    ("policy", "bound", "key", "asked", "held"),
    [
        ("memory_mb", "64", "sandbox.memory_mb", "128", 64),
        ("wall_ms", "1000", "sandbox.wall_ms", "9000", 1000),
        ("output_bytes", "2048", "sandbox.output_bytes", "4096", 2048),
        ("hostcalls", "5", "sandbox.hostcalls", "6", 5),
        ("max_tokens", "10", "models.broker.budgets.default_tokens", "20", 10),
        ("max_tokens", "10", "models.broker.budgets.per_request_tokens_cap", "20", 10),
        ("max_usd", "0.5", "models.broker.budgets.hard_cap_usd", "1", 0.5),
        ("confirm_external_actions", "true", "security.confirm_external_actions", "no", True),
        ("allow_unsigned_agents", "false", "security.allow_unsigned_agents", "yes", False),
        ("allowed_agent_signers", f"[{ONE}]", "security.allowed_agent_signers", f"{ONE},{TWO}", (ONE,)),
        ("approve_in_advance", "[mail.outbox]", "security.approve_in_advance", "mail.outbox,mail.smtp", ("mail.outbox",)),
    ],
)
def test_an_ordinary_key_is_held_within_its_limit_and_says_so(machine, codes, policy, bound, key, asked, held):
    machine.system(f"policy: {{{policy}: {bound}}}")
    settings = machine.load({key: asked})
    explanation = settings.explain(key)
    assert (settings.get(key), codes(settings)) == (held, ["config.limited"])
    place = f"by policy.{policy} (system, {machine.root}/etc/config.yaml:1:"
    assert (explanation.layer, place in explanation.note) == ("system", True)


def test_a_key_that_is_not_set_takes_its_limit(machine, codes):
    machine.system("policy: {max_usd: 0.5, memory_mb: 64}")
    settings = machine.load()
    assert settings.get("models.broker.budgets.hard_cap_usd") == 0.5
    assert settings.get("sandbox.memory_mb") == 64
    assert codes(settings) == []


def test_a_value_within_its_limit_stays(machine, codes):
    machine.system("policy: {memory_mb: 64}")
    settings = machine.load({"sandbox.memory_mb": "32"})
    assert (settings.get("sandbox.memory_mb"), settings.explain("sandbox.memory_mb").note, codes(settings)) == (32, "", [])


def test_who_sets_a_hard_limit_to_what_it_is_anyway_decides_it_and_who_says_so_again_does_not(machine):
    machine.system("policy: {allow_exec: true}")
    machine.user("policy: {allow_exec: true}")
    explanation = machine.load().explain("policy.allow_exec")
    assert (explanation.value, explanation.layer, explanation.note) == (True, "system", "")


def test_a_user_may_set_a_hard_limit_where_the_system_sets_none(machine):
    machine.user("policy: {allow_exec: no}")
    assert machine.load({"policy.allow_exec": "yes"}).get("policy.allow_exec") is False


def test_without_hard_limits_nothing_is_limited(machine):
    settings = machine.load()
    assert {path: settings.get(path) for path in settings.resolved if path.startswith("policy.")} == {
        "policy.max_tokens": None,
        "policy.max_usd": None,
        "policy.memory_mb": None,
        "policy.wall_ms": None,
        "policy.output_bytes": None,
        "policy.hostcalls": None,
        "policy.confirm_external_actions": False,
        "policy.allow_unredacted_admin": True,
        "policy.allow_exec": True,
        "policy.allowed_hosts": None,
        "policy.deny_actions": (),
        "policy.approve_in_advance": None,
        "policy.allow_unsigned_agents": True,
        "policy.allowed_agent_signers": None,
    }


@pytest.mark.parametrize(
    "key",
    [
        "policy.allowed_hosts",
        "policy.approve_in_advance",
        "security.approve_in_advance",
        "policy.allowed_agent_signers",
        "security.allowed_agent_signers",
    ],
)
@pytest.mark.parametrize("text", ["", "[]", " "])
def test_an_empty_list_of_what_is_allowed_allows_nothing(machine, key, text):
    assert machine.load({key: text}).get(key) == ()
    assert machine.load(**{f"RUNLOOP__{key.replace('.', '__').upper()}": text}).get(key) == ()
