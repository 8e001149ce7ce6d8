import json
import os

import pytest

from runloop.cli.main import main


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith(("RUNLOOP", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".runloop").mkdir()
    return tmp_path


def configure(home, text):
    path = home / ".runloop/config.yaml"
    path.write_text(text)
    return path


def run(capsys, *arguments):
    code = main(["config", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_show_lists_what_differs_from_the_defaults(capsys, home):
    file = configure(home, "sandbox:\n  workers: 2\n")
    code, out, err = run(capsys, "show", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {"sandbox.workers": {"value": 2, "layer": "user", "where": {"file": str(file), "line": 2, "column": 3}}}


def test_show_says_so_when_everything_has_its_default(capsys):
    assert run(capsys, "show", "--table")[1] == "every setting has its default; `rlp config show --all` lists them\n"


def test_show_all_of_a_section_lists_its_keys(capsys):
    code, out, _ = run(capsys, "show", "mail.smtp", "--all", "--json")
    assert (code, list(json.loads(out))) == (
        0,
        [f"mail.smtp.{name}" for name in ("host", "port", "tls", "user", "secret_id", "timeout_ms")],
    )


def test_show_of_something_unknown_suggests_the_nearest(capsys):
    code, _, err = run(capsys, "show", "modles")
    assert (code, "Did you mean models?" in err) == (2, True)


def test_secrets_are_never_shown(capsys, home, monkeypatch):
    configure(
        home,
        "kb: {redaction: {salt: s3cr3t}}\nmodels:\n  broker:\n    providers:\n"
        "      - {id: a, kind: http_ollama, base_url: 'http://ada:s3cr3t@localhost', headers: {X-Key: s3cr3t}}\n",
    )
    monkeypatch.setenv("RUNLOOP__SECURITY__SECRETS__MASTER_KEY", "s3cr3t")
    for arguments in (
        ["show", "--all", "--json"],
        ["show", "--all", "--table", "--no-wrap"],
        ["path", "--all", "--json"],
        ["path", "--all", "--table"],
    ):
        code, out, err = run(capsys, *arguments)
        assert (code, "s3cr3t" in out + err) == (0, False)
    for key in ("security.redaction.salt", "security.secrets.master_key", "models.broker.providers"):
        for form in ("--json", "--table"):
            code, out, err = run(capsys, "explain", key, form)
            assert (code, "s3cr3t" in out + err, "***" in out) == (0, False, True)


def test_explain_names_the_value_the_layer_the_place_and_the_reader(capsys, home):
    file = configure(home, "sandbox:\n  memory_mb: 64\n")
    code, out, _ = run(capsys, "explain", "sandbox.memory_mb", "--table")
    assert code == 0
    assert out.splitlines() == [
        "sandbox.memory_mb = 64",
        f"  decided by   user, {file}:2:3",
        "  meaning      Most memory of a guest, in MiB.",
        "  type         int",
        "  read by      limits of every guest",
        "  a change     counts from the next run on, also of a daemon that runs",
        "  variable     RUNLOOP__SANDBOX__MEMORY_MB",
        "  limited by   policy.memory_mb",
        "  layers, lowest first",
        "    default      256",
        f"    user         64  ({file}:2:3)",
    ]


def test_explain_says_which_change_needs_a_daemon_that_is_started_anew(capsys):
    code, out, _ = run(capsys, "explain", "mail.from", "--table")
    assert (
        code,
        "  a change     counts when what reads it is started; a daemon that runs keeps what it began with" in out.splitlines(),
    ) == (0, True)
    assert json.loads(run(capsys, "explain", "mail.from", "--json")[1])["reload"] is False
    assert json.loads(run(capsys, "explain", "router.sigil", "--json")[1])["reload"] is True


def test_explain_says_when_nothing_reads_a_key(capsys):
    assert "  read by      nothing: always on" in run(capsys, "explain", "kb.wal", "--table")[1]
    explained = json.loads(run(capsys, "explain", "kb.wal", "--json")[1])
    assert (explained["read_by"], explained["instead"]) == (None, "always on")


def test_explain_finds_a_key_by_its_old_name(capsys):
    assert json.loads(run(capsys, "explain", "kb.ledger", "--json")[1])["key"] == "kb.events_db"


@pytest.mark.parametrize("name", ["RUNLOOP_LOG_LEVEL", "RUNLOOP__LOGGING__LEVEL"])
def test_explain_finds_a_key_by_a_variable_that_sets_it(name, capsys):
    assert json.loads(run(capsys, "explain", name, "--json")[1])["key"] == "logging.level"


def test_explain_says_of_a_variable_that_it_sets_nothing_or_which_is_near(capsys):
    hints = [json.loads(run(capsys, "explain", name, "--json")[2])["error"]["hint"] for name in ("RUNLOOP_HOME", "RUNLOOP_LOG_LEVLE")]
    assert (hints[0].endswith("the variables that set no key."), hints[1].partition("?")[0]) == (True, "Did you mean RUNLOOP_LOG_LEVEL")


def test_explain_of_an_unknown_key_is_an_error_in_json_too(capsys):
    code, out, err = run(capsys, "explain", "sandbox.memroy_mb", "--json")
    error = json.loads(err)["error"]
    assert (code, out, error["code"], error["hint"]) == (2, "", "config.unknown_key", "Did you mean sandbox.memory_mb?")


def test_path_prints_the_file_that_decides(capsys, home):
    assert run(capsys, "path") == (0, "", "no config file found; using defaults + environment overrides\n")
    file = configure(home, "")
    (home / ".config/runloop").mkdir(parents=True)
    (home / ".config/runloop/config.yaml").write_text("")
    assert run(capsys, "path")[1] == f"{file}\n"


def test_path_works_when_the_file_is_broken(capsys, home):
    file = configure(home, "broken: [")
    assert run(capsys, "path") == (0, f"{file}\n", "")


def test_path_all_lists_every_source_and_what_it_changed(capsys, home, monkeypatch):
    file = configure(home, "sandbox: {workers: 2}")
    monkeypatch.setenv("RUNLOOP__SANDBOX__WORKERS", "3")
    report = json.loads(run(capsys, "path", "--all", "--json")[1])
    assert [(each["layer"], each["status"], each["details"]) for each in report["sources"]][2:] == [
        ("user", "missing", ""),
        ("user", "loaded", "1 key"),
        ("environment", "loaded", "1 key"),
        ("flag", "loaded", "0 keys"),
    ]
    assert report["overrides"] == [
        {"source": str(file), "key": "sandbox.workers", "previous": 0, "new_value": 2},
        {"source": "environment", "key": "sandbox.workers", "previous": 2, "new_value": 3},
    ]
    assert report["resolved"]["sandbox.workers"] == 3
    assert run(capsys, "path", "--all", "--table")[1].splitlines()[-1] == "sandbox.workers: 2 -> 3 (environment)"


def test_a_broken_file_reports_every_problem_with_its_place(capsys, home):
    file = configure(home, "sandbox:\n  workers: many\n  memory_mb: 1\n")
    code, _, err = run(capsys, "show")
    assert code == 2
    assert f"  at {file}:2:12, key 'sandbox.workers'" in err
    assert f"  at {file}:3:14, key 'sandbox.memory_mb'" in err
