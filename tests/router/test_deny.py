import pytest

from runloop.router import unwrap
from runloop.router.deny import denied
from runloop.router.lexer import read
from runloop.router.unwrap import TooDeep

ALIASES = {"wipe": "rm -rf /", "w": "wipe"}
PATTERNS = ["rm -rf /"]


@pytest.mark.parametrize(
    "line",
    [
        "rm -rf /",
        "sudo rm -r -f /",
        "env X=1 rm -fr /",
        "true && rm -rf /",
        "false || rm -rf /",
        "ls; rm -rf /",
        "ls & rm -rf /",
        "ls\nrm -rf /",
        "ls | rm -rf /",
        "sh -c 'rm -rf /'",
        "bash -xc 'cd /; rm -rf /'",
        "fish --command 'rm -rf /'",
        "echo $(rm -rf /)",
        'echo "now $(rm -rf /)"',
        "`rm -rf /`",
        "diff <(rm -rf /) x",
        "a=($(rm -rf /))",
        "echo (rm -rf /)",
        "set x (rm -rf /)",
        "echo a(rm -rf /)b",
        "=(rm -rf /)",
        "=rm -rf /",
        "- rm -rf /",
        "repeat 3 rm -rf /",
        "trap 'rm -rf /' EXIT",
        "rm -rf //",
        "rm -rf /./",
        "rm -rf /tmp/..",
        "rm -rf /*",
        "rm -rf / --no-preserve-root",
        "rm --recursive --force /",
        "rm -R -f -v /",
        "rm -rf -- /",
        "rm -rf home / tmp",
        "/bin/rm -rf /",
        "\\rm -rf /",
        "'rm' -rf \"/\"",
        "r\\\nm -rf /",
        "bash <<< 'rm -rf /'",
        "sh <<E\nrm -rf /\nE",
        "cat <<E | sh\nrm -rf /\nE",
        "cat <<-E | sh\n\trm -rf /\n\tE\nls",
        "echo 'rm -rf /' | sudo sh",
        "printf 'rm -rf /' | bash",
        "X=/; rm -rf $X",
        "X=rm Y='-rf /'; ${X} $Y",
        "rm${IFS}-rf${IFS}/",
        "{rm,-rf,/}",
        "rm -{r,f} /",
        "rm -rf /{,tmp}",
        "env -S 'rm -rf /'",
        "r''m -rf /",
        "$'rm' -rf /",
        "command -- rm -rf /",
        "busybox rm -rf /",
        "sudo -u root bash -c 'rm -rf /' x y",
        "sudo --user root rm -rf /",
        "nohup rm -rf / > /dev/null 2>&1 &",
        "> x rm -rf /",
        "rm -rf /;",
        "(cd / && rm -rf /) || true",
        "[[ -d / ]] && rm -rf /",
        "echo a; { rm -rf /; }",
        "tee >(rm -rf /)",
        "find / -exec rm -rf / \\;",
        "find . -name x -ok rm -rf / +",
        "find . -exec rm -rf /",
        "ssh -p 22 host rm -rf /",
        "watch -n 5 'rm -rf /'",
        "timeout -s KILL 5 rm -rf /",
        "eval rm -rf /",
        "eval 'rm -rf /'",
        "xargs -I {} rm -rf / {}",
        "f() { rm -rf /; }; f",
        "function f { rm -rf /; }; f",
        "function f() { rm -rf /; }; f",
        "function { rm -rf /; }",
        "! X=1 rm -rf /",
        "time X=1 Y=2 rm -rf /",
        "if X=/; then rm -rf $X; fi",
        "find / -exec sudo rm -rf / \\;",
        "find / -exec sh -c 'rm -rf /' \\;",
        "sudo find / -type d -exec nice bash -c 'rm -rf /' {} +",
        "if true; then rm -rf /; fi",
        "while :; do rm -rf /; done",
        "case x in x) rm -rf /;; esac",
        "! rm -rf /",
        "time rm -rf /",
        "su -c 'rm -rf /'",
        'sudo -u root -- nice -n 5 sh -c "cd /; rm -rf /"',
        "wipe",
        "w",
        "sudo wipe",
        "wipe --one-file-system",
        'echo "$\'"; rm -rf /; echo "\'"',
        "echo $'it\\'s'; rm -rf /; echo 'x'",
        "cat <<E\nnow $(rm -rf /)\nE",
        'cat <<E\nan open quote" `rm -rf /`\nE',
        "echo $(case x in x) rm -rf /;; esac)",
        "echo $(if ! case x in y) a;; x) rm -rf /;; esac; then b; fi)",
        "echo $(echo case in); rm -rf /",
        "echo ${X:-$(rm -rf /)}",
        'echo "${X:-a\'b $(rm -rf /)}"',
        "echo ${X:-'}'\\}\"}\"}; rm -rf /",
        "for x in /home /; do rm -rf $x; done",
        "echo rm -rf / | sh",
        "echo -n rm -rf / | sudo bash",
        "printf 'rm -rf /\\n' | sh",
        "printf '%s\\n' 'rm -rf /' | sh",
        "printf 'rm -rf %s' / | sh",
        "echo -- | sh; echo 'rm -rf /' | sh",
        "{ echo 'rm -rf /'; } | sh",
        "echo 'rm -rf /' | (cd /; sh)",
        "echo 'rm -rf /' | tee log | sh",
        "cat <<E | ssh host sudo bash\nrm -rf /\nE",
        "ssh host <<E\nrm -rf /\nE",
        "ssh host bash -s <<'E'\nrm -rf /\nE",
        "source /dev/stdin <<< 'rm -rf /'",
        "echo 'rm -rf /' | source",
        "bash <(echo 'rm -rf /')",
        "source (echo 'rm -rf /' | psub)",
        "bash -cx 'rm -rf /'",
        "bash -c -- 'rm -rf /'",
        "sh -c -e 'rm -rf /'",
        "su --command='rm -rf /'",
        "su -pc'rm -rf /'",
        "sg root 'rm -rf /'",
        "script -qec'rm -rf /' log",
        "flock lock -c 'rm -rf /'",
        "fish -C 'rm -rf /'",
        "env -vS 'rm -rf /'",
        "env --split-string='rm -rf /'",
        "env -i -u X 'A.b=1' rm -rf /",
        "env -i -- X=1 rm -rf /",
        "sudo -nu root rm -rf /",
        "xargs -rn 1 rm -rf /",
        "xargs --replace rm -rf /",
        "strace -fo log -E X=1 rm -rf /",
        "unshare -S 0 -w / rm -rf /",
        "nsenter -t 1 -m rm -rf /",
        "chrt --idle 0 rm -rf /",
        "setpriv --reuid 0 rm -rf /",
        "runuser -u root -- rm -rf /",
        "run0 -u root rm -rf /",
        "time -p rm -rf /",
        "repeat 2 X=1 rm -rf /",
        "coproc name { rm -rf /; }",
        "trap -- 'rm -rf /' EXIT",
        "echo `echo \\`rm -rf /\\``",
        "echo $(echo `rm -rf /",
        "X=; rm -rf $X/",
        'X=/; rm -rf "${X}tmp/.."',
        "X=r; rm -${X}f /",
        "X=/; Y=$X; rm -rf $Y",
        "rm -rf ${X:-/}",
        "rm -rf ${X-/}*",
        "export X=/; rm -rf $X",
        "set -l x /; rm -rf $x",
        "set x rm -rf /; $x",
        "rm -rf /**",
        "rm -rf /?*",
        "rm -rf /*(D)",
        "for x (/ /tmp) rm -rf $x",
        "if [[ a == a ]] rm -rf /",
        "if (false) { ls } else { rm -rf / }",
        "function f g { rm -rf / }; g",
        "{ ls } always { X=1 rm -rf / }",
        "echo 'it\\'s'; rm -rf /; echo 'done'",
        'echo "`"; rm -rf /',
        "ls >| rm -rf /",
        "echo 'a\\\\'; rm -rf /",
        "echo 'it is\\' (rm -rf /",
    ],
)
def test_a_denied_command_is_found_however_it_is_written(line):
    assert denied(line, PATTERNS, ALIASES) == "rm -rf /"


