"""The first set-up: what is found, what is written, and that a second time changes nothing."""

import asyncio
import errno
import io
import json
import os
import resource
import socket
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from runloop import __version__
from runloop.cli import context, detecting, doctor, first_config, init, link, person, up, whole
from runloop.cli.detecting import HOSTED, Found, detect
from runloop.cli.main import main
from runloop.config import load
from runloop.daemon.preparing import prepare
from runloop.effects.perform.secrets import environment_name
from runloop.errors import Unavailable, Where

OLLAMA = {"models": [{"name": "nomic-embed-text:latest"}, {"name": "llama3.2:3b"}]}
OPENAI = {"object": "list", "data": [{"id": "qwen2.5"}]}


@contextmanager
def server(answers):
    """A server of this machine; ``answers`` by path. Gives its port and the requests that it had."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, dict(self.headers)))
            data = answers.get(self.path)
            self.send_response(404 if data is None else 200)
            self.end_headers()
            self.wfile.write(data if isinstance(data, bytes) else json.dumps(data).encode())

        def log_message(self, *args):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    try:
        yield httpd.server_address[1], asked
    finally:
        httpd.shutdown()
        httpd.server_close()


@pytest.fixture
def nothing_listens(monkeypatch):
    with server({}) as (port, _):
        monkeypatch.setattr(init, "_systemd_runs", lambda: False)
        monkeypatch.setattr(init, "_PREFIXES", ())  # where these tests run, it may be installed
        monkeypatch.setattr(detecting, "detect", lambda environment: detect(environment, port, (port,)))
        yield


@pytest.fixture
def home(tmp_path, monkeypatch, nothing_listens):
    for name in list(os.environ):
        if name.startswith(("RUNLOOP", "XDG")) or name.endswith("_API_KEY") or name in ("ZDOTDIR", "SHELL"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def states(capsys):
    return {each["name"]: each["state"] for each in json.loads(capsys.readouterr().out)}


def test_servers_of_this_machine_and_keys_of_the_environment_are_found_and_no_key_is_read():
    with server({"/api/tags": OLLAMA}) as (ollama, asked), server({"/v1/models": OPENAI}) as (openai, _):
        found = detect({"ANTHROPIC_API_KEY": "sk-very-secret", "OPENAI_API_KEY": " "}, ollama, (openai,))
    assert [(each.id, each.kind, each.chat_model, each.embed_model) for each in found] == [
        ("ollama", "http_ollama", "llama3.2:3b", "nomic-embed-text:latest"),
        (f"local-{openai}", "http_openai_chat", "qwen2.5", None),
        ("anthropic", "http_anthropic", None, None),
    ]
    assert "sk-very-secret" not in repr(found)
    assert [path for path, _ in asked] == ["/api/tags"]


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("127.0.0.1:{}", 1),
        ("http://0.0.0.0:{}/", 1),
        (":{}", 1),
        ("[::]:{}", 1),
        ("", 0),
        ("10.0.0.7:{}", 0),
        ("127.0.0.1", 0),
        (":{}0000", 0),
    ],
)
def test_ollama_is_found_at_the_port_that_its_own_variable_names_on_this_machine(said, found):
    with server({"/api/tags": OLLAMA}) as (port, asked), server({}) as (other, _):
        assert len(detect({"OLLAMA_HOST": said.format(port)}, other, ())) == len(asked) == found


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b'{"models": 3}', b'{"models": [3]}', b"{" * 90_000, b" " * 1_000_100, {"data": []}])
def test_a_server_that_is_something_else_is_not_taken_for_one(answer):
    with server({"/api/tags": answer}) as (port, _):
        assert detect({}, port, ()) == []


@pytest.mark.parametrize(("begins", "goes_on"), [(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), (b"HTTP/1.1 200 OK\r\n\r\n", b" ")])
def test_a_server_that_never_ends_its_answer_is_not_waited_for(monkeypatch, begins, goes_on):
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer():
            connection, _ = listening.accept()
            with connection, suppress(OSError):
                connection.sendall(begins)
                while True:
                    connection.sendall(goes_on)

        monkeypatch.setattr(detecting, "_WAIT_S", 0.2)
        monkeypatch.setattr(detecting, "_MOST_BYTES", 1 << 28)
        answering = threading.Thread(target=answer)
        answering.start()
        assert detecting._get(listening.getsockname()[1], "/") is None
        answering.join()


def test_names_of_models_that_could_drive_a_terminal_are_left_out():
    with server({"/api/tags": {"models": [{"name": "a\x1b[2J"}, {"name": ""}, {"name": 3}, {"name": "good"}]}}) as (port, _):
        (found,) = detect({}, port, ())
    assert found.models == ("good",)


@pytest.mark.parametrize(("variable", "name"), [(each[0], each[1]) for each in HOSTED])
def test_the_secret_of_every_hosted_provider_is_looked_up_where_it_was_found(variable, name, nothing_listens):
    (found,) = detecting.detect({variable: "x"})
    assert (found.id, environment_name(found.secret_id)) == (name, variable)


TEXTS = st.text(st.characters(categories=("L", "N", "P", "S"), max_codepoint=0x2FFF), min_size=1, max_size=12)
FOUND = st.builds(
    Found, TEXTS, st.sampled_from(["http_ollama", "http_openai_chat"]), TEXTS, st.lists(TEXTS, max_size=3).map(tuple), st.none() | TEXTS
)


@given(st.lists(FOUND, max_size=4))
def test_whatever_was_found_the_file_says_exactly_that(found):
    said = yaml.safe_load(first_config.text(found))
    providers = [] if said is None else said["models"]["broker"]["providers"]
    assert [(each["id"], each["kind"], each["base_url"], each.get("secret_id")) for each in providers] == [
        (each.id, each.kind, each.base_url, each.secret_id or None) for each in found
    ]
    chat = next((f"{each.id}:{each.chat_model}" for each in found if each.chat_model), None)
    assert (said or {"models": {}})["models"].get("default") == chat


def test_the_file_and_all_its_commented_settings_are_accepted(home):
    text = first_config.text([Found("ollama", "http_ollama", "http://127.0.0.1:11434", ("llama3.2", "nomic-embed-text"))])
    text = "\n".join(line.removeprefix("# ") if line[2:3] in " smrp" and ":" in line else line for line in text.splitlines())
    (home / ".runloop").mkdir(mode=0o700)
    (home / ".runloop/config.yaml").write_text(text)
    settings = load()
    assert [str(each) for each in settings.warnings] == []
    assert (settings.get("models.default"), settings.get("policy.max_usd"), settings.get("mail.smtp.user")) == (
        "ollama:llama3.2",
        1.0,
        "you",
    )


def test_non_interactive_writes_the_file_and_nothing_else(home, capsys, monkeypatch):
    monkeypatch.setenv("SHELL", "/bin/bash")
    monkeypatch.setenv("MISTRAL_API_KEY", "secret-value")
    assert main(["init", "--non-interactive", "--json"]) == 0
    assert states(capsys) == {"config": "done", "completion": "left", "shell": "left", "import": "left", "daemon": "left"}
    config = home / ".runloop/config.yaml"
    assert (stat.S_IMODE(config.stat().st_mode), "secret-value" in config.read_text(), "mistral/api_key" in config.read_text()) == (
        0o600,
        False,
        True,
    )
    assert sorted(path.name for path in home.iterdir()) == [".runloop"]


def test_yes_takes_every_proposal_and_a_second_time_changes_nothing(home, capsys, monkeypatch):
    monkeypatch.setenv("SHELL", "/bin/bash")
    started = []
    monkeypatch.setattr("runloop.cli.up.up", lambda **options: started.append(options))
    assert main(["init", "--yes", "--json"]) == 0
    assert states(capsys) == {"config": "done", "completion": "done", "shell": "done", "import": "left", "daemon": "done"}
    assert started == [{"wait": True}]
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert main(["init", "--yes", "--json"]) == 0
    assert states(capsys) == {"config": "there", "completion": "there", "shell": "there", "import": "left", "daemon": "done"}
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before
    assert main(["init", "--yes"]) == 0
    shown = capsys.readouterr().out
    assert "undo: rlp shell disable --shell bash" in shown


def test_completion_that_lies_where_no_shell_looks_is_not_there(home, capsys, monkeypatch):
    monkeypatch.setenv("SHELL", "/bin/bash")
    monkeypatch.setattr(sys, "prefix", str(home / "venv"))
    lies = home / "venv/share/bash-completion/completions/rlp"
    lies.parent.mkdir(parents=True)
    lies.write_text("complete -W status rlp\n")
    assert main(["init", "--non-interactive", "--json"]) == 0
    assert states(capsys)["completion"] == "left"
    monkeypatch.setattr(init, "_PREFIXES", (str(home / "venv"),))
    assert main(["init", "--non-interactive", "--json"]) == 0
    assert states(capsys)["completion"] == "there"


@pytest.mark.parametrize("words", [["init", "--yes"], ["shell", "enable", "--shell", "bash"], ["--install-completion", "bash"]])
def test_what_cannot_be_written_to_its_end_is_not_there_afterwards(home, words):
    """A part of it would be taken for all of it the next time. No file of this process may grow, as on a full disk."""
    (home / ".bashrc").write_text("alias ll='ls -l'\n")
    environment = {**os.environ, "SHELL": "/bin/bash"}
    done = subprocess.run(
        [sys.executable, "-m", "runloop", *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
    )
    assert done.returncode != 0
    assert "File too large" in done.stdout + done.stderr
    left = {path.name: path.read_text() for path in home.rglob("*") if path.is_file() and not {"log", "sock", "pog"} & set(path.parts)}
    assert left == {".bashrc": "alias ll='ls -l'\n"}


@pytest.mark.parametrize(("number", "word"), [(errno.ENOSPC, "make room"), (errno.EACCES, "rights")])
def test_the_hint_is_about_room_where_that_is_the_reason(number, word):
    assert word in whole.remedy(OSError(number, ""), "check its rights")


def test_on_a_terminal_each_step_is_asked_and_no_is_no(home, capsys, monkeypatch):
    monkeypatch.setenv("SHELL", "/bin/zsh")
    monkeypatch.setattr(person, "person_present", lambda: True)
    (home / "notes").mkdir()
    (home / "notes/a.md").write_text("# Pier\nIt is open.\n")
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\nn\nno\nnotes\nn\n"))
    assert main(["init"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("not done: ") == 4
    assert "import      done: notes from notes" in shown
    assert not (home / ".runloop/config.yaml").exists()
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert main(["init"]) == 130


@pytest.mark.parametrize("words", [["init"], ["init", "--yes", "--non-interactive"]])
def test_without_a_terminal_it_says_which_option_is_missing(home, capsys, words):
    assert main(words) == 2
    assert "--non-interactive" in capsys.readouterr().err


def test_a_step_that_fails_says_why_and_the_others_are_done(home, capsys, monkeypatch):
    monkeypatch.setenv("SHELL", "/bin/bash")
    (home / ".local").write_text("a file where a directory should be")
    monkeypatch.setattr("runloop.cli.up.up", lambda **options: None)
    assert main(["init", "--yes", "--json"]) == 1
    assert states(capsys) == {"config": "done", "completion": "failed", "shell": "done", "import": "left", "daemon": "done"}


def test_where_systemd_runs_the_daemon_becomes_a_service_of_the_user(home, capsys, monkeypatch):
    (home / "bin").mkdir()
    for name, text in (("systemctl", f'echo "$@" >> {home}/told'), ("runloopd", "true")):
        (home / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (home / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{home}/bin:{os.environ['PATH']}")
    (home / "run/systemd").mkdir(parents=True)
    (home / "run/systemd/private").write_text("")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "run"))
    monkeypatch.setattr(init, "_systemd_runs", lambda: True)
    monkeypatch.setattr(init, "_PACKAGED_UNITS", (home / "packaged.service",))
    context.begin()
    assert main(["init", "--yes", "--json"]) == 0
    assert states(capsys)["daemon"] == "done"
    unit = (home / ".config/systemd/user/runloopd.service").read_text()
    assert f"ExecStart={home}/bin/runloopd --user --foreground" in unit
    assert (home / "told").read_text().splitlines() == ["--user daemon-reload", "--user enable --now runloopd.service"]
    unit_of_its_own = home / ".config/systemd/user/runloopd.service"
    unit_of_its_own.unlink()
    (home / "packaged.service").write_text("[Service]\n")
    assert main(["init", "--yes"]) == 0
    assert (f"{home}/packaged.service, enabled and started" in capsys.readouterr().out, unit_of_its_own.exists()) == (True, False)
    (home / "bin/systemctl").write_text("#!/bin/sh\necho 'Failed to connect to bus' >&2\nexit 1\n")
    assert main(["init", "--yes"]) == 1
    assert "Failed to connect to bus" in capsys.readouterr().out


def test_doctor_checks_the_shell_the_base_the_vectors_space_and_grants_and_says_how_to_repair(home, monkeypatch, capsys):
    def doctor():
        done = subprocess.run([sys.executable, "-P", "-m", "runloop", "doctor", "--json"], capture_output=True, text=True, check=False)
        return {each["name"]: each for each in json.loads(done.stdout)}

    monkeypatch.setenv("SHELL", "/bin/bash")
    first = doctor()
    assert {"shell", "knowledge", "vectors", "space", "grants"} <= set(first)
    main(["doctor", "--table"])
    assert capsys.readouterr().out.splitlines()[0].split()[0] in {"ok", "warn", "fail"}
    assert [name for name, each in first.items() if each["state"] != "ok" and not each["hint"]] == []
    (home / "notes").mkdir()
    (home / "notes/a.md").write_text("# Pier\nIt is open.\n")
    assert main(["kb", "import", "notes", "notes"]) == 0
    assert main(["shell", "enable", "--shell", "bash"]) == 0
    rc = home / ".bashrc"
    rc.write_text(rc.read_text().replace("/runloop.bash'", "/gone.bash'"))
    (home / ".runloop/grants.json").write_text("{")
    second = doctor()
    assert {name: (second[name]["state"], bool(second[name]["hint"])) for name in ("shell", "vectors", "grants", "knowledge")} == {
        "shell": ("fail", True),
        "vectors": ("warn", True),
        "grants": ("fail", True),
        "knowledge": ("ok", False),
    }
    assert main(["kb", "embed"]) == 0
    assert doctor()["vectors"]["state"] == "ok"


def test_doctor_checks_everything_though_the_system_s_settings_are_broken(home, tmp_path, monkeypatch, capsys):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/config.yaml").write_text("policy: {max_usd_per_run: 1}\n")
    monkeypatch.setattr("runloop.config.sources.SYSTEM_CONFIG", tmp_path / "etc")
    assert main(["doctor", "--json"]) == 1
    said = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert ("max_usd_per_run" in said["config"]["detail"], said["config"]["hint"]) == (True, "Did you mean policy.max_usd?")
    assert said["disk"]["state"] == "ok"


@pytest.mark.parametrize(("url", "why"), [("http://127.0.0.1:99999", "Port out of range"), ("http://[::1", "Invalid IPv6 URL")])
def test_doctor_names_a_provider_whose_address_is_none(home, capsys, url, why):
    config = home / ".runloop" / "config.yaml"
    config.parent.mkdir(exist_ok=True)
    config.write_text(f'models: {{broker: {{providers: [{{id: far, kind: http_ollama, base_url: "{url}"}}]}}}}\n')
    assert main(["doctor", "--json"]) == 1

    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert found["models"]["state"] == "fail"
    assert f"far ({why}" in found["models"]["detail"]


@pytest.fixture
def far(home, monkeypatch):
    """Write settings with a provider that nobody reaches without a proxy."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    config = home / ".runloop" / "config.yaml"
    config.parent.mkdir(exist_ok=True)
    provider = '{id: far, kind: http_ollama, base_url: "https://models.example.invalid"}'
    config.write_text(f'models: {{default: "far:small", broker: {{providers: [{provider}]}}}}\n')


