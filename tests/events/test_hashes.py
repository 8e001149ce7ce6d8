from __future__ import annotations

from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from runloop.events import NodeResult, canonical, chain_hash, content_hash, final_hash, genesis, outputs_hash, value_hash

VECTOR = {
    "actor": "agent:writer@v1",
    "kind": "contact.upserted",
    "payload": {"email": "alice@example.com", "name": "Alice", "trust": 0.6},
    "provenance": {"agent_id": "agent:writer@v1", "opening_id": "opening:1", "rationale": "unit-test", "trace_id": "trace:1"},
    "scope": "user",
}
OUT = "a5434b22ed55aba2f22b37e7be6abf81cbf3773c9f1538be745148092ebfec45"
OK = "231a9f42f6b7c7f402fd1f4113617678ace06eeb902ede8a4853a7ec21a32348"
HASH = st.binary(min_size=32, max_size=32)
VALUES = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.integers(-9, 9) | st.text("äb\n", max_size=3), max_size=4)


def test_the_content_hash_is_that_of_the_published_vector():
    assert content_hash(**VECTOR).hex() == "ec9c079f28d45f7fe0622624e08ddf16b1baf46509d46baf6c1bf71ef38f381e"


@given(st.text("abc:.", min_size=1), st.text('ab"\\é', max_size=4), VALUES, VALUES)
def test_the_content_hash_is_taken_over_the_canonical_form_of_the_whole_event(kind, actor, payload, provenance):
    whole = {"kind": kind, "actor": actor, "scope": "user", "payload": payload, "provenance": provenance}
    assert content_hash(kind, actor, "user", payload, provenance) == blake3(canonical(whole)).digest()


def test_the_outputs_hashes_are_those_of_the_published_vectors():
    assert outputs_hash({"out": ["payload"]}) == OUT
    assert outputs_hash({"ok": [True]}) == OK


def test_outputs_are_hashed_in_the_order_of_the_names_of_their_ports():
    assert outputs_hash({"b": [1], "a": [2]}) == outputs_hash({"a": [2], "b": [1]})
    assert outputs_hash({"a": [1, 2]}) != outputs_hash({"a": [2, 1]})


def test_the_final_hashes_are_those_of_the_published_vectors():
    two = final_hash([NodeResult(OUT), NodeResult(OK)])
    assert two == "422fd4da91dee830004f466db069ae315abab55126579cc6375eda2f020adee9"
    assert final_hash([NodeResult(error="boom")]) == "a74bb4d1d4e44d0a2981d131762f45db9a211313d8e9f2cd151b4e673a35a6c1"


def test_nodes_that_never_ran_do_not_change_the_final_hash():
    assert final_hash([NodeResult(OUT), NodeResult(), NodeResult(OK)]) == final_hash([NodeResult(OUT), NodeResult(OK)])


def test_the_hash_of_no_arguments_is_that_of_an_empty_object():
    assert value_hash({}) == blake3(b"{}").hexdigest()


@given(HASH, st.integers(1, 2**62), st.integers(-(2**62), 2**62), HASH, st.none() | st.text("ab", min_size=1))
def test_the_chain_hash_depends_on_every_part(previous, event_id, ts_ms, content, key):
    base = chain_hash(previous, event_id, ts_ms, content, key)
    other = bytes(32) if previous != bytes(32) else b"\1" * 32
    changed = [
        chain_hash(other, event_id, ts_ms, content, key),
        chain_hash(previous, event_id + 1, ts_ms, content, key),
        chain_hash(previous, event_id, ts_ms + 1, content, key),
        chain_hash(previous, event_id, ts_ms, bytes(31) + b"\2" if content != bytes(31) + b"\2" else bytes(32), key),
        chain_hash(previous, event_id, ts_ms, content, (key or "") + "x"),
    ]
    assert base not in changed
    assert len(base) == 32


def test_two_ledgers_start_their_chains_differently():
    assert genesis("a") != genesis("b")
