"""Commits of a Git repository, by asking git; nothing of the repository's own settings can make it run something or go to the network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runloop.errors import InvalidInput, Where
from runloop.kb.importers.intake import Found, How, Sort, Whole, look_up, take_in
from runloop.kb.importers.report import ImportReport, Refusal
from runloop.kb.importers.textfile import is_folder, shown
from runloop.links import followed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import apsw

    from runloop.kb.base import KnowledgeBase
    from runloop.kb.importers.intake import Current, Item

CHUNK = 1 << 16
_FIRST_SINCE_MS = 100_000_000_000  # git takes times with fewer than nine digits (before 1973) for something else
_FIELDS = ("%H", "%P", "%an", "%ae", "%at", "%cn", "%ce", "%ct", "%B")
_FORMAT = "%x01" + "%x00".join(_FIELDS) + "%x00"
_COMMIT = re.compile(rb"\n?\x01([0-9a-f]{40}(?:[0-9a-f]{24})?)\Z")
_NUMBERS = re.compile(rb"\n*(\d+|-)\t(\d+|-)\t(.+)\Z", re.DOTALL)
_QUIET = (
    *("core.fsmonitor=false", "core.hooksPath=/dev/null", "log.showSignature=false", "diff.external="),
    *("core.attributesFile=/dev/null", "log.showRoot=true", "log.mailmap=false", "diff.relative=false", "i18n.logOutputEncoding=UTF-8"),
)
_PATIENCE_S = 60.0
"""For questions about the repository; its log may take as long as it is."""
_SAFE = {0: "\ufffd", **dict.fromkeys(range(0xD800, 0xE000), "\ufffd")}


def import_git(kb: KnowledgeBase, repository: str | Path, how: How | None = None, *, since_ms: int | None = None) -> ImportReport:
    """Read the commits of every branch (those from ``since_ms`` on) and append the new ones.

    Commits that can no longer be reached are removed, unless ``since_ms`` hides some. Raises InvalidInput without git or a repository.
    """
    program = shutil.which("git")
    if program is None:
        raise InvalidInput("git is not installed", code="import.no_git", hint="install git; only it can read a repository")
    root = followed(repository)
    asked = _git(program, root, "rev-parse", "--absolute-git-dir") if is_folder(root) else None
    if asked is None or asked.returncode:
        why = "" if asked is None else _why(asked.stderr)
        raise InvalidInput(
            f"{repository} is not a Git repository{': ' + why if why else ''}",
            code="import.not_a_repository",
            where=Where(file=str(repository)),
            hint="name the directory of a repository",
        )
    directory = _path(asked.stdout)
    report = ImportReport("git", shown(_place(program, root, directory)), files=1)
    return take_in(kb, _SORT, _items(program, directory, report, since_ms), report, how or How())


def _place(program: str, root: Path, directory: Path) -> Path:
    """What names the repository: its work tree, where that leads back to it; a setting may name any folder, also another repository's."""
    asked = _git(program, root, "rev-parse", "--show-toplevel")
    if asked.returncode or not is_folder(tree := _path(asked.stdout)):
        return directory
    back = _git(program, tree, "rev-parse", "--absolute-git-dir")
    return tree if back.returncode == 0 and _path(back.stdout) == directory else directory


def parse_log(read: Callable[[int], bytes]) -> Iterator[list[bytes]]:
    """The fields of each commit, then its numbers of lines with their paths, out of git's NUL-separated log."""
    commit: list[bytes] = []
    for field in _fields(read):
        found = _COMMIT.match(field)
        if found is not None and (not commit or len(commit) >= len(_FIELDS)):
            if commit:
                yield commit
            commit = [found[1]]
        elif commit and (len(commit) < len(_FIELDS) or field.strip(b"\n")):
            commit.append(field)
    if len(commit) >= len(_FIELDS):
        yield commit


def _fields(read: Callable[[int], bytes]) -> Iterator[bytes]:
    held: list[bytes] = []
    while chunk := read(CHUNK):
        first, *more = chunk.split(b"\0")
        held.append(first)
        for field in more:
            yield b"".join(held)
            held = [field]
    if any(held):
        yield b"".join(held)


