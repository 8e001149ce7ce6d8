"""What a reached limit tells the author to change is a key that a manifest has."""

import re

from runloop.bundles.manifest import _LIMIT_KEYS
from runloop.sandbox.remedies import HINTS


def test_every_limit_that_a_hint_names_is_a_key_of_the_manifest():
    named = {key for hint in HINTS.values() for key in re.findall(r"limits\.(\w+)", hint)}

    assert named
    assert named <= set(_LIMIT_KEYS)
