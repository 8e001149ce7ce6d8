"""Making an archive of a run: everything that a replay on another machine needs, or less where less was asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any

from blake3 import blake3
from msgspec import structs

from runloop.dataclass import dataclass
from runloop.errors import InvalidInput, Where
from runloop.events import ERASED_KEY, StoredEvent, canonical, content_hash, externalise, is_run_record, kind_of
from runloop.events.blobs import blob_names
from runloop.runs.archives.container import pack
from runloop.runs.archives.lines import write_lines
from runloop.runs.archives.manifest import MANIFEST, SIGNATURE, BundleEntry, Manifest, RunEntry, digest_of
from runloop.runs.archives.redaction import Redactor
from runloop.runs.archives.signing import sign
from runloop.runs.fork import node_names, told_events

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from runloop.bundles import Bundle
    from runloop.runs.sources import RunSource

_NO_CHAIN = bytes(32)
"""In place of a chain value, by which a guess at what was masked or erased could be proven."""


@dataclass(frozen=True, slots=True)
class Made:
    """An archive's bytes, its digest, and the agents (``name digest``) whose bundles were not to be had any more."""

    data: bytes
    digest: str
    manifest: Manifest
    missing: tuple[str, ...]


def make_archive(
    source: RunSource,
    run_id: str,
    *,
    ledger_id: str,
    bundle_of: Callable[[str, str | None, str], Bundle | None],
    select: Sequence[str] = (),
    redact: bool = False,
    key: Ed25519PrivateKey | None = None,
) -> Made:
    """The archive of a run, its child runs and the runs that it was forked from: the same bytes for the same record and key.

    ``bundle_of(name, variant, digest)`` finds a bundle; ``select`` keeps the records of some nodes and of the runs that these started;
    ``redact`` masks what was said and leaves who asked for what, when, and at what cost. Without ``key`` nobody vouches for it.

    Raises:
        InvalidInput: ``archive.node`` for a node that the run does not have, ``archive.too_large``.

    """
    making = _Making(source, Redactor() if redact else None)
    making.take(run_id, frozenset(select))
    if select:
        _check_nodes(source, run_id, select)
    missing = [] if redact else making.bundles(bundle_of)
    manifest = Manifest(
        format="runloop.archive.v1",
        root=run_id,
        ledger_id=ledger_id,
        runs=list(making.entries.values()),
        bundles=dict(sorted(making.found.items())),
        missing=sorted({digest for _, digest in missing}),
        selected=sorted(set(select)) or None,
        redacted=None if making.redactor is None else making.redactor.masked,
    )
    encoded = manifest.encode()
    digest = digest_of(encoded)
    head = [(MANIFEST, encoded)]
    if key is not None:
        head.append((SIGNATURE, _encode(structs.asdict(sign(digest, key)))))
    named = {f"objects/{name}": content for name, content in making.objects.items()}
    named |= {f"runs/{each}.jsonl": content for each, content in making.runs.items()}
    return Made(pack([*head, *sorted(named.items())]), digest, manifest, tuple(f"{name} {digest[:12]}" for name, digest in missing))


