import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runloop.router.classify import classify
from runloop.router.values import RouterSettings, ShellFacts

COMMANDS = frozenset(
    "cat cut date env find git grep head kill less look ls make man rm sort split ssh sudo tail test vim watch which who write".split()
)
FACTS = ShellFacts("bash", commands=COMMANDS, files={"notes.txt", "README"}, aliases={"ll": "ls -la"}, functions={"deploy"})


def decide(line, **changed):
    return classify(line, FACTS, RouterSettings(**changed))


def where(line, **changed):
    decision = decide(line, **changed)
    return decision.route, decision.rule


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("", "empty"),
        ("  \t ", "empty"),
        ("ls -la", "command:command"),
        ("  ls", "command:command"),
        ("ll", "command:alias"),
        ("deploy prod", "command:function"),
        ("cd ..", "command:builtin"),
        ("for f in *; do echo $f; done", "command:keyword"),
        ("for f in *", "command:keyword"),
        ("case $x in a) ls;; esac", "command:keyword"),
        ("if true; then echo yes; else echo no; fi", "command:keyword"),
        ("while read l; do echo $l; done < notes.txt", "command:keyword"),
        ("time ls", "command:keyword"),
        ("while getopts ab o; do case $o in a) echo this is the first;; b) echo that is the last;; esac; done", "command:keyword"),
        ("for f in a b; do echo this is the file $f that I want; done", "command:keyword"),
        ("git commit -m 'fix the thing, please'", "command:command"),
        ("echo how are you?", "command:builtin"),
        ("who am i", "command:command"),
        ("write bob", "command:command"),
        ("find me", "command:command"),
        ("make clean build test install", "command:command"),
        ("cat notes.txt", "command:command"),
        ("exit", "command:builtin"),
        ("exit 1", "command:builtin"),
        ("watch", "command:command"),
        ("sudo find / -name x", "command:command"),
        ("greet() { echo hi; }", "command:keyword"),
        ("FOO=bar", "command:not_found"),
        ("FOO=bar mytool x", "command:not_found"),
        ("docker ps", "command:not_found"),
        ("./run.sh now", "command:not_found"),
        ("frobnicate -v", "command:not_found"),
        ("my_tool2 sync", "command:not_found"),
        ("gti status", "command:not_found"),
        ("$EDITOR notes.txt", "command:not_found"),
        ("C:\\Windows\\x.exe /a", "command:not_found"),
        ("> empty.txt", "command:not_found"),
        ("foo | bar", "command:not_found"),
        ("foo && ls", "command:not_found"),
        ("start notepad", "command:not_found"),
        ("edit Makefile", "command:not_found"),
        ("# write a note about it", "syntax:comment"),
        ("!!", "syntax:history"),
        ("!git", "syntax:history"),
        ("^old^new", "syntax:history"),
        ("[[ -f x ]] && echo yes", "syntax:test"),
        ("((i++))", "syntax:test"),
        ("{ ls; }", "syntax:test"),
    ],
)
def test_commands_go_to_the_shell(line, rule):
    assert where(line) == ("shell", rule)


@pytest.mark.parametrize(
    "line",
    [
        "find me a good restaurant",
        "make a summary of notes.md",
        "which vendor is cheapest?",
        "sort my downloads by size",
        "who wrote this function?",
        "who is maria",
        "kill the process on port 8080",
        "time to go home",
        "for the next meeting prepare slides",
        "case studies about event sourcing, find some",
        "cat the README and summarise it",
        "exit interview questions for Tom",
        "watch the build and tell me when it fails",
        "git push is rejected, what does this mean and how do I fix it?",
        "test whether the server is up",
        "let's plan the offsite, find a place for it",
    ],
)
def test_a_sentence_that_begins_with_a_command_is_asked_about(line):
    decision = decide(line)
    assert decision.route in ("ask", "agent")
    assert decision.rule in ("sentence:command_word", "sentence")


@pytest.mark.parametrize(
    "line",
    [
        "thanks",
        "status?",
        "what's the weather like tomorrow",
        "why did it fail",
        "Summarise the attached document.",
        "summarise notes.md in three bullet points",
        "please run ls after this",
        "an overview of our costs",
        "e-mail Bob the slides",
        "mail maria about lunch",
        "mail José García on Friday",
        "follow-up on the meeting with the client",
        "my laptop is slow *again*, what can I do",
        "Was ist das?",
        "Wie wird das Wetter morgen?",
        "Quel temps fait-il aujourd'hui ?",
        "Qu'est-ce que c'est ?",
        "¿Por qué falló la última ejecución?",
        "今日の天気は？",
        "Почему упал последний тест?",
        "Zeig mir bitte alle offenen Rechnungen",
        "Write a note; then test it with Bob",
        "It costs < 5 euros, is that too much?",
        "😀 what is this",
    ],
)
def test_requests_go_to_an_agent(line):
    assert where(line) == ("agent", "sentence")


