"""Finding a person: by address, name, nickname, the words of a name, or something close to it."""

from __future__ import annotations

import difflib
import json
import re
from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass
from runloop.kb.derived import fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import apsw

_ADDRESS = re.compile(r"(?<![^\s@<>])[^\s@<>]++@[^\s@<>]+")  # from the beginning of a word only, or each of its letters looks to its end
_CLOSE = 0.75  # likeness of folded names, from 0 to 1, at which a typing error is more likely than another person
_LONGEST = 32  # letters of a word that may be mistyped
_MOST = 256  # contacts that are looked at, of each sort of match
_MOST_WORDS = 8  # of a query that may be somebody's name
_MOST_FORMS = 200
_NUMBER = re.compile(r"\+?[\d\s()/.\-\u2010-\u2015]+")
_SHORTEST_NUMBER = 7  # digits of a telephone number: fewer stand in many
_ORDER = ("email", "name", "nickname", "words", "prefix", "fuzzy")
_SCORE = {"email": 1.0, "name": 0.95, "nickname": 0.9, "words": 0.8, "prefix": 0.7, "fuzzy": 0.6, "phone": 0.95}


@dataclass(frozen=True, slots=True)
class Person:
    """A contact, how it was found (``email name nickname words prefix fuzzy phone``), and how sure that is, from 0 to 1."""

    key: str
    name: str
    email: str
    emails: list[str]
    nicknames: list[str]
    phones: list[str]
    org: str | None
    trust: float
    source: str | None
    path: str | None
    line: int | None
    event_id: int
    match: str
    score: float


def has_address(query: str) -> bool:
    """Whether the query names an e-mail address, and so one person or nobody."""
    return _ADDRESS.search(query) is not None


def find_people(db: apsw.Connection, query: str, limit: int) -> list[Person]:
    """The people that the query may mean, the surest first; an exact match of a stronger sort hides the weaker sorts."""
    addresses = [address.strip(".,;:!?()'\"").lower() for address in _ADDRESS.findall(query)]
    if addresses:
        found = db.execute(
            f"SELECT DISTINCT contact_key FROM contact_emails WHERE email IN ({', '.join('?' * len(addresses))})",  # noqa: S608
            addresses,
        ).fetchall()
        return [_load(db, key, "email", _SCORE["email"]) for (key,) in found][:limit]
    wanted = fold(query)
    if not wanted:
        return []
    matches: dict[str, tuple[str, float]] = {}
    for key in _candidates(db, wanted):
        row: Any = db.execute("SELECT names_folded, org FROM contacts WHERE contact_key = ?", (key,)).fetchone()
        how = _match(wanted, row[0].split("\n"), fold(row[1] or ""))
        if how is not None:
            matches[key] = how
    ranked = sorted(matches.items(), key=lambda item: (_ORDER.index(item[1][0]), -item[1][1], item[0]))
    if ranked and ranked[0][1][0] != "fuzzy":
        ranked = [item for item in ranked if item[1][0] != "fuzzy"]
    return [_load(db, key, how, score) for key, (how, score) in ranked[:limit]]


def find_by_number(db: apsw.Connection, query: str, limit: int) -> list[Person]:
    """The people with the telephone number that the query is, however both are written, with the code of the country or without it."""
    wanted = _significant(query)
    if len(wanted) < _SHORTEST_NUMBER or not _NUMBER.fullmatch(query.strip()):
        return []
    found = []
    for key, phones in db.execute("SELECT contact_key, phones FROM contacts WHERE phones <> '[]' ORDER BY contact_key"):
        theirs = (_significant(number) for number in json.loads(str(phones)))
        if any(len(each) >= _SHORTEST_NUMBER and (each.endswith(wanted) or wanted.endswith(each)) for each in theirs):
            found.append(key)
    return [_load(db, key, "phone", _SCORE["phone"]) for key in found[:limit]]


def _significant(number: str) -> str:
    """The digits of a telephone number without what stands before it in one's own country or in another."""
    return "".join(each for each in number.replace("(0)", "") if each.isdecimal()).lstrip("0")


def name_forms(db: apsw.Connection, key: str, names: Sequence[str], org: str) -> None:
    """Note by which words a contact is found, in place of those of its row before: the caller writes the row afterwards."""
    before, now = _forms_of_row(db, key), _forms(names, org)
    _forget(db, key, before - now)
    db.executemany("INSERT INTO contact_names VALUES(?, ?, ?)", [(form, key, sort) for form, sort in sorted(now - before)])


def forget_name_forms(db: apsw.Connection, key: str) -> None:
    """A contact is found by no words any more; its row is still there."""
    _forget(db, key, _forms_of_row(db, key))


def _forms_of_row(db: apsw.Connection, key: str) -> set[tuple[str, str]]:
    row: Any = db.execute("SELECT name, nicknames, org FROM contacts WHERE contact_key = ?", (key,)).fetchone()
    return set() if row is None else _forms((row[0], *json.loads(row[1])), row[2] or "")


