"""`rlp show`: one run with its nodes, what they produced, and what it left behind."""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from dataclasses import field
from textwrap import indent
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import context, masking, output
from runloop.cli.finding import RunArgument, elsewhere, finding, stored_records
from runloop.cli.masking import UnmaskedOption
from runloop.cli.options import JsonOption, TableOption
from runloop.cli.times import clock, span
from runloop.dataclass import dataclass
from runloop.errors import RunloopError
from runloop.text import changed, with_time_left

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from runloop.runs.history import RecordedAttempt, RecordedEnd, RecordedRun, Spent

app = typer.Typer(add_completion=False, help="Show one run: nodes, outputs, artifacts and what led to them.")
_MOST = 1000
_MOST_FAILURES = 5
_MOST_FILES = 10
_MOST_OF_A_PARAM = 1000  # characters
_AT_GATE = ("waiting", "for a person, at its gate")
_COLUMNS = ("node", "try", "agent", "state", "calls", "outputs", "why")


@app.command()
def show(
    run: RunArgument = "last",
    *,
    outputs: Annotated[bool, typer.Option("--outputs", help="Print what each node produced, whole.")] = False,
    as_json: JsonOption = False,
    as_table: TableOption = False,
    unmasked: UnmaskedOption = None,
) -> int:
    """Show RUN: how it was started, each attempt, how it ended or what it waits for, and the runs that it is related to.

    Examples: `rlp show`, `rlp show 3f2a91c0 --outputs`, `rlp show run.rlz --json`.
    """
    from runloop.runs.family import children_of, spent, spent_below
    from runloop.runs.history import load_run

    masking.unmask(unmasked, "show", run)
    with finding(run) as found:
        recorded = load_run(found.source, found.run_id)
        moves = _moves(stored_records(found))
        own = found.source.children(found.run_id)
        shared = [each for each in children_of(found.source, recorded).values() if each not in own]
        used, below = spent(recorded.attempts), spent_below(found.source, found.run_id) if own else None
    row, related = (None, []) if found.origin != "own" else _standing(found.run_id)
    if output.wants_json(as_json=as_json, as_table=as_table):
        shown = {**_json(recorded, found.origin, moves, row, related, [*own, *shared]), "signer": found.archive and found.archive.signer}
        cost = {
            "spent": {"tokens": used.tokens, "usd": used.usd},
            "spent_by_children": None if below is None else {"tokens": below.tokens, "usd": below.usd},
        }
        output.print_json(masking.masked({**shown, **cost}))
        return 0
    output.print_line(f"run      {found.run_id}" + elsewhere(found))
    output.print_line(f"opening  {recorded.opening_name}  ({recorded.submitted['opening_digest'][:12]})")
    output.print_line(f"state    {_state(recorded, row)}" + (f": {masking.masked_text(recorded.reason)}" if recorded.reason else ""))
    if hint := _hint(recorded):
        output.print_line(f"hint     {masking.masked_text(hint)}")
    if row is not None and row.get("waiting_for"):
        waits = with_time_left(row["waiting_for"], row.get("until_ms"), _now_ms())
        output.print_line(f"waits    for {waits}, since {span(_now_ms() - row['waiting_since_ms'])}")
    for name, value in (recorded.submitted["params"] or {}).items():
        output.print_line(f"param    {name} = {_in_short(output.to_json(masking.redactor().value(value, name), indent=None))}")
    if used.tokens or (below is not None and below.tokens):
        children = f"; its child runs {_spent_text(below)}" if below is not None else ""
        output.print_line(f"spent    {_spent_text(used)}{children}")
    for line in moves.lines():
        output.print_line(line)
    _print_relations(recorded, related, own, shared)
    _print_files(recorded, moves.files)
    _print_failed_calls(recorded, hint)
    _print_nodes(recorded)
    _print_tracebacks(recorded)
    if outputs:
        for each in _in_order(recorded):
            if each.outputs is not None:
                output.print_line(f"\n{each.node}:")
                output.print_json(masking.masked(each.outputs))
    return 0


def _in_short(text: str) -> str:
    """The text as it is shown to people: a parameter may be some megabytes long."""
    return text if len(text) <= _MOST_OF_A_PARAM else f"{text[:_MOST_OF_A_PARAM]}… ({len(text):,} characters; --json shows them all)"


@dataclass(slots=True)
class _Moves:
    """How often a run left memory, how it came back, and the files that it made."""

    evicted: int = 0
    rebuilt: int = 0
    replayed_calls: int = 0
    parked: int = 0
    recovered: list[dict[str, Any]] = field(default_factory=list)
    files: list[Mapping[str, Any]] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """A line each for evictions, for parking and for recoveries."""
        if self.evicted:
            back = f", rebuilt {_times(self.rebuilt)} with {self.replayed_calls} calls from the record" if self.rebuilt else ""
            yield f"evicted  {_times(self.evicted)} while it waited{back}"
        if self.parked:
            yield f"parked   {_times(self.parked)}"
        if self.recovered:
            last = self.recovered[-1]
            answered = last["effects_answered"]
            calls = f", {answered} {'call' if answered == 1 else 'calls'} answered from the record" if answered else ""
            yield f"taken up {_times(len(self.recovered))}, last {clock(last['ts_ms'])}: {masking.masked_text(last['why'])}{calls}"


