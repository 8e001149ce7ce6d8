from __future__ import annotations

import pytest

from runloop.runs.places import redaction_rules


@pytest.mark.parametrize("kind", ["enabled", "email", "phone", "card", "iban", "keys", "url_params"])
def test_every_switch_reaches_the_rules(machine, kind):
    assert getattr(redaction_rules(machine.load()), kind) is True
    machine.user(f"security: {{redaction: {{{kind}: false}}}}")
    assert getattr(redaction_rules(machine.load()), kind) is False


def test_the_parameters_of_urls_reach_the_rules(machine):
    machine.user("security: {redaction: {url_param_denylist: [sid]}}")
    assert redaction_rules(machine.load()).url_param_denylist == ("sid",)


@pytest.mark.parametrize(
    ("old", "key", "value"),
    [
        ("level: strict", "enabled", True),
        ("level: standard", "enabled", True),
        ("level: off", "enabled", False),
        ("mask_email: false", "email", False),
        ("url_param_denylist: [sid]", "url_param_denylist", ("sid",)),
        ("salt: pepper", "salt", "pepper"),
        ("drop_masked_rows: true", "drop_masked_rows", True),
        ("allow_unredacted_admin: true", "allow_unredacted_admin", True),
    ],
)
def test_the_old_names_mean_the_same(machine, old, key, value):
    machine.user(f"kb: {{redaction: {{{old}}}}}")
    settings = machine.load()
    assert settings.get(f"security.redaction.{key}") == value
    assert [warning.code for warning in settings.warnings] == ["config.deprecated"]


def test_the_system_may_forbid_unmasked_reads(machine):
    machine.system("policy: {allow_unredacted_admin: false}")
    machine.user("security: {redaction: {allow_unredacted_admin: true}}")
    assert machine.load().get("security.redaction.allow_unredacted_admin") is False
