"""Forgetting a person: everything in the ledger that mentions them, what can be erased of it, and what cannot.

What is about them, or was said to or by them, goes as a whole; in records of runs and in what the host wrote down, every text that
mentions them is taken out, and in records of runs what they quote of that which goes; the record stays. What is found is what is
written: an address, a handle with its service, a name in full.
"""

from __future__ import annotations

import mmap
import re
import shlex
import unicodedata
from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass
from runloop.errors import InvalidInput
from runloop.events import InvalidEvent, current, is_erased, is_run_record, parse
from runloop.events.records import CONTENT_HASHES, FORM, SAID_IN_ERRORS
from runloop.kb.derived import contact_key, unaccented
from runloop.kb.erasing import KIND, NAMED, Erasure, Left, in_use, without_texts
from runloop.kb.fact_projections import NAMING
from runloop.kb.people import find_people, load_person
from runloop.kb.quoting import records_that_may_quote, without_quotes
from runloop.kb.rows import COLUMNS, stored

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    import apsw

    from runloop.events import StoredEvent
    from runloop.kb.base import KnowledgeBase

TAKEN_OUT = "[erased]"
_KEPT_FORM = frozenset(
    {"cap.audit", "import.finished", "replay.reported", "archive.imported", "runs.archived", "runs.restored", "privileged.read"}
    | {"files.putting_back", "files.put_back"}
)
_CHOICES = frozenset({"what", "origin", "agent", "cap", "op", "decision", "severity"})  # of what the host wrote down: its own words
_IDENTIFIER = re.compile(r"[a-z_]\w*", re.ASCII)
_PLACES = {  # where the file stands that an event was read from or that it made
    **dict.fromkeys(("contact.upserted", "account.upserted", "note.imported", "message.imported", "appointment.imported"), "path"),
    **dict.fromkeys(("command.imported", "artifact.created", "email.sent"), "path"),
    "commit.imported": "repository",
}
_ABOUT = {
    "fact.remembered": ("subject", "predicate"),
    "note.imported": ("path", "line"),
    "artifact.created": ("path",),
    "email.sent": ("subject",),
    "message.imported": ("subject",),
}
_EVENT = re.compile("event:[0-9]{1,18}")
_SHORTEST_NUMBER = 7  # digits of a telephone number that is looked for: fewer stand everywhere
_TITLES = re.compile(r"^(?:[^\W\d_]{2,}\.\s+)+|,.*$")  # before a name, and what stands behind it
_UNSEEN = re.compile("[\xad\u200b-\u200f\u2060\ufeff]")
_SHORTEST_NAME = 4  # letters of a name of one word; a shorter one is a part of too many others


@dataclass(frozen=True, slots=True)
class Mention:
    """An event that mentions the person: ``action`` is ``erase``, ``take out`` or ``stays``, and then ``why``."""

    event_id: int
    kind: str
    what: str
    action: str
    why: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"event_id": self.event_id, "kind": self.kind, "what": self.what, "action": self.action, "why": self.why}


@dataclass(frozen=True, slots=True)
class Forgetting:
    """What would be done: the texts that were looked for, every event found, and what lies outside of the knowledge base."""

    texts: tuple[str, ...]
    mentions: tuple[Mention, ...]
    lefts: tuple[Left, ...]
    outside: tuple[str, ...]
    head: int
    """The last event that was surely looked at."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        found = [mention.to_dict() for mention in self.mentions]
        return {"looked_for": list(self.texts), "mentions": found, "outside": list(self.outside)}


class Texts:
    """What to look for, as whole words, in any case, with or without accents; no address as a part of a longer one, which is another's."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts = tuple(dict.fromkeys(text.strip() for text in texts if text.strip()))
        split = (_plain(text).replace(",", ", ").split() for text in self.texts)
        words = [r"\s+".join(map(re.escape, each)).replace(r",\s+", r",\s*") for each in split]
        self._pattern = re.compile("|".join(map(_bounded, words)), re.IGNORECASE)
        self.blobs: frozenset[str] = frozenset()
        """The names of blobs that mention them: to name one is to mention them."""
        self._hints = [max(re.findall(r"\w+", _plain(text).casefold()) or [""], key=len) for text in self.texts]

    def may_be_in(self, written: str) -> bool:
        """Whether JSON text can hold one of them; False is certain."""
        folded = _plain(written).casefold()
        return any(hint in folded for hint in self._hints)

    def are_in(self, value: Any) -> bool:
        """Whether a text of the JSON value, or a key, mentions one of them."""
        return any(self._pattern.search(_plain(text)) for text in _walk(value))

    def take_out(self, text: str) -> str:
        """The text, or what stands for one that mentions them."""
        return TAKEN_OUT if text in self.blobs or self._pattern.search(_plain(text)) else text


