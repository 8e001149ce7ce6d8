"""What Enter does in zsh, bash and fish: a command runs, a request goes to agents, a denied line stays where it is. Nothing is lost."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from strangers import let_in, needs_root, somebody_else_listens

REQUEST = "what failed yesterday?"
ASKED = f"ASKED <{REQUEST}>"
DOUBTFUL = "find the biggest files in my home"
QUESTION = "this reads like a request"
DENIED = "zap-everything --now"


@pytest.mark.parametrize("home", [True], indirect=True, ids=["answering"])
@pytest.mark.parametrize("daemon", [False, True])
def test_a_command_runs_a_request_is_asked_and_the_history_has_what_was_typed(home, terminal, daemon):
    if daemon:
        assert home.rlp("up", "--wait").returncode == 0
    screen = terminal()

    screen.enter("echo one && echo two")
    screen.expect("\ntwo")
    screen.enter(REQUEST)
    shown = screen.expect("No run failed (yesterday).")
    screen.prompted()

    assert goes_back_to(screen, [f"{home.prompt} {REQUEST}"], keys=5 if home.shell == "fish" else 1)
    assert "rlp ask -- 'what failed yesterday?'" in shown
    assert ("no daemon answers" in shown) is not daemon


def test_the_history_keeps_requests_as_it_keeps_commands(home, terminal):
    with home.start.open("a") as start:
        start.write({"zsh": "setopt hist_ignore_space hist_ignore_dups\n", "bash": "HISTCONTROL=ignoreboth\n", "fish": ""}[home.shell])
    screen = terminal()

    for number, line in enumerate((f" {REQUEST}", REQUEST, REQUEST), 1):
        screen.enter(line)
        screen.expect(f"{REQUEST}>", times=number)
    listing = "history | cat" if home.shell == "fish" else "fc -l"
    screen.enter(f"{listing} && echo li''sted")
    shown = screen.expect("\nlisted").rpartition(listing)[2]

    assert shown.count(REQUEST) == 1
    assert "rlp ask" not in shown


def test_a_request_of_several_lines_comes_back_from_the_history_as_it_was(home, terminal):
    screen = terminal()
    if home.shell == "fish":  # which merges nothing in the second in which it began
        screen.enter("set second (date +%s); while test (date +%s) = $second; end; echo on''ward")
        screen.expect("\nonward")
    typed = ("tell ada and bob what failed yesterday", r"with C:\new \\ and why, please?")
    screen.paste("\n".join(typed))
    screen.expect(typed[1])
    screen.key("Enter")
    screen.expect("ASKED <")
    screen.clear()
    assert goes_back_to(screen, typed)
    screen.key("C-c")
    if home.shell == "fish":
        assert goes_back_to(terminal(), typed)


def goes_back_to(screen, lines, keys=5):
    """Whether one of the last entries of the history has these lines; fish shows the very last one a moment late."""
    return any(screen.changes("Up") and all(line in screen.screen(back=0) for line in lines) for _ in range(keys))


def test_a_denied_line_is_not_run_and_stays_to_be_edited(terminal):
    screen = terminal()

    screen.enter(DENIED)
    screen.expect("not run: it would start 'zap-everything --now'")
    screen.key("BSpace", "BSpace", "BSpace", "BSpace", "BSpace")
    screen.type("later")
    screen.key("Enter")
    screen.expect("ZAPPED later")

    assert "ZAPPED --now" not in screen.screen()


def test_a_denied_command_is_found_wherever_it_stands(terminal):
    screen = terminal()

    for line in ("true && zap-everything --now", "env zap-everything  '--now'", "z'ap'-everything --now", "sh -c 'zap-everything --now'"):
        screen.denied(line)


def test_when_nobody_can_say_whether_a_line_is_denied_it_is_not_run(home, terminal):
    screen = terminal()
    home.script("rlp", "exit 3")

    screen.enter(DENIED)
    screen.expect("nobody could say")
    screen.key("C-u")
    screen.enter("runloop_router_off")
    screen.enter(DENIED)
    screen.expect("ZAPPED --now")


def test_a_sentence_that_begins_with_a_command_is_the_person_s_to_decide(terminal):
    screen = terminal()

    screen.enter(DOUBTFUL)
    screen.expect(QUESTION)
    screen.type("x")
    screen.key("C-u")
    screen.enter("echo still" + "here")
    screen.expect("\nstillhere")
    screen.enter(DOUBTFUL)
    screen.expect(QUESTION, times=1 if screen.home.shell == "zsh" else 2)
    screen.key("Enter")
    screen.expect("No such file or directory")


@pytest.mark.parametrize(("first", "next_lines"), [(DOUBTFUL, "and those next to them"), (DENIED, "ls -l /them")], ids=["asked", "denied"])
def test_what_is_said_of_a_line_longer_than_the_screen_is_on_the_screen(terminal, first, next_lines):
    screen = terminal(rows=14, columns=100)
    between = "; " if screen.home.shell == "bash" else "\n"
    screen.paste(between.join([first, *[next_lines] * (70 if screen.home.shell == "bash" else 30)]))
    screen.expect("them")
    screen.key("Enter")
    screen.until(lambda _: "runloop: " in screen.screen(back=0))
    screen.key("x")
    if screen.home.shell != "fish":  # fish 3 shows nothing of a line longer than the screen
        screen.until(lambda _: "them" in screen.screen(back=0))

    assert "No such file" not in screen.screen()


def test_strict_options_and_another_separator_of_words_change_nothing(home, terminal):
    strict = {"zsh": "setopt no_unset ksh_arrays sh_word_split\nIFS=,\n", "bash": "set -u\nIFS=,\n", "fish": ""}
    with home.start.open("a") as start:
        start.write(strict[home.shell])
    screen = terminal()

    screen.enter("echo one && echo two")
    screen.expect("\ntwo")
    screen.enter(REQUEST)
    screen.expect(ASKED)
    screen.enter(DOUBTFUL)
    screen.expect(QUESTION)
    screen.type("a")
    shown = screen.expect(f"ASKED <{DOUBTFUL}>")
    assert "not set" not in shown
    assert "unbound" not in shown


def test_the_request_can_be_handed_over(terminal):
    screen = terminal()

    screen.enter(DOUBTFUL)
    screen.expect(QUESTION)
    screen.type("a")
    screen.expect("rlp ask -- 'find the biggest files in my home'")
    screen.expect("ASKED <find the biggest files in my home>")


def test_the_sigil_always_asks_and_an_apostrophe_is_no_open_quote(terminal):
    screen = terminal()

    screen.enter('? who is Maria\'s "boss"')
    screen.expect('ASKED <? who is Maria\'s "boss">')
    screen.enter("who's the owner of the red car?")
    screen.expect("ASKED <who's the owner of the red car?>")


def test_who_begins_with_a_command_and_writes_an_apostrophe_is_asked_too(terminal):
    screen = terminal()

    screen.enter("find the photos of Maria's boat for me")
    screen.expect(QUESTION)
    screen.type("a")
    screen.expect("ASKED <find the photos of Maria's boat for me>")


def test_lines_that_belong_to_a_command_are_left_to_the_shell(home, terminal):
    screen = terminal()

    screen.enter('echo "one')
    screen.enter('what failed yesterday? "')
    screen.expect("\nwhat failed yesterday?")
    if home.shell != "fish":
        screen.enter("cat <<X")
        screen.enter("please tell me what the cat said")
        screen.enter("X")
        screen.expect("\nplease tell me what the cat said", times=1)

    assert "rlp ask" not in screen.screen()


def test_a_paste_of_several_lines_waits_for_enter_and_runs_as_it_is(terminal):
    screen = terminal()

    screen.paste("echo first\necho second")
    screen.expect("echo second")
    assert "\nfirst" not in screen.screen()
    screen.key("Enter")
    screen.expect("\nsecond")


def test_ctrl_c_drops_the_line_and_the_next_one_is_asked_about_again(terminal):
    screen = terminal()

    screen.type("what failed")
    screen.expect("what failed")
    screen.key("C-c")
    screen.prompted()  # fish loses an interrupt that more keys follow at once
    screen.enter("echo after")
    screen.expect("\nafter")
    screen.enter(REQUEST)
    screen.expect(ASKED)


def test_ctrl_c_at_the_question_drops_the_line(terminal):
    screen = terminal()

    screen.enter(DOUBTFUL)
    screen.expect(QUESTION)
    screen.quiet()  # until the question is listened to: before, an interrupt is the shell's own
    screen.key("C-c")
    screen.prompted()
    screen.enter("echo af''ter")
    screen.expect("\nafter")

    assert "No such file" not in screen.screen()


@pytest.mark.parametrize("variable", ["CI", "SSH_CONNECTION", "RUNLOOP_ROUTER_DISABLE"])
def test_where_it_is_off_the_shell_is_as_ever(terminal, variable):
    screen = terminal(**{variable: "1"})

    screen.enter("wherefore art thou")
    screen.expect("not found" if screen.home.shell != "fish" else "Unknown command")

    assert "rlp ask" not in screen.screen()


def test_over_ssh_it_is_on_when_that_was_asked_for(home, terminal):
    assert home.rlp("shell", "enable", "--ssh").returncode == 0
    screen = terminal(SSH_CONNECTION="1")

    screen.enter(REQUEST)
    screen.expect(ASKED)


def test_a_changed_denylist_holds_in_shells_that_are_open(home, terminal):
    screen = terminal()
    screen.enter("printf 'un%s\\n' touched")
    screen.expect("untouched")

    (home.root / "state" / "config.yaml").write_text('router: {denylist: ["printf"]}\n')
    screen.enter("printf 'un%s\\n' held")
    screen.expect("not run: ")

    assert "unheld" not in screen.screen()


def test_a_configuration_with_an_older_date_that_takes_the_place_of_another_holds(home, terminal):
    screen = terminal()
    screen.enter("printf 'un%s\\n' touched")
    screen.expect("untouched")

    config, restored = home.root / "state/config.yaml", home.root / "restored.yaml"
    restored.write_text('router: {denylist: ["printf"]}\n')
    os.utime(restored, (1_000_000_000, 1_000_000_000))
    restored.replace(config)
    screen.enter("printf 'un%s\\n' held")
    screen.expect("not run: it would start 'printf'")
    screen.key("C-u")
    config.unlink()
    screen.enter("printf 'un%s\\n' bound")
    screen.expect("unbound")

    assert "unheld" not in screen.screen()


def test_a_denylist_of_the_shell_s_own_environment_holds_though_a_daemon_has_another(home, terminal):
    assert home.rlp("up", "--wait").returncode == 0
    try:
        screen = terminal(RUNLOOP__ROUTER__DENYLIST='["printf"]')
        screen.enter("printf 'un%s\\n' held")
        screen.expect("not run: it would start 'printf'")
    finally:
        home.rlp("down")

    assert "unheld" not in screen.screen()


def test_in_vi_mode_it_is_the_same(home, terminal):
    screen = terminal()
    screen.enter({"zsh": "bindkey -v", "bash": "set -o vi", "fish": "fish_vi_key_bindings"}[home.shell])
    if home.shell == "fish":
        screen.enter("source " + str(home.start))

    screen.enter("echo in" + "vi")
    screen.expect("\ninvi")
    screen.enter(REQUEST)
    screen.expect(ASKED)


def test_a_long_command_with_options_and_pipes_is_nobody_s_to_ask_about(home, terminal):
    screen = terminal()
    home.script("rlp", "echo asked >>$HOME/asked; exit 3")

    screen.enter("echo -n alpha beta gamma delta | tr a-z A-Z")
    screen.expect("ALPHA BETA GAMMA DELTA")
    assert not (home.root / "asked").exists()
    screen.enter("printf %s sort files alphabetically now")
    screen.expect("alphabeticallynow")

    assert (home.root / "asked").exists()


def test_a_denied_command_that_is_typed_in_pieces_is_not_run(home, terminal):
    screen = terminal()

    for line in ("for i in 1", "begin; true" if home.shell == "fish" else "do", DENIED):
        screen.enter(line)
    if home.shell == "fish":
        screen.enter("end; end")
    screen.expect("not run: it would start 'zap-everything --now'")
    screen.key("C-c")

    assert "ZAPPED" not in screen.screen()


def test_a_quote_or_a_here_document_may_mention_a_denied_command_over_lines(home, terminal):
    screen = terminal()

    screen.enter('echo "one')
    screen.enter(f'{DENIED}"')
    screen.expect(f"\n{DENIED}")
    if home.shell != "fish":
        for line in ("cat <<X", DENIED, "X"):
            screen.enter(line)
        screen.expect(f"\n{DENIED}", times=2)

    assert "not run" not in screen.screen()


def test_why_knows_the_aliases_of_the_shell(terminal):
    screen = terminal()

    screen.enter("alias zz='echo hi'")
    screen.enter("rlp why 'zz --now'")
    screen.expect("command:alias")
    screen.enter('echo "left:$RUNLOOP_SHELL_FACTS."')
    screen.expect("\nleft:.")


def test_a_variable_or_a_global_alias_does_not_hide_a_denied_command(home, terminal):
    screen = terminal()
    if home.shell == "zsh":
        screen.enter("alias -g GG=zap-everything; alias -s gg='zap-everything --now'")
    screen.enter("set ZQ zap-everything" if home.shell == "fish" else "ZQ=zap-everything")

    screen.denied('zap-everything "$ZQUNSET--now"')
    for line in ("$ZQ --now", *(("true && GG --now", "x.gg") if home.shell == "zsh" else ("env $ZQ --now",))):
        screen.denied(line)
    screen.enter("echo $ZQ")
    screen.expect("\nzap-everything")


def test_the_history_does_not_bring_back_a_denied_command(home, terminal):
    if home.shell == "fish":
        pytest.skip("it has no such expansion")
    screen = terminal(RUNLOOP_ROUTER_DISABLE="1")

    screen.enter(DENIED)
    screen.expect("ZAPPED --now")
    screen.enter("unset RUNLOOP_ROUTER_DISABLE")
    screen.enter("!zap")
    screen.expect("not run: ")
    screen.key("C-u")
    screen.enter("echo one && echo two")
    screen.expect("\ntwo")
    screen.prompted()  # what is typed while it runs is mixed into its output
    screen.enter("!echo")
    screen.expect("\ntwo", times=2)

    assert screen.screen().count("\nZAPPED --now") == 1


def test_an_alias_of_a_denied_command_is_denied(home, terminal):
    screen = terminal()

    screen.enter("alias zz='zap-everything --now'")
    screen.enter("zz")
    screen.expect("not run: it would start")
    screen.key("C-u")
    if home.shell == "fish":
        screen.enter("abbr -a zq 'zap-everything --now'")
        screen.enter("zq")
        screen.expect("not run: it would start", times=2)
        screen.key("C-u")
        screen.enter("abbr -a zr 'echo zap-everything'")
        screen.enter("zr")
        screen.expect("\nzap-everything")

    assert "ZAPPED" not in screen.screen()


@needs_root
@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_says_nothing_of_what_is_typed_to_another_user_who_listens(tmp_path):
    let_in(tmp_path)
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    path = tmp_path / "shared/rmp.sock"
    snippet = Path(__file__).parents[2] / "runloop/data/shell/runloop.zsh"
    with somebody_else_listens(path) as listening:
        listening.setblocking(False)
        script = f"source {snippet}; _runloop_ask_daemon 'please write to ada'; print -r -- asked $?"
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TERM": "xterm", "RUNLOOP_SOCKET": str(path), "RUNLOOP_ROUTER_FORCE": "1"}
        said = subprocess.run(["zsh", "-fic", script], env=env, capture_output=True, text=True, check=True)
        assert "asked 1" in said.stdout
        with pytest.raises(BlockingIOError):
            listening.accept()
