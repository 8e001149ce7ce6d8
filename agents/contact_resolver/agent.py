"""Find the person that is meant among the contacts; who is not known is asked for, never invented."""

from __future__ import annotations

import re
from typing import Any

from lookup import LIMIT, find
from matching import SURE, Match, Person, Query, clean, close_misses, label, parse_query, rivals

from runloop_agent import CallError, Cancelled, agent, ask, emit, kb

NOBODY = "none of these"
MAX_OPTIONS = 9
HOW_TO_IMPORT = "import contacts with `rlp kb import contacts FILE` (vCard or CSV), or give an e-mail address"
HOW_TO_BE_ASKED = "run it at a terminal, or on the daemon and answer `rlp inbox`; or import a contact with that address"

_SEVERAL = re.compile(r"\w\s*[&;+]\s*\w|\w\s+(?:and|und|et|y)\s+\w", re.IGNORECASE)
"""Names that are joined."""


@agent
def run(query: str = "") -> dict[str, Any]:
    """`out`: contact_id, name, email, org, confidence, matched_by, last_event_id."""
    asked = parse_query(query)
    if not asked.text:
        raise ValueError("contact_resolver: nobody was asked for; give `query`, a name or an e-mail address")
    matches, people = find(asked, lambda text: kb.search(text, domains=["contacts"], limit=LIMIT))
    if not matches:
        return {"out": _unknown(asked, people)}
    best = rivals(matches)
    if len(best) == 1 and best[0].confidence >= SURE:
        return {"out": _resolved(_taken(asked, best[0]))}
    return {"out": _resolved(_choose(asked, best if len(best) > 1 else matches[:MAX_OPTIONS]))}


def _taken(asked: Query, match: Match) -> Match:
    if match.matched_by == "similar spelling":
        emit.log(f"taking {label(match.person)} for {asked.text!r}: {match.matched_by}", "warn")
    return match


def _choose(asked: Query, matches: list[Match]) -> Match:
    """The match that a person names. Raises LookupError with the candidates where nobody can, or when it is none of them."""
    options = {label(match.person): match for match in matches[:MAX_OPTIONS]}
    candidates = "; ".join(options)
    if matches[0].confidence >= SURE:
        what, question = f"{asked.text!r} fits {len(matches)} contacts", f"Which {asked.text!r} do you mean?"
    else:
        what, question = f"there is no contact {asked.text!r}", f"There is no contact {asked.text!r}. Do you mean one of these?"
    try:
        answer = ask.person(question, options=[*options, NOBODY]).answer
    except Cancelled:
        raise
    except CallError:
        raise LookupError(f"{what}, and nobody could be asked; write the whole name or address of one: {candidates}") from None
    if answer not in options:
        raise LookupError(f"{what}, and none of these was meant: {candidates}")
    chosen = options[answer]
    return Match(chosen.person, 1.0, f"{chosen.matched_by}, chosen by a person")


def _unknown(asked: Query, people: list[Person]) -> dict[str, Any]:
    """An address that is in no contact is used only when a person says so; a name without a contact is an error."""
    near = close_misses(asked, people)
    if not asked.address:
        like = f"; near: {'; '.join(map(label, near))}" if near else ""
        each = "one person is looked for at a time: ask once for each; else " if _SEVERAL.search(asked.text) else ""
        raise LookupError(f"there is no contact {asked.text!r}{like}; {each}{HOW_TO_IMPORT}")
    use = f"use {asked.address} as given"
    options = {label(person): person for person in near}
    try:
        answer = ask.person(
            f"{asked.address} is in none of your contacts. Write to it all the same?", options=[use, *options, "stop"]
        ).answer
    except Cancelled:
        raise
    except CallError:
        like = f"; near: {'; '.join(options)}" if options else ""
        why = f"{asked.address} is in none of your contacts, and nobody could be asked whether to write to it{like}"
        raise LookupError(f"{why}; {HOW_TO_BE_ASKED}") from None
    if answer in options:
        return _resolved(Match(options[answer], 1.0, "chosen by a person"))
    if answer != use:
        raise LookupError(f"{asked.address} is in none of your contacts, and you chose not to write to it")
    return _resolved(Match(Person("", clean(asked.name), asked.address), 0.5, "address as given, approved by a person"))


def _resolved(match: Match) -> dict[str, Any]:
    person = match.person
    if person.masked:
        raise PermissionError(f"the address of {clean(person.name)} is masked by policy; grant this agent contacts_raw under kb_read")
    if "@" not in person.email:
        raise LookupError(f"{clean(person.name)} has no e-mail address in your contacts; {HOW_TO_IMPORT}")
    found: dict[str, Any] = {
        "contact_id": person.key or None,
        "name": "" if re.fullmatch(r"\S+@\S+", person.name) else clean(person.name),  # an address for want of a name greets nobody
        "email": person.email,
        "confidence": match.confidence,
        "matched_by": match.matched_by,
        "last_event_id": person.event_id,
    }
    emit.log(f"{label(person)}, by {match.matched_by}", "info")
    return {**found, "org": clean(person.org)} if person.org else found
