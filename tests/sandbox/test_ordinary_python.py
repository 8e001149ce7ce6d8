"""What people write without a thought of a sandbox: time zones, asyncio, files that lie beside the agent, misspelt arguments."""

import pytest

from runloop.sandbox import CallError, GuestError

pytestmark = pytest.mark.usefixtures("host")


async def test_zones_of_the_iana_database_are_there(run):
    source = """
import zoneinfo
from datetime import datetime
from zoneinfo import ZoneInfo
def run():
    noon = datetime(2026, 7, 1, 12, tzinfo=ZoneInfo('Europe/Vienna'))
    winter = datetime(2026, 1, 1, 12, tzinfo=ZoneInfo('Europe/Vienna'))
    known = zoneinfo.available_timezones()
    return [noon.isoformat(), winter.isoformat(), noon.astimezone(ZoneInfo('Asia/Kolkata')).isoformat(), 'America/New_York' in known, len(known) > 500]
"""
    assert await run(source) == ["2026-07-01T12:00:00+02:00", "2026-01-01T12:00:00+01:00", "2026-07-01T15:30:00+05:30", True, True]


@pytest.mark.parametrize("key", ["Europe/Wien", "../Europe/Vienna", "/etc/localtime", ""])
async def test_what_is_no_zone_is_an_error_of_zoneinfo(run, key):
    source = f"import zoneinfo\ndef run():\n    try: zoneinfo.ZoneInfo({key!r})\n    except (ValueError, zoneinfo.ZoneInfoNotFoundError) as e: return str(e)"
    assert await run(source)


async def test_every_zone_loads(run):
    source = (
        "import zoneinfo\ndef run():\n    return sum(zoneinfo.ZoneInfo(key).key == key for key in zoneinfo.available_timezones()) > 500"
    )
    assert await run(source) is True


CONCURRENT = """
import asyncio
from runloop_agent import kb

async def one(name, after, said):
    await asyncio.sleep(after)
    said.append(name)
    return name

async def fails():
    raise ValueError("no")

async def run():
    said, queue = [], asyncio.Queue(1)
    gathered = await asyncio.gather(one("slow", 0.3, said), one("quick", 0.1, said), one("middle", 0.2, said))
    async def produce():
        for number in range(3):
            await queue.put(number)
    async with asyncio.TaskGroup() as group:
        group.create_task(produce())
        taken = group.create_task(take(queue))
    ends = []
    for awaited in (asyncio.wait_for(asyncio.sleep(60), 0.05), fails(), asyncio.to_thread(kb.get, "person:ada")):
        try:
            ends.append(await awaited)
        except Exception as error:
            ends.append(type(error).__name__)
    return {"out": [gathered, said, taken.result(), ends]}

async def take(queue):
    return [await queue.get() for _ in range(3)]
"""


async def test_asyncio_runs_tasks_in_turn_and_sleeps_through_the_host(run, host):
    host.answers["kb.get"] = {"value": None}
    assert await run(CONCURRENT) == {
        "out": [["slow", "quick", "middle"], ["quick", "middle", "slow"], [0, 1, 2], ["TimeoutError", "ValueError", None]]
    }
    assert [args["ms"] for name, args in host.calls if name == "timer.sleep"] == [100, 50]  # meanwhile a second passed for the host


async def test_time_in_a_loop_passes_though_the_clock_of_the_host_stands_still(run, host):
    host.now_ms = 1_763_600_000_000
    source = "import asyncio\nasync def run():\n    for _ in range(3): await asyncio.sleep(1)\n    return 'done'"
    assert await run(source) == "done"
    assert len(host.calls) == 3


async def test_a_sleep_that_the_host_refuses_raises_where_it_is_awaited(run, host):
    host.answers["timer.sleep"] = CallError("denied", "no timers")
    source = """
import asyncio
from runloop_agent import Denied
async def run():
    try:
        await asyncio.sleep(1)
    except Denied as error:
        said = error.message
    async with asyncio.timeout(1):
        await asyncio.Event().wait()
"""
    with pytest.raises(GuestError, match="no timers"):  # the second one: no coroutine set its timer, so the loop itself ends
        await run(source)
    assert [name for name, _ in host.calls] == ["timer.sleep", "timer.sleep"]


async def test_waiting_for_what_nothing_can_bring_ends_with_the_reason(run):
    with pytest.raises(GuestError) as failed:
        await run("import asyncio\nasync def run():\n    await asyncio.Event().wait()")
    assert "nothing can wake what is awaited" in failed.value.message


async def test_a_task_that_failed_and_that_nobody_awaited_is_told_in_the_log(run, host):
    await run(
        "import asyncio\nasync def fails(): raise KeyError('lost')\nasync def run():\n    asyncio.create_task(fails())\n    await asyncio.sleep(0)\n    await asyncio.sleep(0)"
    )
    assert ("error", "KeyError: 'lost'") in host.logged()


