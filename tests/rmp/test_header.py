import pytest

from runloop import rmp
from runloop.rmp.header import U64_MAX, check_message, read_header, write_header

BASE = rmp.Header(schema_id=10, body_len=5, created_at_ms=1_000, ttl_ms=2_000, trace_id=0xFEEDFACE, msg_id=7)
WIRE = bytes.fromhex(
    "00000045"  # frame_len 69
    "524d5030" + "0000" + "0040" + "00000000"  # RMP0, version, header_len, flags
    "000a" + "0000" + "00000005"  # schema_id, reserved2, body_len
    "00000000000003e8" + "00000000000007d0"  # created_at_ms, ttl_ms
    "000000000000000000000000feedface" + "0000000000000007" + "00000000"  # trace_id, msg_id, reserved4
)


def changed(at: int, new: str) -> bytes:
    fresh = bytes.fromhex(new)
    return WIRE[:at] + fresh + WIRE[at + len(fresh) :]


def test_a_header_is_written_field_by_field_big_endian() -> None:
    assert write_header(BASE) == WIRE


def test_a_header_is_read_field_by_field_big_endian() -> None:
    assert read_header(WIRE) == (69, BASE)


def test_a_header_is_read_from_the_middle_of_a_buffer() -> None:
    assert read_header(bytearray(b"xyz" + WIRE), 3) == (69, BASE)


def test_the_largest_values_survive() -> None:
    header = rmp.Header(65535, 2**32 - 65, U64_MAX, U64_MAX, 2**128 - 1, U64_MAX)
    assert read_header(write_header(header)) == (2**32 - 1, header)


def test_a_trace_id_has_32_hex_digits() -> None:
    assert BASE.trace_hex == "000000000000000000000000feedface"


def test_trace_and_message_id_make_the_dedupe_key() -> None:
    assert BASE.dedupe_key == (0xFEEDFACE, 7)


@pytest.mark.parametrize(
    ("data", "error", "key", "facts"),
    [
        (changed(0, "0000003f"), rmp.TruncatedHeader, "frame_len", {"frame_len": 63}),
        (changed(4, "524d5130"), rmp.InvalidMagic, "magic", {"magic": "524d5130"}),
        (changed(8, "0001"), rmp.UnsupportedVersion, "header_version", {"header_version": 1, "header_len": 64}),
        (changed(10, "003c"), rmp.UnsupportedVersion, "header_len", {"header_version": 0, "header_len": 60}),
        (changed(12, "80000000"), rmp.InvalidHeaderFlags, "flags", {"value": 0x80000000}),
        (changed(18, "0001"), rmp.InvalidHeaderFlags, "reserved2", {"value": 1}),
        (changed(64, "deadbeef"), rmp.InvalidHeaderFlags, "reserved4", {"value": 0xDEADBEEF}),
    ],
)
def test_a_header_that_is_not_v0_is_refused_with_the_field_and_its_value(
    data: bytes, error: type[rmp.RmpError], key: str, facts: dict[str, object]
) -> None:
    with pytest.raises(error) as caught:
        read_header(data)
    assert (caught.value.where.key, caught.value.facts) == (key, facts)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("earlier", "later", "error"),
    [
        ((0, "00000000"), (4, "00"), rmp.TruncatedHeader),
        ((4, "58"), (9, "01"), rmp.InvalidMagic),
        ((9, "01"), (15, "01"), rmp.UnsupportedVersion),
        ((11, "3c"), (15, "01"), rmp.UnsupportedVersion),
    ],
)
def test_of_two_faults_the_earlier_in_the_header_is_named(
    earlier: tuple[int, str], later: tuple[int, str], error: type[rmp.RmpError]
) -> None:
    data = bytearray(WIRE)
    for at, new in (earlier, later):
        fresh = bytes.fromhex(new)
        data[at : at + len(fresh)] = fresh
    with pytest.raises(error):
        read_header(data)


def test_a_frame_expires_when_its_time_to_live_has_passed() -> None:
    assert BASE.expires_at_ms == 3_000


@pytest.mark.parametrize(("now_ms", "expired"), [(0, False), (2_500, False), (2_999, False), (3_000, True), (3_500, True)])
def test_the_boundary_of_expiry_is_expired(now_ms: int, expired: bool) -> None:
    assert BASE.is_expired(now_ms) is expired


@pytest.mark.parametrize(("now_ms", "ago"), [(3_000, 0), (3_500, 500)])
def test_an_expired_frame_is_refused_and_says_since_when(now_ms: int, ago: int) -> None:
    with pytest.raises(rmp.Expired, match=f"{ago} ms ago") as caught:
        check_message(BASE, now_ms)
    assert caught.value.facts == {"expires_at_ms": 3_000, "now_ms": now_ms}


def test_without_a_clock_nothing_expires() -> None:
    check_message(BASE, None)


def test_a_time_to_live_of_zero_is_refused_for_every_question_about_expiry() -> None:
    header = BASE._replace(ttl_ms=0)
    with pytest.raises(rmp.InvalidTtl):
        _ = header.expires_at_ms
    with pytest.raises(rmp.InvalidTtl):
        header.is_expired(0)
    with pytest.raises(rmp.InvalidTtl):
        check_message(header, None)


@pytest.mark.parametrize(("created", "ttl"), [(U64_MAX, 1), (U64_MAX, 2), (1, U64_MAX), (U64_MAX, U64_MAX)])
def test_an_expiry_beyond_64_bits_is_refused_and_never_wraps(created: int, ttl: int) -> None:
    header = BASE._replace(created_at_ms=created, ttl_ms=ttl)
    with pytest.raises(rmp.InvalidExpiry) as caught:
        check_message(header, None)
    assert caught.value.facts == {"created_at_ms": created, "ttl_ms": ttl}


def test_the_last_valid_expiry_is_the_largest_64_bit_number() -> None:
    assert BASE._replace(created_at_ms=U64_MAX - 1, ttl_ms=1).expires_at_ms == U64_MAX


@pytest.mark.parametrize("schema_id", [0, 11, 999, 65535])
def test_an_unregistered_schema_is_refused_before_anything_about_time(schema_id: int) -> None:
    with pytest.raises(rmp.UnknownSchema) as caught:
        check_message(BASE._replace(schema_id=schema_id, ttl_ms=0), 10_000)
    assert caught.value.facts == {"schema_id": schema_id}
