"""Openings: the language (parse, check, draw) and the plan, a pure state machine. No I/O; time and seeds come in as arguments.

``parse_opening`` and what else reads YAML are loaded on first use, so that the plan can be imported without a YAML library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.lazily import importing

if TYPE_CHECKING:
    from runloop.openings.checks import AgentPorts, Resolve, check
    from runloop.openings.errors import OpeningError, Place, Problem
    from runloop.openings.model import Edge, Node, OnFailure, Opening, Policy, Retry, Success
    from runloop.openings.parse import Examined, examine, parse_once, parse_opening
    from runloop.openings.plan import Plan

_HOMES = {
    "AgentPorts": "checks",
    "Edge": "model",
    "Examined": "parse",
    "Node": "model",
    "OnFailure": "model",
    "Opening": "model",
    "OpeningError": "errors",
    "Place": "errors",
    "Plan": "plan",
    "Policy": "model",
    "Problem": "errors",
    "Resolve": "checks",
    "Retry": "model",
    "Success": "model",
    "check": "checks",
    "examine": "parse",
    "parse_once": "parse",
    "parse_opening": "parse",
}

__all__ = [
    "AgentPorts",
    "Edge",
    "Examined",
    "Node",
    "OnFailure",
    "Opening",
    "OpeningError",
    "Place",
    "Plan",
    "Policy",
    "Problem",
    "Resolve",
    "Retry",
    "Success",
    "check",
    "examine",
    "parse_once",
    "parse_opening",
]

__getattr__ = importing(__name__, _HOMES)
