"""`rlp run compose_email` on a person's own contacts and notes, from the command line to the message."""

import email
import email.policy
import json
import smtplib
from pathlib import Path

import jsonschema

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "schemas" / "run-record.schema.json").read_text())
COMPOSE = ("run", "compose_email", "-p", "recipient=Zo", "-p", "topic=pier repair")


def message(path):
    return email.message_from_bytes(path.read_bytes(), policy=email.policy.default)


def test_the_records_are_valid_and_the_message_is_addressed_and_cites_the_right_lines(home):
    done = home.rlp(*COMPOSE, "--json", "--local", "--yes")

    assert (done.returncode, done.stderr) == (0, "")
    records = home.records(done)
    validator = jsonschema.Draft202012Validator(SCHEMA)
    assert [error.message for record in records for error in validator.iter_errors(record)] == []
    durable = [record for record in records if record["event_id"] is not None]
    assert [record["seq"] for record in durable] == list(range(1, len(durable) + 1))
    assert (records[-1]["kind"], records[-1]["meta"]["status"]) == ("run.finished", "succeeded")
    sent = message(home.outbox()[0])
    assert sent["To"].addresses[0].addr_spec == "zoe@harbour.example"
    body = sent.get_body().get_content()
    assert "Zoë" in body
    assert "3 March" in body
    assert "pier.md, line 3" in body
    assert "soup" not in body


def test_a_real_smtp_server_takes_the_message_as_it_is(home, serving, tmp_path):
    assert home.rlp(*COMPOSE, "--yes").returncode == 0
    spool = tmp_path / "spool"
    spool.mkdir()
    with serving("mail_server.py", "--spool", str(spool)) as server, smtplib.SMTP("127.0.0.1", server.port) as client:
        client.send_message(message(home.outbox()[0]), from_addr="me@here.example")
    assert json.loads((spool / "1.json").read_text())["rcpt_tos"] == ["zoe@harbour.example"]


def test_a_replay_gives_every_node_the_same_bytes_and_sends_nothing(home):
    assert home.rlp(*COMPOSE, "--yes").returncode == 0
    before, events = home.outbox(), json.loads(home.rlp("kb", "verify", "--json").stdout)["events"]

    done = home.rlp("replay", "last", "--json")

    report = json.loads(done.stdout)
    assert (done.returncode, report["matches"], {each["verdict"] for each in report["attempts"]}) == (0, True, {"same"})
    verified = json.loads(home.rlp("kb", "verify", "--json").stdout)
    assert (home.outbox(), verified["ok"], verified["events"]) == (before, True, events + 1)  # the replay's report


def test_without_a_terminal_and_without_yes_nothing_leaves_and_the_exit_code_says_denied(home):
    done = home.rlp(*COMPOSE)

    assert done.returncode == 4
    assert home.outbox() == []
    failed = [record for record in home.records(done) if record["kind"] == "effect.failed" and record["meta"]["name"] == "mail.send"]
    assert failed[0]["meta"]["error"]["code"] == "approval.nobody"


def test_an_unknown_contact_ends_the_run_with_its_name_and_no_message(home):
    done = home.rlp("run", "compose_email", "-p", "recipient=Nobody Atall", "-p", "topic=x", "--yes")

    assert done.returncode == 1
    assert "Nobody Atall" in home.records(done)[-1]["meta"]["reason"]
    assert home.outbox() == []


def test_an_ambiguous_contact_fails_with_the_candidates_where_nobody_can_be_asked(home):
    done = home.rlp("run", "compose_email", "-p", "recipient=Sam", "-p", "topic=pier repair", "--yes")

    assert done.returncode != 0
    assert home.outbox() == []
    assert "Sam Rivers" in done.stdout
    assert "Sam Brooks" in done.stdout


