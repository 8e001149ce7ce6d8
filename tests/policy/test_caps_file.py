from __future__ import annotations

import pytest

from runloop.errors import InvalidInput
from runloop.policy import Capabilities, override_key, parse_caps, parse_override
from runloop.policy.commands import ExecGrants
from runloop.policy.names import NameGrants
from runloop.policy.net import NetGrants
from runloop.policy.paths import PathGrants


def parse(body: str) -> Capabilities:
    return parse_caps(f"[capabilities]\n{body}\n", file="policy.caps", home="/home/ada", env={"DATA": "/data"})


def test_every_key_of_the_policy_file_is_read():
    assert parse(
        """
        fs = ["/ro"]
        fs_ro = ["~/notes", "$DATA"]
        fs_rw = ["/rw"]
        net = { hosts = ["api.example:443", "Other.example"], allow_http = true, allow_private = true }
        exec = { commands = [["git", "log"]], read_only = [["git", "status"]] }
        kb_read = ["contacts", "contacts_raw"]
        kb_write = true
        spawn = ["agent:writer@fast", "opening:mail_it"]
        secrets = ["runloop/mail/password"]
        time = true
        model = true
        mail = true
        ask = true
        """
    ) == Capabilities(
        fs=PathGrants.of([("/ro", False), ("/home/ada/notes", False), ("/data", False), ("/rw", True)]),
        net=NetGrants.of([("api.example", 443), ("other.example", None)], allow_http=True, allow_private=True),
        exec=ExecGrants.of([("git", "log")], [("git", "status")]),
        kb_read=NameGrants(names=frozenset({"contacts", "contacts_raw"})),
        kb_write=NameGrants(everything=True),
        spawn=NameGrants(names=frozenset({"agent:writer@fast", "opening:mail_it"})),
        secrets=frozenset({"runloop/mail/password"}),
        time=True,
        model=True,
        mail=True,
        ask=True,
    )


def test_an_empty_table_grants_nothing():
    assert parse("") == Capabilities()
    assert parse("exec = false\nkb_read = false\nkb_write = []\nnet = []\nfs = []\nmodel = false") == Capabilities()


def test_hosts_may_be_a_plain_list_and_then_only_over_https():
    caps = parse('net = ["api.example"]')
    assert caps.check_net("https://api.example/") is None
    assert caps.check_net("http://api.example/").reason == "http_not_permitted"


