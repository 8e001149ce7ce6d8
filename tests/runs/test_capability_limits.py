"""What the hard limits of the settings leave of an agent's capabilities."""

import pytest

from runloop.config import ConfigError, load
from runloop.policy import Capabilities
from runloop.policy.net import NetGrants
from runloop.runs.ports import CapabilityLimits


@pytest.fixture
def limits(tmp_path):
    def of(*hosts):
        flags = {"policy.allowed_hosts": list(hosts)}
        return CapabilityLimits.of(load(flags, env={"HOME": str(tmp_path)}, cwd=tmp_path, system_dir=tmp_path / "etc")).override

    return of


def test_an_agent_reaches_no_host_that_the_settings_do_not_name(limits):
    granted = Capabilities(net=NetGrants.of([("a.example", None), ("b.example", None)]))

    assert granted.intersect(limits("A.example.:443")).net.hosts == {("a.example", 443)}


@pytest.mark.parametrize("host", ["a.example:99999", "a..example", "127.1", "[::1"])
def test_a_host_that_cannot_be_one_is_named_and_never_left_out(limits, host):
    with pytest.raises(ConfigError, match=r"policy\.allowed_hosts\[1\] must be a host or host:port") as caught:
        limits("b.example", host)
    assert (caught.value.code, host in caught.value.message) == ("config.invalid_value", True)
