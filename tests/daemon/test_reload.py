"""Files that change while the daemon runs: taken in whole, or not at all, and never under a run that has begun."""

import asyncio
import json
import os
import shutil
import signal
import threading
import uuid
from types import SimpleNamespace

import pytest

from runloop.bundles import load_bundle
from runloop.bundles.signature import sign
from runloop.config import load as load_settings
from runloop.daemon import library
from runloop.daemon.library import Library
from runloop.daemon.reloading import Reloading
from runloop.errors import InvalidInput
from runloop.openings.fmt import Form, format_opening
from runloop.signatures import signing_key

CHANGES = "rlp/sys/reload"


async def changed(messages, what, state):
    """The first change of that kind and state."""
    async with asyncio.timeout(30):
        async for message in messages:
            if (message.payload["what"], message.payload["state"]) == (what, state):
                return message.payload
    raise AssertionError("no change came")


async def test_a_saved_opening_is_the_one_that_runs_next_and_a_broken_one_leaves_the_last_good(daemon, words):
    daemon.agent("quick", words.quick)
    path = daemon.opening("quick")
    daemon.start()
    async with daemon.client() as link:
        changes = await link.client.subscribe(CHANGES)
        path.write_text(words.one("quick").replace("id: a", "id: second"))
        loaded = await changed(changes, "opening", "loaded")
        first = await link.ask("submit", request_id=str(uuid.uuid4()), opening="quick")
        path.write_text("version: 0\nname: [broken\n")
        broken = await changed(changes, "opening", "broken")
        status = await link.ask("status")
        second = await link.ask("submit", request_id=str(uuid.uuid4()), opening="quick")
        nodes = []
        for each in (first, second):
            records = await words.to_end(await link.follow(each["run_id"]))
            nodes.append(next(record["meta"]["node"] for record in records if record["kind"] == "node.started"))
        path.write_text(words.one("quick"))
        await changed(changes, "opening", "loaded")
        repaired = await link.ask("status")
    (problem,) = status["problems"]
    assert (loaded["name"], broken["name"], broken["error"]["where"]["file"]) == ("quick", "quick", str(path))
    assert (problem["what"], problem["name"], problem["last_good_kept"]) == ("opening", "quick", True)
    assert (nodes, repaired["problems"]) == (["second", "second"], [])


async def test_a_file_elsewhere_that_an_opening_is_a_link_to_is_followed(daemon, words, tmp_path):
    daemon.agent("quick", words.quick)
    path, mine = daemon.opening("quick"), tmp_path / "mine"
    mine.mkdir()
    path.rename(mine / "kept.yaml")
    path.symlink_to(mine / "kept.yaml")
    daemon.start()
    async with daemon.client() as link:
        changes = await link.client.subscribe(CHANGES)
        for name in ("second", "third"):  # what changes while the watch is being set up is found without it
            (mine / "new").write_text(words.one("quick").replace("id: a", f"id: {name}"))
            (mine / "new").rename(mine / "kept.yaml")
            assert (await changed(changes, "opening", "loaded"))["name"] == "quick"


async def test_an_opening_in_the_brace_form_is_taken_in_like_any_other(daemon, words):
    daemon.agent("quick", words.quick)
    path = daemon.opening("quick")
    path.with_suffix(".opening").write_text(format_opening(path.read_text(), to=Form.BRACE).text)
    path.unlink()
    daemon.start()
    async with daemon.client() as link:
        accepted = await link.ask("submit", request_id=str(uuid.uuid4()), opening="quick")
        records = await words.to_end(await link.follow(accepted["run_id"]))
    assert (records[-1]["kind"], records[-1]["meta"]["status"]) == ("run.finished", "succeeded")


async def test_the_first_agent_of_a_user_is_found_although_there_was_no_directory_for_agents_when_the_daemon_started(daemon, words):
    daemon.start()
    async with daemon.client() as link:
        changes = await link.client.subscribe(CHANGES)
        daemon.agent("quick", words.quick)
        digest = (await changed(changes, "agent", "loaded"))["digest"]
        (described,) = (await link.ask("describe_agents", agents=[{"name": "quick"}]))["agents"]
        records = await link.run(words.one("quick"))
    assert (described["digest"], records[-1]["meta"]["status"]) == (digest, "succeeded")


