"""Openings by path and by name, and what is said where something else stands there."""

import os

import pytest

from runloop.errors import InvalidInput
from runloop.runs.lookup import find_opening, known_openings, named_opening


def refusal(name, *directories):
    with pytest.raises(InvalidInput) as caught:
        find_opening(name, directories)
    return caught.value.code, caught.value.message.rpartition(": ")[2], caught.value.hint


def stand(path, kind):
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path if kind == "circle" else "nowhere")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("directory", "it is a directory"),
        ("pipe", "it is a pipe, a socket or a device, and no file"),
        ("circle", "it is a link to '{path}', which leads nowhere"),
        ("link", "it is a link to 'nowhere', which leads nowhere"),
    ],
)
def test_what_is_no_file_is_named_by_path_and_by_name_and_never_waited_for(tmp_path, kind, said):
    path = tmp_path / "daily.yaml"
    stand(path, kind)
    expected = ("opening.unreadable", said.format(path=path), "name a file that you may read")
    assert (refusal(str(path)), refusal("daily", tmp_path)) == (expected, expected)


def test_a_file_further_on_in_the_search_is_found_behind_what_is_none(tmp_path):
    (tmp_path / "one" / "daily.yaml").mkdir(parents=True)
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "daily.yaml").write_text("version: 0\n")
    assert find_opening("daily", (tmp_path / "one", tmp_path / "two")).source == "version: 0\n"


def test_the_name_that_is_not_found_is_not_offered_as_the_nearest(tmp_path):
    (tmp_path / "daily.yaml").mkdir()
    assert known_openings([tmp_path]) == ["daily"]
    assert "daily" not in refusal("daily", tmp_path)[2]
    assert refusal("dialy", tmp_path)[2] == "did you mean 'daily'?"


@pytest.mark.parametrize("name", ["x" * 300, "a/" + "x" * 300, "a\0b", "./a\0b.yaml"])
def test_what_can_be_no_path_is_not_found(tmp_path, name):
    assert refusal(name, tmp_path)[0] == "opening.not_found"


def test_bytes_that_are_no_utf8_have_the_code_place_and_words_that_the_check_has(tmp_path):
    from runloop.openings import OpeningError, parse_opening

    path = tmp_path / "daily.yaml"
    path.write_bytes("version: 0\nname: bü".encode() + b"\xff")
    with pytest.raises(InvalidInput) as found:
        find_opening(str(path), ())
    with pytest.raises(OpeningError) as checked:
        parse_opening(path.read_bytes(), file=str(path))
    said = [(each.code, each.message, each.where.line, each.where.column) for each in (found.value, checked.value)]
    assert said == [("opening.not_utf8", "byte 0xff is not UTF-8", 2, 9)] * 2


def test_by_name_alone_no_file_is_read_that_lies_elsewhere(tmp_path, monkeypatch):
    (known := tmp_path / "known").mkdir()
    (known / "letter.yaml").write_text("version: 0\nname: letter\n")
    for name in ("secret", ".env", "secret.yaml"):
        (tmp_path / name).write_text("password: hunter2\n")
    monkeypatch.chdir(tmp_path)
    assert named_opening("letter", [known]).file == str(known / "letter.yaml")
    codes = {}
    for name in ("secret", ".env", "secret.yaml", "./secret", str(tmp_path / "secret"), "../known/letter", "..", "/etc/shadow"):
        with pytest.raises(InvalidInput) as refused:
            named_opening(name, [known])
        codes[name] = refused.value.code
    assert codes.pop("secret") == "opening.not_found"
    assert {*codes.values()} == {"opening.no_name"}
    assert find_opening("secret", [known]).source == "password: hunter2\n"  # a person at the command line may name any file
