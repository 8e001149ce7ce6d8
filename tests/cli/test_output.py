import io
import json
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.cli import output
from runloop.cli.output import TableStyle, clean, clean_line, display_width, table_lines
from runloop.cli.showing import show_compiling
from runloop.errors import InvalidInput
from runloop.events.canonical import canonical, parse


def table(rows, width=80, **style):
    return table_lines(("name", "count"), rows, TableStyle(**style), width)


def test_a_table_has_a_header_a_rule_and_numbers_on_the_right():
    assert table([("ada", 1), ("grace hopper", 2000)]) == [
        "name         | count",
        "-------------+---------",
        "ada          |        1",
        "grace hopper |     2000",
    ]


def test_a_cell_that_does_not_fit_ends_in_an_ellipsis():
    assert table([("x" * 50, 1)], width=30)[2] == "x" * 21 + "… |     1"


def test_columns_are_as_wide_as_the_least_width_only_where_nothing_is_cut_for_it():
    assert table([("x" * 9, 1)], width=20)[2] == "x" * 9 + " |        1"
    assert table([("x" * 9, 1)], width=19)[2] == "x" * 9 + " |     1"


def test_a_wide_row_is_kept_whole_when_asked():
    assert table([("x" * 50, 1)], width=30, fit=False)[2] == "x" * 50 + " |        1"


def test_where_the_narrowest_columns_do_not_fit_each_row_is_a_block_of_lines():
    assert table([("x" * 50, 123456789), ("b", 2)], width=19)[1] == "---------+---------"
    assert table([("x" * 50, 123456789), ("b", 2)], width=18) == ["name   xxxxxxxxxx…", "count  123456789", "", "name   b", "count  2"]
    assert table([("x" * 50, 123456789)], width=18, fit=False)[1] == "-" * 51 + "+" + "-" * 10


@pytest.mark.parametrize(
    ("count", "note"), [(3, "… 1 more row (use --max-rows to adjust)"), (5, "… 3 more rows (use --max-rows to adjust)")]
)
def test_rows_that_are_left_out_are_counted(count, note):
    lines = table([("a", 1)] * count, max_rows=2)
    assert (len(lines), lines[-1]) == (5, note)


def test_columns_that_are_left_out_are_said():
    assert table([("a", 1)], max_cols=1) == ["name", "--------", "a", "columns truncated to first 1; use --max-cols to adjust"]


def test_values_of_every_type_stand_in_a_cell():
    shown = [line.split(" | ")[0].strip() for line in table([(None, 1), (True, 1), ({"a": [1]}, 1), ("two\nlines\t.", 1)])[2:]]
    assert shown == ["–", "true", '{"a": [1]}', "two\\nlines\\t."]


def test_wide_characters_count_two_columns_and_marks_none():
    assert [display_width(text) for text in ("abc", "日本", "e\u0301", "")] == [3, 4, 1, 0]
    assert [display_width(text) for text in ("สวัสดี", "क\u200dष", "❤\ufe0f")] == [4, 2, 2]
    assert table([("日本", 1), ("abcd", 2)])[2].index("|") == 7  # two characters fewer, the same columns


@given(st.text(), st.integers(1, 60))
def test_no_line_of_a_fitted_table_is_wider_than_the_terminal_or_drives_it(text, width):
    for line in table([(text, 1)], width=max(width, 8)):
        assert display_width(line) <= max(width, 8)
        assert clean_line(line) == line


@given(st.text())
def test_cleaning_twice_is_cleaning_once_and_leaves_nothing_that_drives_a_terminal(text):
    assert clean(clean(text)) == clean(text)
    assert not any((ord(char) < 32 and char not in "\n\t") or 0x7F <= ord(char) < 0xA0 for char in clean(text))


HIDING = "\u00ad\u034f\u115f\u200b\u2060\u2064\u206a\u3164\ufeff\ufff9\U0001d173\U000e0001\U000e0041\U000e0101"


