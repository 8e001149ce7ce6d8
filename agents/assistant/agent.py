"""Answer a question from what is recorded, with sources: in words where a model is configured, else as a table."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from asking import LIMIT, OWN, asked_of, subject_of, wanted
from telling import SYSTEM, Fact, checked, fact_of, prompt, table
from when import span_of

from runloop_agent import BudgetSpent, CallError, Denied, TimedOut, Unavailable, agent, emit, kb, model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asking import Subject

WITHOUT_MODEL: tuple[type[CallError], ...] = (Unavailable, Denied, BudgetSpent, TimedOut)
"""Refusals after which the table answers; a call that the host does not understand is a mistake to show, not to hide."""
OFFSET = "SELECT CAST(unixepoch('now', 'localtime') - unixepoch('now') AS INTEGER) AS seconds"
OPENINGS = "SELECT DISTINCT opening_name AS name FROM runs ORDER BY name"
MAX_QUESTION = 400


@agent
def run(question: str = "", use_model: bool = True, utc_offset_s: int | None = None) -> dict[str, Any]:
    """`out`: text, mode (words, table, hits or nothing), how, columns, rows, sources [{event_id, run_id, path, line, what}].

    ``utc_offset_s`` is how far east of UTC the clock of who asks is, in seconds; without it that of the machine is taken.
    """
    asked_for = " ".join(question.split())
    if not any(char.isalnum() for char in asked_for):
        raise ValueError("assistant: there is no question; give `question`, what you want to know")
    now_ms = int(time.time() * 1000)
    offset_s = int(kb.query(OFFSET).rows[0]["seconds"]) if utc_offset_s is None else utc_offset_s
    openings = [str(row["name"]) for row in kb.query(OPENINGS, limit=1000).rows]
    asked = asked_of(asked_for, span_of(asked_for, now_ms, offset_s), now_ms, openings)
    subject = subject_of(asked)
    if subject is None:
        return {"out": _search(asked_for, use_model=use_model)}
    about, words = subject
    found = kb.query(about.query(asked), limit=LIMIT)
    time_said = asked.span.words if asked.span else "the time that is usual for it"
    how = (
        f"asked about {about.what} (because of: {words}; time: {time_said}" + (f"; opening: {asked.opening}" if asked.opening else "") + ")"
    )
    emit.log(how, "info")
    return {"out": _told(asked_for, about, found, how, asked.span.words if asked.span else "", offset_s, use_model=use_model)}


def _told(question: str, about: Subject, found: kb.Rows, how: str, when: str, offset_s: int, *, use_model: bool) -> dict[str, Any]:
    rows, columns = found.rows, found.columns
    if not rows:
        return _out(f"{about.none}{f' ({when})' if when else ''}.", "nothing", how)
    facts = [fact_of(columns, row, offset_s, _source(row)) for row in rows]
    words = _in_words(question, facts) if use_model else None
    if words is not None:
        text, cited = words
        return _out(text, "words", how, columns, rows, cited)
    more = f"\nand more: only the newest {len(rows)} are shown" if found.truncated else ""
    return _out(table(columns, rows, offset_s) + more, "table", how, columns, rows, facts)


def _search(question: str, *, use_model: bool) -> dict[str, Any]:
    """Hits of a search, in words where a model can say what they say."""
    found = kb.search(wanted(question)[:MAX_QUESTION], limit=16)
    hits = [hit for hit in found if (hit.domain, hit.title) != ("runs", OWN)][:8]  # earlier questions answer nothing
    how = "searched what is known for the words of the question"
    if not hits:
        return _out(
            f"Nothing is known about \u201c{question}\u201d. `rlp kb import` takes in notes, contacts, mail and more.", "nothing", how
        )
    facts = [Fact(f"{hit.title}: {hit.excerpt}", _place(hit)) for hit in hits]
    words = _in_words(question, facts) if use_model else None
    if words is not None:
        text, cited = words
        return _out(text, "words", how, sources=cited)
    lines = [f"[{number}] {hit.title or hit.key} ({hit.domain}): {_short(hit.excerpt)}" for number, hit in enumerate(hits, 1)]
    return _out("\n".join(lines), "hits", how, sources=facts)


def _in_words(question: str, facts: Sequence[Fact]) -> tuple[str, list[Fact]] | None:
    """A model's answer with the facts that it cites; None where no model answers or its answer does not stand on the facts."""
    try:
        said = model.complete(prompt(question, facts), system=SYSTEM, max_tokens=400, temperature=0.0)
    except WITHOUT_MODEL as refused:
        emit.log(f"no model: {refused.message}; the answer is a table", "info")
        return None
    answer = checked(said.text, facts)
    if answer is None:
        emit.log("the model's answer does not rest on what was found; the answer is a table", "warn")
    return answer


def _out(
    text: str, mode: str, how: str, columns: Sequence[str] = (), rows: Sequence[dict[str, Any]] = (), sources: Sequence[Fact] = ()
) -> dict[str, Any]:
    named = [fact.source for fact in sources if fact.source]
    return {"text": text, "mode": mode, "how": how, "columns": list(columns), "rows": list(rows), "sources": named}


def _source(row: dict[str, Any]) -> dict[str, Any]:
    """Where a row comes from: its event, its run."""
    return {key: row[key] for key in ("event_id", "run_id") if row.get(key) is not None}


def _place(hit: kb.Hit) -> dict[str, Any]:
    place = {"event_id": hit.event_id, "path": hit.path, "line": hit.line, "what": hit.title or hit.key}
    return {key: value for key, value in place.items() if value is not None}


def _short(text: str) -> str:
    line = re.sub(r"\s+", " ", text).strip()
    return line if len(line) <= 160 else line[:159] + "…"
