"""The checks of a draft: plain data in, suggestions out. A suggestion names the check, where, what is wrong and what to do."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from claims import cited, count_words, faults, text_of, units
from disclosure import confidential, gives_orders, secrets_in
from wording import fold, overlap

if TYPE_CHECKING:
    from collections.abc import Iterable

MIN_WORDS = 12
MAX_WORDS = 180
MAX_SUBJECT = 150
TOPIC_PRESENT = 0.5
TOPIC_HEAD = 100
"""Characters of a topic that a message must take up; the rest of a longer one is detail."""

_LEFTOVERS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("an unfinished mark", re.compile(r"\b(?:TODO|FIXME|TBD|XXX)\b")),
    ("filler text", re.compile(r"\blorem ipsum\b", re.IGNORECASE)),
    ("an unfilled template field", re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\$\{\w+\}|<%.*?%>")),
    (
        "a placeholder",
        re.compile(
            r"\[[^\]\n]*\b(?:your|my|the|insert|recipient|company|name|date|title|position|signature|contact|topic|phone|address)\b[^\]\n]*\]"
            r"|<(?:your |insert |recipient )?(?:name|date|company|title|topic|insert[^>\n]*)>",
            re.IGNORECASE,
        ),
    ),
    (
        "a model talking about itself",
        re.compile(
            r"\bas an? (?:ai|artificial intelligence|(?:large )?language model)\b|\bi(?: am|'m) an ai\b"
            r"|\bhere is (?:the|your|a) (?:draft|e-?mail)\b",
            re.IGNORECASE,
        ),
    ),
    ("Markdown", re.compile(r"\*\*\S|^#{1,6}\s|^```|\]\(https?://", re.MULTILINE)),
)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One thing to change; `source` is the excerpt to do without, where that would help."""

    check: str
    where: str
    problem: str
    suggestion: str
    source: dict[str, Any] | None = None


def judge(draft: dict[str, Any], contact: Any, topic: str, context: Any = None, max_words: int = MAX_WORDS) -> dict[str, Any]:
    """The review: ok, summary, suggestions; ok only when there is nothing to change."""
    subject, body = str(draft.get("subject") or ""), str(draft.get("body") or "")
    text = text_of(body)
    person = contact[0] if isinstance(contact, list) and contact else contact if isinstance(contact, dict) else {}
    found = [
        *length(text, subject, max_words),
        *addressee(text, person),
        *topic_present(subject, text, topic),
        *citations(text, draft, person, topic, context),
        *disclosures(subject, text, draft),
        *leftovers(subject, text, topic, draft),
    ]
    return {"ok": not found, "summary": _summary(found, count_words(text), cited(text)), "suggestions": [asdict(item) for item in found]}


def length(text: str, subject: str, max_words: int) -> Iterable[Suggestion]:
    """Neither empty nor long, with a subject of one line."""
    words = count_words(text)
    if words > max_words:
        yield Suggestion(
            "length", "body", f"The message has {words} words; {max_words} are allowed.", f"Leave out at least {words - max_words} words."
        )
    if words < MIN_WORDS:
        yield Suggestion("length", "body", f"The message has only {words} words.", "Say what it is about and what the reader should do.")
    if not subject.strip():
        yield Suggestion("length", "subject", "There is no subject.", "Give it one: the topic in a few words.")
    elif len(subject) > MAX_SUBJECT or not subject.isprintable():
        yield Suggestion(
            "length", "subject", "The subject is too long or not one line.", f"Keep it to one line of {MAX_SUBJECT} characters."
        )


def addressee(text: str, contact: dict[str, Any]) -> Iterable[Suggestion]:
    """The first line greets the person the message goes to, and nobody else."""
    name = " ".join("".join(char if char.isprintable() else " " for char in str(contact.get("name") or "")).split())
    first = next((line.strip() for line in text.split("\n") if line.strip()), "")
    if not str(contact.get("email") or ""):
        yield Suggestion("addressee", "contact", "The contact has no e-mail address.", "Resolve the contact before writing to them.")
    if not any(char.isalnum() for char in name):
        if len(first.split()) > 5 or not first.endswith((",", "!", ":")):
            yield Suggestion(
                "addressee", "line 1", "The message does not begin with a greeting.", "Begin with `Hello,`: the contact has no name."
            )
        return
    parts = _words(name)
    telling = {part for part in parts if len(part) > 1} or set(parts)
    if not telling & set(_words(first)):
        yield Suggestion("addressee", "line 1", f"The greeting {first[:60]!r} does not name {name}.", f"Greet {name}.")


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", fold(text))


