"""What the daemon refuses, and why."""

from __future__ import annotations

from typing import Any

from runloop.errors import Denied, InvalidInput, Unavailable


class DaemonBusy(Unavailable):
    """As many runs are queued as may be; ``retry_after_ms`` is when to try again."""

    code = "daemon.busy"

    def __init__(self, message: str, *, retry_after_ms: int, hint: str = "") -> None:
        super().__init__(message, hint=hint or f"try again in {retry_after_ms} ms, or raise runtime.max_queued_runs")
        self.retry_after_ms = retry_after_ms

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, with the time to wait."""
        return {**super().to_dict(), "retry_after_ms": self.retry_after_ms}


class DaemonDraining(Unavailable):
    """The daemon is stopping: it takes no new runs, and takes up none that wait."""

    code = "daemon.draining"


class RequestReused(InvalidInput):
    """A request id stands for another submission."""

    code = "run.request_reused"


class NeedsOperator(Denied):
    """The verb needs the operator role."""

    code = "daemon.needs_operator"