def _bounded(word: str) -> str:
    """The expression, where no letter stands before or behind it; of an address, nor more of one: `ada@x.co` is not in `j.ada@x.co.uk`.

    What ends as a file does (`ada@x.co.md`) is the same address.
    """
    if "@" not in word and "://" not in word:
        return rf"(?<!\w){word}(?!\w)"
    more = r"-?\w|\.\w" if "://" in word else r"\w|\.(?:\w+\.)*(?:com|(?!md|gz)[a-z]{2})(?!\w)"
    return rf"(?<!\w)(?<!\w[.+'-]){word}(?!{more})"


def plan(kb: KnowledgeBase, person: str | None, also: Iterable[str] = (), tick: Callable[[int], None] = lambda _done: None) -> Forgetting:
    """Find everything that mentions ``person`` or what ``also`` says. Raises InvalidInput for words of several people, or of too little."""
    also = list(also)
    earlier = _erased_before(kb, also)
    with kb.reading() as db:
        texts = Texts(_with_masks(kb, [*(() if person is None else _texts_of(db, person)), *also]))
    head = kb.ledger.head().id
    found = list(_mentions(kb, texts, tick))
    with kb.reading() as db:
        more = _replaced(db, [event for event, _ in found])
    with kb.ledger.reading() as db:
        values = _later_values(db)
        using = in_use(db)
    more |= _of_subjects(found, values, texts)
    known = {event.id for event, _ in found}
    found += [(event, _whole(kb, event)) for number in more - known if (event := kb.ledger.get(number)) is not None]
    gone = earlier.union(event.id for event, _ in found if _goes(event, texts))
    found += list(_quoting(kb, gone, {event.id for event, _ in found}))
    found.sort(key=lambda each: each[0].id)
    mentions, lefts = [], []
    for event, full in found:
        mention, left = _decided(event, full, texts, using, values, gone)
        mentions.append(mention)
        if left is not None:
            lefts.append(left)
    outside = tuple(dict.fromkeys(path for event, full in found if (path := _file_of(event, full))))
    return Forgetting(texts.texts, tuple(mentions), tuple(lefts), outside, head)