@pytest.mark.parametrize("before", ["nothing", "half of it"])
async def test_an_agent_that_was_built_a_moment_ago_is_there_for_who_submits_now(daemon, words, before):
    if before == "half of it":
        (daemon.agent("quick", words.quick) / "agent.py").write_text("# being written")
    told = daemon.start()
    async with daemon.client() as link:
        os.kill(told["pid"], signal.SIGSTOP)  # it hears of the files after the request
        daemon.agent("quick", words.quick)
        run_id = str(uuid.uuid4())
        records = asyncio.create_task(link.run(words.one("quick"), request_id=run_id))
        await asyncio.sleep(0)
        os.kill(told["pid"], signal.SIGCONT)
        assert (await records)[-1]["meta"]["status"] == "succeeded"


async def test_a_bundle_that_is_being_edited_leaves_the_sealed_version_in_place_until_it_is_sealed_again(daemon, words):
    bundle = daemon.agent("quick", words.quick)
    daemon.start()
    async with daemon.client() as link:
        changes = await link.client.subscribe(CHANGES)
        old = (await link.ask("describe_agents", agents=[{"name": "quick"}]))["agents"][0]["digest"]
        (bundle / "agent.py").write_text(words.quick.replace("done", "new"))
        broken = await changed(changes, "agent", "broken")
        during = await link.run(words.one("quick"))
        daemon.agent("quick", words.quick.replace("done", "new"))
        loaded = await changed(changes, "agent", "loaded")
        after = await link.run(words.one("quick"))
    outputs = [record["meta"]["outputs"] for run in (during, after) for record in run if record["kind"] == "node.finished"]
    assert broken["error"]["code"].startswith("bundle.")
    assert (outputs, loaded["digest"] == old) == ([{"out": ["done"]}, {"out": ["new"]}], False)


def test_who_runs_an_agent_that_was_edited_and_not_built_is_told_that_the_version_before_runs(daemon, words):
    directory = daemon.agent("quick", words.quick)
    daemon.opening("quick")
    daemon.start()
    (directory / "agent.py").write_text(words.quick.replace("done", "new"))

    ran, detached = daemon.rlp("run", "quick"), daemon.rlp("run", "quick", "--detach")

    told = "warning[bundle.digest_mismatch]: agent 'quick' cannot be used as it is now: "
    for each in (ran, detached):
        assert (each.returncode, each.stderr.startswith(told)) == (0, True)
        assert each.stderr.endswith("; the daemon runs the last version that it could load\n")
    assert '{"out": ["done"]}' in ran.stdout


def test_who_gives_what_only_the_edited_version_takes_is_told_which_version_refuses_it(daemon, words):
    directory = daemon.agent("quick", words.head + "def run(topic: str) -> dict:\n    return {'out': topic}\n")
    daemon.opening("quick")
    daemon.start()
    (directory / "agent.py").write_text(words.quick)

    ran = daemon.rlp("run", "quick")

    warned, _, refused = ran.stderr.partition("error[")
    assert (ran.returncode, warned.partition(":")[0], refused.partition("]")[0]) == (
        2, "warning[bundle.digest_mismatch]", "opening.argument",
    )  # fmt: skip


def test_who_runs_an_agent_that_was_never_built_is_not_told_of_a_version_before(daemon, words):
    directory = daemon.agent("quick", words.quick)
    (directory / "agent.py").write_text(words.quick.replace("done", "new"))
    daemon.opening("quick")
    daemon.start()

    ran, detached = daemon.rlp("run", "quick"), daemon.rlp("run", "quick", "--detach")

    for each in (ran, detached):
        assert (each.returncode, each.stderr.partition(":")[0]) == (5, "error[bundle.digest_mismatch]")


