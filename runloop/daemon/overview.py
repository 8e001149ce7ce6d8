"""How a daemon is: what `rlp status` shows, and the snapshot of its metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runloop import __version__
from runloop.daemon import metrics
from runloop.daemon.library import Problem
from runloop.kb import database
from runloop.runs.clock import clock_ms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runloop.daemon.app import Daemon

_TOPICS = 100
"""Topics that are shown one by one."""


def status(daemon: Daemon) -> dict[str, Any]:
    """What `rlp status` shows."""
    turns, hosting = daemon.session.manager.services.turns, daemon.hosting
    roster = hosting.roster
    problems = [problem.shown() for problem in daemon.library.problems()]
    reloading = daemon.reloading
    if reloading.config_error is not None:
        problems.append(Problem("config", "configuration", *reloading.config_error, kept=True).shown())
    if reloading.log_error is not None:
        problems.append(Problem("log", str(daemon.settings.get("logging.file")), *reloading.log_error, kept=None).shown())
    daemon.reachable.look_at_ledger()
    problems += [problem.shown() for problem in daemon.reachable.problems.values()]
    if daemon.traces.problem is not None:
        problems.append(daemon.traces.problem.shown())
    stats = daemon.bus.stats()
    return {
        "state": daemon.state,
        "version": __version__,
        "pid": daemon.pid,
        "socket": str(daemon.bus.path),
        "socket_made_again_ms": daemon.reachable.made_again_ms,
        "started_ms": daemon.started_ms,
        "uptime_ms": daemon.uptime_ms,
        "mode": "system" if daemon.options.system else "user",
        "runs": {
            "running": hosting.running,
            "queued": len(roster.queue),
            "parked": len(roster.parking.stubs),
            "max_runs": hosting.max_runs,
            **hosting.finished,
        },
        "nodes": {"at_work": turns.at_work, "waiting": turns.waiting + daemon.session.pool.in_line, "limit": turns.limit},
        "pressure": list(daemon.session.pressure.over),
        "approvals_open": daemon.people.open_count,
        "workers": dict(daemon.session.pool.health),
        "guest": "preparing" if daemon.session.pool.prepares_python else daemon.guest,
        "library": daemon.library.counts,
        "problems": problems,
        "needs_restart": list(daemon.reloading.needs_restart),
        "native_agents": sorted(session.agent for session in daemon.bus.broker.sessions.values() if session.agent),
        "bus": {"connections": stats.connections, "subscriptions": stats.subscriptions, "queued_bytes": stats.queued_bytes},
        "kb": str(daemon.kb.root),
    }


def kind_of(problem: Mapping[str, Any]) -> dict[str, Any]:
    """Of a problem what everybody may know: its code. Names of files and what is wrong with them say what people wrote there."""
    error = {"code": problem["error"]["code"], "message": "operators are told what it is", "where": {}, "hint": "", "retryable": False}
    return {**problem, "name": "", "error": error}


def runs_of(daemon: Daemon) -> dict[str, Any]:
    """The runs under way, and those that could not be taken up and why: their ids and openings say what somebody does."""
    roster = daemon.hosting.roster
    return {"active": roster.listing()[:100], "left": roster.not_taken_up()[:100]}


def snapshot(daemon: Daemon) -> dict[str, Any]:
    """The metrics now."""
    pool, hosting, stats = daemon.session.pool, daemon.hosting, daemon.bus.stats()
    pids = [daemon.pid, *pool.pids]
    turns, health, total = daemon.session.manager.services.turns, pool.health, stats.total
    gauges = {
        "agents_running": pool.live,
        "approvals_open": daemon.people.open_count,
        "bus_connections": stats.connections,
        "bus_queue_depth_max": stats.queue_depth_max,
        "bus_queued": stats.queued_frames,
        "bus_queue_capacity_max": stats.queue_capacity_max,
        "fds_open": metrics.open_descriptors(),
        "ledger_bytes": metrics.ledger_bytes(daemon.kb.ledger.path),
        "nodes_at_work": turns.at_work,
        "nodes_waiting": turns.waiting + pool.in_line,
        "rss_total_bytes": metrics.memory_of(pids),
        "runs_parked": len(hosting.roster.parking.stubs),
        "runs_queued": len(hosting.roster.queue),
        "runs_running": hosting.running,
        "sqlite_bytes": database.memory(),
        "uptime_seconds": daemon.uptime_ms / 1000,
        "workers": health["workers"],
    }
    counters = {
        **daemon.counters.shown(),
        "cpu_seconds_total": metrics.cpu_of(pids),
        "ledger_events_total": daemon.kb.ledger.head().id,
        "msgs_copies_total": total.published,
        "msgs_recv_total": total.frames,
        "msgs_sent_total": total.delivered,
        "msgs_dropped_total": sum(total.dropped.values()),
        "runs_refused_total": daemon.submitting.refused,
        "workers_lost_total": health["lost_total"],
        **{f"runs_{status}_total": count for status, count in hosting.finished.items()},
    }
    gauges |= {f"machine_{name}": value for name, value in daemon.session.pressure.now.items()}
    if daemon.traces.enabled:
        gauges["traces_events_behind"] = daemon.traces.behind
        counters |= {"traces_spans_sent_total": daemon.traces.sent, "traces_spans_dropped_total": daemon.traces.dropped}
    interval_ms = daemon.settings.get("observability.metrics_interval_ms")
    return metrics.snapshot("system", metrics.labels(), clock_ms(), interval_ms, gauges, counters)


def topics(daemon: Daemon) -> dict[str, dict[str, Any]]:
    """What became of the copies of frames, by topic: published = delivered + dropped + queued, at the instant of the look."""
    return {name: counts.to_dict() for name, counts in daemon.bus.stats().by_topic(_TOPICS).items()}