def _forget(db: apsw.Connection, key: str, forms: set[tuple[str, str]]) -> None:
    sql = "DELETE FROM contact_names WHERE form = ? AND contact_key = ? AND sort = ?"
    db.executemany(sql, [(form, key, sort) for form, sort in sorted(forms)])


def _forms(names: Iterable[str], org: str) -> set[tuple[str, str]]:
    """Whole names, their words, those of the organisation, and words with a letter left out."""
    whole = [fold(name) for name in names]
    words = {word for name in whole for word in name.split()}
    forms = {(name, "whole") for name in whole} | {(word, "name") for word in words} | {(word, "org") for word in fold(org).split()}
    return forms | {(form, "near") for word in words for form in _shorter(word)}


def _shorter(word: str) -> set[str]:
    """The word with each of its letters left out in turn: two words with a form in common are one typing error apart."""
    return {word[:at] + word[at + 1 :] for at in range(min(len(word), _LONGEST))} if len(word) >= 3 else set()


def _candidates(db: apsw.Connection, wanted: str) -> list[str]:
    """The contacts that may match at all, by index; few enough to look at each."""
    words = sorted(set(wanted.split()), key=lambda word: (-len(word), word))[:_MOST_WORDS]
    exact = "form = ? AND sort IN ('name', 'org')"
    begins = "form >= ? AND form < ? || char(1114111) AND sort IN ('name', 'org')"
    found = _keys(db, "form = ? AND sort = 'whole'", [(wanted,)])
    found += _keys(db, exact, [(word,) for word in words])
    found += [] if any(len(word) < 2 for word in words) else _keys(db, begins, [(word, word) for word in words])
    if not found:
        near = [form for word in words if len(word) >= 3 for form in (word, *sorted(_shorter(word)))][:_MOST_FORMS]
        sql = f"""SELECT contact_key FROM contact_names WHERE form IN ({", ".join("?" * len(near))}) AND sort IN ('name', 'near')
                  GROUP BY contact_key ORDER BY count(*) DESC, contact_key LIMIT {_MOST}"""  # noqa: S608
        found = [str(key) for (key,) in db.execute(sql, near)]
    return list(dict.fromkeys(found))


def _keys(db: apsw.Connection, condition: str, words: list[tuple[str, ...]]) -> list[str]:
    """The contacts for which the condition holds with each of the words, at most ``_MOST``."""
    one = f"SELECT contact_key FROM contact_names WHERE {condition}"  # noqa: S608
    sql = f"SELECT contact_key FROM ({' INTERSECT '.join([one] * len(words))}) ORDER BY contact_key LIMIT {_MOST}"  # noqa: S608
    return [str(key) for (key,) in db.execute(sql, [value for each in words for value in each])]


def load_person(db: apsw.Connection, key: str) -> Person | None:
    """The contact with this key."""
    if db.execute("SELECT 1 FROM contacts WHERE contact_key = ?", (key,)).fetchone() is None:
        return None
    return _load(db, key, "key", 1.0)


def _match(wanted: str, names: list[str], org: str) -> tuple[str, float] | None:
    """How a contact with these folded names (the full name first) matches the folded query, and how well."""
    name, nicknames = names[0], names[1:]
    if wanted == name:
        return "name", _SCORE["name"]
    if wanted in nicknames:
        return "nickname", _SCORE["nickname"]
    words = wanted.split()
    have = {word for each in (*names, org) for word in each.split()}
    own = {word for each in names for word in each.split()}
    if all(word in have for word in words) and any(word in own for word in words):
        return "words", _SCORE["words"]
    if all(len(word) > 1 and any(other.startswith(word) for other in own) for word in words):
        return "prefix", _SCORE["prefix"]
    likeness = max(_likeness(wanted, each) for each in (*names, *(own if len(words) == 1 else ())))
    return ("fuzzy", round(likeness * _SCORE["fuzzy"], 6)) if likeness >= _CLOSE else None


def _likeness(a: str, b: str) -> float:
    """Ratcliff-Obershelp likeness, or 0 where its cheap upper bounds already rule it out."""
    if min(len(a), len(b)) < 3:
        return 0.0
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    if matcher.real_quick_ratio() < _CLOSE or matcher.quick_ratio() < _CLOSE:
        return 0.0
    return matcher.ratio()


def _load(db: apsw.Connection, key: Any, match: str, score: float) -> Person:
    columns = "contact_key, name, email, emails, nicknames, phones, org, trust, source, path, line, source_event"
    row: Any = db.execute(f"SELECT {columns} FROM contacts WHERE contact_key = ?", (key,)).fetchone()  # noqa: S608 - our own names
    key, name, email, *lists, org, trust, source, path, line, event_id = row
    emails, nicknames, phones = map(json.loads, lists)
    return Person(key, name, email, emails, nicknames, phones, org, trust, source, path, line, event_id, match, score)
