"""`rlp approve`: what runs of the daemon wait for a person to decide, from any terminal."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import context, link, output
from runloop.cli.options import JsonOption
from runloop.errors import InvalidInput, Where

if TYPE_CHECKING:
    from runloop.config import Settings

app = typer.Typer(add_completion=False, help="Decide what runs of the daemon wait for.")
_COLUMNS = ("id", "run", "type", "asked by", "action", "what")


@app.command()
def approve(
    approval_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="Which one, or the beginning of its id.")] = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Approve it.")] = False,
    no: Annotated[bool, typer.Option("--no", help="Reject it.")] = False,
    answer: Annotated[str | None, typer.Option("--answer", metavar="TEXT", help="Answer a question.")] = None,
    scope: Annotated[str, typer.Option("--scope", help="How far a yes reaches: once or run.")] = "once",
    reason: Annotated[str | None, typer.Option("--reason", help="Why; it stands in the records.")] = None,
    as_json: JsonOption = False,
) -> int:
    """List what waits; on a terminal, or with ID and an option, decide it. The first answer counts.

    Examples: `rlp approve`, `rlp approve 3f2a91c0 --yes --scope run`, `rlp approve 3f2a91c0 --answer blue`.
    """
    if (yes + no + (answer is not None)) > 1:
        raise InvalidInput("--yes, --no and --answer exclude each other", code="cli.usage", hint="give one of them")
    decided = yes or no or answer is not None
    if decided and approval_id is None:
        raise InvalidInput("which one?", code="cli.usage", where=Where(key="ID"), hint="`rlp approve` lists the ids")
    return asyncio.run(
        _approve(
            context.settings(), approval_id, {"approved": yes, "answer": answer, "scope": scope, "rationale": reason}, decided, as_json
        )
    )


async def _approve(settings: Settings, wanted: str | None, given: dict[str, Any], decided: bool, as_json: bool) -> int:
    from runloop.cli.person import TerminalPerson, person_present
    from runloop.cli.remote import answer_at_terminal

    async with link.linked(settings) as client:
        listed = await client.approvals()
        if wanted is not None:
            listed = [each for each in listed if each["approval_id"].startswith(wanted)]
        if decided or wanted is not None:
            if len(listed) != 1:
                which = "nothing open has" if not listed else f"{len(listed)} open ones have"
                raise InvalidInput(
                    f"{which} an id that begins with {wanted!r}", code="approval.unknown", hint="`rlp approve` lists what is open"
                )
            if decided:
                done = await client.answer(listed[0]["approval_id"], **given)
                output.print_line(
                    f"{done['approval_id']}: {'approved' if given['approved'] else 'answered' if given['answer'] else 'rejected'}"
                )
                return 0
        if not as_json and person_present():
            person = TerminalPerson()
            for shown in listed:
                await answer_at_terminal(client, person, shown)
            if not listed:
                output.print_line("nothing waits for a person")
            return 0
    rows = [
        (each["approval_id"], each["run_id"][:8], each["type"], each["agent"], each.get("action"), each.get("what", each.get("question")))
        for each in listed
    ]
    output.print_rows(_COLUMNS, rows, as_json=as_json, data=listed, empty="nothing waits for a person")
    return 0
