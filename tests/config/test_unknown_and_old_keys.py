import re

import pytest

from runloop.config.errors import ConfigError
from runloop.config.registry import all_keys, children, lookup, sections


@pytest.mark.parametrize(
    ("yaml", "message", "hint", "place"),
    [
        ("models:\n  defualt: x\n", "unknown configuration key 'defualt' under 'models'", "Did you mean models.default?", (2, 3)),
        ("modles:\n  default: x\n", "unknown configuration key 'modles'", "Did you mean models?", (1, 1)),
        ("root_dir: /x\n", "unknown configuration key 'root_dir'", "Did you mean kb.root_dir?", (1, 1)),
        ("polcy:\n  x: 1\n", "unknown configuration key 'polcy'", "Did you mean policy?", (1, 1)),
        ("kb:\n  zzzz: 1\n", "unknown configuration key 'zzzz' under 'kb'", f"Known under kb: {', '.join(children('kb'))}.", (2, 3)),
        ("a: 1\nkb:\n  zzzz: x\n", "unknown configuration key 'a'", None, (1, 1)),
        ("kb: {wal: true, zzzz: x}\n", "unknown configuration key 'zzzz' under 'kb'", None, (1, 17)),
        ("<<: {kb: {}}\n", "unknown configuration key '<<'", None, (1, 1)),
    ],
)
def test_an_unknown_key_is_an_error_with_its_place_and_the_nearest_key(machine, yaml, message, hint, place):
    file = machine.user(yaml)
    error = machine.refuse()
    assert (error.code, error.message) == ("config.unknown_key", message)
    assert (error.where.file, error.where.line, error.where.column) == (str(file), *place)
    assert error.hint if hint is None else error.hint == hint


def test_an_unknown_variable_is_an_error_too(machine):
    error = machine.refuse(RUNLOOP__MODELS__DEFUALT="x")
    assert (error.code, error.where.key, error.hint) == ("config.unknown_key", "RUNLOOP__MODELS__DEFUALT", "Did you mean models.default?")


def test_an_unknown_flag_is_an_error_too(machine):
    error = machine.refuse({"model.default": "x"})
    assert (error.where.file, error.where.key, error.hint) == ("command line", "model.default", "Did you mean models.default?")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("sandbx.memory_mb", "sandbox.memory_mb"),
        ("polcy.memory_mb", "policy.memory_mb"),
        ("budget.max_usd", "policy.max_usd"),
        ("agent.search_dir", "agents.search_dirs"),
    ],
)
def test_a_key_in_an_unknown_section_is_the_nearest_of_those_called_so(machine, written, meant):
    assert machine.refuse({written: "1"}).hint == f"Did you mean {meant}?"


def test_an_unknown_key_inside_a_value_is_named_with_its_place(machine):
    error = machine.refuse({"models.broker.providers": '[{"id": "a", "kind": "none", "base_ul": "x"}]'})
    assert (error.where.file, error.where.key, error.hint) == ("command line", "models.broker.providers", "Did you mean 'base_url'?")


@pytest.mark.parametrize(
    "yaml",
    [
        "mail: {smtp: {host: smtp.example.org, password: hunter2}}",
        "models: {broker: {providers: [{id: a, kind: none, API_KEY: sk-hunter2}]}}",
    ],
)
def test_a_password_in_a_file_is_told_where_it_belongs_and_is_not_repeated(machine, yaml):
    machine.user(yaml)
    error = machine.refuse()
    assert "`rlp secrets set NAME`" in error.hint
    assert "hunter2" not in f"{error.message} {error.hint}"


def test_an_old_name_in_a_flag_is_warned_about_with_its_place(machine):
    (warning,) = machine.load({"router.shell_fastpath": "1"}).warnings
    assert str(warning.where) == "command line, key 'router.shell_fastpath'"


def test_a_section_is_no_key(machine):
    error = machine.refuse({"mail.smtp": "x"})
    assert (error.code, error.hint.split(";")[0]) == ("config.unknown_key", "It is a section")


def test_other_variables_of_runloop_are_left_alone(machine):
    assert machine.load(RUNLOOP_DEBUG="1", RUNLOOP_SOCKET="/x", RUNLOOPX="y").changed() == []


@pytest.mark.parametrize("old", [name for key in all_keys().values() for name in key.deprecated])
def test_an_old_name_is_rewritten_with_a_warning(machine, codes, old):
    key = lookup(old)
    value = {"bool": "false", "list of routes": "[{pattern: '*', provider: p}]", "one of auto, off": "false"}.get(key.kind.name, "x")
    sections_of_it, name = old.rsplit(".", 1)
    text = "{" + f"{name}: {value}" + "}"
    for section in reversed(sections_of_it.split(".")):
        text = f"{section}: {text}" if section == sections_of_it.split(".")[0] else "{" + f"{section}: {text}" + "}"
    machine.user(text)
    settings = machine.load()
    assert settings.explain(key.path).layer == "user"
    assert "config.deprecated" in codes(settings)
    assert any(f"{old} is deprecated; write {key.path}" in str(warning) for warning in settings.warnings)


