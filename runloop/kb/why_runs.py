"""Steps of what happened in runs: runs, nodes, calls, approvals and files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runloop.kb.provenance import Link, Step
from runloop.kb.run_projections import usd_of
from runloop.text import changed, sort_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runloop.events import StoredEvent
    from runloop.kb.evidence import Named
    from runloop.kb.stories import Approval, Call, NodeStory, RunStory
    from runloop.kb.why import Teller

_KINDS = {
    "model.complete": "model call",
    "model.embed": "model call",
    "files.read": "file",
    "files.list": "file",
    "files.write": "file written",
    "http.fetch": "fetch",
    "exec.run": "command",
    "ask.person": "answer",
    "mail.send": "mail call",
}
_RELATIONS = {
    "model.complete": "asked the model",
    "model.embed": "asked the model",
    "files.read": "read",
    "files.list": "read",
    "http.fetch": "fetched",
    "exec.run": "ran",
    "ask.person": "asked",
    "files.write": "wrote",
}
_LOOKS = frozenset({"kb.search", "kb.get"})


def key_of(teller: Teller, event: StoredEvent) -> str:
    """The step that a record of a run belongs to."""
    run_id, meta = event.payload["run_id"], event.payload["meta"]
    if event.kind == "artifact.created":
        return f"event:{event.id}"
    if event.kind.startswith(("effect.", "approval.")):
        found = _asked(teller, event)
        if found is not None:
            return f"event:{found.id}"
    return f"node:{run_id}#{meta['node']}" if meta.get("node") is not None else f"run:{run_id}"


def record_step(teller: Teller, event: StoredEvent) -> Step | None:
    """A file that a run made, a call, or an approval; None for other records."""
    run_id, meta = event.payload["run_id"], event.payload["meta"]
    story = teller.story(run_id)
    node = story.nodes.get(meta.get("node"))
    if event.kind == "artifact.created":
        return _artifact(teller, story, event, meta)
    if node is None:
        return None
    if event.kind == "effect.requested" and (call := node.calls.get((meta["attempt"], meta["call"]))) is not None:
        return _call(teller, story, node, call)
    if event.kind == "approval.requested" and (approval := node.approvals.get(meta["approval_id"])) is not None:
        return _approval(story, approval)
    return None


def run_step(teller: Teller, run_id: str, *, whole: bool) -> Step:
    """A run; ``whole`` with its nodes, its approvals and what it left."""
    story = teller.story(run_id)
    start = story.submitted
    if start is None:
        return Step(f"run:{run_id}", "run", f"run {run_id[:8]}", gone=_why_gone(story))
    meta = start.payload["meta"]
    end: Mapping[str, Any] = {} if story.finished is None else story.finished.payload["meta"]
    facts: dict[str, Any] = {
        "run_id": run_id,
        "opening": start.payload["opening_name"],
        "opening_digest": meta.get("opening_digest"),
        "mode": meta.get("mode"),
        "params": meta.get("params") if isinstance(meta.get("params"), dict) else None,
        "status": end.get("status") or "unfinished",
        "reason": end.get("reason"),
        **{name: end.get(name) for name in ("ms", "tokens", "usd")},
        "archive": story.archive,
        "runloop": (meta.get("versions") or {}).get("runloop"),
    }
    links: list[Link] = []
    if whole:
        links += [Link("left", f"event:{event.id}") for event in story.artifacts]
        links += _mails(teller, run_id)
        links += [Link("ran", f"node:{run_id}#{node.node}") for node in story.nodes.values() if node.attempts]
    links += _origin(teller, story, meta)
    return Step(f"run:{run_id}", "run", f"run {run_id[:8]} of {facts['opening']}", start.id, start.ts_ms, start.actor, facts, tuple(links))


def node_step(teller: Teller, run_id: str, name: str) -> Step:
    """A node: who ran it, what it was given, asked and read, and who approved what it did."""
    story = teller.story(run_id)
    node = story.nodes.get(name)
    key = f"node:{run_id}#{name}"
    if node is None or node.first is None:
        return Step(key, "node", f"node {name} of run {run_id[:8]}", gone=_why_gone(story))
    agent = node.agent
    shown = f"{agent.get('name', '')} {agent.get('version') or ''}".strip()
    opening = None if story.submitted is None else story.submitted.payload["opening_name"]
    recorded = (node.last or node.first).payload["run_id"]
    facts: dict[str, Any] = {
        "agent": agent.get("name"),
        "version": agent.get("version"),
        "digest": agent.get("digest"),
        "run_id": run_id,
        "node": name,
        "opening": opening,
        "status": node.status,
        "attempts": node.attempts,
        "ms": node.ms,
        "error": (node.error or {}).get("message"),
        "inputs_from": "not known: the opening cannot be read" if story.feeds is None else None,
        "recorded_in": None if recorded == run_id else recorded,
        **_spent(node),
    }
    links = [*_approvals(node), *_calls(node), *_fed(story, node), *_read(teller, story, node), Link("in", f"run:{run_id}")]
    title = f"node {name}" + (f", agent {shown}" if shown else "")
    return Step(key, "node", title, node.first.id, node.first.ts_ms, None, facts, tuple(links))


def _approvals(node: NodeStory) -> list[Link]:
    return [Link("decision", f"event:{each.asked.id}") for each in node.approvals.values()]


def _calls(node: NodeStory) -> list[Link]:
    links = []
    for call in node.calls.values():
        if call.name in _RELATIONS:
            note = "another answer was given in a fork" if call.given else None
            links.append(Link(_RELATIONS[call.name], f"event:{call.asked.id}", note))
        if call.child is not None:
            links.append(Link("started", f"run:{call.child}", whole=True))
    return [*links, *(Link("started", f"run:{child}", whole=True) for child in node.children)]


def _fed(story: RunStory, node: NodeStory) -> list[Link]:
    return [Link("got outputs of", f"node:{story.run_id}#{each.node}") for each in story.sources_of(node.node)]


def _read(teller: Teller, story: RunStory, node: NodeStory) -> list[Link]:
    """First what its outputs cite, then what else its searches found. An agent may cite what nobody has read: that is said."""
    cited: dict[int, list[Named]] = {}
    for each in node.named:
        cited.setdefault(each.event_id, []).append(each)
    links = []
    for number, places in cited.items():
        lines = sorted({each.line for each in places if each.line is not None})
        note = f"line {', '.join(map(str, lines))}" if lines else None
        if number not in story.known:
            note = f"{note}; no call of the run returned it" if note else "no call of the run returned it"
        links.append(Link("cites", teller.canonical(f"event:{number}"), note))
    looked = {each.event_id for call in node.calls.values() if call.name in _LOOKS for each in call.named}
    links += [Link("looked at", teller.canonical(f"event:{number}")) for number in sorted(looked - cited.keys())]
    return links


def _call(teller: Teller, story: RunStory, node: NodeStory, call: Call) -> Step:
    ended = call.ended
    meta: Mapping[str, Any] = {} if ended is None else ended.payload["meta"]
    model = ":".join(str(call.said[name]) for name in ("provider", "model") if call.said.get(name))
    title = call.name + (f" {model}" if model else "")
    what = next((str(call.args[name]) for name in ("path", "url", "argv", "question", "query", "name", "key") if call.args.get(name)), "")
    facts: dict[str, Any] = {
        "name": call.name,
        "what": what or None,
        "model": model or None,
        **{name: meta[name] for name in ("tokens_in", "tokens_out", "usd", "ms", "cached") if meta.get(name)},
        **{name: call.said[name] for name in ("path", "answer", "by", "exit_code", "status", "blake3") if name in call.said},
        "outcome": "none" if ended is None else ended.kind.partition(".")[2],
        "error": (meta.get("error") or {}).get("message"),
        "run_id": story.run_id,
        "node": node.node,
        "attempt": call.attempt,
        "call": call.number,
    }
    if call.name.startswith("model.") and "tokens_in" in facts and meta.get("usd") is None:
        facts["usd"] = None
    links = [Link("made by", f"node:{story.run_id}#{node.node}")]
    if call.made is not None:
        links.append(Link("made", f"event:{call.made}"))
    links += [Link("looked at", teller.canonical(f"event:{number}")) for number in sorted({each.event_id for each in call.named})]
    kind = _KINDS.get(call.name, "call")
    return Step(
        f"event:{call.asked.id}", kind, f"{title}: {what}" if what else title, call.asked.id, call.asked.ts_ms, None, facts, tuple(links)
    )


def _approval(story: RunStory, approval: Approval) -> Step:
    asked, ended, meta = approval.asked, approval.ended, approval.meta
    said: Mapping[str, Any] = {} if ended is None else ended.payload["meta"]
    by: Mapping[str, Any] = said.get("by") or {}
    who = None if not by else by["role"] + (f" (uid {by['uid']})" if by.get("uid") is not None else "")
    decision = said.get("decision") or "not decided yet"
    action, asks = meta.get("action") or "a question", sort_of(meta["approval_id"])
    facts: dict[str, Any] = {
        "approval_id": meta["approval_id"],
        "asks": asks,
        "action": action,
        "decision": decision,
        "scope": said.get("scope"),
        "rationale": said.get("rationale"),
        "asked_because": meta.get("reason"),
        "recipients": meta.get("recipients"),
        "decided_event": None if ended is None else ended.id,
    }
    moment = (ended or asked).ts_ms
    links = (Link("asked by", f"node:{story.run_id}#{meta['node']}"),)
    title = f"whether {action} happened" if asks == "outcome" else action
    return Step(f"event:{asked.id}", "approval", f"{title}: {decision}", asked.id, moment, who, facts, links)


def _artifact(teller: Teller, story: RunStory, event: StoredEvent, meta: Mapping[str, Any]) -> Step:
    facts = {name: meta.get(name) for name in ("path", "kind", "sha256", "blake3", "bytes")}
    links = [Link("made by", f"node:{story.run_id}#{meta['node']}")]
    for source in meta.get("sources") or ():
        if source.get("event_id") is not None:
            note = None if source.get("line") is None else f"line {source['line']}"
            links.append(Link("cites", teller.canonical(f"event:{source['event_id']}"), note))
    title = meta.get("summary") or meta["path"].rpartition("/")[2]
    return Step(f"event:{event.id}", "artifact", title, event.id, event.ts_ms, None, facts, tuple(links))


def _mails(teller: Teller, run_id: str) -> list[Link]:
    """The messages that it put out."""
    sql = "SELECT source_event FROM edges WHERE target_key = ? AND relation = 'made_in' AND source_key LIKE 'mail:%' ORDER BY source_event"
    return [Link("left", f"event:{number}") for (number,) in teller.db.execute(sql, (f"run:{run_id}",)).fetchall()]


def _origin(teller: Teller, story: RunStory, meta: Mapping[str, Any]) -> list[Link]:
    """The run that it was forked from, and the node that asked for it."""
    links = []
    forked = meta.get("forked_from")
    if forked:
        other = changed(meta.get("overrides"))
        note = f"after its record {forked['seq']}" + (f", with {other}" if other else "")
        links.append(Link("forked from", f"run:{forked['run_id']}", note))
    parent = None if story.submitted is None else story.submitted.payload["parent_run_id"]
    if parent is not None:
        node = _asking(teller.story(parent), story.run_id)
        links.append(Link("asked for by", f"run:{parent}" if node is None else f"node:{parent}#{node}"))
    return links


def _asking(parent: RunStory, child: str) -> str | None:
    for node in parent.nodes.values():
        if child in node.children or any(call.child == child for call in node.calls.values()):
            return node.node
    return None


def _asked(teller: Teller, event: StoredEvent) -> StoredEvent | None:
    """The record that asked for what this one answers."""
    meta = event.payload["meta"]
    node = teller.story(event.payload["run_id"]).nodes.get(meta.get("node"))
    if node is None:
        return None
    if event.kind.startswith("effect."):
        call = node.calls.get((meta["attempt"], meta["call"]))
        return None if call is None else call.asked
    approval = node.approvals.get(meta["approval_id"])
    return None if approval is None else approval.asked


def _spent(node: NodeStory) -> dict[str, Any]:
    metas = [call.ended.payload["meta"] for call in node.calls.values() if call.ended is not None]
    tokens = sum(meta.get("tokens_in", 0) + meta.get("tokens_out", 0) for meta in metas)
    prices = [usd for meta in metas if (usd := usd_of(meta)) is not None]
    return {"tokens": tokens, "usd": round(sum(prices), 9) if len(prices) == len(metas) else None} if tokens else {}


def _why_gone(story: RunStory) -> str:
    if story.erased:
        return "its records were erased"
    if story.archive is not None:
        return f"its records were archived in {story.archive}, which cannot be read"
    return "its records are not in this ledger"
