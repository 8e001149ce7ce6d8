"""`rlp version`: what is installed, and where."""

from __future__ import annotations

import sys
from pathlib import Path

from runloop import __version__


def text() -> str:
    """The version block: the version on the first line, then Python and the place of the installation."""
    python = ".".join(str(part) for part in sys.version_info[:3])
    return "\n".join((f"rlp {__version__}", f"python: {python} ({sys.executable})", f"installed: {Path(__file__).resolve().parents[1]}"))


def as_dict() -> dict[str, str]:
    """The same as data."""
    return {
        "version": __version__,
        "python": ".".join(str(part) for part in sys.version_info[:3]),
        "executable": sys.executable,
        "installed": str(Path(__file__).resolve().parents[1]),
    }


def __getattr__(name: str) -> object:
    """Build the typer app only when somebody asks for it: the plain `rlp version` does not."""
    if name == "app":
        return _build_app()
    raise AttributeError(name)


def _build_app() -> object:
    import typer

    from runloop.cli import output

    app = typer.Typer(add_completion=False, rich_markup_mode=None, help="Show the version and where it is installed.")

    @app.command()
    def version(json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
        """Show the version and where it is installed."""
        if json:
            output.print_json(as_dict())
        else:
            print(text())

    return app
