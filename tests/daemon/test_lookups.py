"""What requests look up in threads: one thing at a time for each connection, and nothing for one that ended."""

import asyncio
import gc
import threading
from types import SimpleNamespace

import pytest

from runloop.bus.session import Peer
from runloop.config import load
from runloop.daemon.app import _limits
from runloop.daemon.control import Control
from runloop.daemon.lookups import Lookups
from runloop.errors import InvalidInput, RunloopError
from runloop.router import reply


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def at_once(session):
    """Every connection has room for answers."""


async def test_each_connection_has_one_turn_at_a_time_and_what_ended_has_none():
    sessions, begun, go_on = {"a", "b"}, [], asyncio.Event()
    lookups = Lookups(sessions, at_once)

    async def look_up(session, number):
        async def work():
            begun.append(f"{session}{number}")
            await go_on.wait()

        await lookups.look(Peer(1, 1, 1, session=session), work)

    waiting = [asyncio.create_task(look_up(session, number)) for session, number in (("a", 1), ("a", 2), ("b", 1), ("a", 3))]
    await settle()
    assert begun == ["a1", "b1"]
    waiting[1].cancel()
    go_on.set()
    await settle()
    assert begun == ["a1", "b1", "a3"]
    await asyncio.gather(*waiting, return_exceptions=True)
    waiting.clear()
    await settle()
    gc.collect()  # what was cancelled leaves a cycle
    assert not lookups._turns
    sessions.remove("a")
    with pytest.raises(RunloopError) as caught:
        await look_up("a", 4)
    assert caught.value.code == "bus.closed"


async def test_nothing_is_looked_up_for_who_does_not_read_answers_and_nobody_else_waits_for_that():
    reading, begun = asyncio.Event(), []

    async def room(session):
        if session == "a":
            await reading.wait()

    lookups = Lookups({"a", "b"}, room)

    async def look_up(session):
        async def work():
            begun.append(session)

        await lookups.look(Peer(1, 1, 1, session=session), work)

    waiting = [asyncio.create_task(look_up(session)) for session in "aab"]
    await settle()
    assert begun == ["b"]
    reading.set()
    await asyncio.gather(*waiting)
    assert begun == ["b", "a", "a"]


async def test_a_turn_lasts_as_long_as_its_thread_also_where_nobody_waits_for_the_answer_any_more():
    lookups, begun, go_on = Lookups({"a"}, at_once), [], threading.Event()

    async def look_up(number):
        async def work():
            begun.append(number)
            await asyncio.to_thread(go_on.wait)
            if number == 1:
                raise RunloopError("it could not be read")

        await lookups.look(Peer(1, 1, 1, session="a"), work)

    waiting = [asyncio.create_task(look_up(number)) for number in (1, 2)]
    await settle()
    waiting[0].cancel()  # its time is up
    await asyncio.wait(waiting[:1])
    await settle()
    assert begun == [1]
    go_on.set()
    await waiting[1]
    assert begun == [1, 2]


def routing(tmp_path):
    broker = SimpleNamespace(sessions={"a"})
    return Control(SimpleNamespace(bus=SimpleNamespace(broker=broker, room=at_once), settings=load(env={"HOME": str(tmp_path)})))


@pytest.mark.parametrize(
    ("length", "more", "in_a_thread"),
    [
        (2_048, {}, False), (2_049, {}, True), (9, {"expanded": "x" * 2_039}, False), (9, {"expanded": "x" * 2_040}, True),
        (9, {"aliases": {"ll": "ls " * 679}}, False), (9, {"aliases": {"ll": "ls " * 679, "la": "ls"}}, False),
        (9, {"aliases": {"ll": "ls " * 679, "la": "ls -a"}}, True),
    ],
)  # fmt: skip
async def test_where_a_long_line_goes_is_looked_up_beside_everything_else(monkeypatch, tmp_path, length, more, in_a_thread):
    control = routing(tmp_path)
    where, decide = [], reply.route_reply

    def looking(*given, **more):
        where.append(threading.current_thread())
        return decide(*given, **more)

    monkeypatch.setattr(reply, "route_reply", looking)
    asked = {"line": ("ls;" * length)[:length], "facts": {"commands": ["ls"], "files": [], **more}, "brief": True}
    found = await control.route(asked, Peer(1, 1, 1, session="a"))
    assert (found["route"], "features" in found, where[0] is not threading.current_thread()) == ("shell", False, in_a_thread)


@pytest.mark.parametrize("role", ["operator", "client", "agent"])
@pytest.mark.parametrize("line", ["secrets.txt", "cat secrets.txt", "./prog", "prog the thing", "~/secrets.txt is it there", "nice prog"])
async def test_nobody_learns_from_the_router_what_lies_in_a_directory_that_they_name(tmp_path, line, role):
    """A program that reaches the socket may be one that sees none of the user's files."""
    bare, full = tmp_path / "bare", tmp_path / "full"
    for directory in (bare, full):
        directory.mkdir()
    (full / "secrets.txt").touch()
    (full / "prog").touch(0o755)
    said = []
    for directory in (bare, full):
        facts = {"cwd": str(directory), "path": str(directory), "commands": [], "files": []}
        said.append(await routing(directory).route({"line": line, "facts": facts}, Peer(1, 1, 1, session="a", role=role)))
    assert said[0] == said[1]


@pytest.mark.parametrize("name", ["commands", "files"])
async def test_who_asks_where_a_line_goes_says_which_words_are_programs_and_files(tmp_path, name):
    facts = {"cwd": "/", "path": "/bin", "commands": [], "files": []}
    del facts[name]
    with pytest.raises(InvalidInput) as refused:
        await routing(tmp_path).route({"line": "ls", "facts": facts}, Peer(1, 1, 1, session="a"))
    assert (refused.value.code, refused.value.where.key) == ("ctrl.invalid", f"facts.{name}")


async def test_of_strangers_one_long_line_is_looked_at_at_a_time_and_operators_do_not_wait_for_it(monkeypatch, tmp_path):
    control, begun, go_on = routing(tmp_path), [], threading.Event()
    control._lookups = Lookups(sessions := set("abcde"), at_once)

    def looking(line, *_given, **_more):
        begun.append(line[0])
        go_on.wait()
        return {"features": []}

    monkeypatch.setattr(reply, "route_reply", looking)
    roles = {session: "operator" if session in "de" else "client" for session in sorted(sessions)}
    asked = {"facts": {"commands": [], "files": []}}
    waiting = [
        asyncio.create_task(control.route({**asked, "line": session * 3_000}, Peer(1, 1, 1, session=session, role=role)))
        for session, role in roles.items()
    ]
    while len(begun) < 3:
        await asyncio.sleep(0)
    await settle()
    assert sorted(begun) == ["a", "d", "e"]
    go_on.set()
    await asyncio.gather(*waiting)
    assert sorted(begun) == ["a", "b", "c", "d", "e"]


def test_the_bus_holds_as_much_as_the_setting_says(tmp_path):
    settings = load(env={"HOME": str(tmp_path)}, flags={"runtime.max_waiting_bytes": 20_000_000})
    assert _limits(settings).waiting_bytes == 20_000_000