def test_little_to_tell_either_way_is_asked_about():
    assert where("draft a") == ("shell", "command:not_found")
    assert where("weather?x") in (("shell", "command:not_found"), ("ask", "unsure"))
    assert where("Foobar") == ("shell", "command:not_found")
    assert where("Lisbon weather") == ("ask", "unsure")


@pytest.mark.parametrize(
    "line",
    [
        "crate info",
        "module load gcc",
        "license ls",
        "Fetch-Item user",
        "choose 1:4",
        "verify release.tar.gz",
        "ufw allow in on eth0 from any to any port 53",
        "drop table table_name;",
        "mailbox all",
        "boost power on",
        "secret-tool lookup key",
        "no-op from",
        "EXIT",
        "snmp x=s'workgroup'",
    ],
)
def test_an_english_name_alone_makes_no_sentence_of_a_program_that_is_not_installed(line):
    assert where(line) == ("shell", "command:not_found")


@pytest.mark.parametrize(
    "line",
    [
        "verify the release",
        "module for the heating?",
        "display all the files that are new (not the old ones)",
        "book flights to Lisbon",
        "collect three ideas",
        "Peux-tu traduire ce texte",
        "start over",
        "in English please",
        "too late",
        "find all executable files",
    ],
)
def test_words_that_only_sentences_have_make_one(line):
    assert where(line)[0] in ("agent", "ask")


def test_what_the_shell_makes_of_a_line_is_held_against_the_denylist_too():
    facts = ShellFacts("zsh", commands=COMMANDS, expanded="rm -rf /")

    assert classify("$X", facts, RouterSettings()).blocked
    assert not classify("$X", facts, RouterSettings(denylist=[])).blocked


def test_the_sigil_wins_over_everything():
    assert where("? ls -la") == ("agent", "sigil")
    assert where("? rm -rf /") == ("agent", "sigil")
    assert where("@ ls", sigil="@") == ("agent", "sigil")
    assert where("? ls", sigil="") != ("agent", "sigil")


def test_a_denied_line_is_blocked_and_a_sentence_about_it_goes_to_an_agent_that_no_shell_runs():
    assert (where("sudo rm -r -f /"), decide("sudo rm -r -f /").blocked) == (("shell", "denylist"), True)
    sentence = "Explain $(rm -rf /) to me, what is it, and why should I never run it?"
    assert (where(sentence), decide(sentence).blocked) == (("agent", "denylist:sentence"), True)
    assert (where("please explain why rm -rf / is so bad"), decide("please explain why rm -rf / is so bad").blocked) == (
        ("agent", "sentence"),
        False,
    )


def test_the_allowlist_gives_lines_to_the_shell_but_not_denied_ones():
    assert where("Please Deploy the update", allowlist=["deploy"]) == ("shell", "allowlist")
    assert where("rm -rf /", allowlist=["rm"]) == ("shell", "denylist")


def test_without_the_fast_path_every_line_is_asked_about():
    assert where("ls -la", fastpath_shell=False) == ("ask", "fastpath_disabled")


@pytest.mark.parametrize("wanted", ["ask", "agent", "shell"])
def test_what_becomes_of_a_sentence_that_begins_with_a_command_is_a_setting(wanted):
    assert where("find me a good restaurant", sentences=wanted) == (wanted, "sentence:command_word")


def test_a_further_known_command_need_not_be_installed():
    assert where("zorgle the thing") == ("agent", "sentence")
    assert where("zorgle the thing", known_commands=["zorgle"]) == ("shell", "command:not_found")


def test_files_that_exist_are_operands():
    assert where("cat the report file") == ("ask", "sentence:command_word")
    there = ShellFacts("bash", commands=COMMANDS, files={"the", "report", "file"})
    assert classify("cat the report file", there, RouterSettings()).route == "shell"
    question = ShellFacts("bash", commands=COMMANDS, files={"what?"})
    assert classify("cat what?", question, RouterSettings()).route == "shell"


def test_a_decision_says_what_was_seen_and_why():
    decision = decide("find me a good restaurant")
    assert [str(each) for each in decision.features][:3] == ["command:find", "pronoun:me", "article:a"]
    assert decision.reason == "'find' is a command, but the line reads like a sentence"
    assert 0.5 < decision.confidence < 1
    assert decide("ll").reason == "'ll' is an alias of the shell"


