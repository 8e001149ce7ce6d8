"""Facts: what a person says, or an agent proposes and the validator stamps. Nothing is made out of text behind a person's back.

The validator is this module: an agent's fact has a place where it stands, the place says it, and no fact of a person says otherwise.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from runloop.dataclass import dataclass
from runloop.events import NewEvent, canonical, current, is_erased, parse
from runloop.kb.derived import as_json, fold
from runloop.kb.erasing import Left
from runloop.kb.errors import FactRefused, InvalidDelta, KeyConflict
from runloop.kb.fact_projections import NAMING, shown, subject_key
from runloop.kb.naming import at_home
from runloop.links import followed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import apsw

    from runloop.events import StoredEvent
    from runloop.kb.base import KnowledgeBase
    from runloop.kb.ledger import Ledger
    from runloop.kb.proposing import StateDelta

KINDS = ("fact.remembered", "fact.superseded", "fact.forgotten")
MAX_VALUE = 64 * 1024  # bytes of a value's canonical form
MAX_SPANS = 32
_SALT_BYTES = 16
_FORM = "a proposal has subject, predicate and value (or fact and value, or fact), and spans {event_id, quote, line …}"
_FACT = re.compile(r"(?:fact:)?([1-9][0-9]{0,17})")
_COLUMNS = ("fact_id", "subject", "predicate", "value", "status", "said_by", "stamp", "spans", "supersedes", "ended_event", "said_ms")


@dataclass(frozen=True, slots=True)
class Fact:
    """A row of the table ``facts``; ``id`` is the event that said it, ``spans`` are where it stands."""

    id: int
    subject: str
    predicate: str
    value: str
    status: str
    said_by: str
    stamp: str
    spans: list[dict[str, Any]]
    supersedes: int | None
    ended_event: int | None
    said_ms: int

    @property
    def key(self) -> str:
        """How the fact is named."""
        return f"fact:{self.id}"

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        row = {name: getattr(self, name) for name in _COLUMNS[1:]}
        return {"fact": self.key, **row, "event_id": self.id}


def parse_fact(text: str) -> int:
    """The number of ``fact:N`` or ``N``."""
    found = _FACT.fullmatch(text.strip())
    if found is None:
        raise InvalidDelta(f"{text!r} is not a fact", code="kb.unknown_fact", hint="`rlp kb facts` shows the facts as fact:N")
    return int(found[1])


def select(db: apsw.Connection, subject: str | None = None, *, ended: bool = False) -> list[Fact]:
    """The facts about a subject, or all, oldest first; with ``ended`` also what was superseded or forgotten."""
    where = "" if ended else "WHERE status = 'current'"
    found = [_fact(row) for row in db.execute(f"SELECT {', '.join(_COLUMNS)} FROM facts {where} ORDER BY fact_id")]  # noqa: S608
    about = None if subject is None else _keys(db, subject)
    return [fact for fact in found if about is None or subject_key(fact.subject) in about]


def _keys(db: apsw.Connection, subject: str) -> set[str]:
    """The nodes that facts about a subject name: its own, and where it is a person, one for each of the person's addresses."""
    key = subject_key(subject)
    sql = """SELECT email FROM contact_emails WHERE contact_key IN
             (SELECT contact_key FROM contact_emails WHERE email = ?1 UNION SELECT contact_key FROM contacts WHERE contact_key = ?2)"""
    return {key, *(subject_key(address) for (address,) in db.execute(sql, (subject.strip().lower(), key.removeprefix("contact:"))))}


def get(db: apsw.Connection, fact_id: int) -> Fact:
    """The fact; raises InvalidDelta ``kb.unknown_fact``."""
    row = db.execute(f"SELECT {', '.join(_COLUMNS)} FROM facts WHERE fact_id = ?", (fact_id,)).fetchone()  # noqa: S608
    if row is None:
        hint = "`rlp kb facts --all` shows the facts; one that was erased is gone"
        raise InvalidDelta(f"there is no fact:{fact_id}", code="kb.unknown_fact", hint=hint)
    return _fact(row)


def left_of(db: apsw.Connection, fact_id: int) -> Left:
    """What stays of a fact that is erased: its subject and predicate, where a later value has them from it."""
    row: Any = db.execute("SELECT subject, predicate FROM facts WHERE fact_id = ? AND supersedes IS NULL", (fact_id,)).fetchone()
    later = db.execute("SELECT 1 FROM facts WHERE supersedes = ?", (fact_id,)).fetchone()
    return Left(fact_id) if row is None or later is None else Left(fact_id, dict(zip(NAMING, row, strict=True)))


