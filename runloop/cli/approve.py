"""`rlp approve`: say yes to what runs of the daemon wait for, from any terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from runloop.cli import context, link, output
from runloop.cli.answering import PerhapsIdArgument, ReasonOption, decide
from runloop.cli.link import waited
from runloop.cli.options import JsonOption
from runloop.errors import InvalidInput, Where

if TYPE_CHECKING:
    from runloop.config import Settings

app = typer.Typer(add_completion=False, help="Approve what runs of the daemon wait for.")


def _scopes() -> list[str]:
    from runloop.policy import Scope

    return [scope.value for scope in Scope]


@app.command()
def approve(
    approval_id: PerhapsIdArgument = None,
    *,
    answer: Annotated[
        str | None, typer.Option("--answer", metavar="TEXT", help="Answer a question, or choose an option, be it by its number.")
    ] = None,
    scope: Annotated[
        str | None,
        typer.Option(
            "--scope",
            metavar="SCOPE",
            help="How far the yes reaches: once, run, opening (this agent in this opening) or always. Policy says which there are.",
        ),
    ] = None,
    reason: ReasonOption = None,
    as_json: JsonOption = False,
) -> int:
    """Approve ID without asking again; without ID, ask about all that waits, one after the other. The first answer counts.

    What is approved for `opening` or `always` stands until `rlp inbox --revoke`, or until the agent or the opening changes.

    Examples: `rlp approve`, `rlp approve 3f2a91c0`, `rlp approve last --scope run`, `rlp approve 3f2a91c0 --answer blue`.
    """
    if scope is not None and scope not in _scopes():
        raise InvalidInput(f"there is no scope {scope!r}", code="cli.usage", where=Where(key="--scope"), hint="use " + ", ".join(_scopes()))
    if approval_id is not None:
        return decide(approval_id, "approve", text=answer, scope=scope, reason=reason, as_json=as_json)
    if answer is not None or scope is not None or reason is not None:
        raise InvalidInput("which one?", code="cli.usage", where=Where(key="ID"), hint="`rlp inbox` lists the ids")
    from runloop.cli import inbox
    from runloop.cli.person import person_present

    if as_json or not person_present():
        return inbox.inbox(as_json=as_json)
    return waited(_ask_about_all(context.settings()))


async def _ask_about_all(settings: Settings) -> int:
    from runloop.cli.person import TerminalPerson
    from runloop.cli.remote import answer_at_terminal

    async with link.linked(settings) as client:
        person, listed = TerminalPerson(), await client.approvals()
        for shown in listed:
            try:
                await answer_at_terminal(client, person, shown)
            except InvalidInput as error:
                if error.code != "approval.unknown":
                    raise
                output.print_warning(error.code, error.message)  # somebody else was first, or its run has ended: the others still wait
        if not listed:
            output.print_line("nothing waits for a person")
    return 0
