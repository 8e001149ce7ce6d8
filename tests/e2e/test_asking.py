"""`rlp ask` as a person uses it: words become an opening with parameters, shown and confirmed, or an answer with its sources."""

import json

import pytest

WRITE = "write an e-mail to Sam Rivers about the pier repair"


def test_the_opening_and_its_parameters_are_shown_and_run_once_confirmed(home, terminal):
    shown = terminal(home, "ask", *WRITE.split())
    shown.expect("recipient    Sam Rivers  (from: write an e-mail to {recipient} about {topic})")
    shown.expect("topic        the pier repair")
    shown.expect("tone         neutral-friendly  (default)")
    shown.expect("[e]dit: ")
    shown.type("y\n")
    shown.expect("Approval needed")
    shown.expect("no: ")
    shown.type("y\n")
    shown.expect("succeeded")

    assert shown.end() == 0
    [mail] = home.outbox()
    assert "sam.rivers@" in mail.read_text().lower()


def test_a_request_and_an_answer_are_told_in_words_in_a_pipe_where_that_is_asked_for(home):
    assert home.rlp("ask", "--dry-run", "--table", WRITE).stdout.startswith("compose_email: ")
    assert home.rlp("ask", "--local", "--table", "what ran today").stdout == "Nothing ran (today).\n"


def test_no_runs_nothing(home, terminal):
    shown = terminal(home, "ask", WRITE)
    shown.expect("[e]dit: ")
    shown.type("n\n")

    assert shown.end() == 130
    assert json.loads(home.rlp("runs", "--json").stdout) == []


def test_an_interrupted_question_leaves_the_next_prompt_a_line_of_its_own(home, terminal):
    shown = terminal(home, "ask", WRITE)
    shown.expect("[e]dit: ")
    shown.type("\x03")

    assert shown.end() == 130
    assert shown.shown.endswith("\n")


@pytest.mark.parametrize(
    ("line", "recipient", "topic"),
    [
        ("mail Sam Rivers about the pier", "Sam Rivers", "the pier"),
        ("please mail Sam about the pier", "Sam", "the pier"),
        ("could you email Sam about the pier?", "Sam", "the pier"),
        ("send an email to Sam about the pier", "Sam", "the pier"),
        ("Write an email to Sam regarding the pier", "Sam", "the pier"),
        ("write Sam an email on the pier", "Sam", "the pier"),
        ("please write Sam an email about the pier", "Sam", "the pier"),
        ("write an e-mail to Sam concerning the pier", "Sam", "the pier"),
    ],
)
def test_the_ways_in_which_people_ask_for_a_mail(home, line, recipient, topic):
    said = json.loads(home.rlp("ask", "--dry-run", "--json", line).stdout)

    assert (said["opening"], said["outcome"]) == ("compose_email", "one")
    assert (said["params"]["recipient"], said["params"]["topic"]) == (recipient, topic)


def test_what_is_typed_over_a_parameter_is_what_runs(home, terminal):
    shown = terminal(home, "ask", WRITE)
    shown.expect("[e]dit: ")
    shown.type("e\n")
    shown.expect("recipient [Sam Rivers]: ")
    shown.type("Zo\n")
    for name in ("topic", "tone", "sender"):
        shown.expect(f"{name} [")
        shown.type("\n")
    shown.expect("directories [[]]: ")
    shown.type("not json\n")
    shown.expect("is not")
    shown.expect("directories [[]]: ")
    shown.type("\n")
    shown.expect("recipient    Zo  (as you typed it)")
    shown.type("n\n")

    assert shown.end() == 130


def test_without_a_person_nothing_is_run_unless_it_is_told_to(home):
    refused = home.rlp("ask", WRITE)
    started = home.rlp("ask", "--start", "--json", WRITE)

    assert (refused.returncode, "ask.unconfirmed" in refused.stderr) == (4, True)
    assert home.records(started)[0]["meta"]["params"]["recipient"] == "Sam Rivers"
    assert home.records(started)[-1]["meta"]["status"] == "failed"  # the mail itself wants an approval, whoever started it


def test_what_a_request_leaves_open_is_asked_for_and_never_taken_from_the_defaults_unsaid(home, terminal):
    refused = home.rlp("ask", "--start", "write an e-mail to Sam Rivers about")
    shown = terminal(home, "ask", "write an e-mail to Sam Rivers")
    shown.expect("compose_email: the topic is open. Enter takes what is in brackets.")
    shown.expect("topic [Q4 plan]: ")
    shown.type("the pier\n")
    shown.expect("recipient    Sam Rivers  (from: ")
    shown.expect("topic        the pier  (as you typed it)")
    shown.type("n\n")

    assert (refused.returncode, "ask.incomplete" in refused.stderr, "topic=" in refused.stderr) == (2, True, True)
    assert shown.end() == 130
    assert json.loads(home.rlp("runs", "--json").stdout) == []