@dataclass(slots=True)
class _Making:
    source: RunSource
    redactor: Redactor | None
    entries: dict[str, RunEntry] = field(default_factory=dict)
    runs: dict[str, bytes] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    agents: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    found: dict[str, BundleEntry] = field(default_factory=dict)

    def take(self, run_id: str, select: frozenset[str] = frozenset()) -> None:
        """Take a run and every run that it refers to: of those that it was forked from the same nodes, of its child runs everything."""
        if run_id in self.entries:
            return
        events = [event for event in self.source.read_run(run_id) if is_run_record(event)]
        if not events:
            raise InvalidInput(f"there is no run {run_id}", code="run.unknown", hint="`rlp runs` lists the runs in the ledger")
        children = self.source.children(run_id)
        if select:
            events = [event for event in events if not (names := _nodes_of(event)) or names & select]
            said = b"".join(canonical(dict(self.source.full(event).payload)) for event in events)
            children = [child for child in children if child.encode() in said]
        self._put(run_id, events)
        forked = events[0].payload["meta"].get("forked_from")
        for child in children:
            self.take(child)
        if forked:
            self.take(forked["run_id"], select)

    def bundles(self, bundle_of: Callable[[str, str | None, str], Bundle | None]) -> list[tuple[str, str]]:
        """Take the bundles of every agent that ran; those that are nowhere, by name and digest."""
        missing = []
        for digest, (name, variant) in sorted(self.agents.items()):
            bundle = bundle_of(name, variant, digest)
            if bundle is None:
                missing.append((name, digest))
                continue
            self.found[digest] = BundleEntry(name, variant, {path: self._object(content) for path, content in sorted(bundle.files.items())})
        return missing

    def _put(self, run_id: str, events: list[StoredEvent]) -> None:
        first, last = events[0], events[-1]
        versions = first.payload["meta"]["versions"]
        status = last.payload["meta"]["status"] if last.kind == "run.finished" else None
        for name, digest in ((first.payload["meta"].get("overrides") or {}).get("agents") or {}).items():
            self.agents.setdefault(digest, (name, None))  # an attempt that the fork went on with began under another
        for event in events:
            agent = event.payload["meta"].get("agent") if event.kind == "node.started" else None
            if agent and agent.get("digest"):
                self.agents[agent["digest"]] = (agent["name"], agent.get("variant"))
        if self.redactor is not None:
            events = [self._redacted(event, self.redactor) for event in events]
        else:
            events = [_anew(event, event.payload) if ERASED_KEY in event.payload else event for event in events]
            for event in events:
                for name in blob_names(event.payload, kind_of(event.kind).blob_fields):
                    self.objects[name] = self.source.blob(name)
        self.runs[run_id] = write_lines(events)
        self.entries[run_id] = RunEntry(
            run_id=run_id,
            opening_name=first.payload["opening_name"],
            parent_run_id=first.payload["parent_run_id"],
            status=status,
            records=len(events),
            blake3=blake3(self.runs[run_id]).hexdigest(),
            runloop=versions["runloop"],
            guest=versions.get("guest"),
        )

    def _redacted(self, event: StoredEvent, redactor: Redactor) -> StoredEvent:
        payload, blobs = externalise(redactor.payload(self.source.full(event).payload), kind_of(event.kind).blob_fields)
        self.objects.update(blobs)
        return _anew(event, payload)

    def _object(self, content: bytes) -> str:
        name = blake3(content).hexdigest()
        self.objects[name] = content
        return name


def _anew(event: StoredEvent, payload: Mapping[str, Any]) -> StoredEvent:
    """The record with less in it than was written, under the hash of what it says now."""
    content = content_hash(event.kind, event.actor, event.scope, payload, event.provenance)
    return structs.replace(event, payload=payload, content_hash=content, chain_hash=_NO_CHAIN)


def _check_nodes(source: RunSource, run_id: str, select: Sequence[str]) -> None:
    """Refuse what is no node of the run, nor of what it shares with the runs that it was forked from."""
    nodes = set[str]().union(*map(_nodes_of, told_events(source, run_id)))
    if unknown := sorted(set(select) - nodes):
        hint = f"its nodes: {', '.join(sorted(nodes))}" if nodes else "no node of it has begun: export it whole"
        raise InvalidInput(f"the run has no node {unknown[0]!r}", code="archive.node", where=Where(key="--select"), hint=hint)


def _nodes_of(event: StoredEvent) -> set[str]:
    """The names of the node that a record belongs to: an item's own and its node's. None for a record of the run."""
    node = event.payload["meta"].get("node")
    return set() if node is None else set(node_names(node))


def _encode(value: Mapping[str, Any]) -> bytes:
    return canonical(dict(value))
