from __future__ import annotations

import io
import os
import subprocess
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.errors import InvalidInput
from runloop.kb.importers import git as git_importer
from runloop.kb.importers.git import import_git, parse_log

PERSON = {
    f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in (("NAME", "Jörg"), ("EMAIL", "joerg@example.de"))
}


@pytest.fixture
def repository(tmp_path):
    """A repository in which the test can commit."""
    root = tmp_path / "repo"
    root.mkdir()

    def git(*words, date="@1700000000 +0100"):
        environment = {**os.environ, **PERSON, "GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date, "HOME": str(tmp_path)}
        done = subprocess.run(["git", "-C", root, *words], env=environment, capture_output=True, check=True)
        return done.stdout.decode().strip()

    git("init", "-q", "-b", "main")
    git.root = root
    return git


def commit(git, name, message, date="@1700000000 +0100"):
    (git.root / name).write_text(f"{message}\n")
    git("add", "--", name)
    git("commit", "-q", "--cleanup=verbatim", "-m", message, date=date)
    return git("rev-parse", "HEAD")


def subjects(kb):
    with kb.reading() as db:
        return [subject for (subject,) in db.execute("SELECT subject FROM commits ORDER BY subject")]


def test_commits_have_people_dates_messages_and_files(kb, repository):
    first = commit(repository, "a b\nc.txt", "First: é\n\nBody with \x01 and more.\n")
    second = commit(repository, "z", "Second", "@86400 +0000")
    report = import_git(kb, repository.root)
    assert (report.taken, report.refused, report.source) == (2, [], str(repository.root))
    newest, oldest = sorted(
        (event.payload for event in kb.ledger.read(kinds=["commit.imported"])), key=lambda each: each["subject"], reverse=True
    )
    assert oldest == {
        "commit": first,
        "repository": str(repository.root),
        "subject": "First: é",
        "message": "First: é\n\nBody with \x01 and more.",
        "author": {"name": "Jörg", "email": "joerg@example.de"},
        "committer": {"name": "Jörg", "email": "joerg@example.de"},
        "authored_ms": 1700000000000,
        "committed_ms": 1700000000000,
        "files": [["a b\nc.txt", 4, 0]],
    }
    assert (newest["commit"], newest["parents"], newest["authored_ms"]) == (second, [first], 86400000)


def test_a_second_import_takes_only_what_is_new_and_other_branches_count(kb, repository):
    commit(repository, "a", "one")
    import_git(kb, repository.root)
    repository("checkout", "-q", "-b", "other")
    commit(repository, "b", "two")
    repository("checkout", "-q", "main")
    report = import_git(kb, repository.root)
    assert (report.taken, report.known, report.removed) == (1, 1, 0)
    assert subjects(kb) == ["one", "two"]


def test_commits_that_were_rewritten_are_forgotten_when_the_whole_history_was_seen(kb, repository):
    commit(repository, "a", "one")
    commit(repository, "b", "wrong")
    import_git(kb, repository.root)
    repository("commit", "-q", "--amend", "-m", "right")
    report = import_git(kb, repository.root, since_ms=1)
    assert (report.taken, report.removed) == (1, 0)
    report = import_git(kb, repository.root)
    assert (report.taken, report.removed) == (0, 1)
    assert subjects(kb) == ["one", "right"]


def test_since_takes_only_later_commits(kb, repository):
    commit(repository, "a", "old", "@1600000000 +0000")
    commit(repository, "b", "new")
    assert import_git(kb, repository.root, since_ms=1650000000000).taken == 1
    assert subjects(kb) == ["new"]


def test_an_empty_repository_has_no_commits(kb, repository):
    assert import_git(kb, repository.root).taken == 0


def test_a_bare_repository_and_a_folder_inside_one_are_repositories(kb, repository, tmp_path):
    commit(repository, "a", "one")
    repository("clone", "-q", "--bare", str(repository.root), str(tmp_path / "bare"))
    (repository.root / "inner").mkdir()
    assert import_git(kb, tmp_path / "bare").taken == 1
    assert import_git(kb, repository.root / "inner").known == 1


def test_what_is_no_repository_and_a_machine_without_git_are_named(kb, tmp_path, monkeypatch):
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InvalidInput) as caught:
            import_git(kb, place)
        assert caught.value.code == "import.not_a_repository"
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InvalidInput) as caught:
        import_git(kb, tmp_path)
    assert caught.value.code == "import.no_git"


