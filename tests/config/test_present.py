"""What of a setting may be shown: everything but secrets, as data for programs and as one line for people."""

import pytest

from runloop.config.present import line, plain
from runloop.config.raw import masked
from runloop.config.registry import lookup

PROVIDER = '{"id": "a", "kind": "http_openai_chat", "secret_id": "openai", "headers": {"Authorization": "Bearer hunter2"}}'


def shown(machine, path, given):
    explained = machine.load({path: given}).explain(path)
    return plain(explained.key, explained.value), line(explained.key, explained.value)


def test_a_secret_is_never_shown_but_that_it_is_set(machine):
    assert shown(machine, "security.redaction.salt", "hunter2") == ("***", "***")


def test_of_headers_only_the_names_are_shown(machine):
    data, text = shown(machine, "models.broker.providers", f"[{PROVIDER}]")
    assert (data[0]["headers"], data[0]["id"], "hunter2" in text) == ({"Authorization": "***"}, "a", False)


def test_a_provider_without_headers_shows_none(machine):
    data, _ = shown(machine, "models.broker.providers", '[{"id": "a", "kind": "none"}]')
    assert data[0]["headers"] == {}


@pytest.mark.parametrize(
    ("path", "given", "data", "text"),
    [
        ("sandbox.fuel", "null", None, "–"),
        ("sandbox.workers", "3", 3, "3"),
        ("kb.wal", "no", False, "false"),
        ("kb.root_dir", "/x/ä", "/x/ä", "/x/ä"),
        ("models.default", "ä", "ä", "ä"),
        ("router.allowlist", "a,b", ["a", "b"], "a, b"),
        ("router.allowlist", "", [], "(none)"),
        ("openings.search_dirs", "/a,/b", ["/a", "/b"], "/a, /b"),
        ("security.secrets.hosts", '{"k": ["ä.org"]}', {"k": ["xn--4ca.org"]}, '{"k": ["xn--4ca.org"]}'),
    ],
)
def test_a_value_is_data_for_programs_and_one_line_for_people(machine, path, given, data, text):
    assert shown(machine, path, given) == (data, text)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://me:pa/ss@host/x?token=1", "https://***@host/x?token=***"),
        ("https://me:p@a/b?#@host:80", "https://***@host:80"),
        ("https://me@host/a@b", "https://***@host/a@b"),
        ("https://host/a@b", "https://host/a@b"),
    ],
)
def test_a_password_in_a_url_is_masked_whatever_is_in_it(url, said):
    assert masked(url) == said


def test_a_text_full_of_beginnings_of_urls_is_looked_through_once():
    assert masked("a://" * 400_000 + "?b=c") == "a://" * 400_000 + "?b=***"
    assert masked("a://" * 400_000) == "a://" * 400_000


def test_what_is_not_set_is_not_masked_as_if_it_were():
    assert plain(lookup("security.redaction.salt"), None) is None
