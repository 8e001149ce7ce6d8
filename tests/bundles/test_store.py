from __future__ import annotations

import shutil

import pytest

from runloop.bundles import BundleStore, OverrideDirs, agent_search_dirs, shipped_agents_dir, shipped_openings_dir
from runloop.bundles.errors import BundleAltered, BundleInvalid, BundleNotFound
from runloop.bundles.store import misnamed
from runloop.errors import InvalidInput

VARIANT = '[agent]\nname = "reader"\nversion = "0.1.0"\nvariant = "fast"\n'


@pytest.fixture
def store(tmp_path):
    def make(*places: str, system=None, user=None) -> BundleStore:
        return BundleStore([tmp_path / place for place in places or ("agents",)], overrides=OverrideDirs(system, user))

    return make


def test_an_agent_is_found_by_name(write_bundle, store):
    root = write_bundle()
    assert store().resolve("reader").root == root


@pytest.mark.parametrize("place", ["agents/reader@fast", "agents/reader/fast", "agents/reader/variants/fast", "agents/reader"])
def test_a_variant_is_found_in_each_of_its_places(write_bundle, store, place):
    root = write_bundle(place, manifest=VARIANT)
    bundle = store().resolve("reader", "fast")
    assert (bundle.root, bundle.ref) == (root, "reader@fast")


def test_the_places_of_a_variant_are_tried_in_order(write_bundle, store):
    places = ["agents/reader@fast", "agents/reader/fast", "agents/reader/variants/fast", "agents/reader"]
    roots = [write_bundle(place, manifest=VARIANT) for place in reversed(places)][::-1]
    for root in roots:
        assert store().find("reader", "fast") == root
        (root / "manifest.toml").unlink()


def test_the_first_directory_that_has_it_wins(write_bundle, store):
    write_bundle("late/reader")
    first = write_bundle("early/reader")
    assert store("early", "late").resolve("reader").root == first
    assert store("late", "early").resolve("reader").root != first


def test_a_broken_agent_in_front_is_an_error_and_never_skipped(write_bundle, store):
    write_bundle("late/reader")
    (write_bundle("early/reader") / "agent.py").write_text("spoiled")
    with pytest.raises(BundleAltered):
        store("early", "late").resolve("reader")


def test_an_agent_that_is_nowhere_says_where_it_was_looked_for_and_what_is_near(write_bundle, store, tmp_path):
    write_bundle()
    with pytest.raises(BundleNotFound) as caught:
        store("agents", "other").resolve("raeder", "fast")
    assert caught.value.message == f"agent 'raeder@fast' not found (searched: {tmp_path}/agents, {tmp_path}/other)"
    assert caught.value.hint == "did you mean 'reader'?"
    with pytest.raises(BundleNotFound) as caught:
        store().resolve("zzz")
    assert caught.value.message == f"agent 'zzz' not found (searched: {tmp_path}/agents)"
    assert caught.value.hint == "`rlp agent list` shows what there is"


def test_an_agent_that_is_nowhere_is_told_so_although_a_neighbour_cannot_be_read(write_bundle, store):
    (write_bundle("agents/broken") / "manifest.toml").write_text("[agent")
    write_bundle()
    with pytest.raises(BundleNotFound) as caught:
        store().resolve("raeder")
    assert caught.value.hint == "did you mean 'reader'?"


def test_a_manifest_of_another_name_or_variant_is_refused(write_bundle, store):
    write_bundle("agents/reader", name="writer")
    with pytest.raises(BundleInvalid) as caught:
        store().resolve("reader")
    assert caught.value.message == "manifest declares agent 'writer', not 'reader'"
    write_bundle("more/reader")
    with pytest.raises(BundleInvalid) as caught:
        store("more").resolve("reader", "fast")
    assert caught.value.message == "variant mismatch (manifest none, requested fast)"


@pytest.mark.parametrize(
    ("name", "variant"), [("../etc", None), ("a/b", None), ("", None), ("reader", ".."), ("reader", ""), ("ä", None), ("a\n", None)]
)
def test_a_reference_cannot_climb_out_of_the_search_directories(store, name, variant):
    with pytest.raises(BundleInvalid) as caught:
        store().resolve(name, variant)
    assert caught.value.code == "bundle.reference"


