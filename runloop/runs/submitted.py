"""The opening of a run, as its submission has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runloop.openings import Opening
    from runloop.runs.sources import RunSource


def opening_of(submitted: Mapping[str, Any]) -> Opening:
    """The opening that a ``run.submitted`` (its meta) holds, with its parameters. Raises OpeningError."""
    from runloop.kb.forgetting import TAKEN_OUT
    from runloop.openings import OpeningError, parse_once
    from runloop.openings.errors import Problem

    said = submitted["opening"]
    if said["source"] == TAKEN_OUT:
        hint = "a run that lost texts can be shown, and not be run again"
        raise OpeningError([Problem("opening.erased", "the text of the opening was erased from the record of the run", hint=hint)])
    return parse_once(said["source"], file=said.get("file"), params=submitted["params"] or None)


def opening_in(source: RunSource, run_id: str) -> Opening:
    """The opening of a run as that run has it, whatever a fork of it has instead. Raises OpeningError."""
    return opening_of(next(map(source.full, source.read_run(run_id))).payload["meta"])