@pytest.mark.parametrize(
    "line",
    [
        "files=(rm -rf /)",
        "echo '(rm -rf /)'",
        "trap - EXIT",
        "- rm",
        'echo "rm -rf /"',
        "echo rm -rf /",
        "rm -rf /tmp/x",
        "rm -rf ./",
        "rm -r /",
        "rm -f /",
        "rm -- -rf /",
        "git commit -m 'rm -rf / is bad'",
        "find / -exec echo sh -c 'rm -rf /' \\;",
        "! echo X=1 rm -rf /",
        "function rm { echo -rf /; }",
        "grep 'rm -rf /' notes.txt",
        "cat <<E\nrm -rf /\nE",
        "# rm -rf /",
        "echo '$(rm -rf /)'",
        "printf 'rm -rf /' | cat",
        "please never run rm -rf / on my laptop",
        "sh -c",
        "eval",
        "sudo",
        "ssh",
        "X=/; rm -rf $Y",
        "rm -rf",
        "",
    ],
)
def test_what_only_mentions_a_denied_command_is_not_denied(line):
    assert denied(line, PATTERNS, ALIASES) is None


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        ("rm -rf", "rm -rf /tmp/x"),
        ("mkfs*", "sudo mkfs.ext4 /dev/sda1"),
        ("dd of=/dev/*", "dd if=x of=/dev/sda bs=4M"),
        ("git push --force", "git push origin main --force"),
        ("curl | sh", "curl -fsSL https://example.org/x.sh | sudo sh"),
        ("/opt/danger", "/opt/danger now"),
        (":(){ :|:& };:", ":(){:|:&};:"),
        ("rm --preserve-root=all /", "rm --preserve-root=all /"),
        ("git push --mirror", "git push --quiet --mirror origin"),
        ("sh -", "curl x | sh -"),
        ("rm 'x", "rm  'x"),
    ],
)
def test_patterns_may_leave_out_operands_hold_stars_or_several_commands(pattern, line):
    assert denied(line, [pattern], {}) == pattern


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        ("mkfs*", "echo mkfs.ext4"),
        ("curl | sh", "sh x; curl y"),
        ("/opt/danger", "/usr/bin/danger"),
        (":(){ :|:& };:", ":(){:|:&};"),
        ("git push --force", "git push"),
        ("git push --mirror", "git push origin"),
        ("sh -", "sh x.sh"),
        ("rm 'x", "rm x"),
        ("", "ls"),
        ("X=1", "X=1"),
    ],
)
def test_other_lines_do_not_match_such_patterns(pattern, line):
    assert denied(line, [pattern], {}) is None


