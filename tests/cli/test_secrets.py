"""`rlp secrets` as a person uses it: nothing that it prints has a value in it."""

from __future__ import annotations

import io
import json
import sys
import threading

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordSetError

from runloop.cli import doctor, output
from runloop.config import load
from runloop.effects.perform import secrets

VALUE = "sk-very-secret"
MODELS = """\
models:
  broker:
    providers:
      - {id: openai, kind: http_openai_chat, base_url: "https://api.example/v1", secret_id: models/openai}
mail: {from: a@b.example, smtp: {host: smtp.b.example, user: me, secret_id: mail/smtp}}
security: {secrets: {hosts: {runloop/gh/token: [api.github.com]}}}
"""


class Drawer(KeyringBackend):
    """A keyring in memory."""

    priority = 5

    def __init__(self):
        super().__init__()
        self.kept, self.locked = {}, False

    def get_password(self, service, username):
        return self.kept.get((service, username))

    def set_password(self, service, username, password):
        if self.locked:
            raise PasswordSetError("it is locked\nand more")
        self.kept[service, username] = password

    def delete_password(self, service, username):
        del self.kept[service, username]


@pytest.fixture
def drawer(request):
    before = keyring.get_keyring()
    backend = Drawer()
    keyring.set_keyring(backend)
    yield backend
    keyring.set_keyring(before)


@pytest.fixture
def no_keyring():
    from keyring.backends.fail import Keyring

    before = keyring.get_keyring()
    keyring.set_keyring(Keyring())
    yield
    keyring.set_keyring(before)


@pytest.fixture
def typed(monkeypatch):
    """What comes by standard input."""

    def give(data):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data if isinstance(data, bytes) else data.encode())))

    give(f"{VALUE}\n")
    return give


def silent(rlp, *words):
    code, out, err = rlp("secrets", *words)
    assert VALUE not in out + err
    return code, out, err


def test_without_a_keyring_a_secret_goes_into_a_file_and_a_run_would_find_it(rlp, home, typed, no_keyring):
    code, out, err = silent(rlp, "set", "models/openai")
    path = home / "secrets" / "models" / "openai"
    assert (code, out, err) == (0, f"stored models/openai in {path}\n", "")
    assert path.read_text() == f"{VALUE}\n"


def test_with_a_keyring_it_goes_there_and_a_file_has_to_be_asked_for(rlp, home, typed, drawer):
    assert silent(rlp, "set", "models/openai")[1] == "stored models/openai in the keyring\n"
    assert (drawer.kept, (home / "secrets").exists()) == ({("runloop", "models/openai"): VALUE}, False)
    typed("other-value")
    code, out, _ = silent(rlp, "set", "models/openai", "--to", "file", "--json")
    stored = json.loads(out)
    assert (code, stored["stored"], stored["hidden_by"]) == (0, "file", "keyring")


def test_the_list_says_what_each_is_for_and_where_it_is_found(rlp, home, typed, drawer, monkeypatch):
    home.mkdir()
    (home / "config.yaml").write_text(MODELS)
    silent(rlp, "set", "runloop/gh/token", "--to", "file")
    drawer.kept["runloop", "models/openai"] = VALUE
    monkeypatch.setenv("MAIL_SMTP", VALUE)
    found = {each["name"]: (each["found_in"], each["used_by"]) for each in json.loads(silent(rlp, "list", "--json")[1])["secrets"]}
    assert found == {
        "mail/smtp": ("environment", ["mail over smtp.b.example"]),
        "models/openai": ("keyring", ["models of openai"]),
        "runloop/gh/token": ("file", ["agents, for api.github.com"]),
    }


def test_a_file_that_cannot_be_used_is_listed_with_its_reason_and_the_others_too(rlp, home, typed, no_keyring):
    silent(rlp, "set", "a")
    typed(VALUE)
    silent(rlp, "set", "b")
    (home / "secrets" / "a").chmod(0o644)
    code, out, err = silent(rlp, "list", "--table")
    assert (code, [line.split("|")[1].strip() for line in out.splitlines()[2:]]) == (0, ["?", "file"])
    assert f"hint: chmod 600 {home}/secrets/a" in err
    assert json.loads(silent(rlp, "list", "--json")[1])["secrets"][0]["problem"]["code"] == "secrets.file"


