"""An explanation as a tree or rows for people, as Graphviz DOT, and as Mermaid; all from its masked JSON form."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runloop.cli.output import clean_line
from runloop.cli.times import date_clock, span

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_LIST = 12  # links of one sort that are shown one by one
_NAMED = 6  # of those that are not, so many are named
_COUNTED = frozenset({"looked at"})
_BACK = frozenset({"in", "made by", "asked by", "asked for by", "read by"})  # links up: nothing is lost where they were shown before
_PLAIN = frozenset({"node", "run", "model call", "event", "approval", "call"})  # kinds whose title says what they are

COLUMNS = ("time", "event", "kind", "actor", "summary")


def tree(said: Mapping[str, Any], depth: int, *, whole: bool = False) -> Iterator[str]:
    """Lines: the entity, then what it rests on, each step once; ``whole`` shows long lists in full."""
    yield from _Tree(said, depth, whole=whole).lines()


class _Tree:
    """Each step stands where it is nearest to the entity; other links to it only name it."""

    def __init__(self, said: Mapping[str, Any], depth: int, *, whole: bool) -> None:
        self._steps = {step["key"]: step for step in said["steps"]}
        self._links: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for link in said["links"]:
            self._links[link["from"]].append(link)
        self._root, self._depth, self._whole = said["root"], depth, whole
        self._parent = {self._root: ""}
        for key in list(self._nearest_first()):
            for link in self._links[key]:
                self._parent.setdefault(link["to"], key)

    def lines(self) -> Iterator[str]:
        yield step_line(self._steps[self._root])
        yield from self._below(self._root, "", 1)

    def _nearest_first(self) -> Iterator[str]:
        """Keys in the order of their distance; what is only counted leads nowhere."""
        queue, seen = deque([self._root]), {self._root}
        while queue:
            key = queue.popleft()
            yield key
            for link in self._links[key]:
                if link["to"] not in seen and (self._whole or link["relation"] not in _COUNTED):
                    seen.add(link["to"])
                    queue.append(link["to"])

    def _below(self, key: str, indent: str, depth: int) -> Iterator[str]:
        rows = list(self._rows(key))
        for number, (text, target) in enumerate(rows):
            last = number == len(rows) - 1
            yield f"{indent}{'└─ ' if last else '├─ '}{text}"
            if target is None:
                continue
            below = indent + ("   " if last else "│  ")
            if depth < self._depth:
                yield from self._below(target, below, depth + 1)
            elif any(True for _ in self._rows(target)):
                yield f"{below}└─ … (--depth {depth + 1} shows more)"

    def _rows(self, key: str) -> Iterator[tuple[str, str | None]]:
        """What stands under a step: a line each, and the step that is shown below it, if one is."""
        sorts: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for link in self._links[key]:
            sorts[link["relation"]].append(link)
        for relation, links in sorts.items():
            if relation in _COUNTED and not self._whole:
                yield f"{relation} {len(links)} more: {self._some(links)}", None
            else:
                yield from self._sort(key, relation, links)

    def _sort(self, key: str, relation: str, links: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str | None]]:
        here = [link for link in links if self._parent[link["to"]] == key]
        elsewhere = [link for link in links if self._parent[link["to"]] != key and relation not in _BACK]
        most = len(here) if self._whole else _LIST
        for link in here[:most]:
            note = f"  [{link['note']}]" if link["note"] else ""
            yield f"{relation} {step_line(self._steps[link['to']])}{note}", link["to"]
        if len(here) > most:
            yield f"{relation} {len(here) - most} more: {self._some(here[most:])} (--all shows them)", None
        if elsewhere:
            yield f"{relation} {self._some(elsewhere)} (shown elsewhere)", None

    def _some(self, links: Sequence[Mapping[str, Any]]) -> str:
        names = [self._name(link["to"]) for link in links[:_NAMED]]
        return ", ".join(names) + (", …" if len(links) > _NAMED else "")

    def _name(self, key: str) -> str:
        return f"node {key.partition('#')[2]}" if key.startswith("node:") else key if key.startswith("event:") else key[:12]


def step_line(step: Mapping[str, Any]) -> str:
    """A step on one line: what it is, what matters about it, where it is recorded."""
    kind = step["kind"]
    title = step["title"] if kind in _PLAIN or "." in kind else f"{kind} {step['title']}"
    where = "" if step["event_id"] is None or kind in {"node", "run"} else f"  event:{step['event_id']}"
    return clean_line(_described(step, title) + where)


def rows(said: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """The steps as rows of :data:`COLUMNS`, nearest first."""
    for step in said["steps"]:
        when = None if step["ts_ms"] is None else date_clock(step["ts_ms"])
        yield when, step["event_id"], step["kind"], step["who"], clean_line(_described(step, step["title"]))


def _described(step: Mapping[str, Any], title: str) -> str:
    said = [title, f"gone: {step['gone']}"] if step.get("gone") else [title, *_DETAILS.get(step["kind"], _nothing)(step, step["facts"])]
    return ", ".join(str(each) for each in said if each)


def summary_lines(said: Mapping[str, Any]) -> Iterator[str]:
    """The short answers: who made it, who approved it, on what it rests, what it cost."""
    found = said["summary"]
    for made in found["made_by"]:
        digest = f" ({made['digest'][:12]})" if made.get("digest") else ""
        run = f" in run {made['run_id'][:8]} of {made.get('opening') or 'an opening'}" if made.get("run_id") else ""
        yield f"made by   {made['title']}{digest}{run}"
    for each in found["approved_by"]:
        yield _decision(each, "decided", each["decision"])
    for each in found["outcomes"]:
        yield _decision(each, "answered", f"whether {each['action']} happened: {each['decision']}")
    for text in found["texts"]:
        yield (
            f"rests on  {_place(text) or text['title']}"
            + (f"  [{'; '.join(text['cited'])}]" if text.get("cited") else "")
            + f"  {text['event']}"
        )
    for person in found["people"]:
        yield f"about     {person['name']}  {person['event']}"
    cost = found["cost"]
    if cost["model_calls"]:
        usd = "at an unknown price" if cost["usd"] is None else f"{cost['usd']:.6g} USD"
        others = f", {cost['cached']} from the cache" if cost["cached"] else ""
        others += f", {cost['failed']} failed" if cost["failed"] else ""
        calls = "1 model call" if cost["model_calls"] == 1 else f"{cost['model_calls']} model calls"
        least = "at least " if said["left_out"] else ""
        yield f"cost      {least}{cost['tokens']} tokens, {usd}, {calls}{others}"
    for each in found["gone"]:
        yield f"missing   {each['step']}: {each['why']}"
    if said["left_out"]:
        yield f"left out  {said['left_out']} more links (--limit follows more)"


def _decision(each: Mapping[str, Any], ended: str, what: str) -> str:
    """What somebody said, and why; or what is asked and nobody has said anything about."""
    why = f": {each['why']}" if each["why"] else ""
    said = f"{ended:9} {what} by {each['by']}" if each["by"] else f"{'asked':9} {what}"
    return f"{said}, {date_clock(each['ts_ms'])}{why}"


def dot(said: Mapping[str, Any]) -> Iterator[str]:
    """The graph in Graphviz's language; arrows lead from what was made to what it rests on."""
    yield "digraph why {"
    yield "  rankdir=LR; node [shape=box, fontname=sans-serif];"
    for number, step in enumerate(said["steps"]):
        yield f"  n{number} [label={json.dumps(_label(step), ensure_ascii=False)}{', style=bold' if step['key'] == said['root'] else ''}];"
    for source, relation, target in _numbered(said):
        yield f"  n{source} -> n{target} [label={json.dumps(relation, ensure_ascii=False)}];"
    yield "}"


