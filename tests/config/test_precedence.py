from pathlib import Path

import pytest

from runloop.config.errors import ConfigError

LAYERS = ("system", "xdg", "user", "environment", "flag")


@pytest.mark.parametrize("top", range(len(LAYERS)))
def test_the_highest_layer_that_speaks_wins(machine, top):
    machine.system("sandbox: {workers: 10}")
    if top >= 1:
        machine.xdg("sandbox: {workers: 11}")
    if top >= 2:
        machine.user("sandbox: {workers: 12}")
    env = {"RUNLOOP__SANDBOX__WORKERS": "13"} if top >= 3 else {}
    flags = {"sandbox.workers": "14"} if top >= 4 else {}
    settings = machine.load(flags, **env)
    assert settings.get("sandbox.workers") == 10 + top
    assert settings.explain("sandbox.workers").layer == ("user" if LAYERS[top] == "xdg" else LAYERS[top])


def test_the_system_file_never_beats_the_user_file(machine):
    machine.system("models: {default: system-model}")
    machine.user("models: {default: my-model}")
    assert machine.load().get("models.default") == "my-model"


def test_a_key_that_nobody_sets_has_its_default(machine):
    explanation = machine.load().explain("sandbox.memory_mb")
    assert (explanation.value, explanation.layer, len(explanation.assignments)) == (256, "default", 1)


def test_maps_merge_key_by_key_and_lists_are_replaced(machine):
    machine.system("kb: {root_dir: /srv/pog}\nagents: {search_dirs: [/a, /b]}")
    machine.user("models: {default: m}\nagents: {search_dirs: [/c]}")
    settings = machine.load()
    assert settings.get("kb.root_dir") == Path("/srv/pog")
    assert settings.get("models.default") == "m"
    assert settings.get("agents.search_dirs") == (Path("/c"),)


def test_providers_of_all_layers_are_joined_and_the_upper_one_of_an_id_wins(machine):
    one = "models: {broker: {providers: [{id: %s, kind: http_ollama, base_url: 'http://localhost:%d'}]}}"
    machine.system(one % ("shared", 1))
    machine.xdg(one % ("own", 2))
    machine.user(one % ("shared", 3))
    providers = machine.load().get("models.broker.providers")
    assert [(each["id"], each["base_url"]) for each in providers] == [("shared", "http://localhost:3"), ("own", "http://localhost:2")]


def test_two_providers_of_one_id_in_one_file_are_an_error_at_the_second(machine):
    one, other = ("{id: a, kind: http_ollama, base_url: 'http://localhost:1'}", "{id: a, kind: none}")
    machine.user(f"models:\n  broker:\n    providers:\n      - {one}\n      - {other}\n")
    with pytest.raises(ConfigError) as caught:
        machine.load()
    assert caught.value.message == "models.broker.providers[1].id is 'a', as that of [0]"
    assert (caught.value.where.line, caught.value.where.column) == (5, 9)


def test_runloop_config_is_the_only_file_that_is_read(machine):
    machine.system("sandbox: {workers: 1, hostcalls: 5}")
    machine.user("sandbox: {memory_mb: 64}")
    only = machine.file("only.yaml", "sandbox: {workers: 7}")
    settings = machine.load(RUNLOOP_CONFIG=str(only))
    assert [settings.get(f"sandbox.{key}") for key in ("workers", "hostcalls", "memory_mb")] == [7, 10000, 256]


def test_runloop_config_cannot_lift_the_hard_limits_of_the_system(machine):
    machine.system("policy: {memory_mb: 100}")
    only = machine.file("only.yaml", "policy: {memory_mb: 900}")
    assert machine.load(RUNLOOP_CONFIG=str(only)).get("sandbox.memory_mb") == 100


def test_runloop_config_that_names_no_file_is_an_error(machine):
    error = machine.refuse(RUNLOOP_CONFIG="/nowhere/config.yaml")
    assert (error.code, error.where.key) == ("config.missing_file", "RUNLOOP_CONFIG")
    assert "--config" in error.hint


def test_runloop_home_moves_the_user_file_and_the_state(machine, tmp_path):
    machine.user("sandbox: {workers: 1}")
    machine.file("other/config.yaml", "sandbox: {workers: 2}")
    settings = machine.load(RUNLOOP_HOME=str(tmp_path / "other"))
    assert settings.get("sandbox.workers") == 2
    assert settings.get("kb.root_dir") == tmp_path / "other/pog"
    assert settings.directories.artifacts == tmp_path / "other/artifacts"


def test_explain_lists_every_layer_with_file_and_line(machine):
    machine.system("sandbox:\n  workers: 1\n")
    user = machine.user("# mine\nsandbox:\n  workers: 2\n")
    explanation = machine.load({"sandbox.workers": 4}, RUNLOOP__SANDBOX__WORKERS="3").explain("sandbox.workers")
    assert [(each.layer, each.value, each.where.line) for each in explanation.assignments] == [
        ("default", 0, None),
        ("system", 1, 2),
        ("user", 2, 3),
        ("environment", 3, None),
        ("flag", 4, None),
    ]
    assert str(explanation.assignments[2].where) == f"{user}:3:3"
    assert explanation.assignments[3].where.key == "RUNLOOP__SANDBOX__WORKERS"


def test_the_conformance_case_of_file_and_environment_together(machine):
    machine.user("kb: {root_dir: ~/.custom-pog}\nsecurity: {confirm_external_actions: false}")
    settings = machine.load(RUNLOOP__MODELS__DEFAULT="local:test", RUNLOOP__ROUTER__DEFAULT_OPENING="other")
    assert settings.get("kb.root_dir") == machine.root / "home/.custom-pog"
    assert settings.get("security.confirm_external_actions") is False
    assert (settings.get("models.default"), settings.get("router.default_opening")) == ("local:test", "other")
