"""The parts that every draft shares: who is greeted and how, the subject, the numbered sources, the finished draft."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from claims import SOURCES_HEADING, cited, count_words, renumber
from plain import one_line, plain, shorten, spoken

MAX_SUBJECT = 90
MAX_TOPIC = 160
"""Characters of a topic that a message repeats; the rest of a longer one is for the search."""

_TITLES = frozenset({"dr", "prof", "mr", "mrs", "ms", "mx", "sir", "frau", "herr", "mme", "m"})
_CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


@dataclass(frozen=True, slots=True)
class Source:
    """One excerpt of the context with the number by which the message cites it."""

    number: int
    event_id: int | None
    path: str
    line: int | None
    title: str
    excerpt: str

    def reference(self) -> dict[str, Any]:
        """How the draft names the source."""
        return {
            "n": self.number,
            "event_id": self.event_id,
            "path": self.path,
            "line": self.line,
            "title": self.title,
            "excerpt": self.excerpt,
        }

    def shown(self) -> str:
        """The entry of the source list; of an absolute path only the last folder and the file, since the rest is nobody's business."""
        place = self.path
        if place.startswith(("/", "~")) or re.match(r"[A-Za-z]:[\\/]", place):
            place = "/".join(re.split(r"[\\/]", place)[-2:])
        if self.line is not None:
            place = f"{place}, line {self.line}" if place else f"line {self.line}"
        title = "" if self.path == self.title or self.path.endswith("/" + self.title) else shorten(plain(self.title), 80)
        return f"[{self.number}] " + (f"{title} ({place})" if title and place else title or place or f"event {self.event_id}")


@dataclass(frozen=True, slots=True)
class Addressee:
    """Who the message is for; without a name the greeting has none either."""

    name: str
    email: str

    def short(self) -> str:
        """The name for a friendly greeting: the given name where it can be told, else the whole name."""
        name = self.name
        if name.count(",") == 1 and not any(map(str.isdigit, name)):
            last, _, first = name.partition(",")
            name = f"{first.strip()} {last.strip()}".strip()
        parts = name.split()
        if len(parts) < 2 or _CJK.search(name) or parts[0].rstrip(".").casefold() in _TITLES:
            return name
        first = parts[0]
        return first if re.fullmatch(r"[^\W\d_](?:[-'\u2019]?[^\W\d_])+", first) and not first[0].islower() else name


def sources_of(context: Any) -> list[Source]:
    """The excerpts of a gatherer's answer (or a bare list of them), numbered from 1 in their order; what holds no text is left out."""
    items = context.get("excerpts", []) if isinstance(context, dict) else context
    found: list[Source] = []
    for item in items if isinstance(items, list) else []:
        text = plain(str(item.get("excerpt") or "")) if isinstance(item, dict) else ""
        if text:
            found.append(
                Source(
                    number=len(found) + 1,
                    event_id=_whole(item.get("event_id")),
                    path=one_line(str(item.get("path") or "")),
                    line=_whole(item.get("line")),
                    title=one_line(str(item.get("title") or "")),
                    excerpt=text,
                )
            )
    return found


def addressee_of(contact: Any) -> Addressee:
    """The person of a resolver's answer, or of a list of them whose first is meant."""
    if isinstance(contact, list):
        contact = contact[0] if contact else None
    if not isinstance(contact, dict):
        return Addressee("", "")
    name = spoken(str(contact.get("name") or ""))
    return Addressee(name if any(char.isalnum() for char in name) else "", one_line(str(contact.get("email") or "")))


def subject_of(topic: str) -> str:
    """The subject line: the topic itself, capitalised, at most MAX_SUBJECT characters."""
    text = shorten(topic.strip(" .:;,"), MAX_SUBJECT)
    return text[:1].upper() + text[1:]


def finish(subject: str, text: str, sources: list[Source], *, mode: str, rationale: str) -> dict[str, Any]:
    """The draft: cited sources renumbered from 1 in the order they are cited, and listed under the message."""
    order = [number for number in cited(text) if any(source.number == number for source in sources)]
    renumbered = {old: new for new, old in enumerate(order, start=1)}
    text = renumber(text, renumbered).strip()
    by_number = {source.number: source for source in sources}
    used = [replace(by_number[old], number=new) for old, new in renumbered.items()]
    listing = "\n".join(source.shown() for source in used)
    return {
        "subject": subject,
        "body": f"{text}\n\n{SOURCES_HEADING}\n{listing}\n" if used else f"{text}\n",
        "sources": [source.reference() for source in used],
        "citations": [source.number for source in used],
        "word_count": count_words(text),
        "mode": mode,
        "rationale": rationale,
    }


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