def again(forgetting: Forgetting, erasure: Erasure) -> tuple[str, ...]:
    """What to look for once more for what stayed: every text, and the erasure, the content of which runs may quote."""
    said = range(erasure.event_id - (len(erasure.events) - 1) // NAMED, erasure.event_id + 1)
    return (*forgetting.texts, *(f"event:{number}" for number in said))


def _erased_before(kb: KnowledgeBase, also: list[str]) -> frozenset[int]:
    """The events that lost their content in the erasures that are named as ``event:N``; these are no texts to look for."""
    gone: set[int] = set()
    for text in [each for each in also if _EVENT.fullmatch(each)]:
        event = kb.ledger.get(int(text.partition(":")[2]))
        if event is not None and event.kind == KIND:
            gone.update(each["id"] for each in event.payload["events"])
            also.remove(text)
    return frozenset(gone)


def stored_since(kb: KnowledgeBase, forgetting: Forgetting) -> list[int]:
    """The events that mention them and were stored while the list was made or looked at."""
    listed = {mention.event_id for mention in forgetting.mentions}
    found = _mentions(kb, Texts(forgetting.texts), lambda _done: None, forgetting.head)
    return [event.id for event, _ in found if event.id not in listed]


def carry_out(kb: KnowledgeBase, forgetting: Forgetting, *, actor: str = "user") -> Erasure:
    """Erase what can be erased."""
    return kb.erase(forgetting.lefts, actor=actor, reason="a person is forgotten")


def holding(files: Iterable[Path], texts: Iterable[str]) -> list[Path]:
    """The files in which one of the texts stands as it is written, or in small letters."""
    wanted = [form.encode() for text in texts for form in dict.fromkeys((text, text.lower()))]
    return [path for path in files if _holds(path, wanted)]


def stands(kb: KnowledgeBase, text: str) -> bool:
    """Whether the ledger still has it, as a part of other words: in the bytes of its files it cannot be told from a copy that was left."""
    with kb.ledger.reading() as db:
        places = (("events", "payload_json"), ("blobs", "data"))
        sql = "SELECT 1 FROM {} WHERE instr({}, ?1) OR instr({}, ?2) LIMIT 1"
        return any(db.execute(sql.format(table, *[column] * 2), (text, text.lower())).get is not None for table, column in places)


def _holds(path: Path, wanted: Iterable[bytes]) -> bool:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return any(data.find(each) >= 0 for each in wanted)
    except (OSError, ValueError):  # gone, not readable, or empty
        return False


def _texts_of(db: apsw.Connection, person: str) -> list[str]:
    """The addresses, keys and names of the one contact that is meant; the words themselves, where they are nobody's."""
    named = load_person(db, person.removeprefix("contact:"))
    people = find_people(db, person, 6) if named is None else [named]
    exact = [each for each in people if each.match != "fuzzy"]
    if len(exact) > 1 or (not exact and people):
        hint = f"name one of them by e-mail address: {', '.join(each.name for each in people)}"
        hint += "" if exact else f"; for somebody who is no contact: `rlp forget --also {shlex.quote(person)}`"
        raise InvalidInput(f"{person!r} may be several people", code="kb.ambiguous_person", hint=hint)
    if not exact:
        if len(person.strip()) < _SHORTEST_NAME:
            raise InvalidInput(
                f"{person!r} is too short to look for", code="kb.unknown_person", hint="give an e-mail address or a full name"
            )
        address = [f"contact:{contact_key(person)}"] if "@" in person else []
        return [person, *_turned(person), *address]
    [found] = exact
    handles = [str(handle) for (handle,) in db.execute("SELECT handle FROM accounts WHERE contact_key = ?", (found.key,))]
    urls = [str(url) for (url,) in db.execute("SELECT url FROM accounts WHERE contact_key = ? AND url IS NOT NULL", (found.key,))]
    said = [person] if found.match in {"name", "nickname", "words"} else []
    named_so = (found.name, *found.nicknames, *said)
    names = [name for name in dict.fromkeys((*named_so, *(_TITLES.sub("", name) for name in named_so))) if " " in name.strip()]
    single = [found.name] if " " not in found.name.strip() and len(found.name.strip()) >= _SHORTEST_NAME else []
    keys = [f"contact:{contact_key(address)}" for address in found.emails]
    return [
        found.email,
        *found.emails,
        *(number for number in found.phones if sum(map(str.isdigit, number)) >= _SHORTEST_NUMBER),
        *names,
        *(turned for name in names for turned in _turned(name)),
        *single,
        *(each for each in handles if "@" in each),
        *urls,
        f"contact:{found.key}",
        *keys,
    ]


def _turned(name: str) -> list[str]:
    """A name in full with the family name first, as lists have it, or put right where it is said so: where that begins, nobody knows."""
    last, comma, first = name.partition(",")
    if comma:
        return [f"{first.strip()} {last.strip()}"] if first.strip() and last.strip() else []
    words = name.split()
    return [f"{' '.join(words[at:])}, {' '.join(words[:at])}" for at in range(1, len(words))]


def _with_masks(kb: KnowledgeBase, texts: Iterable[str]) -> Iterator[str]:
    """The texts, and what agents read in their place: the records of their runs have it, and it stands for nobody else."""
    redactor = kb.redactor.for_agents()
    for text in texts:
        yield text
        if not text.startswith("contact:"):
            yield from (masked for form in (text, text.lower()) if (masked := redactor.text(form)) != form)
            if not any(map(str.isalpha, text)):
                yield redactor.text(text, "phone")


def _mentions(kb: KnowledgeBase, texts: Texts, tick: Callable[[int], None], after: int = 0) -> Iterator[tuple[StoredEvent, StoredEvent]]:
    """Every event that mentions one of them, as it is stored and whole."""
    with kb.ledger.reading() as db:
        blobs = _blobs_with(db, texts)
        texts.blobs = frozenset(name.hex() for (name,) in blobs)
        rows: Any = [row for (name,) in blobs for row in db.execute("SELECT event_id FROM event_blobs WHERE hash = ?", (name,))]
    naming = {int(number) for (number,) in rows}
    while True:
        with kb.ledger.reading() as db:
            rows = db.execute(f"SELECT {COLUMNS} FROM events WHERE id > ? ORDER BY id LIMIT 1000", (after,)).fetchall()  # noqa: S608
        if not rows:
            return
        for row in rows:
            if row[0] not in naming and not texts.may_be_in(str(row[5])) and not texts.may_be_in(str(row[6])):
                continue
            event = stored(row)
            if is_erased(event.payload) or event.kind == KIND:
                continue
            full = _whole(kb, event)
            if _says(event, full, texts, named=row[0] in naming):
                yield event, full
        after = int(rows[-1][0])
        tick(after)


def _says(event: StoredEvent, full: StoredEvent, texts: Texts, *, named: bool) -> bool:
    """Whether the event says something of them; ``named`` says that a blob of it does. That words of its form are theirs says nothing."""
    if (is_run_record(event) or event.kind in _KEPT_FORM) and _is_known(event):
        return without_said(event, full.payload, texts.take_out) != full.payload or texts.are_in(full.provenance)
    return named or texts.are_in(full.payload) or texts.are_in(full.provenance)


def without_said(event: StoredEvent, payload: Mapping[str, Any], taken: Callable[[str], str]) -> dict[str, Any]:
    """The whole payload of an event that stays, its content as ``taken`` leaves it: names of nodes and fields, states and levels stay."""
    if not is_run_record(event):
        return {name: value if name in _CHOICES else without_texts(value, taken) for name, value in payload.items()}
    return {**payload, "message": taken(payload["message"]), "meta": _without_in_meta(payload["meta"], taken)}


def _without_in_meta(meta: Mapping[str, Any], taken: Callable[[str], str]) -> dict[str, Any]:
    def left(name: str, value: Any) -> Any:
        if name in FORM or name in CONTENT_HASHES or name == "by":
            return value
        if name == "artifacts" and isinstance(value, list):
            return [_without_in_meta(each, taken) for each in value]
        if name == "error" and isinstance(value, dict):
            return {each: taken(said) if each in SAID_IN_ERRORS and said else said for each, said in value.items()}
        if name == "overrides" and isinstance(value, dict):
            answers = [{**each, "result": _named(each["result"], taken)} for each in value.get("answers") or ()]
            said = {"answers": answers, "params": _named(value.get("params") or {}, taken)}
            return {**value, **{each: left for each, left in said.items() if left}}
        return _named(value, taken)

    return {name: left(name, value) for name, value in meta.items()}


def _named(value: Any, taken: Callable[[str], str]) -> Any:
    """A value whose own fields an agent, an opening or the host named: only what stands in these is somebody's words."""
    if not isinstance(value, dict):
        return without_texts(value, taken)
    return {name if _IDENTIFIER.fullmatch(name) else taken(name): without_texts(item, taken) for name, item in value.items()}


def _whole(kb: KnowledgeBase, event: StoredEvent) -> StoredEvent:
    """The event in its kind's form of now with what lies in blobs; as it is stored, where a newer program wrote it."""
    try:
        return kb.ledger.full(current(event))
    except InvalidEvent:
        return event


def _blobs_with(db: apsw.Connection, texts: Texts) -> list[tuple[bytes]]:
    found = []
    for name, data in db.execute("SELECT hash, data FROM blobs"):
        written = bytes(data).decode("utf-8", "replace")
        if texts.may_be_in(written) and texts.are_in(_parsed(written)):
            found.append((name,))
    return found


def _parsed(written: str) -> Any:
    try:
        return parse(written)
    except ValueError:
        return written


def _replaced(db: apsw.Connection, events: Iterable[StoredEvent]) -> set[int]:
    """The events whose entities later ones replaced that will be erased: they would be what holds again."""
    older: set[int] = set()
    for event in events:
        data = event.payload
        if event.kind == "note.imported":
            key = f"note:{data['path']}"
        elif event.kind == "appointment.imported":
            key = f"appointment:{data['appointment']}"
        else:
            continue
        older |= {
            int(number) for (number,) in db.execute("SELECT event_id FROM entity_history WHERE entity_key = ?", (key,)) if number < event.id
        }
    return older


def _later_values(db: apsw.Connection) -> list[tuple[int, int]]:
    """Every fact that has another value since, and the event that says so, oldest first."""
    rows: Any = db.execute("SELECT payload_json, id FROM events WHERE kind = 'fact.superseded' ORDER BY id")
    return [(fact, number) for payload, number in rows if isinstance(fact := parse(payload).get("fact"), int)]


def _of_subjects(found: Iterable[tuple[StoredEvent, StoredEvent]], values: Iterable[tuple[int, int]], texts: Texts) -> set[int]:
    """The later values of facts that are about the person: they name nobody themselves."""
    about = {event.id for event, full in found if event.kind == "fact.remembered" and texts.are_in(_naming(full.payload))}
    first = frozenset(about)
    for fact, number in values:
        about |= {number} if fact in about else set()
    return about - first


def _naming(fact: Any) -> list[Any]:
    return [fact.get(name) for name in NAMING]


def _decided(
    event: StoredEvent,
    full: StoredEvent,
    texts: Texts,
    using: Mapping[str, str],
    values: Iterable[tuple[int, int]],
    gone: frozenset[int],
) -> tuple[Mention, Left | None]:
    if not _is_known(event):
        return Mention(event.id, event.kind, "", "stays", "a newer Runloop wrote it: forget with that one"), None
    what = _what(event, full.payload)
    if is_run_record(event):
        going = using.get(run_id := event.payload["run_id"])
        if going is not None:
            who = "the run" if going == run_id else f"run {going[:8]}, which goes on from it,"
            return Mention(event.id, event.kind, what, "stays", f"{who} has not ended: cancel it, then forget again"), None
    elif event.kind == "fact.remembered" and any(fact == event.id for fact, _ in values) and not texts.are_in(_naming(full.payload)):
        return Mention(event.id, event.kind, what, "erase"), Left(event.id, {name: full.payload[name] for name in NAMING})
    elif _goes(event, texts):
        return Mention(event.id, event.kind, what, "erase"), Left(event.id)
    left = without_quotes(dict(full.payload), gone, lambda _text: TAKEN_OUT) if is_run_record(event) else dict(full.payload)
    return Mention(event.id, event.kind, what, "take out"), Left(event.id, without_said(event, left, texts.take_out))


def _is_known(event: StoredEvent) -> bool:
    """Whether no newer program wrote it."""
    try:
        current(event)
    except InvalidEvent:
        return False
    return True


def _goes(event: StoredEvent, texts: Texts) -> bool:
    """Whether an event that mentions the person goes as a whole."""
    if is_run_record(event) or event.kind in _KEPT_FORM or not _is_known(event):
        return False
    return event.kind != "contact.upserted" or texts.are_in([event.payload["email"]])


def _quoting(kb: KnowledgeBase, gone: frozenset[int], known: Collection[int]) -> Iterator[tuple[StoredEvent, StoredEvent]]:
    """The records of runs that quote what goes, and mention the person in no other way."""
    for number in records_that_may_quote(kb.ledger, gone):
        event = None if number in known else kb.ledger.get(number)
        if event is None or not is_run_record(event) or is_erased(event.payload):
            continue
        full = _whole(kb, event)
        if without_quotes(full.payload, gone, lambda _text: TAKEN_OUT) != full.payload:
            yield event, full


def _what(event: StoredEvent, payload: Any) -> str:
    """The event in a few words."""
    if is_run_record(event):
        return f"run {payload['run_id'][:8]}: {payload['message']}"
    names = _ABOUT.get(event.kind, ("name", "subject", "summary", "text", "handle", "path", "source", "target"))
    return " ".join(str(payload[name]) for name in names if isinstance(payload.get(name), (str, int)))[:120]


def _file_of(event: StoredEvent, full: StoredEvent) -> str | None:
    """The file outside of the ledger that the event was read from or that it made."""
    data = full.payload["meta"] if is_run_record(event) else full.payload
    path = data.get(_PLACES[event.kind]) if event.kind in _PLACES else None
    return path if isinstance(path, str) else None


def _walk(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _walk(item)


def _plain(text: str) -> str:
    """The text as it reads: without accents, as in search, widths of letters, and signs that are not seen."""
    return text if text.isascii() else unaccented(_UNSEEN.sub("", unicodedata.normalize("NFKC", text)))
