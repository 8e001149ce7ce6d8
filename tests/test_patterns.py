"""Patterns that wait: each is right, and works as the one that `re` makes."""

import re
import sys
from importlib import import_module
from pkgutil import walk_packages

import pytest

import runloop
from runloop.patterns import _Lazy, lazy


def test_a_lazy_pattern_is_compiled_once_and_gives_what_re_gives():
    pattern = lazy("B+", re.IGNORECASE)
    assert pattern.findall("abbBc") == re.compile("B+", re.IGNORECASE).findall("abbBc")
    assert pattern.findall is pattern.findall
    assert (pattern.pattern, pattern.flags) == ("B+", re.compile("B+", re.IGNORECASE).flags)


def test_what_is_no_pattern_is_refused_when_it_is_used():
    with pytest.raises(re.error):
        lazy("(").search("x")


def test_every_lazy_pattern_compiles():
    for package in ("kb.redaction", "config", "cli", "openings", "policy", "router"):
        for each in walk_packages(import_module(f"runloop.{package}").__path__, f"runloop.{package}."):
            import_module(each.name)
    found = {
        (name, key): value
        for name, module in list(sys.modules.items())
        if name.startswith(f"{runloop.__name__}.")
        for key, value in vars(module).items()
        if isinstance(value, _Lazy)
    }
    assert len(found) > 30
    assert all(value.groups >= 0 for value in found.values())
