"""A model's choice between openings that fit a request equally well: a run like any other, in the record with its cost."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from runloop.cli import output
from runloop.errors import EXIT_INTERRUPTED, EXIT_OK, RunloopError

if TYPE_CHECKING:
    from runloop.cli.requests import Request
    from runloop.config import Settings


async def by_model(request: Request, settings: Settings, *, local: bool) -> int | None:
    """Which of the matches the model chose, by its place; None where it may not, cannot, or says none: then a person is asked."""
    from runloop.cli.requests import CHOOSER, output_of
    from runloop.cli.run import Chosen, execute
    from runloop.cli.showing import Unshown
    from runloop.openings import parse_opening

    if not settings.get("router.rerank") or not _has_model(settings):
        return None
    chooser = next((each for each in request.known if each.candidate.name == CHOOSER), None)
    if chooser is None:
        output.print_warning("ask.no_chooser", f"router.rerank is on, and there is no opening {CHOOSER!r}")
        return None
    params = {"request": request.line, "openings": _described(request)}
    opening = parse_opening(chooser.found.source, file=chooser.found.file, params=params)
    held = Unshown(None)
    try:
        code = await execute(Chosen(opening, chooser.found, params), settings, held, local=local)
    except RunloopError as error:
        output.print_warning("ask.no_choice", f"no model chose: {error.message}")
        return None
    if code == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    if held.result is None or code != EXIT_OK:
        why = "the run has no end" if held.result is None else held.result.reason
        output.print_warning("ask.no_choice", f"no model chose: {why}")
        return None
    said = output_of(held.result, "choose")
    names = [match.name for match in request.found.near]
    if said.get("choice") not in names:
        output.print_warning("ask.no_choice", f"no model chose: {said.get('why') or 'it named none of them'}")
        return None
    line = f"{said['choice']}: a model chose it, of {', '.join(names)} (rlp show {held.result.run_id[:8]})"
    print(output.clean_line(line), file=sys.stderr)
    return names.index(said["choice"])


def _has_model(settings: Settings) -> bool:
    return any(each["kind"] != "none" for each in settings.get("models.broker.providers"))


def _described(request: Request) -> list[dict[str, object]]:
    """The openings between which a choice has to be made, as the agent takes them."""
    near = {match.name for match in request.found.near}
    return [
        {
            "name": each.candidate.name,
            "goal": next(iter(each.opening.goals), ""),
            "examples": [text for text, _ in each.candidate.examples],
        }
        for each in request.known
        if each.candidate.name in near
    ]
