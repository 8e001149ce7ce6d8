"""What a model call can end in besides an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from runloop.errors import RunloopError, Where

if TYPE_CHECKING:
    from runloop.models.types import Usage

Kind = Literal["invalid", "budget", "timeout", "unavailable"]


class ModelError(RunloopError):
    """A model call failed. ``kind`` is what a guest is told; ``usage`` is what was paid all the same, where anything was."""

    code = "model.failed"

    def __init__(
        self,
        kind: Kind,
        code: str,
        message: str,
        *,
        hint: str = "",
        key: str | None = None,
        retryable: bool = False,
        usage: Usage | None = None,
    ) -> None:
        super().__init__(message, code=code, hint=hint, where=Where(key=key), retryable=retryable)
        self.kind = kind
        self.usage = usage
