"""What a person typed under what they were shown, as a decision. Always a word and Enter, never a key: nobody decides by a slip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runloop.dataclass import dataclass
from runloop.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Decision:
    """As :meth:`runloop.client.Client.answer` takes it."""

    approved: bool = False
    answer: str | None = None
    scope: str | None = None
    rationale: str | None = None


_SCOPES = {
    "once": ("yes", "this once"),
    "run": ("run", "and the like for the rest of this run"),
    "opening": ("opening", "and the like in every run of this opening"),
    "always": ("always", "and the like from now on"),
}


def choices(shown: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What may be typed, and what it means."""
    if shown["type"] == "question":
        listed = [(str(number), option) for number, option in enumerate(shown["options"], start=1)]
        return listed or [("any text", "is the answer")]
    allowed = [_SCOPES[scope] for scope in shown["scopes"] if scope in _SCOPES]
    return [*allowed, ("no [reason]", "it does not leave")]


def decide(shown: Mapping[str, Any], typed: str) -> Decision:
    """The decision that the text stands for. Raises InvalidInput ``tui.answer`` for any other text."""
    text = typed.strip()
    return _answer(shown, text) if shown["type"] == "question" else _approval(shown, text)


def needs_comment(shown: Mapping[str, Any], decision: Decision) -> bool:
    """Whether the answer asks for a change that has not been named."""
    return decision.answer is not None and decision.answer in shown.get("comment_on", ()) and not decision.rationale


def _approval(shown: Mapping[str, Any], text: str) -> Decision:
    word, _, rest = text.partition(" ")
    word = word.casefold()
    if word == "no":
        return Decision(approved=False, rationale=rest.strip() or "rejected in agtop")
    for scope in shown["scopes"]:
        if scope in _SCOPES and word == _SCOPES[scope][0] and not rest.strip():
            return Decision(approved=True, scope=scope, rationale="approved in agtop")
    raise _unclear(shown, typed=text)


def _answer(shown: Mapping[str, Any], text: str) -> Decision:
    options = shown["options"]
    if not options:
        if not text:
            raise _unclear(shown, typed=text)
        return Decision(answer=text)
    word, _, rest = text.partition(" ")
    named = next((option for option in sorted(options, key=len, reverse=True) if f"{text} ".startswith(f"{option} ")), None)
    if word.isdecimal() and 1 <= int(word) <= len(options) and (named is None or named == word):  # "2 weeks" is no number with a comment
        return _with_comment(shown, options[int(word) - 1], rest)
    if named is not None:
        return _with_comment(shown, named, text[len(named) :])
    if not text and shown.get("default") is not None:
        return Decision(answer=shown["default"])
    raise _unclear(shown, typed=text)


def _with_comment(shown: Mapping[str, Any], option: str, rest: str) -> Decision:
    comment = rest.strip()
    if comment and option not in shown.get("comment_on", ()):
        raise _unclear(shown, typed=f"{option} {comment}")
    return Decision(answer=option, rationale=comment or None)


def _unclear(shown: Mapping[str, Any], *, typed: str) -> InvalidInput:
    words = ", ".join(word for word, _ in choices(shown))
    return InvalidInput(f"{typed!r} is no answer to this", code="tui.answer", hint=f"type one of: {words}")
