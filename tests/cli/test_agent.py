"""`rlp agent` as a person uses it: a home of its own, one command after the other."""

from __future__ import annotations

import json
import os
import sys

import pytest

from runloop.cli.main import main


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("RUNLOOP_HOME", "RUNLOOP_CONFIG", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


@pytest.fixture
def compiled(home, guest_cache, monkeypatch):
    """The guest is compiled already, as it is on a machine that ran an agent before."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(guest_cache))


@pytest.fixture
def rlp(home, capsys):
    """Run one command; returns exit code, stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["agent", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_scaffold_check_and_show_fit_together(rlp, home):
    code, out, err = rlp("scaffold", "reader", "--opening", "--description", "Reads notes.", "--cap-net", "a.example, b.example:443")
    bundle = home / ".runloop" / "agents" / "reader"
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"created agent bundle at {bundle}",
        f"manifest: {bundle}/manifest.toml",
        f"opening: {home}/.runloop/openings/reader.yaml",
        f"next: edit {bundle}/agent.py, then `rlp agent build reader` and `rlp agent test reader`",
    ]
    assert rlp("check", "reader", "--table") == (0, f"{bundle}: ok\n", "")
    code, out, _ = rlp("show", "reader")
    shown = json.loads(out)
    assert (code, shown["name"], shown["description"]) == (0, "reader", "Reads notes.")
    assert shown["capabilities"]["net"]["hosts"] == ["a.example", "b.example:443"]
    assert shown["ports_in"] == {"topic": {"type": "string", "description": "what to look for"}}


@pytest.mark.parametrize("words", [("agent", "scaffold", "reader"), ("opening", "new", "mine", "--from", "pipeline")])
def test_the_home_that_the_first_thing_written_makes_is_for_nobody_else(home, words):
    before = os.umask(0o022)
    try:
        assert main(list(words)) == 0
    finally:
        os.umask(before)
    made = home / ".runloop"
    assert {place.stat().st_mode & 0o777 for place in (made, made / f"{words[0]}s")} == {0o700}


def test_a_domain_that_nobody_can_read_is_no_grant_of_a_new_agent(rlp, home):
    code, _, err = rlp("scaffold", "reader", "--cap-kb-read", "notes,note")
    assert (code, err.splitlines()[:2]) == (2, ["error[kb.unknown_domain]: unknown domain 'note'", "  at key '--cap-kb-read'"])
    assert "contacts, notes, " in err
    assert not (home / ".runloop" / "agents" / "reader").exists()
    assert rlp("scaffold", "reader", "--cap-kb-read", "events,contacts_raw,query,runs")[0] == 0


def test_an_agent_without_a_model_passes_its_check_and_its_tests(rlp, compiled):
    assert rlp("scaffold", "lister", "--no-model")[0] == 0
    assert rlp("check", "lister")[0] == 0
    assert json.loads(rlp("show", "lister")[1])["capabilities"]["model"] is False
    code, out, _ = rlp("test", "lister")
    assert (code, json.loads(out)["failed"]) == (0, 0)


def test_show_for_people_names_what_it_may_and_what_narrows_it(rlp, home):
    rlp("scaffold", "reader")
    override = home / ".runloop" / "policy-overrides" / "reader.caps"
    override.parent.mkdir()
    override.write_text("[capabilities]\nmodel = false\n")
    code, out, _ = rlp("show", "reader", "--table")
    lines = out.splitlines()
    assert code == 0
    assert lines[0] == "reader 0.1.0 (python)"
    assert 'may   kb_read = ["events", "notes"]' in lines
    assert not any(line.startswith("may   model") for line in lines)
    assert f"narrowed by {override}" in lines


def test_commands_that_nobody_is_asked_about_are_named_apart(rlp, home):
    rlp("scaffold", "runner", "--no-model")
    policy = home / ".runloop" / "agents" / "runner" / "policy.caps"
    policy.write_text('[capabilities]\nexec = { commands = [["git", "log"], ["ls", "a b"]], read_only = [["cat"], ["git", "log"]] }\n')
    rlp("build", "runner")

    lines = rlp("show", "runner", "--table")[1].splitlines()

    assert [line for line in lines if line.startswith("may")] == [
        "may   run, asking each time: ls 'a b' …",
        "may   run, WITHOUT ASKING: cat …, git log …",
    ]


def test_list_has_the_fields_of_the_specification(rlp, home):
    rlp("scaffold", "reader")
    (home / ".runloop" / "agents" / "reader" / "agent.py").write_text("spoiled")
    code, out, _ = rlp("list", "--json")
    listed = json.loads(out)
    entry = next(each for each in listed["agents"] if each["name"] == "reader")
    assert code == 0
    assert listed["search_dirs"][0] == f"{home}/.runloop/agents"
    assert sorted(entry) == [
        "digest", "issues", "manifest", "manifest_digest", "name", "signer", "source_dir", "status", "variant", "version",
    ]  # fmt: skip
    assert (entry["status"], entry["variant"], entry["version"]) == ("digest_mismatch", None, "0.1.0")
    assert entry["issues"][0].startswith("'agent.py' has changed")
    _, table, _ = rlp("list", "--table", "--no-wrap")
    columns = [cell.strip() for cell in table.splitlines()[0].split("|")]
    assert columns == ["agent", "version", "digest", "status", "source", "manifest"]
    assert entry["digest"][:12] in table


def test_the_list_has_the_digest_that_runs_record(rlp):
    rlp("scaffold", "reader")
    listed = next(each for each in json.loads(rlp("list", "--json")[1])["agents"] if each["name"] == "reader")
    shown = json.loads(rlp("show", "reader", "--json")[1])
    assert [listed[key] for key in ("digest", "manifest_digest")] == [shown[key] for key in ("digest", "manifest_digest")]


@pytest.mark.parametrize("manifest", ["", "[agent", '[agent]\nversion = "1"\n', '[agent]\nname = "other"\n'])
def test_an_agent_whose_manifest_lacks_its_name_is_listed_by_its_directory(rlp, home, manifest):
    (bundle := home / ".runloop" / "agents" / "nameless").mkdir(parents=True)
    (bundle / "manifest.toml").write_text(manifest)
    entry = next(each for each in json.loads(rlp("list", "--json")[1])["agents"] if each["manifest"].startswith(str(bundle)))
    named = "other" if "other" in manifest else "nameless"
    assert (entry["name"], entry["version"], entry["status"]) == (named, "1" if "version" in manifest else None, "invalid")


def test_list_looks_first_in_the_directory_that_is_named(rlp, tmp_path):
    rlp("scaffold", "reader", "--root", str(tmp_path / "mine"))
    _, out, _ = rlp("list", "--root", str(tmp_path / "mine"))
    assert json.loads(out)["agents"][0]["source_dir"] == f"{tmp_path}/mine"
    code, _, err = rlp("list", "--root", str(tmp_path / "gone"))
    assert (code, err.splitlines()[0]) == (2, f"error[agent.root]: there is no directory {tmp_path}/gone")


@pytest.mark.usefixtures("compiled")
def test_check_reports_every_fault_and_its_exit_code(rlp, home):
    rlp("scaffold", "reader")
    bundle = home / ".runloop" / "agents" / "reader"
    (bundle / "policy.caps").write_text("[capabilities]\nmodle = true\n")
    (bundle / "agent.py").write_text("x = = 1\n")
    code, out, err = rlp("check", str(bundle), "--table")
    assert (code, out) == (5, "")
    assert [line.split("]")[0] for line in err.splitlines() if line.startswith("error")] == [
        "error[bundle.digest_mismatch",
        "error[bundle.digest_mismatch",
        "error[policy.unknown_key",
        "error[bundle.python_syntax",
    ]
    assert f"at {bundle}/policy.caps:2:1, key 'capabilities.modle'" in err
    code, out, _ = rlp("check", str(bundle), "--json")
    (entry,) = json.loads(out)["agents"]
    assert (code, entry["ok"], len(entry["problems"])) == (5, False, 4)


def test_webassembly_that_is_cut_off_or_cannot_be_linked_is_found_by_check_and_build(rlp, home):
    import wasmtime

    rlp("scaffold", "reader")
    bundle = home / ".runloop" / "agents" / "reader"
    manifest = bundle / "manifest.toml"
    manifest.write_text(manifest.read_text().replace('kind = "python"', 'kind = "wasm32-wasip1"\nentry = "agent.wasm"'))
    whole = bytes(wasmtime.wat2wasm('(module (memory (export "memory") 1) (func (export "_start") (nop) (nop)))'))
    unknown = bytes(wasmtime.wat2wasm('(module (import "env" "log" (func)) (memory (export "memory") 1) (func (export "_start")))'))
    library = bytes(wasmtime.wat2wasm('(module (memory (export "memory") 1) (func (export "start")))'))
    for content, codes in ((whole[:-3], (2, 5)), (unknown, (2, 5)), (library, (2, 5)), (whole, (0, 0))):
        (bundle / "agent.wasm").write_bytes(content)
        built, checked = rlp("build", "reader", "--table"), rlp("check", "reader", "--table")
        assert (built[0], checked[0]) == codes
        assert all(("'agent.wasm' is no valid core WebAssembly module: " in err) is (content != whole) for _, _, err in (built, checked))


@pytest.mark.usefixtures("compiled")
@pytest.mark.skipif(sys.version_info >= (3, 14), reason="this Python reads whatever the guest's reads")
def test_build_takes_the_syntax_of_the_guests_python_though_this_one_is_older(rlp, home):
    rlp("scaffold", "reader")
    agent = home / ".runloop/agents/reader/agent.py"
    agent.write_text(
        agent.read_text()
        + "\ndef last(names):\n    try:\n        return names[-1]\n    except IndexError, KeyError:\n        return None\n"
    )
    code, out, _ = rlp("build", "reader", "--json")
    assert (code, json.loads(out)["changed"]) == (0, ["agent.py"])
    assert rlp("check", "reader")[0] == 0


@pytest.mark.usefixtures("compiled")
def test_build_and_check_remark_on_calls_that_the_policy_does_not_grant(rlp, home):
    rlp("scaffold", "reader", "--no-model", "--cap-fs", str(home))
    bundle = home / ".runloop" / "agents" / "reader"
    calls = "kb.search(topic); files.read(topic); emit.log(topic); files.write(topic, topic)\n    mail.send([])"
    (bundle / "agent.py").write_text(f"from runloop_agent import *\n\n\n@agent\ndef run(topic):\n    {calls}\n")
    write = (
        f"{bundle}/agent.py:6: files.write is called, and policy.caps grants no fs_rw: it will be denied; write fs_rw = […] in policy.caps"
    )
    send = f"{bundle}/agent.py:7: mail.send is called, and policy.caps grants no mail: it will be denied; write mail = true in policy.caps"
    warned = f"warning[bundle.call_not_granted]: {write}\nwarning[bundle.call_not_granted]: {send}\n"

    code, _, err = rlp("build", "reader", "--table")

    assert (code, err) == (0, warned)
    assert rlp("check", "reader", "--table") == (0, f"{bundle}: ok\n", warned)
    found = json.loads(rlp("check", "reader")[1])["agents"][0]
    assert (found["ok"], found["problems"], [each["where"]["line"] for each in found["remarks"]]) == (True, [], [6, 7])
    assert [each["code"] for each in json.loads(rlp("build", "reader")[1])["remarks"]] == ["bundle.call_not_granted"] * 2
    shipped = json.loads(rlp("check", "mailer", "writer", "critic", "contact_resolver", "context_gatherer", "assistant")[1])["agents"]
    assert [each["remarks"] for each in shipped] == [[]] * 6


@pytest.mark.usefixtures("compiled")
def test_build_and_check_remark_on_imports_that_end_the_agent_and_on_files_that_none_reaches(rlp, home):
    rlp("scaffold", "reader", "--no-model")
    bundle = home / ".runloop" / "agents" / "reader"
    (bundle / "agent.py").write_text(
        "import socket\nimport yaml\nimport requests\nfrom runloop_agent import agent\n\n\n@agent\ndef run(topic):\n    return 1\n"
    )
    (bundle / "calendar.py").write_text("")

    code, _, err = rlp("build", "reader", "--table")

    ends = "is imported, and neither the guest nor the bundle has it: the agent ends there"
    stand_in = "where only a package imports it, a file socket.py beside agent.py can stand in for it"
    assert (code, [line.partition(": ")[2].replace(f"{bundle}/", "") for line in err.splitlines()]) == (
        0,
        [
            f"agent.py:1: socket {ends}; an agent has no network; use runloop_agent.http; {stand_in}",
            f"agent.py:2: yaml {ends}; place the package beside agent.py, if it is pure Python",
            f"agent.py:3: requests {ends}; an agent has no network; use runloop_agent.http",
            "calendar.py:1: it is never imported: the guest has a module of that name, which comes first; rename it",
        ],
    )
    codes = [each["code"] for each in json.loads(rlp("check", "reader")[1])["agents"][0]["remarks"]]
    assert codes == [*["bundle.module_missing"] * 3, "bundle.module_hidden"]


@pytest.mark.usefixtures("compiled")
def test_build_and_check_remark_on_files_that_are_too_large_to_be_read(rlp, home):
    rlp("scaffold", "reader", "--no-model")
    bundle = home / ".runloop" / "agents" / "reader"
    (bundle / "table.csv").write_bytes(b"x" * 1024 * 1024)
    assert json.loads(rlp("build", "reader")[1])["remarks"] == []
    (bundle / "more.csv").write_bytes(b"x")

    code, _, err = rlp("build", "reader", "--table")

    assert (
        code,
        "its files that are no sources have 1,048,577 bytes; with more than 1,048,576 the agent can open none of them" in err,
    ) == (0, True)
    assert [each["code"] for each in json.loads(rlp("check", "reader")[1])["agents"][0]["remarks"]] == ["bundle.data_left_out"]


@pytest.mark.usefixtures("compiled")
def test_build_remarks_on_an_agent_that_is_too_large_to_run(rlp, home):
    rlp("scaffold", "reader", "--no-model")
    bundle = home / ".runloop" / "agents" / "reader"
    for number in range(4):
        path = bundle / f"lib/part{number}/tests/big.py"
        path.parent.mkdir(parents=True)
        path.write_text(f"X = '{'x' * 1024 * 1024}'\n")

    (remark,) = json.loads(rlp("build", "reader")[1])["remarks"]

    assert remark["code"] == "bundle.too_large"
    assert "no run of it begins" in remark["message"]
    assert "the tests of its packages (4,194,332 bytes)" in remark["hint"]


@pytest.mark.usefixtures("compiled")
def test_a_file_stands_in_for_a_module_that_the_guest_does_not_have(rlp, home):
    rlp("scaffold", "reader", "--no-model")
    bundle = home / ".runloop" / "agents" / "reader"
    (bundle / "agent.py").write_text(
        "import bz2, urllib.request\nfrom runloop_agent import agent\n\n\n@agent\ndef run(topic: str, sentences: int = 3) -> dict:\n"
        "    return {'out': {'text': bz2.NAME + urllib.request.NAME + urllib.parse.quote(topic)}}\n"
    )
    (bundle / "tests/cases.yaml").write_text("cases:\n  - {name: it runs, with: {topic: tea}, expect: {out: {text: ab/tea}}}\n")
    remarks = json.loads(rlp("build", "reader")[1])["remarks"]
    assert [each["code"] for each in remarks] == ["bundle.module_missing"] * 2
    assert "a file urllib/request.py beside agent.py can stand in" in remarks[1]["hint"]
    (bundle / "urllib").mkdir()
    (bundle / "urllib/request.py").write_text("import urllib.parse\nNAME = 'b/'\n")
    (bundle / "bz2.py").write_text("NAME = 'a'\n")

    assert json.loads(rlp("build", "reader")[1])["remarks"] == []
    assert rlp("test", "reader")[0] == 0


@pytest.mark.usefixtures("compiled")
def test_an_agent_in_asyncio_reads_what_lies_beside_it(rlp, home):
    rlp("scaffold", "reader", "--no-model")
    bundle = home / ".runloop" / "agents" / "reader"
    (bundle / "words.txt").write_text("the hour in {}: {:%H:%M}")
    (bundle / "agent.py").write_text(
        "import asyncio\nfrom datetime import UTC, datetime\nfrom pathlib import Path\nfrom zoneinfo import ZoneInfo\n"
        "from runloop_agent import agent\n\n\n@agent\nasync def run(topic):\n    await asyncio.sleep(0)\n"
        "    hour = datetime(2026, 7, 1, 12, tzinfo=UTC).astimezone(ZoneInfo(topic))\n"
        "    return {'text': Path(__file__).with_name('words.txt').read_text().format(topic, hour), 'mode': 'list', 'sources': []}\n"
    )
    (bundle / "tests" / "cases.yaml").write_text(
        "cases:\n- name: in Vienna\n  inputs: {topic: [Europe/Vienna]}\n"
        "  expect: {out: {text: 'the hour in Europe/Vienna: 14:00', mode: list, sources: []}}\n"
    )

    code, out, err = rlp("test", "reader", "--build", "--table")

    assert (code, out.splitlines()[-1]) == (0, "1 passed, 0 failed"), out + err


@pytest.mark.usefixtures("compiled")
def test_an_agent_whose_directory_has_another_name_is_named_by_check_build_and_who_looks_for_it(rlp, home):
    rlp("scaffold", "reader")
    agents = home / ".runloop" / "agents"
    (agents / "reader").rename(agents / "moved")

    for verb in ("check", "build"):
        code, _, err = rlp(verb, "moved", "--table")
        assert (code, "manifest declares agent 'reader', not 'moved'" in err) == (2, True)
    assert rlp("check", str(agents / "moved"))[0] == 0
    assert f"the agent in {agents / 'moved'} calls itself so: rename that directory" in rlp("show", "reader")[2]


@pytest.mark.usefixtures("compiled")
def test_build_says_what_changed_and_refuses_what_is_wrong(rlp, home):
    rlp("scaffold", "reader")
    bundle = home / ".runloop" / "agents" / "reader"
    (bundle / "words.py").write_text("X = 1\n")
    (bundle / "README.md").unlink()
    code, out, _ = rlp("build", "reader", "--table")
    assert code == 0
    assert out.splitlines()[:2] == ["added: words.py", "removed: README.md"]
    assert rlp("check", "reader", "--table")[0] == 0
    (bundle / "words.py").write_text("X = = 1\n")
    code, out, _ = rlp("build", "reader", "--json")
    assert (code, json.loads(out)["built"], json.loads(out)["problems"][0]["code"]) == (2, False, "bundle.python_syntax")
    code, out, err = rlp("build", "reader", "--table")
    assert (code, out, err.splitlines()[0]) == (2, "", "error[bundle.python_syntax]: not valid Python: invalid syntax")
    (bundle / "words.py").write_text("X = 2\n")
    _, out, _ = rlp("build", "reader", "--json")
    assert json.loads(out)["added"] == ["words.py"] or json.loads(out)["changed"] == ["words.py"]


def test_install_puts_an_agent_where_it_is_found(rlp, home, tmp_path):
    code, out, _ = rlp("scaffold", "reader", "--root", str(tmp_path / "mine"), "--json")
    assert (code, json.loads(out)) == (0, {"agent": "reader", "path": str(tmp_path / "mine" / "reader"), "opening": None})
    code, out, _ = rlp("install", str(tmp_path / "mine" / "reader"))
    assert (code, out.splitlines()) == (
        0, [f"installed reader 0.1.0 to {home}/.runloop/agents/reader", 'may   kb_read = ["events", "notes"]', "may   model = true"]
    )  # fmt: skip
    code, _, err = rlp("install", str(tmp_path / "mine" / "reader"))
    assert (code, err.splitlines()[0]) == (2, f"error[bundle.exists]: path already exists: {home}/.runloop/agents/reader")
    assert rlp("install", str(tmp_path / "mine" / "reader"), "--force")[0] == 0
    code, out, _ = rlp("install", str(tmp_path / "mine" / "reader"), "--force", "--json")
    assert (code, json.loads(out)["agent"], set(json.loads(out))) == (0, "reader", {"agent", "version", "digest", "signer", "path"})


def test_install_refuses_unsigned_agents_where_the_settings_say_so(rlp, tmp_path, monkeypatch):
    rlp("scaffold", "reader", "--root", str(tmp_path / "mine"))
    monkeypatch.setenv("RUNLOOP__SECURITY__ALLOW_UNSIGNED_AGENTS", "false")
    code, _, err = rlp("install", str(tmp_path / "mine" / "reader"))
    assert (code, err.startswith("error[policy.denied.unsigned]: agent reader is not signed")) == (4, True)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("scaffold", "Reader"), 2, "error[agent.name]: invalid agent name 'Reader' (use lowercase letters, digits, and underscores; "),
        (("show", "nobody"), 2, "error[bundle.not_found]: agent 'nobody' not found (searched: "),
        (("build", "nobody@late"), 2, "error[bundle.not_found]: agent 'nobody@late' not found (searched: "),
        (("show", "a@b!"), 2, "error[bundle.reference]: invalid agent reference 'b!'"),
        (("check", "./nowhere"), 2, "error[bundle.unreadable]: the bundle directory cannot be read: No such file or directory"),
        (("install", "https://evil.example/a.tar"), 2, "error[bundle.source]: unsupported URL scheme 'https'"),
    ],
)
def test_what_cannot_be_done_is_one_error_with_its_exit_code(rlp, arguments, code, message):
    actual, _, err = rlp(*arguments)
    assert (actual, err.startswith(message)) == (code, True)


