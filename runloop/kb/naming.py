"""What a person may call an entity, and which it is: by key, address, name, path, hash, run, event, message or approval."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from runloop.dataclass import dataclass
from runloop.errors import InvalidInput
from runloop.kb.derived import contact_key
from runloop.kb.people import find_by_number, find_people
from runloop.kb.pruning.archived import ArchivedRuns
from runloop.kb.runs import matching, run_prefix
from runloop.text import awaited, legible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import apsw

    from runloop.kb.ledger import Ledger
MAX_CANDIDATES = 10
MAX_FILE_BYTES = 256 * 1024 * 1024  # a larger file is not read to find its hash
_BATCH = 5000  # events that are looked at together
_WROTE = """SELECT id, json_extract(payload_json, '$.meta.result.path'), json_extract(payload_json, '$.meta.result.blake3') FROM events
    WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id DESC"""
_NOW = 2**63  # later than every event
_HASH = re.compile(r"[0-9a-f]{8,64}")
_PLACE = re.compile(r"(.+):(\d{1,9})")
_KEYED = ("account", "message", "appointment", "commit", "command")  # with a table and a key of their own
_PREFIXES = ("contact", "artifact", "note", "run", "event", "node", "mail", "approval", "fact", *_KEYED)
HOWTO = "say it by an address, a name, a path[:line], a run (or `last`), event:N, a hash, a Message-ID, or a key of `rlp search --json`"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entity: its key, what it is, and the words that name it and nothing else."""

    key: str
    what: str
    say: str
    note: str = ""
    """What a person should know of it besides."""


def find(text: str, ledger: Ledger, db: apsw.Connection, folder: Path | None = None, *, until: int | None = None) -> list[Candidate]:
    """What ``text`` may name: what it names exactly, else what it resembles; nothing that began after event ``until``.

    Relative paths are taken from ``folder``, None is nowhere.
    """
    word = legible(text).strip()
    if not word:
        return []
    search = _Search(word, ledger, db, folder, until)
    for look in (search.exact, search.written_here, search.held, search.written, search.noted, search.alike):
        found = {each.key: each for each in look()}
        if found:
            return list(found.values())[:MAX_CANDIDATES]
    return []


def only(text: str, found: list[Candidate], mask: Callable[[str], str]) -> Candidate:
    """The one that is meant. Raises InvalidInput ``kb.unknown_entity`` or ``kb.ambiguous``, with how to say it."""
    if not found:
        raise InvalidInput(f"nothing is known of {text!r}", code="kb.unknown_entity", hint=HOWTO)
    if len(found) > 1:
        listed = "\n".join(f"{each.say}  {mask(each.what)}" for each in found)
        more = " or more" if len(found) == MAX_CANDIDATES else ""
        message = f"{text!r} may be any of {len(found)}{more}"
        raise InvalidInput(message, code="kb.ambiguous", hint=f"say one of them:\n{listed}")
    return found[0]


@dataclass(frozen=True, slots=True)
class _Written:
    """The newest events that wrote a file: at its path what it holds now, else at its path, and what it holds now at any."""

    is_there: bool = False
    both: int | None = None
    here: int | None = None
    same: int | None = None


