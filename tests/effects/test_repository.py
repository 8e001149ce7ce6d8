"""What git obeys where it only reads: a person is asked wherever the real git runs what a repository names."""

import os
import subprocess

import pytest

from runloop.effects.perform.exec import ExecRun
from runloop.effects.perform.paths import PathRules
from runloop.effects.perform.repository import obeyed
from runloop.effects.types import EffectClass
from runloop.policy import Capabilities
from runloop.policy.commands import ExecGrants
from runloop.policy.paths import PathGrants

READING = [("git", "status"), ("git", "diff"), ("git", "log", "-p"), ("git", "show"), ("git", "blame")]
HARMLESS = """[core]
\tautocrlf = input
[user]
\tname = Ada; who is no program
[remote "origin"]
\turl = https://example.org/clean.git
\tfetch = +refs/heads/*:refs/remotes/origin/*
[branch "process"]
\tremote = origin
[lfs]
\trepositoryformatversion = 0
[diff]
\trenames = true
[color "status"]
\tadded = green
"""
NAMING = [
    "[core]\n\tfsmonitor = {program}\n",
    "[core] fsmonitor={program}\n",
    '[user]\n\tname = x\n[a "]"] [CORE]\n FsMonitor\t=\t{program} ; x\n',
    "[core]\n\thooksPath = {hooks}\n",
    '[filter "x"]\n\tclean = {program}\n',
    '[filter "x"] clean = {program}\n',
    '[filter "x"]\n\tprocess = {program}\n',
    '[diff "x"]\n\ttextconv = {program}\n',
    '[diff "x"]\n\tcommand = {program}\n',
    "[diff]\n\texternal = {program}\n",
    "[diff]\r\n\texternal = {program}\r\n",
    "[log]\n\tshowSignature = true\n[gpg]\n\tprogram = {program}\n",
    "[include]\n\tpath = {included}\n",
    "[user]\n\tname = x\n[a] [include] path = {included}\n",
    '[includeIf "gitdir:**"]\n\tpath = {included}\n',
]
ENV = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "GIT_CONFIG_NOSYSTEM": "1"}


def git(where, *words, **env):
    said = subprocess.run(
        ["git", *words], cwd=where, env={**ENV, **env}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60
    )
    return said.stdout


