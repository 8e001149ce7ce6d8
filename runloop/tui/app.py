"""The screen of agtop: one page at a time, painted at most four times a second, and only when something changed."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.filter import Monochrome, NoColor

from runloop.errors import EXIT_INTERRUPTED, RunloopError
from runloop.text import clean
from runloop.tui import sheets
from runloop.tui.bars import Hints, Prompt, Status, Tabs
from runloop.tui.board import SORTS, Board
from runloop.tui.changing import MEANS, Change, refused
from runloop.tui.deciding import Decision
from runloop.tui.dialogs import Changing, Over, Sheet, failure
from runloop.tui.draw_runs import SORT_OF, change_lines
from runloop.tui.panel import Panel
from runloop.tui.ports import sought
from runloop.tui.signs import Signs
from runloop.tui.themes import NAMES as THEME_NAMES
from runloop.tui.themes import THEMES
from runloop.tui.views import FILTERED, NAMES, OF_A_RUN, Viewing, news, page_of, status_text

if TYPE_CHECKING:
    from textual import events
    from textual.app import ComposeResult
    from textual.screen import Screen
    from textual.widgets import Input

    from runloop.tui.ports import Desk, Feed

FRAME_S: Final = 0.25
"""Between two paints of what records change; what a person does is painted at once."""
TICK_S: Final = 1.0
"""How often times that run are painted while something runs."""
_ENDING: Final = (signal.SIGTERM, signal.SIGHUP)
_ERROR_S: Final = 8
"""How long it is told that something a person wanted failed."""


class Agtop(App[RunloopError | None]):
    """The application. It returns the error that ended it, or None."""

    TITLE = "agtop"
    ENABLE_COMMAND_PALETTE = True
    NOTIFICATION_TIMEOUT = 2
    CSS = """
    Screen { layers: base; }
    #tabs, #status, #hints { height: 1; }
    #status { background: $panel; }
    #hints { color: $text-muted; }
    #prompt { display: none; height: 1; border: none; padding: 0 1; background: $panel; }
    #prompt.-open { display: block; }
    ToastRack { margin-bottom: 2; }
    CommandPalette:nocolor CommandList > .option-list--option-highlighted { text-style: underline; }
    """
    BINDINGS: ClassVar = [
        Binding("q", "quit", "Leave"),
        Binding("ctrl+c", "quit", "Leave", priority=True),  # from a sheet and a line that is typed too
        Binding("tab", "next(1)", "Next view", priority=True),
        Binding("shift+tab", "next(-1)", "View before", priority=True),
        *(Binding(str(number), f"go('{name}')", name, show=False) for number, name in enumerate(NAMES, start=1)),
        Binding("question_mark", "help", "Help"),
        Binding("slash", "prompt", "Filter"),
        Binding("full_stop", "pause", "Hold"),
        Binding("exclamation_mark", "clear", "Clear"),
        Binding("s", "sort(1)", "Order"),
        Binding("S", "reverse", "Reverse"),
        Binding("g", "jump", "Jump"),
        Binding("a", "asked", "Approval"),
        Binding("p", "change('pause')", "Pause the run"),
        Binding("r", "change('resume')", "Resume the run"),
        Binding("x", "change('cancel')", "Cancel the run"),
        Binding("P", "change_all('pause')", "Pause every run"),
        Binding("R", "change_all('resume')", "Resume every run"),
        Binding("w", "why", "Why"),
        Binding("c", "copy", "Copy"),
        Binding("t", "theme", "Theme"),
        Binding("escape", "back", "Back"),
        Binding("ctrl+z", "suspend_process", "Leave for a while", priority=True),
    ]

    def __init__(
        self, feed: Feed, desk: Desk, *, theme: str = "mono", ascii_only: bool = False, encoding: str = "utf-8", run: str | None = None
    ) -> None:
        super().__init__()
        if self.no_color:  # none at all: greys on black of Textual's are colours to a terminal that is light
            self._filters = [NoColor() if isinstance(each, Monochrome) else each for each in self._filters]
        for each in THEMES:
            self.register_theme(each)
        self.theme = theme
        self.feed, self.desk, self.board = feed, desk, Board()
        self.viewing = Viewing(ascii_only=ascii_only)
        self.signs = Signs(encoding) if ascii_only else None
        self._filters += [] if self.signs is None else [self.signs]
        self.paused = False
        self._begin_with, self._missed = run, False
        self._due: Any = None
        self._last = -FRAME_S

    def compose(self) -> ComposeResult:
        """Views, status, hints."""
        self._tabs, self._body = Tabs(id="tabs", markup=False), Panel(id="body")
        self._line, self._status = Prompt(id="prompt"), Status(id="status", markup=False)
        self._hints = Hints(id="hints", markup=False)
        yield from (self._tabs, self._body, self._line, self._status, self._hints)

    def on_mount(self) -> None:
        """Begin."""
        self._body.focus()
        self.paint(anew=True)
        self.call_after_refresh(self._begin)  # the first screen is there before a connection is
        if self.feed.mode == "LIVE":
            self.set_interval(TICK_S, self._tick)
        self.app_resume_signal.subscribe(self, lambda _: self.refresh(layout=True))
        for number in _ENDING:  # with the terminal as it was
            asyncio.get_running_loop().add_signal_handler(number, self.exit, None, EXIT_INTERRUPTED)

    def on_unmount(self) -> None:
        """End."""
        for number in _ENDING:
            asyncio.get_running_loop().remove_signal_handler(number)

    def _begin(self) -> None:
        self.run_worker(self._fill(), exclusive=True, exit_on_error=True)

    async def _fill(self) -> None:
        try:
            await self.feed.fill(self.board, self.changed)
        except RunloopError as error:
            self.exit(error)

    def _fatal_error(self) -> None:
        """What broke, without the values that it held: they are what people wrote, and a token."""
        from rich.traceback import Traceback

        self.panic(Traceback(show_locals=False, width=None))

    # ── painting ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def changed(self) -> None:
        """Something changed: paint soon, once for everything that comes until then."""
        if self._due is None:
            loop = asyncio.get_running_loop()  # a timer of Textual's is left out where it comes late
            self._due = loop.call_at(self._last + FRAME_S, self.call_next, self._paint_due)

    def _clock(self) -> float:
        return asyncio.get_running_loop().time()

    def _paint_due(self) -> None:
        self._due = None
        if self.paused:
            self._paint_bars()
            return
        if self._begin_with is not None:
            found = self.board.named(self._begin_with)
            if found:
                self._begin_with = None
                self._open(found[0])
                return
            if not self._missed and (self.board.status or self.feed.mode != "LIVE"):
                self._missed = True
                self.run_worker(self._seek(self._begin_with), exit_on_error=False)
        self.paint()

    async def _seek(self, beginning: str) -> None:
        """Look for the run to begin with among the older ones."""
        if not await sought(self.board, self.feed, beginning):
            self.notify(f"no run begins with {beginning} yet; it is shown when it comes", severity="warning")
        self.changed()

    def _tick(self) -> None:
        """Times run on where something runs."""
        if self.board.active() or self.board.approvals or self.board.silent_ms(self.feed.now_ms()) is not None:
            self.changed()

    def paint(self, *, anew: bool = False) -> None:
        """Paint the view that is looked at."""
        body = self._body
        if not body.is_attached:
            return  # it is being closed
        self._last = self._clock()
        width = max(20, body.size.width or self.size.width) - 1
        body.show(page_of(self.board, self.viewing, width, self.feed.now_ms()), anew=anew)
        self._paint_bars()

    def _paint_bars(self) -> None:
        width = self.size.width
        pieces = status_text(self.board, self.viewing, self.feed.mode, width, self.feed.now_ms(), paused=self.paused)
        bars = (pieces, self.viewing.view, len(self.board.approvals), self.theme, width)
        if bars != getattr(self, "_bars", None):
            self._bars = bars
            self._status.draw(pieces, self.theme)
            self._tabs.draw(self.viewing.view, len(self.board.approvals), self.theme, width)
            self._hints.draw(width)
        over = self.screen
        if isinstance(over, Over):
            told = news(self.board, self.feed.now_ms(), run_id=over.run_id, seen=over.seen, decides=over.decides)
            over.tell_news(told)

    def _open_over(self, over: Over[Any]) -> None:
        run = self.board.runs.get(over.run_id or "")
        over.seen = "" if run is None else run.state
        self.push_screen(over)

    def on_panel_resized(self) -> None:
        """Make the page anew."""
        self.paint()

    def watch_theme(self, theme: str) -> None:
        """Paint all of it in the new colours."""
        if self.is_running:
            self._body.refresh()
            self.paint()

    # ── going about ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def action_go(self, name: str) -> None:
        """Show a view."""
        chosen = self._chosen_run()
        if name in OF_A_RUN and chosen is not None and chosen != self.viewing.run_id:
            self._look_at(chosen)
        self._show(name)

    def _open(self, run_id: str) -> None:
        """Show the plan of a run, whichever is chosen in the list."""
        self._look_at(run_id)
        self._show("Plan")

    def _show(self, name: str) -> None:
        body = self._body
        self.viewing.view = name
        self.paint(anew=True)
        if name == "Runs" and self.viewing.run_id is not None:
            body.select(self.viewing.run_id)
        if name == "Search" and not self.viewing.searched:
            self._line.open("search", "")

    def action_next(self, by: int) -> None:
        """The next view; in the line that is being typed it changes nothing."""
        if len(self.screen_stack) == 1 and not self._line.kind:
            self.action_go(NAMES[(NAMES.index(self.viewing.view) + by) % len(NAMES)])

    async def action_back(self) -> None:
        """To the runs."""
        if self._line.kind:
            self._close(clear=True)
        elif self.viewing.view != "Runs":
            self.action_go("Runs")

    def _chosen_run(self) -> str | None:
        """The run that is chosen in Runs or asks in Inbox; elsewhere the one that was looked at last."""
        key = self._body.key
        if self.viewing.view == "Inbox" and key is not None:
            return str(self.board.approvals[key]["run_id"]) if key in self.board.approvals else None
        return key if self.viewing.view == "Runs" else self.viewing.run_id

    def _look_at(self, run_id: str) -> None:
        self.viewing.run_id = self.board.looked_at = run_id
        self.run_worker(self._know(run_id), group="know", exit_on_error=False)

    async def _know(self, run_id: str) -> None:
        try:
            await self.feed.know(run_id)
        except RunloopError as error:
            self.notify(f"{error.code}: {error.message}", severity="warning")
        self.changed()

    async def on_panel_chosen(self, event: Panel.Chosen) -> None:
        """Open it."""
        view = self.viewing.view
        if view == "Runs":
            self._open(event.key)
        elif view == "Plan":
            self.viewing.filters["Ladder"] = event.key
            self.action_go("Ladder")
        elif view == "Inbox":
            self._show_asked(event.key)
        elif view == "Ladder" and self.viewing.run_id is not None:
            crossing = self.board.runs[self.viewing.run_id].crossings.get(event.key)
            if crossing is not None:  # it may have gone since it was painted
                self._open_over(await sheets.crossing(self.feed, self.viewing.run_id, crossing))
        elif view == "Search":
            await self._show_why(event.key)

    def on_panel_heading(self, event: Panel.Heading) -> None:
        """Order by the column, and the other way round when clicked again."""
        sort = SORT_OF.get(event.name)
        if self.viewing.view == "Runs" and sort is not None:
            self.viewing.reverse = not self.viewing.reverse if self.viewing.sort == sort else False
            self.viewing.sort = sort
            self.paint()

    def action_sort(self, by: int) -> None:
        """The next order."""
        self.viewing.sort = SORTS[(SORTS.index(self.viewing.sort) + by) % len(SORTS)]
        self.paint()

    def action_reverse(self) -> None:
        """The other way round."""
        self.viewing.reverse = not self.viewing.reverse
        self.paint()

    def action_pause(self) -> None:
        """Hold the view, or let it go on."""
        self.paused = not self.paused
        if self.paused:
            self._paint_bars()
        else:
            self.paint()

    def action_clear(self) -> None:
        """Clear the log's view."""
        run = self.board.runs.get(self.viewing.run_id or "")
        if self.viewing.view == "Log" and run is not None:
            self.viewing.cleared[run.run_id] = run.seq
            self.paint(anew=True)

    def action_theme(self) -> None:
        """The next theme."""
        at = THEME_NAMES.index(self.theme) if self.theme in THEME_NAMES else -1
        self.theme = THEME_NAMES[(at + 1) % len(THEME_NAMES)]

    # ── the line that is typed ───────────────────────────────────────────────────────────────────────────────────────────

    def on_key(self, event: events.Key) -> None:
        """Letters that were typed before the line had the focus are for the line, and no keys of the view."""
        if self._line.kind and event.is_printable and event.character is not None and len(self.screen_stack) == 1:
            event.prevent_default()
            self._line.insert_text_at_cursor(event.character)

    def action_prompt(self) -> None:
        """Search where that is looked at; filter where there is something to filter."""
        view = self.viewing.view
        if view == "Search":
            self._line.open("search", self.viewing.searched)
        elif view in FILTERED:
            self._line.open("runs" if view == "Runs" else "filter", self.viewing.words)
        else:
            self.notify("nothing is filtered here: Runs, Ladder, Log and Inbox are")

    def action_jump(self) -> None:
        """Ask for a run."""
        self._line.open("jump", "")

    def _close(self, *, clear: bool = False) -> str:
        if clear and self._line.filters:
            self.viewing.words = ""
        kind = self._line.close()
        self._body.focus()
        self.paint()
        return kind

    def on_input_changed(self, event: Input.Changed) -> None:
        """A filter counts while it is typed."""
        if self._line.filters:
            self.viewing.words = event.value
            self.paint()

    async def on_line_left(self) -> None:
        """Escape in the line."""
        await self.action_back()

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        """Done."""
        text = event.value.strip()
        kind = self._close()
        if kind == "search" and text:
            await self._search(text)
        elif kind == "jump" and text:
            found = await sought(self.board, self.feed, text)
            if len(found) == 1:
                self._open(found[0])
            else:
                self.notify(f"{len(found) or 'no'} runs begin with {text}", severity="warning")

    async def _search(self, words: str) -> None:
        try:
            hits = await asyncio.to_thread(self.desk.search, words)
        except RunloopError as error:
            self._open_over(Sheet("Search", failure(error)))
            return
        self.viewing.searched, self.viewing.hits = words, tuple(hits)
        self.paint(anew=True)

    # ── sheets ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    def action_asked(self) -> None:
        """The oldest of what waits."""
        oldest = next(iter(self.board.waiting()), None)
        if oldest is None:
            self.notify("nothing waits for a person")
        else:
            self._show_asked(oldest["approval_id"])

    def _show_asked(self, approval_id: str) -> None:
        shown = self.board.approvals.get(approval_id)
        if shown is None or self._is_opening():
            return

        async def send(decision: Decision) -> None:
            await self.feed.answer(approval_id, decision)
            self.notify("approved" if decision.approved else "answered" if decision.answer is not None else "refused")

        self.run_worker(self._ask(shown, send), group="asking", exit_on_error=True)

    def _is_opening(self) -> bool:
        """Whether a sheet to decide on is about to open: what is typed meanwhile is meant for it."""
        return any(worker.group == "asking" and not worker.is_finished for worker in self.workers)

    async def _ask(self, shown: Mapping[str, Any], send: Callable[[Decision], Awaitable[None]]) -> None:
        self._open_over(await sheets.asking(self.feed, shown, send, self.signs))

    # ── changing runs ────────────────────────────────────────────────────────────────────────────────────────────────────

    def action_change(self, verb: str) -> None:
        """Pause, resume or cancel the run that is chosen or looked at."""
        if self._is_opening():
            return
        run_id = self._chosen_run() if self.viewing.view in {"Runs", "Inbox", *OF_A_RUN} else None
        if run_id is None:
            self.notify(f"choose the run to {verb} in Runs", severity="warning")
            return
        change = Change(verb, run_id)
        if error := refused(change, self.board.runs.get(run_id)):
            self._report(error)
        elif change.asks_first:
            self._ask_first(change)
        else:
            self.run_worker(self._change(change), group="changing", exit_on_error=True)

    def action_change_all(self, verb: str) -> None:
        """Pause or resume every run, once a person has confirmed it."""
        if not self._is_opening():
            self._ask_first(Change(verb))

    def _ask_first(self, change: Change) -> None:
        self._open_over(Changing(change, lambda width: change_lines(change, self.board, self.feed.now_ms(), width), self._carry_out))

    async def _change(self, change: Change) -> None:
        try:
            await self._carry_out(change)
        except RunloopError as error:
            self._report(error)

    async def _carry_out(self, change: Change) -> None:
        self.notify(await self.feed.change(change))

    def notify(self, message: str, **options: Any) -> None:
        """Say it in passing: names in it are nobody's markup, and drive nothing."""
        super().notify(clean(message), **{**options, "markup": False})

    def _report(self, error: RunloopError) -> None:
        self.notify(f"{error.code}: {error.message}. {error.hint}", severity="error", timeout=_ERROR_S)

    # ── more sheets ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def action_why(self) -> None:
        """What made the chosen thing what it is."""
        key = self._body.key if self.viewing.view == "Search" else self._chosen_run()
        if key is not None:
            await self._show_why(key)

    async def _show_why(self, key: str) -> None:
        self._open_over(await sheets.why(self.desk, key))

    def action_copy(self) -> None:
        """The id of what is chosen, into the clipboard of the terminal."""
        key = self._body.key or self.viewing.run_id
        if key is not None:
            self.copy_to_clipboard(key)
            self.notify(f"copied {key}")

    def action_help(self) -> None:
        """The keys."""
        self._open_over(sheets.keys())

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Everything by name."""
        for name in NAMES:
            yield SystemCommand(name, f"Show {name}", lambda name=name: self.action_go(name))
        yield SystemCommand("Help", "Show the keys", self.action_help)
        yield SystemCommand("Filter", "Show only some", self.action_prompt)
        yield SystemCommand("Jump to run", "By the beginning of its id", self.action_jump)
        yield SystemCommand("Oldest approval", "See what would leave, and decide", self.action_asked)
        for verb in MEANS:
            yield SystemCommand(f"{verb.capitalize()} run", "The chosen one", lambda verb=verb: self.action_change(verb))
        for verb in ("pause", "resume"):
            yield SystemCommand(f"{verb.capitalize()} all", "Every run", lambda verb=verb: self.action_change_all(verb))
        yield SystemCommand("Hold", "Hold the view, or let it go on", self.action_pause)
        for theme in THEME_NAMES:
            yield SystemCommand(f"Theme {theme}", "Change the colours", lambda theme=theme: setattr(self, "theme", theme))
        yield SystemCommand("Leave", "Leave agtop; runs go on", self.exit)
