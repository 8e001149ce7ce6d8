"""What runs are taken up with is kept by digest, whole or not at all, and is verified when it is used."""

import os

import pytest

from runloop.bundles import load_bundle, shipped_agents_dir
from runloop.bundles.seal import seal
from runloop.bundles.signature import sign
from runloop.errors import RunloopError
from runloop.runs.kept import KeptOnDisk
from runloop.sandbox import guest_digest
from runloop.signatures import signing_key

MANIFEST = """[agent]
name = "one"
version = "1.0.0"
kind = "python"
entry = "agent.py"

[ports]
out = ["out"]

[caps]
file = "policy.caps"
"""


@pytest.fixture
def bundle(tmp_path):
    root = tmp_path / "one"
    (root / "inner").mkdir(parents=True)
    (root / "manifest.toml").write_text(MANIFEST)
    (root / "policy.caps").write_text("[capabilities]\n")
    (root / "agent.py").write_text("from runloop_agent import agent\n\n\n@agent\ndef run():\n    return 1\n")
    (root / "inner" / "more.py").write_text("X = 1\n")
    seal(root)
    return load_bundle(root)


async def test_a_bundle_is_kept_whole_once_and_comes_back_narrowed(tmp_path, bundle):
    narrowed = []
    kept = KeptOnDisk(tmp_path / "kept", lambda found: narrowed.append(found.digest) or found)
    await kept.keep([bundle, bundle])
    await KeptOnDisk(tmp_path / "kept", lambda found: found).keep([bundle])

    again = kept.bundle(bundle.digest)

    assert (again.files, again.digest, narrowed) == (bundle.files, bundle.digest, [bundle.digest])
    assert [path.name for path in (tmp_path / "kept" / "bundles").iterdir()] == [bundle.digest]
    assert [path.stem for path in (tmp_path / "kept" / "guests").iterdir()] == [guest_digest()]


async def test_what_somebody_changed_or_removed_is_refused_with_its_place(tmp_path, bundle):
    kept = KeptOnDisk(tmp_path / "kept", lambda found: found)
    await kept.keep([bundle])
    changed = tmp_path / "kept" / "bundles" / bundle.digest / "agent.py"
    changed.chmod(0o600)
    changed.write_text("changed")
    with pytest.raises(RunloopError) as altered:
        kept.bundle(bundle.digest)
    with pytest.raises(RunloopError) as missing:
        kept.bundle("0" * 64)
    with pytest.raises(RunloopError) as outside:
        kept.bundle("../one")

    assert [each.value.code for each in (altered, missing, outside)] == ["bundle.digest_mismatch", "run.not_kept", "run.not_kept"]


async def test_a_disk_that_takes_nothing_is_an_error_with_a_name(tmp_path, bundle):
    (tmp_path / "kept").write_text("a file where the directory should be")
    with pytest.raises(RunloopError) as refused:
        await KeptOnDisk(tmp_path / "kept", lambda found: found).keep([bundle])
    assert refused.value.code == "run.keep_failed"
    assert "RUNLOOP_HOME" in refused.value.hint  # FAT makes no files that are this user's alone


async def test_guests_of_earlier_versions_go_when_no_run_needs_them(tmp_path, bundle):
    kept = KeptOnDisk(tmp_path / "kept", lambda found: found)
    await kept.keep([bundle])
    guests = tmp_path / "kept" / "guests"
    for name in ("needed", "old", "fresh"):
        (guests / f"{name}.wasm").write_bytes(b"wasm")
    for name in ("needed", "old"):
        os.utime(guests / f"{name}.wasm", (0, 0))

    kept.forget_guests_but({"needed", guest_digest()})

    assert {path.stem for path in guests.iterdir()} == {"needed", "fresh", guest_digest()}


async def test_who_signed_a_bundle_is_kept_with_it_also_when_it_is_signed_later(tmp_path, bundle):
    kept = KeptOnDisk(tmp_path / "kept", lambda found: found)
    await kept.keep([bundle])
    signers = [kept.bundle(bundle.digest).signer]
    for name in ("one", "two"):
        sign(bundle, signing_key(tmp_path / f"key {name}"))
        await kept.keep([load_bundle(bundle.root)])
        signers.append(kept.bundle(bundle.digest).signer)
    assert signers == [None, *(signing_key(tmp_path / f"key {name}").public_key().public_bytes_raw().hex() for name in ("one", "two"))]
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["bundles", "guests"]


async def test_what_came_with_runloop_still_counts_as_that_when_it_is_taken_up(tmp_path, bundle):
    kept = KeptOnDisk(tmp_path / "kept", lambda found: found)
    shipped = load_bundle(shipped_agents_dir() / "writer")
    await kept.keep([bundle, shipped])
    assert (kept.bundle(bundle.digest).shipped, kept.bundle(shipped.digest).shipped) == (False, True)