def test_on_a_terminal_the_person_chooses_sees_exactly_what_would_leave_and_approves(home, terminal):
    screen = terminal(home, "run", "compose_email", "-p", "recipient=Sam", "-p", "topic=pier repair")
    screen.expect("Sam Brooks")
    screen.expect("Number")
    number = next(line.split(")")[0].strip()[-1] for line in screen.shown.splitlines() if "Sam Brooks" in line)
    screen.type(f"{number}\n")
    screen.expect("[n] no: ")
    assert "To: Sam Brooks <sam.brooks@two.example>" in screen.shown
    assert home.outbox() == []
    screen.type("y\n")

    assert screen.end() == 0
    assert message(home.outbox()[0])["To"].addresses[0].addr_spec == "sam.brooks@two.example"
    assert "succeeded" in screen.shown


def test_a_no_at_the_terminal_leaves_nothing_and_exits_denied(home, terminal):
    screen = terminal(home, *COMPOSE)
    screen.expect("[n] no: ")
    screen.type("n\n")

    assert screen.end() == 4
    assert home.outbox() == []


def test_a_configured_model_writes_the_draft_and_its_tokens_and_cost_are_in_the_record(home, serving):
    answer = "Hello Zoë,\n\nThe pier repair starts on 3 March and takes nine days. [1]\n\nDoes that suit you?\n\nBest regards"
    with serving("model_server.py", "--port", "0", "--text", answer) as server:
        home.configure(
            f"""
            models:
              default: local:ok
              broker:
                providers: [{{id: local, kind: http_openai_chat, base_url: "{server.url}"}}]
                prices: [{{model: ok, input: 1.0, output: 2.0}}]
            """
        )
        done = home.rlp(*COMPOSE, "--yes")
        asked = server.requests()

    assert done.returncode == 0, done.stdout[-3000:]
    assert len(asked) >= 1
    finished = home.records(done)[-1]["meta"]
    assert finished["tokens"] > 0
    assert finished["usd"] > 0
    assert "nine days" in message(home.outbox()[0]).get_body().get_content()


def test_smtp_is_used_only_when_configured_and_approved_in_person(home, serving, terminal, tmp_path):
    spool = tmp_path / "spool"
    spool.mkdir()
    with serving("mail_server.py", "--spool", str(spool)) as server:
        home.configure(
            f"""
            mail:
              from: "Me <me@here.example>"
              smtp: {{host: 127.0.0.1, port: {server.port}, tls: none}}
            """
        )
        assert home.rlp(*COMPOSE, "--yes").returncode == 4
        assert list(spool.iterdir()) == []

        screen = terminal(home, *COMPOSE)
        screen.expect("[n] no: ")
        assert "mail.smtp" in screen.shown
        screen.type("y\n")
        assert screen.end() == 0

    delivered = json.loads((spool / "1.json").read_text())
    assert (delivered["mail_from"], delivered["rcpt_tos"]) == ("me@here.example", ["zoe@harbour.example"])
    assert home.outbox() == []


def test_the_trace_the_runs_and_the_verified_ledger_tell_the_same_run(home):
    records = home.records(home.rlp(*COMPOSE, "--yes"))
    run_id = records[0]["run_id"]

    listed = json.loads(home.rlp("runs", "--json").stdout)
    trace = json.loads(home.rlp("trace", run_id[:8], "--json").stdout)
    table = home.rlp("trace", "last", "--table", "--relative").stdout

    assert [(run["run_id"], run["status"]) for run in listed] == [(run_id, "succeeded")]
    assert (trace["run_id"], trace["success"], trace["final_hash"]) == (run_id, True, records[-1]["meta"]["final_hash"])
    assert "send → mail" in table
    assert json.loads(home.rlp("kb", "verify", "--json").stdout)["ok"] is True


def test_a_ledger_that_somebody_edited_is_found_out(home):
    import apsw

    assert home.rlp(*COMPOSE, "--yes").returncode == 0
    db = apsw.Connection(str(home.state / "pog" / "events.sqlite"))
    db.execute("UPDATE events SET payload_json = replace(payload_json, 'zoe@', 'eve@') WHERE kind = 'effect.requested'")
    db.close()

    assert home.rlp("kb", "verify").returncode == 5
