import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import typer

from runloop import __version__
from runloop.cli import context, main, output
from runloop.errors import Denied, InvalidInput, RunloopError, Unavailable, VerificationFailed, Where

RLP = [sys.executable, "-c", "import sys; from runloop.cli.main import main; sys.exit(main())"]


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith("RUNLOOP") or name in ("NO_COLOR", "PAGER"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def verb(monkeypatch):
    """Register a verb `try` that runs a function."""

    def register(function):
        module = ModuleType("a_verb_of_this_test")
        module.app = typer.Typer(add_completion=False, rich_markup_mode=None)
        module.app.command()(function)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(main.VERBS, "try", main.Verb(module.__name__, "A verb of this test."))

    return register


def raises(error):
    def command(json: bool = typer.Option(False, "--json")) -> None:
        raise error

    return command


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"], ["help", "--help"], ["help", "help"], ["--help", "-h"]])
def test_help_lists_every_verb_with_one_line(capsys, arguments):
    assert main.main(arguments) == 0
    printed = capsys.readouterr().out
    for name, each in main.VERBS.items():
        assert f"  {name:<10} {each.summary}\n" in printed


@pytest.mark.parametrize("arguments", [["--version"], ["-V"], ["version"], ["run", "x", "--version"], ["--debug", "-V"]])
def test_the_version_is_printed_wherever_it_is_asked_for(capsys, arguments):
    assert main.main(arguments) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"rlp {__version__}"


def test_the_version_after_two_dashes_belongs_to_the_verb(capsys, verb):
    def command(words: str) -> None:
        print(words)

    verb(command)
    assert main.main(["try", "--", "--version"]) == 0
    assert capsys.readouterr().out == "--version\n"


def test_help_for_a_verb_is_the_verbs_own(capsys, verb):
    def command(words: str) -> None:
        """Say the words."""

    verb(command)
    assert main.main(["help", "try"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Usage: rlp try [OPTIONS]")
    assert "Say the words." in printed


@pytest.mark.parametrize("verb", ["agent", "config", "kb", "opening", "rmp", "secrets", "shell"])
def test_the_help_of_a_verb_says_of_each_of_its_commands_a_whole_sentence(capsys, verb):
    assert main.main([verb, "--help"]) == 0
    _, _, commands = capsys.readouterr().out.partition("Commands:\n")
    assert commands
    assert "..." not in commands


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("rnu", "Did you mean `rlp run`?"),
        ("rusn", "Did you mean `rlp runs`?"),
        ("agents", "Did you mean `rlp agent`?"),
        ("stop", "`rlp down` stops the daemon, `rlp cancel RUN` a run."),
        ("ps", "`rlp runs` lists runs, `rlp inbox` what waits for you."),
        ("zzzzzz", "`rlp --help` lists what there is."),
        ("nosuch", "`rlp --help` lists what there is."),
    ],
)
def test_an_unknown_verb_suggests_the_nearest(capsys, word, hint):
    assert main.main([word]) == 2
    assert capsys.readouterr().err == f"error[cli.unknown_verb]: unknown verb {word!r}\n  hint: {hint}\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [(RunloopError("m"), 1), (InvalidInput("m"), 2), (Unavailable("m"), 3), (Denied("m"), 4), (VerificationFailed("m"), 5)],
)
def test_an_error_ends_with_the_code_of_its_class(capsys, verb, error, code):
    verb(raises(error))
    assert main.main(["try"]) == code
    assert capsys.readouterr().err == f"error[{error.code}]: m\n"


def test_an_error_says_what_where_and_what_to_do(capsys, verb):
    verb(raises(InvalidInput("wrong", code="a.b", where=Where(file="f.yaml", line=3, column=4, key="k"), hint="one\ntwo")))
    assert main.main(["try"]) == 2
    assert capsys.readouterr().err == "error[a.b]: wrong\n  at f.yaml:3:4, key 'k'\n  hint: one\n        two\n"


