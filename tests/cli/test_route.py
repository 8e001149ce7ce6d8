import json
import os
import subprocess
import sys

import pytest

from runloop.cli import entry, main, route

RLP = [sys.executable, "-c", "import sys; from runloop.cli.entry import main; sys.exit(main())"]


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith(("RUNLOOP", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", "/bin/bash")
    monkeypatch.setenv("RUNLOOP_ROUTER_TIMEOUT_MS", "60000")  # no test depends on the load of the machine
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("ls", "find", "zap"):
        (folder / name).write_text("")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return tmp_path


def rlp(*arguments, text=None):
    return subprocess.run([*RLP, "route", *arguments], input=text, capture_output=True, text=True, check=False)


def configure(home, text):
    (home / ".runloop").mkdir(exist_ok=True)
    (home / ".runloop/config.yaml").write_text(text)


@pytest.mark.parametrize(
    ("line", "code", "short"),
    [
        ("ls -la", 10, {"route": "shell", "rule": "command:command", "blocked": False}),
        ("what is on my calendar today?", 11, {"route": "agent", "rule": "sentence", "blocked": False}),
        ("find me a good restaurant", 13, {"route": "ask", "rule": "sentence:command_word", "blocked": False}),
        ("sudo rm -fr /", 14, {"route": "shell", "rule": "denylist", "blocked": True}),
    ],
)
def test_the_answer_is_a_line_of_json_and_an_exit_code(line, code, short, capsys):
    assert route.quick([line]) == code
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    answer = json.loads(printed)
    assert answer == {"version": 1, **short, "confidence": answer["confidence"], "exit": code}


def test_a_line_is_decided_about_where_no_stream_is_open():
    code = "import sys\nsys.argv = ['rlp', 'route', 'what failed yesterday?']\nfrom runloop.cli.entry import main\nsys.exit(main())"
    closed = subprocess.run(["/bin/sh", "-c", 'exec "$0" -P -c "$1" <&- >&- 2>&-', sys.executable, code], check=False)
    assert closed.returncode == 11


def test_json_adds_features_and_reason(capsys):
    assert route.quick(["--json", "--", "-x"]) == 10
    assert {"features", "reason"} < json.loads(capsys.readouterr().out).keys()


def test_standard_input_is_one_prompt_of_any_number_of_lines():
    ended = rlp("--stdin", text="ls |\n  zap\n\n")
    assert (ended.returncode, json.loads(ended.stdout)["rule"]) == (10, "command:command")


def test_lines_are_answered_one_by_one(home):
    ended = rlp("--lines", text="ls\n\nwhat is this about?\r\nrm -rf /\nls again")
    answers = [json.loads(line) for line in ended.stdout.splitlines()]
    assert ended.returncode == 0
    assert [answer["exit"] for answer in answers] == [10, 10, 11, 14, 10]


def test_a_coprocess_answers_before_the_next_line_is_there():
    with subprocess.Popen([*RLP, "route", "--lines"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as coprocess:
        for line, code in (("ls", 10), ("what is on my calendar today?", 11)):
            coprocess.stdin.write(line + "\n")
            coprocess.stdin.flush()
            assert json.loads(coprocess.stdout.readline())["exit"] == code
        coprocess.stdin.write("l")
        coprocess.stdin.flush()
        coprocess.stdin.write("s\n")
        coprocess.stdin.flush()
        assert json.loads(coprocess.stdout.readline())["exit"] == 10
        coprocess.stdin.close()
        assert coprocess.wait() == 0


def test_requests_bring_their_own_facts_and_a_wrong_one_is_answered_too():
    requests = [
        {"line": "gs", "facts": {"aliases": {"gs": "git status"}}},
        {"line": "ls |\nzap"},
        {"line": 1},
        [],
        {"line": "x", "facts": {"alias": {}}},
    ]
    text = "".join(json.dumps(each) + "\n" for each in requests) + "{\n"
    answers = [json.loads(line) for line in rlp("--requests", text=text).stdout.splitlines()]
    assert [answer.get("rule") for answer in answers[:2]] == ["command:alias", "command:command"]
    assert [answer["error"]["code"] for answer in answers[2:]] == ["route.request", "route.request", "route.facts", "route.request"]
    assert all(answer["error"]["hint"] for answer in answers[2:])


def test_facts_come_from_a_file_or_the_first_line_of_the_input(home, capsys):
    file = home / "facts.json"
    file.write_text('{"functions": ["deploy"]}')
    assert route.quick(["--shell-facts", str(file), "deploy prod"]) == 10
    assert json.loads(capsys.readouterr().out)["rule"] == "command:function"
    ended = rlp("--shell-facts=-", "deploy prod", text='{"functions": ["deploy"]}\n')
    assert json.loads(ended.stdout)["rule"] == "command:function"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "give one of LINE"),
        (["a", "--stdin"], "give one of LINE"),
        (["--lines", "--requests"], "give one of LINE"),
        (["--timeout-ms", "abc", "a"], "--timeout-ms must be milliseconds"),
        (["--timeout-ms=0", "a"], "--timeout-ms must be milliseconds"),
        (["--shell-facts", "/nowhere/x", "a"], "cannot be read"),
        (["a", "b"], "unexpected extra argument"),
        (["--timeout-ms"], "requires an argument"),
        (["--nonsense"], "there is no option"),
    ],
)
def test_a_wrong_call_says_what_is_wrong_and_ends_with_2(arguments, problem):
    ended = rlp(*arguments)
    assert ended.returncode == 2
    assert problem.lower() in ended.stderr.lower()
    assert "hint:" in ended.stderr


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, '{"alias": {}}'])
def test_facts_that_are_none_are_refused(home, text, capsys):
    file = home / "facts.json"
    file.write_text(text)
    assert route.quick(["--shell-facts", str(file), "ls"]) == 2
    assert "facts" in capsys.readouterr().err