@pytest.mark.parametrize("verb", ["build", "show"])
def test_who_names_a_directory_without_a_slash_is_told_how_to_say_it(rlp, verb, tmp_path, monkeypatch):
    rlp("scaffold", "reader", "--root", str(tmp_path / "mine"))
    monkeypatch.chdir(tmp_path / "mine")
    (tmp_path / "mine" / "reader").rename(tmp_path / "mine" / "copy")
    code, _, err = rlp(verb, "copy")
    assert (code, "hint: say ./copy for the directory" in err) == (2, True)
    assert rlp(verb, "./copy")[0] == 0


def test_tests_of_an_agent_need_cases(rlp, home):
    rlp("scaffold", "reader")
    assert rlp("test", "reader", "--only", "no such case")[2].startswith("error[agent.no_tests]: no case has 'no such case' in its name")
    (home / ".runloop" / "agents" / "reader" / "tests" / "cases.yaml").unlink()
    rlp("build", "reader")
    code, _, err = rlp("test", "reader")
    assert (code, err.splitlines()[0]) == (2, "error[agent.no_tests]: reader has no tests/cases.yaml")


@pytest.mark.usefixtures("compiled")
def test_an_altered_agent_is_not_tested_until_it_is_built(rlp, home):
    rlp("scaffold", "reader")
    (home / ".runloop" / "agents" / "reader" / "agent.py").write_text("x = = 1\n")
    assert rlp("test", "reader")[0] == 5
    code, _, err = rlp("test", "reader", "--build")
    assert (code, err.splitlines()[0]) == (2, "error[bundle.python_syntax]: not valid Python: invalid syntax")


