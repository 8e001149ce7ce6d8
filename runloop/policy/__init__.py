"""Policy: what an agent may ask for (capabilities) and what becomes of a request (admission). Pure: no files, no clock, no environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.lazily import importing

if TYPE_CHECKING:
    from runloop.policy.admission import Admission, AdmissionRequest, OpeningPolicy, admit
    from runloop.policy.approvals import Grant, Scope, covers
    from runloop.policy.capabilities import Capabilities, Override
    from runloop.policy.caps_file import override_key, parse_caps, parse_override, read_override
    from runloop.policy.denial import Denial

_HOMES = {
    "Admission": "admission",
    "AdmissionRequest": "admission",
    "Capabilities": "capabilities",
    "Denial": "denial",
    "Grant": "approvals",
    "OpeningPolicy": "admission",
    "Override": "capabilities",
    "Scope": "approvals",
    "admit": "admission",
    "covers": "approvals",
    "override_key": "caps_file",
    "parse_caps": "caps_file",
    "parse_override": "caps_file",
    "read_override": "caps_file",
}

__all__ = [
    "Admission",
    "AdmissionRequest",
    "Capabilities",
    "Denial",
    "Grant",
    "OpeningPolicy",
    "Override",
    "Scope",
    "admit",
    "covers",
    "override_key",
    "parse_caps",
    "parse_override",
    "read_override",
]

__getattr__ = importing(__name__, _HOMES)
