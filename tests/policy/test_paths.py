from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.policy import Capabilities
from runloop.policy.paths import PathGrants, canonical_root, collapse, within

HOME = "/home/ada"


def caps(*roots: tuple[str, bool]) -> Capabilities:
    return Capabilities(fs=PathGrants.of(roots))


@pytest.mark.parametrize(
    ("text", "root"),
    [
        ("~", "/home/ada"),
        ("~/notes", "/home/ada/notes"),
        ("/srv//data/./x/", "/srv/data/x"),
        ("//srv", "/srv"),
        ("$DATA/in", "/data/in"),
        ("${DATA}", "/data"),
    ],
)
def test_a_granted_directory_is_expanded_and_made_canonical(text, root):
    assert canonical_root(text, home=HOME, env={"DATA": "/data"}) == root


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("notes", "it must be absolute or start with '~/'"),
        ("~bob/notes", "only '~' itself is expanded, not another user's home"),
        ("/srv/../etc", "it contains '..'"),
        ("~/../bob", "it contains '..'"),
        ("$EVIL/x", "it contains '..'"),
        ("/a\0b", "it contains a NUL byte"),
        ("/", "it would grant the whole file system"),
        ("/./", "it would grant the whole file system"),
        ("$NOWHERE/x", "the variable NOWHERE is not set"),
        ("$EMPTY/x", "the variable EMPTY is not set"),
    ],
)
def test_a_directory_that_cannot_be_granted_says_why(text, problem):
    with pytest.raises(ValueError, match=r".") as caught:
        canonical_root(text, home=HOME, env={"EVIL": "/a/..", "EMPTY": ""})
    assert str(caught.value) == problem


def test_a_tilde_without_a_home_is_refused():
    with pytest.raises(ValueError, match="no home directory"):
        canonical_root("~/x", home=None, env={})


@pytest.mark.parametrize("path", ["../../../etc/passwd", "/notes/../etc/passwd", "/notes/..", "notes", "", "/notes/a\0.txt"])
def test_a_path_that_its_text_cannot_place_is_denied_even_below_a_grant(path):
    denial = caps(("/notes", True)).check_path(path, False)
    assert (denial.reason, "begins with ~/" in denial.hint) == ("path_invalid", True)


@pytest.mark.parametrize(
    ("path", "write", "reason"),
    [
        ("/notes", False, None),
        ("/notes/", False, None),
        ("/notes/a/b.md", False, None),
        ("/notes//a/./b.md", False, None),
        ("//notes/a", False, None),
        ("/notes2/a", False, "path_not_permitted"),
        ("/note", False, "path_not_permitted"),
        ("/", False, "path_not_permitted"),
        ("/notes/a", True, "read_only"),
        ("/out/a", True, None),
        ("/out/a", False, None),
        ("/elsewhere", True, "path_not_permitted"),
    ],
)
def test_a_path_is_judged_by_whole_components(path, write, reason):
    denial = caps(("/notes", False), ("/out", True)).check_path(path, write)
    assert (denial and denial.reason) == reason


def test_a_denied_path_names_the_capability_the_operation_and_the_key_to_change():
    denial = caps(("/notes", False)).check_path("/notes/a", True)
    assert denial.to_dict() == {
        "cap": "fs.access",
        "op": "fs_write",
        "reason": "read_only",
        "target": "/notes/a",
        "hint": "move its directory from fs or fs_ro to fs_rw in policy.caps",
    }


def test_what_belongs_to_runloop_is_denied_although_its_parent_is_granted():
    granted = caps((HOME, True))
    protected = (f"{HOME}/.runloop/token",)
    assert granted.check_path(f"{HOME}/.runloop/token", False, protected=protected).reason == "path_protected"
    assert granted.check_path(f"{HOME}/.runloop/token/x", True, protected=protected).reason == "path_protected"
    assert granted.check_path(f"{HOME}/.runloop/tokens", False, protected=protected) is None


@pytest.mark.parametrize(
    "path", ["/proc/self/environ", "/proc/thread-self/mem", "/proc/1/environ", "/proc//./4711/maps", "/proc/self", "/proc/kcore"]
)
def test_what_processes_have_in_their_memory_and_environment_is_denied_although_proc_is_granted(path):
    assert caps(("/proc", True)).check_path(path, False).reason == "path_protected"


@pytest.mark.parametrize("path", ["/proc/meminfo", "/proc/sys/kernel/hostname", "/proc/self-made", "/notes/proc/1"])
def test_what_else_is_in_proc_can_be_granted(path):
    assert caps(("/proc", False), ("/notes", False)).check_path(path, False) is None


def test_a_root_inside_another_that_grants_as_much_is_dropped():
    assert PathGrants.of([("/a", False), ("/a/b", False), ("/a/c", True)]).roots == {("/a", False), ("/a/c", True)}
    assert PathGrants.of([("/a", True), ("/a", False)]).roots == {("/a", True)}


def test_an_override_may_narrow_a_directory_to_one_below_it():
    both = PathGrants.of([("/a", True)]).intersect(PathGrants.of([("/a/b", False)]))
    assert both.roots == {("/a/b", False)}


def test_read_write_cut_by_read_only_is_read_only_and_unlisted_directories_are_dropped():
    base = PathGrants.of([("/a", True), ("/b", False)])
    assert base.intersect(PathGrants.of([("/a", False)])).roots == {("/a", False)}


def test_a_root_is_granted_at_its_resolved_place_too_but_never_as_the_whole_disk():
    resolve = {"/home/ada": "/usr/home/ada", "/link": "/"}.__getitem__
    granted = caps(("/home/ada", True), ("/link", False)).also_at(resolve)
    assert granted.fs.roots == {("/home/ada", True), ("/usr/home/ada", True), ("/link", False)}


@given(st.lists(st.sampled_from(["a", "b", ".", ""]), max_size=6))
def test_a_collapsed_path_has_no_empty_or_dot_component(parts):
    path = collapse("/" + "/".join(parts))
    assert path == "/" or all(part not in {"", "."} for part in path[1:].split("/"))
    assert within(path, "/")


def test_a_home_whose_name_has_a_dollar_sign_is_that_directory_and_no_variable():
    assert canonical_root("~/$DATA", home="/of $DATA", env={"DATA": "notes"}) == "/of $DATA/notes"
