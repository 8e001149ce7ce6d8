"""The exit codes of `rlp`, for `rlp help exit-codes`, the manual and the documentation."""

from __future__ import annotations

from runloop import errors

EXITS: tuple[tuple[int, str], ...] = (
    (errors.EXIT_OK, "done, success"),
    (errors.EXIT_FAILED, "the run or the work failed"),
    (errors.EXIT_INVALID, "invalid input: usage, parameters, opening, configuration"),
    (errors.EXIT_UNAVAILABLE, "something needed is unavailable, busy or not ready"),
    (errors.EXIT_DENIED, "denied by policy, or an approval was needed and nobody was there"),
    (errors.EXIT_VERIFICATION, "divergence, or a verification failed"),
    (10, "`rlp route`: the line is for the shell"),
    (11, "`rlp route`: the line is for an agent"),
    (12, "`rlp route`: there was no decision in time"),
    (13, "`rlp route`: the person is to be asked"),
    (14, "`rlp route`: the line must not be run"),
    (errors.EXIT_INTERRUPTED, "interrupted"),
    (errors.EXIT_PIPE_CLOSED, "whoever read the output has closed it, as `head` does"),
)


def text() -> str:
    """The table for people."""
    return "\n".join(["Exit codes of rlp:", "", *(f"  {code:>3}  {meaning}" for code, meaning in EXITS)])
