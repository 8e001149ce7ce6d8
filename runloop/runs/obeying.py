"""What the settings say of runs: their limits, their rules, how many work at a time, and what belongs to Runloop itself."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING

from runloop.config.paths import SYSTEM_CONFIG
from runloop.openings.budget import least
from runloop.runs.grants import FILE as GRANTS
from runloop.runs.services import RunRules
from runloop.sandbox.spec import MIB, Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from runloop.bundles import Bundle
    from runloop.bundles.manifest import Limits as BundleLimits
    from runloop.config import Settings
    from runloop.runs.pressure import Pressure
    from runloop.runs.turns import Limit
    from runloop.sandbox import WorkerPool

_MOST_BEYOND = 64
"""So many runs may begin a node beside those that the workers take, where these take long."""


def limits_from(settings: Settings) -> Callable[[Bundle], Limits]:
    """The limits of an agent: its manifest's, never above the configured ones."""
    memory, wall = settings.get("sandbox.memory_mb") * MIB, settings.get("sandbox.wall_ms")
    output, hostcalls, fuel = (settings.get(f"sandbox.{name}") for name in ("output_bytes", "hostcalls", "fuel"))

    @lru_cache(256)
    def capped(own: BundleLimits) -> Limits:
        return Limits(
            memory_bytes=least(own.memory_bytes, memory) or memory,
            wall_ms=least(own.wall_ms, wall) or wall,
            fuel=least(own.fuel, fuel),
            output_bytes=least(own.output_bytes, output) or output,
            hostcalls=hostcalls if own.hostcalls is None else min(own.hostcalls, hostcalls),
        )

    return lambda bundle: capped(bundle.limits)


def rules_from(settings: Settings) -> RunRules:
    """What the settings and hard limits say about every run."""
    usd = settings.get("policy.max_usd")
    in_advance = settings.get("security.approve_in_advance")
    return RunRules(
        confirm_external_actions=settings.get("security.confirm_external_actions"),
        audit_on_deny=settings.get("security.caps.audit_on_deny"),
        audit_on_allow=settings.get("security.caps.audit_on_allow"),
        max_parallel=settings.get("runtime.max_nodes_per_run"),
        max_tokens=settings.get("policy.max_tokens"),
        max_usd_micros=None if usd is None else round(usd * 1_000_000),
        denied_actions=frozenset(settings.get("policy.deny_actions")),
        approve_in_advance=None if in_advance is None else frozenset(in_advance),
        evict_after_ms=settings.get("runtime.evict_after_ms"),
        park_after_ms=settings.get("runtime.park_after_ms"),
    )


def protected_paths(settings: Settings) -> tuple[str, ...]:
    """What belongs to Runloop itself, as named and as resolved: no policy file can grant an agent access to it."""
    directories, state = settings.directories, settings.base.state
    own = [
        *(directories.pog, directories.agents, directories.openings, directories.token, directories.outbox, directories.cache),
        *(
            state / name
            for name in (
                "secrets",
                "keys",
                "policy-overrides",
                "config.yaml",
                "sock",
                "backups",
                "log",
                "router.hints",
                "router.hints.d",
                GRANTS,
            )
        ),
        settings.get("security.secrets.root"),
        *settings.base.user_files,
        SYSTEM_CONFIG,
    ]
    return tuple(dict.fromkeys(spelled for path in own for spelled in (str(path), os.path.realpath(path))))


def node_limits(settings: Settings, pool: WorkerPool, pressure: Pressure) -> tuple[Limit, int, Callable[[], int]]:
    """How many nodes may work at a time over all runs, and of one run; how many more, where others' take long."""
    most = settings.get("runtime.max_agents")
    return (
        lambda: pressure.held(most or pool.places),
        settings.get("runtime.max_nodes_per_run"),
        lambda: 0 if most or pressure.over else _MOST_BEYOND,
    )


def model_limits(settings: Settings) -> tuple[int, int]:
    """How many model calls may be under way over all runs, and of one run."""
    return settings.get("models.broker.max_calls"), settings.get("models.broker.max_calls_per_run")