def passage(db: apsw.Connection, file: str, line: int) -> dict[str, Any]:
    """The span of a line of an imported file."""
    for path in dict.fromkeys((file, str(followed(at_home(file))))):
        row: Any = db.execute(
            "SELECT source_event, line, text FROM notes WHERE path = ? AND line <= ? AND end_line >= ?", (path, line, line)
        ).fetchone()
        if row is not None:
            event_id, first, text = row
            quote = text.split("\n")[line - first] if line - first < len(text.split("\n")) else ""
            if quote.strip():
                return {"event_id": event_id, "line": line, "end_line": line, "quote": quote}
    hint = "import it with `rlp kb import notes`, and name a line that has text"
    raise InvalidDelta(f"line {line} of {file} is in no imported note", code="kb.unknown_passage", hint=hint)


def propose(kb: KnowledgeBase, delta: StateDelta, provenance: Mapping[str, Any]) -> StoredEvent:
    """Check a proposed fact, put its value into a salted blob, stamp it and append it; with a key, a repeat gives the first event."""
    if delta.key is not None and (known := kb.ledger.by_key(delta.key)) is not None:
        return _repeated(kb.ledger, known, delta)
    payload, value = _stamped(kb, delta)
    blobs: tuple[bytes, ...] = ()
    if value is not None:
        blob = canonical({"salt": os.urandom(_SALT_BYTES).hex(), "value": value})
        payload, blobs = {**payload, "value": blake3(blob).hexdigest()}, (blob,)
    event = NewEvent(delta.kind, payload, delta.actor, delta.scope, provenance, None, delta.key, blobs)
    try:
        return kb.ledger.append([event])[0]
    except KeyConflict:  # somebody else was faster with the same key
        known = kb.ledger.by_key(delta.key or "")
        if known is None:
            raise
        return _repeated(kb.ledger, known, delta)


def _stamped(kb: KnowledgeBase, delta: StateDelta) -> tuple[dict[str, Any], Any]:
    """The payload with its stamp, still without its value, and the value."""
    said = dict(delta.payload)
    agent = delta.actor.startswith("agent:")
    allowed = {"fact.remembered": {"subject", "predicate", "value", "spans"}, "fact.superseded": {"fact", "value", "spans"}}
    if unknown := sorted(said.keys() - allowed.get(delta.kind, {"fact", "reason"})):
        raise InvalidDelta(f"a proposed {delta.kind} has no {unknown[0]!r}", code="kb.fact_form", hint=_FORM)
    spans = _checked_spans(kb.ledger, said.pop("spans", None) or [])
    value = None if delta.kind == "fact.forgotten" else _checked_value(said.pop("value", None))
    checks = ["evidence exists", *(["spans quote what is there"] if spans else [])]
    with kb.reading() as db:
        if delta.kind == "fact.remembered":
            for name in ("subject", "predicate"):
                if not isinstance(said.get(name), str) or not said[name].strip():
                    wrong = "is empty" if isinstance(said.get(name), str) else "is not text"
                    raise InvalidDelta(f"{name} {wrong}", code="kb.fact_form", hint=_FORM)
            about = said["subject"], said["predicate"]
        else:
            old = get(db, _number(said.get("fact")))
            about = old.subject, old.predicate
            if old.status != "current":
                hint = f"`rlp kb facts {old.subject!r}` shows what holds now"
                raise InvalidDelta(f"{old.key} was {old.status} already", code="kb.fact_ended", hint=hint)
            if agent and old.stamp == "person":
                raise FactRefused(f"{old.key} was said by a person", hint="only a person supersedes or forgets it")
        if agent and value is not None:
            if not spans:
                raise FactRefused("a fact that an agent proposes needs a span", code="kb.fact_unfounded", hint=_FORM)
            _refuse_contradiction(db, *about, shown(value))
            checks.append("no fact of a person says otherwise")
    stamp = {"by": "validator", "checks": checks} if agent else {"by": "person"}
    found = {"spans": spans} if spans else {}
    evidence = {"evidence": list(delta.evidence)} if delta.evidence and value is not None else {}
    return {**said, **found, **evidence, "stamp": stamp}, value


