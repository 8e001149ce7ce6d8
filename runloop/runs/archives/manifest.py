"""What an archive says about itself: ``manifest.json``, whose digest is what is signed."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

import msgspec
from blake3 import blake3
from msgspec import Meta, Struct

from runloop.errors import Where
from runloop.events.canonical import NOT_JSON
from runloop.events.domain import Count, Hash
from runloop.events.ids import UUID_PATTERN
from runloop.runs.archives.container import ArchiveAltered, brief

MANIFEST = "manifest.json"
SIGNATURE = "signature.json"
P = TypeVar("P", bound=Struct)
Uuid = Annotated[str, Meta(pattern=f"^{UUID_PATTERN}$")]


class Part(Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the manifest: a closed set of fields."""


class RunEntry(Part, frozen=True):
    """A run that is inside: its records are the lines of ``runs/<run_id>.jsonl``, whose BLAKE3 is ``blake3``."""

    run_id: Uuid
    opening_name: str
    parent_run_id: Uuid | None
    status: str | None
    records: Count
    blake3: Hash
    runloop: str
    guest: str | None


class BundleEntry(Part, frozen=True):
    """A bundle that is inside: its files by path, each an object."""

    name: str
    variant: str | None
    files: dict[str, Hash]


class Manifest(Part, frozen=True):
    """The first member. ``root`` is the run that was exported, the others are its children and what it was forked from.

    ``missing`` are digests of bundles that were not to be had any more. ``selected`` names the nodes whose records are inside, where not
    all are. ``redacted`` counts the values that were masked: no hash of a masked value can be verified, and nothing can be replayed.
    """

    format: Literal["runloop.archive.v1"]
    root: Uuid
    ledger_id: Uuid
    runs: list[RunEntry]
    bundles: dict[Hash, BundleEntry]
    missing: list[Hash]
    selected: list[str] | None = None
    redacted: Count | None = None

    def encode(self) -> bytes:
        """The canonical bytes."""
        return msgspec.json.encode(self, order="deterministic")


def read_part(data: bytes, kind: type[P], *, name: str, file: str | None) -> P:
    """Decode a member. Raises :class:`ArchiveAltered` ``archive.manifest`` with the field that is wrong."""
    try:
        return msgspec.json.decode(data, type=kind, strict=True)
    except NOT_JSON as error:
        hint = "it was made by another version of Runloop, or damaged"
        raise ArchiveAltered(brief(f"{name}: {error}"), code="archive.manifest", where=Where(file=file, key=name), hint=hint) from None


def digest_of(manifest: bytes) -> str:
    """The digest of an archive: BLAKE3 of its manifest, which names the digest of everything else."""
    return blake3(manifest).hexdigest()
