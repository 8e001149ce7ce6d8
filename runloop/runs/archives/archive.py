"""An archive that was read: verified whole before anything in it is used, and then a source of runs like the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import TYPE_CHECKING

from blake3 import blake3
from msgspec import structs

from runloop.bundles.tree import bundle_digest, path_problem
from runloop.dataclass import dataclass
from runloop.errors import Where
from runloop.events import StoredEvent, kind_of, restore
from runloop.events.blobs import blob_names
from runloop.runs.archives.container import MAX_BYTES, ArchiveAltered, ArchiveInvalid, brief, first_member, unpack
from runloop.runs.archives.lines import read_lines
from runloop.runs.archives.manifest import MANIFEST, SIGNATURE, Manifest, RunEntry, digest_of, read_part
from runloop.runs.archives.signing import verify
from runloop.signatures import Signature

if TYPE_CHECKING:
    from pathlib import Path

_SHOWN = 3
_ALTERED = "the archive was damaged or altered; get it again from whoever made it"


@dataclass(frozen=True, slots=True)
class Archive:
    """A verified archive. ``signer`` is the public key that signed it, in hexadecimal, None where nobody did."""

    manifest: Manifest
    digest: str
    signer: str | None
    data: bytes = field(repr=False)
    _events: Mapping[str, list[StoredEvent]] = field(repr=False)
    _objects: Mapping[str, bytes] = field(repr=False)

    @property
    def root(self) -> str:
        """The run that was exported."""
        return self.manifest.root

    def run_ids(self, prefix: str = "", limit: int = 10) -> list[str]:
        """Ids of the runs inside that begin with ``prefix``, the root first."""
        return [entry.run_id for entry in self.manifest.runs if entry.run_id.startswith(prefix)][:limit]

    def children(self, run_id: str) -> list[str]:
        """The runs inside that this run started."""
        return [entry.run_id for entry in self.manifest.runs if entry.parent_run_id == run_id]

    def read_run(self, run_id: str, after_seq: int = 0) -> Iterator[StoredEvent]:
        """The records of a run after ``after_seq``, oldest first; none for a run that is not inside."""
        return (event for event in self._events.get(run_id, ()) if event.payload["seq"] > after_seq)

    def full(self, event: StoredEvent) -> StoredEvent:
        """The event with its blobs loaded."""
        return structs.replace(event, payload=restore(event.payload, kind_of(event.kind).blob_fields, self.blob))

    def blob(self, name: str) -> bytes:
        """The bytes of an object."""
        return self._objects[name]

    def bundle_files(self, digest: str) -> dict[str, bytes] | None:
        """The files of a bundle by path, or None where it is not inside."""
        entry = self.manifest.bundles.get(digest)
        return None if entry is None else {path: self._objects[name] for path, name in entry.files.items()}


def open_archive(path: Path) -> Archive:
    """Read and verify the archive in a file. Raises as :func:`read_archive`, and InvalidInput ``archive.unreadable``."""
    from runloop.links import readable

    try:
        with readable(path) as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, error) from None
    return read_archive(data, file=str(path))


def peek(path: Path) -> Manifest:
    """What an archive says about itself, unverified: enough to choose which one to open. Raises as :func:`open_archive`."""
    try:
        with path.open("rb") as file:
            return read_part(first_member(file, name=str(path)), Manifest, name=MANIFEST, file=str(path))
    except OSError as error:
        raise _unreadable(path, error) from None


def read_archive(data: bytes, *, file: str | None = None) -> Archive:
    """Verify an archive: its form, its signature where it has one, every digest, every record, and that nothing is missing or left over.

    Raises:
        ArchiveInvalid: it is no archive.
        ArchiveAltered: it is not as it was written, says something that cannot be, or a digest or the signature does not fit.

    """
    members = unpack(data, file=file)
    names = list(members)
    if not names or names[0] != MANIFEST or names != [MANIFEST, *(each for each in (SIGNATURE,) if each in members), *_sorted_rest(names)]:
        hint = "get the archive again from whoever made it; `rlp export` writes a sound one"
        raise ArchiveAltered("its members are not in their order", code="archive.order", where=Where(file=file), hint=hint)
    manifest = read_part(members[MANIFEST], Manifest, name=MANIFEST, file=file)
    digest = digest_of(members[MANIFEST])
    signer = None
    if SIGNATURE in members:
        signature = read_part(members[SIGNATURE], Signature, name=SIGNATURE, file=file)
        if not verify(digest, signature):
            raise ArchiveAltered("the signature does not fit", code="archive.signature", where=Where(file=file), hint=_ALTERED)
        signer = signature.public_key
    reader = _Reader(manifest, members, file)
    archive = Archive(manifest, digest, signer, data, reader.events(), reader.objects())
    reader.tell(archive)
    return archive


def _unreadable(path: Path, error: OSError) -> ArchiveInvalid:
    message = f"{path} cannot be read: {error.strerror}"
    return ArchiveInvalid(message, code="archive.unreadable", where=Where(file=str(path)), hint="name a file of `rlp export`")


def _sorted_rest(names: list[str]) -> list[str]:
    return sorted(set(names) - {MANIFEST, SIGNATURE})


class _Reader:
    """Checks what the manifest says against what is there."""

    def __init__(self, manifest: Manifest, members: Mapping[str, bytes], file: str | None) -> None:
        self._manifest, self._members, self._file = manifest, members, file
        self._needed: set[str] = {name for bundle in manifest.bundles.values() for name in bundle.files.values()}

    def events(self) -> dict[str, list[StoredEvent]]:
        entries = {entry.run_id: entry for entry in self._manifest.runs}
        if len(entries) != len(self._manifest.runs) or self._manifest.root not in entries:
            raise self._unsound("the manifest lists a run twice, or not the one that was exported", "archive.manifest")
        if missing := sorted(run_id for run_id in entries if f"runs/{run_id}.jsonl" not in self._members):
            raise self._unsound(f"the manifest lists runs that are not inside: {', '.join(missing)}")
        return {run_id: self._run(entry) for run_id, entry in entries.items()}

    def objects(self) -> dict[str, bytes]:
        """The objects, after :meth:`events` has learnt which are needed."""
        wanted = {*(f"runs/{entry.run_id}.jsonl" for entry in self._manifest.runs), *(f"objects/{name}" for name in self._needed)}
        if odd := sorted((self._members.keys() - {MANIFEST, SIGNATURE}) ^ wanted):
            raise self._unsound(f"members that are needed and members that are inside differ: {', '.join(odd[:_SHOWN])}")
        objects = {name: self._members[f"objects/{name}"] for name in self._needed}
        for name, content in objects.items():
            if blake3(content).hexdigest() != name:
                raise self._unsound(f"the object {name[:12]} has other content than its name says")
        for digest, bundle in self._manifest.bundles.items():
            if problem := next(filter(None, map(path_problem, bundle.files)), None):
                raise self._unsound(f"the bundle {bundle.name} has a file that no bundle may have: {problem}", "archive.path")
            if bundle_digest({path: objects[name] for path, name in bundle.files.items()}) != digest:
                raise self._unsound(f"the bundle {bundle.name} is not {digest[:12]}")
        return objects

    def tell(self, archive: Archive) -> None:
        """Whether the records, each of which is sound, tell runs: of none that comes from itself, no end of what had not begun."""
        from graphlib import CycleError, TopologicalSorter  # verbs load this module that read no archive

        from runloop.runs.fork import told_events
        from runloop.runs.history import NOT_TOLD, fold

        related: dict[str, set[str]] = {}
        for entry in self._manifest.runs:
            submitted = next(archive.read_run(entry.run_id)).payload["meta"]
            forked_from = (submitted.get("forked_from") or {}).get("run_id")
            related[entry.run_id] = {each for each in (entry.parent_run_id, forked_from) if each is not None}
        try:
            TopologicalSorter(related).prepare()
        except CycleError:
            raise self._unsound("a run in it is its own parent, or was forked from itself", "archive.record") from None
        for run_id in related:
            try:
                fold(run_id, told_events(archive, run_id))
            except (*NOT_TOLD, RecursionError) as error:
                said = f"{type(error).__name__}: {error}"
                raise self._unsound(f"the records of {run_id} do not follow from one another ({said})", "archive.record") from None

    def _run(self, entry: RunEntry) -> list[StoredEvent]:
        name = f"runs/{entry.run_id}.jsonl"
        content = self._members[name]
        if blake3(content).hexdigest() != entry.blake3:
            raise self._unsound(f"{name} has other content than the manifest says")
        events = read_lines(content, name=name, file=self._file)
        numbers = [event.payload["seq"] for event in events]
        dense = list(range(1, len(events) + 1))
        ordered = numbers == dense if self._manifest.selected is None else numbers == sorted(set(numbers))
        if not events or len(events) != entry.records or not ordered or events[0].kind != "run.submitted":
            raise self._unsound(f"{name} does not hold the records of a run in their order", "archive.record")
        if any(event.payload["run_id"] != entry.run_id for event in events):
            raise self._unsound(f"{name} holds a record of another run", "archive.record")
        first, last = events[0], events[-1]
        status = last.payload["meta"]["status"] if last.kind == "run.finished" else None
        said = (entry.opening_name, entry.parent_run_id, entry.status)
        if said != (first.payload["opening_name"], first.payload["parent_run_id"], status):
            raise self._unsound(f"the manifest says something else about {entry.run_id} than its records", "archive.manifest")
        for event in events:
            blobs = blob_names(event.payload, kind_of(event.kind).blob_fields)
            if not all(isinstance(each, str) for each in blobs):
                raise self._unsound(f"{name} names an object by something else than its digest", "archive.record")
            self._needed.update(blobs)
        return events

    def _unsound(self, message: str, code: str = "archive.altered") -> ArchiveAltered:
        return ArchiveAltered(brief(message), code=code, where=Where(file=self._file), hint=_ALTERED)
