"""`rlp status`: how the daemon is, and what it could not load."""

from __future__ import annotations

import time
from typing import Any

import typer

from runloop import __version__
from runloop.cli import context, link, output
from runloop.cli.options import JsonOption, TableOption

app = typer.Typer(add_completion=False, help="Show how the daemon is.")


@app.command()
def status(*, as_json: JsonOption = False, as_table: TableOption = False) -> int:
    """Show state, runs, workers and problems of the daemon. Exit code 3 where none answers."""
    found = link.ask_once(context.settings_for_the_daemon(), "status")
    if output.wants_json(as_json=as_json, as_table=as_table):
        output.print_json(found)
        return 0
    for line in _lines(found):
        output.print_line(line)
    return 0


def _lines(found: dict[str, Any]) -> list[str]:
    runs, nodes, workers, library = found["runs"], found["nodes"], found["workers"], found["library"]
    lines = [
        f"runloopd {found['version']}: {found['state']}, process {found['pid']}, up {_duration(found['uptime_ms'])}, {found['mode']} mode",
        f"  socket     {found['socket']}{_made_again(found)}",
        f"  knowledge  {found['kb']}",
        f"  runs       {runs['running']} running, {runs['queued']} queued",
        f"  since then {runs['succeeded']} succeeded, {runs['failed']} failed, {runs['cancelled']} cancelled",
        f"  nodes      {nodes['at_work']} at work, {nodes['waiting']} waiting for a turn",
        f"  workers    {workers['workers']} of {workers['wanted']}, {workers['guests']} guests; {workers['lost_total']} lost so far",
        f"  library    {library['agents']} agents, {library['openings']} openings; Python guest {found['guest']}",
        f"  bus        {found['bus']['connections']} connections, {found['bus']['subscriptions']} subscriptions",
    ]
    if found.get("pressure"):
        lines.insert(6, f"  pressure   {', '.join(found['pressure'])}: agents start one after the other")
    if found["version"] != __version__:
        lines.insert(1, f"  installed  {__version__}, which counts for it after `rlp down` and `rlp up`")
    if found["approvals_open"]:
        lines.append(f"  waiting for a person: {found['approvals_open']} (`rlp approve` shows them)")
    if workers["last_cause"]:
        lines.append(f"  a worker was lost: {workers['last_cause']}")
    if workers["suspended"]:
        lines.append(f"  workers die too often: more than {workers['restarts_per_minute']} within a minute, so the next one waits")
    for run in found.get("left", ()):
        error, short = run["error"], run["run_id"][:8]
        why = f"{output.clean_line(error['message'])} [{error['code']}]"
        lines.append(f"  cannot go on: run {short} of {run['opening_name']}: {why} (`rlp resume {short}` tries again)")
    if found["needs_restart"]:
        lines.append(f"  needs a restart to count: {', '.join(found['needs_restart'])}")
    if found["native_agents"]:
        lines.append(f"  native agents: {', '.join(found['native_agents'])}")
    for problem in found["problems"]:
        error = problem["error"]
        kept = {True: " (the last good version serves)", False: " (nothing serves)"}.get(problem["last_good_kept"], "")
        lines.append(f"  problem: {problem['what']} {problem['name']}: {error['message']} [{error['code']}]{kept}")
    return lines


def _made_again(found: dict[str, Any]) -> str:
    at_ms = found.get("socket_made_again_ms")
    if at_ms is None:
        return ""
    return f" (somebody removed it; made again {_duration(max(0, time.time_ns() // 1_000_000 - at_ms))} ago)"


def _duration(ms: int) -> str:
    seconds = ms // 1000
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
