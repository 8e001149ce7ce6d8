"""`rlp` beside a daemon: detached runs, lists, logs, pauses, and followers that outlive a restart."""

import json
import signal
import subprocess

import pytest

from tests.daemon.conftest import RLP

MAILS = """def run() -> dict:
    emit.log('before')
    sent = mail.send([{'email': 'ada@example.org'}], subject='s', text='t')
    emit.log('after')
    return {'out': sent.status}
"""
NAPS = "def run() -> dict:\n    timer.sleep(5)\n    return {'out': 'woken'}\n"
PARKS = "runtime.park_after_ms"


@pytest.fixture
def mailing(daemon, words):
    daemon.agent("mails", words.head + MAILS, "mail = true")
    daemon.opening("mails")
    daemon.agent("naps", words.head + NAPS, "time = true")
    daemon.opening("naps")
    daemon.settings[PARKS] = 0
    return daemon


def output(done):
    assert done.returncode == 0, done.stderr
    return done.stdout


def listed(daemon, *arguments):
    return json.loads(output(daemon.rlp("runs", "--json", *arguments)))


def detached(daemon, opening):
    return json.loads(output(daemon.rlp("run", opening, "--detach")))["run_id"]


@pytest.fixture
def following(daemon):
    """Starts commands whose output is read while they run."""
    started = []

    def start(*arguments):
        pipe = subprocess.PIPE
        process = subprocess.Popen([*RLP, *arguments], env=daemon.env, cwd=daemon.root, stdout=pipe, stderr=pipe, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


async def parked(daemon, count=1):
    async with daemon.client() as link:
        while (await link.ask("status"))["runs"]["parked"] != count:
            pass


async def test_a_detached_run_waits_to_be_approved_and_is_followed_to_its_end(mailing, following):
    mailing.start()
    run_id = detached(mailing, "mails")
    await parked(mailing)
    (row,) = listed(mailing, "--state", "waiting", "--opening", "mails", "--since", "1h", "--text", "MAILS")
    table = output(mailing.rlp("runs", "--table"))
    shown = json.loads(output(mailing.rlp("show", run_id, "--json")))
    follower = following("attach", run_id, "--from", "2")
    first = json.loads(follower.stdout.readline())
    (opened,) = json.loads(output(mailing.rlp("approve", "--json")))
    output(mailing.rlp("approve", opened["approval_id"]))
    rest = [json.loads(line) for line in follower.stdout]

    assert (row["run_id"], row["waiting_for"]) == (run_id, "approval of mail.outbox")
    assert "approval of mail.outbox since " in table
    assert (shown["state"], shown["waiting_for"], shown["parked"]) == ("waiting", "approval of mail.outbox", 1)
    assert (first["seq"], rest[-1]["kind"], follower.wait(60)) == (2, "run.finished", 0)
    assert [record["seq"] for record in rest if record["event_id"]] == list(range(3, rest[-1]["seq"] + 1))
    assert (listed(mailing, "--state", "waiting"), listed(mailing, "--until", "1h")) == ([], [])
    text = output(mailing.rlp("show", run_id, "--table"))
    assert "parked   once" in text
    assert "taken up once" in text


def approve(daemon, run_id):
    """Say yes to what a run asks."""
    (opened,) = [each for each in json.loads(output(daemon.rlp("approve", "--json"))) if each["run_id"] == run_id]
    output(daemon.rlp("approve", opened["approval_id"]))


def test_what_an_author_can_do_about_a_failed_run_is_shown_with_it(daemon):
    daemon.agent("opens", "from runloop_agent import agent\n\n\n@agent\ndef run():\n    open('notes.md')\n")
    daemon.opening("opens")
    daemon.rlp("run", "opens", "--local")
    assert "\nhint     an agent has no files but those of its bundle" in output(daemon.rlp("show", "--table"))


def test_calls_that_failed_are_shown_with_what_can_be_done_also_where_the_agent_went_on(daemon, words):
    body = (
        "def run():\n    for _ in range(2):\n        try:\n            model.complete('x')\n        except Exception:\n            pass\n"
    )
    daemon.agent("tries", words.head + body + "    return {'out': 1}\n", "model = true")
    daemon.opening("tries")
    daemon.rlp("run", "tries", "--local")
    text = output(daemon.rlp("show", "--table"))
    (attempt,) = json.loads(output(daemon.rlp("show", "--json")))["attempts"]

    assert (attempt["status"], text.count("\nfailed   a: model.complete: "), text.count("\n         hint: ")) == ("ok", 1, 1)
    assert [(each["call"], each["name"], each["code"]) for each in attempt["failed_calls"]] == [
        (1, "model.complete", "model.unconfigured"),
        (2, "model.complete", "model.unconfigured"),
    ]
    assert attempt["failed_calls"][0]["hint"] in text


async def test_followers_outlive_a_daemon_that_is_killed_and_started_again(mailing, following):
    mailing.start()
    run_id = detached(mailing, "mails")
    attached, logs = following("attach", run_id), following("logs", run_id, "--follow", "--node", "a")
    while json.loads(attached.stdout.readline())["kind"] != "approval.requested":
        pass
    while "asks for approval" not in logs.stdout.readline():
        pass
    await parked(mailing, 1)  # else it is taken up once more
    mailing.stop(signal.SIGKILL)
    away = [follower.stderr.readline() for follower in (attached, logs)]
    mailing.start()
    approve(mailing, run_id)
    records, lines = [json.loads(line) for line in attached.stdout], logs.stdout.read()

    kinds = [record["kind"] for record in records if record["event_id"]]
    said = "warning[daemon.lost]: the daemon is away: waiting 120 s for it to come back; the run is on record\n"
    assert (away, attached.stderr.read(), logs.stderr.read()) == ([said] * 2, *["the daemon is back\n"] * 2)
    assert (attached.wait(60), kinds.count("run.recovered"), kinds[-1]) == (0, 1, "run.finished")
    assert (logs.wait(60), lines.count("a: after"), "run succeeded" in lines) == (0, 1, False)


async def test_every_run_is_paused_and_goes_on_over_a_restart_and_without_the_daemon(mailing):
    mailing.start()
    one, other = ids = [detached(mailing, "mails") for _ in range(2)]
    await parked(mailing, 2)
    paused = mailing.rlp("pause", "--all", "--reason", "lunch")
    states = {row["run_id"]: (row["state"], row["waiting_for"]) for row in listed(mailing)}
    mailing.stop(signal.SIGKILL)
    unfinished = {row["run_id"] for row in listed(mailing, "--state", "unfinished")}
    mailing.start()
    resumed = mailing.rlp("resume", one)
    approve(mailing, one)
    ended = mailing.rlp("attach", one)
    mailing.stop()
    alone = mailing.rlp("resume", other)
    (left,) = listed(mailing, "--state", "unfinished")

    assert (output(paused), states) == ("2 runs\n", dict.fromkeys(ids, ("paused", "a resumption")))
    assert unfinished == set(ids)
    assert (output(resumed).split()[:2], ended.returncode) == (["run", one], 0)
    kinds = [json.loads(line)["kind"] for line in alone.stdout.splitlines()]
    assert (alone.returncode, "error[run.needs_person]" in alone.stderr) == (4, True)
    assert (kinds[0], "run.resumed" in kinds, "run.finished" in kinds) == ("run.recovered", True, False)
    assert (left["run_id"], left["waiting_for"]) == (other, "approval of mail.outbox")
    assert len(list((mailing.state / "outbox").glob("*.eml"))) == 1


@pytest.mark.parametrize("verb", [("resume", "RUN"), ("resume", "--all")])
def test_a_local_run_that_was_killed_is_handed_to_the_daemon(mailing, following, verb):
    mailing.start()
    process = following("run", "naps", "--local")
    for line in process.stdout:
        record = json.loads(line)
        if record["kind"] == "effect.requested":
            break
    process.kill()
    process.wait()
    run_id = record["run_id"]
    (row,) = listed(mailing, "--state", "unfinished")
    done = mailing.rlp(*(run_id if word == "RUN" else word for word in verb))
    records = [json.loads(line) for line in output(mailing.rlp("attach", run_id)).splitlines()]

    assert (row["run_id"], done.returncode) == (run_id, 0)
    assert (records[-1]["meta"]["status"], "run.recovered" in [each["kind"] for each in records]) == ("succeeded", True)
    assert listed(mailing)[0]["state"] == "succeeded"


def test_a_local_run_that_was_killed_is_cancelled_by_the_daemon_too(mailing, following):
    mailing.start()
    process = following("run", "naps", "--local")
    record = next(record for record in map(json.loads, process.stdout) if record["kind"] == "effect.requested")
    assert "run.not_here" in mailing.rlp("pause", record["run_id"]).stderr
    process.kill()
    process.wait()

    cancelled = mailing.rlp("cancel", record["run_id"])
    last = json.loads(mailing.rlp("attach", record["run_id"]).stdout.splitlines()[-1])

    assert (cancelled.returncode, last["kind"], last["meta"]["status"]) == (0, "run.finished", "cancelled")


def test_what_lies_in_an_archive_is_read_there_though_a_daemon_answers(mailing):
    mailing.start()
    run_id = detached(mailing, "mails")
    while not listed(mailing, "--state", "waiting"):
        pass
    output(mailing.rlp("export", run_id, "-o", "waits.rlz"))

    for command in (("attach", "waits.rlz", "--json"), ("logs", "waits.rlz", "--follow", "--json", "--level", "debug")):
        done = mailing.rlp(*command)
        kinds = [json.loads(line)["kind"] for line in done.stdout.splitlines()]
        assert (done.returncode, kinds[0], "run.finished" in kinds) == (1, "run.submitted", False)
        assert f"run {run_id} has no end in its archive" in done.stderr
    assert "run.unknown" in mailing.rlp("attach", "0123456789").stderr


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel"])
def test_a_child_run_is_held_and_stopped_with_the_run_that_it_belongs_to(mailing, verb):
    mailing.opening("outer", "version: 0\nname: outer\nnodes: [{id: a, use: opening:mails}]\nedges: []\n")
    mailing.start()
    run_id = detached(mailing, "outer")
    while len(waits := listed(mailing, "--state", "waiting", "--children")) < 2:
        pass
    (child,) = (row["run_id"] for row in waits if row["parent_run_id"] == run_id)

    done = mailing.rlp(verb, child)

    assert (done.returncode, done.stderr.splitlines()) == (
        2, [f"error[run.child]: run {child} belongs to run {run_id}", f"  hint: name that one: {run_id[:8]}"],
    )  # fmt: skip
    assert output(mailing.rlp("cancel", run_id))