@pytest.mark.parametrize(
    ("body", "message", "place", "hint"),
    [
        ("modle = true", "unknown capability 'modle'", ":2:1, key 'capabilities.modle'", "did you mean 'model'?"),
        ("\n  netw = []", "unknown capability 'netw'", ":3:3, key 'capabilities.netw'", "did you mean 'net'?"),
        ('fs_read = ["~/notes"]', "unknown capability 'fs_read'", ":2:1, key 'capabilities.fs_read'",
         "write fs = [DIRECTORY, …], to read below it"),
        ("network = true", "unknown capability 'network'", ":2:1, key 'capabilities.network'",
         "write net = [HOST, …], to fetch over https"),
        ("exec = true", "invalid capability entry: exec = true would let the agent run any program", ":2:1, key 'capabilities.exec'",
         'write exec = { commands = [["git", "log"]] }, or leave exec out'),
        ('exec = "git"', "invalid capability entry: exec must be false or a table of commands", ":2:1, key 'capabilities.exec'",
         'write exec = { commands = [["git", "log"]] }'),
        ("exec = { comands = [] }", "unknown key of exec 'comands'", ":2:10, key 'capabilities.exec.comands'", "did you mean 'commands'?"),
        ('exec = { commands = "git" }', "invalid capability entry: exec.commands must be a list of commands",
         ":2:10, key 'capabilities.exec.commands'", 'write exec = { commands = [["git", "log"]] }'),
        ('exec = { commands = [["ls"], "git log"] }', "invalid capability entry: a command is a list of words, not 'git log'",
         ":2:30, key 'capabilities.exec.commands[1]'", 'write ["git", "log"], not "git log"'),
        ("exec = { read_only = [[1]] }", "invalid capability entry: a command is a list of words, not [1]",
         ":2:23, key 'capabilities.exec.read_only[0]'", 'write ["git", "log"], not "git log"'),
        ('exec = { read_only = [["ls"], ["curl"]] }', "invalid capability entry: curl sends what it is given to other machines",
         ":2:31, key 'capabilities.exec.read_only[1]'", 'move ["curl"] to commands, where each is asked about'),
        ('exec = { commands = [["bash"]] }', "invalid capability entry: bash runs whatever it is given; name the script as the second word",
         ":2:22, key 'capabilities.exec.commands[0]'", 'write exec = { commands = [["git", "log"]] }'),
        ('fs = ["/ok", "../up"]', "invalid filesystem capability entry: '../up': it must be absolute or start with '~/'",
         ":2:14, key 'capabilities.fs[1]'", "name one directory"),
        ('fs_rw = ["/a/../b"]', "invalid filesystem capability entry: '/a/../b': it contains '..'", ":2:10, key 'capabilities.fs_rw[0]'",
         "name one directory"),
        ("fs = [3]", "invalid filesystem capability entry: 3 is not a non-empty string",
         ":2:7, key 'capabilities.fs[0]'", "put it in quotes"),
        ('fs = "~/x"', "invalid capability entry: fs must be a list of strings", ":2:1, key 'capabilities.fs'", 'write fs = ["..."]'),
        ("net = true", "invalid capability entry: net must be a list or a table", ":2:1, key 'capabilities.net'",
         'write net = ["host"] or net = { hosts = ["host"] }'),
        ("net = { allow_http = true }", "invalid network host entry: missing net.hosts", ":2:1, key 'capabilities.net'",
         'write net = { hosts = ["host"] }'),
        ('net = { hosts = "a" }', "invalid network host entry: net.hosts must be array", ":2:9, key 'capabilities.net.hosts'",
         'write hosts = ["host"]'),
        ("net = { hosts = [], http = true }", "unknown key of net 'http'", ":2:21, key 'capabilities.net.http'",
         "known: allow_http, allow_private, hosts"),
        ('net = { hosts = [], allow_http = "yes" }', "invalid capability entry: net.allow_http must be true or false, not 'yes'",
         ":2:21, key 'capabilities.net.allow_http'", "write true or false, without quotes"),
        ('net = [" "]', "invalid network host entry: ' ' is not a host name",
         ":2:8, key 'capabilities.net[0]'", 'write "host" or "host:443"'),
        ("net = [7]", "invalid network host entry: 7 is not a host name", ":2:8, key 'capabilities.net[0]'", 'write "host" or "host:443"'),
        ('net = ["https://Api.example/v1"]',
         "invalid network host entry: 'https://Api.example/v1': it is a URL or a path, and a host is meant",
         ":2:8, key 'capabilities.net[0]'", 'write "api.example:443"'),
        ('net = ["api.example/v1"]', "invalid network host entry: 'api.example/v1': it is a URL or a path, and a host is meant",
         ":2:8, key 'capabilities.net[0]'", 'write "host" or "host:443"'),
        ('net = ["a:99999"]', "invalid network host entry: 'a:99999': its port is not a number from 1 to 65535",
         ":2:8, key 'capabilities.net[0]'", 'write "host" or "host:443"'),
        ('net = { hosts = ["*.a"] }', "invalid network host entry: '*.a': its host is not a valid name (wildcards are not supported)",
         ":2:18, key 'capabilities.net.hosts[0]'", 'write "host" or "host:443"'),
        ('kb_read = ["Contacts"]', "invalid capability entry: 'Contacts' is not of the form expected here",
         ":2:12, key 'capabilities.kb_read[0]'",
         'write a domain such as "contacts"'),
        ('kb_write = "artifacts"', "invalid capability entry: kb_write must be a list of strings", ":2:1, key 'capabilities.kb_write'",
         'write kb_write = ["..."]'),
        ('spawn = ["writer"]', "invalid capability entry: 'writer' is not of the form expected here", ":2:10, key 'capabilities.spawn[0]'",
         'write "agent:NAME", "agent:NAME@VARIANT" or "opening:NAME"'),
        ('secrets = ["../x"]', "invalid capability entry: '../x' is not of the form expected here", ":2:12, key 'capabilities.secrets[0]'",
         'write "runloop/SCOPE/NAME"'),
        ("secrets = true", "invalid capability entry: secrets must be a list of strings", ":2:1, key 'capabilities.secrets'",
         'write secrets = ["..."]'),
        ('model = "true"', "invalid capability entry: model must be true or false, not 'true'", ":2:1, key 'capabilities.model'",
         "write true or false, without quotes"),
        ("mail = 1", "invalid capability entry: mail must be true or false, not 1",
         ":2:1, key 'capabilities.mail'", "write true or false, without quotes"),
        ("[extra]", "unknown table 'extra'", ":2:1, key 'extra'", "known: capabilities"),
    ],
)  # fmt: skip
def test_a_wrong_entry_says_what_is_wrong_where_and_what_to_write(body, message, place, hint):
    with pytest.raises(InvalidInput) as caught:
        parse(body)
    assert (caught.value.message, str(caught.value.where), caught.value.hint) == (message, f"policy.caps{place}", hint)