def test_the_time_is_the_flag_then_the_variable_then_200(monkeypatch):
    monkeypatch.delenv("RUNLOOP_ROUTER_TIMEOUT_MS")
    assert route._timeout(None) == 200
    monkeypatch.setenv("RUNLOOP_ROUTER_TIMEOUT_MS", "150")
    assert (route._timeout(None), route._timeout("50")) == (150, 50)
    monkeypatch.setenv("RUNLOOP_ROUTER_TIMEOUT_MS", "abc")
    assert rlp("ls").returncode == 2


def test_time_that_is_over_ends_with_12():
    with subprocess.Popen(
        [*RLP, "route", "--stdin", "--timeout-ms", "50"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as waiting:
        assert waiting.wait() == 12
        assert (waiting.stdout.read(), waiting.stderr.read()) == ("", "router timeout after 50 ms\n")


def test_help_and_global_options_take_the_way_of_every_verb(capsys):
    assert main.main(["route", "--help"]) == 0
    assert "10 shell, 11 agent" in capsys.readouterr().out
    assert main.main(["--set", "router.fastpath_shell=false", "route", "ls"]) == 13


def test_every_key_of_the_router_has_its_effect(home):
    assert rlp("@ ls").returncode == 10
    configure(home, 'router: {sigil: "@", sentences: agent, denylist: [zap], allowlist: [deploy it], known_commands: [zorgle]}')
    assert [rlp(line).returncode for line in ("@ ls", "find me a good restaurant", "zap", "please deploy it", "zorgle the thing")] == [
        11,
        11,
        14,
        10,
        10,
    ]
    configure(home, "router: {fastpath_shell: false}")
    assert rlp("ls").returncode == 13


def test_settings_are_kept_until_a_file_or_a_variable_changes(home, monkeypatch):
    kept = home / ".cache/runloop/router.json"
    assert rlp("zap").returncode == 10
    first = kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert rlp("zap").returncode == 10
    assert kept.read_text() == first
    monkeypatch.setenv("RUNLOOP__ROUTER__DENYLIST", "zap")
    assert rlp("zap").returncode == 14
    monkeypatch.delenv("RUNLOOP__ROUTER__DENYLIST")
    configure(home, "router: {denylist: [zap]}")
    assert rlp("zap").returncode == 14
    kept.write_text("[]")
    assert rlp("zap").returncode == 14
    configure(home, "router: {denylist: zap: x}")
    assert rlp("zap").returncode == 2


def test_what_set_overrides_counts_for_that_command_alone(home, capsys):
    def with_set(*arguments):
        return main.main(["--set", 'router.denylist=["zap"]', "route", *arguments])

    assert with_set("rm -rf /") == 10
    assert rlp("rm -rf /").returncode == 14
    assert (with_set("zap"), rlp("zap").returncode) == (14, 10)
    hints = home / ".runloop/router.hints"
    assert (rlp("--hints").returncode, kept := hints.read_text()) == (0, kept)
    capsys.readouterr()
    assert with_set("--hints") == 0
    assert "zap" in capsys.readouterr().out
    assert hints.read_text() == kept


def test_the_hints_that_every_shell_reads_have_nothing_of_one_shell_s_variables(home, monkeypatch, capsys):
    configure(home, "router: {denylist: [zap]}")
    monkeypatch.setenv("RUNLOOP__ROUTER__DENYLIST", "other")
    monkeypatch.setenv("RUNLOOP_ROUTER_SHELL_FASTPATH", "false")
    printed = rlp("--hints").stdout.splitlines()
    kept = (home / ".runloop/router.hints").read_text().splitlines()
    assert [each for each in printed if each.startswith(("needle", "always"))] == ["needle other", "always"]
    assert [each for each in kept if each.startswith(("needle", "always"))] == ["needle zap"]


def test_directories_of_openings_that_depend_on_where_one_is_are_not_kept(home, monkeypatch):
    for folder in ("one/ops", "two"):
        (home / folder).mkdir(parents=True)
    (home / "one/ops/zorpic.yaml").write_text("")
    monkeypatch.chdir(home)
    monkeypatch.setenv("RUNLOOP__OPENINGS__SEARCH_DIRS", str(home / "one/ops"))
    assert rlp("zorpic").returncode == 11
    monkeypatch.delenv("RUNLOOP__OPENINGS__SEARCH_DIRS")
    assert rlp("zorpic").returncode == 10
    configure(home, "openings: {search_dirs: [ops]}")
    for folder, code in (("one", 11), ("two", 10)):
        monkeypatch.chdir(home / folder)
        assert rlp("zorpic").returncode == code
    configure(home, "openings: {search_dirs: [$OPS]}")
    for folder, code in (("one/ops", 11), ("two", 10)):
        monkeypatch.setenv("OPS", str(home / folder))
        assert rlp("zorpic").returncode == code


def test_a_cache_that_cannot_be_written_costs_time_and_nothing_else(home, monkeypatch):
    (home / ".cache").write_text("a file")
    assert rlp("ls").returncode == 10
    monkeypatch.setenv("RUNLOOP_DEBUG", "0")
    assert "router settings" not in rlp("ls").stderr
    monkeypatch.setenv("RUNLOOP_DEBUG", "1")
    assert "router settings are not kept" in rlp("ls").stderr


def test_other_verbs_take_the_usual_way(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["rlp", "--version"])
    assert entry.main() == 0
    assert capsys.readouterr().out.startswith("rlp ")


def test_the_fast_way_imports_neither_the_command_line_library_nor_yaml_nor_typing():
    assert rlp("ls").returncode == 10
    probe = "import sys; from runloop.cli.entry import main; sys.argv[1:] = ['route', 'ls']; main(); print(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-S", "-P", "-c", probe],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    loaded = set(ended.stdout.splitlines()[1].split())
    assert not loaded & {
        "typer",
        "click",
        "yaml",
        "typing",
        "dataclasses",
        "pathlib",
        "runloop.cli.main",
        "runloop.config",
        "runloop.errors",
    }