def about_models(capsys):
    main(["doctor", "--json"])
    return next(each for each in json.loads(capsys.readouterr().out) if each["name"] == "models")


@pytest.mark.usefixtures("far")
@pytest.mark.parametrize("form", ["{}", "http://{}", "http://user:pw-of-it@{}"])
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "ALL_PROXY"])
def test_doctor_goes_through_the_proxy_that_calls_go_through(capsys, monkeypatch, form, name):
    with server({}) as (port, _):
        monkeypatch.setenv(name, form.format(f"127.0.0.1:{port}"))
        assert about_models(capsys)["detail"] == "reachable: far"
        monkeypatch.setenv("NO_PROXY", "example.invalid")
        assert about_models(capsys)["detail"] == "not reachable: far (models.example.invalid:443)"
        monkeypatch.delenv("NO_PROXY")

    assert about_models(capsys)["detail"] == (
        f"not reachable: far (models.example.invalid:443, through the proxy 127.0.0.1:{port} of the environment)"
    )


@pytest.mark.usefixtures("far")
@pytest.mark.parametrize(
    ("default", "lacks", "hint"),
    [
        ("none", "models.default is none, so calls that name no model get none", "set models.default to far:MODEL"),
        ("gpt-4o", "no provider is configured for the model 'gpt-4o'", "add a route for it, or write provider:model with one of: far"),
    ],
)
def test_doctor_says_so_where_a_provider_answers_and_no_call_would_get_to_it(capsys, monkeypatch, default, lacks, hint):
    monkeypatch.setenv("RUNLOOP__MODELS__DEFAULT", default)
    with server({}) as (port, _):
        monkeypatch.setenv("ALL_PROXY", f"127.0.0.1:{port}")
        found = about_models(capsys)
    assert (found["state"], found["detail"], found["hint"]) == ("warn", f"reachable: far; but {lacks}", hint)