def test_a_long_name_is_shortened_in_the_reason():
    facts = ShellFacts(functions={"f" * 60})
    assert classify("f" * 60, facts, RouterSettings()).reason == f"'{'f' * 39}…' is a function of the shell"


# Cases of upstream (spec 26.6): what it did, and what is right here. Built-ins only, as there; `*` marks a difference.
BUILT_INS = ShellFacts("bash", commands=["ls", "cat", "rm", "make", "find", "top", "which"], files=())


@pytest.mark.parametrize(
    ("line", "changed", "route"),
    [
        ("ls -la", {}, "shell"),
        ("LS -la", {}, "shell"),
        ('"ls" -la', {}, "shell"),  # * agent: quoting is a command's
        ("please run ls after this", {}, "agent"),
        ("run : ls", {}, "shell"),  # * agent there: too little for a sentence
        ("a", {}, "agent"),
        ("", {}, "shell"),  # * agent: an empty line is the shell's
        ("./tools/deploy.sh", {}, "shell"),
        ("../scripts/migrate.sh", {}, "shell"),
        ("/usr/local/bin/custom-tool --version", {}, "shell"),
        ("cat README.md | less", {}, "shell"),
        ("history | tail", {}, "shell"),
        ("Please deploy the update", {"allowlist": ["deploy"]}, "shell"),
        ("rm -rf /tmp/x", {"denylist": ["rm -rf"]}, "shell"),
        ("rm -rf /tmp/x", {}, "shell"),  # * blocked there: its pattern was a part of the text
        ("ls -la", {"fastpath_shell": False}, "ask"),  # * agent: a command is never given away unasked
        ("cmake .. && ninja", {}, "shell"),
        ("docker ps", {}, "shell"),  # * agent there
        ("FOO=1 make build", {}, "shell"),  # * agent there
        ("$(ls)", {}, "shell"),  # * agent there
        ("vim notes.txt", {}, "shell"),  # * agent there
        ("find me a good restaurant", {}, "ask"),  # * shell there
        ("make a summary of the meeting", {}, "ask"),  # * shell there
        ("help me write a letter to my landlord", {}, "ask"),  # * shell there
        ("which vendor is best?", {}, "ask"),  # * shell there
        ("top priorities for Q4", {}, "ask"),  # * shell there
        ("Write a note; then test it with Bob", {}, "agent"),  # * shell there
        ("Write a poem about autumn", {}, "agent"),  # * shell there
        ("Compose a mail to the team", {}, "agent"),  # * shell there
    ],
)
def test_cases_of_upstream(line, changed, route):
    assert classify(line, BUILT_INS, RouterSettings(**changed)).route == route


def test_cases_of_upstream_that_are_blocked():
    assert classify("rm -rf /tmp/x", BUILT_INS, RouterSettings(denylist=["rm -rf"])).blocked
    assert not classify("rm -rf /tmp/x", BUILT_INS, RouterSettings()).blocked


PIECES = st.sampled_from(
    (
        "ls find the a me ? ' \" ` $( ) ${ } \\ \n \0 | && ; <<E < > * [ {a, # ! -x --y=z é 日本 😀 \ud800 \x1b"
        " = for in case then l' it's / ~ C:\\ http://x eval sudo ssh"
    ).split(" ")
)
LINES = st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=25).map(" ".join), st.lists(PIECES, max_size=25).map("".join))


@settings(deadline=None)
@given(LINES)
def test_any_line_gets_the_same_answer_every_time(line):
    first, second = decide(line), decide(line)
    assert (first.route, first.rule, first.blocked, first.reason) == (second.route, second.rule, second.blocked, second.reason)
    assert first.route in ("shell", "agent", "ask")
    assert 0.5 <= first.confidence <= 1.0


@pytest.mark.parametrize(
    "unit",
    [
        "a ",
        "$(",
        "'",
        '"',
        "`",
        "(",
        ")",
        "${",
        "it's ",
        "[",
        "{a,",
        "a?",
        "find -exec ",
        "eval ",
        "sudo ",
        "<<a\n",
        "x;",
        "|rm ",
        "\\",
        "a=b ",
        "é",
        "=",
        "-",
    ],
)
def test_a_line_of_any_length_is_read_to_the_end_without_recursing(unit):
    decision = decide(unit * 3_000)
    assert decision.route in ("shell", "agent", "ask")


def test_words_too_long_for_a_name_say_nothing():
    assert where("ls " + "x=" * 200) == ("shell", "command:command")
    assert [str(each) for each in decide("ls " + "x=" * 200).features] == ["command:ls"]


