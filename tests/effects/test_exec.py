"""exec.run: the words that policy lists, no shell, and nothing left when the time is over."""

import asyncio
import errno
import os
import subprocess
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from runloop.effects.perform import process
from runloop.effects.perform.exec import ExecRun
from runloop.effects.perform.paths import PathRules
from runloop.effects.perform.process import MARK, ResourceLimits
from runloop.effects.types import CallError, CallErrorKind, EffectClass
from runloop.policy import Capabilities
from runloop.policy.commands import ExecGrants
from runloop.policy.paths import PathGrants

COMMANDS = [(name,) for name in ("sh", "cat", "echo", "env", "pwd", "head", "true", "no-such-program", "./sh", "/bin/echo", "sleep")]


def caps(*roots, read_only=()):
    fs = PathGrants.of((str(root), False) for root in roots)
    return Capabilities(exec=ExecGrants.of(COMMANDS, read_only), fs=fs).also_at(os.path.realpath)


@pytest.fixture
def run():
    return ExecRun(PathRules())


@pytest.fixture
def sh(run, make_ctx, crossing):
    async def run_script(script, **args):
        return (await crossing(run, {"argv": ["sh", "-c", script], **args}, make_ctx(caps()))).result

    return run_script


def alive(pid):
    """Whether it can still do something: one that is ending, or has ended, has no memory any more, and no words in it."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    return False


async def test_a_command_answers_with_its_output_and_is_labelled(run, make_ctx, crossing):
    outcome = await crossing(run, {"argv": ["echo", "hi $HOME; `ls` > x"]}, make_ctx(caps()))

    assert outcome.result == {
        "exit_code": 0,
        "signal": None,
        "stdout": "hi $HOME; `ls` > x\n",
        "stderr": "",
        "timed_out": False,
        "truncated": False,
    }
    assert outcome.taint == {"exec:echo"}


async def test_what_is_approved_is_the_program_found_and_every_word(run, make_ctx):
    prepared = run.prepare({"argv": ["echo", "a b", "$x"], "stdin": "in"}, make_ctx(caps()))

    assert prepared.what.endswith("echo 'a b' '$x'\nin a directory of its own, removed afterwards\nwith the input:\nin")
    assert prepared.what.startswith("/")
    assert (prepared.action, prepared.klass, prepared.external) == ("exec.run", EffectClass.EXTERNAL, True)
    assert prepared.data["argv"] == ("echo", "a b", "$x")


async def test_an_approval_is_for_the_same_command_with_the_same_input_in_the_same_directory(run, tmp_path, make_ctx):
    asked = [
        {"argv": ["echo", "a b", "&&"]},
        {"argv": ["echo", "a b", "&&"], "cwd": str(tmp_path)},
        {"argv": ["echo", "a b", "&&"], "stdin": "one"},
        {"argv": ["echo", "a b", "&&"], "stdin": "two"},
        {"argv": ["echo", "a", "b", "&&"]},
    ]
    targets = [run.prepare(args, make_ctx(caps(tmp_path))).recipients for args in asked]
    assert targets[0][0].endswith("/echo 'a b' '&&'")
    assert targets[1] == (f"cd {tmp_path.resolve()} && {targets[0][0]}",)
    assert len({*targets}) == len(asked)


def test_what_is_shown_of_a_command_is_one_line_whatever_its_words_hold(run, make_ctx):
    words = ["a\nin /somewhere/else\r", "it's\n\\n", "$'a'", ""]
    prepared = run.prepare({"argv": ["echo", *words]}, make_ctx(caps()))
    shown, *below = prepared.what.split("\n")

    assert (below, prepared.recipients) == (["in a directory of its own, removed afterwards"], (shown,))
    read = subprocess.run(["bash", "-c", f"set -- {shown}; printf '%s\\0' \"$@\""], capture_output=True, check=True).stdout
    assert read.decode().split("\0")[1:-1] == words


async def test_a_directory_that_leads_elsewhere_since_it_was_shown_is_refused(run, tmp_path, make_ctx):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (link := tmp_path / "link").symlink_to("one")
    ctx = make_ctx(caps(tmp_path))
    prepared = run.prepare({"argv": ["pwd"], "cwd": str(link)}, ctx)
    assert str(tmp_path.resolve() / "one") in prepared.what
    link.unlink()
    link.symlink_to("two")
    with pytest.raises(CallError) as refused:
        await run.perform(prepared, ctx)
    assert (refused.value.kind, refused.value.code) == (CallErrorKind.UNAVAILABLE, "exec.changed")


async def test_a_command_listed_as_read_only_is_a_read(run, make_ctx):
    prepared = run.prepare({"argv": ["cat", "x"]}, make_ctx(caps(read_only=[("cat",)])))

    assert (prepared.klass, prepared.external) == (EffectClass.READ, False)


async def test_who_is_asked_about_a_command_that_is_almost_read_only_is_told_what_is_not(run, guarded, make_ctx):
    notes, secret = guarded
    granted = make_ctx(caps(notes, read_only=[("cat",), ("git", "log")]))
    said = [run.prepare({"argv": argv}, granted).because for argv in (["cat", "-n", "x"], ["cat", str(secret)], ["echo", "x"])]
    assert said == [
        "policy.caps lists cat as read-only, but not with -n",
        f"it names {secret}, which fs in policy.caps does not grant",
        "",
    ]


@pytest.fixture
def guarded(tmp_path):
    """A directory of notes with a file that is nobody's and a link out of it, and what the link leads to."""
    notes, secret = (tmp_path / "notes").resolve(), tmp_path / "secret"
    notes.mkdir()
    for path in (notes / "a", notes / "own", secret):
        path.write_text("x")
    (notes / "leads").symlink_to(secret)
    return notes, secret