@pytest.mark.usefixtures("far")
def test_doctor_says_of_a_proxy_that_calls_cannot_use_that_it_is_none(capsys, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://user:pw-of-it@127.0.0.1:1080")

    assert about_models(capsys)["detail"] == "not reachable: far (the proxy that the environment names speaks no HTTP)"


def test_doctor_checks_everything_else_beside_a_file_of_settings_that_is_broken(home, capsys):
    (home / ".runloop").mkdir(mode=0o700, exist_ok=True)
    (home / ".runloop/config.yaml").write_text("modles: {}\nroutr: {}\n")
    assert main(["doctor", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    broken = [each for each in found if each["name"] == "config"]

    assert [(each["state"], each["hint"]) for each in broken] == [("fail", "Did you mean models?"), ("fail", "Did you mean router?")]
    assert "config.yaml:1:1) [config.unknown_key]" in broken[0]["detail"]
    assert {"daemon", "rights", "ledger", "models", "disk"} <= {each["name"] for each in found}

    (home / ".runloop/config.yaml").write_text("router: [")
    assert main(["doctor", "--json"]) == 1
    assert [bool(each["hint"]) for each in json.loads(capsys.readouterr().out) if each["name"] == "config"] == [True]


def test_doctor_tells_a_sound_ledger_from_broken_tables_and_names_the_file(home, capsys):
    (home / "notes").mkdir()
    (home / "notes/a.md").write_text("# Pier\nIt is open.\n")
    assert main(["kb", "import", "notes", "notes"]) == 0
    (home / ".runloop/pog/pog.sqlite").write_text("junk")
    capsys.readouterr()
    assert main(["doctor", "--json"]) == 1
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)}

    assert (found["ledger"]["state"], found["knowledge"]["state"]) == ("ok", "fail")
    assert "/pog.sqlite) [ledger.corrupt]" in found["knowledge"]["detail"]


def test_doctor_says_where_the_state_cannot_be_made(home, monkeypatch):
    monkeypatch.setenv("RUNLOOP_HOME", str(home / "away" / "runloop"))
    allowed = os.access
    monkeypatch.setattr("os.access", lambda path, mode: mode == os.F_OK and allowed(path, mode))
    found = doctor._rights(load())

    assert (found.state, found.detail) == ("fail", f"{home / 'away' / 'runloop'} cannot be made: {home} is not writable")


def test_doctor_says_that_no_daemon_can_start_where_the_path_of_its_socket_is_too_long(home, monkeypatch):
    monkeypatch.setenv("RUNLOOP_HOME", str(home / ("long" * 30)))
    found = doctor._daemon(load())

    assert (found.state, "is longer than 107 bytes" in found.detail, found.hint) == (
        "warn",
        True,
        "set runtime.socket_path to a shorter one",
    )


def test_doctor_does_not_offer_to_start_a_daemon_where_one_is_that_does_not_answer(home, monkeypatch):
    def silent(*_):
        where = Where(file="/run/rmp.sock")
        raise Unavailable("the daemon at /run/rmp.sock does not answer", code="daemon.unavailable", where=where, hint="`rlp down` ends it")

    monkeypatch.setattr(link, "ask_once", silent)
    found = doctor._daemon(load())
    assert (found.state, "does not answer" in found.detail, found.hint) == ("fail", True, "`rlp down` ends it")


def test_doctor_says_of_a_socket_that_is_set_and_too_long_that_it_is_too_long(home, monkeypatch):
    monkeypatch.setenv("RUNLOOP__RUNTIME__SOCKET_PATH", f"{home}/{'x' * 100}/rmp.sock")
    found = doctor._daemon(load())
    assert (found.state, "none can start: " in found.detail, "its own process" in found.detail) == ("fail", True, False)


def test_doctor_does_not_send_people_to_chown_on_a_read_only_file_system(home, monkeypatch):
    (home / ".runloop").mkdir(mode=0o700, exist_ok=True)
    monkeypatch.setattr("os.access", lambda *_: False)
    hints = []
    for flags in (0, os.ST_RDONLY):
        monkeypatch.setattr("os.statvfs", lambda _, flags=flags: SimpleNamespace(f_flag=flags))
        hints.append(doctor._rights(load()).hint.split()[0])

    assert hints == ["chown", "mount"]


def test_doctor_says_that_agents_may_not_start_also_before_the_guest_was_compiled(home, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("runloop.cli.doctor.few_addresses", lambda: 3 << 30)
    seen = doctor._guest(load())
    assert (seen.state, "this shell has addresses for 3.2 GB only" in seen.detail, "ulimit -v" in seen.hint) == ("warn", True, True)


def test_up_says_that_agents_may_not_start_in_the_daemon(home, monkeypatch, capsys):
    few = (2 << 30, 2 << 30)
    with subprocess.Popen(["sleep", "60"]) as limited:
        resource.prlimit(limited.pid, resource.RLIMIT_AS, few)
        for state, pid in (("ready", limited.pid), ("ready", os.getpid())):
            up._say({"state": state, "pid": pid}, as_json=True)
        limited.kill()
    said = capsys.readouterr().err
    assert said.count("warning: it has addresses for 2.1 GB only, so agents may not start in it\n  hint: lift `ulimit -v`") == 1


def test_doctor_says_where_no_agent_starts_within_the_limits_of_this_process(home, guest_cache, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(guest_cache))
    asyncio.run(prepare(guest_cache / "runloop"))
    assert (doctor._guest(load()).state, doctor._guest(load()).detail.endswith("and an agent starts")) == ("ok", True)

    done = subprocess.run(
        [sys.executable, "-P", "-m", "runloop", "doctor", "--json"],
        capture_output=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30)),
    )
    guest = next(each for each in json.loads(done.stdout) if each["name"] == "guest")
    assert (done.returncode, guest["state"], "ulimit -v" in guest["hint"]) == (1, "fail", True)