@pytest.mark.parametrize("installed", [True, False])
@pytest.mark.parametrize(
    "line",
    [
        "mail maria",
        "mail maria bob",
        "mail maria about",
        "mail -s about maria bob",
        "mail maria -s about -- bob",
        "mail -s lunch maria@example.org < about.txt",
        "who am i",
        "who mom likes",
        "who is",
    ],
)
def test_mail_and_who_as_commands_stay_with_the_shell(line, installed):
    facts = ShellFacts("bash", commands=COMMANDS | {"mail"} if installed else COMMANDS)
    assert classify(line, facts, RouterSettings()).route == "shell"


def test_a_mail_about_something_is_asked_about_where_a_program_mail_is_installed():
    facts = ShellFacts("bash", commands=COMMANDS | {"mail"})
    assert classify("mail maria about lunch", facts, RouterSettings()).route == "ask"


@pytest.mark.parametrize(
    "line",
    [
        "bitte fasse die Notizen zu den Pumpen zusammen",
        "bitte",
        "quando arriva il treno",
        "kiedy jest wizyta u dentysty",
        "skriv til Søren om molen",
    ],
)
def test_small_words_of_other_languages_hold_a_request_together(line):
    assert where(line) == ("agent", "sentence")


@pytest.mark.parametrize("line", ["jest --watch", "jest src/app.test.js", "die", "til add foo"])
def test_programs_that_are_called_like_such_words_stay_commands(line):
    assert where(line) == ("shell", "command:not_found")


def test_a_line_whose_commands_lie_too_deep_for_the_denylist_is_for_no_shell():
    found = classify("nice " * 9 + "rm -rf /", FACTS, RouterSettings())
    assert (found.route, found.rule, found.blocked) == ("shell", "denylist:deep", True)
    assert "more than 8 deep" in found.reason


def test_the_name_of_an_opening_that_is_no_command_is_for_agents():
    facts = ShellFacts("bash", commands=COMMANDS, openings={"/home/a/openings/clean.yaml", "/o/tidy.opening", "/o/cut.yaml"})
    known = RouterSettings(opening_dirs=["/home/a/openings", "/o"])
    found = {line: classify(line, facts, known) for line in ("clean data.csv", "tidy", "cut data.csv", "sweep data.csv", "../o/tidy x")}
    assert {line: (each.route, each.rule) for line, each in found.items()} == {
        "clean data.csv": ("agent", "opening"),
        "tidy": ("agent", "opening"),
        "cut data.csv": ("shell", "command:command"),
        "sweep data.csv": ("shell", "command:not_found"),
        "../o/tidy x": ("shell", "command:not_found"),
    }
    assert found["tidy"].reason == "'tidy' is an opening, and no command"
    assert classify("clean data.csv", facts, RouterSettings()).route == "shell"


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("make CC=gcc", "key_value:CC=gcc"),
        ("ls src/*.c", "glob:src/*.c"),
        ("ls {a,b}.txt", "glob:{a,b}.txt"),
        ("less https://example.org/a", "address:https://example.org/a"),
        ("ssh ada@example.org", "host:ada@example.org"),
        ("ssh example.org:22", "host:example.org:22"),
        ("make all_tests", "identifier:all_tests"),
        ("look archive.tar", "file_like:archive.tar"),
        ("ls ~/src", "file_like:~/src"),
        ("cat notes.txt", "file:notes.txt"),
        ("ls -la", "option:-la"),
        ("find --name x", "option:--name"),
        ("cat < notes.txt", "redirection:<"),
        ("ls $HOME", "variable"),
        ("ls $(date)", "substitution"),
        ("ls `date`", "backquote"),
        ("cat <<E\nx\nE", "heredoc"),
        ("cat <<E\n$(date)\nE", "substitution"),
        ("FOO=1 make", "assignment"),
    ],
)
def test_each_sign_of_a_command_that_the_page_names_is_in_the_explanation_and_speaks_for_one(line, seen):
    weights = {str(feature): feature.weight for feature in decide(line).features}
    assert weights[seen] < 0


@pytest.mark.parametrize(
    ("line", "unseen"),
    [
        ("find the *best* one", "glob"),
        ("find it at 10:30", "host"),
        ("find this and/or that", "file_like"),
        ("find the well-known ones", "identifier"),
        ("find what I said: nothing", "host"),
        ("echo '*.c'", "glob"),
    ],
)
def test_what_sentences_have_too_is_no_sign_of_a_command(line, unseen):
    assert unseen not in {feature.name for feature in decide(line).features}