def topic_present(subject: str, text: str, topic: str) -> Iterable[Suggestion]:
    """The message takes up its topic."""
    head = topic.strip()[:TOPIC_HEAD]
    if head and overlap(head, f"{subject}\n{text}") < TOPIC_PRESENT:
        yield Suggestion("topic", "body", f"The message does not take up its topic: {head!r}.", "Name the topic in the first sentence.")


def citations(text: str, draft: dict[str, Any], contact: dict[str, Any], topic: str, context: Any) -> Iterable[Suggestion]:
    """Every citation has a source that the gatherer really found, and that source says what it is cited for."""
    listed = [source for source in draft.get("sources") or [] if isinstance(source, dict)]
    found = {_place(item): item for item in _excerpts(context)} if context is not None else None
    basis: dict[int, str] = {}
    for source in listed:
        number = source.get("n")
        real = source if found is None else found.get(_place(source))
        if not isinstance(number, int):
            continue
        if real is None:
            place = f"{source.get('path')}:{source.get('line')}"
            yield Suggestion("citation", f"[{number}]", f"No such excerpt was found: {place}.", "Cite only what the context holds.")
            continue
        basis[number] = f"{real.get('title') or ''} {real.get('excerpt') or ''}"
    if basis and not cited(text):
        yield Suggestion(
            "citation", "body", "There are sources, and the message cites none.", "End each statement with the number of its source."
        )
    known = f"{topic} {contact.get('name') or ''} {contact.get('email') or ''} {contact.get('org') or ''}"
    for unit in units(text):
        for fault in faults(unit, basis, known):
            source_of = next((item for item in listed if item.get("n") == fault.number), None)
            remedy = {
                "citation": "Cite the source that says it, or leave it out.",
                "support": "Say what the source says, cite another, or leave it out.",
                "address": "Leave the address out: nobody gave it.",
            }[fault.check]
            yield Suggestion(
                fault.check, _quote(unit.text), f"{fault.problem[:1].upper()}{fault.problem[1:]}.", remedy, _reference(source_of)
            )


def disclosures(subject: str, text: str, draft: dict[str, Any]) -> Iterable[Suggestion]:
    """No secrets leave, and no orders to a model travel on; what is found is not repeated in the suggestion."""
    for where, part in (("subject", subject), *((f"line {number}", line) for number, line in enumerate(text.split("\n"), 1))):
        source = _reference(_cited_source(part, draft))
        for kind in secrets_in(part):
            yield Suggestion("secret", where, f"This seems to hold {kind}.", "Leave it out; secrets do not belong in an e-mail.", source)
        if confidential(part):
            yield Suggestion("secret", where, "This is marked as not for others.", "Leave it out.", source)
        if gives_orders(part):
            yield Suggestion("orders", where, "This gives orders to a language model.", "Leave it out.", source)


def leftovers(subject: str, text: str, topic: str, draft: dict[str, Any]) -> Iterable[Suggestion]:
    """Nothing that a draft leaves behind; what the topic itself holds is no leftover."""
    for where, part in (("subject", subject), *((_place_of(line), line) for line in text.split("\n"))):
        for kind, pattern in _LEFTOVERS:
            left = pattern.search(part)
            if left and left.group() not in topic:
                source = _reference(_cited_source(part, draft))
                yield Suggestion("leftover", where, f"This is {kind}: {left.group()[:40]!r}.", "Replace it or leave it out.", source)


def _summary(found: list[Suggestion], words: int, numbers: list[int]) -> str:
    if not found:
        return f"Ready: {words} words, {len(numbers)} source(s) cited."
    checks = ", ".join(dict.fromkeys(item.check for item in found))
    return f"{len(found)} thing(s) to change ({checks})."


def _excerpts(context: Any) -> list[dict[str, Any]]:
    items = context.get("excerpts") if isinstance(context, dict) else context
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _place(source: dict[str, Any]) -> tuple[Any, Any, Any]:
    return source.get("event_id"), source.get("path") or "", source.get("line")


def _place_of(line: str) -> str:
    return f"the line {_quote(line)}"


def _quote(text: str) -> str:
    return repr(text if len(text) <= 70 else text[:69] + "\u2026")


def _cited_source(part: str, draft: dict[str, Any]) -> dict[str, Any] | None:
    numbers = cited(part)
    return next((item for item in draft.get("sources") or [] if isinstance(item, dict) and item.get("n") in numbers), None)


def _reference(source: dict[str, Any] | None) -> dict[str, Any] | None:
    return {key: source.get(key) for key in ("event_id", "path", "line")} if source else None
