"""Draft an e-mail from a contact and excerpts: with the model that the host has, else from a template; every claim cites a source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import answer
from claims import text_of
from letter import Addressee, Source, addressee_of, finish, sources_of, subject_of
from plain import one_line, spoken
from prompting import SYSTEM, prompt_for
from template import greeting, tone_of, write

from runloop_agent import BudgetSpent, CallError, Denied, TimedOut, Unavailable, agent, emit
from runloop_agent import model as models

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_WORDS = 180
WITHOUT_MODEL: tuple[type[CallError], ...] = (Unavailable, Denied, BudgetSpent, TimedOut)
"""Refusals after which the template writes; a call that the host does not understand is a mistake to show, not to hide."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be written."""

    topic: str
    addressee: Addressee
    sources: Sequence[Source]
    tone: str
    max_words: int
    sender: str

    @property
    def known(self) -> str:
        """What the message may say without a source."""
        return f"{self.topic} {self.addressee.name} {self.addressee.email} {self.sender}"


@agent
def run(
    topic: str = "",
    tone: str = "neutral-friendly",
    recipients: Any = None,
    context: Any = None,
    review: dict[str, Any] | None = None,
    draft: dict[str, Any] | None = None,
    max_words: int = MAX_WORDS,
    sender: str = "",
    use_model: bool = True,
    model: str = "",
) -> dict[str, Any]:
    """A draft: body, subject, sources, citations, word_count, mode (model, model-mended, template), rationale."""
    subject = spoken(topic)
    if not any(char.isalnum() for char in subject):
        raise ValueError("writer: there is no topic; give `topic`, what the message is about")
    addressee = addressee_of(recipients)
    suggestions = _suggestions(review)
    sources = _without(sources_of(context), suggestions)
    task = Task(subject, addressee, sources, one_line(tone), max_words, spoken(sender))
    if not use_model:
        return _from_template(task, "written from the template, as asked")
    try:
        return _from_model(task, suggestions, draft or {}, model or None)
    except WITHOUT_MODEL as refused:
        emit.log(f"no model: {refused.message}; writing from the template", "info")
        return _from_template(task, f"written from the template, because no model answered: {refused.message}")


def _from_template(task: Task, why: str) -> dict[str, Any]:
    text = write(task.topic, task.addressee, list(task.sources), tone=task.tone, max_words=task.max_words, sender=task.sender)
    return finish(subject_of(task.topic), text, list(task.sources), mode="template", rationale=why)


def _from_model(task: Task, suggestions: list[dict[str, Any]], draft: dict[str, Any], name: str | None) -> dict[str, Any]:
    """Ask, judge, ask once more with the problems, mend what is left; fall back to the template when nothing usable remains."""
    emit.progress("drafting with a model")
    sources = list(task.sources)
    previous = text_of(str(draft.get("body") or ""))
    wrong = [f"{item.get('problem', '')} {item.get('suggestion', '')}".strip() for item in suggestions]
    reply, text, left = _ask(task, name, previous, wrong)
    if left:
        emit.log(f"the model's draft has {len(left)} problem(s), asking once more: {left[0]}", "info")
        reply, text, left = _ask(task, name, text, left)
    mode = "model"
    if left:
        text, mode = answer.mend(text, sources, task.known), "model-mended"
        left = answer.problems(text, sources, task.known, task.max_words)
    if left:
        emit.log(f"the model's draft cannot be used: {left[0]}", "warn")
        return _from_template(task, f"written from the template, because the model's draft could not be used: {left[0]}")
    return finish(subject_of(reply.subject or task.topic), text, sources, mode=mode, rationale=reply.rationale or "drafted by the model")


def _ask(task: Task, name: str | None, previous: str, wrong: list[str]) -> tuple[answer.Reply, str, list[str]]:
    """One answer with its text and the problems that it has."""
    prompt = prompt_for(
        task.topic,
        task.addressee,
        task.sources,
        tone=task.tone,
        max_words=task.max_words,
        sender=task.sender,
        previous=previous,
        problems=wrong,
    )
    said = models.complete(prompt, system=SYSTEM, model=name, max_tokens=max(400, task.max_words * 4), temperature=0.3)
    reply = answer.read(said.text)
    text = answer.greet(reply.text, task.addressee, greeting(task.addressee, tone_of(task.tone)))
    if task.sender and task.sender not in text:
        text = f"{text}\n{task.sender}"
    return reply, text, answer.problems(text, task.sources, task.known, task.max_words)


def _suggestions(review: Any) -> list[dict[str, Any]]:
    found = review.get("suggestions") if isinstance(review, dict) else None
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _without(sources: list[Source], suggestions: list[dict[str, Any]]) -> list[Source]:
    """The sources but for those that the review objects to, so that a revision does not repeat what they say."""
    refused = {_place(item["source"]) for item in suggestions if isinstance(item.get("source"), dict)}
    return [source for source in sources if _place(source.reference()) not in refused]


def _place(source: dict[str, Any]) -> tuple[Any, Any, Any]:
    return source.get("event_id"), source.get("path"), source.get("line")
