"""The session part of docs/protocol.md says what the code does."""

import asyncio
import re
from pathlib import Path

from runloop.bus import BusLimits, frames
from runloop.bus.acl import RULES
from runloop.bus.drops import DropNotices
from runloop.daemon import control, people, reading
from runloop.rmp.registry import ID_OF

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
SECTION = PAGE.split("\n## The bus session\n", 1)[1].split("\n## ", 1)[0]


def part(heading):
    return SECTION.split(f"\n### {heading}\n", 1)[1].split("\n### ", 1)[0]


def test_every_code_that_the_bus_uses_is_explained_and_no_other():
    source = "".join(path.read_text() for path in (ROOT / "runloop" / "bus").glob("*.py"))
    used = set(re.findall(r"\"(bus\.[a-z_]+)\"", source))
    assert used == set(re.findall(r"`(bus\.[a-z_]+)`", part("Limits and codes")))


def test_the_session_frames_have_the_ids_and_types_of_the_code():
    rows = re.findall(r"^\| (\d+) \| `(\S+)` \|", part("The session frames"), re.MULTILINE)
    types = [value for name, value in vars(frames).items() if name.isupper() and isinstance(value, str) and not name.startswith("_")]
    assert sorted((int(number), type_) for number, type_ in rows) == sorted((ID_OF[type_], type_) for type_ in types if type_ in ID_OF)
    assert [int(number) for number, _ in rows] == list(range(frames.FIRST_ID, frames.LAST_ID + 1))


def test_the_keys_of_payloads_are_those_that_are_sent():
    text = part("The session frames")
    sent = [
        frames.Hello("client", "n", "1", "t", "r").payload(),
        frames.Subscribe(1, "a", "durable", 1, 1, 1).payload(),
        frames.Credit(1, 1, 1).payload(),
    ]
    assert [key for payload in sent for key in payload if f"`{key}`" not in text] == []
    assert [name for name in BusLimits().to_wire() if f"`{name}`" not in text] == []


def test_the_keys_of_a_drop_notice_are_those_that_are_sent():
    notices = DropNotices(1)
    notices.add("a", "overflow", 1, trace_id=1, msg_id=1, expires_at_ms=1)
    ((_, payload),) = notices.due(1_000_000)
    assert [key for key in payload if f"`{key}`" not in part("Time to live, duplicates, drops")] == []


def test_every_rule_of_who_may_do_what_is_on_the_page():
    assert [rule.pattern for rule in RULES if f"`{rule.pattern}`" not in part("Who may do what")] == []
    assert str(BusLimits().connections) in part("Limits and codes")
    assert str(BusLimits().subscriptions) in part("Limits and codes")


def test_every_verb_of_the_daemon_and_every_field_that_it_reads_is_on_the_page():
    text = part("The daemon's verbs")
    verbs = re.findall(r"`(\w+)`(\*?)", "".join(re.findall(r"^\| (`.+?) \|", text, re.MULTILINE)))
    assert {name for name, _ in verbs} == set(control.VERBS)
    assert {name for name, free in verbs if free} == control._FOR_EVERYBODY
    source = Path(control.__file__).read_text() + Path(reading.__file__).read_text()
    fields = re.findall(r"(?:reading\.\w+|text|maps_in)\(fields, \"(\w+)\"|fields\.get\(\"(\w+)\"", source.split("upstream's forms")[0])
    assert [name for pair in fields for name in pair if name and f"`{name}`" not in text] == []
    assert [each for each in _asked() if f"`{each}`" not in text] == []


def _asked():
    """The keys of what waits for a person."""
    source = Path(people.__file__).read_text()
    shown = re.findall(r"shown = \{(.*?)\n        \}", source, re.DOTALL)
    return {key for each in shown for key in re.findall(r'"(\w+)":', each)}


async def test_the_python_example_runs(serve, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", part("In Python"), re.DOTALL)
    server = await serve()

    async def control(request):
        return {"ok": request.payload["verb"]}

    server.on_request("rlp/ctrl", control)
    names = {}
    exec(code, names)
    task = asyncio.create_task(names["follow"](str(server.path), "f" * 64))
    shown = ""
    while "trace:1" not in shown:
        assert not task.done(), task.result()
        server.publish("rlp/runs/trace:1/events", "observation.run.event.v1", {"kind": "run.started"})
        await asyncio.sleep(0.01)
        shown += capsys.readouterr().out
    assert shown.splitlines()[:2] == ["status 0", "rlp/runs/trace:1/events {'kind': 'run.started'}"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
