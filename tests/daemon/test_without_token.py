"""`rlp` where the operator token cannot be read: a sandboxed program of the same user, or a socket that was passed on."""

import asyncio
import json

import pytest

from runloop.errors import RunloopError


@pytest.fixture
def started(daemon, words):
    daemon.agent("quick", words.quick)
    daemon.opening("quick")
    daemon.start()
    assert daemon.rlp("run", "quick").returncode == 0
    return daemon


VERB = "daemon.needs_operator"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["run", "quick"], "bus.forbidden"),
        (["runs"], VERB),
        (["attach", "last"], VERB),
        (["cancel", "last"], VERB),
        (["approve"], VERB),
        (["down"], VERB),
    ],
)
def test_what_is_for_operators_says_who_may_and_why_this_process_may_not(started, arguments, code):
    token = started.leave()
    done = started.rlp(*arguments)
    assert (done.returncode, done.stdout) == (4, "")
    assert f"error[{code}]" in done.stderr
    assert "it is for operators" in done.stderr
    assert f"there is no token file {token}" in done.stderr


def test_how_the_daemon_is_may_be_asked_by_everybody(started):
    shown = json.loads(started.rlp("status", "--json").stdout)
    started.leave()
    hidden = json.loads(started.rlp("status", "--json").stdout)
    assert (hidden["state"], set(shown) - set(hidden)) == ("ready", {"active", "left"})
    assert ": ready, process " in started.rlp("status", "--table").stdout
    assert json.loads(started.rlp("metrics", "--json").stdout)["v"] == 1


async def test_what_is_wrong_with_a_file_and_what_it_is_called_is_for_operators(daemon):
    text = "version: 0\nname: maria\nnodes: [{id: a, use: agent:quick}]\nedges: []\npolicy: {ask_maria: yes}\n"
    daemon.opening("maria", text)
    daemon.start()
    async with daemon.client() as operator, daemon.client("client") as link:
        told, hidden = [(await each.ask("status"))["problems"] for each in (operator, link)]
        with pytest.raises(RunloopError) as refused:
            await link.client.subscribe("rlp/sys/reload")
        changes, metrics = await operator.client.subscribe("rlp/sys/reload"), await link.client.subscribe("rlp/sys/*")
        daemon.opening("maria", text.replace("ask_maria", "tell_maria"))
        await operator.ask("reload")
        async with asyncio.timeout(60):
            change = (await anext(changes)).payload
            heard = (await anext(metrics)).topic
    assert [each["error"]["code"] for each in told] == [each["error"]["code"] for each in hidden] == ["opening.unknown_key"]
    assert ("maria" in json.dumps(told), "maria" in json.dumps(hidden)) == (True, False)
    assert (change["name"], heard, refused.value.code) == ("maria", "rlp/sys/metrics", "bus.forbidden")
    assert "opening.unknown_key" in daemon.rlp("status", "--table").stdout


def test_who_has_the_token_of_another_daemon_is_told_so_and_asks_as_everybody(started):
    token = started.leave()
    token.touch(mode=0o600)
    token.write_text("0" * 64 + "\n")
    done = started.rlp("status", "--json")
    assert (done.returncode, done.stderr, json.loads(done.stdout)["state"]) == (0, "", "ready")
    refused = started.rlp("cancel", "last")
    assert (refused.returncode, f"error[{VERB}]" in refused.stderr) == (4, True)
    assert f"the token in {token} is not that of the daemon at " in refused.stderr


def test_a_token_file_that_others_can_read_is_an_error_with_what_to_do(started):
    token = started.state / "token"
    token.chmod(0o644)
    done = started.rlp("status")
    assert (done.returncode, "error[bus.token_file]" in done.stderr, "chmod 600" in done.stderr) == (1, True, True)