@pytest.mark.parametrize("how", ["flag", "variable"])
def test_an_error_is_one_json_object_when_asked(capsys, verb, monkeypatch, how):
    verb(raises(InvalidInput("wrong", code="a.b", where=Where(line=3), hint="h")))
    if how == "variable":
        monkeypatch.setenv("RUNLOOP_ERRORS", "json")
    assert main.main(["try", *(["--json"] if how == "flag" else [])]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert json.loads(captured.err) == {"error": {"code": "a.b", "message": "wrong", "where": {"line": 3}, "hint": "h", "retryable": False}}
    assert captured.err.count("\n") == 1


def test_json_after_two_dashes_is_no_flag(capsys, verb):
    def command(words: list[str]) -> None:
        raise InvalidInput("wrong")

    verb(command)
    main.main(["try", "--", "--json"])
    assert capsys.readouterr().err.startswith("error[input.invalid]")


def test_an_unexpected_error_is_one_line_and_never_a_traceback(capsys, verb):
    verb(raises(KeyError("secret place\nsecond line")))
    assert main.main(["try"]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("error[runloop.internal]: unexpected KeyError: ")
    assert "RUNLOOP_DEBUG=1" in printed
    assert "Traceback" not in printed


def test_bytes_that_are_no_text_are_named_and_not_called_a_defect(capsys, verb):
    def command(word: str) -> None:
        word.encode()

    verb(command)
    assert main.main(["try", "K\udce4se"]) == 2
    assert capsys.readouterr().err.splitlines()[0] == "error[cli.not_text]: 'K\ufffdse' holds bytes that are no UTF-8"


def test_any_other_text_that_cannot_be_written_is_a_defect(capsys, verb):
    def command() -> None:
        "\ud800".encode()

    verb(command)
    assert (main.main(["try"]), "runloop.internal" in capsys.readouterr().err) == (1, True)


def test_an_answer_that_is_no_text_in_the_encoding_of_the_terminal_is_read():
    script = "from runloop.cli import output; output.prepare_streams(); print(ascii(output.heard('Where? ')))"
    env = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    result = subprocess.run([sys.executable, "-c", script], input=b"K\xe4se\n", capture_output=True, env=env, check=False)
    assert (result.returncode, result.stdout) == (0, b"'K\\udce4se'\n")


@pytest.mark.parametrize(
    "error",
    [OSError(24, "Too many open files"), RuntimeError("can't start new thread"), MemoryError()],
)
def test_what_the_system_has_no_more_of_is_not_called_a_defect(capsys, verb, error):
    verb(raises(error))
    assert main.main(["try"]) == 3
    printed = capsys.readouterr().err
    assert printed.startswith("error[system.exhausted]: the system has no more to give: ")
    assert "ulimit" in printed


def test_a_module_that_python_path_puts_before_ours_is_named_and_not_called_a_defect(tmp_path):
    (tmp_path / "yaml.py").write_text("")
    env = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-P", "-m", "runloop", "run", "assistant"]
    result = subprocess.run(command, capture_output=True, env=env, cwd=tmp_path, text=True, check=False)
    first, place, hint = result.stderr.splitlines()
    assert (result.returncode, first.startswith("error[runloop.shadowed]: PYTHONPATH "), place) == (2, True, f"  at {tmp_path / 'yaml.py'}")
    assert "env -u PYTHONPATH rlp" in hint


def test_a_full_disk_is_named_with_the_file_and_what_to_do(capsys, verb):
    verb(raises(OSError(28, "No space left on device", "/srv/state")))
    assert main.main(["try"]) == 3
    first, place, hint = capsys.readouterr().err.splitlines()
    assert first == "error[system.disk_full]: what has to be written cannot be: No space left on device"
    assert (place, "make room" in hint) == ("  at /srv/state", True)


@pytest.mark.parametrize("how", ["--debug", "RUNLOOP_DEBUG"])
def test_debug_shows_the_traceback(capsys, verb, monkeypatch, how):
    verb(raises(KeyError("x")))
    if how == "RUNLOOP_DEBUG":
        monkeypatch.setenv(how, "1")
    assert main.main([*(["--debug"] if how == "--debug" else []), "try"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["", " ", "0", "false", "No", "off"])
def test_a_word_for_no_switches_no_debugging_on(capsys, verb, monkeypatch, word):
    verb(raises(KeyError("x")))
    monkeypatch.setenv("RUNLOOP_DEBUG", word)
    assert main.main(["try"]) == 1
    assert "Traceback (most recent call last)" not in capsys.readouterr().err


def test_an_interrupt_is_130(verb):
    verb(raises(KeyboardInterrupt()))
    assert main.main(["try"]) == 130


@pytest.mark.parametrize(
    ("raised", "code"), [(typer.Exit(7), 7), (typer.Abort(), 130), (SystemExit(None), 0), (SystemExit(3), 3), (SystemExit("text"), 1)]
)
def test_a_verb_may_end_with_a_code_of_its_own(verb, raised, code):
    verb(raises(raised))
    assert main.main(["try"]) == code


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (5, 5)])
def test_what_a_verb_returns_is_its_code(verb, returned, code):
    verb(lambda: returned)
    assert main.main(["try"]) == code


@pytest.mark.parametrize("arguments", [["try", "--bogus"], ["try", "word"], ["try", "--number", "x"], ["try", "--number"]])
def test_a_usage_error_is_one_of_ours(capsys, verb, arguments):
    def command(number: int = typer.Option(0)) -> None: ...

    verb(command)
    assert main.main(arguments) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error[cli.usage]: ")
    assert printed.endswith("  hint: Run `rlp try --help` for what it takes.\n")


def test_a_verb_with_subcommands_and_none_given_shows_its_help(capsys):
    assert main.main(["config"]) == 2
    assert "explain" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--set"], ["--set", "novalue"], ["--set", "=x"], ["--set=novalue"]])
def test_set_needs_a_key_and_a_value(capsys, arguments):
    assert main.main([*arguments, "version"] if arguments != ["--set"] else arguments) == 2
    assert capsys.readouterr().err.startswith("error[cli.usage]: --set needs KEY=VALUE")


def test_a_blank_around_the_key_of_a_setting_is_no_part_of_it(verb):
    verb(lambda: context.settings().get("models.default"))
    assert main.main(["--set", " models.default =none", "try"]) == 0
    assert context.settings().get("models.default") == "none"


def test_set_reaches_the_settings_and_the_verbs_own_flags_beat_it(verb):
    seen = []
    verb(lambda: seen.append([context.settings().get("sandbox.workers"), context.settings({"sandbox.workers": 9}).get("sandbox.workers")]))
    assert main.main(["--set", "sandbox.workers=3", "--set=models.default=a=b", "try"]) == 0
    assert seen == [[3, 9]]
    assert context.settings().get("models.default") == "a=b"


def test_warnings_of_the_settings_are_printed_once(capsys, verb):
    def command() -> None:
        context.settings()
        context.settings({"sandbox.workers": 1})

    verb(command)
    assert main.main(["--set", "kb.wal=yes", "try"]) == 0
    assert capsys.readouterr().err == "warning[config.no_effect]: kb.wal (always on) has no effect\n"


def test_control_characters_of_an_error_never_reach_the_terminal(capsys, verb):
    verb(raises(InvalidInput("a\x1b]0;x\x07b\u202ec", where=Where(file="f\x1b[2J"), hint="h\x9b")))
    main.main(["try"])
    assert capsys.readouterr().err == "error[input.invalid]: a\\x1b]0;x\\x07b\\u202ec\n  at f\\x1b[2J\n  hint: h\\x9b\n"


def in_terminal(arguments, env):
    """What `rlp` writes when stderr is a terminal."""
    leader, follower = pty.openpty()
    process = subprocess.Popen([*RLP, *arguments], stdin=subprocess.DEVNULL, stdout=follower, stderr=follower, env={**os.environ, **env})
    os.close(follower)
    parts = []
    try:
        while part := os.read(leader, 4096):
            parts.append(part)
    except OSError:  # Linux ends a terminal whose other side is closed with EIO
        pass
    finally:
        os.close(leader)
    return process.wait(), b"".join(parts).decode()


@pytest.mark.parametrize(
    ("env", "colored"), [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_colour_is_for_terminals_that_want_it(env, colored):
    code, printed = in_terminal(["nonsense"], env)
    assert (code, "\x1b[31m" in printed) == (2, colored)


@pytest.mark.parametrize("arguments", [["--help"], ["version"], ["config", "show", "--all", "--json"]])
def test_output_that_cannot_be_written_is_one_line_and_no_defect(arguments):
    with Path("/dev/full").open("w") as full:
        result = subprocess.run([*RLP, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode == 1
    assert json.loads(result.stderr)["error"]["code"] == "cli.output" if "--json" in arguments else "error[cli.output]" in result.stderr
    assert "No space left on device" in result.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_standard_stream_that_is_closed_changes_nothing_else(closed):
    command = [sys.executable, *RLP[1:], "config", "show"]
    result = subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh", *command], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_umask_that_takes_the_owners_own_rights_away_leaves_files_that_the_owner_can_use(tmp_path):
    command = [sys.executable, "-m", "runloop", "kb", "import", "notes", str(tmp_path)]
    env = {**os.environ, "HOME": str(tmp_path), "RUNLOOP_HOME": str(tmp_path / "state")}
    result = subprocess.run(command, umask=0o777, capture_output=True, env=env, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "state", tmp_path / "state" / "pog" / "events.sqlite")}
    assert modes == {"state": 0o700, "events.sqlite": 0o600}


@pytest.mark.parametrize("words", [["--help"], ["config", "show", "--all", "--json"], ["opening", "schema"], ["runs"]])
def test_a_broken_pipe_ends_quietly_as_other_programs_end(words, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    env = {**os.environ, "HOME": str(tmp_path), "RUNLOOP_HOME": str(tmp_path / "state")}
    result = subprocess.run([*RLP, *words], stdout=writer, stderr=subprocess.PIPE, env=env, check=False)
    os.close(writer)
    assert (result.returncode, result.stderr) == (141, b"")


def test_characters_that_the_encoding_lacks_are_printed_as_escapes():
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    result = subprocess.run([*RLP, "höh"], capture_output=True, env=env, check=False)
    assert result.returncode == 2
    assert re.match(rb"error\[cli\.unknown_verb\]: unknown verb 'h.*h'", result.stderr)


def test_our_own_signs_that_the_encoding_lacks_are_printed_as_others_of_their_width():
    env = {**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0", "LC_ALL": "C"}
    script = "from runloop.cli import output; output.prepare_streams(); print('\\xe9\\u2026\\u2502\\u2013\\u0141\\u2714')"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, env=env, check=False)
    assert (result.stdout, result.stderr) == ("é~|-\\u0141+\n".encode("latin-1"), b"")


def test_the_streams_are_left_alone_when_they_cannot_be_changed(monkeypatch):
    class Closed:
        def isatty(self):
            raise ValueError("closed")

        def fileno(self):
            raise ValueError("closed")

    monkeypatch.setattr(sys, "stdout", Closed())
    output.prepare_streams()
    output.abandon_stdout()
    assert output.is_terminal(sys.stdout) is False


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["kb", "qurey"], "Did you mean `rlp kb query`?"),
        (["runs", "--stat", "x"], "Did you mean --state?"),
        (["run", "letter", "--quiet"], "It stands in front of the verb: `rlp --quiet run …`."),
        (["kb", "tables", "--set", "a.b=1"], "It stands in front of the verb: `rlp --set KEY=VALUE kb tables …`."),
        (["config", "sho"], "Did you mean `rlp config show`?"),
        (["agent", "new"], "`rlp agent scaffold NAME` begins an agent."),
        (["opening", "scaffold"], "`rlp opening new NAME` begins an opening."),
        (["runs", "--zzzz"], "Run `rlp runs --help`"),
        (["version", "--short"], "Run `rlp version --help`"),
        (["opening", "new", "x", "--template", "switch"], "`--from TEMPLATE` names one. Run"),
        (["cancel", "--all"], "`rlp pause --all` holds all runs at once"),
        (["run", "letter", "--recipient", "Maria"], "A parameter of the opening stands behind -p: `-p recipient=VALUE`. Run"),
    ],
)
def test_an_unknown_command_or_option_suggests_the_nearest(capsys, words, meant):
    assert main.main(words) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error[cli.usage]: there is no ")
    assert f"hint: {meant}" in shown


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["run", "letter", "recipient=Maria"], "A parameter of the opening stands behind -p: `-p recipient=Maria`. Run"),
        (["run", "letter", "twice"], "Run `rlp run --help`"),
        (["import", "contacts", "people.vcf"], "`rlp kb import contacts FILE`"),
        (["runs", "last"], "`rlp show RUN` shows one run. Run"),
    ],
)
def test_a_word_too_many_is_told_what_would_take_it(capsys, words, meant):
    assert main.main(words) == 2
    assert f"hint: {meant}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--json", "runs"], "Options of a verb stand behind it: `rlp runs --json …`."),
        (["--quite", "runs"], "Did you mean --quiet?"),
        (["--zzzz"], "`rlp --help` lists what there is."),
    ],
)
def test_an_option_in_front_of_the_verb_is_told_its_place(capsys, monkeypatch, words, hint):
    monkeypatch.setenv("RUNLOOP_ERRORS", "json")
    assert main.main(words) == 2
    assert json.loads(capsys.readouterr().err)["error"]["hint"] == hint