def test_a_new_agent_passes_its_tests_in_the_sandbox_and_a_changed_one_fails_them(rlp, home, guest_cache, monkeypatch):
    monkeypatch.setenv("RUNLOOP__AGENTS__CACHE_DIR", str(guest_cache / "runloop"))
    rlp("scaffold", "reader")
    code, out, _ = rlp("test", "reader", "--table")
    assert (code, out.splitlines()[-1]) == (0, "4 passed, 0 failed")
    agent = home / ".runloop" / "agents" / "reader" / "agent.py"
    agent.write_text(agent.read_text().replace("Nothing is known", "Nobody knows"))
    code, out, _ = rlp("test", "reader", "--build", "--table")
    assert code == 1
    assert "FAIL a topic that nobody wrote about is said to be unknown" in out
    assert '-    "text": "Nothing is known about dragons."' in out
    code, out, _ = rlp("test", "reader", "--json", "--only", "dragons")
    assert code == 2
    code, out, _ = rlp("test", "reader", "--json", "--only", "unknown")
    report = json.loads(out)
    assert (code, report["passed"], report["failed"], report["cases"][0]["ok"]) == (1, 0, 1, False)


def test_every_command_explains_itself(rlp):
    code, out, _ = rlp("--help")
    assert code == 0
    for command in ("list", "show", "check", "scaffold", "build", "install", "test"):
        assert f"\n  {command} " in out
        assert rlp(command, "--help")[0] == 0


def test_a_run_of_an_agent_without_capabilities_is_refused_where_the_settings_say_so(rlp, tmp_path):
    from runloop.config import load
    from runloop.errors import Denied
    from runloop.runs.disk import DiskLookup

    rlp("scaffold", "reader", "--root", str(tmp_path / "mine"))
    bundle = tmp_path / "mine" / "reader"
    assert rlp("build", str(bundle))[0] == 0
    assert DiskLookup(load()).at(bundle).ref == "reader"
    strict = DiskLookup(load(flags={"security.caps.fail_on_empty": True}))
    (bundle / "policy.caps").write_text("[capabilities]\n")
    assert rlp("build", str(bundle))[0] == 0
    with pytest.raises(Denied) as caught:
        strict.at(bundle)
    assert (caught.value.code, caught.value.where.key) == ("policy.denied.no_capabilities", "security.caps.fail_on_empty")
    (bundle / "policy.caps").write_text("[capabilities]\nmodel = true\n")
    assert rlp("build", str(bundle))[0] == 0
    assert strict.at(bundle).ref == "reader"
