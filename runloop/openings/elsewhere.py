"""What other languages write is called or written otherwise here: for the hint of a key that is not known, and of an expression."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runloop.openings.expressions import NOT_INSIDE
from runloop.patterns import lazy

if TYPE_CHECKING:
    from collections.abc import Container

_ORDER: Final = "edges give the order, beside 'nodes': {from: FIRST.PORT, to: NEXT.PORT}"
_GUARD: Final = "a condition stands on an edge: {from: NODE.PORT == true, to: NODE.PORT}"
_WITH: Final = "'with' gives values; an edge hands over what another node gave"
_CLOCK: Final = "an opening has no clock of its own: a line of cron, or a systemd timer, with `rlp run NAME --detach` starts it"
_USE: Final = "'use: agent:NAME' or 'use: opening:NAME' says what runs"

_MEANT: Final = {
    "id": {"name": "a node is named by 'id'", "label": "a node is named by 'id'"},
    "use": dict.fromkeys(("agent", "uses", "run", "type", "opening", "workflow", "task", "action", "tool"), _USE),
    "with": dict.fromkeys(("params", "args", "arguments", "inputs", "input", "parameters", "env"), _WITH),
    "on_failure": dict.fromkeys(("needs", "depends_on", "after", "next", "then", "requires", "before"), _ORDER)
    | dict.fromkeys(("if", "when", "condition", "unless"), _GUARD)
    | {"continue_on_error": "write 'on_failure: continue'"},
    "for_each": dict.fromkeys(("loop", "map", "items", "matrix", "with_items"), "write 'for_each'"),
    "timeout_ms": {"timeout": "write 'timeout_ms', in milliseconds", "timeout_seconds": "write 'timeout_ms', in milliseconds"},
    "retry": {"retries": "write 'retry: {max_attempts: …}'", "max_attempts": "write 'retry: {max_attempts: …}'"},
    "gate": dict.fromkeys(("approval", "approve", "confirm", "ask"), "a gate asks a person: 'gate: {ask: …}'"),
    "nodes": dict.fromkeys(("steps", "tasks", "jobs", "agents", "stages"), "write 'nodes', a list with 'id' and 'use'"),
    "edges": dict.fromkeys(("connections", "links", "flow", "dependencies", "needs"), "write 'edges', a list with 'from' and 'to'"),
    "params": dict.fromkeys(("inputs", "parameters", "variables", "vars", "with"), "write 'params: {NAME: DEFAULT}'"),
    "artifacts": dict.fromkeys(("outputs", "output", "save"), "write 'artifacts: {save: [NODE.PORT]}' for what is kept as files"),
    "goals": dict.fromkeys(("description", "goal", "summary"), "write 'goals', a list of texts"),
    "version": dict.fromkeys(("schedule", "cron", "trigger", "triggers", "on", "every", "interval"), _CLOCK),
    "name": {"title": "write 'name'", "id": "write 'name'", "opening": "write 'name'"},
    "policy": dict.fromkeys(
        ("budget_tokens", "budget_usd", "timeout_ms", "confirm_external", "approve_in_advance", "max_parallel", "budget"),
        "it stands under 'policy'",
    ),
    "from": {"source": "write 'from'", "src": "write 'from'", "start": "write 'from'"}
    | dict.fromkeys(("when", "if", "condition", "guard"), "the condition stands in 'from': {from: NODE.PORT == true, to: NODE.PORT}"),
    "to": {"target": "write 'to'", "dst": "write 'to'", "end": "write 'to'"},
}
"""By the key that is known here: it says in which mapping the hint holds."""


def meant_here(key: str, known: Container[str]) -> str:
    """What to write in place of ``key`` in a mapping with these keys; empty where that is not known."""
    if key[:1].isspace() and key[0] != " ":
        return f"before it stands another space than the space bar makes (U+{ord(key[0]):04X}): type it anew"
    return next((words[key] for here, words in _MEANT.items() if here in known and key in words), "")


_PRESENCE: Final = "an edge without a comparison hands over what is there, and exists(NODE.PORT), alone, asks for it under 'success'"
_EXPRESSED: Final = (
    (lazy(r"^\s*[\w-]+\.[\w-]+\s+(?:is|in|contains|matches|like|eq|ne)\b"), "the operators are ==, !=, >, >=, < and <="),
    (lazy(r"[=!]=="), "compare with '==' or '!='"),
    (lazy(r"=>|=<"), "write '>=' or '<='"),
    (lazy(r"<>"), "unequal is written '!='"),
    (lazy(r"(?<![=!<>])=(?!=)"), "compare with '==', not '='"),
    (lazy(r"(?:^|\s)not\s|!(?!=)"), "there is no 'not': compare with != or with false"),
    (lazy(r"[=!<>]\s*(?:True|TRUE|False|FALSE)\s*$"), "write 'true' or 'false' in small letters"),
    (lazy(r"[=!<>]\s*(?:null|NULL|nil|None|undefined)\s*$"), f"nothing equals no value: {_PRESENCE}"),
    (lazy(r"\bexists(?:\s*\(|\s+[\w-])"), _PRESENCE),
    (lazy(r"\w\s*\("), "there is no function but exists(NODE.PORT) under 'success': have an agent give the value on a port"),
    (lazy(r"\["), NOT_INSIDE),
    (lazy(r"^\s*(?:true|false|\"\"|[-+]?[0-9]+)\s*[=!<>]"), "the port stands first, and what it is compared with behind the operator"),
    (
        lazy(r"[=!<>]\s*[^\W\d][\w-]*\.[\w-]+\s*$"),
        "a port is compared with a literal: have an agent compare two of them, and give the result",
    ),
)
"""Never in an expression of ours, with the first that fits deciding; texts in quotes are empty here."""


def meant_in_expression(text: str) -> str:
    """What to write for what stands in an expression, whose quotes are empty; no text where that is not known."""
    return next((hint for pattern, hint in _EXPRESSED if pattern.search(text)), "")
