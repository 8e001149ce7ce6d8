"""The one widget that shows a page: it paints the lines that are in sight, and of those only what changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from runloop.tui.page import Page, Row
from runloop.tui.themes import styles_of

if TYPE_CHECKING:
    from textual import events


class Panel(ScrollView, can_focus=True):
    """A page. Rows with a key can be chosen; the choice stays with its key when rows come and go."""

    BINDINGS: ClassVar = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown,space", "page(1)", show=False),
        Binding("home", "edge(0)", show=False),
        Binding("end", "edge(-1)", show=False),
        Binding("enter", "choose", show=False),
    ]
    DEFAULT_CSS = "Panel { height: 1fr; width: 1fr; scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0; overflow-x: hidden; }"

    class Chosen(Message):
        """Somebody wants to see what the row is about."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    class Heading(Message):
        """Somebody clicked on a column's heading."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    class Resized(Message):
        """There is another width to make pages for."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.page = Page()
        self._key: str | None = None
        self._at_end = True

    @property
    def key(self) -> str | None:
        """The key of the row that is chosen."""
        return self._key

    def show(self, page: Page, *, anew: bool = False) -> None:
        """Show a page; ``anew`` forgets the place that was read."""
        old = self.page
        if anew:
            self._key, self._at_end = None, True
            self.scroll_to(0, 0, animate=False, immediate=True)
        follows = page.follow and self._at_end
        self.page = page
        keys = [row.key for row in page.rows if row.key is not None]
        if self._key not in keys:
            self._key = None if page.follow or not keys else keys[min(self._place(old), len(keys) - 1)]
        if anew or len(old.rows) != len(page.rows) or len(old.head) != len(page.head):
            self.virtual_size = Size(self.size.width, len(page.head) + len(page.rows))
            self.refresh()
        else:
            self._refresh_changed(old)
        if follows:
            self.call_after_refresh(self.scroll_end, animate=False, immediate=True)

    def _place(self, old: Page) -> int:
        keys = [row.key for row in old.rows if row.key is not None]
        return keys.index(self._key) if self._key in keys else 0

    def _refresh_changed(self, old: Page) -> None:
        head, width = len(self.page.head), self.size.width
        changed = [y for y, (one, other) in enumerate(zip(old.head, self.page.head, strict=True)) if one != other]
        first = self.scroll_offset.y
        last = min(len(self.page.rows), first + self.size.height - head)
        changed += [head + at - first for at in range(first, last) if old.rows[at] != self.page.rows[at]]
        if changed:
            self.refresh(*(Region(0, y, width, 1) for y in changed))

    def render_line(self, y: int) -> Strip:
        """One line in sight."""
        head, width = len(self.page.head), self.size.width
        if y < head:
            return self._strip(self.page.head[y], width, chosen=False)
        at = y - head + self.scroll_offset.y
        if at >= len(self.page.rows):
            return Strip.blank(width, self.rich_style)
        row = self.page.rows[at]
        return self._strip(row, width, chosen=row.key is not None and row.key == self._key)

    def _strip(self, row: Row, width: int, *, chosen: bool) -> Strip:
        base, styles = self.rich_style, styles_of(self.app.theme)
        if chosen:  # in one look from side to side, whatever its parts are
            base, styles = base + Style(reverse=True), dict.fromkeys(styles, Style.null())
        segments = [Segment(text, base + styles[name]) for text, name in row.pieces if text]
        strip = Strip(segments)
        room = width - self.show_vertical_scrollbar
        if cell_len(row.plain) > room:  # what goes on beyond the edge is not cut without a sign
            strip = Strip([*strip.crop(0, room - 1).adjust_cell_length(room - 1, base), Segment("…", base + styles["dim"])])
        return strip.adjust_cell_length(width, base)

    def on_resize(self) -> None:
        """Pages are made for a width."""
        self.virtual_size = Size(self.size.width, len(self.page.head) + len(self.page.rows))
        self.post_message(self.Resized())

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Who scrolls up reads; who is at the end follows."""
        super().watch_scroll_y(old_value, new_value)
        self._at_end = new_value >= self.max_scroll_y
        self._keep_in_sight()
        self.refresh()

    def _keep_in_sight(self) -> None:
        """Keys are for the row that is chosen: where it was scrolled away, the nearest one that is seen is."""
        top = self.scroll_offset.y
        seen = range(top, min(len(self.page.rows), top + self.size.height - len(self.page.head)))
        keys = [key for key in (self.page.rows[at].key for at in seen) if key is not None]
        if self._key is None or not keys or self._key in keys:
            return
        before = any(row.key == self._key for row in self.page.rows[:top])
        self._key = keys[0 if before else -1]

    # ── choosing ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def action_move(self, by: int) -> None:
        """To the next row that can be chosen; where there is none, scroll."""
        keyed = [at for at, row in enumerate(self.page.rows) if row.key is not None]
        if not keyed or self.page.follow:
            self.scroll_relative(y=by, animate=False)
            return
        here = next((number for number, at in enumerate(keyed) if self.page.rows[at].key == self._key), 0)
        self._choose_at(keyed[max(0, min(len(keyed) - 1, here + by))])
        if here + by >= len(keyed):
            self.scroll_relative(y=by, animate=False)  # what follows the last row, such as a drawing

    def action_page(self, by: int) -> None:
        """A screen further."""
        self.scroll_relative(y=by * max(1, self.size.height - len(self.page.head) - 1), animate=False)

    def action_edge(self, which: int) -> None:
        """To the first or the last row."""
        keyed = [at for at, row in enumerate(self.page.rows) if row.key is not None]
        if keyed and not self.page.follow:
            self._choose_at(keyed[which])
        if which:
            self.scroll_end(animate=False)
        else:
            self.scroll_home(animate=False)

    def action_choose(self) -> None:
        """What the chosen row is about."""
        if self._key is not None:
            self.post_message(self.Chosen(self._key))

    def select(self, key: str) -> None:
        """Choose the row of a key, and bring it into sight."""
        for at, row in enumerate(self.page.rows):
            if row.key == key:
                self._choose_at(at)
                return

    def _choose_at(self, at: int) -> None:
        self._key = self.page.rows[at].key
        room = self.size.height - len(self.page.head)
        top = self.scroll_offset.y
        if at < top:
            self.scroll_to(y=at, animate=False, immediate=True)
        elif at >= top + room:
            self.scroll_to(y=at - room + 1, animate=False, immediate=True)
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """A click chooses, a second one opens; on a heading it sorts."""
        head = len(self.page.head)
        if event.y < head:
            if event.y == head - 1:
                for first, last, name in self.page.columns:
                    if first <= event.x < last:
                        self.post_message(self.Heading(name))
            return
        at = event.y - head + self.scroll_offset.y
        if at < len(self.page.rows) and self.page.rows[at].key is not None:
            opened = self._key == self.page.rows[at].key and event.chain > 1
            self._choose_at(at)
            if opened:
                self.action_choose()