def _moves(records: Iterable[Mapping[str, Any]]) -> _Moves:
    moves = _Moves()
    for record in records:
        meta = record["meta"]
        match record["kind"]:
            case "node.evicted":
                moves.evicted += 1
            case "node.rebuilt":
                moves.rebuilt += 1
                moves.replayed_calls += meta.get("replayed_calls", 0)
            case "run.waiting":
                moves.parked += 1
            case "run.recovered":
                moves.recovered.append({"ts_ms": record["ts_ms"], "why": meta["why"], "effects_answered": meta.get("effects_answered", 0)})
            case "artifact.created":
                moves.files.append(meta)
            case _:
                pass
    return moves


def _standing(run_id: str) -> tuple[Mapping[str, Any] | None, list[dict[str, Any]]]:
    """The run as `rlp runs` has it, and its children and forks, oldest first."""
    from runloop.cli.runs import in_ledger
    from runloop.kb.runs import RunFilter

    row = next(iter(in_ledger(RunFilter(run_ids=(run_id,)))), None)
    return row and _here(row), [_here(each) for each in in_ledger(RunFilter(related_to=run_id, limit=_MOST))[::-1]]


def _here(row: Mapping[str, Any]) -> dict[str, Any]:
    """A run as the daemon has it, where the ledger has only that its process is gone: what waits is taken over without a record."""
    from runloop.cli import link

    if row["state"] == "unfinished":
        with suppress(RunloopError):  # that of another knowledge base, say
            if (found := link.ask_if_operator(context.settings(), "attach", run=row["run_id"])) is not None:
                return {**row, "state": found["state"]}
    return dict(row)


def _state(recorded: RecordedRun, row: Mapping[str, Any] | None) -> str:
    return recorded.status or ("unfinished" if row is None else str(row["state"]))


def _hint(recorded: RecordedRun) -> str:
    """What its author can do about the failure that ended the run."""
    if hint := ((recorded.finished or {}).get("error") or {}).get("hint"):
        return str(hint)
    failed = [each.error for each in recorded.attempts if each.error is not None]
    return next((error.get("hint") or "" for error in reversed(failed) if error["message"] in (recorded.reason or "")), "")


def _failed_calls(attempt: RecordedAttempt) -> Iterator[dict[str, Any]]:
    """The calls that were refused or failed, whatever the agent made of it."""
    for crossing in attempt.crossings:
        if (failure := crossing.failure) is not None:
            yield {
                "call": crossing.call,
                "name": crossing.name,
                "code": failure.reason,
                "message": failure.message,
                "hint": failure.hint or None,
            }


def _print_failed_calls(recorded: RecordedRun, said: str) -> None:
    """Each failure once, with what can be done about it where that was not ``said``, also of those that agents went on without."""
    told = dict.fromkeys(
        (each.node, call["name"], call["message"], call["hint"])
        for each in recorded.attempts
        for call in _failed_calls(each)
        if not said or call["hint"] != said
    )
    for number, (node, name, message, hint) in enumerate(told):
        if number == _MOST_FAILURES:
            output.print_line(f"failed   and {len(told) - number} more calls: rlp trace {recorded.run_id[:8]}")
            break
        output.print_line(f"failed   {node}: {name}: {masking.masked_text(_first_line(str(message)) or '')}")
        if hint:
            output.print_line(f"         hint: {masking.masked_text(hint)}")


def _print_tracebacks(recorded: RecordedRun) -> None:
    """What the agents' own exceptions said, each once, with the newest attempt that said it."""
    said = {(each.node, detail): each.attempt for each in recorded.attempts if each.error and (detail := each.error.get("detail"))}
    for number, ((node, detail), attempt) in enumerate(said.items()):
        if number == _MOST_FAILURES:
            output.print_line(f"\nand {len(said) - number} more: rlp show {recorded.run_id[:8]} --json")
            break
        output.print_line(f"\n{node}, attempt {attempt}:")
        output.print_line(indent(masking.masked_text(detail.rstrip()), "  "))


def _print_files(recorded: RecordedRun, files: list[Mapping[str, Any]]) -> None:
    """The files that it made, a few of them and how many more there are."""
    for number, each in enumerate(files):
        if number == _MOST_FILES:
            output.print_line(f"made     and {len(files) - number} more files: rlp show {recorded.run_id[:8]} --json")
            break
        output.print_line(f"made     {masking.masked_text(each['path'])}  ({each['kind']}, node {each['node']})")