@pytest.mark.parametrize(
    ("operands", "reads"),
    [
        (["{notes}/a"], True),
        (["{notes}"], True),
        (["a", "--", "-n"], False),
        (["nothing-of-this-name", "main..dev"], True),
        (["{notes}/../secret"], False),
        (["{secret}"], False),
        (["a", "{secret}"], False),
        (["{notes}/leads"], False),
        (["../secret"], False),
        (["{notes}/own"], False),
    ],
)
@pytest.mark.parametrize("inside", [True, False])
async def test_a_read_only_command_asks_where_it_names_a_file_that_the_agent_may_not_read(operands, reads, inside, guarded, make_ctx):
    notes, secret = guarded
    run = ExecRun(PathRules(protected=(str(notes / "own"),)))
    argv = ["cat", *(each.format(notes=notes, secret=secret) for each in operands)]

    prepared = run.prepare({"argv": argv, **({"cwd": str(notes)} if inside else {})}, make_ctx(caps(notes, read_only=[("cat",)])))

    assert prepared.klass is (EffectClass.READ if reads else EffectClass.EXTERNAL)


@pytest.mark.parametrize("word", ["leads", "own"])
async def test_so_it_does_where_it_names_one_in_its_directory(word, guarded, make_ctx):
    notes, _ = guarded
    run = ExecRun(PathRules(protected=(str(notes / "own"),)))

    prepared = run.prepare({"argv": ["cat", word], "cwd": str(notes)}, make_ctx(caps(notes, read_only=[("cat",)])))

    assert prepared.klass is EffectClass.EXTERNAL


async def test_what_policy_spells_out_is_no_file_to_ask_about_and_what_writes_asks_whatever_policy_says(run, make_ctx):
    ctx = make_ctx(Capabilities(exec=ExecGrants.of(COMMANDS, [("cat", "/etc/hostname"), ("tee",)])))

    assert run.prepare({"argv": ["cat", "/etc/hostname"]}, ctx).klass is EffectClass.READ
    assert run.prepare({"argv": ["cat", "/etc/hostname", "/etc/passwd"]}, ctx).klass is EffectClass.EXTERNAL
    assert run.prepare({"argv": ["tee", "x"]}, ctx).klass is EffectClass.EXTERNAL


@pytest.mark.parametrize(
    ("argv", "kind", "code"),
    [
        (["rm", "-rf", "/"], CallErrorKind.DENIED, "denied.exec.spawn.command_not_permitted"),
        (["no-such-program"], CallErrorKind.INVALID, "exec.not_found"),
        (["./sh"], CallErrorKind.INVALID, "exec.relative"),
        (["echo", "a\0b"], CallErrorKind.INVALID, "exec.argv"),
    ],
)
async def test_what_may_not_or_cannot_run_is_refused(argv, kind, code, run, make_ctx, refusal):
    error = await refusal(run, {"argv": argv}, make_ctx(caps()))

    assert (error.kind, error.code) == (kind, code)


