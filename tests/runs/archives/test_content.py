"""Every field of every run record: content is masked in redacted archives and taken out by forgetting, the form stays and stays valid."""

import msgspec
import pytest
from msgspec import inspect

from runloop.events import StoredEvent, validate
from runloop.events.kinds import KINDS
from runloop.kb import forgetting
from runloop.runs.approvals import OUTCOMES
from runloop.runs.archives.redaction import Redactor

NAME = "Maria Quux"
IDENTIFIERS = {"node", "nodes[]", "name", "port", "kind", "action", "scope", "class", "worker", "approval_id", "owner", "runloop"}
AGENT = {"agent.name", "agent.version", "agent.digest", "agent.variant", "versions.runloop", "versions.guest"}
STAYS = {
    *IDENTIFIERS,
    *AGENT,
    *(f"artifacts[].{each}" for each in ("name", "node", "port", "kind")),
    *(
        "versions.bundles.draft",
        "approvals[].approval_id",
        "approvals[].run_id",
        "forked_from.run_id",
        "error.code",
        "error.kind",
        "by.role",
    ),
}
"""Where words of authors, of the host, and ids stand: none of them is content."""


def filled(kind):
    """A value of a type in which the name stands wherever it can."""
    match kind:
        case inspect.UnionType(types=types):
            return filled(next(each for each in types if not isinstance(each, inspect.NoneType)))
        case inspect.LiteralType(values=values):
            return values[0]
        case inspect.StrType(pattern=pattern):
            return NAME if pattern is None else "a" * 64
        case inspect.BoolType():
            return True
        case inspect.IntType() | inspect.FloatType():
            return 1
        case inspect.ListType(item_type=item):
            return [filled(item)]
        case inspect.DictType(value_type=inspect.AnyType()):
            return {"tokens": 1}
        case inspect.DictType(value_type=value):
            return {"draft": filled(value)}
        case inspect.StructType(cls=struct):
            return {each.encode_name: filled(inspect.type_info(each.type)) for each in msgspec.structs.fields(struct)}
        case inspect.Metadata(type=inner):
            return filled(inner)
        case _:
            return {"out": [{NAME: NAME, "n": 1}]}


def places(value, path=""):
    """Where the name stands in a value."""
    if isinstance(value, str):
        return {path} if NAME in value else set()
    if isinstance(value, list):
        return set().union(*(places(each, f"{path}[]") for each in value))
    if isinstance(value, dict):
        keys = {f"{path}.key" for key in value if NAME in key}
        return keys.union(*(places(each, f"{path}.{key}".lstrip(".")) for key, each in value.items()))
    return set()


def record(name):
    meta = filled(inspect.type_info(KINDS[name].meta))
    if "overrides" in meta:
        answer = {"node": "n", "attempt": 1, "call": 1, "result": {NAME: NAME}}
        meta["overrides"] = {"params": {"who": NAME}, "answers": [answer], "agents": {"a": "b" * 64}}
    uuid = "0f8fad5b-d9cb-469f-a165-70867728950e"
    ids = {"run_id": uuid, "opening_id": f"opening:{uuid}", "opening_name": NAME, "parent_run_id": None}
    payload = {"v": 1, "seq": 1, **ids, "level": "info", "message": f"to {NAME}", "meta": meta}
    return StoredEvent(1, 1, name, "user", "user", payload, {"trace_id": f"trace:{uuid}"}, b"", b"")


@pytest.mark.parametrize("name", sorted(name for name, kind in KINDS.items() if kind.meta is not None and not kind.live))
def test_content_goes_and_the_form_stays(name):
    event = record(name)
    validate(name, event.payload)
    taken = forgetting.without_said(event, event.payload, forgetting.Texts([NAME]).take_out)
    masked = Redactor().payload(event.payload)
    for left in (taken, masked):
        validate(name, left)
        assert left["message"] != event.payload["message"]
        assert places(left["meta"]) <= STAYS | ({"opening_digest"} if left is taken else set())
        assert left["meta"].keys() == event.payload["meta"].keys()
    for field in ("status", "level", "mode", "attempt", "node", "agent", "versions"):
        assert taken["meta"].get(field) == masked["meta"].get(field) == event.payload["meta"].get(field)
    assert (taken["opening_name"], taken["level"], taken["seq"]) == (NAME, "info", 1)


def test_words_of_the_host_stay_in_a_redacted_archive_and_every_mask_is_counted():
    redactor = Redactor()

    def masked(**meta):
        return redactor.payload({"message": "", "meta": meta})["meta"]

    for word in ("approved", "rejected", "expired", "changed", "approve", "revise", "accept", "retry", *OUTCOMES):
        assert masked(decision=word, on_timeout=word) == {"decision": word, "on_timeout": word}
    assert masked(decision=NAME, error={"code": "x.y", "kind": "denied", "message": NAME}, by={"role": "operator", "uid": 1000}) == {
        "decision": "[10 characters]",
        "error": {"code": "x.y", "kind": "denied", "message": "[10 characters]"},
        "by": {"role": "operator"},
    }
    before = redactor.masked
    assert masked(what={"a": 5, "B c": [NAME, None, True]}, result_hash="a" * 64) == {
        "what": {"a": 0, "key_1_": ["[10 characters]", None, True]},
        "result_hash": "0" * 64,
    }
    assert redactor.masked - before == 5  # with the message