def test_the_exit_codes_are_explained_and_are_those_of_the_errors_and_the_router(capsys):
    from runloop.cli.exits import EXITS
    from runloop.router import reply

    assert main.main(["help", "exit-codes"]) == 0
    printed = capsys.readouterr().out
    assert all(f"{code:>3}  {meaning}" in printed for code, meaning in EXITS)
    routes = {reply.EXIT_SHELL, reply.EXIT_AGENT, reply.EXIT_TIMEOUT, reply.EXIT_ASK, reply.EXIT_BLOCKED}
    assert {code for code, _ in EXITS} == {0, 1, 2, 3, 4, 5, 130, 141} | routes


def test_quiet_shows_no_progress(monkeypatch):
    monkeypatch.setattr("runloop.cli.output.is_terminal", lambda stream: True)
    seen = []
    for words in ([], ["--quiet"], ["-q"]):
        context.begin()
        main._take_global_options([*words, "version"])
        seen.append(output.shows_progress())
    assert seen == [True, False, False]


@pytest.mark.parametrize("words", [["runs"], ["kb"], ["kb", "import"], ["kb", "import", "notes"], ["route"]])
def test_a_short_h_explains_a_verb_as_the_long_one_does(words, capsys):
    assert main.main([*words, "--help"]) == 0
    said = capsys.readouterr().out
    assert main.main([*words, "-h"]) == 0
    assert capsys.readouterr().out == said
    assert said.startswith(f"Usage: rlp {' '.join(words)} ")


