"""Tracebacks as an author wants them: their own files and lines, without the frames of the guest."""

import traceback

_DETAIL_LIMIT = 32_768


def _ours(filename: str) -> bool:
    return "/runloop_guest/" in filename or "/runloop_agent/" in filename or filename.endswith("/runloop_guest_main.py")


def _strip(error: traceback.TracebackException, seen: set[int]) -> None:
    if id(error) in seen:
        return
    seen.add(id(error))
    error.stack[:] = [frame for frame in error.stack if not _ours(frame.filename) and not frame.filename.startswith("<frozen importlib")]
    for linked in (error.__cause__, error.__context__, *(error.exceptions or ())):
        if linked is not None:
            _strip(linked, seen)


def describe(error: BaseException) -> tuple[str, str]:
    """One line, and the whole traceback (cut in the middle beyond 32 KiB)."""
    told = traceback.TracebackException.from_exception(error, compact=True)
    _strip(told, set())
    text = "".join(told.format())
    if len(text) > _DETAIL_LIMIT:
        half = _DETAIL_LIMIT // 2
        text = f"{text[:half]}\n  [… {len(text) - _DETAIL_LIMIT} characters left out …]\n{text[-half:]}"
    # The place of a syntax error comes before its name, notes come after it; both are indented or whole lines of their own.
    named = (line.strip() for line in told.format_exception_only() if not line.startswith(" "))
    return next((line.splitlines()[0][:500] for line in named if line), type(error).__name__), text