def mermaid(said: Mapping[str, Any]) -> Iterator[str]:
    """The graph as a Mermaid flow chart."""
    yield "flowchart LR"
    for number, step in enumerate(said["steps"]):
        yield f'  n{number}["{_mermaid(_label(step))}"]'
    for source, relation, target in _numbered(said):
        yield f'  n{source} -->|"{_mermaid(relation)}"| n{target}'


def _numbered(said: Mapping[str, Any]) -> Iterator[tuple[int, str, int]]:
    numbers = {step["key"]: number for number, step in enumerate(said["steps"])}
    for link in said["links"]:
        yield numbers[link["from"]], link["relation"], numbers[link["to"]]


def _label(step: Mapping[str, Any]) -> str:
    return clean_line(f"{step['kind']}: {step['title']}" + (f" ({step['key']})" if step["event_id"] is not None else ""))


def _mermaid(text: str) -> str:
    return "".join(f"#{ord(char)};" if char in '"#<>&`|[]{}' else char for char in text)


def _nothing(_step: Mapping[str, Any], _facts: Mapping[str, Any]) -> list[str]:
    return []


def _node(_step: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    said = [facts["digest"][:12] if facts.get("digest") else "", "" if facts["status"] == "ok" else facts["status"]]
    said.append(f"{facts['attempts']} attempts" if facts.get("attempts", 1) > 1 else "")
    said.append(facts.get("error", ""))
    said.append(f"inputs {facts['inputs_from']}" if facts.get("inputs_from") else "")
    if facts.get("recorded_in"):
        said.append(f"recorded in run {facts['recorded_in'][:8]}")
    return said


def _run(step: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    state = "not ended" if facts["status"] == "unfinished" else facts["status"]  # the record does not tell whether a process drives it
    said = [state, facts.get("mode", ""), date_clock(step["ts_ms"])]
    params = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in (facts.get("params") or {}).items() if value)
    tokens = f"{facts['tokens']} tokens" if facts.get("tokens") else ""
    usd = f"{facts['usd']:.6g} USD" if facts.get("usd") else ""
    archive = f"archived in {short_path(facts['archive'])}" if facts.get("archive") else ""
    return [*said, tokens, usd, params, archive]


def _call(_step: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    said = []
    if facts.get("tokens_in") or facts.get("tokens_out"):
        said.append(f"{facts.get('tokens_in', 0)} + {facts.get('tokens_out', 0)} tokens")
    said.append(f"{facts['usd']:.6g} USD" if facts.get("usd") else "")
    said.append(span(facts["ms"]) if facts.get("ms") else "")
    said.append("from the cache" if facts.get("cached") else "")
    said.append(f"answered {facts['answer']!r} by {facts.get('by')}" if facts.get("answer") else "")
    said.append("" if facts["outcome"] == "completed" else f"{facts['outcome']}: {facts.get('error') or 'without an answer'}")
    return said


def _text(step: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    who = f"from {facts.get('from') or step['who']}, {date_clock(step['ts_ms'])}" if step["who"] and step["ts_ms"] is not None else ""
    status = facts.get("status") if step["kind"] == "fact" and facts.get("status") != "current" else ""
    return [status or "", _place(facts), who]


def _contact(step: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    source = _place(facts) or facts.get("source") or step["who"]
    return [facts.get("org", ""), f"from {source}", date_clock(step["ts_ms"])]


def _approval(step: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    return [f"by {step['who']}" if step["who"] else "", date_clock(step["ts_ms"]), facts.get("rationale", "")]


def _mail(step: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    return [f"to {', '.join(facts['to'])}", facts.get("status", ""), date_clock(step["ts_ms"]), short_path(facts.get("path"))]


def _artifact(step: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    return [short_path(facts.get("path")), f"sha256 {facts['sha256'][:12]}" if facts.get("sha256") else "", date_clock(step["ts_ms"])]


def _import(step: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    return [f"by {step['who']}", date_clock(step["ts_ms"]), f"{facts['taken']} new"]


_DETAILS = {
    "import": _import,
    "node": _node,
    "run": _run,
    "contact": _contact,
    "approval": _approval,
    "mail": _mail,
    "artifact": _artifact,
    **dict.fromkeys(("model call", "file written", "fetch", "command", "answer", "mail call", "call"), _call),
    **dict.fromkeys(("note", "message", "fact", "appointment", "commit", "command line"), _text),
}


def _place(facts: Mapping[str, Any]) -> str:
    path = short_path(facts.get("path"))
    if not path or facts.get("line") is None:
        return path
    last = facts.get("end_line")
    return f"{path}:{facts['line']}" + (f"-{last}" if last not in (None, facts["line"]) else "")


def short_path(path: str | None) -> str:
    """The path from here or from the home directory, where it lies below one of them."""
    if not path or not path.startswith("/"):
        return path or ""
    from runloop.kb.naming import at_home

    for base, sign in ((Path.cwd(), ""), (at_home("~"), "~/")):
        if Path(path).is_relative_to(base):
            return sign + str(Path(path).relative_to(base))
    return path
