"""Find what is known about a topic: passages of notes and artifacts, each with the event, file and line it comes from."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from assembly import assemble
from passages import title_of
from selection import Note, Wanted, select
from wording import tokens, weight

from runloop_agent import CallError, Cancelled, agent, emit, files, kb

DOMAINS = ("notes", "artifacts")
ENDINGS = (".md", ".markdown", ".txt", ".text")
WITHHELD = {
    "secret": "they seem to hold a password or key",
    "confidential": "they are marked as not for others",
    "instructions": "they give orders to a language model",
}
MAX_FILES = 200
MAX_DIRECTORIES = 50
MAX_FILE_BYTES = 262_144
MAX_CHARS = 2_000_000
"""Text of files that is searched in one run; more would take the guest longer than its time."""
MAX_QUERY = 400
MAX_TERMS = 6


@agent
def run(topic: str = "", contact: Any = None, directories: list[str] | None = None, limit: int = 6) -> dict[str, Any]:
    """`out`: topic, excerpts [{event_id, path, line, title, excerpt, score}], withheld {reason: count}, searched.

    Nothing found is an empty list of excerpts.
    """
    asked = " ".join(topic.split())
    if not any(char.isalnum() for char in asked):
        raise ValueError("context_gatherer: there is no topic; give `topic`, what to search for")
    searched: list[str] = []
    wanted = Wanted.of(asked, _name(contact))
    notes = [*_known(asked, wanted, searched), *_from_files(directories or [], searched)]
    chosen = select(wanted, notes, limit=max(1, min(limit, 20)))
    for reason, count in chosen.withheld.items():
        emit.log(f"{count} passage(s) on the topic kept back: {WITHHELD[reason]}", "warn")
    emit.log(f"{len(chosen.excerpts)} excerpt(s) about {asked[:80]!r} from {len(notes)} candidate(s)", "info")
    return {
        "out": {
            "topic": asked,
            "excerpts": [asdict(excerpt) for excerpt in chosen.excerpts],
            "withheld": chosen.withheld,
            "searched": searched,
        }
    }


def _known(topic: str, wanted: Wanted, searched: list[str]) -> list[Note]:
    """What the knowledge base has: one search for the whole topic, then one for each of its telling words."""
    telling = [word for word in re.findall(r"[^\W_]+", topic) if any(weight(term) == 1 for term in tokens(word))][:MAX_TERMS]
    hits: dict[str, Any] = {}
    try:
        for query in dict.fromkeys([topic[:MAX_QUERY], *telling]):
            for hit in kb.search(query, domains=list(DOMAINS), limit=20):
                hits.setdefault(hit.key, hit)
    except Cancelled:
        raise
    except CallError as refused:
        emit.log(f"the knowledge base was not searched: {refused}", "warn")
        return []
    searched.extend(DOMAINS)
    return assemble(wanted, hits.values(), _get)


def _get(key: str) -> kb.Entity | None:
    """What only adds to a hit may be missing."""
    try:
        return kb.get(key)
    except Cancelled:
        raise
    except CallError as refused:
        emit.log(f"{key} was not read: {refused.message}", "debug")
        return None


def _from_files(directories: list[str], searched: list[str]) -> list[Note]:
    """Text files of the directories that can be read; one that is missing or not granted is told, not fatal."""
    found: list[Note] = []
    for directory in directories:
        names = _text_files(directory)
        if names is None:
            continue
        searched.append(directory)
        if len(names) > MAX_FILES:
            emit.log(
                f"{directory} has more than {MAX_FILES} text files; the first are read (import them all: rlp kb import notes DIR)", "warn"
            )
        for name in names[:MAX_FILES]:
            found += _from_file(name)
            if sum(len(note.text) for note in found) > MAX_CHARS:
                emit.log(
                    f"{directory} was read up to {name}: it holds too much text to search unimported (rlp kb import notes DIR)", "warn"
                )
                return found
    return found


def _text_files(directory: str) -> list[str] | None:
    """The text files below a directory, links and hidden names left out; None where it cannot be listed."""
    names: list[str] = []
    waiting, listed = [directory], 0
    while waiting and listed < MAX_DIRECTORIES and len(names) <= MAX_FILES:
        here = waiting.pop(0)
        try:
            entries = files.list(here).entries
        except Cancelled:
            raise
        except CallError as refused:
            emit.log(f"{here} was not read: {refused.message}", "warn")
            if not listed:
                return None
            continue
        listed += 1
        visible = [entry for entry in entries if not entry.path.rpartition("/")[2].startswith(".")]
        names += sorted(entry.path for entry in visible if entry.kind == "file" and entry.path.casefold().endswith(ENDINGS))
        waiting += sorted(entry.path for entry in visible if entry.kind == "directory")
    return names


def _from_file(name: str) -> list[Note]:
    try:
        file = files.read(name, max_bytes=MAX_FILE_BYTES)
    except Cancelled:
        raise
    except CallError as refused:
        emit.log(f"{name} was not read: {refused.message}", "warn")
        return []
    if file.truncated:
        emit.log(f"{name} is larger than {MAX_FILE_BYTES} bytes; its end was not read", "warn")
    return [Note(name, title_of(file.text, name), file.text)]


def _name(contact: Any) -> str:
    person = contact[0] if isinstance(contact, list) and contact else contact
    return str(person.get("name") or "") if isinstance(person, dict) else ""