def _items(program: str, directory: Path, report: ImportReport, since_ms: int | None) -> Iterator[Item]:
    """What git says of the repository; it is asked from inside of ``directory``, where no file of the work tree tells it anything."""
    name = report.source
    head = () if _git(program, directory, "rev-parse", "--verify", "--quiet", "HEAD").returncode else ("HEAD",)
    branches = _git(program, directory, "for-each-ref", "--count=1", "refs/heads/")
    if branches.returncode or (branches.stderr and not head):
        yield Refusal(name, None, f"git stopped: {_why(branches.stderr)}")
        return
    if not head and not branches.stdout:
        yield Whole(name)  # no commits yet
        return
    since = (f"--since=@{since_ms // 1000}",) if since_ms is not None and since_ms >= _FIRST_SINCE_MS else ()
    arguments = (
        "log",
        "-z",
        "--numstat",
        "--no-renames",
        "--no-textconv",
        "--no-ext-diff",
        "-O/dev/null",
        f"--format={_FORMAT}",
        *since,
        *head,
        "--branches",
        "--",
    )
    with open(os.memfd_create("git"), "w+b") as said:  # noqa: PTH123 - a pipe could fill while the other one is read
        process = subprocess.Popen(_command(program, directory, *arguments), stdout=subprocess.PIPE, stderr=said, env=_environment())  # noqa: S603
        output: Any = process.stdout
        try:
            for fields in parse_log(output.read1):
                report.read += sum(map(len, fields))
                yield _found(name, fields)
            failed = process.wait()
        finally:
            process.kill()
            process.wait()
            output.close()
        said.seek(0)
        if failed:
            yield Refusal(name, None, f"git stopped: {_why(said.read(4096))}")
        elif since_ms is None:
            yield Whole(name)


def _found(repository: str, fields: list[bytes]) -> Found | Refusal:
    commit, parents, *people, body = [_text(field) for field in fields[: len(_FIELDS)]]
    author, author_email, authored, committer, committer_email, committed = people
    files: list[list[Any]] = []
    for field in fields[len(_FIELDS) :]:
        if numbers := _NUMBERS.match(field):
            added, removed = (None if count == b"-" else int(count) for count in numbers.groups()[:2])
            files.append([_text(numbers[3]), added, removed])
    try:
        times = {"authored_ms": int(authored) * 1000, "committed_ms": int(committed) * 1000}
    except ValueError:
        return Refusal(repository, None, f"commit {commit}: a date that cannot be read")
    message = body.strip("\n")
    payload: dict[str, Any] = {
        "commit": commit,
        "repository": repository,
        "subject": message.partition("\n")[0],
        "message": message,
        "author": _mention(author, author_email),
        "committer": _mention(committer, committer_email),
        **times,
    }
    if parents:
        payload["parents"] = parents.split(" ")
    if files:
        payload["files"] = files
    return Found(commit, repository, None, (payload,), size=len(body) + 50 * len(files) + 500)


def _mention(name: str, email: str) -> dict[str, str]:
    return {key: value for key, value in (("name", name), ("email", email)) if value}


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace").translate(_SAFE)


def _git(program: str, root: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """What git answers; of one that waits for a pipe in the place of one of its files, that it does not."""
    command = _command(program, root, *arguments)
    try:
        return subprocess.run(command, env=_environment(), capture_output=True, check=False, timeout=_PATIENCE_S)  # noqa: S603
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, b"", f"fatal: it does not answer within {_PATIENCE_S:g} s".encode())


def _command(program: str, root: Path, *arguments: str) -> list[str]:
    quiet = [word for setting in _QUIET for word in ("-c", setting)]
    return [program, "-C", str(root), "--no-pager", *quiet, *arguments]


def _environment() -> dict[str, str]:
    """Without what would lead git to another repository, make it ask, or let it fetch what is missing.

    git before 2.39.4 knows no ``GIT_NO_LAZY_FETCH``, and a repository's settings name the program that fetches: no protocol is allowed.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    never = {"GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "", "GIT_OPTIONAL_LOCKS": "0"}
    return {**kept, **never, "LC_ALL": "C"}


def _path(said: bytes) -> Path:
    return Path(os.fsdecode(said.removesuffix(b"\n")))


def _why(text: bytes) -> str:
    """What git says was fatal, else the first line of what it says; of a partial clone also how it becomes whole."""
    lines = text.decode("utf-8", "replace").strip().splitlines() or ["it does not say why"]
    why = next((line for line in lines if line.startswith("fatal: ")), lines[0]).removeprefix("fatal: ")[:300]
    return f"{why}; `git fetch --refetch --no-filter` gets what a partial clone lacks" if "promisor" in why else why


def _current(db: apsw.Connection, keys: Sequence[str]) -> dict[str, Current]:
    return look_up(db, "SELECT commit_key, source_event, '' FROM commits WHERE commit_key IN", keys)


def _gone(key: str, repository: str, reason: str) -> tuple[str, dict[str, Any]]:
    return "commit.removed", {"commit": key, "repository": repository, "reason": reason}


def _held(db: apsw.Connection, source: str) -> Iterator[tuple[str, str]]:
    """Those of this repository alone: one that lies in it, a submodule, has its own history."""
    yield from db.execute("SELECT commit_key, repository FROM commits WHERE repository = ?", (source,))


_SORT = Sort("git", "commit", "commit.imported", _current, _gone, _held)