async def test_a_run_keeps_the_version_that_it_began_with(daemon, words):
    waits = words.head + "def run() -> dict:\n    emit.log('first')\n    return {'out': ask.person('go?').answer + ' old'}\n"
    daemon.agent("slow", waits, "ask = true")
    daemon.start()
    async with daemon.client() as link:
        changes, requests = await link.client.subscribe(CHANGES), await link.client.subscribe("action.request")
        run_id = str(uuid.uuid4())
        records = await link.follow(run_id)
        await link.submit(words.one("slow"), request_id=run_id, attended=True)
        opened = (await anext(requests)).payload
        daemon.agent("slow", words.quick)
        await changed(changes, "agent", "loaded")
        await link.ask("answer", approval_id=opened["approval_id"], answer="yes")
        found = await words.to_end(records)
    outputs = [record["meta"]["outputs"] for record in found if record["kind"] == "node.finished"]
    assert outputs == [{"out": ["yes old"]}]


async def test_a_removed_opening_is_gone(daemon, words):
    path = daemon.opening("quick")
    daemon.agent("quick", words.quick)
    daemon.start()
    async with daemon.client() as link:
        changes = await link.client.subscribe(CHANGES)
        path.unlink()
        await changed(changes, "opening", "removed")
        error = await link.refused("submit", request_id=str(uuid.uuid4()), opening="quick")
    assert error["code"] == "opening.not_found"


async def test_safe_settings_count_at_once_others_are_named_and_a_wrong_file_changes_nothing(daemon):
    daemon.configure("runtime: {max_runs: 7}\n")
    daemon.start()
    async with daemon.client() as link:
        changes = await link.client.subscribe(CHANGES)
        daemon.configure("runtime: {max_runs: 9}\nkb: {events_db: other.sqlite}\n")
        await changed(changes, "config", "loaded")
        status = await link.ask("status")
        daemon.configure("runtime: {max_runs: many}\n")
        broken = await changed(changes, "config", "broken")
        refused = await link.refused("reload")
        kept = await link.ask("status")
        daemon.configure("runtime: {max_runs: 10}\nmodels: {broker: {providers: [{id: mine, kind: http_ollama}]}}\n")
        while (await changed(changes, "config", "broken"))["error"]["code"] != "models.settings":
            pass  # the one before was told of twice
        no_address = [(await link.refused("reload"))["code"] for _ in range(2)]
        (problem,) = (found := await link.ask("status"))["problems"]
        daemon.configure("runtime: {max_runs: 12}\npolicy: {allowed_hosts: [a..b]}\n")
        no_host = [(await link.refused("reload"))["code"] for _ in range(2)]
        unchanged = await link.ask("status")
        daemon.configure("runtime: {max_runs: 11}\n")
        await changed(changes, "config", "loaded")
        repaired = await link.ask("status")
    assert (no_host, unchanged["runs"]["max_runs"]) == (["config.invalid_value"] * 2, 9)
    assert (no_address, problem["error"]["code"], found["runs"]["max_runs"]) == (["models.settings"] * 2, "models.settings", 9)
    assert (repaired["runs"]["max_runs"], repaired["problems"]) == (11, [])
    assert (status["runs"]["max_runs"], status["needs_restart"]) == (9, ["kb.events_db"])
    assert (broken["error"]["code"], refused["exit_code"], kept["runs"]["max_runs"], kept["problems"][0]["what"]) == (
        "config.invalid_value", 2, 9, "config",
    )  # fmt: skip


def _linked(daemon):
    (daemon.root / "dotfiles").mkdir()
    daemon.state.mkdir(mode=0o700)
    (daemon.state / "config.yaml").symlink_to("../dotfiles/runloop.yaml")
    return daemon.root / "dotfiles/runloop.yaml", {}


def _named(daemon):
    return daemon.root / "mine.yaml", {"RUNLOOP_CONFIG": str(daemon.root / "mine.yaml")}


def _of_the_desktop(daemon):
    (daemon.root / ".config/runloop").mkdir(parents=True)
    return daemon.root / ".config/runloop/config.yaml", {}


@pytest.mark.parametrize("place", [_linked, _named, _of_the_desktop])
async def test_a_file_of_settings_is_followed_wherever_it_lies(daemon, place):
    path, env = place(daemon)
    path.write_text("runtime: {max_runs: 7}\n")
    daemon.start(env=env)
    async with daemon.client() as link:
        changes = await link.client.subscribe(CHANGES)
        for most in (8, 9):
            path.write_text(f"runtime: {{max_runs: {most}}}\n")
            await changed(changes, "config", "loaded")
            assert (await link.ask("status"))["runs"]["max_runs"] == most