class _Search:
    def __init__(self, text: str, ledger: Ledger, db: apsw.Connection, folder: Path | None, until: int | None) -> None:
        self._text, self._ledger, self._db, self._folder = text, ledger, db, folder
        self._until = _NOW if until is None else until
        self._wrote: _Written | None = None
        prefix, colon, rest = text.partition(":")
        self._sort = prefix if colon and prefix in _PREFIXES else ""
        self._rest = rest if self._sort else text

    def exact(self) -> Iterator[Candidate]:
        """What it names without doubt."""
        for sort, look in (
            *(("event", self._event), ("run", self._run), ("node", self._node), ("approval", self._approval), ("mail", self._mail)),
            *(("contact", self._contact), ("artifact", self._artifact), ("note", self._note), ("fact", self._fact)),
            *((sort, self._keyed) for sort in _KEYED if self._sort == sort),
            *(("message", self._message), ("commit", self._commit)),
        ):
            if self._sort in ("", sort):
                yield from look()

    def written_here(self) -> Iterator[Candidate]:
        """The newest writing of what the file on this disk holds now, at its own path: whatever else has that content is another."""
        if (number := self._written().both) is not None:
            yield Candidate(f"event:{number}", "file written", f"event:{number}")

    def written(self) -> Iterator[Candidate]:
        """The newest writing of what the file on this disk holds now, at any path; else the newest at this path."""
        found = self._written()
        if (number := found.same or found.here) is not None:
            note = "it was written over or changed since" if found.is_there else "it is not there any more"
            yield Candidate(f"event:{number}", "file written", f"event:{number}", "" if found.same else note)

    def _written(self) -> _Written:
        if self._wrote is None:
            self._wrote = _Written() if self._sort or self._folder is None else self._newest_writings(Path(self._absolute(self._rest)))
        return self._wrote

    def _newest_writings(self, path: Path) -> _Written:
        data = _content(path)
        own, places = None if data is None else blake3(data).hexdigest(), {str(path), os.path.realpath(path)}
        sql = "SELECT ended_event FROM effects WHERE name = 'files.write' AND status = 'completed' ORDER BY ended_event DESC"
        numbers = [number for (number,) in self._rows(sql)]
        here = same = None
        for begin in range(0, len(numbers), _BATCH):
            with self._ledger.reading() as db:
                rows: list[Any] = db.execute(_WROTE, (json.dumps(numbers[begin : begin + _BATCH]),)).fetchall()
            for number, place, content in rows:  # neither is there where it was erased
                is_here, is_same = place in places, own is not None and content == own
                if is_here and is_same:
                    return _Written(data is not None, both=number)
                here, same = here or (number if is_here else None), same or (number if is_same else None)
        return _Written(data is not None, here=here, same=same)

    def noted(self) -> Iterator[Candidate]:
        """Any other key under which events are known: the newest of them."""
        sql = "SELECT max(event_id) FROM entity_history WHERE entity_key = ? HAVING max(event_id) IS NOT NULL"
        for (number,) in self._rows(sql, self._text):
            yield Candidate(f"event:{number}", self._text, self._text)

    def alike(self) -> Iterator[Candidate]:
        """Names of people that are close, ends of paths, subjects and titles."""
        if self._sort in ("", "contact"):
            for person in find_by_number(self._db, self._rest, MAX_CANDIDATES) or find_people(self._db, self._rest, MAX_CANDIDATES):
                yield Candidate(f"contact:{person.key}", f"{person.name} <{person.email}>", f"contact:{person.key[:16]}")
        if self._sort in ("", "note", "artifact"):
            end = _ending(self._rest)
            for (path,) in self._rows("SELECT DISTINCT path FROM notes WHERE path LIKE ? ESCAPE '\\' LIMIT 10", end):
                yield Candidate(f"note:{path}", "notes", f"note:{path}")
            for key, path in self._rows("SELECT artifact_key, path FROM artifacts WHERE path LIKE ? ESCAPE '\\' LIMIT 10", end):
                yield Candidate(f"artifact:{key}", path, f"artifact:{key[:16]}")
        if not self._sort:
            for number, subject in self._rows("SELECT event_id, subject FROM mails WHERE subject = ? COLLATE NOCASE LIMIT 10", self._text):
                yield Candidate(f"event:{number}", f"mail {subject!r}", f"event:{number}")

    def _event(self) -> Iterator[Candidate]:
        number = int(self._rest) if self._rest.isascii() and self._rest.isdigit() and len(self._rest) < 19 else 0
        if 0 < number <= self._until and (self._ledger.get(number) is not None or self._ledger.was_pruned(number)):
            key = f"event:{number}"
            yield Candidate(key, "event", key)

    def _run(self) -> Iterator[Candidate]:
        prefix = run_prefix(self._rest)
        archived = ArchivedRuns(self._ledger).run_ids(prefix, MAX_CANDIDATES) if prefix not in {"", "last"} else []
        own = self._last_then() if prefix == "last" and self._until < _NOW else matching(self._ledger, self._rest)
        for run_id in dict.fromkeys([*own, *archived]):
            name: Any = self._db.execute("SELECT opening_name FROM runs WHERE run_id = ?", (run_id,)).get
            if name is None and self._until < _NOW:
                continue
            yield Candidate(f"run:{run_id}", f"run of {name}" if name else "archived run", f"run:{run_id}")

    def _last_then(self) -> list[str]:
        """The newest run of the past that no other run started."""
        return [row[0] for row in self._rows("SELECT run_id FROM runs WHERE parent_run_id IS NULL ORDER BY first_event DESC LIMIT 1")]

    def _node(self) -> Iterator[Candidate]:
        run, hash_sign, node = self._rest.partition("#")
        for run_id in matching(self._ledger, run) if hash_sign else ():
            if self._db.execute("SELECT 1 FROM run_nodes WHERE run_id = ? AND node_id = ?", (run_id, node)).get:
                yield Candidate(f"node:{run_id}#{node}", f"node {node}", f"node:{run_id}#{node}")

    def _approval(self) -> Iterator[Candidate]:
        for number, action in self._rows("SELECT source_event, action FROM approvals WHERE approval_id = ?", self._rest):
            yield Candidate(f"event:{number}", awaited(self._rest, action), f"event:{number}")

    def _mail(self) -> Iterator[Candidate]:
        bare = self._rest.strip("<>")
        number = int(bare) if self._sort and bare.isdigit() and len(bare) < 19 else 0
        sql = "SELECT event_id, subject FROM mails WHERE message_id IN (?, ?) OR path = ? OR event_id = ?"
        for found, subject in self._rows(sql, bare, f"<{bare}>", self._path(), number):
            yield Candidate(f"event:{found}", f"mail {subject!r}", f"event:{found}")

    def _message(self) -> Iterator[Candidate]:
        bare = self._rest.strip("<>")
        for key, subject in self._rows("SELECT message_key, subject FROM messages WHERE message_id IN (?, ?)", bare, f"<{bare}>"):
            yield Candidate(f"message:{key}", f"message {subject!r}", f"message:{key}")

    def _commit(self) -> Iterator[Candidate]:
        word = self._rest.lower()
        sql = "SELECT commit_key, subject FROM commits WHERE commit_key >= ? AND commit_key < ? LIMIT 10"
        for key, subject in self._rows(sql, word, word + "g") if _HASH.fullmatch(word) else ():
            yield Candidate(f"commit:{key}", f"commit {subject!r}", f"commit:{key}")

    def _fact(self) -> Iterator[Candidate]:
        if self._sort and self._rest.isdigit() and self._rows("SELECT 1 FROM facts WHERE fact_id = ?", int(self._rest[:18])):
            yield Candidate(f"fact:{self._rest}", "fact", f"fact:{self._rest}")

    def _keyed(self) -> Iterator[Candidate]:
        if self._rows(f"SELECT 1 FROM {self._sort}s WHERE {self._sort}_key = ?", self._rest):  # noqa: S608 - our own names
            yield Candidate(self._text, self._sort, self._text)

    def _contact(self) -> Iterator[Candidate]:
        sql = """SELECT contact_key, name, email FROM contacts WHERE contact_key = ?
                 OR contact_key IN (SELECT contact_key FROM contact_emails WHERE email = ?)"""
        word = self._rest.strip().lower()
        rows = self._rows(sql, contact_key(word) if "@" in word else word, word)
        if not rows and _HASH.fullmatch(word):
            rows = self._rows("SELECT contact_key, name, email FROM contacts WHERE contact_key >= ? AND contact_key < ?", word, word + "g")
        for key, name, email in rows:
            yield Candidate(f"contact:{key}", f"{name} <{email}>", f"contact:{key}")

    def _artifact(self) -> Iterator[Candidate]:
        word = self._rest.lower()
        end = word + "g" if _HASH.fullmatch(word) else word
        sql = """SELECT artifact_key, path FROM artifacts WHERE (artifact_key >= :word AND artifact_key < :end) OR blake3 = :word
                 OR (blake3 >= :word AND blake3 < :end) OR artifact_key = :word OR path = :path LIMIT 10"""
        for key, path in self._db.execute(sql, {"word": word, "end": end, "path": self._path()}).fetchall():
            yield Candidate(f"artifact:{key}", str(path), f"artifact:{key}")

    def _note(self) -> Iterator[Candidate]:
        path, _, part = self._rest.rpartition("#")
        if path and part.isdigit() and self._rows("SELECT 1 FROM notes WHERE path = ? AND part = ?", path, int(part)):
            yield Candidate(f"note:{self._rest}", "passage", f"note:{self._rest}")
            return
        place = _PLACE.fullmatch(self._rest)
        if place is not None:
            yield from self._passages(place[1], int(place[2]))
        whole = self._path()
        if self._rows("SELECT 1 FROM notes WHERE path = ? LIMIT 1", whole):
            yield Candidate(f"note:{whole}", "notes", f"note:{whole}")

    def _passages(self, path: str, line: int) -> Iterator[Candidate]:
        """The passages that hold a line, in the file at this path, else in those whose paths end so."""
        sql = "SELECT path, part, line, end_line FROM notes WHERE path {} AND line <= ? AND end_line >= ? LIMIT 10"
        rows = self._rows(sql.format("= ?"), self._absolute(path), line, line)
        for name, part, first, last in rows or self._rows(sql.format("LIKE ? ESCAPE '\\'"), _ending(path), line, line):
            yield Candidate(f"note:{name}#{part}", f"lines {first} to {last}", f"note:{name}#{part}")

    def held(self) -> Iterator[Candidate]:
        """A file on this disk, by its content: wherever it lies now, and whatever it is called."""
        if self._sort or self._folder is None:
            return
        data = _content(Path(self._absolute(self._rest)))
        if data is None:
            return
        sha256, own = hashlib.sha256(data).hexdigest(), blake3(data).hexdigest()
        for key, path in self._rows("SELECT artifact_key, path FROM artifacts WHERE sha256 = ? OR blake3 = ?", sha256, own):
            yield Candidate(f"artifact:{key}", path, f"artifact:{key}")
        for (path,) in self._rows("SELECT DISTINCT path FROM notes WHERE file_hash = ?", own):
            yield Candidate(f"note:{path}", "notes", f"note:{path}")
        ids = [row[0] for row in self._rows("SELECT event_id FROM mails")]
        for number in ids:
            event = self._ledger.get(number)
            if event is not None and event.payload.get("content_hash") == own:
                yield Candidate(f"event:{number}", f"mail {event.payload.get('subject')!r}", f"event:{number}")

    def _rows(self, sql: str, *values: Any) -> list[Any]:
        return list(self._db.execute(sql, values).fetchall())

    def _path(self) -> str:
        """The path that is meant, as records have it: in a folder whose name is no text there is none of them."""
        return legible(self._absolute(self._rest))

    def _absolute(self, text: str) -> str:
        return text if self._folder is None else os.path.normpath(self._folder / at_home(text))


def at_home(text: str) -> Path:
    """The path with ``~`` as a home; as it stands where nobody has that name."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def _content(path: Path) -> bytes | None:
    try:
        if not path.is_file() or path.stat().st_size > MAX_FILE_BYTES:
            return None
        return path.read_bytes()
    except OSError:
        return None


def _ending(path: str) -> str:
    """A pattern for LIKE (a backslash escapes): paths that end so."""
    text = path.removeprefix("./")
    for special in ("\\", "%", "_"):
        text = text.replace(special, "\\" + special)
    return "%/" + text
