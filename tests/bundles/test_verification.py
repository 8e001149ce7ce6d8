"""A bundle is loaded only if every file is the one that its manifest was sealed over."""

from __future__ import annotations

import os
import stat

import pytest
from blake3 import blake3

from runloop.bundles import inspect_bundle, load_bundle
from runloop.bundles import tree as tree_module
from runloop.bundles.bundle import bundle_from_files
from runloop.bundles.errors import BundleAltered, BundleInvalid
from runloop.bundles.seal import seal
from runloop.bundles.tree import bundle_digest, path_problem, read_tree


def test_a_sound_bundle_holds_what_was_verified(write_bundle):
    root = write_bundle(files={"lib/__init__.py": "", "lib/words.py": "X = 1\n", "tests/test_x.py": "pass\n", "README.md": "hi"})
    bundle = load_bundle(root)
    assert (bundle.ref, bundle.version, bundle.kind, bundle.entry) == ("reader", "0.1.0", "python", "agent.py")
    assert sorted(bundle.sources()) == ["agent.py", "lib/__init__.py", "lib/words.py"]
    assert bundle.manifest_digest == blake3((root / "manifest.toml").read_bytes()).hexdigest()
    assert bundle.digest == bundle_digest(bundle.files)
    assert bundle.code() == (root / "agent.py").read_bytes()
    assert bundle.caps.model is True


def test_a_guest_gets_the_sources_and_every_other_file_that_is_not_for_others(write_bundle):
    others = {"README.md": "r", "LICENSE": "l", "tests/data.txt": "t", "extra.caps": "c", "pack/_fast.so": "s", "pack/_fast.pyi": "i"}
    files = {"helper.py": "", "prompts/one.md": "p", "pack/README.md": "inner"}
    bundle = load_bundle(write_bundle(files={**others, **files}))
    assert set(bundle.sources()) >= {"agent.py", "helper.py"}
    assert bundle.data() == {"prompts/one.md": b"p", "pack/README.md": b"inner"}


def test_what_was_verified_is_what_runs_even_if_the_file_changes_afterwards(write_bundle):
    root = write_bundle()
    bundle = load_bundle(root)
    before = bundle.sources()["agent.py"]
    (root / "agent.py").write_text("import os\n")
    assert bundle.sources()["agent.py"] == before


def test_every_file_counts_for_the_digest(write_bundle):
    one = load_bundle(write_bundle("a/reader", files={"tests/cases.yaml": "a"}))
    two = load_bundle(write_bundle("b/reader", files={"tests/cases.yaml": "b"}))
    assert one.digest != two.digest


def test_the_digest_tells_where_one_file_ends_and_the_next_begins():
    assert bundle_digest({"a": b"bc", "d": b""}) != bundle_digest({"a": b"b", "cd": b""})
    assert bundle_digest({"a": b"x"}) == bundle_digest({"a": b"x"})


def test_a_changed_file_is_refused_with_both_digests(write_bundle):
    root = write_bundle()
    (root / "agent.py").write_text("changed")
    with pytest.raises(BundleAltered) as caught:
        load_bundle(root)
    assert caught.value.code == "bundle.digest_mismatch"
    assert caught.value.exit_code == 5
    assert caught.value.message.startswith("'agent.py' has changed (expected ")
    assert caught.value.where.file == f"{root}/agent.py"
    assert f"`rlp agent build {root}`" in caught.value.hint


def test_a_change_that_keeps_size_and_times_is_found(write_bundle):
    root = write_bundle()
    agent = root / "agent.py"
    stat, content = agent.stat(), agent.read_bytes()
    agent.write_bytes(content.replace(b"topic", b"cipot"))
    os.utime(agent, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (agent.stat().st_size, agent.stat().st_mtime_ns, agent.stat().st_ino) == (stat.st_size, stat.st_mtime_ns, stat.st_ino)
    with pytest.raises(BundleAltered):
        load_bundle(root)


def test_a_changed_policy_is_refused_before_it_is_believed(write_bundle, codes):
    root = write_bundle()
    (root / "policy.caps").write_text("[capabilities]\nmail = true\n")
    assert codes(root) == ["bundle.digest_mismatch"]


def test_missing_and_extra_files_each_have_their_message(write_bundle):
    root = write_bundle(files={"README.md": "hi"})
    (root / "README.md").unlink()
    (root / "extra.py").write_text("")
    problems = inspect_bundle(root).problems
    assert [(problem.code, problem.message) for problem in problems] == [
        ("bundle.file_missing", "'README.md' is listed but not there"),
        ("bundle.file_extra", "'extra.py' is there but not listed"),
    ]


def test_a_manifest_without_digests_is_not_trusted(write_bundle, codes):
    assert codes(write_bundle(sealed=False)) == ["bundle.unsealed"]


@pytest.mark.parametrize("name", ["__pycache__", ".git", ".pytest_cache"])
def test_what_tools_leave_behind_is_never_read(write_bundle, name):
    root = write_bundle()
    before = load_bundle(root).digest
    (root / name).mkdir()
    (root / name / "agent.cpython-311.pyc").write_bytes(b"\0")
    assert load_bundle(root).digest == before


def test_a_file_that_is_called_like_a_folder_of_a_tool_counts_like_any_other(write_bundle, codes):
    root = write_bundle()
    (root / ".git").write_text("gitdir: elsewhere\n")
    assert codes(root) == ["bundle.file_extra"]


def test_a_link_that_is_called_like_a_folder_of_a_tool_is_refused(write_bundle, tmp_path, codes):
    root = write_bundle()
    (root / "__pycache__").symlink_to(tmp_path)
    assert codes(root) == ["bundle.link"]


def test_a_link_is_refused_even_if_it_points_to_the_right_bytes(write_bundle, tmp_path, codes):
    root = write_bundle()
    elsewhere = tmp_path / "agent.py"
    (root / "agent.py").rename(elsewhere)
    (root / "agent.py").symlink_to(elsewhere)
    assert codes(root) == ["bundle.link", "bundle.file_missing", "bundle.no_entry"]


def test_a_linked_folder_is_refused_and_not_entered(write_bundle, tmp_path, codes):
    root = write_bundle()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "lib.py").write_text("")
    (root / "lib").symlink_to(tmp_path / "outside")
    assert codes(root) == ["bundle.link"]