@pytest.mark.parametrize(
    ("word", "instead"), [("plan", "rlp opening graph"), ("caps", "policy.caps"), ("trust", "allowed_agent_signers"), ("prompt", "rlp ask")]
)
def test_a_verb_of_other_programs_that_is_none_here_says_what_does_it(word, instead, capsys):
    assert main.main([word]) == 2
    assert instead in capsys.readouterr().err


def test_every_command_that_a_synonym_names_is_there():
    from runloop.cli.commands import named_command
    from runloop.cli.synonyms import SYNONYMS

    for path, told in SYNONYMS.items():
        for word, hint in told.items():
            assert word not in main.VERBS or path != "rlp"
            for called in re.findall(r"`rlp ([a-z][a-z ]*)", hint):
                verb, *under = called.split()
                _, names = named_command(verb, under)
                assert names == under, hint


@pytest.mark.parametrize("words", [["status"], ["nosuch"], ["route", "--nosuch"]])
def test_an_error_that_nobody_reads_ends_as_a_broken_pipe_does(words, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    env = {**os.environ, "HOME": str(tmp_path), "RUNLOOP_HOME": str(tmp_path / "state")}
    result = subprocess.run([*RLP, *words], stdout=writer, stderr=writer, env=env, check=False)
    os.close(writer)
    assert result.returncode == 141


def test_a_remark_that_cannot_be_written_ends_no_work(tmp_path):
    env = {**os.environ, "HOME": str(tmp_path), "RUNLOOP_HOME": str(tmp_path / "state")}
    subprocess.run([*RLP, "kb", "remember", "a", "b", "c"], capture_output=True, env=env, check=True)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*RLP, "kb", "export"], stdout=subprocess.PIPE, stderr=full, env=env, check=False)
        refused = subprocess.run([*RLP, "nosuch"], stdout=subprocess.PIPE, stderr=full, env=env, check=False)
    assert (done.returncode, refused.returncode) == (0, 2)


def test_the_first_help_fits_a_terminal():
    assert max(map(len, main.help_text().splitlines())) <= 80
