import pwd
from pathlib import Path

import pytest

from runloop.config import ConfigError, all_keys, load
from runloop.config.present import plain


def refused(machine, yaml):
    machine.user(yaml)
    return machine.refuse()


@pytest.mark.parametrize("text", ["1", "0", "7"])
def test_numbers_0_and_1_stay_numbers_for_a_number_key(machine, text):
    value = machine.load(RUNLOOP__SANDBOX__WORKERS=text).get("sandbox.workers")
    assert (value, type(value)) == (int(text), int)


@pytest.mark.parametrize(
    ("text", "value"), [*((t, True) for t in ("true", "TRUE", "yes", "on", "1")), *((t, False) for t in ("false", "No", "off", "0"))]
)
def test_yes_and_no_are_read_the_same_from_a_file_and_from_the_environment(machine, text, value):
    assert machine.load(RUNLOOP__KB__WAL=text).get("kb.wal") is value
    machine.user(f"kb: {{wal: {text}}}")
    assert machine.load().get("kb.wal") is value


@pytest.mark.parametrize("text", ["2", "maybe", "", "truee"])
def test_anything_else_is_no_boolean(machine, text):
    error = machine.refuse(RUNLOOP__KB__WAL=text)
    assert error.code == "config.invalid_value"
    assert error.message == f"kb.wal must be true or false (found {text!r})"


@pytest.mark.parametrize("text", ["true", "yes", "1.0", "1e3", "0x10", "010", "ten", "--1", "1__0", "9" * 5000])
def test_only_decimal_whole_numbers_are_integers(machine, text):
    assert refused(machine, f"sandbox: {{workers: {text}}}").message == f"sandbox.workers must be a whole number (found {text!r})"


@pytest.mark.parametrize("text", ["123", "1.10", "true", "2026-01-01", "null-ish"])
def test_a_text_key_keeps_exactly_what_was_written(machine, text):
    machine.user(f"models: {{default: {text}}}")
    assert machine.load().get("models.default") == text


@pytest.mark.parametrize(("number", "good"), [(99, False), (100, True), (60000, True), (60001, False)])
def test_the_metrics_interval_has_its_bounds(machine, number, good):
    machine.user(f"observability: {{metrics_interval_ms: {number}}}")
    if good:
        assert machine.load().get("observability.metrics_interval_ms") == number
    else:
        assert machine.refuse().message == f"observability.metrics_interval_ms must be between 100 and 60000 (found {number})"


def test_another_version_of_the_format_is_refused(machine):
    error = refused(machine, "version: 2")
    assert error.message == "unsupported config version 2; expected 1"
    assert (error.where.line, error.where.column) == (1, 10)


def test_the_agent_container_is_fixed(machine):
    assert (
        refused(machine, "runtime: {agent_container: docker}").message
        == "runtime.agent_container must be \"wasm32-wasip1\" (found 'docker')"
    )


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "1e13", "much"])
def test_money_is_a_finite_number_that_is_not_negative(machine, text):
    assert refused(machine, f"models: {{broker: {{budgets: {{hard_cap_usd: '{text}'}}}}}}").code == "config.invalid_value"


@pytest.mark.parametrize("text", ["0", "0.000001", "1e12"])
def test_money_may_be_held_to_nothing(machine, text):
    assert machine.load({"policy.max_usd": text}).get("policy.max_usd") == float(text)


def test_a_wrong_value_is_named_with_its_variable_or_its_line_and_column(machine):
    assert machine.refuse(RUNLOOP__SANDBOX__WORKERS="many").where.key == "RUNLOOP__SANDBOX__WORKERS"
    error = refused(machine, "sandbox:\n  workers: many\n")
    assert (error.where.line, error.where.column) == (2, 12)


def test_a_choice_that_is_mistyped_is_told_the_nearest(machine):
    assert machine.refuse({"logging.level": "inf"}).hint == "Did you mean info?"
    assert machine.refuse({"logging.level": "qqqqq"}).hint == "It is: Least level that is logged."


def test_lists_come_as_json_or_with_commas_from_the_environment(machine):
    assert machine.load(RUNLOOP__ROUTER__ALLOWLIST='["a, b", "c"]').get("router.allowlist") == ("a, b", "c")
    assert machine.load(RUNLOOP__ROUTER__ALLOWLIST="a, b").get("router.allowlist") == ("a", "b")
    assert machine.load(RUNLOOP__ROUTER__ALLOWLIST="").get("router.allowlist") == ()