def test_the_list_is_sorted_three_levels_deep_and_names_each_agent_once(write_bundle, store):
    write_bundle("agents/b")
    write_bundle("agents/a/x/deep", name="deep")
    write_bundle("agents/a/x/y/too_deep", name="too_deep")
    write_bundle("agents/b/inner", name="inner", sealed=False)
    write_bundle("agents/c@fast", manifest=VARIANT)
    write_bundle("more/b")
    shutil.copytree(write_bundle("agents/__pycache__", name="hidden"), write_bundle("x/z").parent / "copy")
    listed = store("agents", "more", "missing").list()
    assert [each.inspection.root.name for each in listed] == ["deep", "b", "c@fast"]
    assert {each.search_dir.name for each in listed} == {"agents"}
    assert [each.inspection.problems[-1].message.partition(": ")[0] for each in listed] == ["no name leads to it"] * 3


def test_an_agent_is_listed_once_whatever_its_directories_are_called_and_beside_its_variants(write_bundle, store):
    write_bundle("early/mine")
    write_bundle("late/reader")
    write_bundle("late/reader@fast", manifest=VARIANT)
    listed = store("early", "late").list()
    assert [(each.inspection.root.name, each.status) for each in listed] == [("reader", "ok"), ("reader@fast", "ok")]


def test_an_agent_whose_name_cannot_be_one_is_told_that_alone(write_bundle, store):
    root = write_bundle("agents/my-reader")
    manifest = root / "manifest.toml"
    manifest.write_text(manifest.read_text().replace('"reader"', '"my-reader"'))
    [listed] = store().list()
    assert [problem.message for problem in listed.inspection.problems] == ["agent.name is 'my-reader'"]
    assert misnamed(root, listed.inspection.manifest, "my-reader", None) is None


def test_what_is_listed_is_what_is_found(write_bundle, store):
    write_bundle("agents/reader/fast", manifest=VARIANT, files={"old.md": "1"})
    write_bundle("agents/reader@fast", manifest=VARIANT)
    write_bundle("agents/writer")
    write_bundle("more/broken")
    (write_bundle("agents/broken", name="broken") / "manifest.toml").write_text("[agent")
    agents = store("agents", "more")
    listed = {each.inspection.root: each.status for each in agents.list()}
    assert listed == {
        agents.find("reader", "fast"): "ok", agents.find("writer"): "invalid", agents.find("broken"): "invalid",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("spoil", "status"),
    [
        (lambda root: None, "ok"),
        (lambda root: (root / "agent.py").write_text("x"), "digest_mismatch"),
        (lambda root: (root / "README.md").unlink(), "missing"),
        (lambda root: (root / "manifest.toml").write_text("[agent"), "invalid"),
        (lambda root: (root / "manifest.toml").write_text('[agent]\nname = "reader"\n'), "digest_mismatch"),
    ],
)
def test_the_list_says_how_sound_each_agent_is(write_bundle, store, spoil, status):
    root = write_bundle(files={"README.md": ""})
    spoil(root)
    assert [each.status for each in store().list()] == [status]


def test_an_agent_directory_that_cannot_be_read_is_listed_as_invalid(write_bundle, store, monkeypatch):
    write_bundle()

    def refuse(root, **_):
        raise BundleInvalid("no")

    monkeypatch.setattr("runloop.bundles.store.inspect_bundle", refuse)
    assert [(each.status, each.inspection.root.name) for each in store().list()] == [("invalid", "reader")]


# -- overrides


