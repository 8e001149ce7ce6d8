"""What becomes of a line typed at the prompt, and why: the router's decision and, for agents, the opening that it means. Runs nothing."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runloop.config import Settings
    from runloop.router.values import ShellFacts

_KEY = re.compile(r"[a-z]+:\S")  # contact:…, run:…: a name of something, whatever else is in it
_FEATURES = 12  # of a line in the explanation for people; JSON has all
_OTHERS = 3  # openings that were not taken
_GOES = {"shell": "the shell", "agent": "agents", "ask": "the person, who decides between the shell and agents"}


COLUMNS = ("route", "rule", "blocked", "features", "reason")


def is_line(text: str, settings: Settings) -> bool:
    """Whether a text that names nothing known is a line for the prompt: of several words, with the sigil, or a command of this machine."""
    words = text.split()
    if _KEY.match(text.strip()):
        return False
    sigil = settings.get("router.sigil")
    return len(words) > 1 or bool(words and ((sigil and words[0].startswith(sigil)) or _facts().kind_of(words[0])))


def decision(line: str, settings: Settings) -> dict[str, Any]:
    """The whole decision: ``line``, ``router`` (route, rule, reason, features with weights) and ``request``, None for the shell's lines."""
    from runloop.cli.requests import bare, candidates, understood
    from runloop.router.machine import settings_of
    from runloop.router.reply import route_reply

    reply = route_reply(line, _facts(), settings_of(settings), explain=True)
    words = bare(line, settings)
    if reply["route"] == "shell" or not any(char.isalnum() for char in words):
        return {"line": line, "router": reply, "request": None}
    known, _ = candidates(settings)
    return {"line": line, "router": reply, "request": understood(words, settings, known).to_dict()}


def _facts() -> ShellFacts:
    """What is known here, and what the shell at whose prompt this was typed said of its aliases and functions (docs/shell.md)."""
    from runloop.errors import InvalidInput
    from runloop.router.machine import facts

    text = os.environ.get("RUNLOOP_SHELL_FACTS")
    try:
        given = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        hint = "The shell integration sets and unsets it; `unset RUNLOOP_SHELL_FACTS`."
        raise InvalidInput("RUNLOOP_SHELL_FACTS is not a JSON object", code="route.facts", hint=hint)
    given.pop("expanded", None)  # that of the whole line, `rlp why` and all
    return facts(os.environ, given)


def row(said: Mapping[str, Any]) -> tuple[Any, ...]:
    """The router's part of a decision as a row of :data:`COLUMNS`."""
    router = said["router"]
    features = " ".join(each["feature"] for each in router["features"]) or "—"
    return router["route"], router["rule"], router["blocked"], features, router["reason"]


def lines(said: Mapping[str, Any], *, sought: bool) -> Iterator[str]:
    """The decision for people; ``sought`` where the line was first taken for the name of something."""
    router, request = said["router"], said["request"]
    yield said["line"]
    if sought:
        yield "  names       nothing that is known; as a line typed at the prompt it"
    goes = "nobody: no shell may run it" if router["route"] == "shell" and router["blocked"] else _GOES[router["route"]]
    yield f"  goes to     {goes}"
    yield f"  because     {router['reason']} (rule {router['rule']}, confidence {router['confidence']:.2f})"
    features = sorted(router["features"], key=lambda each: -abs(each["weight"]))
    if features:
        more = f", and {len(features) - _FEATURES} more" if len(features) > _FEATURES else ""
        yield "  seen        " + ", ".join(f"{each['feature']} {each['weight']:+.2f}" for each in features[:_FEATURES]) + more
    if request is not None:
        yield from _request_lines(request)


def _request_lines(request: Mapping[str, Any]) -> Iterator[str]:
    taken = next((each for each in request["matches"] if each["opening"] == request["opening"]), None)
    if taken is None:
        yield f"  opening     {request['reason']}: you would be asked which"
        for match in request["matches"][: 1 + _OTHERS]:
            yield f"    {match['opening']} {match['score']:.2f}{_spoken_for(match)}"
        return
    score = f" {taken['score']:.2f}" if request["outcome"] not in ("none", "answer") else ""
    yield f"  opening     {taken['opening']}{score}, because {request['reason']}{_spoken_for(taken)}"
    for name, value in request["params"].items():
        filled = taken["params"].get(name)
        origin = "default" if filled is None else f"from: {filled['by']}"
        yield f"    {name} = {_value(value)}  ({origin})"
    others = [each for each in request["matches"] if each is not taken and each["score"] > 0][:_OTHERS]
    if others:
        yield "  not taken   " + "; ".join(f"{each['opening']} {each['score']:.2f}{_spoken_for(each)}" for each in others)


def _spoken_for(match: Mapping[str, Any]) -> str:
    """The example and the words that speak for an opening."""
    terms = " ".join(f"{each['word']} {each['weight']:.2f}" for each in match["terms"])
    parts = [*([f"like \u201c{match['example']}\u201d"] if match["example"] else []), *([f"words: {terms}"] if terms else [])]
    return f" ({'; '.join(parts)})" if parts else ""


def _value(value: Any) -> str:
    return value if isinstance(value, str) and value.strip() else json.dumps(value, ensure_ascii=False)