def test_json_values_in_the_environment_are_typed_by_the_key_too(machine):
    assert machine.load(RUNLOOP__ROUTER__ALLOWLIST="[true, 1, 1.50]").get("router.allowlist") == ("true", "1", "1.50")
    assert machine.load({"kb.wal": False}).get("kb.wal") is False


def test_a_section_may_be_given_as_json_in_the_environment(machine):
    settings = machine.load(RUNLOOP__SANDBOX='{"workers": 3, "memory_mb": 64}')
    assert (settings.get("sandbox.workers"), settings.get("sandbox.memory_mb")) == (3, 64)


@pytest.mark.parametrize("text", ["[1,", '{"a": 1, "a": 2}', "[" * 5000, "{]"])
def test_broken_json_in_the_environment_is_an_error_and_not_text(machine, text):
    error = machine.refuse(RUNLOOP__ROUTER__ALLOWLIST=text)
    assert (error.code, error.where.key) == ("config.invalid_value", "RUNLOOP__ROUTER__ALLOWLIST")
    assert error.message.startswith("the value ")
    error = machine.refuse({"router.allowlist": text})
    assert (error.code, error.where.file, error.where.key) == ("config.invalid_value", "command line", "router.allowlist")
    assert error.message.startswith("the value ")


def test_a_json_null_unsets_a_key_as_the_file_does(machine):
    machine.user("sandbox: {fuel: 5}")
    assert machine.load(RUNLOOP__SANDBOX='{"fuel": null}').get("sandbox.fuel") is None
    assert machine.load({"sandbox.fuel": None}).get("sandbox.fuel") is None


def test_an_empty_variable_unsets_a_key_that_may_be_unset(machine):
    machine.user("sandbox: {fuel: 5}")
    assert machine.load(RUNLOOP__SANDBOX__FUEL="").get("sandbox.fuel") is None


def test_a_null_inside_a_value_is_the_default_of_that_entry(machine):
    machine.user("models: {broker: {providers: [{id: a, kind: none, base_url: null}]}}")
    assert machine.load().get("models.broker.providers")[0]["base_url"] is None


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("kb: 5", "kb is a section, not a value (found '5')"),
        ("kb: [a]", "kb is a section, not a value (found a list)"),
        ("models: {default: [a]}", "models.default must be text (found a list)"),
        ("models: {default: {a: b}}", "models.default must be text (found a map)"),
        ("models: {default: ''}", "models.default must be text that is not blank (found '')"),
        ("models: {default: }", "models.default needs a value"),
        ("router: {denylist: {a: b}}", "router.denylist must be a list (found a map)"),
        ("router: {denylist: [a, [b]]}", "router.denylist[1] must be text (found a list)"),
        ("router: {denylist: [a, null]}", "router.denylist[1] must be text (found nothing)"),
        ("security: {secrets: {hosts: {key: null}}}", "security.secrets.hosts.key must be a list (found nothing)"),
        ("logging: {level: loud}", "logging.level must be one of trace, debug, info, warn, error (found 'loud')"),
        ("mail: {from: nobody}", 'mail.from must be an address: "ada@example.org" or "Ada <ada@example.org>" (found \'nobody\')'),
        ("mail: {smtp: {host: 'smtp.x.org:587'}}", "mail.smtp.host must be a host, without a scheme or port (found 'smtp.x.org:587')"),
        (
            "mail: {smtp: {host: 'my server'}}",
            "mail.smtp.host must be a host, without a scheme or port (found 'my server': its host is not a valid name)",
        ),
        ("mail: {smtp: {port: 0}}", "mail.smtp.port must be between 1 and 65535 (found 0)"),
        ("sandbox: {output_bytes: 3}", "sandbox.output_bytes must be at least 1024 (found 3)"),
        ("sandbox: {output_bytes: 3000000000}", "sandbox.output_bytes must be between 1024 and 2147483648 (found 3000000000)"),
        ("models: {broker: {providers: [{kind: none}]}}", "models.broker.providers[0]: a provider needs 'id'"),
        ("models: {broker: {providers: [{id: a, kind: none, url: x}]}}", "models.broker.providers[0]: a provider has no 'url'"),
        ("models: {broker: {providers: [{id: a, knd: none}]}}", "models.broker.providers[0]: a provider has no 'knd'"),
        (
            "models: {broker: {providers: [{id: a, kind: local, model_dir: x}]}}",
            "models.broker.providers[0].kind must be one of http_openai_chat, http_ollama, http_anthropic, none (found 'local')",
        ),
        (
            "models: {broker: {providers: [{id: a, kind: http_ollama, base_url: x}]}}",
            "models.broker.providers[0].base_url must be a URL that starts with http:// or https:// (found 'x')",
        ),
        (
            "policy: {allowed_hosts: ['https://x.org']}",
            "policy.allowed_hosts[0] must be a host or host:port, without a scheme (found 'https://x.org')",
        ),
        (
            "bus: {auth: {publishers: {action_decision: {allowed_kinds: [ui, Robot]}}}}",
            "bus.auth.publishers.action_decision.allowed_kinds[1]: unknown publisher kind 'robot'",
        ),
        (
            "bus: {auth: {publishers: {action_decision: {allowed_kinds: ['   ']}}}}",
            "bus.auth.publishers.action_decision.allowed_kinds[0]: empty publisher kind entry",
        ),
        (
            "bus: {auth: {publishers: {action_decision: {allowed_kinds: [tui]}}}}",
            "bus.auth.publishers.action_decision.allowed_kinds must be a list with ui and tui in it (found tui)",
        ),
    ],
)
def test_a_value_of_the_wrong_kind_says_what_it_should_be(machine, yaml, message):
    error = refused(machine, yaml)
    if message is not None:
        assert error.message == message
    assert error.code in ("config.invalid_value", "config.unknown_key")
    assert error.where.line == 1