async def test_without_the_capability_nothing_runs(run, make_ctx, refusal):
    error = await refusal(run, {"argv": ["echo"]}, make_ctx(Capabilities()))

    assert error.code == "denied.exec.spawn.cap_missing"


async def test_the_environment_is_clean(run, make_ctx, crossing, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", "secret")
    outcome = await crossing(run, {"argv": ["env"]}, make_ctx(caps()))

    names = {line.partition("=")[0] for line in outcome.result["stdout"].splitlines()}
    assert names - {"PWD", "SHLVL", "_", "OLDPWD"} == {"PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TERM", MARK}


async def test_input_goes_in_and_output_is_cut_at_its_cap(make_ctx, crossing):
    run = ExecRun(PathRules(), output_bytes=1000)
    result = (await crossing(run, {"argv": ["cat"], "stdin": "x" * 500_000}, make_ctx(caps()))).result

    assert (result["stdout"], result["truncated"], result["exit_code"]) == ("x" * 1000, True, 0)


async def test_a_program_that_does_not_read_its_input_ends_well(run, make_ctx, crossing):
    result = (await crossing(run, {"argv": ["true"], "stdin": "x" * 500_000}, make_ctx(caps()))).result

    assert (result["exit_code"], result["timed_out"]) == (0, False)


async def test_exit_codes_and_signals_are_told_apart(sh):
    failed, killed = await sh("echo oops >&2; exit 3"), await sh("kill -9 $$")

    assert (failed["exit_code"], failed["signal"], failed["stderr"]) == (3, None, "oops\n")
    assert (killed["exit_code"], killed["signal"]) == (-9, "SIGKILL")


async def test_a_time_out_ends_the_children_that_hold_the_pipes(sh):
    result = await sh("sleep 300 & echo $!; sleep 300", timeout_ms=1500)

    assert (result["timed_out"], result["signal"]) == (True, "SIGTERM")
    assert not alive(int(result["stdout"]))


async def test_a_program_that_ignores_the_first_signal_is_killed(sh):
    result = await sh("trap '' TERM; sleep 300 & wait; sleep 300", timeout_ms=1500)

    assert (result["timed_out"], result["signal"]) == (True, "SIGKILL")


@pytest.mark.parametrize("count", [10, 200_000])
async def test_what_a_program_says_when_its_time_is_over_is_in_its_answer(sh, count, monkeypatch):
    monkeypatch.setattr(process, "TERM_GRACE_S", 20)
    result = await sh(f"trap 'head -c {count} /dev/zero; exit 3' TERM; while :; do sleep 0.01; done", timeout_ms=1500)

    assert (result["timed_out"], result["exit_code"], len(result["stdout"])) == (True, 3, count)


async def test_what_a_finished_program_leaves_running_is_ended(sh):
    result = await sh("sleep 300 & echo $!; exit 0")

    assert (result["exit_code"], result["timed_out"]) == (0, False)
    assert not alive(int(result["stdout"]))


async def test_a_child_in_a_session_of_its_own_is_found_too(sh):
    script = "setsid sh -c 'echo $$; exec sleep 300' & sleep 300"
    result = await sh(script, timeout_ms=1500)

    assert not alive(int(result["stdout"]))


async def test_the_nodes_deadline_counts_when_it_is_nearer(run, make_ctx, crossing):
    ctx = make_ctx(caps(), deadline_ms=1_795_000_000_200)
    result = (await crossing(run, {"argv": ["sleep", "300"]}, ctx)).result

    assert result["timed_out"] is True


async def test_a_cancelled_call_returns_when_the_program_is_gone(run, make_ctx, tmp_path):
    ctx = make_ctx(caps(tmp_path))
    os.mkfifo(tmp_path / "pid")
    prepared = run.prepare({"argv": ["sh", "-c", "echo $$ > pid; sleep 300"], "cwd": str(tmp_path)}, ctx)
    task = asyncio.create_task(run.perform(prepared, ctx))
    pid = int(await asyncio.to_thread((tmp_path / "pid").read_text))
    assert alive(pid)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert not alive(pid)


async def test_without_a_directory_it_gets_one_that_is_removed(run, make_ctx, crossing):
    result = (await crossing(run, {"argv": ["sh", "-c", "pwd; echo x > file; ls"]}, make_ctx(caps()))).result

    where, listing = result["stdout"].splitlines()
    assert listing == "file"
    assert not Path(where).exists()


@pytest.mark.parametrize("lacking", ["threads", "processes", "files"])
async def test_where_the_system_has_no_more_to_give_nothing_runs_and_the_call_says_so(
    run, make_ctx, refusal, monkeypatch, tmp_path, lacking
):
    def refuse(*_args, **_options):
        if lacking == "threads":
            raise RuntimeError("can't start new thread")
        number = errno.EMFILE if lacking == "files" else errno.EAGAIN
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        if lacking == "threads":
            started = threading.Thread.start
            patched.setattr(threading.Thread, "start", lambda each: refuse() if each.name == "runloop-exec" else started(each))
        else:
            patched.setattr(*((process.selectors, "DefaultSelector") if lacking == "files" else (process.subprocess, "Popen")), refuse)
        refused = await refusal(run, {"argv": ["sh", "-c", f"echo x > {tmp_path}/ran"]}, make_ctx(caps()))

    assert (refused.kind, refused.code, refused.retryable, refused.outcome_unknown) == (
        CallErrorKind.UNAVAILABLE,
        "exec.start",
        True,
        False,
    )
    assert "cannot start" in refused.message
    assert "ulimit" in refused.hint
    assert not (tmp_path / "ran").exists()


async def test_where_no_directory_can_be_made_for_it_the_call_says_what_to_change(run, make_ctx, refusal, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    refused = await refusal(run, {"argv": ["echo", "x"]}, make_ctx(caps()))

    assert (refused.kind, refused.code) == (CallErrorKind.UNAVAILABLE, "exec.start")
    assert "TMPDIR" in refused.hint


async def test_a_granted_directory_is_the_working_directory(run, tmp_path, make_ctx, crossing):
    result = (await crossing(run, {"argv": ["pwd"], "cwd": str(tmp_path)}, make_ctx(caps(tmp_path)))).result

    assert result["stdout"] == f"{os.path.realpath(tmp_path)}\n"


@pytest.mark.parametrize(
    ("cwd", "code"), [("/", "denied.fs.access.path_not_permitted"), ("{tmp}/none", "files.not_found"), ("{tmp}/f", "exec.cwd")]
)
async def test_a_directory_that_is_not_granted_or_not_there_is_refused(cwd, code, run, tmp_path, make_ctx, refusal):
    (tmp_path / "f").touch()
    error = await refusal(run, {"argv": ["pwd"], "cwd": cwd.format(tmp=tmp_path)}, make_ctx(caps(tmp_path)))

    assert error.code == code


async def test_limits_hold_inside_the_program(make_ctx, crossing):
    run = ExecRun(PathRules(), limits=ResourceLimits(cpu_s=1, file_bytes=4096, open_files=32))
    script = "ulimit -n; ulimit -c; ulimit -t; head -c 100000 /dev/zero > big; wc -c < big"
    result = (await crossing(run, {"argv": ["sh", "-c", script]}, make_ctx(caps()))).result

    assert result["stdout"].split() == ["32", "0", "1", "4096"]


async def test_where_memory_runs_out_the_kernel_takes_the_program_and_not_the_process_that_started_it(sh):
    own = int(Path("/proc/self/oom_score_adj").read_text())

    assert int((await sh("cat /proc/self/oom_score_adj"))["stdout"]) == max(own, 300)


async def test_bytes_that_are_no_text_are_replaced(sh):
    result = await sh(r"printf 'a\377b'")

    assert result["stdout"] == "a\ufffdb"


def left_over():
    children = {child for task in Path("/proc/self/task").iterdir() for child in (task / "children").read_text().split()}
    return children, len(list(Path("/proc/self/fd").iterdir()))


async def test_no_descriptor_or_child_is_left(sh):
    await sh("true")
    before = left_over()
    for _ in range(5):
        await sh("echo a; sleep 300 & exit 1")

    assert left_over() == before
