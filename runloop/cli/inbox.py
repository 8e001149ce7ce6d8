"""`rlp inbox`: what waits for the person over all runs, and what they approved beyond a run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import context, output
from runloop.cli.answering import kind_of, line_of, short_ids
from runloop.cli.options import JsonOption, MaxColsOption, MaxRowsOption, NoWrapOption, TableOption
from runloop.cli.times import clock, date_clock, span
from runloop.errors import InvalidInput, Where

if TYPE_CHECKING:
    from runloop.runs.grants import StandingGrant, StandingGrants

app = typer.Typer(add_completion=False, help="Show what waits for a person.")
_COLUMNS = ("id", "type", "opening", "asked by", "since", "until", "what")
_GRANTS = ("id", "scope", "action", "agent", "opening", "for", "given")
_MOST = 1000


@app.command()
def inbox(
    *,
    grants: Annotated[bool, typer.Option("--grants", help="What was approved for an opening or always, instead.")] = False,
    revoke: Annotated[str | None, typer.Option("--revoke", metavar="GRANT", help="Take a grant back, from now on.")] = None,
    as_json: JsonOption = False,
    as_table: TableOption = False,
    max_cols: MaxColsOption = None,
    max_rows: MaxRowsOption = None,
    no_wrap: NoWrapOption = False,
) -> int:
    """List the approvals, questions and gates that wait, over all runs, oldest first. `rlp approve`, `revise` and `deny` decide them.

    A run that no daemon drives cannot be answered: `rlp up` or `rlp resume` takes it up.

    Examples: `rlp inbox`, `rlp inbox --json`, `rlp inbox --grants`, `rlp inbox --revoke 5c1d`.
    """
    style = output.TableStyle(max_cols=max_cols, max_rows=max_rows, fit=not no_wrap)
    if revoke is not None:
        return _revoke(revoke, as_json=as_json)
    if grants:
        given = _standing().all()
        output.print_rows(
            _GRANTS, [_grant_cells(each) for each in given], as_json=as_json, as_table=as_table, style=style,
            data=[each.to_dict() for each in given], empty="nothing was approved beyond a run",
        )  # fmt: skip
        return 0
    now_ms = time.time_ns() // 1_000_000
    found = waiting()
    rows = [_cells(each, now_ms) for each in found]
    output.print_rows(_COLUMNS, rows, as_json=as_json, as_table=as_table, style=style, data=found, empty="nothing waits for a person")
    return 0


def waiting() -> list[dict[str, Any]]:
    """What waits, oldest first: what can be answered here, then runs elsewhere that wait for a person, whose ``approval_id`` is None."""
    from runloop.cli import link

    listed = link.approvals_if_there(context.settings())
    names = short_ids([each["approval_id"] for each in listed])
    here = [_entry(each, names[each["approval_id"]]) for each in listed]
    return here + _elsewhere({each["run_id"] for each in listed} | {each["root_run_id"] for each in listed})


def _entry(shown: Mapping[str, Any], name: str) -> dict[str, Any]:
    more = {"type": kind_of(shown), "deadline_ms": shown.get("closes_ms"), "line": line_of(shown), "state": "open"}
    return {"id": name, **shown, **more}


def _elsewhere(known: set[str]) -> list[dict[str, Any]]:
    """Runs that wait for a person in another process, or in none, as the ledger says."""
    from runloop.cli.ledger import has_ledger
    from runloop.cli.runs import in_ledger
    from runloop.kb.runs import RunFilter, root_of

    if not has_ledger():
        return []
    rows = [row for state in ("waiting", "unfinished") for row in in_ledger(RunFilter(state=state, limit=_MOST))]
    people = [row for row in rows if row["run_id"] not in known and (row["waiting_for"] or "").startswith(("approval", "an answer"))]
    return [
        {
            "id": row["run_id"][:8], "approval_id": None, "type": _type_of(row["waiting_for"]),
            "run_id": row["run_id"], "root_run_id": root_of(row), "opening_name": row["opening_name"], "node": None, "agent": None,
            "action": None, "asked_ms": row["waiting_since_ms"], "deadline_ms": None,
            "line": f"{row['waiting_for']}; " + _where(row), "state": "elsewhere" if row["state"] == "waiting" else "unfinished",
        }
        for row in sorted(people, key=lambda row: row["waiting_since_ms"])
    ]  # fmt: skip


def _type_of(waiting_for: str) -> str:
    return "approval" if waiting_for.startswith("approval") else "gate" if waiting_for.startswith("an answer at a gate") else "question"


def _where(row: Mapping[str, Any]) -> str:
    from runloop.kb.runs import root_of

    if row["state"] == "waiting":
        return "it asks at the terminal where it was started"
    return f"nothing drives it: `rlp up`, or `rlp resume {root_of(row)[:8]}`"


def _cells(each: Mapping[str, Any], now_ms: int) -> list[Any]:
    until = None if each["deadline_ms"] is None else clock(each["deadline_ms"])
    return [each["id"], each["type"], each["opening_name"], each["agent"], span(now_ms - each["asked_ms"]), until, each["line"]]


def _grant_cells(each: StandingGrant) -> list[Any]:
    grant = each.grant
    opening = each.opening_name if grant.scope == "opening" else "any"
    targets = ", ".join(sorted(grant.targets))
    return [each.id, grant.scope.value, grant.action, each.agent_name, opening, targets, date_clock(each.given_ms)]


def _standing() -> StandingGrants:
    from runloop.runs.grants import FILE, StandingGrants

    return StandingGrants(context.settings().base.state / FILE)


def _revoke(ref: str, *, as_json: bool) -> int:
    standing = _standing()
    found = [each for each in standing.all() if ref and each.id.startswith(ref)]
    if len(found) != 1:
        which = "no grant has" if not found else f"{len(found)} grants have"
        hint = "`rlp inbox --grants` lists them"
        raise InvalidInput(f"{which} an id that begins with {ref!r}", code="grants.unknown", where=Where(key="--revoke"), hint=hint)
    gone = standing.revoke(found[0].id)
    if as_json:
        output.print_json(gone.to_dict())
    else:
        output.print_line(f"revoked {gone.id}: {gone.grant.action} is asked about again")
    return 0
