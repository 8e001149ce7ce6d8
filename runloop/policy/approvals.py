"""What a person's approval covers afterwards."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from runloop.dataclass import dataclass

if TYPE_CHECKING:
    from runloop.policy.admission import AdmissionRequest


class Scope(StrEnum):
    """How far one approval reaches, from least to most."""

    ONCE = "once"
    RUN = "run"
    OPENING = "opening"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class Grant:
    """An approval as it was given: the scope, and the facts of the request that it was given for.

    ``agent`` and ``opening`` are digests, so that an approval ends when the code or the opening changes. ``targets`` are the
    exact recipients, path, URL host or command; ``content_hash`` is of exactly what was shown; ``crossing`` is the idempotency key.
    """

    scope: Scope
    action: str
    agent: str
    targets: frozenset[str] = frozenset()
    opening: str = ""
    run_id: str = ""
    crossing: str = ""
    content_hash: str = ""

    @classmethod
    def for_request(cls, request: AdmissionRequest, scope: Scope) -> Grant:
        """Return the grant that a person gives by approving ``request`` with ``scope``."""
        return cls(
            scope=Scope(scope),
            action=request.action,
            agent=request.agent,
            targets=request.targets,
            opening=request.opening.digest,
            run_id=request.run_id,
            crossing=request.crossing,
            content_hash=request.content_hash,
        )


def covers(grant: Grant, request: AdmissionRequest) -> bool:
    """Whether ``grant`` answers for ``request``; unknown facts (empty strings, no targets) never match.

    ``once`` is that very crossing with that very content, so a changed message asks again. The wider scopes hold for the same
    agent, the same action and no target beyond those approved. Destructive requests are never covered by ``always``; tainted
    content that leaves the machine is covered only by ``once``, because each such departure is a person's decision.
    """
    if (grant.action, grant.agent) != (request.action, request.agent) or not request.agent:
        return False
    if grant.scope is Scope.ONCE:
        pairs = ((grant.run_id, request.run_id), (grant.crossing, request.crossing), (grant.content_hash, request.content_hash))
        return all(_same(given, asked) for given, asked in pairs)
    if request.tainted_departure or not request.targets or not request.targets <= grant.targets:
        return False
    if grant.scope is Scope.RUN:
        return _same(grant.run_id, request.run_id)
    if grant.scope is Scope.OPENING:
        return _same(grant.opening, request.opening.digest)
    return not request.destructive


def _same(granted: str, asked: str) -> bool:
    return bool(asked) and granted == asked
