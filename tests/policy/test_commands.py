from __future__ import annotations

import pytest

from runloop.policy import Capabilities
from runloop.policy.commands import ExecGrants, entry_problem, is_destructive

GRANTED = Capabilities(exec=ExecGrants.of([("git", "log"), ("/usr/bin/make",)], [("git", "status"), ("git", "log", "--oneline")]))


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["git", "log"], None),
        (["git", "log", "--all", "x"], None),
        (["git", "status"], None),
        (["/usr/bin/make", "test"], None),
        (["git"], "command_not_permitted"),
        (["git", "push"], "command_not_permitted"),
        (["git log"], "command_not_permitted"),
        (["git", "logs"], "command_not_permitted"),
        (["Git", "log"], "command_not_permitted"),
        (["/usr/bin/git", "log"], "command_not_permitted"),
        (["make", "test"], "command_not_permitted"),
        (["true", "&&", "git", "log"], "command_not_permitted"),
        (["sh", "-c", "git log"], "command_not_permitted"),
        ([], "argv_invalid"),
        (["git", "log\0"], "argv_invalid"),
    ],
)
def test_a_command_is_granted_by_its_leading_words_and_nothing_else(argv, reason):
    denial = GRANTED.check_exec(argv)
    assert (denial and denial.reason) == reason


def test_without_commands_nothing_is_run():
    assert Capabilities().check_exec(["git", "log"]).reason == "cap_missing"


@pytest.mark.parametrize(
    ("argv", "operands"),
    [
        (("git", "status"), ()),
        (("git", "status", "src"), ("src",)),
        (("git", "status", "--output=x"), None),
        (("git", "log"), None),
        (("git", "log", "--oneline", "main"), ("main",)),
        (("git", "log", "--oneline", "--output=x"), None),
    ],
)
def test_an_option_that_the_policy_does_not_spell_out_ends_read_only(argv, operands):
    assert GRANTED.exec.operands(argv) == operands


def test_what_the_longest_entry_spells_out_is_no_operand():
    assert ExecGrants.of([], [("cat",), ("cat", "/etc/hosts")]).operands(("cat", "/etc/hosts", "x")) == ("x",)


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (("git", "log"), None),
        (("python3", "report.py"), None),
        (("sh", "build.sh"), None),
        (("/usr/bin/git",), None),
        ((), "it names no program"),
        (("  ",), "it names no program"),
        (("/",), "it names no program"),
        (("/bin/..",), "it names no program"),
        (("git\0",), "it contains a NUL byte"),
        (("./tool",), "the program must be a plain name or an absolute path"),
        (("env", "git"), "env starts other programs, so it would grant all of them; name the program itself"),
        (("/usr/bin/sudo", "git"), "sudo starts other programs, so it would grant all of them; name the program itself"),
        (("bash",), "bash runs whatever it is given; name the script as the second word"),
        (("sh", "-c"), "sh runs whatever it is given; name the script as the second word"),
        (("python3.11", "-c"), "python3.11 runs whatever it is given; name the script as the second word"),
        (("gawk",), "gawk runs whatever it is given; name the script as the second word"),
    ],
)
def test_an_entry_that_would_grant_any_program_is_refused(argv, problem):
    assert entry_problem(argv) == problem


@pytest.mark.parametrize(
    ("argv", "destructive"),
    [
        (("rm", "x"), True),
        (("/bin/rm", "x"), True),
        (("mkfs.ext4", "/dev/sda"), True),
        (("git", "push"), True),
        (("git", "-C", "x", "reset"), True),
        (("git", "log"), False),
        (("find", ".", "-delete"), True),
        (("rsync", "--delete", "a", "b"), True),
        (("sed", "-i.bak", "s/a/b/", "x"), True),
        (("sed", "s/a/b/", "x"), False),
        (("cp", "--force=yes", "a"), True),
        (("grep", "-i", "x"), False),
        ((), False),
    ],
)
def test_commands_that_destroy_are_told_from_those_that_do_not(argv, destructive):
    assert is_destructive(argv) is destructive


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("git", "status", "src", "--output=x", "-v"), (("git", "status"), "--output=x")),
        (("git", "log", "--oneline", "--output=x"), (("git", "log", "--oneline"), "--output=x")),
        (("git", "fetch", "--all"), ((), "")),
    ],
)
def test_what_is_added_to_a_read_only_entry_is_named(argv, said):
    assert GRANTED.exec.option_added(argv) == said
