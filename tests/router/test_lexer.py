import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.router import lexer
from runloop.router.lexer import MAX_DEPTH, read


def commands(text):
    return [(each.joined, [word.text for word in each.words]) for each in read(text).commands]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b", [("", ["a", "b"])]),
        ("a | b && c || d; e & f", [("", ["a"]), ("|", ["b"]), ("&&", ["c"]), ("||", ["d"]), (";", ["e"]), ("&", ["f"])]),
        ("a 'b c' \"d $e\" f\\ g", [("", ["a", "b c", "d $e", "f g"])]),
        ('"a\\"b\\\\c\\d\\\ne"', [("", ['a"b\\c\\de'])]),
        ("a $(b c) d", [("", ["b", "c"]), ("", ["a", "$(b c)", "d"])]),
        ('"x $(b) y"', [("", ["b"]), ("", ["x $(b) y"])]),
        ("a b$(c)d e`f`g", [("", ["c"]), ("", ["f"]), ("", ["a", "b$(c)d", "e`f`g"])]),
        ("a b$c d${e}f", [("", ["a", "b$c", "d${e}f"])]),
        ("`a$(b)`", [("", ["b"]), ("", ["a$(b)"]), ("", ["`a$(b)`"])]),
        ("a `b` c", [("", ["b"]), ("", ["a", "`b`", "c"])]),
        ("(a; b) | c", [("", ["a"]), (";", ["b"]), ("|", ["c"])]),
        ("diff <(a) >(b)", [("", ["a"]), ("", ["b"]), ("", ["diff", "<(a)", ">(b)"])]),
        ("f() { a; }", [("()", ["{", "a"]), (";", ["}"])]),
        ("case x in a) b;; esac", [("", ["case", "x", "in", "a"]), (")", ["b"]), (";;", ["esac"])]),
        ("a b (c d) e)", [("", ["a", "b", "(c", "d"]), (")", ["e"])]),
        ("case x in a) b;; c) d;; esac; f", [("", ["case", "x", "in", "a"]), (")", ["b"]), (")", ["d"]), (";;", ["esac"]), (";", ["f"])]),
        ("do case x in a) b;; c) d;; esac", [("", ["do", "case", "x", "in", "a"]), (")", ["b"]), (")", ["d"]), (";;", ["esac"])]),
        ("a # b\nc", [("", ["a"]), ("\n", ["c"])]),
        ("# all", []),
        ("a#b", [("", ["a#b"])]),
        ("a\\\nb", [("", ["ab"])]),
        ("a $'b c' $\"d\"", [("", ["a", "b c", "d"])]),
        ("a ${b} $c $1 $", [("", ["a", "${b}", "$c", "$1", "$"])]),
        ("x=(a $(b)) c", [("", ["b"]), ("", ["c"])]),
        ("echo $((1<<2)) a\nb", [("", []), ("", ["echo", "$((1<<2))", "a"]), ("\n", ["b"])]),
        ("a 'b", [("", ["a", "b"])]),
        ('a "b', [("", ["a", "b"])]),
        ("a ${b", [("", ["a", "${b"])]),
        ("a \\", [("", ["a", ""])]),
        ("{a,b}", [("", ["{a,b}"])]),
    ],
)
def test_words_and_what_joins_them(text, expected):
    assert commands(text) == expected


@pytest.mark.parametrize(("text", "ended"), [("a;", True), ("a & ", True), ("a; b", False), ("a", False), ("a |", False)])
def test_a_list_may_end_with_what_ends_a_command(text, ended):
    assert read(text).ended is ended


def test_assignments_stand_before_the_command():
    command = read("A=1 B='x y' c D=2").commands[0]
    assert [word.text for word in command.assignments] == ["A=1", "B=x y"]
    assert [word.text for word in command.words] == ["c", "D=2"]
    assert [word.text for word in read("A=1").commands[0].assignments] == ["A=1"]


def test_redirections_and_their_targets():
    assert read("a >b 2>&1 <c >>d &>e <> f").commands[0].redirects == [
        (">", "b"),
        ("2>&", "1"),
        ("<", "c"),
        (">>", "d"),
        ("&>", "e"),
        ("<>", "f"),
    ]
    for operator in (">", "<", "<<", "<<<", "2>", "&>"):
        (command,) = read(f"a {operator}").commands
        assert (command.redirects, command.inputs) == ([(operator, "")], [])
    assert read("a > | b").commands[0].redirects == [(">", "")]
    assert read("a <<<'x y'").commands[0].inputs == ["x y"]


def test_here_documents_are_no_commands():
    script = read("cat <<E <<-F | sh\none\nE\n\ttwo\n\tF\nls")
    assert [command.inputs for command in script.commands] == [["one", "two"], [], []]
    assert [command.words[0].text for command in script.commands] == ["cat", "sh", "ls"]
    assert read("cat <<E\nnever closed").commands[0].inputs == ["never closed"]


@pytest.mark.parametrize("text", ["'", '"', "$(", "`", "${", "(", '"$(', "a=(", "$'a\\'", "${a:-'}", "${" * (MAX_DEPTH + 1) + "}"])
def test_what_is_not_closed_is_marked(text):
    assert "unbalanced" in read(text).marks


@pytest.mark.parametrize(
    "text", ["''", '""', "$()", "``", "${}", "()", "it is", "a=()", "$'\\''", '"$\'"', '"${a:-\'}"', "cat <<E\nit's $(5\nE"]
)
def test_what_is_closed_is_not(text):
    assert "unbalanced" not in read(text).marks


def test_nesting_ends_somewhere():
    assert "too_deep" in read("$(" * (MAX_DEPTH + 1)).marks
    assert "too_deep" not in read("$(" * MAX_DEPTH).marks
    assert "too_deep" in read("$(" * MAX_DEPTH + "`ls`").marks


@given(
    st.lists(st.sampled_from(["a", "b=c", "--x", "é", "d=", " ", "\t", "\u3000", "*", "=", "?", "\r", "x[1]=y"]), max_size=12).map(" ".join)
)
def test_words_alone_are_read_the_same_by_either_reader(text):
    slow = lexer._Reader(text)
    slow.commands(None, 0)

    def shown(script):
        return [
            (
                [(word.text, word.raw, word.quoted, word.expands) for word in each.words],
                [word.raw for word in each.assignments],
                each.joined,
                each.depth,
            )
            for each in script.commands
        ], script.marks

    assert shown(read(text)) == shown(slow.script)