@pytest.mark.parametrize("hidden", HIDING, ids=ascii)
def test_what_a_terminal_shows_as_nothing_is_shown_as_an_escape(hidden):
    escape = ascii(hidden)[1:-1]
    assert (clean(f"a{hidden}b"), clean_line(f"é{hidden}")) == (f"a{escape}b", f"é{escape}")
    assert json.loads(output.to_json(hidden)) == hidden


@given(st.text(), st.text())
def test_what_stands_beside_a_control_character_is_shown_as_it_is_without_one(before, after):
    assert clean(f"{before}\x1b{after}") == f"{clean(before)}\\x1b{clean(after)}"
    assert clean_line(f"{before}\x1b{after}") == f"{clean_line(before)}\\x1b{clean_line(after)}"


JOINED = [
    "👨\u200d👩\u200d👧",
    "❤\ufe0f\u200d🔥",
    "1\ufe0f\u20e3",
    "\u0646\u0627\u0645\u0647\u200c\u0627\u06cc",
    "क्\u200dष",
    "葛\ufe00",
]


@pytest.mark.parametrize("text", JOINED)
def test_joiners_stay_where_a_script_or_an_emoji_needs_them(text):
    assert clean(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u200db", "a\\u200db"),
        ("\u200c", "\\u200c"),
        ("é\u200d\u200d\u200c", "é\u200d\\u200d\\u200c"),
        ("👍\ufe0f\ufe0e", "👍\ufe0f\\ufe0e"),
        ("a\ufe0f\u200d", "a\\ufe0f\\u200d"),
        ("\u200b\u200d", "\\u200b\\u200d"),
    ],
)
def test_joiners_that_join_nothing_could_carry_a_hidden_message_and_are_shown(text, shown):
    assert clean(text) == shown


@given(st.text(st.sampled_from("aé👍1\u20e3\n\u200c\u200d\ufe0f\ufe00\u200b\u202e\U000e0041")))
def test_cleaning_twice_is_cleaning_once_for_joiners_too(text):
    assert (clean(clean(text)), clean_line(clean_line(text))) == (clean(text), clean_line(text))
    assert json.loads(output.to_json(text)) == text


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
)
def test_json_is_the_same_value_and_holds_no_control_character(value):
    text = output.to_json(value)
    assert json.loads(text) == value
    assert clean(text) == text


@pytest.mark.parametrize(("flags", "terminal", "expected"), [((0, 0), 1, 0), ((0, 0), 0, 1), ((1, 0), 1, 1), ((0, 1), 0, 0)])
def test_a_terminal_gets_a_table_and_everything_else_json_unless_asked(monkeypatch, flags, terminal, expected):
    monkeypatch.setattr(output, "is_terminal", lambda stream: bool(terminal))
    assert output.wants_json(as_json=bool(flags[0]), as_table=bool(flags[1])) is bool(expected)


def test_both_formats_at_once_are_refused():
    with pytest.raises(InvalidInput, match="exclude each other"):
        output.wants_json(as_json=True, as_table=True)


def test_rows_are_objects_in_json(capsys):
    output.print_rows(("a", "b"), [(1, "x")], as_json=True)
    assert json.loads(capsys.readouterr().out) == [{"a": 1, "b": "x"}]


@pytest.mark.parametrize(
    ("columns", "shown"), [(90, "Preparing the Python guest (once per machine) "), (30, "Preparing the Python guest (…")]
)
def test_a_line_of_progress_never_wraps(capsys, monkeypatch, columns, shown):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(output, "shows_progress", lambda: True)
    show_compiling(SimpleNamespace(done=False, elapsed_s=3.0, expected_s=12.0))
    line = capsys.readouterr().err.removeprefix("\r\x1b[K")
    assert (line.startswith(shown), len(line) < columns) == (True, True)


def test_an_empty_table_says_so(capsys):
    output.print_rows(("a",), [], as_table=True, empty="nothing here")
    assert capsys.readouterr().out == "nothing here\n"


