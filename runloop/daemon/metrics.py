"""What the daemon measures: counters folded from the records of its runs, gauges read when they are asked for. Unknown is absent."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from runloop.dataclass import dataclass

_MODEL_CALLS = ("model.complete", "model.embed")
_HELP = {
    "agents_running": "Guests in workers, running or waiting.",
    "approvals_open": "Approvals and questions that wait for a person.",
    "bus_connections": "Connections of the bus.",
    "bus_queue_capacity_max": "Capacity of the largest subscription queue.",
    "bus_queued": "Copies of frames in the queues of subscriptions.",
    "bus_queue_depth_max": "Frames in the fullest subscription queue.",
    "cpu_seconds_total": "Processor time of the daemon and its workers.",
    "fds_open": "Open file descriptors of the daemon.",
    "ledger_bytes": "Bytes of the ledger's file and its log.",
    "machine_cpu_pct": "Use of the processors, where it has a threshold.",
    "machine_io_wait_pct": "Time in which somebody waited for the disk, where it has a threshold.",
    "machine_mem_pct": "Use of memory, where it has a threshold.",
    "nodes_at_work": "Nodes that have a turn.",
    "nodes_waiting": "Nodes that wait for a turn.",
    "rss_total_bytes": "Resident memory of the daemon and its workers.",
    "runs_parked": "Runs that wait for a person or a time and are not in memory.",
    "runs_queued": "Runs that wait to begin.",
    "runs_running": "Runs under way.",
    "sqlite_bytes": "Memory of SQLite in the daemon, most of it pages of the ledger and its tables, up to a bound for each connection.",
    "uptime_seconds": "Time since the daemon began.",
    "workers": "Worker processes.",
    "broker_calls_total": "Model calls that ended.",
    "cache_hits_total": "Model calls that the cache answered.",
    "cap_denied_total": "Calls of agents that were refused.",
    "ledger_events_total": "Events in the ledger.",
    "msgs_copies_total": "Copies of frames, one for each subscription that a frame matched; each is delivered, dropped or queued.",
    "msgs_dropped_total": "Copies of frames that were dropped.",
    "msgs_recv_total": "Frames that were published.",
    "msgs_sent_total": "Copies of frames that were delivered.",
    "runs_cancelled_total": "Runs that were cancelled.",
    "runs_failed_total": "Runs that failed.",
    "runs_refused_total": "Submissions refused because the queue was full.",
    "runs_succeeded_total": "Runs that succeeded.",
    "tokens_completion_total": "Tokens of answers.",
    "tokens_prompt_total": "Tokens of prompts.",
    "traces_events_behind": "Events whose spans have not gone out.",
    "traces_spans_dropped_total": "Spans that the receiver refused for good.",
    "traces_spans_sent_total": "Spans that the receiver took.",
    "usd_micros_total": "Known cost of model calls, in millionths of a dollar.",
    "workers_lost_total": "Workers that died or were killed.",
}


@dataclass(slots=True)
class RunCounters:
    """Counts over all runs of this process, from their records."""

    counts: Counter[str] = field(default_factory=Counter)

    def take(self, record: Mapping[str, Any]) -> None:
        """Take one record in."""
        kind = record["kind"]
        if not kind.startswith("effect.") or record["event_id"] is None:
            return
        meta = record["meta"]
        if kind == "effect.requested":
            return
        counts, error = self.counts, meta.get("error")
        if error is not None and error.get("kind") == "denied":
            counts["cap_denied_total"] += 1
        elif meta.get("name") in _MODEL_CALLS:
            counts["broker_calls_total"] += 1
            counts["cache_hits_total"] += bool(meta.get("cached"))
        counts["tokens_prompt_total"] += meta.get("tokens_in", 0)
        counts["tokens_completion_total"] += meta.get("tokens_out", 0)
        counts["usd_micros_total"] += round((meta.get("usd") or 0) * 1_000_000)

    def shown(self) -> dict[str, int]:
        """All counters, those that never counted as 0: nothing was measured is not the case here, nothing happened is."""
        names = ("cap_denied_total", "broker_calls_total", "cache_hits_total", "tokens_prompt_total", "tokens_completion_total")
        return {name: self.counts[name] for name in (*names, "usd_micros_total")}


def labels() -> dict[str, str]:
    """Whose snapshot it is: this machine's."""
    return {"executor_id": socket.gethostname() or "runloopd", "node_id": "host"}


def snapshot(
    scope: str,
    labels: Mapping[str, str],
    now_ms: int,
    interval_ms: int,
    gauges: Mapping[str, float | None],
    counters: Mapping[str, float | None],
) -> dict[str, Any]:
    """The payload of ``observation.metrics.snapshot.v1`` (spec 22), of the ``system`` or an ``agent``; what is None is left out."""
    return {
        "v": 1,
        "scope": scope,
        "ts_ms": now_ms,
        "interval_ms": interval_ms,
        "labels": dict(labels),
        "gauges": {name: value for name, value in sorted(gauges.items()) if value is not None},
        "counters": {name: value for name, value in sorted(counters.items()) if value is not None},
    }


def prometheus(found: Mapping[str, Any], topics: Mapping[str, Mapping[str, Any]] | None = None) -> str:
    """A snapshot, and the counts of topics, in the text form that Prometheus reads."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.registry import Collector

    class Once(Collector):
        def collect(self) -> Any:
            for name, value in found["gauges"].items():
                yield GaugeMetricFamily(f"runloop_{name}", _HELP.get(name, name), value=value)
            for name, value in found["counters"].items():
                yield CounterMetricFamily(f"runloop_{name.removesuffix('_total')}", _HELP.get(name, name), value=value)
            copies = CounterMetricFamily(
                "runloop_topic_copies", "Copies of frames by topic and what became of them.", labels=("topic", "what")
            )
            queued = GaugeMetricFamily("runloop_topic_queued", "Copies that wait, by topic.", labels=("topic",))
            for topic, counts in (topics or {}).items():
                copies.add_metric((topic, "published"), counts["published"])
                copies.add_metric((topic, "delivered"), counts["delivered"])
                for reason, count in counts["dropped"].items():
                    copies.add_metric((topic, f"dropped: {reason}"), count)
                queued.add_metric((topic,), counts["queued"])
            if topics:
                yield from (copies, queued)

    registry = CollectorRegistry()
    registry.register(Once())
    return generate_latest(registry).decode()


def memory_of(pids: list[int]) -> int | None:
    """Resident bytes of processes, as /proc says; None where it cannot say."""
    total, page = 0, os.sysconf("SC_PAGE_SIZE")
    for pid in pids:
        try:
            with open(f"/proc/{pid}/statm", encoding="ascii") as file:  # noqa: PTH123 - read often
                total += int(file.read().split()[1]) * page
        except (OSError, ValueError, IndexError):
            continue  # it ended between the listing and the reading
    return total or None


def cpu_of(pids: list[int]) -> float | None:
    """Processor seconds of processes, user and system."""
    total, tick, seen = 0, os.sysconf("SC_CLK_TCK"), False
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:  # noqa: PTH123
                fields = file.read().rpartition(")")[2].split()
            total, seen = total + int(fields[11]) + int(fields[12]), True
        except (OSError, ValueError, IndexError):
            continue
    return total / tick if seen else None


def ledger_bytes(path: Path) -> int | None:
    """Bytes of a ledger's file and of what is not yet folded into it."""
    found = [each.stat().st_size for each in (path, path.with_name(f"{path.name}-wal")) if each.exists()]
    return sum(found) or None


def open_descriptors() -> int | None:
    """Open descriptors of this process."""
    try:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    except OSError:
        return None