def test_removing_takes_it_out_of_every_place_and_names_the_environment_that_still_has_it(rlp, typed, drawer, monkeypatch):
    silent(rlp, "set", "a")
    typed(VALUE)
    silent(rlp, "set", "a", "--to", "file")
    monkeypatch.setenv("A", VALUE)
    code, out, _ = silent(rlp, "remove", "a", "--json")
    assert (code, json.loads(out)) == (0, {"name": "a", "removed": ["keyring", "file"], "still_in": "environment"})
    code, _, err = silent(rlp, "remove", "a")
    assert (code, "it is in the environment, as A" in err) == (2, True)
    monkeypatch.delenv("A")
    assert "`rlp secrets list` shows what there is" in silent(rlp, "remove", "a")[2]


def test_a_secret_behind_another_of_its_name_is_stored_and_said_to_be(rlp, typed, no_keyring, monkeypatch):
    monkeypatch.setenv("A_B", "x")
    assert silent(rlp, "set", "a/b")[1].splitlines()[1] == "note: the environment, as A_B, has one of that name, and is asked first"


@pytest.mark.parametrize(
    ("provider", "to", "ending"),
    [
        ("env", (), "only env is asked"),
        ("file", ("--to", "keyring"), "only file is asked"),
        ("keyring", ("--to", "file"), "only keyring is asked"),
    ],
)
def test_a_place_that_is_never_asked_is_refused(rlp, typed, no_keyring, provider, to, ending, monkeypatch):
    monkeypatch.setenv("RUNLOOP__SECURITY__SECRETS__PROVIDER", provider)
    code, _, err = silent(rlp, "set", "a", *to)
    assert (code, err.splitlines()[0].endswith(ending)) == (2, True)


@pytest.mark.parametrize("backend", ["keyrings_of_another_python.file.Keyring", "keyring.backends.none.Keyring", "nothing"])
def test_a_keyring_that_is_named_and_not_there_is_none(rlp, home, typed, no_keyring, monkeypatch, backend):
    """As where PYTHON_KEYRING_BACKEND or keyringrc.cfg speak of what is installed for another Python."""
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", backend)
    monkeypatch.setattr(keyring.core, "_keyring_backend", None)
    path = home / "secrets" / "a"
    typed(VALUE)
    assert silent(rlp, "set", "a")[:2] == (0, f"stored a in {path}\n")
    assert silent(rlp, "remove", "a")[:2] == (0, f"removed a from a file of {home}/secrets\n")
    typed(VALUE)
    code, _, err = silent(rlp, "set", "a", "--to", "keyring")
    assert (code, err.splitlines()[0].startswith("error[secrets.keyring]: the keyring refuses: ")) == (2, True)


def test_a_keyring_that_refuses_says_why_and_keeps_nothing(rlp, typed, drawer):
    drawer.locked = True
    code, _, err = silent(rlp, "set", "a")
    assert (code, err.splitlines()[0]) == (2, "error[secrets.keyring]: the keyring refuses: it is locked")


@pytest.mark.parametrize(
    ("data", "why"), [(b"", "is empty"), (b" \n", "is empty"), (b"a\0b", "has a NUL in it"), (b"\xff", "is not UTF-8 text")]
)
def test_what_is_no_key_and_no_password_is_refused(rlp, home, typed, no_keyring, data, why):
    typed(data)
    code, _, err = silent(rlp, "set", "a")
    assert (code, err.splitlines()[0], (home / "secrets").exists()) == (2, f"error[secrets.value]: the value {why}", False)


def test_what_is_typed_in_another_encoding_than_the_terminals_is_refused(rlp, home, no_keyring, monkeypatch):
    monkeypatch.setattr(output, "is_terminal", lambda stream: stream is sys.stdin)
    monkeypatch.setattr("getpass.getpass", lambda prompt: b"K\xe4se".decode())
    code, _, err = silent(rlp, "set", "a")
    said = "error[secrets.value]: the value is not what this terminal's encoding writes"
    assert (code, err.splitlines()[0], (home / "secrets").exists()) == (2, said, False)


