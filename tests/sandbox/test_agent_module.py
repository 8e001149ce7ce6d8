"""``runloop_agent`` on the host: for editors and authors' tests."""

from __future__ import annotations

import importlib.resources
import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest

import runloop_agent
from runloop.effects.catalogue import CATALOGUE
from runloop.sandbox.world import HOSTCALLS, NAMES
from runloop_agent import Denied, OutsideGuest, Unavailable, agent, emit, files, http, kb, model, timer
from runloop_agent.testing import answering

WIT = (Path(runloop_agent.__file__).parent.parent / "runloop/sandbox/wit/agent.wit").read_text()


def test_a_hostcall_outside_a_guest_says_what_to_do():
    with pytest.raises(OutsideGuest, match=r"model\.complete was called outside a Runloop agent.*rlp agent test"):
        model.complete("hi")
    with pytest.raises(OutsideGuest):
        emit.log("hi")


def test_an_authors_test_answers_calls_and_sees_them():
    with answering(
        {
            "kb.search": {"hits": [{"domain": "d", "key": "k"}]},
            "model.complete": lambda asked: {"text": asked["prompt"].upper()},
            "kb.get": Denied("no", "ask"),
        }
    ) as calls:
        assert kb.search("q")[0].key == "k"
        assert model.complete("hi").text == "HI"
        with pytest.raises(Denied, match=r"no \(ask\)"):
            kb.get("k")
        with pytest.raises(Unavailable, match=r"no answer for kb\.propose"):
            kb.propose("x", {})
        emit.progress("half")
    assert calls[0] == ("kb.search", {"query": "q"})
    with pytest.raises(OutsideGuest):
        kb.get("k")


CUT = {
    "files.read": (
        {"text": "ab", "bytes": 2},
        files.read,
        "~/a.txt",
        "max_bytes",
        "the first 2 bytes of ~/a.txt; offset=2 reads on, and max_bytes=8_388_608",
    ),
    "files.list": ({"entries": [{"path": "a"}]}, files.list, "~/a", "limit", "1 entries of ~/a; limit=10_000"),
    "http.fetch": (
        {"status": 200},
        http.fetch,
        "https://a.example",
        "max_bytes",
        "the first MiB of https://a.example; max_bytes=8_388_608",
    ),
    "kb.query": ({"rows": [{"a": 1}]}, kb.query, "SELECT 1", "limit", "1 rows; limit=1_000"),
}


@pytest.mark.parametrize("name", CUT)
def test_an_answer_that_a_default_cut_is_told_in_the_log_and_one_that_the_author_bounded_is_not(name):
    answer, ask, about, bound, said = CUT[name]
    told = ("emit.log", {"level": "warn", "text": f"{name} gave only {said} is the most that one call gives"})

    with answering({name: answer | {"truncated": True}}) as calls:
        assert ask(about).truncated
        assert ask(about, **{bound: 1}).truncated
    assert [call for call in calls if call[0] == "emit.log"] == [told]
    with answering({name: answer | {"truncated": False}}) as calls:
        assert not ask(about).truncated
    assert [call for call, _ in calls] == [name]
    most = CATALOGUE[name].args_schema["properties"][bound]["maximum"]
    assert said.endswith(f"{bound}={most:_}")


def test_a_part_of_a_file_is_asked_for_by_its_offset_and_says_where_the_next_one_begins():
    with answering({"files.read": {"text": "ab", "bytes": 2, "offset": 7, "size": 20, "truncated": True}}) as calls:
        part = files.read("~/a.log", offset=-13)
        files.read("~/a.log")
    assert (part.offset, part.end, part.size) == (7, 9, 20)
    assert [request for name, request in calls if name == "files.read"] == [{"path": "~/a.log", "offset": -13}, {"path": "~/a.log"}]
    assert calls[1][1]["text"].startswith("files.read gave only 2 bytes of ~/a.log from byte 7 on; offset=9 reads on")


def test_output_of_a_program_that_was_left_out_is_told_in_the_log():
    with answering({"exec.run": {"exit_code": 0, "truncated": True}}) as calls:
        runloop_agent.exec.run(["git", "log"])
    assert calls[1:] == [("emit.log", {"level": "warn", "text": "exec.run kept only the first 256 KiB of what git wrote"})]


def test_the_mark_leaves_a_function_callable():
    @agent
    def plain(x: int) -> int:
        return x + 1

    @agent()
    def called(x: int) -> int:
        return x + 2

    assert (plain(1), called(1)) == (2, 3)


def test_the_world_the_hostcalls_and_the_catalogue_name_the_same_functions():
    interface, named = "", set()
    for line in WIT.splitlines():
        if opened := re.match(r"interface ([a-z-]+) \{", line):
            interface = opened[1]
        elif found := re.match(r"  %?([a-z-]+): func\(request: string\) -> result<string, call-error>;", line):
            named.add(f"{interface}.{found[1].replace('-', '_')}")
    assert named == NAMES
    assert {name for name in CATALOGUE if name not in ("time.now", "random.bytes")} == NAMES
    assert all(hasattr(getattr(runloop_agent, interface), name) for interface, names in HOSTCALLS.items() for name in names)


def test_every_function_and_field_of_the_world_is_documented():
    lines = WIT.splitlines()
    bare = [
        line
        for before, line in itertools.pairwise(lines)
        if re.search(r": func\(|^interface |^world |  (record|enum) ", line) and "///" not in before
    ]
    assert bare == []


def test_editors_find_types(tmp_path):
    assert importlib.resources.files("runloop_agent").joinpath("py.typed").is_file()
    source = "from runloop_agent import kb, model\nreveal_type(model.complete('x').text)\nreveal_type(kb.search('q')[0].event_id)\nmodel.complete(3)\n"
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "-c", source],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert '"str"' in done.stdout
    assert "int | None" in done.stdout
    assert 'has incompatible type "int"; expected "str"' in done.stdout


def test_neither_the_module_nor_the_sandbox_package_loads_anything_heavy():
    code = "import sys, runloop.sandbox, runloop_agent; from runloop.sandbox import guest_digest; print({'wasmtime', 'asyncio', 'msgpack', 'blake3'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"


@pytest.mark.parametrize("seconds", [-1, float("nan")])
def test_a_wait_that_is_no_length_of_time_is_refused(seconds):
    with pytest.raises(ValueError, match="sleep length"):
        timer.sleep(seconds)


def test_a_field_of_an_answer_is_found_by_its_name_in_any_case():
    with answering({"http.fetch": {"status": 429, "headers": {"Retry-After": "3", "content-type": "text/plain"}}}):
        found = http.fetch("https://a.example").headers

    assert found == {"retry-after": "3", "content-type": "text/plain"}
    assert [found["Retry-After"], found.get("RETRY-AFTER"), "Content-Type" in found, found.get("Etag", "-"), 7 in found] == [
        "3",
        "3",
        True,
        "-",
        False,
    ]
    with pytest.raises(KeyError):
        found["etag"]
