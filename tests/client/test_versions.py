"""A daemon of another version."""

import pytest

import runloop
from runloop.bus import versions
from runloop.bus.client import BusClient
from runloop.bus.versions import fits
from runloop.errors import Unavailable


@pytest.fixture
def asked(bus):
    """The verbs that reached the daemon, which answers each."""
    verbs = []

    async def control(request):
        verbs.append(request.payload["verb"])
        return {"ok": {}}

    bus.server.on_request("rlp/ctrl", control)
    return verbs


@pytest.mark.parametrize(
    ("ours", "theirs", "fit"),
    [
        ("0.1.0", "0.1.9", True),
        ("0.1.0", "0.2.0", False),
        ("0.2.1", "0.1.0", False),
        ("0.9.0", "1.0.0", False),
        ("1.2.0", "1.0.3", True),
        ("1.2.0", "2.2.0", False),
        ("0.1.0", "0.1", True),
        ("0.1.0", "", True),
        ("0.1.0", "somebody's own", True),
    ],
)
def test_versions_fit_that_differ_where_nothing_may_break(monkeypatch, ours, theirs, fit):
    monkeypatch.setattr(runloop, "__version__", ours)
    assert fits(theirs) is fit


@pytest.mark.parametrize(("ours", "older", "hint"), [("0.0.9", "newer", "update this one"), ("99.0.0", "older", "`rlp up`")])
async def test_a_daemon_of_another_version_is_asked_nothing_and_who_asks_is_told_which_is_older(bus, asked, monkeypatch, ours, older, hint):
    theirs = bus.server.broker.version
    monkeypatch.setattr(versions.runloop, "__version__", ours)
    async with bus.client() as client:
        with pytest.raises(Unavailable) as caught:
            await client.runs()
    assert (caught.value.code, caught.value.retryable) == ("daemon.version", False)
    assert caught.value.message == f"the daemon is Runloop {theirs}, which is {older} than this program, {ours}"
    assert hint in caught.value.hint
    assert asked == []


async def test_a_daemon_of_another_version_can_be_looked_at_and_ended(bus, asked):
    bus.server.broker.version = "99.0.0"
    async with bus.client() as client:
        await client.status()
        await client.ask("drain", grace_ms=0)
    assert asked == ["status", "drain"]


async def test_a_welcome_of_another_form_names_both_versions(bus, monkeypatch):
    took = BusClient._take
    monkeypatch.setattr(BusClient, "_take", lambda self, welcome: took(self, {"session": "s", "version": "99.0.0"}))
    with pytest.raises(Unavailable) as caught:
        await bus.client().connect()
    assert (caught.value.code, "Runloop 99.0.0, which is newer" in caught.value.message) == ("daemon.version", True)
