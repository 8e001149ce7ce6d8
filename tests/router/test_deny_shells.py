"""The denylist against zsh and fish themselves, for which the denied program is a harmless stand-in that only notes its words."""

import shlex
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runloop.router.deny import denied
from tests.router.test_deny_reference import is_bad, simple

SHELLS = {"zsh": ["-f", "-o", "interactivecomments", "-c"], "fish": ["--no-config", "-c"]}
PROGRAMS = ("bash", "sh", "env", "nice", "timeout", "cat", "true", "mktemp", "rm")
BOTH = """
echo $({0}) § echo "a $({0}) b" § echo ({0}) § ! {0} § {0} && {1} § {0} || {1} § {0}; {1} § {0} | {1} § {0}
{1} § # it's
{0} § env X=1 {s} § timeout -k 1 9 {s} § command {s} § sh -c {q} § sh -cx {q} § sh -c -e {q} § eval {q} § echo {q} | sh
§ printf '%s\\n' {q} | sh § echo {q} | cat | sh § echo {o}; {0} § trap {q} EXIT; {1}
"""
WRAPPED = {
    "zsh": """
( {0} ) § {{ {0} }} § {{ {1} }} always {{ {0} }} § () {{ {0} }} a § () {s} § function {{ {0} }} § function f g {{ {0} }}; g § f() {s}; f
§ repeat 1 {s} § repeat 1 {{ {0} }} § for x (1) {s} § for x (1) {{ {0} }} § foreach x (1 2) {0}; end § for ((i=0;i<1;i++)) {{ {0} }}
§ if [[ a == a ]] {s} § if (false) {{ {1} }} else {{ {0} }} § while ((i++<1)) {{ {0} }} § case a {{ (a) {0} ;; }} § for x in 1; {s}
§ case a in (a|b) {0} ;; esac § cat =({0}) § cat <({0}) § true > >({0}) § echo ${{$({0})}} § echo ${{(f)"$({0})"}} § (( a[$({0})] ))
§ echo $a[$({0})] § echo $[ $({0}) + 1 ] § noglob {s} § echo `{0}` § echo `echo \\`{0}\\`` § export x=/; zap -rf $x
§ typeset x=/; zap -rf "$x" § x=; zap -rf $x/ § sh <(echo {q}) § source /dev/stdin <<<{q} § emulate sh -c {q} § {0} &! § time {s}
§ cat <<E | sh
{0}
E
§ sh <<'E'
{0}
E
""",
    "fish": """
begin; {0}; end § if true; {0}; end § if false; {1}; else; {0}; end § if {0}; end § while true; {0}; break; end § for x in 1 2; {0}; end
§ for x in /; zap -rf $x; end § switch a; case b; {1}; case '*'; {0}; end § not {0} § true; and {0} § false; or {0} § {0} & § time {0}
§ function f -a b; {0}; end; f § function f --on-event e
{0}
end; emit e § set x ({0}) § echo "$x[({0})]" § echo a({0})b § echo {{a,({0})}} § true >| {0} § true 2>| {0} § builtin eval {q}
§ fish -N -c {q} § fish -C {q} -c true § fish --command={q} § echo {q} | source § source (echo {q} | psub) § set -l x /; zap -rf $x
§ . (printf '%s' {q} | psub) § set -gx x /; zap -rf "$x/" § set x zap -rf /; $x § set x {q}; eval $x § begin; {1}; end | cat; {0}
""",
}
ODD = {
    "zsh": ["$'\\''", "a#b", "${#X}", "$((1<<2))", "\\(", '"it\'s"', "${x##*'}'}", "*(N)"],
    "fish": ["'it\\'s'", "'\\\\'", '"`"', "a'\\''b", "\\(", "'$('"],
}
QUOTE = {"zsh": shlex.quote, "fish": lambda text: "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"}


@st.composite
def lines(draw, shell, depth=2):
    if not depth or draw(st.integers(0, 4)) == 0:
        return draw(simple())
    inner, other = draw(lines(shell, depth=depth - 1)), draw(lines(shell, depth=depth - 1))
    words = {"q": QUOTE[shell](inner), "s": draw(simple()), "o": draw(st.sampled_from(ODD[shell]))}
    forms = [form.strip("\n").strip(" ") for form in f"{BOTH}§{WRAPPED[shell]}".split("§")]
    return draw(st.sampled_from(forms)).format(inner, other, **words)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run a line in one of the shells; whether `zap` was called in a way that is denied."""
    home = tmp_path_factory.mktemp("shells")
    for name in (*PROGRAMS, *SHELLS):
        if found := shutil.which(name):
            (home / name).symlink_to(found)
    (home / "zap").write_text('#!/bin/sh\n{ printf "%s\\n" "$@"; echo; } >>"$NOTES"\n')
    (home / "zap").chmod(0o700)
    (home / "empty").mkdir()
    numbers = iter(range(1_000_000))

    def ran(shell, line):
        notes = home / f"notes{next(numbers)}"  # one for each line: what one started in the background may end later
        notes.touch()
        known = {"PATH": str(home), "NOTES": str(notes), "HOME": str(home / "empty")}
        subprocess.run(
            [str(home / shell), *SHELLS[shell], line],
            cwd=home / "empty", env=known, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        return any(is_bad(call.splitlines()) for call in notes.read_text().split("\n\n"))

    return ran


@pytest.mark.parametrize("shell", SHELLS)
@settings(max_examples=100, derandomize=True)
@given(st.data())
def test_what_the_shell_would_run_of_what_is_denied_is_found(run, shell, data):
    if not shutil.which(shell):
        pytest.skip(f"no {shell}")
    line = data.draw(lines(shell))
    if run(shell, line):
        assert denied(line, ["zap -rf /"], {}) == "zap -rf /"
