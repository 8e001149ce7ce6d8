"""A model's answer: read, judged and mended. What cannot be mended is told, so that the writer can ask again or do without."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from claims import cited, count_words, faults, line_units, units
from plain import one_line
from wording import fold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from letter import Addressee, Source

MIN_WORDS = 12
MAX_ANSWER = 8000
"""Characters of an answer that are read: many times what a message may have, and little enough to judge."""
_GREETING = re.compile(
    r"(?:hi|hello|hey|dear|good (?:morning|afternoon|evening|day)|greetings|hallo|liebe[rs]?|sehr geehrte[rs]?|guten (?:tag|morgen)|"
    r"bonjour|cher|ch\u00e8re|hola|estimad[oa]|ciao|caro|cara|ol\u00e1)\b.{0,80}|[^\d?:]{1,80}[,!\uff0c\u3001]",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(r"^\W*\[[^\]\d]*(?:name|position|company|contact|signature|title)[^\]]*\]\W*$", re.IGNORECASE)
_OWN_LIST = re.compile(r"\n\W*(?:sources|references|quellen|citations)\W*\n(?=\s*\W*\[?\d)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model wrote."""

    subject: str
    text: str
    rationale: str


def read(answer: str) -> Reply:
    """The parts of an answer: a JSON object, with or without a fence or words around it, else the whole text as the body."""
    answer = answer[:MAX_ANSWER]
    for found in re.finditer(r"\{", answer):
        try:
            value, _ = json.JSONDecoder().raw_decode(answer[found.start() :])
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and isinstance(value.get("body"), str):
            parts = {key: value.get(key) for key in ("subject", "rationale")}
            texts = {key: one_line(part) if isinstance(part, str) else "" for key, part in parts.items()}
            return Reply(texts["subject"], tidy(value["body"]), texts["rationale"])
    subject = re.match(r"\s*subject:\s*(.+)\n", answer, re.IGNORECASE)
    return Reply(one_line(subject.group(1)) if subject else "", tidy(answer[subject.end() :] if subject else answer), "")


def tidy(body: str) -> str:
    """Plain text with citations in one form and without the model's own source list, Markdown or name placeholders."""
    text = body.replace("\r\n", "\n").replace("\\n", "\n").strip()
    own_list = _OWN_LIST.search(text)
    text = text[: own_list.start()] if own_list else text
    text = re.sub(
        r"\[\^?(\d{1,3}(?:\s*[,;]\s*\d{1,3})+)\]", lambda found: "".join(f"[{n}]" for n in re.findall(r"\d+", found.group(1))), text
    )
    text = re.sub(r"\[(?:\^|source |quelle )(\d{1,3})\]", r"[\1]", text, flags=re.IGNORECASE)
    text = re.sub(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1", r"\2", text)
    text = re.sub(r"^#{1,6}\s+|^```.*$|^\*(?=\s)", lambda found: "-" if found.group().strip() == "*" else "", text, flags=re.MULTILINE)
    lines = [
        "".join(char for char in line if char.isprintable() or char == "\t").rstrip()
        for line in text.split("\n")
        if not _PLACEHOLDER.match(line)
    ]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def greet(text: str, addressee: Addressee, greeting: str) -> str:
    """The text with a first line that greets the addressee: the model's own where it names them, else the given one."""
    first, _, rest = text.partition("\n")
    names = [fold(part) for part in addressee.name.split() if len(part) > 1] or [fold(addressee.name)]
    if _GREETING.fullmatch(first.strip()) and len(first.split()) <= 8:
        kept = bool(addressee.name) and any(name in fold(first) for name in names)
        return f"{first.strip() if kept else greeting}\n\n{rest.lstrip()}"
    return f"{greeting}\n\n{text}"


def problems(text: str, sources: Sequence[Source], known: str, max_words: int) -> list[str]:
    """What is wrong with a text, in words that a model or a person can act on."""
    found: list[str] = []
    words = count_words(text)
    if words > max_words:
        found.append(f"It has {words} words; the limit is {max_words}.")
    if words < MIN_WORDS:
        found.append(f"It has only {words} words.")
    texts = basis(sources)
    found += [f"{fault.problem}: {fault.unit}" for unit in units(text) for fault in faults(unit, texts, known)]
    if sources and not cited(text):
        found.append("It cites no source.")
    return found


def mend(text: str, sources: Sequence[Source], known: str) -> str:
    """The text without the sentences that have a fault."""
    texts = basis(sources)
    kept: list[str] = []
    for line in text.split("\n"):
        said = line_units(line)
        good = [unit.text for unit in said if not faults(unit, texts, known)]
        if good and len(good) < len(said) and all(count_words(text) < 2 for text in good):
            continue  # a lone "P.S." of what was left out
        if good or not line.strip():
            kept.append(" ".join(good))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()


def basis(sources: Sequence[Source]) -> dict[int, str]:
    """What each number may be cited for."""
    return {source.number: f"{source.title} {source.excerpt}" for source in sources}
