"""Layered settings: one table of keys, typed values, hard limits that only narrow, and an answer to "where does this come from?".

Imports nothing of ours but the errors; YAML is imported only when there is a file to read.
"""

from __future__ import annotations

from runloop.config.errors import ConfigError, ConfigWarning
from runloop.config.paths import Directories, as_setting, ensure
from runloop.config.registry import Key, all_keys
from runloop.config.settings import Assignment, Explanation, Settings, load

__all__ = [
    "Assignment",
    "ConfigError",
    "ConfigWarning",
    "Directories",
    "Explanation",
    "Key",
    "Settings",
    "all_keys",
    "as_setting",
    "ensure",
    "load",
]
