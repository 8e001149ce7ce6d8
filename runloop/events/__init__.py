"""Events: their kinds and schemas, canonical JSON, hashes, ids, and the run record. Pure; imports nothing else of ours but errors."""

from runloop.events.blobs import INLINE_LIMIT, externalise, is_blob_ref, restore
from runloop.events.canonical import canonical, parse, plain_json
from runloop.events.errors import InvalidEvent, NotCanonical, UnknownKind
from runloop.events.hashes import NodeResult, chain_hash, content_hash, final_hash, genesis, outputs_hash, value_hash
from runloop.events.ids import new_uuid
from runloop.events.kinds import KINDS, LIVE_KINDS, RUN_KINDS, Kind, kind_of, validate, validate_meta
from runloop.events.model import NewEvent, RunEvent, StoredEvent
from runloop.events.runrecord import OUTER_KEYS, RunIdentity, is_run_record, live_record, record_of, run_event
from runloop.events.upcast import ERASED_KEY, NewerVersion, current, is_erased, readable

__all__ = [
    "ERASED_KEY",
    "INLINE_LIMIT",
    "KINDS",
    "LIVE_KINDS",
    "OUTER_KEYS",
    "RUN_KINDS",
    "InvalidEvent",
    "Kind",
    "NewEvent",
    "NewerVersion",
    "NodeResult",
    "NotCanonical",
    "RunEvent",
    "RunIdentity",
    "StoredEvent",
    "UnknownKind",
    "canonical",
    "chain_hash",
    "content_hash",
    "current",
    "externalise",
    "final_hash",
    "genesis",
    "is_blob_ref",
    "is_erased",
    "is_run_record",
    "kind_of",
    "live_record",
    "new_uuid",
    "outputs_hash",
    "parse",
    "plain_json",
    "readable",
    "record_of",
    "restore",
    "run_event",
    "validate",
    "validate_meta",
    "value_hash",
]
