"""What an author is told to change: a key that a manifest has, and what fits the exception that ended the agent."""

import re
import traceback

import pytest

from runloop.bundles.manifest import _LIMIT_KEYS
from runloop.sandbox.remedies import HINTS, hint_of


def test_every_limit_that_a_hint_names_is_a_key_of_the_manifest():
    named = {key for hint in HINTS.values() for key in re.findall(r"limits\.(\w+)", hint)}

    assert named
    assert named <= set(_LIMIT_KEYS)


def _told(raises):
    """The hint for what a guest would say of it."""
    with pytest.raises(ValueError, match="mine") as caught:
        raises()
    return hint_of("guest.exception", "".join(traceback.format_exception(caught.value)))


def _no_thread():
    raise RuntimeError("can't start new thread")


def test_the_cause_of_an_authors_own_exception_has_its_hint():
    def raises():
        try:
            _no_thread()
        except RuntimeError as error:
            raise ValueError("mine") from error

    assert "runloop_agent.spawn" in _told(raises)


def test_what_the_author_handled_before_has_none():
    def raises():
        try:
            _no_thread()
        except RuntimeError:
            raise ValueError("mine")  # noqa: B904 - what Python says of it is the point

    assert _told(raises) == ""


def test_the_cause_of_what_was_handled_has_none():
    def raises():
        try:
            try:
                _no_thread()
            except RuntimeError as error:
                raise LookupError("no") from error
        except LookupError:
            raise ValueError("mine")  # noqa: B904 - what Python says of it is the point

    assert _told(raises) == ""