def test_a_pipe_is_refused_and_does_not_hang(write_bundle, codes):
    root = write_bundle()
    os.mkfifo(root / "pipe")
    assert codes(root) == ["bundle.special_file"]


def test_a_name_that_is_not_utf8_is_refused_and_shown_harmlessly(write_bundle):
    root = write_bundle()
    (root / os.fsdecode(b"bad\xff.py")).write_text("")
    problem = inspect_bundle(root).problems[0]
    assert problem.message == r"'bad\\udcff.py' cannot be in a bundle: its name is not valid UTF-8"
    assert problem.message.isprintable()


def test_a_name_with_an_escape_sequence_is_refused(write_bundle, codes):
    root = write_bundle()
    (root / "x\x1b[31m.py").write_text("")
    assert codes(root) == ["bundle.path"]


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("agent.py", None),
        ("lib/a b/ä.py", None),
        ("/etc/passwd", "it is absolute"),
        ("../up", "it contains '..'"),
        ("a/../../up", "it contains '..'"),
        ("", "it has an empty or '.' component"),
        ("a//b", "it has an empty or '.' component"),
        ("./a", "it has an empty or '.' component"),
        ("a/", "it has an empty or '.' component"),
        ("a\\b", "its name has a backslash or an unprintable character"),
        ("a\nb", "its name has a backslash or an unprintable character"),
        ("a\u202eb", "its name has a backslash or an unprintable character"),
        ("a" * 240, None),
        ("/".join("a" * 16), None),
        ("a" * 241, "it is longer than 240 characters or deeper than 16 folders"),
        ("/".join("a" * 17), "it is longer than 240 characters or deeper than 16 folders"),
        ("\udcff", "its name is not valid UTF-8"),
    ],
)
def test_which_paths_may_be_in_a_bundle(path, problem):
    assert path_problem(path) == problem


def test_unreadable_files_and_folders_are_problems_of_their_own(write_bundle, monkeypatch, codes):
    root = write_bundle(files={"lib/a.py": ""})
    opened = os.open

    def refuse(path, flags, *args, **kwargs):
        if path in {"lib", "agent.py"}:
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, *args, **kwargs)

    monkeypatch.setattr(tree_module.os, "open", refuse)
    assert codes(root)[:2] == ["bundle.unreadable", "bundle.unreadable"]


def test_a_folder_that_cannot_be_listed_is_a_problem_of_its_own(write_bundle, monkeypatch):
    root = write_bundle(files={"lib/a.py": ""})
    listed = os.listdir

    def refuse(place):
        if os.path.samestat(os.fstat(place), (root / "lib").stat()):
            raise OSError(5, "Input/output error")
        return listed(place)

    monkeypatch.setattr(tree_module.os, "listdir", refuse)
    first = inspect_bundle(root).problems[0]
    assert (first.code, first.message) == ("bundle.unreadable", "a folder cannot be read: Input/output error")


def test_files_of_a_bundle_that_lie_nowhere_are_verified_too(write_bundle, tmp_path):
    root = write_bundle()
    files = load_bundle(root).files
    assert bundle_from_files(files, root=root) == load_bundle(root)
    with pytest.raises(BundleAltered, match=r"'agent\.py' has changed"):
        bundle_from_files({**files, "agent.py": b"changed"}, root=root)


