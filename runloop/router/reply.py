"""The answer of `rlp route`, of the daemon and of coprocesses: one JSON object, and the exit code that says the same."""

from __future__ import annotations

from runloop.router.classify import classify
from runloop.router.values import Decision, RouterSettings, ShellFacts

EXIT_SHELL = 10
EXIT_AGENT = 11
EXIT_TIMEOUT = 12
EXIT_ASK = 13
EXIT_BLOCKED = 14

_EXITS = {"shell": EXIT_SHELL, "agent": EXIT_AGENT, "ask": EXIT_ASK}


def route_reply(line: str, facts: ShellFacts, settings: RouterSettings, *, explain: bool = False) -> dict[str, object]:
    """Decide about ``line``: version, route, rule, blocked, confidence and exit; with ``explain`` also features and reason."""
    decision = classify(line, facts, settings)
    reply: dict[str, object] = {
        "version": 1,
        "route": decision.route,
        "rule": decision.rule,
        "blocked": decision.blocked,
        "confidence": round(decision.confidence, 3),
        "exit": exit_code(decision),
    }
    if explain:
        reply["features"] = [{"feature": str(each), "weight": round(each.weight, 2)} for each in decision.features]
        reply["reason"] = decision.reason
    return reply


def exit_code(decision: Decision) -> int:
    """10 shell, 11 agent, 13 ask; 14 for what the shell must not run and no agent takes."""
    return EXIT_BLOCKED if decision.blocked and decision.route == "shell" else _EXITS[decision.route]