def test_a_dry_run_tells_the_decision_and_runs_nothing(home):
    said = json.loads(home.rlp("ask", "--dry-run", "--json", WRITE, "tone=formal").stdout)

    assert (said["opening"], said["outcome"], said["from_line"]) == ("compose_email", "one", ["recipient", "tone", "topic"])
    assert (said["params"]["recipient"], said["params"]["tone"]) == ("Sam Rivers", "formal")
    assert json.loads(home.rlp("runs", "--json").stdout) == []


def test_a_question_that_fits_no_opening_is_answered_from_the_record_with_its_sources(home, terminal):
    failed = home.rlp("run", "compose_email", "-p", "recipient=Nobody Known", "--json")
    run_id = home.records(failed)[0]["run_id"]

    shown = terminal(home, "ask", "?", "what", "failed", "today")
    shown.expect(run_id[:8])
    code = shown.end()
    found = json.loads(home.rlp("ask", "--json", "when does the pier repair start?").stdout)

    assert (code, "compose_email" in shown.shown) == (0, True)
    assert found["mode"] == "hits"
    assert (found["sources"][0]["path"].endswith("pier.md"), found["sources"][0]["line"] >= 1) == (True, True)


def test_what_is_found_without_a_model_stands_once_each_with_its_place_below_it(home):
    lines = home.rlp("ask", "--table", "when does the pier repair start?").stdout.splitlines()

    assert [line[:3] for line in lines[::2]] == [f"[{number}]" for number in range(1, len(lines) // 2 + 1)]
    assert all(line.startswith("    ") and "rlp why event:" in line for line in lines[1::2])
    assert "pier.md:" in lines[1]


def test_the_daemon_answers_the_same(home):
    assert home.rlp("up", "--wait").returncode == 0
    try:
        found = json.loads(home.rlp("ask", "--json", "when does the pier repair start?").stdout)
        nothing = json.loads(home.rlp("ask", "--json", "who is Zarquon?").stdout)
    finally:
        home.rlp("down")

    assert (found["mode"], found["sources"][0]["path"].endswith("pier.md")) == ("hits", True)
    assert nothing["text"].startswith("Nothing is known about “who is Zarquon?”.")


def plants(home):
    """Two openings that `water the plants` means equally well."""
    for name in ("water_roses", "water_ferns"):
        made = home.rlp("opening", "new", "--from", "pipeline", name)
        assert made.returncode == 0, made.stderr
        path = next(home.root.rglob(f"{name}.yaml"))
        text = path.read_text()
        (home.state / "openings").mkdir(exist_ok=True)
        (home.state / "openings" / path.name).write_text(text.replace("goals:", "examples: [water the plants]\ngoals:", 1))


def test_openings_that_fit_equally_well_are_put_to_the_person(home, terminal):
    plants(home)

    refused = home.rlp("ask", "water the plants")
    shown = terminal(home, "ask", "water the plants")
    shown.expect("2) water_roses")
    shown.expect("Which one? ")
    shown.type("7\n")
    shown.expect("Please give a number from 1 to 2.")
    shown.type("2\n")
    shown.expect("water_roses:")
    shown.type("n\n")

    assert (refused.returncode, "ask.ambiguous" in refused.stderr) == (2, True)
    assert shown.end() == 130


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("?",), "ask.empty"),
        (("--opening", "compose_emial", "x"), "opening.not_found"),
        (("--set", "router.default_opening=none", "x"), "cli.usage"),
    ],
)
def test_a_request_that_cannot_be_taken_says_why(arguments, code, home):
    refused = home.rlp("ask", *arguments)

    assert (refused.returncode, code in refused.stderr) == (2, True)


def test_a_default_opening_that_is_not_there_or_takes_no_line_is_told(home):
    gone = home.rlp("--set", "router.default_opening=none", "ask", "what is this")
    deaf = home.rlp("--set", "router.default_opening=compose_email", "ask", "what is this")

    assert ("ask.no_default" in gone.stderr, "ask.no_line_param" in deaf.stderr) == (True, True)
    assert all("at key 'router.default_opening'" in each.stderr for each in (gone, deaf))