@pytest.mark.parametrize(
    ("written", "read"), [("SMTP.Example.", "smtp.example"), ("::1", "::1"), ("'[::1]'", "::1"), ("127.0.0.1", "127.0.0.1")]
)
def test_the_mail_server_is_read_into_the_one_form_of_hosts(machine, written, read):
    machine.user(f"mail:\n  smtp:\n    host: {written}\n")
    assert machine.load().get("mail.smtp.host") == read


def test_the_publisher_kinds_are_read_in_any_case_and_count_once(machine):
    machine.user("bus: {auth: {publishers: {action_decision: {allowed_kinds: [tui, UI, agent, tui]}}}}")
    assert machine.load().get("bus.auth.publishers.action_decision.allowed_kinds") == ("tui", "ui", "agent")


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/b", "..", "."])
def test_the_files_of_the_knowledge_base_stay_in_its_directory(machine, name):
    assert (
        refused(machine, f"kb: {{events_db: {name}}}").message == f"kb.events_db must be a file name, without a directory (found {name!r})"
    )


def test_the_ledger_and_the_projections_cannot_be_the_same_file(machine):
    error = refused(machine, "kb: {events_db: pog.sqlite}")
    assert error.message == "kb.events_db and kb.view_db both name 'pog.sqlite', but are two files"
    assert error.where.line == 1


def test_a_null_unsets_a_key_that_may_be_unset(machine):
    machine.system("sandbox: {fuel: 100}")
    machine.user("sandbox: {fuel: null}")
    assert machine.load().get("sandbox.fuel") is None


def test_a_flag_and_a_variable_unset_a_key_too_and_only_one_that_may_be_unset(machine):
    assert machine.load({"runtime.park_after_ms": "null"}).get("runtime.park_after_ms") is None
    assert machine.load(RUNLOOP__RUNTIME__PARK_AFTER_MS="null").get("runtime.park_after_ms") is None
    assert machine.refuse({"runtime.max_nodes_per_run": "null"}).message == "runtime.max_nodes_per_run needs a value"
    assert machine.refuse({"router.denylist": "null"}).message == "router.denylist needs a value"


@pytest.mark.parametrize("kind", ["local", "http", "http_gemini"])
def test_a_provider_kind_that_is_not_served_says_what_to_use(machine, kind):
    error = refused(machine, f"models: {{broker: {{providers: [{{id: a, kind: {kind}}}]}}}}")
    assert error.message.startswith("models.broker.providers[0].kind must be one of")
    assert "http_o" in error.hint


