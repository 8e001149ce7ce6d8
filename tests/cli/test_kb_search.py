"""Searching as a person does it, with each sort of embedder; the provider is a real server."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from runloop.cli.kb.searching import KINDS
from runloop.config.table_vectors import DOCUMENTS
from runloop.kb.derived import DOMAINS

SUPPORT = Path(__file__).parents[1] / "support"


@pytest.fixture
def notes(rlp, tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "plan.md").write_text("# Plan\n\nThe launch of the product is on 12 March.\n")
    (folder / "cake.md").write_text("# Recipe\n\nApple cake needs flour and sugar.\n")
    assert rlp("kb", "import", "notes", folder)[0] == 0
    return folder


@pytest.fixture(scope="module")
def provider():
    spec = importlib.util.spec_from_file_location("support_processes", SUPPORT / "processes.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.serving("model_server.py", "--port", "0") as server:
        yield server


def found(out):
    return [Path(hit["path"]).name for hit in json.loads(out)]


def test_the_kinds_are_named_alike_everywhere():
    assert KINDS.replace(" or ", ", ").split(", ") == list(DOMAINS) == list(DOCUMENTS)


def test_a_hit_says_where_it_comes_from_and_why_it_is_there(rlp, notes):
    code, out, err = rlp("search", "launch product", "--kind", "notes", "--words")
    [hit] = json.loads(out)
    assert (code, err) == (0, "")
    assert (hit["domain"], hit["event_id"], hit["path"], hit["line"]) == ("notes", hit["event_id"], str(notes / "plan.md"), 1)
    assert [hit["excerpt"][start:end] for start, end in hit["marks"]] == ["launch", "product"]
    assert hit["parts"]["text_place"] == 1
    assert hit["parts"]["stage"] == 0
    assert isinstance(hit["ts_ms"], int)


def test_times_leave_out_what_is_older_or_newer(rlp, notes):
    assert found(rlp("search", "launch", "--since", "1h")[1]) == ["plan.md"]
    assert found(rlp("search", "launch", "--until", "1h")[1]) == []
    code, _, err = rlp("search", "launch", "--since", "someday")
    assert (code, "cli.time" in err) == (2, True)


def test_a_mistaken_query_finds_what_it_can_and_says_what_is_wrong(rlp, notes):
    code, out, err = rlp("search", "(launch OR cake", "--words")
    assert (code, sorted(found(out))) == (0, ["cake.md", "plan.md"])
    assert err == "warning[kb.query_remark]: this ( is never closed (character 1 of '(launch OR cake')\n"
    code, _, err = rlp("search", "(launch OR cake", "--words", "--json")
    assert json.loads(err)["warning"]["code"] == "kb.query_remark"
    code, _, err = rlp("search", "(launch OR " * 5000, "--words")
    assert (code, len(err) < 10_000, "only the first 32 words count" in err or "16 deep at most" in err) == (0, True, True)
    code, out, err = rlp("search", "***", "--table")
    assert (code, out) == (0, "nothing found\n")
    assert "there is no word to look for" in err
    code, _, err = rlp("search", "x", "--kind", "dreams")
    assert (code, "kb.unknown_domain" in err) == (2, True)


def test_vectors_are_made_on_request_and_find_misspelt_words(rlp, notes):
    assert found(rlp("search", "lanch prodct")[1]) == []
    assert rlp("kb", "embed", "--status", "--table")[1] == "no vectors yet of 2 documents; embedder hashed-3\n"
    code, out, _ = rlp("kb", "embed", "--limit", "1")
    assert (code, json.loads(out)["made"], json.loads(out)["embedded"]) == (0, 1, 1)
    assert "1 of 2 documents have a vector" in rlp("search", "lanch prodct")[2]
    code, out, _ = rlp("kb", "embed", "--table")
    assert out == "1 made, 0 removed\n2 of 2 documents have a vector (384 numbers, hashed-3, sqlite-vec)\n"
    code, out, err = rlp("search", "lanch prodct")
    assert (found(out), err) == (["plan.md"], "")
    assert found(rlp("search", "lanch prodct", "--words")[1]) == []


@pytest.mark.parametrize(("kind", "path"), [("http_openai_chat", "/v1/embeddings"), ("http_ollama", "/api/embed")])
def test_a_provider_makes_the_vectors_where_it_is_named(rlp, notes, home, provider, kind, path):
    provider.reset()
    home.joinpath("config.yaml").write_text(
        f"""models:
  broker:
    providers:
      - {{id: here, kind: {kind}, base_url: "http://127.0.0.1:{provider.port}"}}
