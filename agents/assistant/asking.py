"""What a question is about, and the query that answers it: a table of subjects, each with the words that speak for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from when import Span

LIMIT = 20
OWN = "assistant"
"""The opening that asks this agent."""
_WEEK_MS = 7 * 86_400_000
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question: its text and words, the time it speaks of, now, and the opening that it names (or "")."""

    text: str
    words: frozenset[str]
    span: Span | None
    now_ms: int
    opening: str

    def within(self, column: str, *, days: int = 7) -> str:
        """The SQL condition for the time; without one, the last ``days``."""
        since, until = (self.span.since_ms, self.span.until_ms) if self.span else (self.now_ms - days * 86_400_000, self.now_ms + 1)
        return f"{column} >= {since} AND {column} < {until}"

    def of_opening(self) -> str:
        """The SQL condition for the opening that is named."""
        return f" AND opening_name = {literal(self.opening)}" if self.opening else ""

    def but_answers(self) -> str:
        """The SQL condition that leaves out the runs that answer questions, this one among them, unless they are asked for."""
        return self.of_opening() or f" AND opening_name <> {literal(OWN)}"


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that is asked about: words (stems) that speak for it, its query, and what its rows are."""

    name: str
    stems: tuple[str, ...]
    query: Callable[[Asked], str]
    what: str
    none: str


def literal(text: str) -> str:
    """A text in SQL."""
    return "'" + text.replace("'", "''").replace("\0", "") + "'"


def _failed(asked: Asked) -> str:
    return f"""SELECT runs.started_ms AS at_ms, runs.opening_name AS opening, run_nodes.node_id AS node,
        coalesce(run_nodes.error, runs.reason) AS reason, runs.run_id AS run_id
        FROM runs LEFT JOIN run_nodes ON run_nodes.run_id = runs.run_id AND run_nodes.status = 'error'
        WHERE runs.status = 'failed' AND {asked.within("runs.submitted_ms")}{asked.of_opening()} ORDER BY runs.submitted_ms DESC"""  # noqa: S608 - numbers of ours, and literal()


def _costs(asked: Asked) -> str:
    """Money is null where the price of a call is not known; a run without an end has used what its calls used."""
    calls = "FROM effects WHERE effects.run_id = runs.run_id AND tokens_in + tokens_out > 0"
    return f"""SELECT opening, count(*) AS runs, sum(tokens) AS tokens,
        CASE WHEN sum(tokens > 0 AND usd IS NULL) = 0 THEN round(total(usd), 4) END AS usd
        FROM (SELECT opening_name AS opening,
            CASE WHEN finished_ms IS NULL THEN (SELECT coalesce(sum(tokens_in + tokens_out), 0) {calls}) ELSE tokens END AS tokens,
            CASE WHEN finished_ms IS NULL THEN (SELECT CASE WHEN count(*) = count(usd) THEN sum(usd) END {calls}) ELSE usd END AS usd
            FROM runs WHERE parent_run_id IS NULL AND {asked.within("submitted_ms")}{asked.of_opening()})
        GROUP BY opening ORDER BY usd DESC, tokens DESC, opening"""  # noqa: S608 - numbers of ours, and literal()


def _waiting(_: Asked) -> str:
    return """SELECT approvals.requested_ms AS at_ms, runs.opening_name AS opening, approvals.action AS action, approvals.node_id AS node,
        approvals.run_id AS run_id FROM approvals JOIN runs ON runs.run_id = approvals.run_id
        WHERE approvals.status = 'requested' AND runs.finished_ms IS NULL ORDER BY approvals.requested_ms"""


def _decided(asked: Asked) -> str:
    return f"""SELECT approvals.decided_ms AS at_ms, runs.opening_name AS opening, approvals.action AS action,
        approvals.decision AS decision, approvals.decided_by AS decided_by, approvals.run_id AS run_id
        FROM approvals JOIN runs ON runs.run_id = approvals.run_id
        WHERE approvals.decision IS NOT NULL AND {asked.within("approvals.decided_ms")}
        ORDER BY approvals.decided_ms DESC"""  # noqa: S608 - numbers of ours


def _running(asked: Asked) -> str:
    return f"""SELECT submitted_ms AS at_ms, opening_name AS opening, status, run_id FROM runs
        WHERE finished_ms IS NULL AND parent_run_id IS NULL{asked.but_answers()} ORDER BY submitted_ms DESC"""  # noqa: S608 - numbers of ours, and literal()


def _runs(asked: Asked) -> str:
    return f"""SELECT submitted_ms AS at_ms, opening_name AS opening, status, ms, tokens, usd, run_id FROM runs
        WHERE parent_run_id IS NULL AND {asked.within("submitted_ms")}{asked.but_answers()} ORDER BY submitted_ms DESC"""  # noqa: S608 - numbers of ours, and literal()


def _mails(asked: Asked) -> str:
    return f"""SELECT sent_ms AS at_ms, subject, recipients, status, event_id FROM mails
        WHERE {asked.within("sent_ms", days=30)} ORDER BY sent_ms DESC"""  # noqa: S608 - numbers of ours, and literal()


def _files(_: Asked) -> str:
    return """SELECT kind, path, summary, run_id, source_event AS event_id FROM artifacts ORDER BY source_event DESC"""


SUBJECTS: tuple[Subject, ...] = (
    Subject(
        "costs",
        ("cost", "spen", "token", "money", "usd", "dollar", "price", "expens", "paid", "bill"),
        _costs,
        "costs by opening",
        "Nothing ran",
    ),
    Subject("failures", ("fail", "error", "broke", "broken", "crash", "wrong"), _failed, "runs that failed", "No run failed"),
    Subject("decisions", ("approve", "denied", "deny", "rejected", "decided"), _decided, "what was decided", "Nothing was decided"),
    Subject(
        "approvals",
        ("approv", "inbox", "decide", "decision", "pending", "wait", "need", "should", "must"),
        _waiting,
        "what waits for you",
        "Nothing waits for you",
    ),
    Subject(
        "unfinished",
        ("running", "unfinished", "active", "progress"),
        _running,
        "runs that have not ended",
        "No run is under way",
    ),
    Subject(
        "mails",
        ("sent", "send", "mail", "email", "outbox", "wrote", "write", "written", "message"),
        _mails,
        "messages that runs wrote",
        "No run wrote a message",
    ),
    Subject("files", ("artifact", "file", "output", "produc", "made", "creat"), _files, "files that runs made", "No run made a file"),
    Subject(
        "runs", ("run", "ran", "runs", "happen", "did", "done", "history", "activity", "finish", "succe"), _runs, "runs", "Nothing ran"
    ),
)


def asked_of(question: str, span: Span | None, now_ms: int, openings: list[str]) -> Asked:
    """The question, with the opening that it names."""
    words = frozenset(found[0] for found in _WORD.finditer(question.lower().replace("e-mail", "email")))
    spaced = " ".join(_WORD.findall(question.lower()))
    named = [name for name in openings if f" {' '.join(_WORD.findall(name.lower()))} " in f" {spaced} "]
    return Asked(question, words, span, now_ms, max(named, key=len, default=""))


def wanted(question: str) -> str:
    """The words of a question that say what it is about; all of them where none does."""
    kept = [word for word in question.split() if not frozenset(_WORD.findall(word.lower())) <= _ABOUT_RUNS | _SAID]
    return " ".join(kept) or question


def subject_of(asked: Asked) -> tuple[Subject, str] | None:
    """The subject that most of the question's words speak for, and those words; None where the question is about something else.

    A word that speaks for a subject is not enough where the rest of the question is about something of its own:
    "what did Maria say about the launch" is about the launch.
    """
    found: list[tuple[bool, int, int, Subject, list[str]]] = []
    for number, subject in enumerate(SUBJECTS):
        spoken = sorted(word for word in asked.words if any(word.startswith(stem) for stem in subject.stems))
        if spoken:
            found.append((subject.name == "runs", -len(spoken), number, subject, spoken))
    if not found:
        return None
    *_, subject, spoken = min(found, key=lambda each: each[:3])
    others = asked.words - frozenset(spoken) - _ABOUT_RUNS - frozenset(_WORD.findall(asked.opening.lower()))
    if asked.span is not None:
        others -= frozenset(_WORD.findall(asked.span.words.lower()))
    if subject.name in ("runs", "files", "mails") and len(others) > 1:
        return None
    if len(others) > 3:
        return None
    return subject, ", ".join(spoken)


# Words that a question about runs may hold without being about something else.
_ABOUT_RUNS = frozenset(
    """a about agent agents all an and any anything are at been by can could day days did do does ever for from get give had has have
    hours how i in is it its last latest list many me month most much my now of on one ones opening openings our out over please recent
    recently run runloop runs s show since so some something t tell than that the their them then there these they thing things this
    time times to up us was we week were what when where which who why with would year yet you""".split()  # noqa: SIM905 - read as text
)
_SAID = frozenset(
    ["know", "known", "knows", "said", "say", "says", "summarise", "summarize", "explain", "describe", "find", "search", "note", "notes"]
)
