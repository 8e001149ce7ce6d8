"""What the shell is told can follow, from a grammar of a few verbs and from the real one, and in the shells themselves."""

import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.cli import completion, grammar
from runloop.cli.completion import DIRS, FILES, WORDS, Answer, complete
from runloop.cli.main import GLOBALS, TOPICS, VERBS, main
from runloop.cli.values import VALUES


def option(*names, flag=False, many=False, value=None):
    return {"names": list(names), "metavar": None, "help": "", "flag": flag, "many": many, "default": None, "value": value}


def argument(value, many=False):
    return {"metavar": "X", "help": "", "many": many, "required": True, "value": value}


def node(*arguments, options=(), commands=None):
    return {"summary": "", "help": "", "options": list(options), "arguments": list(arguments), "commands": commands or {}}


SHOW = node(
    argument("runs"), argument("files", many=True), options=[option("--json", flag=True), option("--level", "-l", value=["info", "warn"])]
)
TREE = node(
    options=[option("--set", many=True, value="settings"), option("--quiet", "-q", flag=True)],
    commands={
        "show": SHOW,
        "kb": node(commands={"why": node(argument("things"), options=[option("--to", value="dirs")])}),
        "run": node(argument("openings")),
    },
)
NAMES = {
    "runs": [("3f2a", "one"), ("77aa", "two")],
    "settings": [("a.b=", "")],
    "things": [("contact:zo", ""), ("note:x", "")],
    "openings": [("letter", "")],
}


def told(*words):
    found = complete(TREE, words, lambda sort, begun: NAMES[sort])
    return found.kind if found.kind != WORDS else [word for word, _ in found.words]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("",), ["show", "kb", "run"]),
        (("s",), ["show"]),
        (("-",), ["--set", "--quiet", "-q", "--help"]),
        (("--set", ""), ["a.b="]),
        (("--set", "a.b=1", "-q", "sh"), ["show"]),
        (("--set=a", "kb", ""), ["why"]),
        (("kb", "why", "contact:"), ["contact:zo"]),
        (("kb", "nothing", ""), []),
        (("show", ""), ["3f2a", "77aa"]),
        (("show", "--json", "7"), ["77aa"]),
        (("show", "--level", ""), ["info", "warn"]),
        (("show", "--level=w"), ["--level=warn"]),
        (("show", "-l", "info", "--"), ["--json", "--help"]),
        (("show", "3f2a", ""), FILES),
        (("show", "3f2a", "a", "b"), FILES),
        (("show", "--", "-"), []),
        (("kb", "why", "--to", "x"), DIRS),
        (("run", "le"), ["letter"]),
        (("run", "./"), FILES),
        (("run", "letter", ""), []),
        ((), ["show", "kb", "run"]),
    ],
)
def test_what_can_follow_is_what_the_grammar_says(words, expected):
    assert told(*words) == expected


WORD = st.one_of(st.sampled_from(["show", "kb", "why", "--set", "--level", "--", "-l", "--level=", "-", "a.b=", ""]), st.text(max_size=5))


@given(st.lists(WORD, max_size=7))
def test_any_words_get_an_answer_whose_words_begin_with_the_last(words):
    found = complete(TREE, words, lambda sort, begun: NAMES[sort])
    assert isinstance(found, Answer)
    assert all(word.startswith(words[-1] if words else "") for word, _ in found.words)


# ── the real grammar ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def whole():
    return grammar.whole()


def each_node(found, path=()):
    yield path, found
    for name, below in found["commands"].items():
        yield from each_node(below, (*path, name))


def test_every_verb_command_and_global_option_is_in_the_grammar_with_a_line_of_help(whole):
    assert list(whole["commands"]) == [*VERBS, "help"]
    assert set(whole["commands"]["help"]["commands"]) == {*VERBS, *TOPICS}
    assert [each["names"] for each in whole["options"]] == [list(each.names) for each in GLOBALS]
    assert [path for path, found in each_node(whole) if path and not found["help"]] == []
    assert [(path, each["names"]) for path, found in each_node(whole) for each in found["options"] if not each["help"]] == []


def test_every_sort_of_value_in_the_grammar_can_be_named_and_every_one_is_used(whole):
    places = [each["value"] for _, found in each_node(whole) for each in (*found["options"], *found["arguments"])]
    named = {value for value in places if isinstance(value, str)}
    assert named - {"files", "dirs"} == set(VALUES)
    assert ["once", "run", "opening", "always"] in places
    assert ["pipeline", "parallel", "fork_join", "debate", "switch", "swarm", "iterate", "map_reduce"] in places


def test_the_grammar_is_kept_and_built_again_when_the_code_or_the_file_is_another(tmp_path, monkeypatch):
    built = []
    monkeypatch.setattr(grammar, "whole", lambda: built.append(1) or {"commands": {}})
    assert grammar.cached(tmp_path / "new") == grammar.cached(tmp_path / "new") == {"commands": {}}
    assert len(built) == 1
    file = tmp_path / "new/completion.json"
    for broken in ("{", "[" * 100_000, json.dumps({"stamp": ["another"], "grammar": {}})):
        file.write_text(broken)
        grammar.cached(tmp_path / "new")
    assert len(built) == 4
    (tmp_path / "file").write_text("")
    assert grammar.cached(tmp_path / "file") == {"commands": {}}