def _spent_text(spent: Spent) -> str:
    """Tokens, and what they cost; part of that where a price is not known."""
    from runloop.effects.types import dollars

    price = f"{dollars(spent.usd_micros):.4f} USD"
    if not spent.priced:
        price = f"{price} and what has no known price" if spent.usd_micros else "at no known price"
    return f"{spent.tokens:,} tokens, {price}"


def _print_relations(recorded: RecordedRun, related: list[dict[str, Any]], own: list[str], shared: list[str]) -> None:
    if recorded.identity.parent_run_id is not None:
        output.print_line(f"parent   {recorded.identity.parent_run_id}")
    forked = recorded.submitted.get("forked_from")
    if forked:
        other = masking.masked_text(changed(recorded.submitted.get("overrides")))
        output.print_line(f"forked   from {forked['run_id']} after record {forked['seq']}" + (f", with {other}" if other else ""))
    for each in related:
        kind = "child" if each["parent_run_id"] == recorded.run_id else "fork"
        output.print_line(f"{kind:<8} {each['run_id']}  {each['opening_name']}  {each['state']}")
    for run_id in own if not related else ():
        output.print_line(f"child    {run_id}")
    for run_id in shared:
        output.print_line(f"child    {run_id}  shared with the run that it was forked from")


def _json(
    recorded: RecordedRun,
    origin: str,
    moves: _Moves,
    row: Mapping[str, Any] | None,
    related: list[dict[str, Any]],
    children: list[str],
) -> dict[str, Any]:
    gates = recorded.open_gates
    waits = {name: None if row is None else row.get(name) for name in ("waiting_for", "waiting_since_ms", "until_ms")}
    return {
        "run_id": recorded.run_id,
        "opening_name": recorded.opening_name,
        "status": recorded.status or "running",
        "state": _state(recorded, row),
        **waits,
        "reason": recorded.reason,
        "final_hash": recorded.final_hash,
        "origin": origin,
        "parent_run_id": recorded.identity.parent_run_id,
        "forked_from": recorded.submitted.get("forked_from"),
        "overrides": recorded.submitted.get("overrides"),
        "children": children,
        "forks": [each["run_id"] for each in related if each["forked_from"] == recorded.run_id],
        "evicted": moves.evicted,
        "rebuilt": moves.rebuilt,
        "parked": moves.parked,
        "recovered": moves.recovered,
        "params": recorded.submitted["params"],
        "attempts": [_attempt(each, gates) for each in recorded.attempts],
        "ends": [_end(each) for each in recorded.ends],
        "artifacts": [{name: each.get(name) for name in ("node", "kind", "path", "bytes", "blake3", "sha256")} for each in moves.files],
    }


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _in_order(recorded: RecordedRun) -> Iterator[RecordedAttempt | RecordedEnd]:
    """Attempts as they started, and between them the ends that no attempt tells of."""
    ends = deque(recorded.ends)
    for number, attempt in enumerate(recorded.attempts):
        while ends and ends[0].after <= number:
            yield ends.popleft()
        yield attempt
    yield from ends


def _print_nodes(recorded: RecordedRun) -> None:
    from runloop.runs.history import RecordedEnd

    gates = recorded.open_gates
    rows = [
        (each.node, None, None, each.status, None, _short(each.outputs_hash), _first_line(masking.masked_text(each.why)))
        if isinstance(each, RecordedEnd)
        else (
            each.node,
            each.attempt,
            each.agent.get("name"),
            _status(each, gates)[0],
            len(each.crossings),
            _short(each.outputs_hash),
            _first_line(masking.masked_text(each.error["message"] if each.error else _status(each, gates)[1])),
        )
        for each in _in_order(recorded)
    ]
    of_items = gates.keys() - {each.node for each in recorded.attempts}
    rows += [(node, None, None, _AT_GATE[0], None, None, _AT_GATE[1]) for node in gates if node in of_items]
    output.print_rows(_COLUMNS, rows, as_table=True, empty="no node started")


def _status(attempt: RecordedAttempt, gates: Mapping[str, int]) -> tuple[str, str]:
    """How the attempt stands, and why; it has ended where a gate asks about it, and a person says what becomes of its node."""
    return _AT_GATE if gates.get(attempt.node) == attempt.attempt else (attempt.status or "running", attempt.why)


def _short(digest: str | None) -> str | None:
    return digest[:12] if digest else None


def _first_line(text: str) -> str | None:
    return next(iter(text.strip().splitlines()), None)


def _end(each: RecordedEnd) -> dict[str, Any]:
    names = ("node", "status", "why", "outputs", "outputs_hash")
    return {name: getattr(each, name) for name in names}


def _attempt(each: RecordedAttempt, gates: Mapping[str, int]) -> dict[str, Any]:
    status, why = _status(each, gates)
    return {
        "node": each.node,
        "attempt": each.attempt,
        "agent": dict(each.agent),
        "status": status,
        "calls": len(each.crossings),
        "failed_calls": list(_failed_calls(each)),
        "outputs": each.outputs,
        "outputs_hash": each.outputs_hash,
        "error": each.error,
        "why": why,
    }