def test_a_file_of_the_shells_block_that_is_gone_is_named_with_what_names_it(home):
    gone = home.rlp("ask", "what is this", env={"RUNLOOP_ROUTER_OPENING_PATH": str(home.state / "moved.yaml")})

    assert gone.returncode == 2
    assert gone.stderr.splitlines()[-3:] == [
        f"error[ask.no_default]: no opening fits, and the default one, '{home.state / 'moved.yaml'}', is not there",
        "  at key 'RUNLOOP_ROUTER_OPENING_PATH'",
        "  hint: `rlp shell enable --opening FILE` names another, and without --opening none",
    ]


def test_openings_are_listed_with_what_they_are_for_and_how_they_are_asked_for(home):
    (home.state / "openings").mkdir(exist_ok=True)
    (home.state / "openings" / "broken.yaml").write_text("version: 7\n")

    listed = home.rlp("opening", "list", "--json")

    found = {each["name"]: each for each in json.loads(listed.stdout)}
    assert "write to {recipient} about {topic}" in found["compose_email"]["examples"]
    assert ("assistant" in found, "broken cannot be asked for" in listed.stderr) == (True, True)


def test_of_many_openings_that_cannot_be_read_a_few_are_named_and_the_rest_counted(home):
    (home.state / "openings").mkdir(exist_ok=True)
    for number in range(30):
        (home.state / "openings" / f"broken{number}.yaml").write_text("version: 7\n")

    told = home.rlp("opening", "list", "--json").stderr.splitlines()

    assert (len(told), "broken0 cannot be asked for" in told[0], "22 more openings" in told[-1]) == (9, True, True)


MODEL = """
models:
  default: local:ok
  broker:
    providers: [{{id: local, kind: http_openai_chat, base_url: "{url}"}}]
router:
  rerank: {rerank}
"""


def test_who_asks_a_model_that_does_not_answer_is_told_so_beside_what_was_found(home, serving):
    with serving("model_server.py", "--port", "0") as server:
        home.configure(MODEL.format(url=server.url, rerank="false").replace("local:ok", "local:unauthorized"))
        told = home.rlp("ask", "--local", "--table", "when does the pier repair start?")
        home.configure("")
        alone = home.rlp("ask", "--local", "--table", "when does the pier repair start?")

    assert (told.returncode, "warning[model.auth]: no model answered: local answered 401" in told.stderr) == (0, True)
    assert (told.stdout, alone.stderr) == (alone.stdout, "")


@pytest.mark.parametrize(("zone", "offset_s"), [("Asia/Tokyo", 32_400), ("UTC", 0), ("<-03>3", -10_800)])
def test_days_are_those_of_who_asks_wherever_the_daemon_is(home, zone, offset_s):
    said = json.loads(home.rlp("ask", "--dry-run", "--json", "what failed today", env={"TZ": zone}).stdout)

    assert (said["params"]["utc_offset_s"], said["from_line"]) == (offset_s, ["question"])


def test_a_model_chooses_between_them_where_that_is_switched_on_and_the_person_still_confirms(home, terminal, serving):
    plants(home)
    with serving("model_server.py", "--port", "0", "--text", "2") as server:
        home.configure(MODEL.format(url=server.url, rerank="true"))
        shown = terminal(home, "ask", "water the plants")
        shown.expect("a model chose it, of water_ferns, water_roses (rlp show ")
        shown.expect("[e]dit: ")
        shown.type("n\n")
        code = shown.end()
        asked = server.requests()

    assert (code, len(asked)) == (130, 1)
    assert "water_roses: a model chose it" in shown.shown
    assert "1. water_ferns: " in json.dumps(asked[0])
    assert [each["opening_name"] for each in json.loads(home.rlp("runs", "--json").stdout)] == ["choose_opening"]


@pytest.mark.parametrize("rerank", ["true", "false"])
def test_the_person_chooses_where_the_model_cannot_or_may_not(home, terminal, serving, rerank):
    plants(home)
    with serving("model_server.py", "--port", "0", "--text", "the second, I think") as server:
        home.configure(MODEL.format(url=server.url, rerank=rerank))
        shown = terminal(home, "ask", "water the plants")
        shown.expect("Which one? ")
        shown.type("1\n")
        shown.expect("[e]dit: ")
        shown.type("n\n")
        shown.end()
        asked = server.requests()

    assert ("warning[ask.no_choice]: no model chose: the model's answer is none of the numbers" in shown.shown) is (rerank == "true")
    assert len(asked) == (rerank == "true")


def test_without_a_model_nothing_is_asked_of_one(home):
    plants(home)
    home.configure("router: {rerank: true}")

    refused = home.rlp("ask", "water the plants")

    assert (refused.returncode, "ask.ambiguous" in refused.stderr) == (2, True)
    assert json.loads(home.rlp("runs", "--json").stdout) == []
