"""What a subscriber that never reads costs the others: the same messages beside one and without, in turn, at one server.

Ratios of pairs that were measured one after the other: of the server's processor time for a message, of the messages a second, of the
latency at 10,000 messages a second. On a shared machine only the first says much; its goal is at most 1.05.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from _common import arguments, report, summary
from bus import Process, measure

CASES = {"flat out, 256 B": {"count": 100_000}, "10k messages/s, 256 B": {"count": 20_000, "per_ms": 10}}
WANTED = ("server_cpu_us_per_msg", "msgs_per_s", "p50_us")


def main() -> None:
    """Measure pairs, each time in the other order."""
    options = arguments(__doc__ or "")
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        address = str(Path(folder) / "bus" / "rmp.sock")
        server = Process("serve", address)
        try:
            for name, case in CASES.items():
                given = {**case, "count": case["count"] // 50} if options.small else case
                pairs = []
                for pair in range(1 if options.small else 2 * options.runs):
                    rows = {}
                    for stalled in (0, 1) if pair % 2 else (1, 0):
                        rows[stalled] = measure("runloop", address, server.process.pid, stalled=stalled, **given)
                    pairs.append(rows)
                figures[name] = {
                    "beside a stalled one": {key: summary([rows[1][key] for rows in pairs]) for key in WANTED},
                    "without": {key: summary([rows[0][key] for rows in pairs]) for key in WANTED},
                    "ratio": {key: summary([rows[1][key] / rows[0][key] for rows in pairs]) for key in WANTED},
                }
        finally:
            server.end()
    report("bus_stall", figures, "msgpack", "msgspec", goal="ratio of the server's processor time <= 1.05")


if __name__ == "__main__":
    main()
