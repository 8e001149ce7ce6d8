"""Judge a draft before it goes out: ok or not, and what to change."""

from __future__ import annotations

from typing import Any

from judging import MAX_WORDS, judge

from runloop_agent import agent, emit


@agent
def run(draft: Any = None, contact: Any = None, topic: str = "", context: Any = None, max_words: int = MAX_WORDS) -> dict[str, Any]:
    """Ports ok (bool) and review (ok, summary, suggestions)."""
    if not isinstance(draft, dict) or not isinstance(draft.get("body"), str):
        raise TypeError("critic: there is no draft; connect the writer's `out` to `draft`")
    review = judge(draft, contact, topic, context, max_words)
    for item in review["suggestions"]:
        emit.log(f"{item['check']}, {item['where']}: {item['problem']} {item['suggestion']}", "warn")
    emit.log(review["summary"], "info")
    return {"ok": review["ok"], "review": review}
