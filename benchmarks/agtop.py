"""Row 14: agtop's first paint as a process, and its share of a core while 150 runs change four times a second. Prints JSON.

The records come over a real bus only in tests; here they come from a feed in the same process, so that
what is measured is agtop alone: masking, folding, drawing, painting. The screen is a pseudo-terminal of 80×24 and of 200×60.

    python benchmarks/agtop.py [--small] [--runs 5] [--seconds 10] [--changing 150]
"""

from __future__ import annotations

import os
import pty
import resource
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

SIZES = {"80x24": (80, 24), "200x60": (200, 60)}


def spawn(arguments: list[str], size: tuple[int, int], home: str) -> tuple[int, int]:
    """The process and the terminal's other end."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update({"RUNLOOP_HOME": home, "HOME": home, "TERM": "xterm-256color", "COLORTERM": "truecolor"})
        for name in ("XDG_RUNTIME_DIR", "PYTHONDONTWRITEBYTECODE"):  # an installed package is compiled
            os.environ.pop(name, None)
        os.execv(sys.executable, [sys.executable, "-P", *arguments])
    ioctl(terminal, TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
    return pid, terminal


def first_paint(size: tuple[int, int]) -> float:
    """Milliseconds from the start of the process until the bar of views is on the screen."""
    with tempfile.TemporaryDirectory() as home:
        begun = time.perf_counter()
        pid, terminal = spawn(["-m", "runloop.cli.agtop"], size, home)
        seen = b""
        while b"Search" not in seen and time.perf_counter() - begun < 30:
            if select.select([terminal], [], [], 1)[0]:
                seen += os.read(terminal, 65536)
        took = (time.perf_counter() - begun) * 1000
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)
        return took


def bare_python() -> float:
    """Milliseconds of an interpreter that does nothing."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-P", "-c", "pass"], check=True)
    return (time.perf_counter() - begun) * 1000


def busy(size: tuple[int, int], runs: int, seconds: float) -> float:
    """Percent of a core that agtop takes while every run changes four times a second."""
    with tempfile.TemporaryDirectory() as home:
        pid, terminal = spawn([__file__, "--child", str(runs), str(seconds)], size, home)
        seen = b""
        ended = time.perf_counter() + seconds + 60
        while time.perf_counter() < ended:
            try:
                if select.select([terminal], [], [], 1)[0]:
                    seen = (seen + os.read(terminal, 65536))[-4096:]
            except OSError:
                break
        os.waitpid(pid, 0)
        os.close(terminal)
        return float(Path(home, "share").read_text())


def child(runs: int, seconds: float) -> None:
    """Inside the terminal: agtop with a feed that changes every run four times a second."""
    import asyncio

    from runloop.cli import context
    from runloop.cli.agtop import KnowledgeDesk
    from runloop.tui.app import Agtop

    context.begin()
    desk = KnowledgeDesk()

    class Changing:
        mode = "LIVE"

        def now_ms(self) -> int:
            return time.time_ns() // 1_000_000

        async def know(self, run_id: str) -> None: ...

        async def fill(self, board, changed) -> None:
            seqs = dict.fromkeys((f"{number:08x}-0000-4000-8000-000000000000" for number in range(runs)), 0)
            for run_id in seqs:
                begin(board, desk.mask, seqs, run_id, self.now_ms())
            changed()
            await asyncio.sleep(2)  # what the start costs is the other figure
            before, begun = cpu(), time.perf_counter()
            due = begun
            while time.perf_counter() - begun < seconds:
                for run_id in seqs:
                    step(board, desk.mask, seqs, run_id, self.now_ms())
                    changed()
                due += 0.25
                await asyncio.sleep(max(0, due - time.perf_counter()))
            share = 100 * (cpu() - before) / (time.perf_counter() - begun)
            app.exit(share)

    app = Agtop(Changing(), desk)  # type: ignore[arg-type]
    share = app.run()
    Path(os.environ["RUNLOOP_HOME"], "share").write_text(str(share))


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def record(seqs: dict[str, int], run_id: str, kind: str, now_ms: int, meta: dict) -> dict:
    seqs[run_id] += 1
    return {
        "v": 1, "seq": seqs[run_id], "ts_ms": now_ms, "run_id": run_id, "trace_id": f"trace:{run_id}", "opening_id": "opening:x",
        "opening_name": f"opening_{run_id[6:8]}", "parent_run_id": None, "kind": kind, "level": "info", "message": kind, "meta": meta,
        "event_id": seqs[run_id],
    }  # fmt: skip


def begin(board, mask, seqs: dict[str, int], run_id: str, now_ms: int) -> None:
    board.take(mask(record(seqs, run_id, "run.submitted", now_ms, {"params": {}})))
    board.take(mask(record(seqs, run_id, "run.started", now_ms, {})))
    for number in range(6):
        board.take(mask(record(seqs, run_id, "node.started", now_ms, {"node": f"node{number}", "attempt": 1})))


def step(board, mask, seqs: dict[str, int], run_id: str, now_ms: int) -> None:
    """Another call begins, or the one under way ends with its tokens: the row is another one each time."""
    call, asks = divmod(seqs[run_id], 2)
    meta = {"node": "node0", "attempt": 1, "call": call}
    if asks:
        kind, more = "effect.completed", {"tokens_in": 7, "tokens_out": 3, "ms": 5, "result": {"text": "Dear Ada, the pier is repaired."}}
    else:
        kind, more = "effect.requested", {"name": "model.complete", "args": {"prompt": "Write to Ada about the pier."}}
    board.take(mask(record(seqs, run_id, kind, now_ms, {**meta, **more})))


def measured(changing: int, seconds: float) -> dict[str, float]:
    """One round: every figure at both sizes."""
    found = {"bare_python_ms": bare_python()}
    for name, size in SIZES.items():
        found[f"first_paint_{name}_ms"] = first_paint(size)
        found[f"share_{name}_percent"] = busy(size, changing, seconds)
    return found


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        child(int(sys.argv[2]), float(sys.argv[3]))
        return
    from _common import arguments, repeat, report, summary  # the child is started as an installed program, without this directory

    options = arguments(
        __doc__, seconds="how long each share of a core is measured (default 10)", changing="runs that change (default 150)"
    )
    changing = int(options.changing or (10 if options.small else 150))
    seconds = float(options.seconds or (1 if options.small else 10))
    if options.small:
        figures = {name: summary([value]) for name, value in measured(changing, seconds).items()}
    else:
        figures = repeat(lambda: measured(changing, seconds), runs=options.runs)
    facts = {
        "row": 14,
        "rounds": 1 if options.small else options.runs,
        "runs": changing,
        "changes_per_second": changing * 4,
        "load": os.getloadavg()[0],
    }
    report("agtop", figures, "textual", "rich", **facts)


if __name__ == "__main__":
    main()