def test_completion_from_the_cache_imports_neither_typer_nor_what_works(tmp_path):
    code = "import sys; from runloop.cli.entry import main; main(); print(*sorted(sys.modules), file=sys.stderr)"
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    for words in (["runs", "--st"], ["config", "explain", "mail.smtp.p"], ["run", "com"], ["show", ""]):
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, "-c", code, "__complete", "zsh", *words], env=env, capture_output=True, text=True, check=True
            )
        loaded = set(done.stderr.split())
        assert [name for name in ("typer", "asyncio", "wasmtime", "pydantic", "yaml", "rich", "keyring") if name in loaded] == []


# ── in the shells ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    rlp = tmp_path / "bin/rlp"
    rlp.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m runloop "$@"\n')
    rlp.chmod(0o755)
    for name in list(os.environ):
        if name.startswith(("RUNLOOP", "XDG")) or name in ("ZDOTDIR", "LESS"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "with space").mkdir()
    return tmp_path


def needs(shell):
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"no {shell} here")


def in_bash(line):
    code = """source "$1"; COMP_LINE="$2" COMP_POINT=${#2}
    COMP_WORDS=(); word=""
    for ((i = 0; i < ${#2}; i++)); do c="${2:i:1}"
      case "$c" in ' ') [[ -n $word ]] && COMP_WORDS+=("$word"); word="" ;; [:=]) [[ -n $word ]] && COMP_WORDS+=("$word")
        COMP_WORDS+=("$c"); word="" ;; *) word+="$c" ;; esac
    done; [[ $c == [:=] ]] || COMP_WORDS+=("$word"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _rlp rlp; printf '%s\\n' "${COMPREPLY[@]}" """
    done = subprocess.run(["bash", "--norc", "-c", code, "bash", script("bash"), line], capture_output=True, text=True, check=True)
    return done.stdout.split("\n")[:-1]


def script(shell):
    """The file that the shell reads."""
    return str(
        completion.Path(completion.__file__).parent.parent
        / "data/completion"
        / {"bash": "rlp.bash", "zsh": "_rlp", "fish": "rlp.fish"}[shell]
    )


@needs("bash")
def test_bash_completes_also_what_it_splits_at_colons_and_equal_signs(home):
    assert in_bash("rlp ru") == ["run", "runs"]
    assert in_bash("rlp approve --scope=o") == ["once", "opening"]
    assert in_bash("rlp --set mail.smtp.po") == ["mail.smtp.port="]
    assert in_bash("rlp import wi") == ["with space"]
    assert in_bash("rlp kb nothing x") == [""]


@needs("fish")
def test_fish_completes_with_descriptions(home):
    done = subprocess.run(
        ["fish", "-N", "-c", f"source {script('fish')}; complete -C 'rlp ru'"], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [f"run\t{VERBS['run'].summary}", f"runs\t{VERBS['runs'].summary}"]
    done = subprocess.run(
        ["fish", "-N", "-c", f"source {script('fish')}; complete -C 'rlp import wi'"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\t")[0].strip() in {"with space/", "with\\ space/"}


@needs("zsh")
def test_zsh_completes_at_the_prompt(home):
    main(["--install-completion", "zsh"])
    (home / ".zshrc").write_text(
        f"PS1='> '; PATH={home}/bin:$PATH; fpath=({home}/.local/share/zsh/site-functions $fpath)\n"
        "autoload -Uz compinit; compinit -u -D; print READY\n"
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execvp("zsh", ["zsh", "-i", "-o", "no_global_rcs"])
    shown, typed, until = b"", False, time.monotonic() + 60
    try:
        while b" mail.smtp.port" not in shown and time.monotonic() < until:
            ready, _, _ = select.select([terminal], [], [], 5)
            shown += os.read(terminal, 4096) if ready else b""
            if b"READY" in shown and not typed:
                typed = True
                os.write(terminal, b"rlp conf\texpl\tmail.smtp.po\t")
        assert b" mail.smtp.port" in shown, shown
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(terminal)


def test_the_script_is_written_where_the_shell_looks_and_said_to_be_there_the_second_time(home, capsys, monkeypatch):
    for shell, name in (("bash", ".local/share/bash-completion/completions/rlp"), ("fish", ".config/fish/completions/rlp.fish")):
        assert main(["--install-completion", shell]) == 0
        assert (home / name).read_text() == completion.script(shell)
        assert capsys.readouterr().out.startswith("written: ")
        assert main(["--install-completion", shell]) == 0
        assert capsys.readouterr().out.startswith("already there: ")
    main(["--install-completion", "bash"])
    needed = f"without that, once ~/.bashrc has:  source {home}/.local/share/bash-completion/completions/rlp"
    assert needed in capsys.readouterr().out
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert main(["--show-completion"]) == 2
    assert "bash, zsh, fish" in capsys.readouterr().err
