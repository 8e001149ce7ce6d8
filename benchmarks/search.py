"""Row 13: search in a base of 1 M events with 100,000 documents. Run: `python benchmarks/search.py [--small] [--base DIR] [--runs N]`.

The base is made of runs (15 events each), passages of notes and contacts, in a directory that is removed afterwards; with `--base` it is
kept there and used again. Measured are calls of `KnowledgeBase`, each with everything that a caller pays (a look whether the derived tables
follow the ledger, the query, the hits with their excerpts):

- words: a mixture as people type it (one word of any frequency, two, three, a prefix, a phrase, OR and NOT, a person's name, a typing
  error, nothing that exists); and by itself the word that is in half of all passages;
- hybrid: the same fused with the nearest of the vectors (the hashed embedder, 384 numbers), for as many documents as the base has notes and
  runs, up to 50,000;
- ingest: events a second appended and brought into the derived tables, alone and while another thread searches all the time.
"""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

import apsw
from _base import EVENTS_OF_A_RUN, Words, batches, fill, runs
from _common import arguments, percentile, report, summary

from runloop.kb import KnowledgeBase
from runloop.kb.search import Request
from runloop.kb.vectors import HashedEmbedder, Meaning, catch_up

FULL = {"people": 8_000, "passages": 29_000, "run_count": 64_200}
SMALL = {"people": 80, "passages": 290, "run_count": 40}
VECTORS = 50_000
QUERIES = 400
KINDS = ("notes", "runs")


def queries(words, count):
    """What people type, words as frequent as in the texts (rare ones more often: they are what people look for)."""
    draw, made = words.random, []
    forms = ("one", "one", "two", "two", "three", "rare", "prefix", "phrase", "operators", "name", "typo", "nothing")
    for number in range(count):
        a, b, c = words.some(3)
        rare = words.all[draw.randint(1000, len(words.all) - 1)]
        form = forms[number % len(forms)]
        made.append(
            {
                "one": a,
                "two": f"{a} {b}",
                "three": f"{a} {b} {c}",
                "rare": f"{rare} {a}",
                "prefix": f"{rare[:4]}*",
                "phrase": f'"{a} {b}"',
                "operators": f"({a} OR {rare}) -{b}",
                "name": f"{rare.capitalize()} {c.capitalize()}",
                "typo": rare[:2] + rare[3:],
                "nothing": "xyzzyx",
            }[form]
        )
    return made


def timed(calls):
    """Milliseconds of each call: by the clock, and of the processor, which other programs of the machine do not lengthen."""
    times = []
    for call in calls:
        began, busy = time.perf_counter(), time.thread_time()
        call()
        times.append(((time.perf_counter() - began) * 1000, (time.thread_time() - busy) * 1000))
    return times


def spread(times, name=""):
    wall, busy = zip(*times, strict=True)
    return {
        f"{name}p50 ms": percentile(wall, 50),
        f"{name}p99 ms": percentile(wall, 99),
        f"{name}processor p50 ms": percentile(busy, 50),
        f"{name}processor p99 ms": percentile(busy, 99),
    }


def measure(kb, asked, meaning=None):
    def call(query):
        return lambda: kb.search_for(Request(query, limit=10), meaning=meaning)

    return spread(timed(map(call, asked)))


def ingest(kb, words, count, asked=None):
    """Events a second, appended in batches of 64 and brought into the tables; with ``asked``, while another thread searches."""
    over = threading.Event()
    times = []

    def search():
        while not over.is_set():
            times.extend(timed([lambda: kb.search_for(Request(asked[len(times) % len(asked)], limit=10))]))

    searcher = threading.Thread(target=search) if asked else None
    if searcher:
        searcher.start()
    began = time.perf_counter()
    done = 0
    for batch in batches(runs(words, count // EVENTS_OF_A_RUN), 64):
        kb.ledger.append(batch, check=False)
        kb.sync()
        done += len(batch)
    rate = done / (time.perf_counter() - began)
    over.set()
    if searcher:
        searcher.join()
        return {"events/s": rate, "searches": len(times), **spread(times, "search ")}
    return {"events/s": rate}


def prepared(folder, words, size):
    """The base in the folder, filled where it is empty, and how long that took."""
    kb = KnowledgeBase.open(folder)
    began = time.perf_counter()
    if not kb.ledger.head().id:
        fill(kb, words, **size)
    kb.sync()
    return kb, time.perf_counter() - began


def repeated(work, times):
    results = [work() for _ in range(times + 1)][1:]
    return {name: summary([result[name] for result in results]) for name in results[0]}


def main():
    options = arguments(__doc__.splitlines()[0], base="keep the base in this directory and use it again")
    size, count, repeats = (SMALL, 24, 1) if options.small else (FULL, QUERIES, options.runs)
    words = Words()
    asked = queries(Words(seed=11) if options.base is None else words, count)
    with tempfile.TemporaryDirectory(prefix="runloop-bench-") as made:
        folder = Path(options.base or made)
        kb, fill_s = prepared(folder, words, size)
        with kb:
            head = kb.ledger.head().id
            with kb.reading() as db:
                documents = db.execute("SELECT count(*) FROM documents").get
            figures = {
                "words, a mixture": repeated(lambda: measure(kb, asked), repeats),
                "words, one in half of the passages": repeated(lambda: measure(kb, [words.all[0]] * (count // 4)), repeats),
            }
            meaning = Meaning(HashedEmbedder(), KINDS)
            began = time.perf_counter()
            made_now = catch_up(kb.vectors, meaning, most=max(0, VECTORS - kb.vectors.status(KINDS, counted=True).embedded)).made
            embed_s = time.perf_counter() - began
            plain = [query for query in asked if query.replace(" ", "").isalpha() and query.isascii()]
            figures["hybrid"] = repeated(lambda: measure(kb, plain, meaning), repeats)
            figures["ingest alone"] = repeated(lambda: ingest(kb, words, 100 * count // 4), repeats)
            figures["ingest while searching"] = repeated(lambda: ingest(kb, words, 100 * count // 4, asked), repeats)
            sizes = {name: (folder / name).stat().st_size for name in ("events.sqlite", "pog.sqlite", "vectors.sqlite")}
            report(
                "search", figures, "apsw", "sqlite-vec", sqlite=apsw.sqlite_lib_version(), events=head, documents=documents,
                vectors=kb.vectors.status(KINDS, counted=True).embedded, index=kb.vectors.index.name,
                fill_s=round(fill_s, 1), vectors_a_second=round(made_now / embed_s) if made_now else None, bytes=sizes,
            )  # fmt: skip


if __name__ == "__main__":
    main()
