"""Paths with their links followed."""

from __future__ import annotations

import os
from pathlib import Path


def followed(path: str | os.PathLike[str]) -> Path:
    """The absolute path with every link in it followed; what leads in a circle stays as it is, and whoever opens it is told so.

    ``Path.resolve`` raises RuntimeError for a circle before Python 3.13.
    """
    return Path(os.path.realpath(path))
