"""Intersection is what makes overrides safe: it never grants more than either side, whatever the sides are."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runloop.policy import Capabilities, Override
from runloop.policy.capabilities import ALL
from runloop.policy.commands import ExecGrants
from runloop.policy.names import NameGrants
from runloop.policy.net import NetGrants
from runloop.policy.paths import PathGrants

# Few values, so that two sets overlap often.
PATHS = ["/a", "/a/b", "/a/b/c", "/ab", "/d", "/d/e"]
PROBES = [*PATHS, "/a/b/c/x", "/a/x", "/abc", "/d/e/f", "/z"]
HOSTS = ["a.example", "b.example"]
PORTS = [None, 80, 443]
WORDS = ["git", "log", "-n1", "status"]
DOMAINS = ["contacts", "notes", "contacts_raw"]

argvs = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(tuple)
path_grants = st.lists(st.tuples(st.sampled_from(PATHS), st.booleans()), max_size=4).map(PathGrants.of)
net_grants = st.builds(
    NetGrants.of,
    st.lists(st.tuples(st.sampled_from(HOSTS), st.sampled_from(PORTS)), max_size=4),
    allow_http=st.booleans(),
    allow_private=st.booleans(),
)
exec_grants = st.builds(ExecGrants.of, st.lists(argvs, max_size=3), st.lists(argvs, max_size=3))
name_grants = st.one_of(
    st.builds(NameGrants, everything=st.booleans()),
    st.builds(NameGrants, names=st.frozensets(st.sampled_from(DOMAINS))),
)
capabilities = st.builds(
    Capabilities,
    fs=path_grants,
    net=net_grants,
    exec=exec_grants,
    kb_read=name_grants,
    kb_write=name_grants,
    spawn=name_grants,
    secrets=st.frozensets(st.sampled_from(["s/a", "s/b"])),
    time=st.booleans(),
    model=st.booleans(),
    mail=st.booleans(),
    ask=st.booleans(),
)

URLS = [f"{scheme}://{host}{port}/" for scheme in ("http", "https") for host in HOSTS for port in ("", ":80", ":443", ":8080")]
ARGVS = [("git",), ("git", "log"), ("git", "log", "-n1"), ("git", "status", "x"), ("log",), ("git", "-n1"), ("git", "log", "status", "-n1")]


def powers(caps: Capabilities) -> set[tuple[str, ...]]:
    """Every probe that ``caps`` lets through."""
    answers = {("path", path, str(write)): caps.check_path(path, write) for path in PROBES for write in (False, True)}
    answers |= {("net", url): caps.check_net(url) for url in URLS}
    answers |= {("address", address): caps.check_address("a.example", address) for address in ("10.0.0.1", "127.0.0.1")}
    answers |= {("exec", *argv): caps.check_exec(argv) for argv in ARGVS}
    answers |= {("kb", domain, str(write)): caps.check_kb(domain, write) for domain in DOMAINS for write in (False, True)}
    answers |= {("spawn", ref): caps.check_spawn(ref) for ref in DOMAINS}
    answers |= {("secret", name): caps.check_secret(name) for name in ("s/a", "s/b", "s/c")}
    answers |= {(name,): getattr(caps, f"check_{name}")() for name in ("time", "model", "mail", "ask")}
    quiet = {("read_only", *argv) for argv in ARGVS if caps.exec.operands(argv) is not None}
    return {probe for probe, denial in answers.items() if denial is None} | quiet


@given(capabilities, capabilities)
def test_an_intersection_allows_exactly_what_both_sides_allow(one, other):
    assert powers(one.intersect(other)) == powers(one) & powers(other)


@given(capabilities, capabilities)
def test_intersection_does_not_depend_on_the_order_of_its_sides(one, other):
    assert powers(one.intersect(other)) == powers(other.intersect(one))
    assert one.intersect(other).fs == other.intersect(one).fs
    assert one.intersect(other).net == other.intersect(one).net


@given(capabilities)
def test_intersecting_a_set_with_itself_changes_nothing(caps):
    assert caps.intersect(caps) == caps


@given(capabilities, capabilities, capabilities)
def test_a_chain_of_overrides_allows_the_same_in_any_order(one, two, three):
    assert powers(one.intersect(two).intersect(three)) == powers(one.intersect(three.intersect(two)))


@pytest.mark.parametrize("stated", sorted(ALL))
@settings(max_examples=30)
@given(base=capabilities, narrower=capabilities)
def test_an_override_narrows_only_the_capability_that_it_states(stated, base, narrower):
    result = base.intersect(Override(narrower, frozenset({stated})))
    assert {name for name in ALL if getattr(result, name) != getattr(base, name)} <= {stated}
    assert powers(result) <= powers(base)
    assert getattr(result, stated) == getattr(base.intersect(narrower), stated)
