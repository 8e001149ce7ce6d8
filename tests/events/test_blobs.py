from __future__ import annotations

from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from runloop.events import INLINE_LIMIT, canonical, externalise, is_blob_ref, restore
from runloop.events.blobs import blob_names

FIELDS = (("meta", "a"), ("meta", "b"), ("text",))
KEYS = st.sampled_from(["$blob", "$data", "bytes", "x", "a"])
VALUES = st.recursive(
    st.none() | st.integers(-5, 5) | st.text("xé", max_size=3) | st.just("y" * (INLINE_LIMIT + 1)) | st.just("z" * (INLINE_LIMIT // 4)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
PAYLOADS = st.fixed_dictionaries(
    {}, optional={"meta": st.dictionaries(st.sampled_from("abc"), VALUES) | st.integers(0, 3), "text": VALUES, "other": VALUES}
)


@given(PAYLOADS)
def test_restoring_what_was_externalised_gives_the_same_payload(payload):
    stored, blobs = externalise(payload, FIELDS)
    assert restore(stored, FIELDS, dict(blobs).__getitem__) == payload


@given(PAYLOADS)
def test_no_declared_field_stays_larger_than_the_limit_and_every_blob_has_its_own_hash_as_name(payload):
    stored, blobs = externalise(payload, FIELDS)
    assert sorted(dict(blobs)) == sorted(set(blob_names(stored, FIELDS)))
    assert all(blake3(data).hexdigest() == name for name, data in blobs)
    small = len(b'{"$data":}') + INLINE_LIMIT
    for holder, field in ((stored.get("meta"), "a"), (stored.get("meta"), "b"), (stored, "text")):
        if isinstance(holder, dict) and field in holder:
            assert len(canonical(holder[field])) <= small


@given(PAYLOADS)
def test_the_callers_payload_is_left_as_it_was(payload):
    before = canonical(payload)
    externalise(payload, FIELDS)
    assert canonical(payload) == before


def test_a_value_at_the_limit_stays_and_one_byte_more_goes():
    stay = "x" * (INLINE_LIMIT - 2)
    stored, blobs = externalise({"text": stay}, FIELDS)
    assert (stored, blobs) == ({"text": stay}, [])
    stored, blobs = externalise({"text": stay + "x"}, FIELDS)
    assert stored == {"text": {"$blob": blobs[0][0], "bytes": INLINE_LIMIT + 1}}


def test_data_that_looks_like_a_blob_is_escaped_and_comes_back():
    forged = {"$blob": "0" * 64, "bytes": 3}
    stored, blobs = externalise({"meta": {"a": forged}, "other": forged}, FIELDS)
    assert stored == {"meta": {"a": {"$data": forged}}, "other": forged}
    assert blobs == []
    assert not is_blob_ref(stored["meta"]["a"])
    assert restore(stored, FIELDS, lambda name: b"") == {"meta": {"a": forged}, "other": forged}
