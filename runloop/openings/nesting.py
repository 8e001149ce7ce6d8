"""Nested openings seen from the opening that uses them: parameters are input ports, and ``out`` is the output."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from runloop.openings.clauses import FEEDBACK_PORT, REVISE_PORT, VOTE_PORT, ContractRetry
from runloop.openings.model import Opening
from runloop.openings.params import json_type

if TYPE_CHECKING:
    from collections.abc import Collection

    from runloop.openings.errors import Report
    from runloop.openings.model import Node

Nested: TypeAlias = Callable[[str], Opening | None]
"""A nested opening by name; None, or a RunloopError ``opening.not_found``, if there is none, another if it cannot be used."""


def check_params(node: Node, child: Opening, report: Report) -> None:
    """Report arguments that are no parameters of ``child``, or of another type than its default."""
    entries = node.with_tree.entries if node.with_tree is not None else {}
    for name, value in node.with_args.items():
        at = entries[name].value.at if name in entries else node.at
        if name not in child.params:
            at = entries[name].key_at if name in entries else node.at
            message = f"opening '{node.name}' has no parameter '{name}'"
            report.add("argument", message, at, node=node.id, key=f"with.{name}", near=(name, child.params))
            continue
        wanted, got = json_type(child.params[name]), json_type(value)
        if wanted not in ("null", got):
            message = f"parameter '{name}' of opening '{node.name}' is of type {wanted}, not {got}"
            report.add("argument", message, at, node=node.id, key=f"with.{name}")


def check_filled(node: Node, child: Opening, revised: Collection[str], report: Report) -> None:
    """Report ports that the run fills and ``child`` does not declare; ``revised`` are the nodes that gates revise to."""
    filled = {
        REVISE_PORT: node.id in revised,
        FEEDBACK_PORT: node.output is not None and node.output.retry is not ContractRetry.FRESH,
        VOTE_PORT: node.merge.vote is not None,
    }
    for name, is_filled in filled.items():
        if is_filled and name not in child.params:
            message = f"opening '{node.name}' gets the port '{name}' and does not declare it"
            report.add("argument", message, node.use_at, node=node.id, key="use", hint=f"declare it there: params: {{{name}: null}}")
