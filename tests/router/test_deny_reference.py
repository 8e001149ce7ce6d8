"""The denylist against a second implementation: bash itself, for which the denied program is one that only notes its words."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path
from tempfile import mkstemp

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runloop.router.deny import denied

BASH = shutil.which("bash") or ""
PROGRAMS = ("bash", "sh", "env", "nice", "timeout", "cat", "true")
ODD = [
    "'('",
    "$'\\''",
    '"${X:-}}"',
    "a#b",
    "${#X}",
    "$#",
    "$((1<<2))",
    "[a-c]*",
    "\\(",
    '"$"',
    '"$\'"',
    '"it\'s"',
    '${X:-"}"}',
    '"${X:-\'}"',
]

pytestmark = pytest.mark.skipif(not BASH, reason="no bash")


def double(text):
    for char in '\\"$`':
        text = text.replace(char, "\\" + char)
    return f'"{text}"'


def spelled(word):
    """One word in the ways in which people quote."""
    return st.sampled_from([word, word, shlex.quote(word), double(word), f"'{word}'", "\\" + word, f"{word[:1]}''{word[1:]}"])


options = st.sampled_from(
    [["-rf"], ["-r", "-f"], ["-R", "-f"], ["--force", "-r"], ["-v", "-fr", "--"], ["--recursive", "-f"], ["-r"], ["-f"], []]
)
paths = st.sampled_from([["/"], ["//"], ["/."], ["/tmp/.."], ["x", "/"], ["/", "x"], ["/tmp"], ["./"], ["x"], []])


@st.composite
def simple(draw):
    words = [draw(st.sampled_from(["zap", "zap", "zap", "echo", "true"])), *draw(options), *draw(paths)]
    line = " ".join(draw(spelled(word)) for word in words)
    return (
        draw(st.sampled_from(["", "", "", "A=1 ", 'A="b c" B= ', ">out "]))
        + line
        + draw(st.sampled_from(["", "", "", " 2>&1", " < /dev/null"]))
    )


WRAPPED = [
    *("( {0} )", "{{ {0}; }}", "! {0}", "echo $({0})", 'echo "a $({0}) b"', "cat <({0})", "echo ${{X:-$({0})}}", 'echo "${{X:-$({0})}}"'),
    *("env X=1 {s}", "nice -n 5 {s}", "timeout 9 {s}", "command {s}", "exec {s}", "sh -c {q}", "bash -c {d}", "eval {q}", "trap {q} EXIT"),
    *("if {0}; then {1}; else {1}; fi", "while {0}; do {1}; break; done", "until {0}; do break; done", "for x in 1; do {0}; done"),
    *("case a in a) {0};; esac", "echo $(case a in b) {1};; a) {0};; esac)", "case b in (a|b) {0};; *) {1}; esac", "f() {{ {0}; }}; f"),
    *("{0} && {1}", "{0} || {1}", "{0}; {1}", "{0} | {1}", "{0}\n{1}", "[[ -n $({0}) ]]; {1}", "a=( $({0}) ); {1}", "# it's\n{0}"),
    *("cat <<E\n{0}\nE\n{1}", "cat <<E\nan \"open $({0})\nE\n{1}", "cat <<'E'\n$({0})\nE\n{1}", "sh <<'E'\n{0}\nE\n"),
    "cat <<E | sh\n{0}\nE\n",
    *("echo {o} && {0}", "echo {o}; {0} # {1}", "X=/; zap -rf $X", 'X=/tmp; zap -rf "${{X}}"', "for d in x /; do zap -rf $d; done"),
]  # fmt: skip


@st.composite
def lines(draw, depth=2):
    if not depth or draw(st.integers(0, 4)) == 0:
        return draw(simple())
    inner, other = draw(lines(depth=depth - 1)), draw(lines(depth=depth - 1))
    quotes = {"q": shlex.quote(inner), "d": double(inner), "s": draw(simple()), "o": draw(st.sampled_from(ODD))}
    return draw(st.sampled_from(WRAPPED)).format(inner, other, **quotes)


def is_bad(argv):
    """Whether the words of one call are what `zap -rf /` denies, as the program itself would read them."""
    letters, operands, ended = set(), [], False
    for word in argv:
        if ended or not word.startswith("-"):
            operands.append(word)
        elif word.startswith("--"):
            ended = word == "--"
            letters |= set(word[2:3])
        else:
            letters |= set(word[1:].lower())
    return {"r", "f"} <= letters and any(each.startswith("/") and os.path.normpath(each) in ("/", "//") for each in operands)


@pytest.fixture(scope="module")
def bash(tmp_path_factory):
    """Run a line; whether `zap` was called in a way that is denied, None where bash cannot read the line."""
    home = tmp_path_factory.mktemp("bash")
    for name in PROGRAMS:
        (home / name).symlink_to(str(shutil.which(name)))
    (home / "zap").write_text(f'#!{BASH}\n{{ printf "%s\\n" "$@"; echo; }} >>"$NOTES"\n')
    (home / "zap").chmod(0o700)
    empty = home / "empty"
    empty.mkdir()

    def run(line):
        number, name = mkstemp(dir=home)  # one for each line: what one started in the background may end later
        os.close(number)
        notes = Path(name)
        known = {"PATH": str(home), "NOTES": str(notes)}
        said = subprocess.run(
            [BASH, "-c", line], cwd=empty, env=known, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
        )
        if b"syntax error" in said.stderr or b"unexpected EOF" in said.stderr:
            return None
        calls = [call.splitlines() for call in notes.read_text().split("\n\n")]
        notes.unlink()
        return any(map(is_bad, calls))

    return run


@settings(max_examples=80)
@given(lines())
def test_what_bash_would_run_of_what_is_denied_is_found(bash, line):
    if bash(line):
        assert denied(line, ["zap -rf /"], {}) == "zap -rf /"


@settings(max_examples=30)
@given(
    simple(),
    st.sampled_from(
        ["{0}", "echo $({0})", "sh -c {1}", "( {0} )", "cat <<E\n$({0})\nE\n", "case a in a) {0};; esac", "cat <<'E'\n{0}\nE\n"]
    ),
)
def test_where_every_command_runs_no_other_line_is_denied(bash, command, around):
    line = around.format(command, shlex.quote(command))
    assert (denied(line, ["zap -rf /"], {}) is not None) == bash(line)
