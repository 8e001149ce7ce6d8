"""Naming what waits for a person, and deciding it, for `rlp inbox`, `approve`, `revise` and `deny`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from runloop.cli import context, link, output
from runloop.cli.link import waited
from runloop.errors import InvalidInput, Where
from runloop.text import GATE, sort_of

_SHOWN = 8


IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Which one: as `rlp inbox` lists it, or `last`, the newest.")]
PerhapsIdArgument = Annotated[str | None, typer.Argument(metavar="[ID]", help="Which one: as `rlp inbox` lists it, or `last`, the newest.")]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why; it stands in the records.")]


def kind_of(shown: Mapping[str, Any]) -> str:
    """approval, question or gate."""
    return GATE if shown["type"] == "question" and sort_of(str(shown["approval_id"])) == "gate" else str(shown["type"])


def line_of(shown: Mapping[str, Any]) -> str:
    """What it is about, on one line."""
    text = str(shown.get("what") or shown.get("question") or "").strip()
    if shown["type"] == "approval":
        text = f"{shown['action']}: {text}"
    return output.clean_line(" ".join(text.split()))


def short_ids(ids: Sequence[str]) -> dict[str, str]:
    """For each id the shortest name that means it alone: eight letters of the run, then its parts while they are needed."""
    alike: dict[str, list[str]] = {}  # whatever means one of a run means none of another that begins otherwise
    for each in ids:
        alike.setdefault(each[:_SHOWN], []).append(each)
    return {each: _shortest(each, alike[each[:_SHOWN]]) for each in ids}


def _shortest(approval_id: str, ids: Sequence[str]) -> str:
    alone = (name for name in _names(approval_id) if [approval_id] == [other for other in ids if _named(name, other)])
    return next(alone, approval_id)


def _names(approval_id: str) -> list[str]:
    run, *rest = approval_id.split("/")
    return ["/".join([run[:_SHOWN], *rest[:count]]) for count in range(len(rest) + 1)]


def _named(ref: str, approval_id: str) -> bool:
    """Whether each part of ``ref`` begins the part of the id that stands in its place."""
    wanted, parts = ref.split("/"), approval_id.split("/")
    return len(wanted) <= len(parts) and all(part.startswith(word) for word, part in zip(wanted, parts, strict=False))


def chosen(ref: str, listed: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The one that ``ref`` names; ``listed`` is oldest first. Raises InvalidInput ``approval.unknown`` or ``approval.ambiguous``."""
    where = Where(key="ID")
    if ref == "last" and listed:
        return listed[-1]
    found = [each for each in listed if each["approval_id"] == ref] or [each for each in listed if ref and _named(ref, each["approval_id"])]
    if not found:
        hint = "`rlp inbox` lists what waits; somebody else may have decided it"
        message = f"nothing that waits is called {ref!r}" if listed else "nothing waits for a person"
        raise InvalidInput(message, code="approval.unknown", where=where, hint=hint)
    if len(found) > 1:
        names = short_ids([each["approval_id"] for each in listed])
        hint = "use " + " or ".join(names[each["approval_id"]] for each in found)
        raise InvalidInput(f"{ref!r} names {len(found)} of what waits", code="approval.ambiguous", where=where, hint=hint)
    return found[0]


def answer_for(shown: Mapping[str, Any], word: str, text: str | None = None) -> dict[str, Any]:
    """What to tell the daemon for `approve`, `reject` or `revise` and a ``text``. Raises InvalidInput where that is no answer here."""
    if shown["type"] == "approval":
        if word == "revise" or text is not None:
            message = "this is approved or denied as it is" if word == "revise" else "this is no question"
            raise InvalidInput(message, code="approval.answer", where=Where(key="ID"), hint="`rlp approve ID` or `rlp deny ID --reason …`")
        return {"approved": word == "approve"}
    options = list(shown["options"])
    wanted = word if text is None else text
    if wanted in options or (text is not None and not options):
        return {"answer": wanted}
    if text is not None and text.isdecimal() and 1 <= int(text) <= len(options):
        return {"answer": options[int(text) - 1]}
    takes = "one of " + ", ".join(map(repr, options)) if options else "a text"
    hint, message = (
        f"`rlp approve ID --answer TEXT` gives it{', or its number' if options else ''}",
        f"the answer to this {kind_of(shown)} is {takes}",
    )
    if word == "revise" and kind_of(shown) == GATE:
        message = f"this gate takes no revision, or none any more: the answer is {takes}"
    raise InvalidInput(message, code="approval.answer", where=Where(key="ID"), hint=hint)


def decide(
    ref: str, word: str, *, text: str | None = None, scope: str | None = None, reason: str | None = None, as_json: bool = False
) -> int:
    """Decide what ``ref`` names, without asking again, and say what was decided."""
    return waited(_decide(ref, word, text, scope, reason, as_json))


async def _decide(ref: str, word: str, text: str | None, scope: str | None, reason: str | None, as_json: bool) -> int:
    async with link.linked(context.settings()) as client:
        shown = chosen(ref, await client.approvals())
        if scope is not None and shown["type"] != "approval":
            message = f"a {kind_of(shown)} is answered once and has no scope"
            raise InvalidInput(message, code="approval.scope", where=Where(key="--scope"), hint="leave --scope out")
        given = answer_for(shown, word, text)
        done = await client.answer(shown["approval_id"], scope=scope, rationale=reason, **given)
    said = given.get("answer") or ("approved" if given["approved"] else "denied")
    if as_json:
        reach = (scope or "once") if given.get("approved") else None
        shape = {"approved": given.get("approved"), "type": kind_of(shown), "answer": given.get("answer"), "scope": reach}
        output.print_json({**done, **shape})
    else:
        reach = f" ({scope})" if scope is not None else ""
        output.print_line(f"{said}{reach}: {output.fitted(line_of(shown), max(20, output.terminal_width() - len(said) - len(reach) - 2))}")
    return 0
