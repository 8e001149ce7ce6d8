"""A signature says who vouches for all files of an agent, and nothing else counts as one."""

import json

import pytest

from runloop import signatures
from runloop.bundles import inspect_bundle, load_bundle
from runloop.bundles.errors import BundleAltered, BundleInvalid
from runloop.bundles.install import install
from runloop.bundles.seal import seal
from runloop.bundles.signature import sign, trusted
from runloop.errors import Denied


@pytest.fixture
def key(tmp_path):
    return signatures.signing_key(tmp_path / "keys")


@pytest.fixture
def public(key):
    return key.public_key().public_bytes_raw().hex()


@pytest.fixture
def signed(write_bundle, key):
    root = write_bundle("work/reader", files={"words.txt": "one two"})
    sign(load_bundle(root), key)
    return root


def test_a_signed_agent_has_the_digest_and_the_files_that_it_had_before(write_bundle, key, public):
    root = write_bundle(files={"words.txt": "one two", "bundle.sig.txt": "no signature"})
    before = load_bundle(root)
    assert sign(before, key) == public
    after = load_bundle(root)
    assert (before.signer, after.signer) == (None, public)
    assert (after.digest, after.manifest_digest) == (before.digest, before.manifest_digest)
    assert (after.data(), after.sources()) == (before.data(), before.sources())
    assert set(after.files) - set(before.files) == {"bundle.sig"}


def test_signing_again_replaces_who_signed(signed, tmp_path):
    other = signatures.signing_key(tmp_path / "other")
    sign(load_bundle(signed), other)
    assert load_bundle(signed).signer == other.public_key().public_bytes_raw().hex()
    assert sorted(path.name for path in signed.parent.iterdir()) == ["reader"]


def test_files_that_were_changed_and_sealed_anew_are_not_what_was_signed(signed, codes):
    (signed / "words.txt").write_text("three")
    assert codes(signed) == ["bundle.digest_mismatch"]
    text = (signed / "manifest.toml").read_text()
    (signed / "bundle.sig").rename(signed.parent / "aside")
    sealed, _ = seal(signed)
    (signed.parent / "aside").rename(signed / "bundle.sig")
    assert sealed is not None
    assert (signed / "manifest.toml").read_text() != text
    assert codes(signed) == ["bundle.signature"]
    assert inspect_bundle(signed).altered


def test_building_takes_away_a_signature_of_something_else_and_leaves_one_that_fits(signed, public):
    sealed, problems = seal(signed)
    assert (sealed.unsigned, problems, load_bundle(signed).signer) == (False, [], public)
    (signed / "words.txt").write_text("three")
    sealed, problems = seal(signed)
    assert (sealed.unsigned, problems, load_bundle(signed).signer) == (True, [], None)


def test_the_signature_of_another_agent_is_none(signed, write_bundle, codes):
    other = write_bundle("work/writer", name="writer")
    (other / "bundle.sig").write_bytes((signed / "bundle.sig").read_bytes())
    assert codes(other) == ["bundle.signature"]


def test_a_signature_over_the_same_digest_as_something_else_is_none(signed, key, codes):
    elsewhere = signatures.sign("runloop archive v1", load_bundle(signed).digest, key)
    form = {"algorithm": "ed25519", "public_key": elsewhere.public_key, "signature": elsewhere.signature}
    (signed / "bundle.sig").write_text(json.dumps(form))
    assert codes(signed) == ["bundle.signature"]


@pytest.mark.parametrize(
    "change",
    [
        lambda form: {},
        lambda form: [form],
        lambda form: form | {"algorithm": "none"},
        lambda form: form | {"public_key": form["public_key"].upper()},
        lambda form: form | {"public_key": form["public_key"][:-1]},
        lambda form: form | {"public_key": "0" * 64},
        lambda form: form | {"signature": form["signature"][::-1]},
        lambda form: form | {"signature": form["signature"] + "00"},
        lambda form: form | {"trusted": True},
        lambda form: {name: value for name, value in form.items() if name != "signature"},
    ],
)
def test_what_is_no_signature_is_refused_with_its_place(signed, change):
    form = json.loads((signed / "bundle.sig").read_bytes())
    (signed / "bundle.sig").write_text(json.dumps(change(form)))
    with pytest.raises(BundleAltered) as caught:
        load_bundle(signed)
    assert (caught.value.code, str(caught.value.where)) == ("bundle.signature", f"{signed}/bundle.sig")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[" * 100_000, b"null"])
def test_bytes_that_are_no_json_are_no_signature(signed, content, codes):
    (signed / "bundle.sig").write_bytes(content)
    assert codes(signed) == ["bundle.signature"]


def test_a_link_is_no_signature(signed, codes):
    (signed / "bundle.sig").rename(signed.parent / "elsewhere.sig")
    (signed / "bundle.sig").symlink_to(signed.parent / "elsewhere.sig")
    assert codes(signed) == ["bundle.link"]


def test_only_agents_of_trusted_signers_are_installed_where_that_is_asked_for(signed, write_bundle, tmp_path, public):
    agents = tmp_path / "agents"
    with pytest.raises(Denied) as unsigned:
        install(str(write_bundle("work/plain", name="plain")), agents, signers=frozenset({public}))
    with pytest.raises(Denied) as stranger:
        install(str(signed), agents, signers=frozenset({"0" * 64}))
    assert (unsigned.value.code, stranger.value.code) == ("policy.denied.unsigned", "policy.denied.signer")
    assert (unsigned.value.where.file, stranger.value.where.file) == (str(tmp_path / "work" / "plain"), str(signed))
    assert public in stranger.value.message
    assert list(agents.iterdir()) == []
    assert install(str(signed), agents, signers=frozenset({public})).bundle.signer == public
    assert load_bundle(agents / "reader").signer == public


def test_a_signature_that_does_not_fit_is_refused_even_where_none_is_needed(signed, tmp_path):
    (signed / "bundle.sig").write_text("{}")
    with pytest.raises(BundleAltered) as caught:
        install(str(signed), tmp_path / "agents")
    assert "the signature cannot be read" in caught.value.message


def test_what_comes_with_runloop_needs_no_signature_and_a_copy_of_it_does(tmp_path):
    from runloop.bundles import shipped_agents_dir

    shipped = load_bundle(shipped_agents_dir() / "writer")
    copy = install(str(shipped.root), tmp_path / "agents").bundle
    (tmp_path / "link").symlink_to(shipped.root)
    assert [trusted(bundle, ()) for bundle in (shipped, load_bundle(tmp_path / "link"), copy)] == [True, True, False]


def test_a_directory_that_cannot_be_written_says_so(signed, key, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    bundle = load_bundle(signed)
    before = (signed / "bundle.sig").read_bytes()
    monkeypatch.setattr("runloop.staged.os.fdopen", full)
    with pytest.raises(BundleInvalid) as caught:
        sign(bundle, key)
    assert (caught.value.code, caught.value.message) == ("bundle.unwritable", "bundle.sig cannot be written: No space left on device")
    assert (signed / "bundle.sig").read_bytes() == before
