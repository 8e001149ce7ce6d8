"""What a shell lets through by itself: every denied line holds a needle, and a line with a sentence's words is asked about."""

import pytest

from runloop.router.hints import SENTENCE_WORDS, hints, needles
from runloop.router.values import RouterSettings


@pytest.mark.parametrize(
    ("denylist", "expected"),
    [
        ([], []),
        (["rm -rf /"], ["rm"]),
        (["rm -rf /", "rm -rf ~"], ["rm"]),
        (["mkfs*"], ["mkfs"]),
        (["/sbin/mk*fs.ext4"], ["fs.ext4"]),
        (["curl | sh"], ["curl"]),
        (["*"], [""]),
        (["f() { x; }"], [""]),
        (["'unbalanced"], [""]),
        ([""], [""]),
    ],
)
def test_a_needle_is_in_every_line_that_the_pattern_denies(denylist, expected):
    assert needles(denylist) == expected


def text_of(**changed):
    return hints(RouterSettings(**changed), ["/etc/c.yaml", "/odd\nname"], "a:b").splitlines()


def test_the_lines_say_what_the_shell_reads():
    lines = text_of(denylist=["rm -rf /"])

    assert lines[:4] == ["for a:b", "config /etc/c.yaml", "sigil ?", "needle rm"]
    assert set(lines[4].split()[1:]) == SENTENCE_WORDS


@pytest.mark.parametrize("changed", [{"denylist": ["*"]}, {"fastpath_shell": False}])
def test_where_any_line_may_be_held_every_line_is_asked_about(changed):
    assert "always" in text_of(**changed)


def test_without_a_sigil_none_is_named():
    assert not [line for line in text_of(sigil="", denylist=[]) if line.startswith(("sigil", "needle", "always"))]
