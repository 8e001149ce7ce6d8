"""``emit.artifact``: a text kept for the run under its content hash, with its sources."""

from __future__ import annotations

import asyncio
import hashlib
import re
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from runloop.effects.perform.ports import Artifact, RunReporter
from runloop.effects.perform.storage import write_new
from runloop.effects.types import CallContext, CallError, CallErrorKind, EffectClass, Outcome, Prepared, invalid

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DEFAULT_KIND = "text"
HASH_DIGITS = 16  # of the BLAKE3 in the file's name: 64 bits tell apart every version of one artifact
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_MAX_STEM = 80


def artifact_filename(name: str, digest: str) -> str:
    """A file name that is safe everywhere, keeps the artifact's suffix and carries its hash."""
    stem, dot, suffix = name.rpartition(".")
    if not dot or not stem or not re.fullmatch(r"[A-Za-z0-9]{1,10}", suffix):
        stem, suffix = name, ""
    safe = _UNSAFE.sub("-", stem).strip("-.")[:_MAX_STEM] or "artifact"
    return f"{safe}-{digest[:HASH_DIGITS]}{'.' + suffix if suffix else ''}"


class EmitArtifact:
    """Writes the text once per content and records it once per call."""

    def __init__(self, directory: Path, reporter: RunReporter) -> None:
        self._directory, self._reporter = directory, reporter

    def prepare(self, args: Mapping[str, Any], ctx: CallContext) -> Prepared:
        """Check the call and say what it would do."""
        if any(ord(character) < 0x20 for character in args["name"]):
            raise invalid("emit.artifact: the name holds a control character", key="name", hint="use a plain name", code="artifact.name")
        what = f"keep the artifact {args['name']} ({len(args['text'].encode())} bytes)"
        return Prepared("emit.artifact", EffectClass.IDEMPOTENT, what, data=dict(args))

    async def perform(self, prepared: Prepared, ctx: CallContext) -> Outcome:
        """Do what was prepared."""
        args = prepared.data
        content = args["text"].encode()
        digest = blake3(content).hexdigest()
        path = self._directory / artifact_filename(args["name"], digest)
        try:
            if not await asyncio.to_thread(write_new, path, content) and await asyncio.to_thread(path.read_bytes) != content:
                raise CallError(
                    CallErrorKind.UNAVAILABLE,
                    f"{path} exists with another content",
                    code="artifact.damaged",
                    hint="someone changed the file; move it away and run again",
                )
        except OSError as error:
            raise CallError(
                CallErrorKind.UNAVAILABLE,
                f"cannot write {path}: {error.strerror}",
                code="artifact.write",
                hint="check the disk and its rights",
            ) from error
        artifact = Artifact(
            args["name"],
            args.get("kind", DEFAULT_KIND),
            str(path),
            digest,
            hashlib.sha256(content).hexdigest(),
            len(content),
            args.get("summary", ""),
            tuple(args.get("sources") or ()),
        )
        event_id = await self._reporter.artifact(ctx, artifact)
        return Outcome({"path": artifact.path, "blake3": digest, "sha256": artifact.sha256, "event_id": event_id})