def test_a_repository_is_read_where_no_temporary_file_can_be_made(kb, repository, tmp_path, monkeypatch):
    commit(repository, "a", "one")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    import_git(kb, repository.root)
    assert subjects(kb) == ["one"]


def test_a_repository_that_breaks_in_the_middle_keeps_what_was_read(kb, repository):
    first = commit(repository, "a", "one")
    commit(repository, "b", "two")
    import_git(kb, repository.root)
    commit(repository, "c", "three")
    lost = repository.root / ".git" / "objects" / first[:2] / first[2:]
    lost.chmod(0o600)
    lost.write_bytes(b"broken")
    report = import_git(kb, repository.root)
    assert (report.removed, len(report.refused)) == (0, 1)
    assert report.refused[0].reason.startswith("git stopped: ")
    assert "two" in subjects(kb)


def test_nothing_that_the_repository_says_is_run(kb, repository, tmp_path):
    commit(repository, "a", "one")
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\ncat\n")
    trap.chmod(0o755)
    (repository.root / ".gitattributes").write_text("* diff=x filter=x\n")
    settings = ("diff.x.textconv", "diff.x.command", "diff.external", "core.fsmonitor", "core.pager", "gpg.program", "filter.x.clean")
    for setting in settings:
        repository("config", setting, str(trap))
    repository("config", "log.showSignature", "true")
    assert import_git(kb, repository.root).taken == 1
    assert not (tmp_path / "sprung").exists()


FIELD = st.binary(max_size=20).map(lambda data: data.replace(b"\0", b""))


@given(
    st.lists(
        st.tuples(st.lists(FIELD, min_size=8, max_size=8), st.lists(st.tuples(FIELD.filter(bool), st.integers(0, 9)), max_size=3)),
        max_size=4,
    ),
    st.integers(1, 50),
)
def test_the_log_is_taken_apart_however_it_is_read(commits, size):
    hashes = [b"%040x" % number for number in range(len(commits))]
    log = b"".join(
        b"\x01" + b"\0".join((name, *fields)) + b"\0" + b"".join(b"\0\n%d\t0\t%s\0" % (count, path) for path, count in files)
        for name, (fields, files) in zip(hashes, commits, strict=True)
    )
    expected = [
        [name, *fields, *(b"\n%d\t0\t%s" % (count, path) for path, count in files)]
        for name, (fields, files) in zip(hashes, commits, strict=True)
    ]
    file = io.BytesIO(log)
    assert list(parse_log(lambda most: file.read(min(most, size)))) == expected


def test_a_place_that_nobody_may_look_into_is_no_repository(kb, closed):
    with pytest.raises(InvalidInput, match="is not a Git repository"):
        import_git(kb, closed)


def test_a_work_tree_elsewhere_neither_names_the_repository_nor_forgets_what_another_one_holds(kb, repository, tmp_path):
    commit(repository, "a", "mine")
    import_git(kb, repository.root)
    stranger = tmp_path / "stranger"
    repository("clone", "-q", str(repository.root), str(stranger))
    for tree in (repository.root, tmp_path, tmp_path / "gone"):
        repository("--git-dir", str(stranger / ".git"), "config", "core.worktree", str(tree))
        report = import_git(kb, stranger)
        assert (report.source, report.removed, report.refused) == (str(stranger / ".git"), 0, [])
    assert subjects(kb) == ["mine"]


def test_a_repository_whose_work_tree_is_another_folder_is_read(kb, repository, tmp_path):
    """As yadm, vcsh and bare repositories of dot files are."""
    commit(repository, "a", "dots")
    repository("config", "core.worktree", str(tmp_path))
    assert import_git(kb, repository.root / ".git").taken == 1
    assert subjects(kb) == ["dots"]


