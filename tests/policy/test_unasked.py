"""What a policy file may not call read-only."""

from __future__ import annotations

import pytest

from runloop.policy.unasked import unasked_problem


@pytest.mark.parametrize(
    "line",
    [
        "ls", "cat /etc/hosts", "head", "wc", "grep", "jq .name", "jq -r .name", "date", "df", "git status", "git log --oneline",
        "git show HEAD", "/usr/bin/git diff", "git rev-parse HEAD", "docker ps", "kubectl get pods", "systemctl status",
        "systemctl list-timers", "pip list", "apt show", "python3 tool.py", "our-own-tool",
    ],
)  # fmt: skip
def test_what_only_reads_may_be_called_so(line):
    assert unasked_problem(tuple(line.split())) is None


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("curl", "curl sends what it is given to other machines"),
        ("/usr/bin/wget x", "wget sends what it is given to other machines"),
        ("dig", "dig sends what it is given to other machines"),
        ("tee", "tee writes files"),
        ("tar tf", "tar writes files"),
        ("sed", "sed does whatever it is told to"),
        ("make", "make does whatever it is told to"),
        ("git", "git may do more than read"),
        ("git push", "git push may do more than read"),
        ("git -C", "git -C may do more than read"),
        ("systemctl restart", "systemctl restart may do more than read"),
        ("git log push", "git destroys or overwrites"),
        ("xxd", "xxd writes files"),
        ("busctl", "busctl does whatever it is told to"),
        ("ps -f", "ps shows the environment of other programs, with the keys in it"),
        ("jq", "jq runs the filter that it is given; name the filter as one of the words"),
        ("yq -r", "yq runs the filter that it is given; name the filter as one of the words"),
        ("rm", "rm destroys or overwrites"),
        ("find . -delete", "find destroys or overwrites"),
    ],
)
def test_what_is_known_to_do_more_may_not(line, problem):
    assert unasked_problem(tuple(line.split())) == problem
