"""The opening language: YAML or brace text to a checked Opening, with every problem at the place of its value (spec 8)."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from blake3 import blake3

from runloop.dataclass import dataclass
from runloop.openings.brace_tokens import BRACE_SUFFIX, is_brace
from runloop.openings.checks import check, check_arguments
from runloop.openings.clause_checks import check_clauses
from runloop.openings.edges import read_artifacts, read_edges, read_success
from runloop.openings.errors import START, OpeningError, Place, Problem, Report
from runloop.openings.examples import read_examples
from runloop.openings.fields import Section, to_json
from runloop.openings.model import ACTIONS, Edge, Node, Opening, Policy
from runloop.openings.nodes import read_nodes
from runloop.openings.params import Params, merge, refuse_declaration, refuse_inexact
from runloop.openings.yamltree import MAX_BYTES, Fields, Items, Scalar, compose

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runloop.openings.checks import Resolve
    from runloop.openings.nesting import Nested
    from runloop.openings.scalars import Json
    from runloop.openings.yamltree import Tree

VERSION = 0
NAME_CHARACTERS = 200
NAME_BREAKS = r"[\u0000-\u001f\u007f-\u009f\u2028\u2029]"
"""Characters that a name cannot hold, as Python and JSON Schema write them: controls and ends of lines."""
_LINE_ENDS = "\n\r\x0b\x0c\x85\u2028\u2029"
MAX_PROBLEMS = 200
"""Problems that are told one by one."""
MAX_KEPT = 256
"""Openings that :func:`parse_once` keeps."""
MAX_KEPT_LONG = 8
"""Of long ones, which take up to 25 MB each."""
LONG = 16_384
"""Characters of a long opening, with its parameters."""
OPENING_KEYS = ("version", "name", "goals", "examples", "params", "policy", "nodes", "edges", "success", "artifacts")
POLICY_KEYS = ("budget_tokens", "budget_usd", "timeout_ms", "confirm_external", "approve_in_advance", "max_parallel")


@dataclass(frozen=True, slots=True)
class Examined:
    """A document as far as it could be read; ``opening`` is sound only if there are no problems."""

    opening: Opening | None
    problems: tuple[Problem, ...]


def parse_opening(text: str | bytes, *, file: str | None = None, params: Mapping[str, Json] | None = None) -> Opening:
    """The opening with ``params`` over its own and templates filled in; raises OpeningError with every problem."""
    examined = examine(text, file=file, params=params)
    if examined.problems or examined.opening is None:
        raise OpeningError(examined.problems)
    return examined.opening


def parse_once(text: str, *, file: str | None = None, params: Mapping[str, Json] | None = None) -> Opening:
    """As :func:`parse_opening`; the same text with the same parameters is the same opening, which all its runs share."""
    try:
        key = json.dumps(dict(params)) if params else "null"
    except TypeError:  # what JSON cannot hold, such as bytes from the bus
        return parse_opening(text, file=file, params=params)
    return (_parse_once if len(text) + len(key) < LONG else _parse_long_once)(text, file, key)


def _parse(text: str, file: str | None, params: str) -> Opening:
    return parse_opening(text, file=file, params=json.loads(params))


_parse_once = lru_cache(MAX_KEPT)(_parse)
_parse_long_once = lru_cache(MAX_KEPT_LONG)(_parse)


def examine(
    text: str | bytes,
    *,
    file: str | None = None,
    params: Mapping[str, Json] | None = None,
    resolve: Resolve | None = None,
    nested: Nested | None = None,
) -> Examined:
    """Everything that is wrong with a document, in document order.

    With ``resolve`` the agents' ports are checked too, and with ``nested`` besides those of nested openings.
    """
    report = Report(file)
    try:
        source = decode(text, report)
        opening = _read(compose_either(source, report), source, params, report)
    except OpeningError as error:
        return Examined(None, tuple(sorted(error.problems, key=_document_order)))
    problems = report.problems
    if opening is not None and resolve is not None:
        problems = sorted([*problems, *check(opening, resolve, nested)], key=_document_order)
    if len(problems) > MAX_PROBLEMS:
        rest = Problem("opening.more", f"and {len(problems) - MAX_PROBLEMS} more problems")
        problems = [*problems[:MAX_PROBLEMS], rest]
    return Examined(opening, tuple(problems))


def compose_either(source: str, report: Report) -> Tree:
    """The tree of a document in the brace form (by its first word, or a file name that ends in ``.opening``), else in YAML."""
    if is_brace(source) or (report.file or "").endswith(BRACE_SUFFIX):
        from runloop.openings import brace

        return brace.compose(source, report)
    return compose(source, report)


def decode(text: str | bytes, report: Report) -> str:
    """The text of a document of at most MAX_BYTES in UTF-8; raises OpeningError."""
    size = len(text) if isinstance(text, bytes) else len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise report.fatal("limit", f"an opening is at most {MAX_BYTES} bytes long", START, hint="split it into nested openings")
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        before = text[: error.start].decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
        at = Place(before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise report.fatal("not_utf8", f"byte 0x{text[error.start]:02x} is not UTF-8", at, hint="save the file as UTF-8") from None


def digest_of(text: str | bytes, *, file: str | None = None) -> str:
    """The digest of the opening that is written so, whatever its parameters; raises OpeningError where it is no text."""
    return blake3(decode(text, Report(file)).encode()).hexdigest()


def _check_name(document: Section, name: str | None) -> None:
    named = document.get("name")
    if name is None or named is None:
        return
    if len(name) > NAME_CHARACTERS:
        message = f"the name has {len(name)} characters, at most {NAME_CHARACTERS} are allowed"
        document.problem("limit", message, named.at, key="name", hint="say more under 'goals'")
    if (broken := re.search(NAME_BREAKS, name)) is not None:
        message = "the name has several lines" if broken[0] in _LINE_ENDS else f"the name holds the control U+{ord(broken[0]):04X}"
        document.problem("type", message, named.at, key="name", hint="write it on one line, and say more under 'goals'")


def _document_order(problem: Problem) -> tuple[int, int]:
    return problem.where.line or 0, problem.where.column or 0


def _read(tree: Tree, source: str, given: Mapping[str, Json] | None, report: Report) -> Opening | None:
    if not isinstance(tree, Fields):
        report.add("type", "opening must be a YAML mapping", tree.at, hint="start with 'version: 0'")
        return None
    document = Section(tree, report, OPENING_KEYS)
    _check_version(document)
    name = document.text("name", "add 'name: …'")
    _check_name(document, name)
    goals = tuple(text for text, _ in document.texts("goals", "goals must be a sequence", "goals[{i}] must be a string"))
    params = _read_params(document, given, report)
    examples = read_examples(document, params.values, report)
    policy = _read_policy(document, report)
    nodes: list[Node] = []
    node_ids: set[str] = set()
    if (node_list := _list(document, "nodes", "add at least one node", "'- id: NAME', with 'use: agent:NAME' below it")) is not None:
        if not node_list.items:
            document.problem("missing", "nodes must contain at least one entry", node_list.at, key="nodes")
        nodes, node_ids = read_nodes(node_list, params, policy, report)
    edges: list[Edge] = []
    no_edges = "if there are none, write 'edges: []', or 'edges:' in the brace form"
    if (edge_list := _list(document, "edges", no_edges, "'- {from: NODE.PORT, to: NODE.PORT}'")) is not None:
        edges = read_edges(edge_list, node_ids, report)
    success, success_at = read_success(document.get("success"), node_ids, report)
    save, save_at = read_artifacts(document.get("artifacts"), node_ids, report)
    check_arguments(nodes, edges, report)
    check_clauses(nodes, edges, node_ids, report)
    return Opening(
        name=name or "",
        nodes=tuple(nodes),
        edges=tuple(edges),
        goals=goals,
        examples=examples,
        params=params.values,
        policy=policy,
        success=success,
        save=save,
        digest=digest_of(source),
        file=report.file,
        source=source,
        success_at=success_at,
        save_at=save_at,
    )


def _check_version(document: Section) -> None:
    tree = document.required("version", "add 'version: 0' as the first line")
    value = tree.value if isinstance(tree, Scalar) else None
    if tree is not None and not (type(value) is int and value == VERSION):
        shown = value if isinstance(value, int) else repr(value)
        hint = "write it without quotes" if value == str(VERSION) else ""
        document.problem("version", f"unsupported DSL version {shown}; expected {VERSION}", tree.at, key="version", hint=hint)


def _list(document: Section, key: str, hint: str, entry: str) -> Items | None:
    if document.required(key, hint) is None:
        return None
    return document.sequence(key, f"{key} must be a sequence", f"each {key[:-1]} is an entry of a list: {entry}")


def _read_params(document: Section, given: Mapping[str, Json] | None, report: Report) -> Params:
    tree = document.mapping("params", "params must be a mapping", "write 'params: {NAME: DEFAULT}'")
    if tree is None:
        return Params(merge({}, given, report), {}, report)
    declared = to_json(tree, report, "params", keys="parameter keys must be strings")
    merged = merge(declared, given, report)
    places = {name: entry.value.at for name, entry in tree.entries.items() if name not in (given or {})}
    for name, at in places.items():
        refuse_inexact(name, declared[name], at, report)
    for name, entry in tree.entries.items():
        refuse_declaration(name, declared[name], entry.value.at, report)
    return Params(merged, places, report)


def _read_policy(document: Section, report: Report) -> Policy:
    tree = document.mapping("policy", "policy must be a mapping")
    if tree is None:
        return Policy()
    section = Section(tree, report, POLICY_KEYS, "policy")
    actions = section.texts(
        "approve_in_advance", "policy.approve_in_advance must be a sequence", "policy.approve_in_advance entry {i} must be a string"
    )
    for action, at in actions:
        if action not in ACTIONS:
            section.problem(
                "type",
                f"unknown action '{action}' in policy.approve_in_advance",
                at,
                key="approve_in_advance",
                near=(action, ACTIONS),
            )
    return Policy(
        budget_tokens=section.whole("budget_tokens"),
        budget_usd_micros=section.usd_micros("budget_usd"),
        timeout_ms=section.whole("timeout_ms", least=1, zero_hint="leave the key out for no limit"),
        confirm_external=section.flag("confirm_external", default=True),
        approve_in_advance=tuple(dict.fromkeys(action for action, _ in actions)),
        max_parallel=section.whole("max_parallel", least=1, zero_hint="leave the key out for no limit"),
    )
