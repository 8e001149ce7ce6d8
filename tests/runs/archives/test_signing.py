"""Keys for exports: made once, for the user alone; archives of one ledger stay under one key until a person says otherwise."""

import os
import stat

import pytest

from runloop.errors import InvalidInput, Unavailable, VerificationFailed
from runloop.runs.archives.signing import KnownSigners, own_signers, sign, verify
from runloop.signatures import Signature, signing_key

DIGEST, LEDGER = "a" * 64, "00000000-0000-4000-8000-000000000001"


def test_the_key_is_made_once_and_for_the_user_alone(tmp_path):
    first, second = (sign(DIGEST, signing_key(tmp_path / "keys")) for _ in range(2))
    (key,) = (tmp_path / "keys").iterdir()
    assert first == second
    assert (stat.S_IMODE(key.stat().st_mode), stat.S_IMODE(key.parent.stat().st_mode)) == (0o600, 0o700)


def test_a_signature_fits_its_digest_and_key_only(tmp_path):
    signature = sign(DIGEST, signing_key(tmp_path / "one"))
    other = sign(DIGEST, signing_key(tmp_path / "two"))
    assert verify(DIGEST, signature) is True
    assert verify("b" * 64, signature) is False
    assert verify(DIGEST, Signature("ed25519", other.public_key, signature.signature)) is False
    assert verify(DIGEST, Signature("ed25519", "f" * 64, signature.signature)) is False


def test_a_key_that_is_no_key_is_an_error_and_not_replaced(tmp_path):
    (tmp_path / "export-ed25519").write_text("nonsense\n")
    with pytest.raises(InvalidInput) as caught:
        signing_key(tmp_path)
    assert caught.value.code == "signing.key"
    assert (tmp_path / "export-ed25519").read_text() == "nonsense\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_key_that_cannot_be_read_is_an_error(tmp_path):
    signing_key(tmp_path)
    (tmp_path / "export-ed25519").chmod(0)
    with pytest.raises(InvalidInput, match="cannot be used"):
        signing_key(tmp_path)


def test_the_first_signer_of_a_ledger_is_kept_and_another_is_refused_until_it_is_accepted(tmp_path):
    signers = KnownSigners(tmp_path / "keys")
    assert signers.check(LEDGER, "a" * 64, accept=False) is False
    signers.remember(LEDGER, "a" * 64)

    assert KnownSigners(tmp_path / "keys").check(LEDGER, "a" * 64, accept=False) is True
    for other in ("b" * 64, None):
        with pytest.raises(VerificationFailed) as caught:
            signers.check(LEDGER, other, accept=False)
        assert caught.value.code == "archive.signer_changed"
    assert signers.check(LEDGER, "b" * 64, accept=True) is True
    signers.remember(LEDGER, "b" * 64)
    assert signers.check(LEDGER, "b" * 64, accept=False) is True


def test_an_installation_vouches_for_what_it_signs_and_for_the_key_that_it_knows_of_a_ledger_and_never_for_what_nobody_signed(tmp_path):
    signers = KnownSigners(tmp_path)
    assert own_signers(tmp_path, LEDGER) == frozenset()
    assert list(tmp_path.iterdir()) == []  # to ask makes no key
    signers.remember(LEDGER, None)
    assert own_signers(tmp_path, LEDGER) == frozenset()
    own = sign(DIGEST, signing_key(tmp_path)).public_key
    assert own_signers(tmp_path, LEDGER) == {own}
    signers.remember(LEDGER, "a" * 64)
    assert (own_signers(tmp_path, LEDGER), own_signers(tmp_path, LEDGER.replace("1", "2"))) == ({own, "a" * 64}, {own})


@pytest.mark.parametrize("changed", [("a" * 64, None), (None, "a" * 64)])
def test_a_changed_signer_is_told_with_both_keys_in_short(tmp_path, changed):
    before, now = changed
    signers = KnownSigners(tmp_path)
    signers.remember(LEDGER, before)
    with pytest.raises(VerificationFailed) as caught:
        signers.check(LEDGER, now, accept=False)
    said = ["no key" if each is None else "aaaaaaaaaaaaaaaa…" for each in changed]
    assert caught.value.message == f"archives of this ledger were signed with {said[0]} until now, this one is signed with {said[1]}"


def test_ledgers_do_not_share_signers(tmp_path):
    signers = KnownSigners(tmp_path)
    signers.remember(LEDGER, "a" * 64)
    other = LEDGER.replace("1", "2")
    assert signers.check(other, None, accept=False) is False
    signers.remember(other, None)
    assert (signers.check(LEDGER, "a" * 64, accept=False), signers.check(other, None, accept=False)) == (True, True)


def test_a_full_disk_is_no_fault_of_the_key_and_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.link", full)
    with pytest.raises(Unavailable) as caught:
        signing_key(tmp_path)
    assert (caught.value.code, list(tmp_path.iterdir())) == ("system.disk_full", [])
