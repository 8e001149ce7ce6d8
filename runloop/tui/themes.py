"""The themes of ``ui.theme``: what each style of a page looks like, and Textual's own colours beside it."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from rich.style import Style
from textual.theme import Theme

from runloop.tui.page import STYLES

_DARK: Final = {
    "dim": "#8a94a6", "bold": "bold #ffffff", "head": "bold #9fb4d0", "ok": "#7bd88f", "error": "bold #ff7b72", "waiting": "bold #f2cc60",
    "running": "#79c0ff", "cancelled": "#d2a8ff", "accent": "#79c0ff", "bar": "#58a6ff",
}  # fmt: skip
_LIGHT: Final = {
    "dim": "#5f6773", "bold": "bold #111111", "head": "bold #30445f", "ok": "#116329", "error": "bold #a40e26", "waiting": "bold #7d4e00",
    "running": "#0550ae", "cancelled": "#6639ba", "accent": "#0550ae", "bar": "#0969da",
}  # fmt: skip
_MONO: Final = {
    "dim": "#9a9a9a", "bold": "bold #ffffff", "head": "bold underline #c8c8c8", "ok": "#d0d0d0", "error": "bold reverse #ffffff",
    "waiting": "bold #ffffff", "running": "#e8e8e8", "cancelled": "#b0b0b0", "accent": "#e8e8e8", "bar": "#c0c0c0",
}  # fmt: skip
_CONTRAST: Final = {
    "dim": "#ffffff", "bold": "bold #ffffff", "head": "bold underline #ffffff", "ok": "bold #00ff00", "error": "bold #ff6060",
    "waiting": "bold #ffff00", "running": "bold #00ffff", "cancelled": "bold #ff80ff", "accent": "bold #00ffff", "bar": "bold #00ffff",
}  # fmt: skip
_STYLES: Final = {"mono": _MONO, "dark": _DARK, "light": _LIGHT, "contrast": _CONTRAST}
NAMES: Final = tuple(_STYLES)


def _theme(name: str, primary: str, background: str, surface: str, panel: str, foreground: str, accent: str) -> Theme:
    """A theme whose errors and warnings look as those of a page do."""
    error, warning = (_STYLES[name][style].split()[-1] for style in ("error", "waiting"))
    return Theme(
        name, primary, error=error, warning=warning, background=background, surface=surface, panel=panel, foreground=foreground,
        accent=accent, dark=name != "light",
    )  # fmt: skip


THEMES: Final = (
    _theme("mono", "#d0d0d0", background="#101010", surface="#1a1a1a", panel="#262626", foreground="#d8d8d8", accent="#ffffff"),
    _theme("dark", "#58a6ff", background="#0d1117", surface="#161b22", panel="#21262d", foreground="#d5dae2", accent="#f2cc60"),
    _theme("light", "#0969da", background="#ffffff", surface="#f3f5f8", panel="#e4e8ee", foreground="#1c2430", accent="#7d4e00"),
    _theme("contrast", "#00ffff", background="#000000", surface="#000000", panel="#202020", foreground="#ffffff", accent="#ffff00"),
)


@lru_cache(maxsize=8)
def styles_of(theme: str) -> dict[str, Style]:
    """What each style of a page is in a theme; Textual's own themes look as the dark one."""
    found = _STYLES.get(theme, _DARK)
    return {name: Style.parse(found[name]) if name in found else Style.null() for name in STYLES}