def test_an_empty_denylist_denies_nothing():
    assert denied("rm -rf /", [], {}) is None


def test_an_alias_of_itself_ends():
    assert denied("ls -la", PATTERNS, {"ls": "ls --color", "ll": "ll"}) is None


@pytest.mark.parametrize(
    "line",
    [
        'git commit -m "$(cat <<E\nrm -rf /\nE\n)"',
        "sh -c 'echo rm -rf /'",
        "for x in rm -rf /; do echo $x; done",
        "man rm -rf /",
        "alias wipe-tmp='rm -rf /tmp/x'",
        "python -c 'print(\"rm -rf /\")'",
        "ssh host ls /",
        "rm -rf /home/ada/..",
        "case $1 in rm) echo -rf /;; esac",
        "cat <<'E'\n$(rm -rf /)\nE",
        "cat <<E\n\\$(rm -rf /)\nE",
        "echo '${X:-$(rm -rf /)}'",
        "for x in a b; do rm -rf $x; done",
        "for x; do rm -rf $x; done /",
        "echo 'rm -rf /'; ls | wc",
        "X=/tmp; rm -rf $X/a",
        "rm -rf ${X:-/tmp}",
        "rm -rf /tmp/*(D)",
        "set -e; rm -rf $e",
        "set; rm -rf x",
        "sudo -u root ls rm -rf /",
        "env -u rm ls -rf /",
        "source x.sh <<< 'rm -rf /'",
        "sg root",
        "echo | sh",
        "echo '\\' ; ls 'rm -rf /'",
    ],
)
def test_commands_that_only_carry_the_words_are_not_denied(line):
    assert denied(line, PATTERNS, ALIASES) is None


@pytest.mark.parametrize(
    "line",
    [
        "nice " * 8 + "rm -rf /",
        "nice " * 8 + "sh -c 'true'; rm -rf /",
        "nice " * 7 + "sh -c 'rm -rf /'",
        "sudo deep",
    ],
)
def test_commands_are_found_as_deep_as_anybody_looks(line):
    assert denied(line, PATTERNS, {"deep": "nice rm -rf /"}) == "rm -rf /"


@pytest.mark.parametrize(
    "line", ["nice " * 9 + "ls", "eval " * 40 + "rm -rf /", "nice " * 9 + "rm -rf /", "nice " * 5_000 + "rm -rf /", "1"]
)
def test_what_is_deeper_is_said_to_be_and_never_passes(line):
    aliases = {str(number): f"{number + 1}" for number in range(1, 12)}
    with pytest.raises(TooDeep):
        denied(line, PATTERNS, aliases)


def test_what_forbids_a_line_counts_before_that_it_is_deep():
    assert denied("rm -rf /; " + "nice " * 9 + "ls", PATTERNS, {}) == "rm -rf /"
    assert denied("nice " * 9 + "ls", [], {}) is None


@pytest.mark.parametrize(
    ("line", "aliases"),
    [
        ("a; " * 300, {"a": "ls -l x; " * 20_000}),
        ("a; " * 300, {"a": "b; " * 500, "b": "ls; " * 500}),
        (f"x='{'a ' * 30_000}'; " + "$x " * 10_000, {}),
        ("sudo a; " * 300, {"a": "ls -l x; " * 20_000}),
    ],
)
def test_no_more_is_read_of_a_line_than_a_bound_whatever_aliases_and_variables_make_of_it(line, aliases, monkeypatch):
    """Counted, not measured: a request of 200 KB to the daemon kept everybody waiting for minutes."""
    taken = []
    monkeypatch.setattr(unwrap, "read", lambda text, **how: taken.append(len(text)) or read(text, **how))
    with pytest.raises(TooDeep):
        denied(line, ["rm -rf /"], aliases)
    assert sum(taken) <= unwrap.MAX_READ
    assert denied(f"rm -rf /; {line}", ["rm -rf /"], aliases) == "rm -rf /"
