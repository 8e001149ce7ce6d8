"""The time zones of the IANA database, from the package ``tzdata``, held in memory for ``zoneinfo``: a guest reads no files."""

import importlib
import io
import sys
import zoneinfo
from pathlib import Path
from zoneinfo import _common, _tzpath

_zones: dict[str, bytes] = {}


def _load(key: str) -> io.BytesIO:
    """Stand in for the search of ``zoneinfo`` in the package ``tzdata``."""
    found = _zones.get(key)
    if found is None:
        raise zoneinfo.ZoneInfoNotFoundError(f"No time zone found with key {key}")
    return io.BytesIO(found)


def _available() -> set[str]:
    return set(_zones)


_available.__name__ = _available.__qualname__ = "available_timezones"


def freeze() -> None:
    """Read every zone, equal ones once, and let ``zoneinfo`` find them here and nowhere else."""
    root = Path(importlib.import_module("tzdata").__path__[0])
    contents: dict[bytes, bytes] = {}
    for key in (root / "zones").read_text("ascii").split():
        content = (root / "zoneinfo" / key).read_bytes()
        _zones[key] = contents.setdefault(content, content)
    _zones["UTC"]  # a package of another shape is found out here, and not by an agent
    zoneinfo.reset_tzpath(to=())
    setattr(_common, "load_tzdata", _load)  # noqa: B010 - where both forms of ZoneInfo look; the type is that of a file
    zoneinfo.available_timezones = _tzpath.available_timezones = _available
    for name in [name for name in sys.modules if name.partition(".")[0] == "tzdata"]:
        del sys.modules[name]