def test_the_commits_of_a_repository_inside_of_another_one_stay(kb, repository):
    commit(repository, "a", "outer")
    (repository.root / "sub").mkdir()
    repository("init", "-q", "-b", "main", "sub")
    repository("-C", "sub", "commit", "-q", "--allow-empty", "-m", "inner")
    import_git(kb, repository.root / "sub")
    assert import_git(kb, repository.root).removed == 0
    assert subjects(kb) == ["inner", "outer"]


def test_branches_count_where_the_head_names_none_of_them(kb, repository):
    commit(repository, "a", "one")
    import_git(kb, repository.root)
    commit(repository, "b", "two")
    repository("symbolic-ref", "HEAD", "refs/heads/unborn")
    report = import_git(kb, repository.root)
    assert (report.taken, report.removed) == (1, 0)


def test_a_repository_whose_only_branch_is_broken_forgets_nothing(kb, repository):
    commit(repository, "a", "one")
    import_git(kb, repository.root)
    (repository.root / ".git" / "refs" / "heads" / "main").write_text("garbage\n")
    report = import_git(kb, repository.root)
    assert (report.removed, len(report.refused)) == (0, 1)
    assert subjects(kb) == ["one"]


def test_linked_work_trees_are_read_and_named_as_themselves(kb, repository, tmp_path):
    commit(repository, "a", "one")
    repository("worktree", "add", "-q", "--detach", str(tmp_path / "tree"))
    report = import_git(kb, tmp_path / "tree")
    assert (report.taken, report.source) == (1, str(tmp_path / "tree"))


def test_settings_and_files_of_a_repository_neither_hide_anything_nor_hold_the_import_up(kb, repository, tmp_path):
    commit(repository, "a", "one")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for setting in ("diff.orderFile", "core.attributesFile", "mailmap.file"):
        repository("config", setting, str(fifo))
    repository("config", "log.showRoot", "false")
    for name in (".gitattributes", ".mailmap"):
        os.mkfifo(repository.root / name)
    assert import_git(kb, repository.root).taken == 1
    (event,) = kb.ledger.read(kinds=["commit.imported"])
    assert event.payload["files"] == [["a", 1, 0]]


def test_what_is_missing_is_not_fetched_by_an_older_git_either(kb, repository, tmp_path, monkeypatch):
    """A partial clone's settings name the program that fetches; without ``GIT_NO_LAZY_FETCH`` (before 2.39.4) git runs it."""
    commit(repository, "a", "one")
    commit(repository, "a", "two")
    repository("config", "uploadpack.allowFilter", "true")
    partial = tmp_path / "partial"
    repository("clone", "-q", "--no-local", "--filter=blob:none", "--no-checkout", f"file://{repository.root}", str(partial))
    trap = tmp_path / "trap"
    trap.write_text(f'#!/bin/sh\ntouch {tmp_path}/sprung\nexec git-upload-pack "$@"\n')
    trap.chmod(0o755)
    repository("-C", str(partial), "config", "remote.origin.uploadpack", str(trap))
    known = git_importer._environment()
    del known["GIT_NO_LAZY_FETCH"]
    monkeypatch.setattr(git_importer, "_environment", lambda: known)
    assert import_git(kb, partial).refusals == 1
    assert not (tmp_path / "sprung").exists()


def test_the_refusal_of_a_partial_clone_says_how_it_becomes_whole(kb, repository, tmp_path):
    commit(repository, "a", "one")
    commit(repository, "a", "two")
    repository("config", "uploadpack.allowFilter", "true")
    partial = tmp_path / "partial"
    repository("clone", "-q", "--no-local", "--filter=blob:none", "--no-checkout", f"file://{repository.root}", str(partial))
    (refusal,) = import_git(kb, partial).refused
    assert refusal.reason.endswith("; `git fetch --refetch --no-filter` gets what a partial clone lacks")


def test_a_pipe_in_the_place_of_a_file_of_git_is_not_waited_for(kb, repository, monkeypatch):
    (repository.root / ".git/HEAD").unlink()
    os.mkfifo(repository.root / ".git/HEAD")
    monkeypatch.setattr(git_importer, "_PATIENCE_S", 0.1)
    with pytest.raises(InvalidInput, match=r"is not a Git repository: it does not answer within 0\.1 s"):
        import_git(kb, repository.root)
