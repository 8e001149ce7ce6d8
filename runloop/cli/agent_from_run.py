"""`rlp agent test --from-run`: a case from a real run into the agent's own tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.cli.finding import finding
from runloop.errors import InvalidInput, Where

if TYPE_CHECKING:
    from runloop.bundles import Bundle


def write_case(bundle: Bundle, ref: str) -> str:
    """Add the case of ``RUN[:NODE]`` to the cases of the bundle, unless it is there; its name.

    Raises:
        InvalidInput: ``agent.from_run``, ``cases.append``, ``cases.unwritable``; as :func:`finding`.

    """
    from runloop.runs.history import load_run
    from runloop.testing.cases import CASES
    from runloop.testing.from_run import attempt_of, case_document, with_case

    run, node = _split(ref)
    with finding(run) as found:
        if found.archive is not None and found.archive.manifest.redacted is not None:
            message, hint = "the archive was redacted: it does not say what the agent was told", "ask for it without --redact"
            raise InvalidInput(message, code="agent.from_run", where=Where(key="--from-run"), hint=hint)
        recorded = load_run(found.source, found.run_id)
    document = case_document(recorded, attempt_of(recorded, bundle.name, node))
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


def _split(ref: str) -> tuple[str, str | None]:
    """The run and the node of ``RUN[:NODE]``; the ``trace:`` of an id is no run."""
    run, colon, node = ref.rpartition(":")
    return (ref, None) if not colon or run == "trace" else (run, node)