def test_overrides_of_the_system_and_of_the_user_both_narrow(write_bundle, store, tmp_path):
    policy = '[capabilities]\nfs_rw = ["/a", "/b"]\nmodel = true\nask = true\n'
    write_bundle(files={"policy.caps": policy})
    (tmp_path / "system").mkdir()
    (tmp_path / "system" / "reader.caps").write_text('[capabilities]\nfs_ro = ["/a"]\n')
    (tmp_path / "user" / "reader").mkdir(parents=True)
    (tmp_path / "user" / "reader" / "policy.caps").write_text("[capabilities]\nmodel = false\nmail = true\n")
    narrowed = store(system=tmp_path / "system", user=tmp_path / "user")
    caps = narrowed.resolve("reader").caps
    assert caps.to_dict()["fs_ro"] == ["/a"]
    assert caps.to_dict()["fs_rw"] == []
    assert (caps.model, caps.ask, caps.mail) == (False, True, False)
    assert [path.name for path in narrowed.override_files("reader", None)] == ["reader.caps", "policy.caps"]
    assert store().resolve("reader").caps.model is True


def test_an_override_of_a_variant_has_its_own_key(write_bundle, store, tmp_path):
    write_bundle("agents/reader@fast", manifest=VARIANT)
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "reader_fast.caps").write_text("[capabilities]\nmodel = false\n")
    assert store(user=tmp_path / "user").resolve("reader", "fast").caps.model is False


@pytest.mark.parametrize(
    ("content", "detail", "line"),
    [(b"[capabilities]\nmodle = true\n", "unknown capability 'modle'", 2), (b"\xff", "'utf-8' codec can't decode", None)],
)
def test_an_override_that_cannot_be_applied_stops_the_agent(write_bundle, store, tmp_path, content, detail, line):
    write_bundle()
    (tmp_path / "user").mkdir()
    path = tmp_path / "user" / "reader.caps"
    path.write_bytes(content)
    with pytest.raises(InvalidInput) as caught:
        store(user=tmp_path / "user").resolve("reader")
    assert caught.value.message.startswith(f"capability override error: failed to apply override {path}: {detail}")
    assert (caught.value.where.file, caught.value.where.line) == (str(path), line)
    assert (caught.value.hint == "make the file readable, or remove it") == (line is None)


def test_all_that_is_wrong_with_an_override_is_told(write_bundle, store, tmp_path):
    write_bundle()
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "reader.caps").write_text("[capabilities]\nmodle = true\nmail = 1\n")
    with pytest.raises(InvalidInput) as caught:
        store(user=tmp_path / "user").resolve("reader")
    assert [(each.code, each.where.line) for each in (caught.value, *caught.value.others)] == [
        ("policy.override", 2), ("policy.invalid_entry", 3),
    ]  # fmt: skip


def test_an_override_that_is_a_dangling_link_stops_the_agent(write_bundle, store, tmp_path):
    write_bundle()
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "reader.caps").symlink_to(tmp_path / "gone")
    with pytest.raises(InvalidInput):
        store(user=tmp_path / "user").resolve("reader")


# -- where to look


def test_search_directories_are_the_one_asked_for_then_the_configured_then_what_ships_each_once(tmp_path):
    (tmp_path / "mine").mkdir()
    dirs = agent_search_dirs(
        [tmp_path / "mine", tmp_path / "gone", tmp_path / "mine"], override=tmp_path / "asked", shipped=tmp_path / "shipped"
    )
    assert dirs == (tmp_path / "asked", tmp_path / "mine", tmp_path / "gone", tmp_path / "shipped")
    assert agent_search_dirs([])[-1] == shipped_agents_dir()


def test_what_ships_is_package_data_when_installed(tmp_path):
    package = tmp_path / "site-packages" / "runloop"
    (package / "data" / "agents").mkdir(parents=True)
    (tmp_path / "site-packages" / "agents").mkdir()
    (tmp_path / "site-packages" / "pyproject.toml").touch()
    assert shipped_agents_dir(package) == package / "data" / "agents"


def test_a_stranger_beside_an_installed_package_is_not_taken_for_a_checkout(tmp_path):
    package = tmp_path / "site-packages" / "runloop"
    package.mkdir(parents=True)
    (tmp_path / "site-packages" / "openings").mkdir()
    assert shipped_openings_dir(package) == package / "data" / "openings"


def test_what_ships_is_beside_the_package_in_a_checkout(tmp_path):
    (tmp_path / "runloop").mkdir()
    (tmp_path / "openings").mkdir()
    (tmp_path / "pyproject.toml").touch()
    assert shipped_openings_dir(tmp_path / "runloop") == tmp_path / "openings"