async def test_a_directory_of_settings_that_is_made_or_made_again_under_the_daemon_is_followed(daemon):
    daemon.start()
    directory = daemon.root / ".config/runloop"
    async with daemon.client() as link:
        changes = await link.client.subscribe(CHANGES)
        for most in (7, 8, 9):
            if most != 9:
                shutil.rmtree(directory, ignore_errors=True)
                directory.mkdir(parents=True)
            (directory / "config.yaml").write_text(f"runtime: {{max_runs: {most}}}\n")
            async with asyncio.timeout(30):
                while (await link.ask("status"))["runs"]["max_runs"] != most:
                    await changed(changes, "config", "loaded")


async def test_what_the_settings_are_warned_of_stands_in_the_log_once_for_as_long_as_it_is_so(daemon):
    daemon.configure("openings: {search_dirs: [/nowhere/a]}\n")
    daemon.start(env={"RUNLOOP__ROUTER__DENYLIST": "[]"})
    async with daemon.client() as link:
        await link.ask("reload")
        daemon.configure("openings: {search_dirs: [/nowhere/b]}\n")
        await link.ask("reload")
    daemon.stop()
    warned = [line["why"] for line in map(json.loads, daemon.log().splitlines()) if line["event"] == "a setting"]
    file = daemon.state / "config.yaml"
    assert [why.partition(f" ({file}")[0] for why in warned] == [
        "openings.search_dirs: /nowhere/a does not exist",
        "router.denylist is empty (key 'RUNLOOP__ROUTER__DENYLIST')",
        "openings.search_dirs: /nowhere/b does not exist",
    ]


async def test_sighup_reads_everything_anew_and_opens_the_log_again(daemon):
    log = daemon.root / "log.json"
    daemon.settings["logging.file"] = log
    daemon.start()
    log.rename(daemon.root / "log.1")
    async with daemon.client() as link:
        changes = await link.client.subscribe(CHANGES)
        daemon.configure("logging: {level: debug}\n")
        daemon.process.send_signal(signal.SIGHUP)
        await changed(changes, "config", "loaded")
        answer = await link.ask("reload")
    assert (answer["changed"], answer["needs_restart"]) == ([], [])
    assert '"reloaded"' in log.read_text()


async def test_a_log_that_cannot_be_opened_anew_is_told_and_keeps_nothing_else_from_being_read(daemon):
    log = daemon.root / "log.json"
    daemon.settings["logging.file"] = log
    daemon.start()
    log.rename(daemon.root / "log.1")
    log.mkdir()
    async with daemon.client() as link:
        changes = await link.client.subscribe(CHANGES)
        daemon.configure("logging: {level: debug}\n")
        await changed(changes, "config", "loaded")
        told = daemon.rlp("reload")
        (problem,) = (await link.ask("status"))["problems"]
        log.rmdir()
        await link.ask("reload")
        repaired = (await link.ask("status"))["problems"]
    assert (told.returncode, "error[daemon.log]" in told.stderr, str(log) in told.stderr) == (2, True, True)
    assert (problem["what"], problem["name"], problem["error"]["code"], repaired) == ("log", str(log), "daemon.log", [])
    assert "the log cannot be opened anew" in (daemon.root / "log.1").read_text()
    assert '"reloaded"' in log.read_text()


async def test_a_policy_that_is_narrowed_while_the_daemon_runs_holds_for_the_next_run(daemon, words):
    daemon.agent(
        "asks", words.head + "def run() -> dict:\n    return {'out': ask.person('go?', default='x', timeout_ms=1).answer}\n", "ask = true"
    )
    daemon.start()
    async with daemon.client() as link:
        changes = await link.client.subscribe(CHANGES)
        overrides = daemon.state / "policy-overrides"
        overrides.mkdir()
        (overrides / "asks.caps").write_text("[capabilities]\nask = false\n")
        await changed(changes, "agent", "loaded")
        records = await link.run(words.one("asks"))
    assert records[-1]["meta"]["error"]["code"].startswith("denied.")


