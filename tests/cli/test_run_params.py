"""`-p KEY=VALUE` of `rlp run` and `rlp fork`: in the type of the default, or refused in words that say what to write."""

import io

import pytest

from runloop.cli.params import param_pairs, params_object
from runloop.cli.run import working_directory
from runloop.errors import InvalidInput

LONG = ["Q4 plan"] * 20
DECLARED = {"text": "tea", "count": 1, "yes": True, "list": ["é"], "map": {}, "any": None, "long": LONG, "quoted": {"who": "it's"}}


def test_text_stays_text_and_everything_else_is_read_as_json():
    pairs = ["text=5", "count=2.5", "yes=false", 'list=[1, "b"]', 'map={"a": 1}', "any=5", "unknown=1"]
    assert param_pairs(pairs, DECLARED, {}) == {
        "text": "5", "count": 2.5, "yes": False, "list": [1, "b"], "map": {"a": 1}, "any": "5", "unknown": "1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("pair", "message", "hint"),
    [
        ("count=x", "the parameter 'count' must be JSON like its default 1, and 'x' is not", "for example -p count='1'"),
        ("yes=no", "the parameter 'yes' must be JSON like its default true, and 'no' is not", "for example -p yes='true'"),
        ("list=a,b", """the parameter 'list' must be JSON like its default ["é"], and 'a,b' is not""", """for example -p list='["é"]'"""),
        (
            'map={"a": 1, "a": 2}',
            """the parameter 'map' must be JSON like its default {}, and '{"a": 1, "a": 2}' is not: the key 'a' stands twice""",
            "for example -p map='{}'",
        ),
        (
            "long=a,b",
            f"the parameter 'long' must be JSON like its default {str(LONG).replace(chr(39), chr(34))[:79]}…, and 'a,b' is not",
            """for example -p long='["a", "b"]'""",
        ),
        (
            "quoted=x",
            """the parameter 'quoted' must be JSON like its default {"who": "it's"}, and 'x' is not""",
            """for example -p quoted='{"key": "value"}'""",
        ),
        (
            "text=\udcff\udcfe",
            "'text=\ufffd\ufffd' holds bytes that are no UTF-8",
            "set the terminal to UTF-8, or convert it: iconv -f LATIN1 -t UTF-8",
        ),
        ("count", "-p takes KEY=VALUE, not 'count'", "for example -p topic='Q4 plan'"),
    ],
)
def test_what_is_none_is_refused_in_words_of_the_opening(pair, message, hint):
    with pytest.raises(InvalidInput) as caught:
        param_pairs([pair], DECLARED, {})
    assert (caught.value.code, caught.value.message, caught.value.hint) == ("run.params", message, hint)


def test_params_with_bytes_that_are_no_text_are_refused_in_the_same_words():
    with pytest.raises(InvalidInput) as caught:
        params_object('{"text": "\udcff"}')
    assert (caught.value.message, caught.value.where.key) == ("""'{"text": "\ufffd"}' holds bytes that are no UTF-8""", "--params")


def test_params_come_from_a_file_or_from_standard_input_too(tmp_path, monkeypatch):
    long = "x" * 300_000  # no argument of a program may be as long
    (tmp_path / "p.json").write_text(f'\ufeff{{"text": "{long}"}}\n')
    assert params_object(f"@{tmp_path}/p.json") == {"text": long}
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"text": "@file"}')))
    assert params_object("@-") == {"text": "@file"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "--params cannot be read: No such file or directory"),
        (b"{", "--params is not JSON: Expecting property name enclosed in double quotes"),
        (b"[1]", "params must be a JSON object"),
        (b'{"a": "\xff"}', "--params is not UTF-8 at byte 7"),
        (b'{"a": 1, "a": 2}', "--params is not JSON: the key 'a' stands twice"),
        (b"", "--params is not JSON: Expecting value"),
    ],
)
def test_a_file_that_is_no_object_is_named(tmp_path, content, message):
    path = tmp_path / "p.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInput) as caught:
        params_object(f"@{path}")
    assert (caught.value.code, caught.value.where.key, caught.value.where.file) == ("run.params", "--params", str(path))
    assert caught.value.message.startswith(message)


def test_a_file_without_an_end_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr("runloop.cli.params._MOST_BYTES", 1000)
    with pytest.raises(InvalidInput) as caught:
        params_object("@/dev/zero")
    assert caught.value.message == "--params is longer than 0 MiB"


def test_a_working_directory_whose_name_is_no_text_is_named(tmp_path, monkeypatch):
    place = tmp_path / "caf\udce9"
    place.mkdir()
    monkeypatch.chdir(place)
    with pytest.raises(InvalidInput) as refused:
        working_directory()
    assert (refused.value.code, "caf\\udce9" in refused.value.message) == ("config.path_not_text", True)


def test_a_working_directory_is_kept_as_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert working_directory() == str(tmp_path)