def test_routes_of_the_older_map_form_are_ordered_exact_long_short_then_all(machine):
    machine.user("models: {broker: {route: {'*': d, 'gpt4*': c, 'gpt4-turbo*': b, gpt4: a, abc: {provider: e, target_model: t}}}}")
    assert [(each["pattern"], each["provider"], each["target_model"]) for each in machine.load().get("models.broker.route")] == [
        ("gpt4", "a", None),
        ("abc", "e", "t"),
        ("gpt4-turbo*", "b", None),
        ("gpt4*", "c", None),
        ("*", "d", None),
    ]


def test_routes_given_as_a_list_keep_their_order(machine):
    machine.user("models: {broker: {route: [{pattern: '*', provider: a}, {pattern: b, provider: c}]}}")
    assert [each["pattern"] for each in machine.load().get("models.broker.route")] == ["*", "b"]


@pytest.mark.parametrize("pattern", ["a*b", "**", "", "a b"])
def test_a_route_pattern_has_its_star_only_at_the_end(machine, pattern):
    assert refused(machine, f"models: {{broker: {{route: [{{pattern: '{pattern}', provider: a}}]}}}}").code == "config.invalid_value"


def test_every_default_is_valid_and_of_its_type(machine):
    settings = machine.load()
    for path, key in all_keys().items():
        value = settings.get(path)
        assert value is not None or key.nullable, path


def test_every_problem_of_a_load_is_reported(machine):
    machine.user("models:\n  defualt: x\nsandbox:\n  workers: no\n  memory_mb: 1\n")
    error = machine.refuse(RUNLOOP__NOPE="1")
    assert [error.where.line, *(each.where.line for each in error.others)] == [2, None]
    machine.user("sandbox:\n  workers: no\n  memory_mb: 1\n")
    error = machine.refuse()
    assert [each.where.key for each in (error, *error.others)] == ["sandbox.workers", "sandbox.memory_mb"]
    assert len(error.to_dict()["others"]) == 1


def test_the_value_of_a_secret_never_appears_in_an_error(machine):
    error = refused(machine, "kb: {redaction: {salt: [hunter2]}}")
    assert "hunter2" not in str(error.to_dict())
    assert error.message == "security.redaction.salt cannot be used (its value is a secret and not shown)"
    assert error.where.key == "security.redaction.salt"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("~", "{home}"),
        ("~/x/../y", "{home}/y"),
        ("$PLACE/x", "/srv/x"),
        ("${PLACE}/x", "/srv/x"),
        ("env:PLACE", "/srv"),
        ("./rel", "{work}/rel"),
        ("rel", "{work}/rel"),
        ("/abs/$PLACE", "/abs//srv"),
        ("/abs/$$PLACE$$", "/abs/$PLACE$"),
        ("env:ODD", "/a/$PLACE/$$"),
        ("$ODD", "/a/$PLACE/$$"),
        ("env:BELOW_HOME", "{home}/x"),
    ],
)
def test_a_path_is_expanded(machine, text, path):
    expected = path.format(home=machine.root / "home", work=machine.root / "work")
    variables = {"PLACE": "/srv", "ODD": "/a/$PLACE/$$", "BELOW_HOME": "~/x"}
    assert machine.load({"kb.root_dir": text}, **variables).get("kb.root_dir") == Path(expected)


@pytest.mark.parametrize("text", ["$NOPE/x", "${NOPE}", "env:NOPE", "~nobody-here-9/x"])
def test_a_path_that_refers_to_nothing_is_an_error_and_not_left_as_it_is(machine, text):
    error = machine.refuse({"kb.root_dir": text})
    assert (error.code, error.where.key) == ("config.path_unresolved", "kb.root_dir")
    assert error.message.startswith("kb.root_dir: the path ")
    error = machine.refuse(RUNLOOP_CONFIG=text)
    assert (error.code, error.where.key, error.hint != "") == ("config.path_unresolved", "RUNLOOP_CONFIG", True)


def test_a_path_may_begin_with_the_home_of_another_user(machine):
    root = pwd.getpwuid(0)
    assert machine.load({"kb.root_dir": f"~{root.pw_name}/x"}).get("kb.root_dir") == Path(root.pw_dir) / "x"


def test_a_path_that_begins_with_a_home_that_there_is_not_is_an_error(machine):
    with pytest.raises(ConfigError) as caught:
        load({"kb.root_dir": "~/x"}, env={"RUNLOOP_HOME": str(machine.root)}, system_dir=machine.root)
    assert (caught.value.code, caught.value.hint) == ("config.path_unresolved", "Set HOME.")


