"""Policy: what an agent may ask for (capabilities) and what becomes of a request (admission). Pure: no files, no clock, no environment."""

from runloop.policy.admission import Admission, AdmissionRequest, OpeningPolicy, admit
from runloop.policy.approvals import Grant, Scope, covers
from runloop.policy.capabilities import Capabilities, Override
from runloop.policy.caps_file import override_key, parse_caps, parse_override
from runloop.policy.denial import Denial

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
]