def test_a_bundle_beyond_the_limits_is_refused(write_bundle, monkeypatch):
    root = write_bundle()
    monkeypatch.setattr(tree_module, "MAX_FILES", 3)
    monkeypatch.setattr(tree_module, "MAX_TOTAL_BYTES", sum(map(len, load_bundle(root).files.values())))
    assert len(read_tree(root).files) == 3
    monkeypatch.setattr(tree_module, "MAX_FILES", 2)
    with pytest.raises(BundleInvalid) as caught:
        read_tree(root)
    assert caught.value.code == "bundle.too_large"
    monkeypatch.setattr(tree_module, "MAX_FILES", 2000)
    monkeypatch.setattr(tree_module, "MAX_TOTAL_BYTES", tree_module.MAX_TOTAL_BYTES - 1)
    with pytest.raises(BundleInvalid):
        read_tree(root)


@pytest.mark.parametrize("place", ["nowhere", "agents/reader/agent.py"])
def test_what_is_not_a_directory_cannot_be_read(write_bundle, tmp_path, place):
    write_bundle()
    with pytest.raises(BundleInvalid) as caught:
        load_bundle(tmp_path / place)
    assert caught.value.code == "bundle.unreadable"


def test_a_directory_without_manifest_is_no_bundle(write_bundle, codes):
    root = write_bundle()
    (root / "manifest.toml").unlink()
    assert codes(root) == ["bundle.no_manifest"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"manifest.toml": b"\xff"}, ["bundle.not_utf8"]),
        ({"manifest.toml": "[agent"}, ["bundle.syntax"]),
        ({"policy.caps": None}, ["bundle.unsealed", "bundle.no_file"]),
        ({"policy.caps": "x = 1"}, ["bundle.unsealed", "policy.missing_table"]),
        ({"policy.caps": "[capabilities]\nx = 1\nmodel = 2"}, ["bundle.unsealed", "policy.unknown_key", "policy.invalid_entry"]),
        ({"agent.py": None}, ["bundle.unsealed", "bundle.no_entry"]),
        ({"agent.py": b"# \xff"}, ["bundle.unsealed", "bundle.not_utf8"]),
    ],
)
def test_each_part_that_cannot_be_read_is_named(write_bundle, codes, files, expected):
    assert codes(write_bundle(files=files, sealed=False)) == expected


def test_a_file_that_is_not_utf8_is_named_with_its_line(write_bundle):
    root = write_bundle(files={"agent.py": b"a = 1\n# \xff\n"}, sealed=False)
    assert str(inspect_bundle(root).problems[-1].where) == f"{root}/agent.py:2"


def test_tools_are_read_with_the_bundle_and_their_faults_are_its_faults(write_bundle, codes):
    with_tools = '[agent]\nname = "{name}"\nversion = "1"\n[artifacts.tools]\npath = "tools.json"\n'
    tool = '{"version": 1, "tools": [{"id": "t", "description": "d", "transport": {"kind": "exec", "command": "x"}}]}'
    root = write_bundle(manifest=with_tools, files={"tools.json": tool})
    assert [entry["id"] for entry in load_bundle(root).tools] == ["t"]
    broken = write_bundle("b/reader", manifest=with_tools, files={"tools.json": '{"version": 2}'}, sealed=False)
    assert codes(broken) == ["bundle.unsealed", "bundle.tools"]


def test_a_bundle_of_upstreams_that_lists_no_files_is_told_to_be_sealed_and_nothing_of_a_list(write_bundle, codes):
    manifest = '[agent]\nname = "{{name}}"\nversion = "1"\n[artifacts.tools]\npath = "tools.json"\nblake3 = "{digest}"\n'
    tools = '{"version": 1, "tools": []}'
    root = write_bundle(manifest=manifest.format(digest="0" * 64), files={"tools.json": tools}, sealed=False)
    assert codes(root) == ["bundle.unsealed"]
    assert seal(root)[1] == []
    assert (codes(root), "0" * 64 in (root / "manifest.toml").read_text()) == ([], False)


def test_home_and_environment_expand_the_policys_directories(write_bundle):
    root = write_bundle(files={"policy.caps": '[capabilities]\nfs = ["~/n", "$D/m"]\n'}, sealed=False)
    seal(root, home="/home/ada", env={"D": "/data"})
    bundle = load_bundle(root, home="/home/ada", env={"D": "/data"})
    assert bundle.caps.to_dict()["fs_ro"] == ["/data/m", "/home/ada/n"]


def test_a_granted_directory_that_is_a_link_is_granted_where_it_leads(write_bundle, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    root = write_bundle(files={"policy.caps": f'[capabilities]\nfs = ["{tmp_path}/link"]\n'})
    assert load_bundle(root).caps.check_path(os.path.realpath(tmp_path / "link" / "x"), False) is None


def test_a_pipe_that_took_a_files_place_since_it_was_listed_is_neither_waited_for_nor_an_empty_file(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "a.py")
    monkeypatch.setattr(tree_module, "_entries", lambda *_: [("a.py", stat.S_IFREG)])
    read = read_tree(tmp_path)
    assert (read.files, [each.message for each in read.problems]) == ({}, ["'a.py' cannot be read: not a regular file"])
