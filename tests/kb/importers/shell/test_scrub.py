from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.kb.importers.shell.scrub import LONGEST, WITHHELD, scrub

SECRETS = [  # § is where the secret stands
    "export GITHUB_TOKEN=§",
    'AWS_SECRET_ACCESS_KEY="§" aws s3 ls',
    "PGPASSWORD=§ psql -h db.example",
    "MYSQL_PWD=§ mysql",
    "declare -x API_KEY='§'",
    "set -gx API_TOKEN §",
    "set -x --export db_password §",
    "mysql -u root -p§ shop",
    "mysqldump --user=root --password=§ shop",
    "curl -u ada:§ https://x.example",
    "curl -su 'ada:§ §' https://x.example",
    'curl --user "ada:§" https://x.example',
    'curl -H "Authorization: Bearer §" https://x.example',
    "curl -H 'X-Api-Key: §' https://x.example",
    "curl -b 'cookie: sid=§' https://x.example",
    """curl -d '{"password": "§"}' https://x.example""",
    "git clone https://ada:§@example.com/x.git",
    "psql postgres://ada:§@example.com/db",
    "wget 'https://x.example/f?token=§&b=1'",
    "sshpass -p § ssh ada@x.example",
    "docker login -u ada -p § registry.example",
    "echo § | sudo -S ls",
    "printf '%s' | echo § | docker login --password-stdin",
    "sudo -S ls <<< §",
    "openssl rsa -passin pass:§ -in key.pem",
    "vault login --token=§",
    "foo --client-secret § --password-file x",
    "zip -P § a.zip b",
    "redis-cli -a § ping",
    "ldapsearch -x -w § -b dc=x",
    "htpasswd -bc users ada §",
    "git config --global github.token §",
    "aws configure set aws_secret_access_key §",
    "kubectl create secret generic x --from-literal=password=§",
    "smbclient -U ada%§ //host/share",
    "mount -o username=ada,password=§ //host/share /mnt",
    """python -c "import os; os.environ['SECRET_KEY'] = '§'" """,
]
KEPT = [
    "ls --color=auto -la | grep token",
    "mysql -u root -p shop",
    "git clone git@github.com:ada/x.git",
    "docker run -u 1000:1000 -p 80:80 image",
    'git commit --author "Ada <ada@x.example>" -m "add password reset"',
    "gh auth login --with-token < file",
    "foo --password-stdin < file",
    'foo --password "$PASSWORD"',
    "TOKEN=$(pass show x) ./run",
    "ssh -i key.pem ada@host",
    "grep -rn password src/",
    "rsync -a src/ host:dst/",
    "passwd ada",
]


@pytest.mark.parametrize("line", SECRETS)
def test_a_secret_leaves_nothing_behind(line):
    plain, count = scrub(line.replace("§", "hunter2xyz"))
    assert "hunter2" not in plain
    assert "xyz" not in plain
    assert count == 1
    assert WITHHELD in plain
    assert scrub(plain) == (plain, 0)


@pytest.mark.parametrize("line", KEPT)
def test_a_command_without_a_secret_stays_as_it_is(line):
    assert scrub(line) == (line, 0)


def test_keys_of_known_issuers_are_found_wherever_they_stand():
    line = "foo ghp_" + "a1B2" * 9 + " bar AKIAABCDEFGHIJKLMNOP"
    assert scrub(line) == (f"foo {WITHHELD} bar {WITHHELD}", 2)
    assert scrub("cat > k <<E\n-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----") == (
        f"cat > k <<E\n-----BEGIN OPENSSH PRIVATE KEY{WITHHELD}",
        1,
    )


WORDS = st.sampled_from(
    [
        "export",
        "TOKEN",
        "=",
        " ",
        "--password",
        "-p",
        "mysql",
        "curl",
        "-u",
        ":",
        "a",
        "'",
        '"',
        "\\",
        "$",
        "https://",
        "@",
        "\n",
        "|",
        "x1",
        "[key:withheld]",
    ]
)


@given(st.lists(WORDS, max_size=25).map("".join))
def test_scrubbing_never_fails_and_settles(line):
    once, _ = scrub(line)
    twice, _ = scrub(once)
    assert scrub(twice) == (twice, 0)


@pytest.mark.parametrize("piece", ["mysql ", "a-", "password=", "'a\\", "set ", "curl -u ", "http://", "key:", "token "])
def test_the_longest_line_is_looked_at_in_one_go(piece):
    line = (piece * LONGEST)[:LONGEST]
    assert len(scrub(line)[0]) > 0


def test_a_command_that_ends_where_a_private_key_would_begin_has_no_secret():
    assert scrub("grep -r -- -----BEGIN RSA PRIVATE KEY") == ("grep -r -- -----BEGIN RSA PRIVATE KEY", 0)