@pytest.mark.parametrize("order", [("ledger: old.db", "events_db: new.db"), ("events_db: new.db", "ledger: old.db")])
def test_the_new_name_wins_over_the_old_one_in_the_same_file(machine, order):
    machine.user("kb:\n  " + "\n  ".join(order))
    assert machine.load().get("kb.events_db") == "new.db"


def test_an_old_name_in_an_upper_layer_beats_the_new_one_below(machine):
    machine.system("router: {fastpath_shell: true}")
    assert machine.load(RUNLOOP__ROUTER__SHELL_FASTPATH="0").get("router.fastpath_shell") is False


@pytest.mark.parametrize(("variable", "path"), [(alias, key.path) for key in all_keys().values() for alias in key.aliases])
def test_every_alias_of_the_environment_sets_its_key(machine, variable, path):
    kind = all_keys()[path].kind.name
    text = {"bool": "0", "path": "/srv/x", "int": "7000"}.get(kind, "debug" if "debug" in kind else "wasm32-wasip1")
    explanation = machine.load(**{variable: text}).explain(path)
    assert (explanation.layer, explanation.where.key) == ("environment", variable)


def test_the_full_variable_beats_an_alias(machine):
    settings = machine.load(RUNLOOP_MODELS_DEFAULT="alias", RUNLOOP__MODELS__DEFAULT="full")
    assert settings.get("models.default") == "full"


def test_the_old_socket_directory_is_rewritten(machine, codes):
    machine.user("runtime: {sockets_dir: ~/.runloop/run}")
    settings = machine.load()
    assert settings.get("runtime.sockets_dir") == machine.root / "home/.runloop/sock"
    assert "config.deprecated" in codes(settings)


def test_setting_a_key_that_nothing_reads_is_said_once_for_a_layer(machine):
    file = machine.user("security: {secrets: {allow_list: true}}\nkb: {wal: true}\nmodels: {default: m}")
    messages = [str(warning) for warning in machine.load().warnings if warning.code == "config.no_effect"]
    assert messages == [f"security.secrets.allow_list (never), kb.wal (always on) have no effect ({file})"]


def test_what_nothing_reads_says_what_holds_instead():
    assert [path for path, key in all_keys().items() if bool(key.effect) == bool(key.instead)] == []


@pytest.mark.parametrize("key", ["security.require_signed_messages", "security.testing.expose_raw_secrets"])
def test_a_setting_that_would_promise_what_is_not_kept_is_refused(machine, key):
    assert machine.load({key: False}).get(key) is False
    with pytest.raises(ConfigError, match=re.escape(f"{key} must be false (found")):
        machine.load({key: True})


def test_files_of_secrets_are_never_said_to_be_encrypted(machine):
    with pytest.raises(ConfigError) as caught:
        machine.load({"security.secrets.encryption": "age"})
    assert caught.value.hint == "The keyring encrypts what it keeps."


def test_a_key_that_something_reads_gives_no_warning(machine):
    machine.user("models: {default: m}\nsandbox: {workers: 2}")
    assert machine.load().warnings == ()


def test_a_search_directory_that_does_not_exist_is_a_warning_only_where_it_was_written(machine, codes):
    assert codes(machine.load()) == []
    machine.user("agents: {search_dirs: [/no/such/place]}")
    assert codes(machine.load()) == ["config.no_directory"]


def test_an_empty_denylist_is_a_warning_while_confirmations_are_required(machine, codes):
    machine.user("router: {denylist: []}")
    assert "config.empty_denylist" in codes(machine.load())
    assert "config.empty_denylist" not in codes(machine.load(RUNLOOP__SECURITY__CONFIRM_EXTERNAL_ACTIONS="no"))


def test_no_key_is_also_a_section_and_no_old_name_is_a_key():
    keys = set(all_keys())
    assert keys & sections() == set()
    assert {old for key in all_keys().values() for old in key.deprecated} & keys == set()
    assert len({alias for key in all_keys().values() for alias in key.aliases}) == sum(len(key.aliases) for key in all_keys().values())


def test_every_limit_names_a_hard_limit_and_every_hard_limit_has_a_reader():
    for key in all_keys().values():
        assert key.limit is None or all_keys()[key.limit].tighten is not None
        assert (key.tighten is not None) == key.path.startswith("policy.")
        assert not key.path.startswith("policy.") or key.effect


@pytest.mark.parametrize(("written", "meant"), [("auto", "auto"), ("Off", "off"), ("true", "auto"), ("no", "off")])
def test_streaming_is_auto_or_off_and_understands_yes_and_no(machine, written, meant):
    machine.user(f"models: {{broker: {{stream: {written}}}}}")

    assert machine.load().get("models.broker.stream") == meant


def test_streaming_is_nothing_else(machine):
    assert "must be auto or off" in machine.refuse({"models.broker.stream": "sometimes"}).message