def test_a_path_behind_the_name_of_a_variable_is_told_how_it_is_written(machine):
    assert refused(machine, "kb: {root_dir: 'env:DATA/x'}").hint == "`env:` takes the name of one variable; `$NAME/…` goes on."
    assert refused(machine, "kb: {root_dir: 'env:DATA'}").hint == "Set DATA, or write the path out."


def test_the_socket_has_the_messages_of_the_specification(machine):
    assert refused(machine, "runtime: {socket_path: '   '}").message == "runtime.socket_path cannot be empty when specified"
    assert refused(machine, "runtime: {socket_path: ''}").message == "runtime.socket_path cannot be empty when specified"
    assert (
        refused(machine, "runtime: {sockets_dir: '   '}").message == "runtime.sockets_dir cannot be empty when runtime.socket_path is unset"
    )


def test_a_blank_directory_of_sockets_is_none_where_the_socket_is_named(machine):
    machine.user("runtime: {sockets_dir: '   ', socket_path: /run/mine.sock}")
    settings = machine.load()
    assert (settings.get("runtime.sockets_dir"), settings.sockets) == (None, (Path("/run/mine.sock"),))


@pytest.mark.parametrize(
    "yaml",
    [
        "observability: {traces: {otlp_endpoint: 'https://ada:pw@host.example:4318?key=one'}}",
        "models: {broker: {providers: [{id: a, kind: http_ollama, base_url: 'ftp://ada:p@w@host.example/?key=one'}]}}",
        "mail: {smtp: {host: 'smtps://ada:pw@host.example?key=one'}}",
    ],
)
def test_an_error_shows_no_secret_of_a_url_that_it_refuses(machine, yaml):
    message = refused(machine, yaml).message
    assert "://***@host.example" in message
    assert not any(part in message for part in ("ada", "pw", "w@", "one'"))


def test_what_a_url_may_hold_of_secrets_is_never_shown(machine):
    url = "https://ada:pw@host.example/v1?key=one&other=two#part"
    settings = machine.load({"models.broker.providers": f'[{{"id": "a", "kind": "http_ollama", "base_url": "{url}"}}]'})
    explained = settings.explain("models.broker.providers")
    assert plain(explained.key, explained.value)[0]["base_url"] == "https://***@host.example/v1?key=***&other=***#part"


@pytest.mark.parametrize("escaped", ["\\0", "\\n", "\\x1b", "\\x7f", "\\x85", "\\u2028"])
@pytest.mark.parametrize("key", ["models.default", "router.sigil", "router.denylist", "security.redaction.salt", "mail.smtp.user"])
def test_text_takes_no_control_characters(machine, key, escaped):
    section, _, name = key.rpartition(".")
    error = refused(
        machine, "\n".join(f"{'  ' * depth}{part}:" for depth, part in enumerate(section.split("."))) + f' {{{name}: "a{escaped}b"}}'
    )
    assert (error.code, error.where.key) == ("config.invalid_value", key)
    assert "one line of plain text (found the control character U+" in error.message or key == "security.redaction.salt"


def test_text_takes_no_bytes_that_are_no_utf8(machine):
    error = machine.refuse(RUNLOOP__MODELS__DEFAULT="a\udcff")
    assert error.message == "models.default must be one line of plain text (found bytes that are no UTF-8)"


@pytest.mark.parametrize("text", ["", "x", "-1", "[]", "{}", "9" * 30])
def test_every_value_that_is_refused_comes_with_what_to_do(machine, text):
    def hint(path):
        try:
            machine.load({path: text})
        except ConfigError as error:
            return error.hint
        return "it is taken"

    assert [path for path in all_keys() if not hint(path)] == []


@pytest.mark.parametrize(("theirs", "ours"), [("stub", "env"), ("os-keyring", "auto"), ("Secret-Service", "keyring"), ("file", "file")])
def test_places_of_secrets_are_taken_by_upstreams_names_too(machine, theirs, ours):
    assert machine.load({"security.secrets.provider": theirs}).get("security.secrets.provider") == ours


def test_a_store_of_secrets_that_nothing_reads_is_refused(machine):
    assert refused(machine, "security: {secrets: {provider: pass}}").hint.startswith("Nothing reads that store here")