async def test_an_agent_that_settings_or_a_lost_signature_no_longer_allow_does_not_run_as_the_version_before(daemon, words):
    bundle = daemon.agent("quick", words.quick)
    signer = sign(load_bundle(bundle), signing_key(daemon.state / "keys"))
    daemon.start()
    refusals = []
    async with daemon.client() as link:
        changes = await link.client.subscribe(CHANGES)

        async def refused():
            answer = await link.raw({"verb": "submit", "opening_source": words.one("quick"), "request_id": str(uuid.uuid4())})
            refusals.append(answer["error"]["code"])

        config = daemon.state / "config.yaml"
        before = config.read_text() if config.exists() else ""
        config.write_text(before + "\npolicy: {allow_unsigned_agents: false}\n")
        await changed(changes, "agent", "broken")
        await refused()
        config.write_text(before + f"\npolicy: {{allow_unsigned_agents: false, allowed_agent_signers: [{signer}]}}\n")
        await changed(changes, "agent", "loaded")
        records = await link.run(words.one("quick"))
        (bundle / "bundle.sig").unlink()
        await changed(changes, "agent", "broken")
        await refused()
    assert (refusals, records[-1]["meta"]["status"]) == (["policy.denied.signer", "policy.denied.unsigned"], "succeeded")


@pytest.mark.parametrize(("now", "reads"), [(9, 1), (7, 0), (None, 1)])
async def test_settings_that_were_saved_before_anybody_watched_are_found_when_the_watch_looks_for_itself(now, reads):
    def settings(max_runs):
        return SimpleNamespace(resolved={"runtime.max_runs": SimpleNamespace(value=max_runs)})

    def load():
        if now is None:
            raise InvalidInput("many is no number", code="config.invalid_value")
        return settings(now)

    kept, soon = [], []
    library = SimpleNamespace(watched=list)
    reloading = Reloading(SimpleNamespace(settings=settings(7), keep=kept.append, library=library), load, None, None)
    reloading._files = SimpleNamespace(watched=())
    reloading.soon = soon.append
    reloading._config_changed(set())
    await kept.pop()
    assert len(soon) == reads


async def test_settings_that_were_read_before_others_never_count_after_them(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNLOOP_HOME", str(tmp_path))
    saved, reading, go, allowed = [7], threading.Event(), threading.Event(), []

    def load():
        most = saved[-1]
        if most == 8:
            reading.set()
            go.wait(30)
        return load_settings({"runtime.max_runs": most})

    async def nothing(*_):
        pass

    daemon = SimpleNamespace(
        settings=load(), kb=SimpleNamespace(ledger=SimpleNamespace(poke=lambda: None)), reachable=SimpleNamespace(look=nothing),
        session=SimpleNamespace(reconfigure=nothing), bus=SimpleNamespace(publish=lambda *_: None), people=SimpleNamespace(),
        hosting=SimpleNamespace(allow=lambda runs, _queued: allowed.append(runs)), library=Library(load(), lambda: 0),
    )  # fmt: skip
    log = SimpleNamespace(reopen=lambda: None, configure=lambda _settings: None)
    reloading = Reloading(daemon, load, log, SimpleNamespace(systemd=lambda *_: None))
    watchers = reloading.watch()
    saved.append(8)
    slow = asyncio.create_task(reloading.reload("first"))
    await asyncio.to_thread(reading.wait, 30)
    saved.append(9)
    quick = asyncio.create_task(reloading.reload("second"))
    await asyncio.wait({quick}, timeout=0.2)  # whoever did not wait would be done by now
    go.set()
    await asyncio.gather(slow, quick)
    assert (allowed, daemon.settings.get("runtime.max_runs")) == ([8, 9], 9)
    for watcher in watchers:
        await watcher.close()


def test_an_agent_that_is_only_being_put_together_is_none_yet(tmp_path):
    for name in ("greeter", ".greeter.staging-150"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.toml").touch()
    assert [root.name for root in library._bundle_roots(tmp_path)] == ["greeter"]


def test_what_a_reload_changed_is_json_where_no_person_reads_it(daemon):
    daemon.start()
    piped, table = daemon.rlp("reload"), daemon.rlp("reload", "--table")
    assert (json.loads(piped.stdout)["changed"], table.stdout.splitlines()[0]) == ([], "changed: no setting")
