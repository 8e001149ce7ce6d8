"""`agtop --plain`: what happens, as sentences a line each, and commands by name: for screen readers, pipes and slow lines."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import field
from functools import partial
from typing import BinaryIO, Final, TypeVar

from runloop.dataclass import dataclass
from runloop.errors import EXIT_OK, InvalidInput, RunloopError
from runloop.tasks import end_tasks
from runloop.text import clean, clean_line
from runloop.tui.board import Board
from runloop.tui.changing import Change, refused
from runloop.tui.deciding import choices, decide, needs_comment
from runloop.tui.draw_run import crossing_lines
from runloop.tui.draw_runs import asked_lines
from runloop.tui.model import ENDED
from runloop.tui.page import Row
from runloop.tui.ports import Desk, Feed, sought
from runloop.tui.sentences import said
from runloop.tui.views import NAMES, OF_A_RUN, Viewing

Value = TypeVar("Value")
WIDTH: Final = 100
SOON_S: Final = 0.25
"""Between a change and its sentence: what passes at once is not worth one."""
_DRAWN: Final = re.compile("^(?:[│├└ ][─ ][ ])+")
"""The branches before a line of a tree; without them the depth is told by blanks."""
_COMMANDS: Final = (
    ("runs [WORDS]", "the runs, or those that match"),
    ("run ID", "choose a run by the beginning of its id, and show its plan"),
    ("plan, time, ladder, log", "what the chosen run is and does"),
    ("crossing N", "the Nth crossing of the ladder with its content"),
    ("inbox [WORDS]", "what waits for you, or what of that matches"),
    ("show N", "the Nth of it, whole: exactly what would leave"),
    ("answer N WORD", "decide it, after `show N`: yes, no, another word that `show` names, or an answer"),
    ("pause ID|all [REASON]", "let the run, or every one, begin nothing new"),
    ("resume ID|all [REASON]", "let it go on"),
    ("cancel ID [REASON]", "end the run; it does not go on"),
    ("metrics, library", "the daemon"),
    ("search WORDS", "the knowledge base"),
    ("why [THING]", "what made the chosen run, or a thing, what it is"),
    ("hold, go", "say nothing of what happens; say it again"),
    ("quit", "leave; runs go on"),
)


def follow(feed: Feed, desk: Desk, commands: BinaryIO | None, *, run: str | None = None) -> int:
    """Tell what happens until the feed ends or somebody quits; the exit code. ``commands`` None: nobody gives any."""
    return asyncio.run(Plain(feed, desk, run=run).follow(commands))


@dataclass(slots=True)
class Plain:
    """The text mode: tells changes, carries commands out. ``say`` prints one line."""

    feed: Feed
    desk: Desk
    run: str | None = None
    say: Callable[[str], None] = lambda text: print(text, flush=True)  # noqa: T201 - it is what it is for
    board: Board = field(default_factory=Board)
    viewing: Viewing = field(default_factory=lambda: Viewing(ascii_only=True))
    _seen: dict[str, tuple[str, str]] = field(default_factory=dict)
    _asked: set[str] = field(default_factory=set)
    _shown: dict[int, str] = field(default_factory=dict)
    """What was shown under a number: when something has been decided, what comes after it has another one."""
    _link: str = ""
    _missed: bool = False
    _seeking: asyncio.Task[None] | None = None
    _held: bool = False
    _due: asyncio.TimerHandle | None = None
    _begun: bool = False
    _ready: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once something is known: commands wait for that."""

    async def follow(self, commands: BinaryIO | None) -> int:
        """As :func:`follow`."""
        filling = asyncio.create_task(self.feed.fill(self.board, self.changed))
        tasks: list[asyncio.Task[None]] = [filling]
        if commands is not None:
            tasks.append(asyncio.create_task(self._hear(commands)))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            if filling in done and len(tasks) > 1 and sys.stdin.isatty():
                await tasks[1]  # it is all there: somebody may still look about
        finally:
            self.tell()
            await end_tasks(*tasks)
        return EXIT_OK

    # ── telling ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def changed(self) -> None:
        """Something changed: say soon what is new, once for everything that comes until then."""
        self._ready.set()
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(SOON_S, self.tell)

    def tell(self) -> None:
        """Say what is new since the last time."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if self._held:
            return
        board = self.board
        if self.feed.mode != "FILE":  # whose link says that it has ended
            self._tell_link()
        for run in board.runs.values():
            if run.catching_up:
                continue
            now = (run.shown_state, run.waits_for)
            if self._seen.get(run.run_id) != now and (self._begun or self.feed.mode == "FILE" or now[0] not in ENDED):
                waits = f", waits for {now[1]}" if now[1] else f": {run.why}" if run.why else ""
                self.say(clean_line(f"{run.opening} {run.run_id[:8]} {now[0]}{waits}"))
            self._seen[run.run_id] = now
        for approval_id, each in board.approvals.items():
            if approval_id not in self._asked:
                what = each["question"] if each["type"] == "question" else each["action"]
                whom = "waits for you" if self.feed.mode == "LIVE" else "waited for a person"
                self.say(clean_line(f"{whom}: {each['type']} of {each['agent']}: {what}. `inbox` lists it"))
        self._asked = set(board.approvals)
        self._tell_link()
        self._begun = self._begun or bool(board.link or board.runs)
        if self.run is not None and (board.status or self.feed.mode != "LIVE"):
            self._choose(self.run)

    def _tell_link(self) -> None:
        if self.board.link != self._link:
            self._link = self.board.link
            self.say(clean_line(self._link))

    def _choose(self, beginning: str) -> None:
        """Choose the run that was named at the start, as soon as it is there."""
        found = self.board.named(beginning)
        if found:
            self.run, self.viewing.run_id, self.board.looked_at = None, found[0], found[0]
            self.say(f"{self.board.runs[found[0]].opening} {found[0][:8]} is chosen: `plan` says what it does")
        elif not self._missed:
            self._missed = True
            self._seeking = asyncio.get_running_loop().create_task(self._seek(beginning))

    async def _seek(self, beginning: str) -> None:
        """Look for the run to begin with among the older ones."""
        if await sought(self.board, self.feed, beginning):
            self.tell()
        else:
            self.say(clean_line(f"no run begins with {beginning} yet; it is chosen when it comes"))

    def _page(self, view: str) -> None:
        self.viewing.view = view
        for text in said(self.board, self.viewing, self.feed.now_ms()):
            self.say(text)

    def _lines(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.say(row.plain)

    # ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _hear(self, commands: BinaryIO) -> None:
        lines = _lines_of(commands)
        await self._ready.wait()
        self.tell()
        self.say("agtop: type help for the commands")
        while line := await lines.get():
            self.tell()
            try:
                if not await self.command(line.decode("utf-8", "replace").strip()):
                    return
            except RunloopError as error:
                self.say(clean(f"{error.code}: {error.message}. {error.hint}"))
        if not commands.isatty():  # where somebody types, the end is a `quit`
            await asyncio.Event().wait()  # nobody gives commands any more: what happens is told on

    async def command(self, line: str) -> bool:
        """Carry one out; False to leave. Raises RunloopError."""
        word, _, rest = line.partition(" ")
        rest = rest.strip()
        name = word.casefold()
        if name in {"quit", "q", "exit"}:
            return False
        doing: dict[str, Callable[[str], Awaitable[None]]] = {
            "help": self._help, "runs": self._runs, "inbox": self._inbox, "run": self._run, "crossing": self._crossing, "show": self._show,
            "answer": self._answer, "pause": partial(self._change, "pause"), "resume": partial(self._change, "resume"),
            "cancel": partial(self._change, "cancel"), "search": self._search, "why": self._why, "hold": self._hold, "go": self._go,
        }  # fmt: skip
        view = next((each for each in NAMES if each.casefold() == name), None)
        if name in doing:
            await doing[name](rest)
        elif view is not None:
            if view in OF_A_RUN and self.viewing.run_id is None:
                raise InvalidInput("no run is chosen", code="tui.no_run", hint="choose one with `run ID`")
            self._page(view)
        elif name:
            raise InvalidInput(f"there is no command {word!r}", code="tui.command", hint="`help` lists them")
        return True

    async def _help(self, _rest: str) -> None:
        for name, what in _COMMANDS:
            self.say(f"{name}: {what}")

    async def _runs(self, words: str) -> None:
        self.viewing.filters["Runs"] = words
        self._page("Runs")

    async def _inbox(self, words: str) -> None:
        self.viewing.filters["Inbox"] = words
        self._page("Inbox")

    async def _run(self, start: str) -> None:
        self.viewing.run_id = self.board.looked_at = found = await self._named(start)
        await self.feed.know(found)
        self._page("Plan")

    async def _named(self, start: str) -> str:
        found = await sought(self.board, self.feed, start)
        if len(found) != 1:
            raise InvalidInput(f"{len(found) or 'no'} runs begin with {start!r}", code="tui.no_run", hint="`runs` lists them")
        return found[0]

    async def _change(self, verb: str, rest: str) -> None:
        start, _, reason = rest.partition(" ")
        run_id = None if start == "all" and verb != "cancel" else await self._named(start)
        change = Change(verb, run_id, reason.strip() or None)
        if error := refused(change, self.board.runs.get(run_id or "")):
            raise error
        self.say(await self.feed.change(change))

    async def _crossing(self, number: str) -> None:
        run = self.board.runs.get(self.viewing.run_id or "")
        if run is None:
            raise InvalidInput("no run is chosen", code="tui.no_run", hint="choose one with `run ID`")
        self._lines(crossing_lines(_nth(list(run.crossings.values()), number, "crossing", run.gone), WIDTH))

    async def _show(self, number: str) -> None:
        shown = dict(_nth(self.board.waiting(), number, "thing that waits"))
        if shown["type"] == "approval":
            shown["what"] = await self.feed.whole(shown["what"])
        self._lines(asked_lines(shown, WIDTH, drawn=False))
        for word, meaning in choices(shown):
            self.say(clean_line(f"answer {number} {word}: {meaning}"))
        self._shown[int(number)] = shown["approval_id"]

    async def _answer(self, rest: str) -> None:
        number, _, typed = rest.partition(" ")
        shown = _nth(self.board.waiting(), number, "thing that waits")
        if shown["approval_id"] != self._shown.get(int(number)):
            raise InvalidInput(
                "it has not been shown under this number", code="tui.not_shown", hint=f"`show {number}` shows exactly what would leave"
            )
        decision = decide(shown, typed)
        if needs_comment(shown, decision):
            hint = f"`answer {number} {decision.answer} WHAT SHOULD CHANGE`"
            raise InvalidInput("say what should change", code="tui.answer", hint=hint)
        await self.feed.answer(shown["approval_id"], decision)
        self.say("approved" if decision.approved else "answered" if decision.answer is not None else "refused")

    async def _search(self, words: str) -> None:
        hits = await asyncio.to_thread(self.desk.search, words)
        if not hits:
            self.say("nothing found")
        for hit in hits:
            self.say(clean_line(f"{hit.kind} {hit.title} {hit.when}: {hit.excerpt} [{hit.key}]"))

    async def _why(self, thing: str) -> None:
        key = thing or self.viewing.run_id
        if not key:
            raise InvalidInput("why what?", code="tui.no_run", hint="choose a run, or name a thing: `why ada@example.org`")
        for line in await asyncio.to_thread(self.desk.why, key):
            self.say(clean_line(_DRAWN.sub(lambda found: "  " * (len(found[0]) // 3), line)))

    async def _hold(self, _rest: str) -> None:
        self._held = True

    async def _go(self, _rest: str) -> None:
        self._held = False
        self.tell()


def _lines_of(stream: BinaryIO) -> asyncio.Queue[bytes]:
    """The lines of a terminal, a pipe or a file as they come, an empty one at the end; a thread reads, which nobody has to wait for."""
    loop, lines = asyncio.get_running_loop(), asyncio.Queue[bytes]()
    unbuffered = getattr(stream, "raw", stream)  # a buffer is locked while it is read, and the process ends in an abort by that

    def read() -> None:
        line = b"-"
        while line:
            try:
                line = unbuffered.readline()
            except (OSError, ValueError):  # it was closed, or its terminal is gone
                line = b""
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(lines.put_nowait, line)

    threading.Thread(target=read, name="agtop-commands", daemon=True).start()
    return lines


def _nth(values: Sequence[Value], number: str, what: str, gone: int = 0) -> Value:
    """The value of that number, where the first is number ``gone`` + 1."""
    if not number.isdecimal() or not 1 <= int(number) - gone <= len(values):
        hint = f"use a number from {gone + 1} to {gone + len(values)}" if values else "there is none"
        raise InvalidInput(f"there is no {what} {number}".rstrip(), code="tui.command", hint=hint)
    return values[int(number) - gone - 1]