def test_an_optional_column_is_left_out_of_a_table_where_nothing_is_in_it(capsys):
    for filled, header in ((None, "a        | b"), (1, "a        | x        | b")):
        output.print_rows(["a", "x", "b"], [[1, filled, 2]], as_table=True, optional=["x"])
        assert capsys.readouterr().out.splitlines()[0].rstrip() == header
    output.print_rows(["a", "x"], [[1, None]], as_json=True, optional=["x"])
    assert json.loads(capsys.readouterr().out) == [{"a": 1, "x": None}]


def test_the_column_that_names_the_rows_gives_way_last():
    rows = [["a_name_of_some_length", "x" * 40, "y" * 40]]
    assert output.table_lines(["a", "b", "c"], rows, output.TableStyle(), 50)[2].startswith("a_name_of_some_length | xxxxxxxx")
    assert output.table_lines(["a", "b", "c"], rows, output.TableStyle(), 40)[2].startswith("a_name_of_some_le… | xxxxxxx… | yyyyyyy…")


@pytest.mark.parametrize(
    ("words", "as_json"),
    [((), False), (("--json",), True), (("--errors-format", "json"), True), (("--json", "--errors-format", "table"), False)],
)
def test_how_a_run_says_its_errors_can_be_chosen_beside_what_it_prints(rlp, words, as_json):
    code, out, err = rlp("run", "no-such-opening", *words)
    assert (code, out) == (2, "")
    assert err.startswith('{"error": {"code": "opening.not_found"' if as_json else "error[opening.not_found]")


@pytest.mark.parametrize("when", ["shown", "read", "ended"])
def test_whatever_ends_a_question_the_next_line_is_one_of_its_own(monkeypatch, when):
    class Terminal(io.StringIO):
        def flush(self):
            if when == "shown" and self.getvalue() == "Sure? ":
                raise KeyboardInterrupt

    class Typed(io.StringIO):
        def readline(self):
            if when == "read":
                raise KeyboardInterrupt
            return ""

    shown = Terminal()
    monkeypatch.setattr("sys.stderr", shown)
    monkeypatch.setattr("sys.stdin", Typed())
    with pytest.raises(KeyboardInterrupt):
        output.heard("Sure? ")
    assert shown.getvalue() == "Sure? \n"


@pytest.mark.parametrize(("term", "shown"), [("xterm", "\r\x1b[Khalf"), ("dumb", "\rhalf               \rhalf")])
def test_a_line_of_progress_takes_the_place_of_the_one_before_on_any_terminal(capsys, monkeypatch, term, shown):
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("COLUMNS", "20")
    output.write_over("half")
    assert capsys.readouterr().err == shown


@pytest.mark.parametrize(("typed", "agrees"), [("yes", True), ("YES", True), ("y", False), ("yess", False), ("no", False)])
def test_what_cannot_be_taken_back_needs_the_whole_word(capsys, monkeypatch, typed, agrees):
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{typed}\n"))
    monkeypatch.setattr(output, "is_terminal", lambda stream: stream is sys.stdin)
    assert output.agreed("Forget it?") is agrees
    assert capsys.readouterr().err == "Forget it? Type yes: "


def test_where_nobody_sits_at_a_terminal_nobody_agrees(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    with pytest.raises(InvalidInput) as caught:
        output.agreed("Forget it?")
    assert caught.value.code == "cli.needs_answer"


def test_the_line_of_a_record_is_the_same_before_and_after_the_ledger_had_it():
    meta = {"z": 2.0, "a": [{"c": 1e300, "b": 0.5}], "m": -3.0}
    stored = parse(canonical(meta))
    line = output.record_line({"seq": 1, "meta": meta})
    assert line == output.record_line({"seq": 1, "meta": stored})
    assert line == '{"seq": 1, "meta": {"a": [{"b": 0.5, "c": 1e+300}], "m": -3, "z": 2}}'