def test_doctor_says_which_check_found_no_file_to_open():
    def _knowledge(settings):
        raise OSError(errno.EMFILE, "Too many open files")

    found = doctor._guarded(_knowledge, load())
    assert (found.name, found.state, "Too many open files" in found.detail, "None" in found.detail) == ("knowledge", "fail", True, False)
    assert "ulimit -a" in found.hint


def test_a_daemon_of_another_version_or_without_room_for_agents_is_named(home, monkeypatch, capsys):
    found = {
        **dict.fromkeys(("pid", "uptime_ms", "approvals_open"), 1),
        **dict.fromkeys(("problems", "needs_restart", "native_agents"), ()),
        "state": "ready",
        "version": "0.0.9",
        "socket": "/run/rmp.sock",
        "socket_made_again_ms": None,
        "mode": "user",
        "kb": "/kb",
        "guest": "ready",
        "workers": {"workers": 1, "wanted": 1, "guests": 0, "lost_total": 0, "last_cause": None, "suspended": False},
        "runs": dict.fromkeys(("running", "queued", "succeeded", "failed", "cancelled"), 0),
        "nodes": {"at_work": 0, "waiting": 0},
        "library": {"agents": 1, "openings": 1},
        "bus": {"connections": 1, "subscriptions": 1},
    }
    monkeypatch.setattr(link, "ask_once", lambda *_: found)
    seen = doctor._daemon(load())
    assert (seen.state, f"it is 0.0.9, and {__version__} is installed" in seen.detail, seen.hint) == (
        "warn",
        True,
        "`rlp down` and `rlp up`",
    )
    assert main(["status", "--table"]) == 0
    assert f"installed  {__version__}, which counts for it after" in capsys.readouterr().out

    found["version"] = __version__
    assert doctor._daemon(load()).state == "ok"

    few = (2 << 30, 2 << 30)
    with subprocess.Popen(["sleep", "60"]) as limited:
        resource.prlimit(limited.pid, resource.RLIMIT_AS, few)
        found["pid"] = limited.pid
        seen = doctor._daemon(load())
        limited.kill()
    assert (seen.state, "addresses for 2.1 GB only" in seen.detail, "ulimit -v" in seen.hint) == ("warn", True, True)
    assert main(["status", "--table"]) == 0
    assert "installed" not in capsys.readouterr().out
