"""The integration beside what else is in start files: other plugins, prompts of several rows, strict options, an `rlp` that is gone."""

import shutil

import pytest

ZSH, BASH, FISH = (pytest.mark.parametrize("shell", [name], indirect=True) for name in ("zsh", "bash", "fish"))

REQUEST = "what failed yesterday?"
ASKED = f"ASKED <{REQUEST}>"
DENIED = "zap-everything --now"

WRAPS_EVERY_WIDGET = """
for widget in ${(k)widgets:#(.*|_*|orig-*)}; do
  case $widgets[$widget] in
    user:*) zle -N orig-$widget ${widgets[$widget]#user:}; eval "wrap-$widget() { zle orig-$widget -- \\"\\$@\\" }" ;;
    builtin) eval "wrap-$widget() { zle .$widget -- \\"\\$@\\" }" ;;
    *) continue ;;
  esac
  zle -N $widget wrap-$widget
done
"""


def also(home, text):
    """Put text behind the integration in the start file."""
    with home.start.open("a") as start:
        start.write(text)


@ZSH
def test_a_plugin_of_zsh_that_wraps_every_widget_may_be_read_after_it(home, terminal):
    """As zsh-autosuggestions and zsh-syntax-highlighting do: with them behind it Enter did nothing any more."""
    also(home, WRAPS_EVERY_WIDGET)
    screen = terminal()

    screen.enter(REQUEST)
    screen.expect(ASKED)
    screen.denied(DENIED)


@BASH
@pytest.mark.parametrize("settings", ["PROMPT_COMMAND='history -a'", "PROMPT_COMMAND=('history -a' true)", "unset PROMPT_COMMAND"])
def test_who_sets_the_prompt_command_of_bash_anew_has_it_still(settings, home, terminal):
    also(home, f"{settings}\n")
    screen = terminal()

    for times in (1, 2):
        screen.enter(REQUEST)
        screen.expect(ASKED, times=times)
    screen.denied(DENIED)


@pytest.mark.parametrize(("shell", "strict"), [("zsh", "setopt err_exit\n"), ("bash", "set -e\n")], indirect=["shell"])
def test_a_shell_that_ends_at_a_failure_does_not_end_at_a_question(strict, home, terminal):
    also(home, strict)
    screen = terminal()

    screen.enter("echo he''re, friend")
    screen.expect("\nhere, friend")
    screen.enter(REQUEST)
    screen.expect(ASKED)
    screen.denied(DENIED)
    screen.enter("echo st''ill")
    screen.expect("\nstill")


@FISH
@pytest.mark.parametrize("line", [DENIED, f"{DENIED} {'x' * 100}"], ids=["short", "wrapped"])
def test_what_is_said_stands_above_a_prompt_of_several_rows_and_a_line_that_is_wrapped(line, home, terminal):
    also(home, "function fish_prompt; printf '\\nhere and there\\n> '; end\n")
    screen = terminal(columns=60)

    screen.type(line)
    screen.quiet()
    screen.key("Enter")
    screen.until(lambda shown: shown.count("here and there") == 3)
    screen.expect("not run: ")


@FISH
def test_enter_leaves_the_command_mode_of_fish_as_its_own_does(home, terminal):
    also(home, 'fish_vi_key_bindings\nfunction fish_mode_prompt; echo "[$fish_bind_mode]"; end\n')
    screen = terminal()

    screen.type("echo of''mode")
    screen.key("Escape")
    screen.expect("[default]")
    screen.key("Enter")
    shown = screen.expect("\nofmode")
    screen.until(lambda shown: shown.rstrip().endswith("[insert]>"))

    assert "ofmode" in shown


@FISH
@pytest.mark.parametrize("rlp", ["gone", "hangs"])
def test_fish_goes_on_where_rlp_is_gone_or_hangs(rlp, home, terminal):
    screen = terminal(RUNLOOP_ROUTER_TIMEOUT_MS="1")
    if rlp == "gone":
        (home.root / "bin" / "rlp").unlink()
    else:
        home.script("rlp", f"exec {shutil.which('sleep')} 600")

    screen.enter("what failed yesterday")
    shown = screen.expect("Unknown command: what")
    assert "called on line" not in shown
    screen.denied(DENIED)