@pytest.mark.parametrize("text", ["", "x = 1", "capabilities = 3"])
def test_a_file_without_the_table_is_refused_in_upstreams_words(text):
    with pytest.raises(InvalidInput) as caught:
        parse_caps(text, file="policy.caps")
    assert caught.value.message == "policy manifest missing `capabilities` table"
    assert caught.value.hint == "begin the file with [capabilities]"


def test_all_that_is_wrong_with_a_file_is_told_at_once_in_the_order_of_the_file():
    body = """\
[tools]
[capabilities]
files = ["/a"]
fs = ["/ok", "rel", 7]
net = { hosts = ["https://a.example/x", "ok.example"], allow_http = "yes", ports = [1] }
exec = { commands = ["git log"], read_only = [["git", "push"]] }
kb_read = ["Notes"]
spawn = "agent:x"
model = "true"
"""
    with pytest.raises(InvalidInput) as caught:
        parse_caps(body, file="policy.caps")
    told = (caught.value, *caught.value.others)

    assert [(each.where.line, each.where.key.removeprefix("capabilities.")) for each in told] == [
        (1, "tools"), (3, "files"), (4, "fs[1]"), (4, "fs[2]"), (5, "net.hosts[0]"), (5, "net.allow_http"), (5, "net.ports"),
        (6, "exec.commands[0]"), (6, "exec.read_only[0]"), (7, "kb_read[0]"), (8, "spawn"), (9, "model"),
    ]  # fmt: skip
    assert [each["message"] for each in caught.value.to_dict()["others"]] == [each.message for each in told[1:]]


def test_an_override_knows_which_capabilities_it_states():
    override = parse_override('[capabilities]\nfs_ro = ["/a"]\nmodel = false\n')
    assert override.stated == {"fs", "model"}
    base = parse('fs_rw = ["/a", "/b"]\nmodel = true\nask = true')
    assert base.intersect(override) == Capabilities(fs=PathGrants.of([("/a", False)]), ask=True)


@pytest.mark.parametrize(
    ("name", "variant", "key"),
    [("mailer", None, "mailer"), ("mail-er", None, "mail_er"), ("mailer", "fast-1", "mailer_fast_1"), ("ä", "", "_")],
)
def test_overrides_are_kept_under_a_key_of_letters_digits_and_underscores(name, variant, key):
    assert override_key(name, variant) == key


def test_a_set_is_shown_as_a_policy_file_would_say_it():
    body = {
        "fs_ro": ["/a"],
        "fs_rw": ["/b"],
        "net": {"hosts": ["[::1]:8080", "a.example", "b.example:443"], "allow_http": True, "allow_private": False},
        "exec": {"commands": [["git", "log"]], "read_only": [["git", "log"]]},
        "kb_read": ["notes"],
        "kb_write": True,
        "spawn": [],
        "secrets": ["s"],
        "time": False,
        "model": True,
        "mail": False,
        "ask": False,
    }
    shown = parse(
        'fs = ["/a"]\nfs_rw = ["/b"]\nnet = { hosts = ["b.example:443", "a.example", "[::1]:8080"], allow_http = true }\n'
        'exec = { read_only = [["git", "log"]] }\nkb_read = ["notes"]\nkb_write = true\nsecrets = ["s"]\nmodel = true'
    ).to_dict()
    assert shown == body


@pytest.mark.parametrize(
    ("text", "granted"),
    [
        ("", set()),
        ('fs = ["/a"]', {"fs"}),
        ('fs_rw = ["/a"]', {"fs", "fs_rw"}),
        ('net = ["a.example"]\ntime = true', {"net", "time"}),
        ('kb_read = true\nexec = { commands = [["ls"]] }\nmail = false', {"kb_read", "exec"}),
        ('spawn = ["agent:a"]\nsecrets = ["runloop/a/b"]', {"spawn", "secrets"}),
    ],
)
def test_what_is_granted_at_all_is_told_by_the_key_of_the_file(text, granted):
    caps = parse(text)
    keys = ("fs", "fs_rw", "net", "exec", "kb_read", "kb_write", "spawn", "secrets", "time", "model", "mail", "ask")
    assert {key for key in keys if caps.grants(key)} == granted