kb:
  vectors: {{embedder: "here:small"}}
"""
    )
    code, out, err = rlp("kb", "embed")
    assert (code, err) == (0, "")
    assert {key: json.loads(out)[key] for key in ("embedder", "made", "dimensions")} == {
        "embedder": "here:small",
        "made": 2,
        "dimensions": 3,
    }
    assert [request["path"] for request in provider.requests()] == [path]
    texts = provider.requests()[0]["body"]["input"]
    assert [text.splitlines()[0] for text in texts] == ["Plan", "Recipe"] or [text.splitlines()[0] for text in texts] == ["Recipe", "Plan"]
    code, out, err = rlp("search", "sugar")
    assert (code, err) == (0, "")
    assert json.loads(out)[0]["parts"].keys() >= {"text_place", "vectors_place", "rrf"}


def test_without_an_answer_from_the_provider_the_words_find_something(rlp, notes, home, provider):
    config = """models:
  broker:
    providers:
      - {{id: here, kind: http_ollama, base_url: "http://127.0.0.1:{port}"}}
kb:
  vectors: {{embedder: "here:{model}"}}
"""
    home.joinpath("config.yaml").write_text(config.format(port=provider.port, model="unauthorized"))
    code, _, err = rlp("kb", "embed")
    assert code != 0
    assert "Traceback" not in err
    rlp("kb", "embed")
    code, out, err = rlp("search", "launch")
    assert (code, found(out)) == (0, ["plan.md"])


@pytest.mark.parametrize("name", ["nothing:x", "hashd"])
def test_an_embedder_that_is_none_is_refused_with_what_there_is(rlp, notes, monkeypatch, name):
    monkeypatch.setenv("RUNLOOP__KB__VECTORS__EMBEDDER", name)
    code, _, err = rlp("kb", "embed")
    assert (code, "kb.unknown_embedder" in err, "wordllama" in err) == (2, True, True)
    code, out, err = rlp("search", "launch")
    assert (code, found(out)) == (0, ["plan.md"])
    assert err.startswith("warning[kb.unknown_embedder]: by words alone: ")


def test_a_model_that_is_not_installed_says_how_to_get_it(rlp, notes, monkeypatch):
    monkeypatch.setenv("RUNLOOP__KB__VECTORS__EMBEDDER", "wordllama")
    if importlib.util.find_spec("wordllama") is not None:
        monkeypatch.setattr("importlib.metadata.version", _missing)
    code, _, err = rlp("kb", "embed")
    assert (code, "runloop[semantic]" in err) == (3, True)


def _missing(name):
    raise importlib.metadata.PackageNotFoundError(name)


def test_the_sentence_model_knows_what_is_meant_and_needs_no_network(rlp, notes, monkeypatch):
    pytest.importorskip("wordllama")
    monkeypatch.setenv("RUNLOOP__KB__VECTORS__EMBEDDER", "wordllama")
    monkeypatch.setattr("socket.socket.connect", lambda *_: sys.exit("the network was asked"))
    assert rlp("kb", "embed")[0] == 0
    assert found(rlp("search", "dessert baking")[1]) == ["cake.md"]


def test_vectors_can_be_switched_off(rlp, notes, monkeypatch):
    monkeypatch.setenv("RUNLOOP__KB__VECTORS__EMBEDDER", "off")
    code, _, err = rlp("kb", "embed")
    assert (code, "kb.vectors_off" in err) == (2, True)
    assert found(rlp("search", "launch")[1]) == ["plan.md"]