@pytest.mark.parametrize(("data", "value"), [("a\r\n", "a"), ("two\nlines\n", "two\nlines"), (" spaced ", " spaced ")])
def test_one_line_end_is_no_part_of_a_value(rlp, home, typed, no_keyring, data, value):
    typed(data)
    silent(rlp, "set", "a")
    assert (home / "secrets" / "a").read_text() == f"{value}\n"


def test_doctor_names_the_secrets_that_are_missing_and_a_file_that_cannot_be_used(rlp, home, typed, no_keyring):
    home.mkdir()
    (home / "config.yaml").write_text(MODELS)

    def finding():
        found = doctor._secrets(load())
        return found.state, found.detail, found.hint

    assert finding() == ("warn", "not there: mail/smtp, models/openai, runloop/gh/token", "`rlp secrets set mail/smtp` stores it")
    for name in ("mail/smtp", "models/openai", "runloop/gh/token"):
        typed(VALUE)
        silent(rlp, "set", name)
    assert finding() == ("ok", f"in the environment and in files of {home}/secrets", "")
    (home / "secrets" / "mail" / "smtp").chmod(0o644)
    state, detail, hint = finding()
    assert (state, detail.startswith("mail/smtp: the file of a secret is not"), hint) == (
        "fail",
        True,
        f"chmod 600 {home}/secrets/mail/smtp",
    )


def test_doctor_wants_a_keyring_only_where_nothing_else_is_asked(home, no_keyring, monkeypatch):
    states = {}
    for provider in ("auto", "keyring", "env", "file"):
        monkeypatch.setenv("RUNLOOP__SECURITY__SECRETS__PROVIDER", provider)
        states[provider] = doctor._secrets(load()).state
    assert states == {"auto": "ok", "keyring": "fail", "env": "ok", "file": "ok"}


def test_a_keyring_that_is_locked_is_said_to_be_and_a_file_can_be_used_meanwhile(rlp, home, typed, drawer, monkeypatch):
    """As gnome-keyring does where nobody can be asked for its password."""

    def locked(*_):
        raise KeyringLocked("Failed to unlock the collection!")

    home.mkdir()
    (home / "config.yaml").write_text(MODELS)
    monkeypatch.setattr(drawer, "get_password", locked)
    said = "the keyring is locked, so that nobody knows whether it has"
    code, out, err = rlp("secrets", "list", "--table")
    assert (code, "nowhere" in out, f"error[secrets.slow]: {said} mail/smtp" in err) == (0, False, True)
    code, _, err = rlp("secrets", "remove", "a")
    assert (code, err.splitlines()[0]) == (3, f"error[secrets.slow]: {said} a")
    assert said in doctor._secrets(load()).detail
    for name in ("mail/smtp", "models/openai", "runloop/gh/token"):
        typed(VALUE)
        code, out, _ = silent(rlp, "set", name, "--to", "file")
        assert (code, f"note: {said} {name}; it is asked first" in out) == (0, True)
    assert doctor._secrets(load()).state == "ok"


def test_a_keyring_that_never_answers_is_said_to_and_holds_nothing_up(rlp, home, typed, drawer, monkeypatch):
    home.mkdir()
    (home / "config.yaml").write_text(MODELS)
    released = threading.Event()
    monkeypatch.setattr(secrets, "KEYRING_TIMEOUT_S", 0.05)
    monkeypatch.setattr(drawer, "get_password", lambda *_: released.wait())
    try:
        code, out, err = rlp("secrets", "list", "--table")
        assert (code, "mail/smtp  " in out, "?" in out) == (0, True, True)
        assert "error[secrets.slow]: the keyring does not answer, so that nobody knows whether it has mail/smtp" in err
        code, _, err = rlp("secrets", "remove", "a")
        assert (code, err.splitlines()[0]) == (3, "error[secrets.slow]: the keyring does not answer, so that nobody knows whether it has a")
    finally:
        released.set()
