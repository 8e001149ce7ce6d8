import pytest

from runloop.router.reply import route_reply
from runloop.router.values import RouterSettings, ShellFacts

FACTS = ShellFacts("bash", commands=["ls", "find"])


@pytest.mark.parametrize(
    ("line", "route", "code"),
    [("ls", "shell", 10), ("what is up with the build?", "agent", 11), ("find me a good restaurant", "ask", 13), ("rm -rf /", "shell", 14)],
)
def test_a_reply_says_the_route_and_the_exit_code(line, route, code):
    reply = route_reply(line, FACTS, RouterSettings())
    assert list(reply) == ["version", "route", "rule", "blocked", "confidence", "exit"]
    assert (reply["version"], reply["route"], reply["exit"], reply["blocked"]) == (1, route, code, code == 14)


def test_an_explained_reply_has_features_and_a_reason():
    reply = route_reply("ls -la", FACTS, RouterSettings(), explain=True)
    assert reply["features"] == [{"feature": "command:ls", "weight": -3.2}, {"feature": "option:-la", "weight": -2.6}]
    assert reply["reason"] == "'ls' is a command of the shell"
