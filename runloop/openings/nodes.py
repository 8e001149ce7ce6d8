"""Reading ``nodes``: each entry to a Node (spec 8.1, 8.4, 8.5)."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from runloop.openings.expressions import TYPOGRAPHIC, valid_name
from runloop.openings.fields import Section, place_at, to_json
from runloop.openings.hints import HintError, to_schema
from runloop.openings.model import Node, OnFailure, Policy, Retry
from runloop.openings.read_clauses import CLAUSES, ClauseReader
from runloop.openings.yamltree import Fields, Items, Scalar

if TYPE_CHECKING:
    from runloop.openings.errors import Place, Report
    from runloop.openings.params import Params
    from runloop.openings.scalars import Json

NODE_KEYS = (
    "id", "use", "with", "schema_hints", "retry", "timeout_ms", "budget_tokens", "budget_usd", "tags", "on_failure", *CLAUSES,
)  # fmt: skip
RETRY_KEYS = ("max_attempts", "backoff_ms", "initial_ms", "max_ms", "multiplier", "jitter")
U32_MAX = 2**32 - 1

_REFERENCE_NAME = re.compile(r"[A-Za-z0-9_-]+")


def read_nodes(tree: Items, params: Params, policy: Policy, report: Report) -> tuple[list[Node], set[str]]:
    """The nodes that can be read, and every id seen, so that one bad node does not make its edges bad too."""
    seen: dict[str, Place] = {}
    nodes = []
    for item in tree.items:
        if not isinstance(item, Fields):
            report.add("type", "node entry must be a mapping", item.at, hint="write '- id: …' and 'use: …'")
            continue
        node = _read_node(item, seen, params, policy, report)
        if node is not None:
            nodes.append(node)
    return nodes, set(seen)


def _read_node(tree: Fields, seen: dict[str, Place], params: Params, policy: Policy, report: Report) -> Node | None:
    id_entry = tree.entries.get("id")
    named = id_entry.value.value if id_entry and isinstance(id_entry.value, Scalar) and isinstance(id_entry.value.value, str) else None
    section = Section(tree, report, NODE_KEYS, f"node '{named}'" if named else "a node", named)
    node_id = section.text("id")
    if node_id is not None and id_entry is not None:
        _check_id(node_id, id_entry.value.at, seen, section)
    use = section.text("use", "write 'use: agent:<name>' or 'use: opening:<name>'")
    use_tree = section.get("use")
    reference = parse_use(use, section, use_tree.at) if use is not None and use_tree is not None else None
    with_tree = section.mapping("with", "node.with must be a mapping")
    with_args = params.render(with_tree, named or "") if with_tree is not None else {}
    if with_tree is not None and policy.confirm_external:
        _check_confirmation(with_tree, with_args, section)
    settings = {
        "with_args": with_args,
        "with_schema": _read_hints(section, report),
        "retry": _read_retry(section, report),
        "timeout_ms": section.whole("timeout_ms", label="timeout_ms", least=1, zero_hint="leave the key out for the default of 30000"),
        "budget_tokens": section.whole("budget_tokens", label="budget_tokens", most=U32_MAX),
        "budget_usd_micros": section.usd_micros("budget_usd", label="budget_usd"),
        "tags": tuple(text for text, _ in section.texts("tags", "tags must be a sequence of strings", "tags entries must be strings")),
        "on_failure": OnFailure(section.choice("on_failure", tuple(OnFailure), label="on_failure")),
        **ClauseReader(section, params, report).read(),
    }
    if node_id is None or reference is None or use_tree is None:
        return None
    kind, name, variant = reference
    node = Node(id=node_id, kind=kind, name=name, variant=variant, at=section.at, use_at=use_tree.at, with_tree=with_tree, **settings)
    _check_limits(node, policy, section)
    return node


def parse_use(use: str, section: Section, at: Place) -> tuple[str, str, str | None] | None:
    """``agent:<name>[@<variant>]`` or ``opening:<name>`` as kind, name and variant; None after a problem."""
    kind, colon, reference = use.strip().partition(":")
    hint = ""
    if not colon:
        message = "node.use must be of the form 'agent:<name>' or 'opening:<name>'"
        hint = f"did you mean 'agent:{use.strip()}'?" if kind not in ("agent", "opening") else f"write '{kind}:<name>'"
    elif kind not in ("agent", "opening"):
        from runloop.nearest import did_you_mean

        plain = use.strip().translate(TYPOGRAPHIC)
        quoted = f'write "{plain}", in plain quotes or none' if plain.startswith(("agent:", "opening:")) else ""
        message, hint = f"unknown use prefix '{kind}'", quoted or did_you_mean(kind, ("agent", "opening"))
    else:
        name, at_sign, variant = reference.partition("@")
        parts = [("name", name)] + ([("variant", variant)] if at_sign and kind == "agent" else [])
        message = _reference_fault(kind, reference if kind == "agent" else name + at_sign + variant, parts)
        if not message:
            return kind, name, variant if at_sign else None
    section.problem("use", message, at, key="use", hint=hint)
    return None


def _reference_fault(kind: str, reference: str, parts: list[tuple[str, str]]) -> str:
    if not reference:
        return f"{kind} reference cannot be empty"
    if kind == "opening":
        parts = [("name", reference)]
    for label, text in parts:
        if not text:
            return f"{kind} {label} cannot be empty"
        if not _REFERENCE_NAME.fullmatch(text):
            return f"{kind} {label} must contain only alphanumeric characters, '-' or '_'"
    return ""


def _check_id(node_id: str, at: Place, seen: dict[str, Place], section: Section) -> None:
    if not valid_name(node_id):
        section.problem("id", f"node id '{node_id}' must be 1 to 64 letters, digits, '-' or '_'", at, key="id")
    if node_id in seen:
        section.problem(
            "duplicate_id", f"duplicate node id '{node_id}'", at, key="id", hint=f"it is already used on line {seen[node_id].line}"
        )
    else:
        seen[node_id] = at


def _check_confirmation(tree: Fields, args: dict[str, Json], section: Section) -> None:
    if "require_human_confirm" in args and args["require_human_confirm"] is not True:
        section.problem(
            "confirm",
            "policy.confirm_external=true forbids nodes from disabling confirmation",
            tree.entries["require_human_confirm"].value.at,
            key="require_human_confirm",
            hint="leave require_human_confirm out or true (confirm_external is true unless the opening says false)",
        )


def _read_hints(section: Section, report: Report) -> Json:
    hints = section.mapping("schema_hints", "schema_hints must be a mapping")
    if hints is None:
        return None
    tree = Section(hints, report, ("with",), "schema_hints", section.node).get("with")
    if tree is None:
        return None
    value = to_json(tree, report, "schema_hints.with", node=section.node, keys="schema_hints.with keys must be strings")
    try:
        return to_schema(value)
    except HintError as error:
        section.problem("schema", str(error), place_at(tree, error.path), key="schema_hints.with")
        return None


def _read_retry(section: Section, report: Report) -> Retry:
    tree = section.mapping("retry", "retry must be a mapping: {max_attempts: 3}")
    if tree is None:
        return Retry()
    retry = Section(tree, report, RETRY_KEYS, "retry", section.node)
    if retry.get("backoff_ms") and retry.get("initial_ms"):
        retry.problem(
            "duplicate_key", "retry has both backoff_ms and initial_ms", retry.key_at("initial_ms"), hint="they mean the same; keep one"
        )
    attempts = retry.whole("max_attempts", most=U32_MAX)
    pauses = [pause for key in ("backoff_ms", "initial_ms") if (pause := retry.whole(key)) is not None]
    multiplier, multiplier_at = retry.number("multiplier", 2.0)
    if not (math.isfinite(multiplier) and multiplier > 0):
        retry.problem("range", "retry.multiplier must be greater than 0", multiplier_at, key="multiplier")
    jitter, jitter_at = retry.number("jitter", 0.2)
    if not 0.0 <= jitter <= 1.0:
        retry.problem("range", "retry.jitter must be between 0.0 and 1.0", jitter_at, key="jitter")
    return Retry(max(1, attempts or 1), pauses[-1] if pauses else 100, retry.whole("max_ms"), multiplier, jitter)


def _check_limits(node: Node, policy: Policy, section: Section) -> None:
    limits = (
        ("budget_tokens", node.budget_tokens, "policy.budget_tokens", policy.budget_tokens, 1),
        ("budget_usd", node.budget_usd_micros, "policy.budget_usd", policy.budget_usd_micros, 1_000_000),
        ("timeout_ms", node.timeout_ms, "policy.timeout_ms", policy.timeout_ms, 1),
    )
    for key, own, outer, limit, unit in limits:
        tree = section.get(key)
        if own is not None and limit is not None and own > limit and tree is not None:
            message = f"{key} {own / unit:g} of node '{node.id}' exceeds {outer} {limit / unit:g}"
            section.problem("budget" if key != "timeout_ms" else "timeout", message, tree.at, key=key, hint=f"lower it, or raise {outer}")
