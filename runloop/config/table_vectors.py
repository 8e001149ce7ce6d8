"""The settings of vectors: what makes them, of which documents (docs/search.md)."""

from __future__ import annotations

from runloop.config.kinds import Boolean, ListOf, Number, Text
from runloop.config.registry import Key

DOCUMENTS = ("contacts", "notes", "artifacts", "facts", "messages", "appointments", "commits", "commands", "runs")
_SEARCHING = "vectors of documents, `rlp search` and `rlp kb embed`"

VECTORS: tuple[Key, ...] = (
    Key(
        "kb.vectors.embedder",
        Text(),
        "hashed",
        "What turns documents into vectors: `hashed` (local, no model), `wordllama` (local, extra `semantic`), `provider:model` of "
        "`models.broker.providers` (which then gets the text of every document of `kb.vectors.kinds`), or `off`.",
        effect=_SEARCHING,
        reload=True,
    ),
    Key(
        "kb.vectors.kinds",
        ListOf(Text(DOCUMENTS)),
        ["notes", "artifacts", "facts", "messages", "appointments", "commits"],
        "Kinds of documents that get vectors.",
        effect=_SEARCHING,
        reload=True,
    ),
    Key("kb.vectors.background", Boolean(), "true", "The daemon makes the vectors that are missing.", effect=_SEARCHING, reload=True),
    Key(
        "kb.vectors.floor",
        Number(0, 1),
        None,
        "Likeness (cosine) below which a document is not near; not set, the embedder's own.",
        effect=_SEARCHING,
        nullable=True,
        reload=True,
    ),
)
