"""HTTP to the hosts that the policy grants."""

from __future__ import annotations

import json as _json
from dataclasses import dataclass, field
from typing import Any

from runloop_agent._calls import call
from runloop_agent._records import record
from runloop_agent.emit import log

__all__ = ["Headers", "Response", "fetch"]


class Headers(dict[str, str]):
    """The fields of an answer, in small letters, and found by their names in any."""

    def __init__(self, *given: Any, **named: str) -> None:
        super().__init__((name.lower(), value) for name, value in dict(*given, **named).items())

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.lower())

    def get(self, name: str, default: Any = None) -> Any:
        """The field's value, or ``default``."""
        return super().get(name.lower(), default)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer.

    ``url`` is where it came from after redirects; ``encoding`` is "base64" for bytes that are no text;
    ``truncated`` says that ``max_bytes`` cut the body. In a text it is its body.
    """

    status: int
    headers: dict[str, str] = field(default_factory=Headers)
    body: str = ""
    url: str = ""
    encoding: str = "text"
    truncated: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "headers", Headers(self.headers))

    def __str__(self) -> str:
        return self.body

    def json(self) -> Any:
        """Read the body as JSON; ValueError if it is none."""
        return _json.loads(self.body)


def fetch(
    url: str,
    *,
    method: str | None = None,
    headers: dict[str, str] | None = None,
    body: str | None = None,
    timeout_ms: int | None = None,
    max_bytes: int | None = None,
) -> Response:
    """One request; anything but GET and HEAD may need an approval.

    Without ``max_bytes`` a body is cut after 1 MiB, and the log says so.
    """
    request = {"url": url, "method": method, "headers": headers, "body": body, "timeout_ms": timeout_ms, "max_bytes": max_bytes}
    found = record(Response, call("http.fetch", request))
    if found.truncated and max_bytes is None:
        log(f"http.fetch gave only the first MiB of {url[:200]}; max_bytes=8_388_608 is the most that one call gives", "warn")
    return found
