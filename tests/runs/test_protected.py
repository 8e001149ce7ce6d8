"""What belongs to Runloop is granted to no agent, however much is granted around it."""

import pytest

from runloop.config import load
from runloop.policy import Capabilities
from runloop.policy.paths import PathGrants
from runloop.runs.obeying import protected_paths


@pytest.mark.parametrize(
    "name",
    [
        *("pog/events.sqlite", "agents/a/agent.py", "openings/o.yaml", "token", "secrets/mail/smtp", "keys/export-ed25519", "grants.json"),
        *(
            "policy-overrides/a.caps",
            "config.yaml",
            "sock/rmp.sock",
            "backups/one/events.sqlite",
            "log/runloopd.log",
            "router.hints",
            "router.hints.d/1",
        ),
    ],
)
def test_who_is_granted_the_home_gets_nothing_of_what_runloop_keeps_there(name, tmp_path):
    protected = protected_paths(load(env={"HOME": str(tmp_path)}))
    granted = Capabilities(fs=PathGrants.of([(str(tmp_path), True)]))

    for write in (False, True):
        denial = granted.check_path(str(tmp_path / ".runloop" / name), write, protected=protected)
        assert denial is not None
        assert denial.reason == "path_protected"
    assert granted.check_path(str(tmp_path / "notes" / name), True, protected=protected) is None