POOLED = """
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor, as_completed, wait

def half(number):
    return 10 // number

def run():
    begun = []
    with ThreadPoolExecutor(max_workers=8, initializer=begun.append, initargs=(1,)) as pool:
        mapped = list(pool.map(half, [1, 2, 5]))
        each = [pool.submit(half, number) for number in (5, 0)]
        done, left = wait(each)
        ends = [type(future.exception()).__name__ for future in each]
        completed = len(list(as_completed(each)))
    try:
        pool.submit(half, 1)
    except RuntimeError as error:
        return [begun, mapped, ends, completed, len(done), len(left), str(error), futures.ThreadPoolExecutor is ThreadPoolExecutor]
"""


async def test_a_pool_of_threads_calls_what_is_submitted(run):
    refused = "cannot schedule new futures after shutdown"
    assert await run(POOLED) == [[1], [10, 5, 2], ["NoneType", "ZeroDivisionError"], 2, 2, 0, refused, True]


READING = {
    "agent.py": """
import glob, importlib.resources, inspect, json, os, pkgutil
from pathlib import Path
import pack

def run():
    here = Path(__file__).parent
    return [
        (here / "prompt.md").read_text(),
        json.load(open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "names.json"))),
        pkgutil.get_data("pack", "words.txt").decode(),
        importlib.resources.files("pack").joinpath("raw.bin").read_bytes().hex(),
        importlib.resources.files("agent").joinpath("prompt.md").is_file(),
        [str(path) for path in Path("data").glob("*.json")] + glob.glob("**/*.txt", recursive=True),
        [[top, sorted(below), files] for top, below, files in os.walk(".")],
        [os.path.getsize("pack/raw.bin"), os.path.isdir("pack"), Path("nowhere").exists(), (here / "agent.py").is_file()],
        inspect.getsource(pack.word),
    ]
""",
    "pack/__init__.py": "def word():\n    return 1\n",
}
FILES = {"prompt.md": "Grüß dich\n".encode(), "data/names.json": b'["Ada"]', "pack/words.txt": b"a b", "pack/raw.bin": b"\xff\x00"}


async def test_files_beside_the_agent_are_read_as_files_are(run):
    assert await run(READING, data=FILES) == [
        "Grüß dich\n",
        ["Ada"],
        "a b",
        "ff00",
        True,
        ["data/names.json", "pack/words.txt"],
        [
            [".", ["data", "pack"], ["agent.py", "prompt.md"]],
            ["./data", [], ["names.json"]],
            ["./pack", [], ["__init__.py", "raw.bin", "words.txt"]],
        ],
        [2, True, False, True],
        "def word():\n    return 1\n",
    ]


async def test_packages_installed_beside_the_agent_are_known_by_their_metadata(run):
    source = """
from importlib import metadata
def run():
    try:
        metadata.version("numpy")
    except metadata.PackageNotFoundError as error:
        return [metadata.version("Some_Pack"), [found.name for found in metadata.distributions()], error.name]
"""
    data = {"some_pack-1.2.dist-info/METADATA": b"Metadata-Version: 2.1\nName: some-pack\nVersion: 1.2\n"}
    assert await run(source, data=data) == ["1.2", ["some-pack"], "numpy"]


async def test_the_longest_text_that_a_call_gives_reaches_the_agent(run, host):
    host.answers = {"files.read": {"text": "\n" * (8 << 20)}}

    assert await run("from runloop_agent import files\ndef run(): return len(files.read('~/a.log', max_bytes=8 << 20).text)") == 8 << 20


async def test_a_package_makes_a_copy_of_the_parser_of_html_as_markdown_does(run):
    source = """
import html.parser
import importlib.util
spec = importlib.util.find_spec("html.parser")
copy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(copy)
copy.piclose = None
class Texts(copy.HTMLParser):
    def handle_data(self, data): self.found = data
def run():
    texts = Texts()
    texts.feed("<b>tea</b>")
    return [texts.found, copy.HTMLParser is html.parser.HTMLParser, html.parser.piclose is None]
"""
    assert await run(source) == ["tea", False, False]


@pytest.mark.parametrize("mode", ["w", "a", "r+", "xb"])
async def test_files_of_a_bundle_are_not_written(run, mode):
    with pytest.raises(GuestError, match=r"Read-only file system: 'prompt\.md'") as failed:
        await run(f"def run(): open('prompt.md', {mode!r})", data=FILES)
    assert "emit.artifact" in failed.value.hint


async def test_the_next_agent_does_not_see_the_files_of_the_one_before(run):
    source = "import os\ndef run(): return sorted(os.listdir())"
    assert await run(source, data=FILES) == ["agent.py", "data", "pack", "prompt.md"]
    assert await run(source, data={"other.txt": b""}) == ["agent.py", "other.txt"]
    assert await run(source) == ["agent.py"]


async def test_arguments_that_the_function_does_not_take_are_told_in_the_log(run, host):
    source = "def run(topic, sentences=3): return sentences"
    given = {"topic": "x", "senteces": 9, "deep": True}

    assert await run(source, given, {"after": [1]}) == 3
    assert host.logged() == [
        ("warn", "run() of agent.py takes no 'senteces': it is left out; did you mean 'sentences'?"),
        ("warn", "run() of agent.py takes no 'deep': it is left out"),
    ]
    host.calls.clear()
    assert await run("def run(topic, **more): return sorted(more)", given) == ["deep", "senteces"]
    assert host.calls == []
