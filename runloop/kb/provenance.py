"""Provenance as a graph: steps (somebody or something that took part), links to what each rests on, and a bounded walk over them."""

from __future__ import annotations

from collections import deque
from dataclasses import field
from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass
from runloop.kb.limits import MAX_DEPTH, MAX_STEPS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Link:
    """What a step rests on, and how; ``note`` says where in it, or what is odd about it. ``whole``: with all that a run did."""

    relation: str
    key: str
    note: str | None = None
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One node of the graph. ``key`` is ``event:N``, ``run:ID``, ``node:RUN#NODE`` or ``note:PATH``; ``gone`` says why nothing is known."""

    key: str
    kind: str
    title: str
    event_id: int | None = None
    ts_ms: int | None = None
    who: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    links: tuple[Link, ...] = ()
    gone: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Steps by key, in the order in which the walk met them; ``left_out`` counts links that were not followed."""

    root: str
    steps: Mapping[str, Step]
    left_out: int

    def links(self) -> Iterator[tuple[str, Link]]:
        """Every link whose two ends are here, with the step that it starts from."""
        for step in self.steps.values():
            for link in step.links:
                if link.key in self.steps:
                    yield step.key, link

    def to_dict(self) -> dict[str, Any]:
        """The documented JSON form: ``root``, ``summary``, ``steps``, ``links``, ``left_out``."""
        return {
            "root": self.root,
            "summary": summary(self),
            "steps": [_step_dict(step) for step in self.steps.values()],
            "links": [{"from": key, "relation": link.relation, "to": link.key, "note": link.note} for key, link in self.links()],
            "left_out": self.left_out,
        }


def walk(root: str, step_of: Callable[[str, bool], Step], *, max_steps: int = MAX_STEPS, max_depth: int = MAX_DEPTH) -> Explanation:
    """Everything that ``root`` rests on, nearest first, up to ``max_steps`` steps and ``max_depth`` links away.

    ``step_of(key, whole)`` gives a step; cycles end where they meet a step that is there.
    """
    steps: dict[str, Step] = {}
    whole: dict[str, bool] = {}
    left_out = 0
    queue = deque([(root, True, 0)])
    while queue:
        key, wanted, depth = queue.popleft()
        if key in steps and (whole[key] or not wanted):
            continue
        if key not in steps and len(steps) >= max_steps:
            left_out += 1
            continue
        step = step_of(key, wanted)
        steps[key], whole[key] = step, wanted
        if depth >= max_depth:
            left_out += sum(link.key not in steps for link in step.links)
            continue
        queue.extend((link.key, link.whole, depth + 1) for link in step.links)
    return Explanation(root, steps, left_out)


def summary(explanation: Explanation) -> dict[str, Any]:
    """The answers in short: who made it, who approved it, on which texts and people it rests, what it cost.

    ``outcomes`` is what somebody said of calls that were cut off. Money is in US dollars, None where the price of a call is not known.
    What was only looked at is not what it rests on, nor is what lies behind that, such as who approved another mail, and what it cost.
    """
    steps = _rested_on(explanation)
    own = [steps[link.key] for link in steps[explanation.root].links if link.relation == "made by" and link.key in steps]
    rests = _cited(steps)
    calls = [step for step in steps.values() if step.kind == "model call"]
    prices = [step.facts.get("usd", 0) for step in calls]
    return {
        "made_by": [_maker(step) for step in own],
        "approved_by": [_decided(step) for step in steps.values() if step.kind == "approval" and step.facts.get("asks") != "outcome"],
        "outcomes": [{**_decided(step), "action": step.facts["action"]} for step in steps.values() if step.facts.get("asks") == "outcome"],
        "texts": [_text(step, notes) for step, notes in rests if step.kind in _TEXTS],
        "people": [{"event": step.key, "name": step.title} for step in steps.values() if step.kind == "contact" and _used(step, rests)],
        "cost": {
            "model_calls": len(calls),
            "cached": sum(bool(step.facts.get("cached")) for step in calls),
            "failed": sum(step.facts.get("outcome") == "failed" for step in calls),
            "tokens": sum(step.facts.get("tokens_in", 0) + step.facts.get("tokens_out", 0) for step in calls),
            "usd": None if None in prices else round(sum(prices), 9),
        },
        "gone": [{"step": step.key, "why": step.gone} for step in explanation.steps.values() if step.gone],
    }


def _decided(step: Step) -> dict[str, Any]:
    facts = step.facts
    return {"event": step.key, "by": step.who, "decision": facts.get("decision"), "ts_ms": step.ts_ms, "why": facts.get("rationale")}


def _maker(step: Step) -> dict[str, Any]:
    names = ("agent", "version", "digest", "run_id", "node", "opening")
    return {"step": step.key, "title": step.title, **{name: step.facts[name] for name in names if step.facts.get(name) is not None}}


_TEXTS = frozenset({"note", "message", "fact", "file", "appointment", "commit", "command line"})
_LOOSE = frozenset({"looked at"})


def _rested_on(explanation: Explanation) -> dict[str, Step]:
    """The steps that a way leads to on which nothing was only looked at, in their order."""
    found, ahead = {explanation.root}, [explanation.root]
    while ahead:
        links = explanation.steps[ahead.pop()].links
        further = {link.key for link in links if link.relation not in _LOOSE and link.key in explanation.steps} - found
        found |= further
        ahead += further
    return {key: step for key, step in explanation.steps.items() if key in found}


def _cited(steps: Mapping[str, Step]) -> list[tuple[Step, list[str]]]:
    """The steps that something cites or was made from, each with the places in it."""
    places: dict[str, list[str]] = {}
    for link in (link for step in steps.values() for link in step.links if link.relation not in _LOOSE):
        places.setdefault(link.key, []).extend([link.note] if link.note else [])
    return [(step, list(dict.fromkeys(places[key]))) for key, step in steps.items() if key in places]


def _used(step: Step, rests: Sequence[tuple[Step, list[str]]]) -> bool:
    return any(each is step for each, _ in rests)


def _text(step: Step, notes: Sequence[str]) -> dict[str, Any]:
    place = {name: step.facts[name] for name in ("path", "line", "end_line") if step.facts.get(name) is not None}
    return {"event": step.key, "title": step.title, **place, **({"cited": list(notes)} if notes else {})}


def _step_dict(step: Step) -> dict[str, Any]:
    said = {
        "key": step.key,
        "kind": step.kind,
        "title": step.title,
        "event_id": step.event_id,
        "ts_ms": step.ts_ms,
        "who": step.who,
        "facts": {name: value for name, value in step.facts.items() if value is not None},
    }
    return {**said, "gone": step.gone} if step.gone else said