def _refuse_contradiction(db: apsw.Connection, subject: str, predicate: str, value: str) -> None:
    sql = """SELECT f.fact_id, f.predicate, f.value FROM edges e JOIN facts f ON f.fact_id = CAST(substr(e.source_key, 6) AS INTEGER)
             WHERE e.target_key IN (SELECT value FROM json_each(?)) AND e.relation = 'about' AND f.status = 'current' AND f.stamp = 'person'
             ORDER BY f.fact_id"""
    said = [row for row in db.execute(sql, (as_json(sorted(_keys(db, subject))),)) if fold(str(row[1])) == fold(predicate)]
    if said and not any(fold(str(row[2])) == fold(value) for row in said):
        raise FactRefused(
            f"fact:{said[0][0]}, which a person said, has another value",
            code="kb.fact_contradicted",
            hint="a person can supersede it: rlp kb supersede",
        )


def _checked_value(value: Any) -> Any:
    if value is None or isinstance(value, (dict, list)) or (isinstance(value, str) and not value.strip()):
        wrong = "empty" if isinstance(value, str) else "not a text, number or truth value"
        raise InvalidDelta(f"value is {wrong}", code="kb.fact_form", hint=_FORM)
    if len(canonical(value)) > MAX_VALUE:
        raise InvalidDelta(f"value is longer than {MAX_VALUE} bytes", code="kb.fact_form", hint="keep long texts as notes or artifacts")
    return value


def _checked_spans(ledger: Ledger, spans: Any) -> list[dict[str, Any]]:
    if not isinstance(spans, list) or len(spans) > MAX_SPANS or not all(isinstance(span, dict) for span in spans):
        raise InvalidDelta(f"spans is not a list of up to {MAX_SPANS} objects", code="kb.fact_form", hint=_FORM)
    for number, span in enumerate(spans):
        event = ledger.get(_number(span.get("event_id")))
        if event is None or is_erased(event.payload):
            message = f"referential integrity failed for evidence id {span.get('event_id')} of span {number}"
            raise InvalidDelta(message, code="kb.unknown_evidence", hint="name events that are in the ledger")
        if not _stands(ledger.full(current(event)), span):
            message = f"span {number}: event {event.id} does not say that there"
            raise InvalidDelta(message, code="kb.not_quoted", hint="quote the text letter by letter, with the lines or characters it has")
    return spans


def _stands(event: StoredEvent, span: Mapping[str, Any]) -> bool:
    """Whether the quoted text stands at that place of the event; without a place, anywhere in it."""
    quote, text = span.get("quote"), event.payload.get("text")
    if not isinstance(quote, str) or not quote.strip():
        return False
    placed = [span.get(name) for name in ("start", "end", "line", "end_line")]
    if placed == [None] * 4:
        return any(quote in each for each in _texts(event.payload))
    if not isinstance(text, str) or not all(each is None or isinstance(each, int) for each in placed):
        return False
    start, end, line, end_line = placed
    if start is not None or end is not None:
        return start is not None and end is not None and text[start:end] == quote
    first = event.payload.get("line", 1)
    if line is None or line < first:
        return False
    lines = text.split("\n")[line - first : (line if end_line is None else end_line) - first + 1]
    return quote in "\n".join(lines)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _repeated(ledger: Ledger, known: StoredEvent, delta: StateDelta) -> StoredEvent:
    """The first event of the key, when it says the same."""
    if is_erased(known.payload):
        return known
    said = {name: value for name, value in known.payload.items() if name not in {"stamp", "evidence", "value"}}
    if "value" in known.payload:
        said["value"] = parse(ledger.blob(known.payload["value"]))["value"]
    wanted = {name: value for name, value in delta.payload.items() if not (name == "spans" and not value)}
    if (known.kind, known.actor, canonical(said)) != (delta.kind, delta.actor, canonical(wanted)):
        message = f"idempotency key {delta.key!r} stands for another event (event {known.id}, {known.kind})"
        raise KeyConflict(message, hint="use a new key for a new event")
    return known


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**63:
        raise InvalidDelta(f"{value!r} is not the number of an event", code="kb.fact_form", hint=_FORM)
    return value


def _fact(row: Sequence[Any]) -> Fact:
    values = dict(zip(_COLUMNS, row, strict=True))
    return Fact(values.pop("fact_id"), **{**values, "spans": parse(values["spans"])})