def begin(where):
    where.mkdir()
    git(where, "init", "-q", ".")
    (where / ".gitattributes").write_text("*.txt filter=x diff=x\n")
    (where / "a.txt").write_text("one\n")
    git(where, "add", ".")
    commit = git(where, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit-tree", "-m", "x", git(where, "write-tree").strip())
    signed = git(where, "cat-file", "commit", commit.strip()).replace(
        "\n\n", "\ngpgsig -----BEGIN PGP SIGNATURE-----\n -----END PGP SIGNATURE-----\n\n"
    )
    raw = where.parent / "commit"
    raw.write_text(signed)
    commit = git(where, "hash-object", "-t", "commit", "-w", "--literally", str(raw))
    git(where, "update-ref", "HEAD", commit.strip())
    (where / "a.txt").write_text("two\n")
    return where


@pytest.fixture
def repository(tmp_path):
    return begin((tmp_path / "work").resolve())


def ran(where, marker, **env):
    """Whether the real git runs the program in one of the commands that read."""
    for words in READING:
        os.utime(where / "a.txt")
        git(where, *words[1:], *(["a.txt"] if words[-1] == "blame" else []), **env)
    return marker.exists()


def test_a_repository_as_one_has_it_is_only_read(repository):
    with (repository / ".git/config").open("a") as file:
        file.write(HARMLESS)
    (repository / "deep/er").mkdir(parents=True)

    assert [obeyed(str(repository / place), ()) for place in ("", "deep/er", ".git")] == [None] * 3
    assert git(repository, "status", "--short") == " M a.txt\n"


@pytest.mark.parametrize("text", NAMING)
def test_where_its_configuration_names_what_git_runs_a_person_is_asked(repository, tmp_path, text):
    program, hooks, marker, included = (tmp_path / name for name in ("program", "hooks", "marker", "included"))
    hooks.mkdir()
    for path in (program, hooks / "post-index-change"):
        path.write_text(f"#!/bin/sh\ntouch {marker}\n")
        path.chmod(0o755)
    included.write_text(f"[core]\n\tfsmonitor = {program}\n")
    for text_before in ("", "\ufeff"):
        config = repository / ".git/config"
        plain = config.read_text()
        config.write_text(text_before + text.format(program=program, hooks=hooks, included=included) + plain)
        assert ran(repository, marker)
        assert obeyed(str(repository), ()).startswith(f"git obeys {config}, which says ")
        config.write_text(plain)
        marker.unlink()


def test_of_a_worktree_both_configurations_count(repository, tmp_path):
    beside = tmp_path.resolve() / "beside"
    git(repository, "worktree", "add", "-q", "--detach", str(beside))
    assert obeyed(str(beside), ()) is None
    own = repository / ".git/worktrees/beside/config.worktree"
    own.write_text("[core]\n\tfsmonitor = x\n")
    assert obeyed(str(beside), ()) == f"git obeys {own}, which says fsmonitor"
    own.unlink()
    with (repository / ".git/config").open("a") as file:
        file.write("[core]\n\tworktree = /\n")
    assert obeyed(str(beside), ()) == f"git obeys {repository}/.git/config, which says worktree"


def test_what_looks_like_a_bare_repository_counts_for_the_directories_in_it(tmp_path):
    bare = tmp_path.resolve() / "bare"
    git(tmp_path, "init", "-q", "--bare", str(bare))
    with (bare / "config").open("a") as file:
        file.write("[core]\n\tfsmonitor = x\n")
    assert obeyed(str(bare / "refs"), ()) == f"git obeys {bare}/config, which says fsmonitor"


@pytest.mark.parametrize("there", [".gitmodules", ".git/modules"])
def test_submodules_have_configurations_of_their_own(repository, there):
    (repository / there).mkdir()
    assert obeyed(str(repository), ()) == f"git obeys the submodules of {repository} too"


def test_a_configuration_that_cannot_be_read_is_none_to_trust(repository):
    config = repository / ".git/config"
    plain = config.read_text()
    config.write_text(plain + "#" * (1 << 20))
    assert obeyed(str(repository), ()) == f"git obeys {config}, which cannot be read"
    config.unlink()
    os.mkfifo(config)
    assert obeyed(str(repository), ()) == f"git obeys {config}, which cannot be read"


@pytest.mark.parametrize("pointer", ["gitdir: a\0b", f"gitdir: {'x' * 300}"])
def test_nor_is_a_work_tree_whose_state_cannot_be_found(tmp_path, pointer):
    (tmp_path / ".git").write_text(pointer)
    assert "which cannot be read" in obeyed(str(tmp_path.resolve()), ())


@pytest.mark.parametrize(
    ("root", "asked"), [("work", True), ("work/.git/hooks", True), ("work/out", True), ("", True), ("beside", False), ("workshop", False)]
)
def test_where_the_agent_may_write_the_repository_a_person_is_asked(repository, root, asked):
    assert (obeyed(str(repository), [str(repository.parent / root)]) is not None) is asked


def test_where_there_is_none_the_agent_may_not_make_one(tmp_path):
    inner = tmp_path.resolve() / "inner"
    inner.mkdir()
    assert obeyed(str(inner), ()) is None
    assert obeyed(str(inner), [str(inner)]).startswith("git obeys the repository it finds")
    assert obeyed(str(inner), [str(inner / "below")]) is None


def granted(*roots):
    return Capabilities(exec=ExecGrants.of((), READING), fs=PathGrants.of((str(root), False) for root in roots))


async def test_an_agent_that_runs_git_is_asked_about_it_with_the_reason(repository, make_ctx):
    run, ctx = ExecRun(PathRules()), make_ctx(granted(repository))
    args = {"argv": ["git", "status"], "cwd": str(repository)}
    assert run.prepare(args, ctx).klass is EffectClass.READ
    with (repository / ".git/config").open("a") as file:
        file.write("[diff]\n\texternal = x\n")
    prepared = run.prepare(args, ctx)
    assert (prepared.klass, prepared.because) == (EffectClass.EXTERNAL, f"git obeys {repository}/.git/config, which says external")


async def test_reading_unasked_writes_no_index_and_runs_no_hook_for_it(repository, make_ctx, crossing):
    marker, hook, index = repository.parent / "marker", repository / ".git/hooks/post-index-change", repository / ".git/index"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {marker}\n")
    hook.chmod(0o755)
    os.utime(repository / ".gitattributes", (1, 1))
    before = index.read_bytes()
    done = await crossing(ExecRun(PathRules()), {"argv": ["git", "status"], "cwd": str(repository)}, make_ctx(granted(repository)))
    assert "modified:   a.txt" in done.result["stdout"]
    assert (marker.exists(), index.read_bytes() == before) == (False, True)
    git(repository, "status")
    assert marker.exists(), "git left to itself runs it"
