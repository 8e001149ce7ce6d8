import pytest

from runloop import rmp
from runloop.errors import EXIT_FAILED, RunloopError

TAXONOMY = [
    ("InvalidMagic", "rmp.invalid_magic", True),
    ("UnsupportedVersion", "rmp.unsupported_version", True),
    ("TruncatedHeader", "rmp.truncated_header", True),
    ("InvalidHeaderFlags", "rmp.invalid_header_flags", True),
    ("LengthMismatch", "rmp.length_mismatch", True),
    ("UnknownSchema", "rmp.unknown_schema", False),
    ("BodyTooLarge", "rmp.body_too_large", True),
    ("InvalidTtl", "rmp.invalid_ttl", False),
    ("InvalidExpiry", "rmp.invalid_expiry", False),
    ("Expired", "rmp.expired", False),
    ("Duplicate", "rmp.duplicate", False),
    ("BodyDecodeError", "rmp.body_decode_error", False),
    ("BodyTypeMismatch", "rmp.body_type_mismatch", False),
]


def test_the_taxonomy_has_its_thirteen_names_and_codes() -> None:
    assert [(error.name, error.code, issubclass(error, rmp.FramingError)) for error in rmp.NAMED] == TAXONOMY


@pytest.mark.parametrize("error", [*rmp.NAMED, rmp.Incomplete, rmp.EncodeError], ids=lambda error: error.name)
def test_an_error_is_called_what_the_protocol_calls_it_and_belongs_to_the_one_tree(error: type[rmp.RmpError]) -> None:
    assert (error.__name__, error.exit_code, issubclass(error, RunloopError)) == (error.name, EXIT_FAILED, True)


@pytest.mark.parametrize("error", rmp.NAMED, ids=lambda error: error.name)
def test_an_error_ends_either_the_stream_or_one_frame(error: type[rmp.RmpError]) -> None:
    assert issubclass(error, rmp.FramingError) != issubclass(error, rmp.MessageError)


def test_an_error_in_json_has_the_name_and_the_numbers() -> None:
    error = rmp.Duplicate("seen before", key="msg_id", hint="count msg_id up", msg_id=42)
    assert error.to_dict() == {
        "code": "rmp.duplicate",
        "message": "seen before",
        "where": {"key": "msg_id"},
        "hint": "count msg_id up",
        "retryable": False,
        "name": "Duplicate",
        "facts": {"msg_id": 42},
    }
