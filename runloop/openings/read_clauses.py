"""Reading a node's clauses: ``merge``, ``wait``, ``for_each``, ``output`` and ``gate``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from runloop.openings.clauses import (
    APPROVE,
    REJECT,
    REVISE,
    Contract,
    ContractRetry,
    ForEach,
    Gate,
    Merge,
    MergeRule,
    Vote,
    VoteRule,
    Wait,
)
from runloop.openings.durations import parse_duration, parse_moment
from runloop.openings.errors import Place
from runloop.openings.expressions import valid_name
from runloop.openings.fields import Section, place_at, to_json
from runloop.openings.hints import HintError, check_schema
from runloop.openings.yamltree import Fields, Items, Scalar
from runloop.schemas import foreign_refs

if TYPE_CHECKING:
    from collections.abc import Callable

    from runloop.openings.errors import Report
    from runloop.openings.params import Params

CLAUSES = ("merge", "wait", "for_each", "output", "gate")
WAIT_KEYS = ("for", "until")
GATE_KEYS = ("ask", "options", "timeout", "on_timeout", "revise_to", "max_revisions")
FOR_EACH_KEYS = ("in", "as", "width", "max", "on_failure")
OUTPUT_KEYS = ("port", "schema", "retry", "attempts", "on_exhausted")
MERGE_KEYS = ("at_least", "vote")
VOTE_KEYS = ("of", "rule", "quorum", "on_tie")

MAX_ITEMS = 100_000
MAX_ROUNDS = 100
"""Revisions, and tries at a contract: more is no plan."""
MAX_OPTIONS = 16
_MAX_OPTION = 64
_DEFAULT_REVISIONS = 3
_PARAMS = "params."


class ClauseReader:
    """Reads the clauses of one node; ``places`` has where they stand, for problems that only the graph shows."""

    def __init__(self, node: Section, params: Params, report: Report) -> None:
        self._node = node
        self._params = params
        self._report = report
        self.places: dict[str, Place] = {}

    def read(self) -> dict[str, Any]:
        """The fields of a Node that the clauses fill."""
        return {
            "merge": self._merge(),
            "wait": self._wait(),
            "for_each": self._for_each(),
            "output": self._output(),
            "gate": self._gate(),
            "clause_at": self.places,
        }

    def _section(self, clause: str, keys: tuple[str, ...], hint: str) -> Section | None:
        tree = self._node.mapping(clause, f"{clause} must be a mapping: {hint}")
        if tree is None:
            return None
        self.places[clause] = self._node.key_at(clause)
        section = Section(tree, self._report, keys, clause, self._node.node)
        for key, entry in tree.entries.items():
            self.places[f"{clause}.{key}"] = entry.value.at
        return section

    # ── wait ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _wait(self) -> Wait | None:
        section = self._section("wait", WAIT_KEYS, "{for: 2d} or {until: 2026-12-24T18:00:00Z}")
        if section is None:
            return None
        if (section.get("for") is None) == (section.get("until") is None):
            hint = "write {for: 2d} or {until: 2026-12-24T18:00:00Z}"
            section.problem("clause", "wait must have either 'for' or 'until'", section.at, key="wait", hint=hint)
            return None
        for_ms = self._time(section, "for", parse_duration, "write 90s, 36h, 2d or '1h 30m'")
        until_ms = self._time(section, "until", parse_moment, "write 2026-12-24T18:00:00Z or 2026-12-24T18:00:00+01:00")
        return None if for_ms is until_ms else Wait(for_ms, until_ms)

    def _time(self, section: Section, key: str, parse: Callable[[str], int], hint: str) -> int | None:
        text = self._text(section, key, hint)
        if text is None:
            return None
        try:
            return parse(text)
        except ValueError as error:
            section.problem("clause", f"{section.label(key)} '{_short(text)}' {error}", self._at(section, key), key=key, hint=hint)
            return None

    def _text(self, section: Section, key: str, hint: str = "") -> str | None:
        """An optional text, a template perhaps."""
        tree = section.get(key)
        if tree is None:
            return None
        before = self._report.count
        value = self._params.render(tree, section.node or "", key)
        if isinstance(value, str) and value.strip():
            return value
        if self._report.count > before:
            return None
        said = "must not be empty" if isinstance(value, str) else f"must be a text, not {_short(json.dumps(value, ensure_ascii=False))}"
        section.problem("type", f"{section.label(key)} {said}", tree.at, key=key, hint=hint)
        return None

    def _at(self, section: Section, key: str) -> Place:
        tree = section.get(key)
        return tree.at if tree is not None else section.at

    # ── gate ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _gate(self) -> Gate | None:
        section = self._section("gate", GATE_KEYS, "{ask: 'Send it?'}")
        if section is None:
            return None
        section.required("ask", "say what the person decides: ask: 'Send it?'")
        ask = self._text(section, "ask", "say what the person decides: ask: 'Send it?'") or ""
        revise_to = section.text("revise_to") if section.get("revise_to") is not None else None
        options = self._options(section, revises=revise_to is not None)
        timeout_ms = self._time(section, "timeout", parse_duration, "write 30m, 36h or 2d")
        rounds = section.whole("max_revisions", least=1, most=MAX_ROUNDS, zero_hint="leave revise_to out if nothing is revised")
        if rounds is not None and section.get("revise_to") is None:
            section.problem(
                "clause",
                "gate.max_revisions needs revise_to",
                section.key_at("max_revisions"),
                key="max_revisions",
                hint="name the node that runs again",
            )
        return Gate(
            ask,
            options,
            timeout_ms,
            self._on_timeout(section, options),
            revise_to or "",
            (rounds or _DEFAULT_REVISIONS) if revise_to else 0,
        )

    def _options(self, section: Section, *, revises: bool) -> tuple[str, ...]:
        listed = section.texts("options", "gate.options must be a sequence", "gate.options entry {i} must be a string")
        written = section.get("options")
        if not isinstance(written, Items):
            return (APPROVE, REVISE, REJECT) if revises else (APPROVE, REJECT)
        options: list[str] = []
        for option, at in listed:
            if not (option.strip() == option and option.isprintable() and 0 < len(option) <= _MAX_OPTION):
                message = f"an option of a gate is 1 to {_MAX_OPTION} characters on one line, without spaces around it"
                section.problem("clause", message, at, key="options")
            elif option in options:
                section.problem("clause", f"gate.options lists '{option}' twice", at, key="options")
            elif option == REVISE and not revises:
                hint = "name the node that runs again: revise_to: …"
                section.problem("clause", "the option 'revise' needs revise_to", at, key="options", hint=hint)
            else:
                options.append(option)
        if revises and REVISE not in options:
            options.append(REVISE)
        usable = len(written.items) - len(listed) + len([option for option in options if option != REVISE])
        if not 1 <= usable <= MAX_OPTIONS:
            message = f"gate.options must have 1 to {MAX_OPTIONS} options beside 'revise'"
            section.problem("clause", message, self._at(section, "options"), key="options")
        return tuple(options)

    def _on_timeout(self, section: Section, options: tuple[str, ...]) -> str:
        chosen = section.text("on_timeout") if section.get("on_timeout") is not None else None
        allowed = [option for option in options if option != REVISE]
        if section.get("timeout") is None:
            if chosen is not None:
                at = section.key_at("on_timeout")
                section.problem(
                    "clause", "gate.on_timeout needs a timeout", at, key="on_timeout", hint="add 'timeout: 2d', or leave it out"
                )
            return ""
        if chosen is None and REJECT not in allowed:
            message = "gate.on_timeout must say which option is taken when nobody answers"
            section.problem("missing", message, section.key_at("timeout"), key="on_timeout", hint=f"one of: {', '.join(allowed)}")
        elif chosen is not None and chosen not in allowed:
            message = f"gate.on_timeout '{chosen}' is not one of the gate's options"
            if chosen == REVISE:
                message = "gate.on_timeout cannot be 'revise': nobody said what to change"
            section.problem("clause", message, self._at(section, "on_timeout"), key="on_timeout", near=(chosen, allowed))
        return chosen or REJECT

    # ── for_each ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _for_each(self) -> ForEach | None:
        section = self._section("for_each", FOR_EACH_KEYS, "{in: PORT} or {in: params.NAME}")
        if section is None:
            return None
        source = section.text("in", "name an input port, or params.NAME")
        most = section.whole("max", least=1, most=MAX_ITEMS)
        max_items = 1000 if most is None else most
        port, items = source or "", ()
        if port.startswith(_PARAMS):
            port, items = "", self._listed(section, port.removeprefix(_PARAMS), max_items)
        elif port and not valid_name(port):
            hint = "write in: items, or in: params.items"
            section.problem("clause", f"'{port}' is not a port", self._at(section, "in"), key="in", hint=hint)
            port = ""
        name = section.text("as") if section.get("as") is not None else None
        if name is not None and not valid_name(name):
            section.problem("clause", f"'{name}' is not a port", self._at(section, "as"), key="as")
        keeps = section.choice("on_failure", ("fail", "continue")) == "continue"
        width = section.whole("width", least=1, zero_hint="leave the key out for no limit of its own")
        return ForEach(name or (source or "").removeprefix(_PARAMS), port, items, width, max_items, keeps)

    def _listed(self, section: Section, name: str, most: int) -> tuple[Any, ...]:
        at = self._at(section, "in")
        if name not in self._params.values:
            hint = f"declare it: params: {{{name}: []}}"
            section.problem("clause", f"there is no parameter '{name}'", at, key="in", hint=hint, near=(name, self._params.values))
            return ()
        value = self._params.values[name]
        if not isinstance(value, list):
            section.problem("clause", f"parameter '{name}' is not a list", at, key="in", hint="for_each goes over the elements of a list")
            return ()
        if len(value) > most:
            hint = "raise for_each.max, or give fewer"
            section.problem("clause", f"parameter '{name}' has {len(value)} items, at most {most} are allowed", at, key="in", hint=hint)
        return tuple(value)

    # ── output ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _output(self) -> Contract | None:
        section = self._section("output", OUTPUT_KEYS, "{schema: {…}}")
        if section is None:
            return None
        port = section.text("port") if section.get("port") is not None else None
        if port is not None and not valid_name(port):
            section.problem("clause", f"'{port}' is not a port", self._at(section, "port"), key="port")
        tree = section.required("schema", "add a JSON Schema")
        schema = None
        if tree is not None:
            schema = to_json(tree, self._report, "output.schema", node=section.node, keys="output.schema keys must be strings")
            try:
                check_schema(schema, "output.schema cannot be used")
                for ref, path in foreign_refs(schema):
                    message = f"output.schema: '{ref}' leads out of the document; nothing is fetched"
                    section.problem("schema", message, place_at(tree, path), key="schema")
            except HintError as error:
                section.problem("schema", str(error), place_at(tree, error.path), key="schema")
        retry = ContractRetry(section.choice("retry", tuple(ContractRetry)))
        exhausted = section.choice("on_exhausted", ("fail", "warn"))
        if retry is ContractRetry.ESCALATE and section.get("on_exhausted") is not None:
            message = "output.on_exhausted has no meaning with retry: escalate"
            section.problem("clause", message, section.key_at("on_exhausted"), key="on_exhausted", hint="the person decides; leave it out")
        attempts = section.whole("attempts", least=1, most=MAX_ROUNDS)
        return Contract(port or "out", schema, retry, 2 if attempts is None else attempts, exhausted == "warn")

    # ── merge ────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _merge(self) -> Merge:
        tree = self._node.get("merge")
        if tree is None:
            return Merge()
        self.places["merge"] = tree.at
        if isinstance(tree, Fields):
            return self._merge_mapping(tree)
        plain = [rule.value for rule in (MergeRule.ALL, MergeRule.ANY, MergeRule.FIRST_OK)]
        value = tree.value if isinstance(tree, Scalar) else None
        if value not in plain:
            hint = "write {at_least: 2} or {vote: {of: PORT}}" if value in MERGE_KEYS else ""
            message = "merge must be all, any, first_ok, {at_least: N} or {vote: …}"
            self._node.problem("clause", message, tree.at, key="merge", hint=hint, near=None if hint else (str(value), plain))
            return Merge()
        return Merge(MergeRule(value))

    def _merge_mapping(self, tree: Fields) -> Merge:
        section = Section(tree, self._report, MERGE_KEYS, "merge", self._node.node)
        if (section.get("at_least") is None) == (section.get("vote") is None):
            section.problem("clause", "merge must have either 'at_least' or 'vote'", section.at, key="merge")
            return Merge()
        vote = section.mapping("vote", "merge.vote must be a mapping: {of: PORT}")
        if vote is not None:
            return Merge(MergeRule.VOTE, vote=self._vote(vote))
        return Merge(MergeRule.AT_LEAST, section.whole("at_least", least=1, zero_hint="a node that waits for nothing has no in-edges") or 1)

    def _vote(self, tree: Fields) -> Vote:
        section = Section(tree, self._report, VOTE_KEYS, "merge.vote", self._node.node)
        self.places["merge.vote.of"] = self._at(section, "of")
        port, *path = (section.text("of", "name the input port that the votes arrive on: of: votes") or "").split("/")
        if section.get("of") is not None and not (valid_name(port) and all(path)):
            section.problem("clause", "merge.vote.of must be PORT or PORT/FIELD", self._at(section, "of"), key="of")
        rule = VoteRule(section.choice("rule", tuple(VoteRule)))
        first = section.choice("on_tie", ("fail", "first")) == "first"
        if first and rule in (VoteRule.SUPERMAJORITY, VoteRule.UNANIMOUS):
            message = f"merge.vote.on_tie 'first' would decide against the rule {rule}"
            section.problem("clause", message, self._at(section, "on_tie"), key="on_tie", hint="leave it out: a tie fails")
        return Vote(port, tuple(path), rule, section.whole("quorum", least=1) or 1, first)


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"
