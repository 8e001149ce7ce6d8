"""Where bundles and openings are looked for, with and without a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped_agents_dir(package: Path = _PACKAGE) -> Path:
    """Return the agents that came with Runloop: package data in an installed wheel, ``agents/`` in a checkout."""
    return _shipped("agents", package)


def shipped_openings_dir(package: Path = _PACKAGE) -> Path:
    """Return the openings that came with Runloop: package data in an installed wheel, ``openings/`` in a checkout."""
    return _shipped("openings", package)


def _shipped(name: str, package: Path) -> Path:
    installed = package / "data" / name
    checkout = package.parent / name
    # Beside an installed package lies site-packages, where any package may own a folder of this name.
    is_checkout = (package.parent / "pyproject.toml").is_file() and checkout.is_dir()
    return checkout if is_checkout and not installed.is_dir() else installed


def agent_search_dirs(configured: Iterable[Path], *, override: Path | None = None, shipped: Path | None = None) -> tuple[Path, ...]:
    """Return the directories to look in, first wins: the one asked for, then the configured, then what ships; each once.

    None of them needs to exist yet: a daemon that runs finds what is put there later.
    """
    last = shipped_agents_dir() if shipped is None else shipped
    return tuple(dict.fromkeys([*([override] if override else []), *configured, last]))
