"""`rlp agent sign`, and what a machine that trusts only some signers installs and runs."""

from __future__ import annotations

import json

import pytest

UNSIGNED = "RUNLOOP__SECURITY__ALLOW_UNSIGNED_AGENTS"
SIGNERS = "RUNLOOP__SECURITY__ALLOWED_AGENT_SIGNERS"
STRANGER = "0" * 64


@pytest.fixture
def lister(rlp, home, guest_cache, monkeypatch):
    """An agent that needs no model, with an opening of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(guest_cache))
    monkeypatch.setenv("RUNLOOP__AGENTS__CACHE_DIR", str(guest_cache / "runloop"))
    assert rlp("agent", "scaffold", "lister", "--no-model", "--opening")[0] == 0
    return home / "agents" / "lister"


@pytest.fixture
def signer(rlp, lister):
    return json.loads(rlp("agent", "sign", "lister", "--json")[1])["signer"]


def run(rlp):
    return rlp("run", "lister", "--local", "--json", "--param", "topic=boat")


def test_signing_says_the_key_and_where_it_goes(rlp, lister):
    code, out, err = rlp("agent", "sign", "lister")
    key = json.loads((lister / "bundle.sig").read_text())["public_key"]
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"signed lister 0.1.0 in {lister}",
        f"with the key {key}",
        "who trusts it adds the key to security.allowed_agent_signers",
    ]
    assert json.loads(rlp("agent", "show", "lister", "--json")[1])["signer"] == key
    listed = {each["name"]: each["signer"] for each in json.loads(rlp("agent", "list", "--json")[1])["agents"]}
    assert (listed["lister"], listed["writer"]) == (key, None)


def test_an_agent_that_is_not_whole_is_not_signed(rlp, lister):
    (lister / "agent.py").write_text("spoiled")
    code, _, err = rlp("agent", "sign", "lister")
    assert (code, err.startswith("error[bundle.digest_mismatch]"), (lister / "bundle.sig").exists()) == (5, True, False)


def test_a_build_says_that_it_took_the_signature_away(rlp, lister, signer):
    assert "signature" not in rlp("agent", "build", "lister", "--table")[1]
    (lister / "words.py").write_text("X = 1\n")
    assert (
        "removed: its signature, which was for what it was before; `rlp agent sign` signs it anew"
        in rlp("agent", "build", "lister", "--table")[1].splitlines()
    )
    assert json.loads(rlp("agent", "build", "lister", "--json")[1])["unsigned"] is False


def test_only_signed_agents_of_trusted_signers_run_where_that_is_asked_for(rlp, signer, monkeypatch):
    monkeypatch.setenv(UNSIGNED, "false")
    code, _, err = run(rlp)
    assert (code, "policy.denied.signer" in err, signer in err) == (4, True, True)
    monkeypatch.setenv(SIGNERS, f"{STRANGER},{signer}")
    code, out, err = run(rlp)
    assert (code, '"run.finished"' in out) == (0, True), err


def test_an_unsigned_agent_does_not_run_where_signatures_are_asked_for_and_what_comes_with_runloop_does(rlp, lister, monkeypatch):
    monkeypatch.setenv(UNSIGNED, "false")
    code, _, err = run(rlp)
    assert (code, "policy.denied.unsigned" in err) == (4, True)
    assert rlp("opening", "check", "compose_email")[0] == 0
    code, _, err = rlp("run", "compose_email", "--local", "--json", "--yes", "--params", '{"recipient": "nobody", "topic": "x"}')
    assert "policy.denied" not in err


def test_a_run_of_an_agent_that_is_no_longer_trusted_is_not_forked(rlp, lister, monkeypatch):
    code, out, _ = run(rlp)
    run_id = json.loads(out.splitlines()[0])["run_id"]
    assert code == 0
    monkeypatch.setenv(UNSIGNED, "false")
    code, _, err = rlp("fork", run_id, "--at", "1", "--local")
    assert (code, "policy.denied.unsigned" in err) == (4, True)
    assert rlp("replay", run_id)[0] == 0


def test_install_takes_what_a_trusted_signer_signed(rlp, lister, signer, tmp_path, monkeypatch):
    elsewhere = tmp_path / "there"
    monkeypatch.setenv(UNSIGNED, "false")
    assert rlp("agent", "install", lister, "--root", elsewhere)[0] == 4
    monkeypatch.setenv(SIGNERS, signer)
    code, out, _ = rlp("agent", "install", lister, "--root", elsewhere)
    assert (code, f"signed with {signer}" in out.splitlines()) == (0, True)


@pytest.mark.parametrize("value", ["me", "0" * 63, "A" * 64])
def test_a_signer_that_is_no_key_is_refused(rlp, value, monkeypatch):
    monkeypatch.setenv(SIGNERS, value)
    code, _, err = rlp("agent", "list")
    assert (code, "a public key in 64 hexadecimal digits" in err) == (2, True)
