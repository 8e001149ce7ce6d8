"""`rlp agent test --from-run`: a case from a real run into the agent's own tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.cli.finding import finding
from runloop.errors import InvalidInput, Where

if TYPE_CHECKING:
    from runloop.bundles import Bundle
    from runloop.runs.history import RecordedAttempt, RecordedRun
    from runloop.runs.sources import RunSource


def write_case(bundle: Bundle, ref: str) -> str:
    """Add the case of ``RUN[:NODE]`` to the cases of the bundle, unless it is there; its name.

    Raises:
        InvalidInput: ``agent.from_run``, ``cases.append``, ``cases.unwritable``; as :func:`finding`.

    """
    from runloop.runs.submitted import opening_in
    from runloop.testing.cases import CASES
    from runloop.testing.from_run import case_document, with_case

    run, node = _split(ref)
    with finding(run) as found:
        if found.archive is not None and found.archive.manifest.redacted is not None:
            message, hint = "the archive was redacted: it does not say what the agent was told", "ask for it without --redact"
            raise InvalidInput(message, code="agent.from_run", where=Where(key="--from-run"), hint=hint)
        recorded, attempt = _attempt(found.source, found.run_id, bundle.name, node)
        if recorded.lost & {"", attempt.node}:
            message, hint = f"texts of {attempt.node} were erased: nobody knows what the agent was told", "name another run"
            raise InvalidInput(message, code="agent.from_run", where=Where(key="--from-run"), hint=hint)
        opening = opening_in(found.source, attempt.ended_in or recorded.run_id)
    document = case_document(recorded, attempt, opening)
    place = bundle.root / CASES
    content = bundle.files.get(CASES)
    text = with_case(None if content is None else content.decode("utf-8", "replace"), document, file=str(place))
    if text is not None:
        try:
            place.parent.mkdir(exist_ok=True)
            place.write_text(text, "utf-8")
        except OSError as error:
            message = f"the case cannot be written: {error.strerror}"
            hint = "copy the agent into a directory of your own and name that directory"
            raise InvalidInput(message, code="cases.unwritable", where=Where(file=str(place)), hint=hint) from None
    name: str = document["name"]
    return name


def _attempt(source: RunSource, run_id: str, agent: str, node: str | None) -> tuple[RecordedRun, RecordedAttempt]:
    """The run and the attempt that is meant. Raises InvalidInput ``agent.from_run``, which names the child runs that have one."""
    from runloop.runs.family import family
    from runloop.testing.from_run import attempt_of

    run, *below = (each.run for each in family(source, run_id))
    try:
        return run, attempt_of(run, agent, node)
    except InvalidInput as error:
        has = [each.run_id[:8] for each in below if any(attempt.agent.get("name") == agent for attempt in each.attempts)]
        if not has or any(attempt.agent.get("name") == agent for attempt in run.attempts):
            raise
        hint = f"a child run has it, name that one: --from-run {has[0]}" + (f", or {', '.join(has[1:5])}" if has[1:] else "")
        raise InvalidInput(error.message, code=error.code, where=error.where, hint=hint) from None


def _split(ref: str) -> tuple[str, str | None]:
    """The run and the node of ``RUN[:NODE]``; the ``trace:`` of an id is no run."""
    run, colon, node = ref.rpartition(":")
    return (ref, None) if not colon or run == "trace" else (run, node)
