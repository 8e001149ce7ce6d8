"""Bring the vectors up to the documents, batch after batch: interrupted at any point, it goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from runloop.dataclass import dataclass
from runloop.kb.vectors.port import Embedder, EmbedderError, Meaning, unit
from runloop.kb.vectors.store import VectorStore


@dataclass(frozen=True, slots=True)
class Progress:
    """How many vectors were made and removed so far, of how many documents, and whether they had all to be made anew."""

    made: int
    removed: int
    documents: int
    embedded: int
    anew: bool = False


def catch_up(
    store: VectorStore,
    meaning: Meaning,
    *,
    most: int | None = None,
    batch: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Progress:
    """Make the vectors that are missing, at most ``most``, ``batch`` at a time, the newest documents first.

    ``stop`` is asked before each batch, ``progress`` told after it.

    Raises:
        RunloopError: what the embedder raises; every batch before that is kept.

    """
    embedder, domains = meaning.embedder, meaning.domains
    anew = store.embedder() not in {None, embedder.identity}
    if anew:
        store.start(embedder, len(_vectors(embedder, ["dimension"])[0]) // 4)  # it answers: now the old ones may go
    removed, seen = store.prune(domains), store.newest()
    status = store.status(domains, counted=True)
    made, embedded, before = 0, status.embedded, 2**62
    while not stop() and (most is None or made < most):
        count = min(batch or embedder.batch, embedder.batch, most - made if most is not None else embedder.batch)
        documents = store.pending(domains, before, count)
        if not documents:
            store.note(seen, 0)
            break
        vectors = _vectors(embedder, [each.text(embedder.max_chars) for each in documents])
        if store.start(embedder, len(vectors[0]) // 4):  # the model behind the name gives vectors of another length now
            anew, embedded, before = True, 0, 2**62
            continue
        store.put(documents, vectors)
        made, embedded, before = made + len(documents), embedded + len(documents), documents[-1].document
        store.note(seen, status.documents - embedded)
        progress(Progress(made, removed, status.documents, embedded, anew))
    return Progress(made, removed, status.documents, embedded, anew)


def _vectors(embedder: Embedder, texts: Sequence[str]) -> list[bytes]:
    """Unit vectors of one length, one for each text."""
    vectors = embedder.embed(texts)
    lengths = {len(vector) for vector in vectors}
    if len(vectors) != len(texts) or len(lengths) != 1 or lengths == {0}:
        sizes = ", ".join(map(str, sorted(lengths)))
        message = f"{embedder.identity} gave {len(vectors)} vectors of length {sizes or 'none'} for {len(texts)} texts"
        raise EmbedderError(message, code="kb.bad_vector", hint="use another embedding model")
    return [unit(vector) for vector in vectors]
