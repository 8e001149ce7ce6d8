"""`-p KEY=VALUE` of `rlp run` and `rlp fork`: in the type of the default, or refused in words that say what to write."""

import pytest

from runloop.cli.run import param_pairs, params_object, working_directory
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
