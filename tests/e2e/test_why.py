"""Who made this mail, on which text of mine does it rest, what did it cost, who approved it: asked of a message that a real run made."""

import json
import re
import shutil

ANSWER = "Hello Zoë,\n\nThe pier repair starts on 3 March and takes nine days. [1]\n\nDoes that suit you?\n\nBest regards"
COMPOSE = ("run", "compose_email", "-p", "recipient=Zo", "-p", "topic=pier repair")


def test_a_mail_that_was_moved_tells_its_maker_its_sources_its_cost_and_who_approved_it(home, serving, terminal):
    with serving("model_server.py", "--port", "0", "--text", ANSWER) as server:
        home.configure(
            f"""
            models:
              default: local:ok
              broker:
                providers: [{{id: local, kind: http_openai_chat, base_url: "{server.url}"}}]
                prices: [{{model: ok, input: 1.0, output: 2.0}}]
            """
        )
        screen = terminal(home, *COMPOSE)
        screen.expect("[n] no: ")
        screen.type("y\n")
        assert screen.end() == 0
        forked = home.rlp("fork", "last", "--at", "send", "--yes", "--json")
        assert forked.returncode == 0, forked.stderr
    first, second = sorted(home.outbox(), key=lambda path: path.stat().st_mtime_ns)
    finished = json.loads(home.rlp("runs", "--json").stdout)
    tokens, usd = max((run["tokens"], run["usd"]) for run in finished)
    fork, run = (json.loads(home.rlp("show", each["run_id"]).stdout) for each in finished)
    assert (run["spent"], run["spent_by_children"], fork["spent"]) == ({"tokens": tokens, "usd": usd}, None, {"tokens": 0, "usd": 0})
    assert f"\nspent    {tokens:,} tokens, {usd:.4f} USD\n" in home.rlp("show", run["run_id"], "--table").stdout
    shutil.move(first, home.root / "renamed.txt")

    said = json.loads(home.rlp("why", "renamed.txt", "--json").stdout)

    summary = said["summary"]
    [made] = summary["made_by"]
    assert (made["agent"], made["node"], made["opening"]) == ("mailer", "send", "compose_email")
    assert len(made["digest"]) == 64
    [text] = summary["texts"]
    assert text["path"].endswith("pier.md")
    assert text["cited"][0].startswith("line 3")
    [decided] = summary["approved_by"]
    assert decided["decision"] == "approved"
    assert decided["by"].startswith("operator")
    assert [person["name"].split(" <")[0] for person in summary["people"]] == ["Zoë Ångström"]
    cost = summary["cost"]
    assert (cost["tokens"], cost["failed"], cost["usd"] > 0) == (tokens, 0, True)
    assert abs(cost["usd"] - usd) < 1e-6
    assert not re.search(r"\bzoe@harbour", json.dumps(said))
    tree = home.rlp("why", second, "--table", "--no-wrap").stdout
    assert "asked the model model.complete local:ok" in tree
    assert f"recorded in run {made['run_id'][:8]}" in tree
    assert "forked from run" in tree
