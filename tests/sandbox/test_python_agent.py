"""What an author of a Python agent can rely on."""

from __future__ import annotations

import sys

import pytest

from runloop.bundles.modules import ABSENT, present
from runloop.sandbox import CallError, GuestError


async def test_an_agent_gets_its_arguments_by_name_and_returns_a_value(run):
    source = "from runloop_agent import agent\n@agent\ndef work(topic, tone='dry'):\n    return {'out': [topic, tone]}"
    assert await run(source, {"topic": "rain", "unused": 1}) == {"out": ["rain", "dry"]}


async def test_a_function_named_run_needs_no_mark(run):
    assert await run("def run():\n    return 'here'") == "here"


async def test_one_edge_gives_its_value_and_several_give_a_list_in_order_and_edges_beat_with(run):
    source = "def run(a, b, c):\n    return [a, b, c]"
    assert await run(source, {"a": "with", "c": "with"}, {"a": ["edge"], "b": [1, 2], "in": []}) == ["edge", [1, 2], "with"]


async def test_a_function_with_double_star_gets_everything(run):
    assert await run("def run(a, **rest):\n    return [a, rest]", {"a": 1, "b": 2}, {"port": [3]}) == [1, {"b": 2, "port": 3}]


async def test_keyword_only_and_wrapped_functions_are_filled_by_name_too(run):
    source = (
        "import functools\ndef twice(f):\n    @functools.wraps(f)\n    def inner(*a, **k): return [f(*a, **k)] * 2\n    return inner\n"
        "@twice\ndef run(a, *, b=5): return a + b"
    )
    assert await run(source, {"a": 1, "zz": 0}) == [6, 6]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def run(topic): return 1", "run() of agent.py needs 'topic'"),
        ("x = 1", "agent.py has no function marked with @agent and none named run"),
        ("from runloop_agent import agent\n@agent\ndef a(): pass\n@agent\ndef b(): pass", "marks several functions with @agent (a, b)"),
        ("def run(): yield 1", "is a generator"),
        ("async def run(): yield 1", "is a generator"),
        ("def run(a, /): return 1", "positional-only"),
    ],
)
async def test_an_agent_that_cannot_be_started_says_what_to_change(run, source, said):
    with pytest.raises(GuestError) as failed:
        await run(source)
    assert failed.value.code == "guest.request"
    assert said in failed.value.message


async def test_a_traceback_names_the_authors_files_and_lines_with_their_source_and_nothing_of_the_guest(run):
    files = {
        "agent.py": "from helper.deep import fail\n\ndef run():\n    return fail()\n",
        "helper/__init__.py": "",
        "helper/deep.py": "def fail():\n    values = {}\n    return values['missing']\n",
    }
    with pytest.raises(GuestError) as failed:
        await run(files)
    assert failed.value.code == "guest.exception"
    assert failed.value.message == (
        "Traceback (most recent call last):\n"
        '  File "agent.py", line 4, in run\n    return fail()\n'
        "  File \"helper/deep.py\", line 3, in fail\n    return values['missing']\n           ~~~~~~^^^^^^^^^^^\n"
        "KeyError: 'missing'\n"
    )


@pytest.mark.parametrize(
    ("does", "instead"),
    {
        "open('/etc/hostname')": "runloop_agent.files",
        "open('out.txt', 'w')": "emit.artifact",
        "os.listdir('/tmp')": "runloop_agent.files",
        "open('agent.py', 'a')": "runloop_agent.files",
        "pathlib.Path('notes.md').read_text()": "runloop_agent.files",
        "tempfile.NamedTemporaryFile()": "runloop_agent.files",
        "threading.Thread(target=print).start()": "runloop_agent.spawn",
        "os.fork()": "runloop_agent.exec",
        "os.kill(1, 9)": "runloop_agent.exec",
        "input('name? ')": "runloop_agent.ask",
        "getpass.getpass()": "runloop_agent.ask",
        "os.environ['HOME']": "runloop_agent.secrets",
        "zoneinfo.ZoneInfo('Europe/Wien')": "Europe/Vienna",
        "queue.Queue().get()": "one thread",
    }.items(),
)
async def test_what_an_agent_has_not_fails_with_what_to_use_instead(run, does, instead):
    with pytest.raises(GuestError) as failed:
        await run(f"import getpass, os, pathlib, queue, tempfile, threading, zoneinfo\n\ndef run():\n    {does}\n")
    assert failed.value.code in {"guest.exception", "guest.trap"}
    assert instead in failed.value.hint


@pytest.mark.parametrize(
    "does",
    [
        "{}['x']",
        "__import__('json').loads('{')",
        "__import__('asyncio').run(None)",
        "raise FileNotFoundError('it is not in the list')",
        "os.nothing",
        "raise EOFError('of mine')",
    ],
)
async def test_an_error_of_the_agents_own_is_said_to_come_from_its_line(run, does):
    with pytest.raises(GuestError) as failed:
        await run(f"import os\n\ndef run():\n    {does}\n")
    assert (failed.value.code, failed.value.hint) == ("guest.exception", f"look at agent.py, line 4: {does}")


async def test_a_syntax_error_shows_file_line_and_text(run):
    with pytest.raises(GuestError) as failed:
        await run("def run():\n    return ][\n")
    assert failed.value.code == "guest.exception"
    assert 'File "agent.py", line 2\n    return ][' in failed.value.message
    assert "SyntaxError" in failed.value.message


async def test_chained_exceptions_are_told_whole(run):
    source = "def run():\n    try:\n        1 / 0\n    except ZeroDivisionError as e:\n        raise ValueError('outer') from e\n"
    with pytest.raises(GuestError) as failed:
        await run(source)
    assert "ZeroDivisionError" in failed.value.message
    assert "direct cause" in failed.value.message
    assert "runloop_guest" not in failed.value.message


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise ValueError('one\\ntwo')", "ValueError: one"),
        ("e = ValueError('x'); e.add_note('a note'); raise e", "ValueError: x"),
        ("raise ExceptionGroup('both', [ValueError('a'), TypeError('b')])", "ExceptionGroup: both (2 sub-exceptions)"),
        ("import sys; sys.exit(3)", "the agent called sys.exit(3); return a result or raise instead"),
        ("exec('return ][')", "SyntaxError: unmatched ']'"),
        ("raise ValueError", "ValueError"),
    ],
)
async def test_the_one_line_reason_of_a_failure_is_the_exception_itself(run, body, said):
    with pytest.raises(GuestError) as failed:
        await run(f"def run():\n    {body}\n")
    assert failed.value.said == said


async def test_pure_python_packages_of_the_bundle_import_lazily(run, host):
    files = {
        "agent.py": "def run():\n    from pkg.sub import mod\n    import ns.leaf\n    import agent\n"
        "    return [mod.VALUE, ns.leaf.NAME, mod.__file__, agent.run is run, __name__]",
        "pkg/__init__.py": "",
        "pkg/sub/__init__.py": "from .mod import VALUE",
        "pkg/sub/mod.py": "from ..other import base\nVALUE = base + 1",
        "pkg/other.py": "base = 41",
        "ns/leaf.py": "NAME = __name__",
        "unused.py": "raise RuntimeError('imported without being asked')",
    }
    assert await run(files) == [42, "ns.leaf", "pkg/sub/mod.py", True, "agent"]


async def test_text_beside_the_code_is_read_with_pkgutil(run):
    files = {
        "agent.py": "import pkgutil\ndef run():\n    return pkgutil.get_data('data', 'words.txt').decode()",
        "data/__init__.py": "",
        "data/words.txt": "één",
    }
    assert await run(files) == "één"


async def test_dataclasses_pickling_and_typing_work_on_the_agents_own_classes(run):
    source = (
        "import dataclasses, pickle, typing\n@dataclasses.dataclass\nclass Point:\n    x: int\n    y: 'int' = 2\n"
        "def run():\n    p = pickle.loads(pickle.dumps(Point(1)))\n    return [dataclasses.asdict(p), str(typing.get_type_hints(Point)['y'])]"
    )
    assert await run(source) == [{"x": 1, "y": 2}, "<class 'int'>"]


@pytest.mark.parametrize(
    "modules",
    [
        [
            "json",
            "csv",
            "re",
            "datetime",
            "decimal",
            "fractions",
            "statistics",
            "random",
            "secrets",
            "hashlib",
            "hmac",
            "base64",
            "zlib",
            "gzip",
            "bz2",
            "lzma",
        ],
        [
            "email.message",
            "email.policy",
            "email.parser",
            "email.mime.text",
            "html.parser",
            "urllib.parse",
            "xml.etree.ElementTree",
            "xml.dom.minidom",
        ],
        [
            "dataclasses",
            "enum",
            "typing",
            "collections.abc",
            "itertools",
            "functools",
            "operator",
            "contextlib",
            "abc",
            "copy",
            "weakref",
            "string",
            "textwrap",
            "difflib",
        ],
        [
            "logging",
            "calendar",
            "zoneinfo",
            "locale",
            "unicodedata",
            "tomllib",
            "configparser",
            "argparse",
            "shlex",
            "fnmatch",
            "glob",
            "pathlib",
            "tempfile",
            "io",
            "struct",
        ],
        [
            "concurrent.futures",
            "threading",
            "queue",
            "sched",
            "heapq",
            "bisect",
            "array",
            "graphlib",
            "pprint",
            "inspect",
            "ast",
            "dis",
            "tokenize",
            "traceback",
            "linecache",
        ],
        [
            "encodings.utf_16",
            "encodings.latin_1",
            "encodings.cp1252",
            "encodings.idna",
            "importlib.resources",
            "importlib.metadata",
            "unittest",
            "zipfile",
            "uuid",
        ],
    ],
)
async def test_the_useful_standard_library_is_there(run, modules):
    absent = await run(
        "import importlib\ndef run(names):\n    absent = []\n    for name in names:\n        try: importlib.import_module(name)\n"
        "        except ImportError as e: absent.append(str(e))\n    return absent",
        {"names": modules},
    )
    gone = {"bz2", "lzma"}  # C libraries that this build of CPython does not have
    assert [one for one in absent if one.split("'")[1] not in gone] == []


@pytest.mark.parametrize(
    ("module", "hint"),
    [
        ("socket", "runloop_agent.http"), ("http.client", "runloop_agent.http"), ("subprocess", "runloop_agent.exec"), ("requests", "runloop_agent.http"),
        ("ctypes", "pure-Python packages"), ("numpy", "pure-Python packages"), ("multiprocessing", "one thread"),
        ("sqlite3", "runloop_agent.kb"), ("tkinter", "runloop_agent.ask"), ("nowhere.at.all", "beside agent.py"),
    ],
)  # fmt: skip
async def test_a_missing_module_says_what_to_use_instead(run, module, hint):
    said = await run(
        "def run(name):\n    try: __import__(name)\n    except ImportError as e: return [type(e).__name__, str(e)]", {"name": module}
    )
    assert said[0] == "ModuleNotFoundError"
    assert hint in said[1]


async def test_print_stderr_and_logging_become_log_lines_in_order(run, host):
    source = (
        "import logging, sys\ndef run():\n    print('one', 2)\n    print('bad', file=sys.stderr)\n    logging.getLogger('x').warning('careful %d', 3)\n"
        "    logging.debug('not shown')\n    sys.stdout.write('no end')\n    return None"
    )
    assert await run(source) is None
    assert host.logged() == [("info", "one 2"), ("warn", "bad"), ("warn", "careful 3"), ("info", "no end")]


async def test_the_level_that_a_program_sets_for_its_log_counts(run, host):
    source = (
        "import logging\ndef run():\n    logging.basicConfig(level='DEBUG', format='%(message)s', force=True)\n    logging.debug('shown')\n"
        "    logging.basicConfig(level=logging.WARNING)\n    logging.info('not shown')\n    logging.basicConfig()\n    logging.error('bad')\n"
    )
    await run(source)
    assert host.logged() == [("debug", "shown"), ("error", "bad")]


async def test_a_log_line_that_the_host_refuses_does_not_fail_the_agent(run, host):
    host.answers["emit.log"] = CallError("denied", "no")
    assert await run("def run():\n    print('x')\n    return 1") == 1


async def test_calls_reach_the_host_with_their_arguments_and_answers_become_records(run, host):
    host.answers = {
        "kb.search": {"hits": [{"domain": "notes", "key": "k", "title": "T", "excerpt": "e", "event_id": 7, "new_key": 1}]},
        "model.complete": {"text": "Dear", "tokens_in": 3},
    }
    source = (
        "from runloop_agent import agent, kb, model\n@agent\ndef run(topic):\n    notes = kb.search(topic, limit=8)\n"
        "    draft = model.complete('Write', context=notes)\n    return {'body': draft.text, 'sources': [n.event_id for n in notes], 'notes': notes}"
    )
    hit = {"domain": "notes", "key": "k", "title": "T", "excerpt": "e", "event_id": 7, "path": None, "line": None, "score": 0.0, "data": {}}
    assert await run(source, {"topic": "rain"}) == {"body": "Dear", "sources": [7], "notes": [hit]}
    assert host.calls == [("kb.search", {"query": "rain", "limit": 8}), ("model.complete", {"prompt": "Write", "context": [hit]})]


@pytest.mark.parametrize("code", ["denied", "invalid", "budget", "timeout", "unavailable", "cancelled"])
async def test_a_refusal_is_an_exception_of_its_kind_with_message_and_hint(run, host, code):
    host.answers["http.fetch"] = CallError(code, "the host said no", "add the host to net")
    source = "import runloop_agent as r\ndef run():\n    try: r.http.fetch('http://x')\n    except r.CallError as e: return [e.code, e.message, e.hint, type(e).__name__]"
    kinds = {
        "denied": "Denied",
        "invalid": "Invalid",
        "budget": "BudgetSpent",
        "timeout": "TimedOut",
        "unavailable": "Unavailable",
        "cancelled": "Cancelled",
    }
    assert await run(source) == [code, "the host said no", "add the host to net", kinds[code]]


async def test_every_function_of_runloop_agent_makes_its_hostcall(run, host):
    host.answers = {
        "kb.propose": {"event_id": 5}, "secrets.handle": {"handle": "rlsec_x"}, "files.list": {"entries": [{"path": "a"}]},
        "files.read": {"text": "t"}, "files.write": {"path": "p"}, "http.fetch": {"status": 200, "body": "{}"}, "exec.run": {"exit_code": 0},
        "mail.send": {"message_id": "<m>"}, "ask.person": {"answer": "yes", "by": "me"}, "spawn.agent": {"outputs": {"out": [1]}},
        "spawn.opening": {"outputs": {}}, "model.complete": {"text": ""}, "model.embed": {"vectors": [[1.0]]}, "emit.artifact": {"path": "d"},
        "kb.get": {"domain": "d", "key": "k"},
    }  # fmt: skip
    source = """
from runloop_agent import *
import time
def run():
    model.complete("p"); model.embed(["a"]); kb.search("q"); kb.get("k"); kb.query("SELECT 1"); kb.propose("note", {"a": 1}); http.fetch("u").json()
    files.read("f"); files.list("d"); files.write("f", "t"); exec.run(["true"]); mail.send([mail.Address("a@b", "A")], subject="s", text="t")
    ask.person("sure?", options=["yes"]); secrets.handle("n"); spawn.agent("a", {"x": 1}); spawn.opening("o"); timer.sleep(0.5); time.sleep(0.25)
    emit.progress("half", 0.5); emit.log("line", "debug"); emit.artifact("n", "t"); checkpoint.mark("here")
    return 1
"""
    await run(source)
    assert [name for name, _ in host.calls] == [
        "model.complete", "model.embed", "kb.search", "kb.get", "kb.query", "kb.propose", "http.fetch", "files.read", "files.list", "files.write", "exec.run",
        "mail.send", "ask.person", "secrets.handle", "spawn.agent", "spawn.opening", "timer.sleep", "timer.sleep", "emit.progress", "emit.log",
        "emit.artifact", "checkpoint.mark",
    ]  # fmt: skip
    asked = dict(host.calls)
    assert asked["mail.send"] == {"to": [{"email": "a@b", "name": "A"}], "subject": "s", "text": "t"}
    assert asked["timer.sleep"] == {"ms": 250}
    assert asked["spawn.agent"] == {"name": "a", "with": {"x": 1}}


async def test_in_a_text_an_answer_is_what_it_brings_and_a_reply_is_the_word_that_was_answered(run, host):
    host.answers = {
        "model.complete": {"text": "Dear Ada"}, "files.read": {"text": "a line"}, "http.fetch": {"status": 200, "body": "a page"},
        "ask.person": {"answer": "no", "by": "me"},
    }  # fmt: skip
    source = """
from runloop_agent import *
def run():
    said = ask.person("send?", options=["yes", "no"])
    equal = [said == "no", said != "yes", said in {"no": 1}, said in ("yes",), said == ask.person("?"), said == 1]
    try:
        return "sent" if said else "not"
    except TypeError as error:
        return [f"{model.complete('p')}, {files.read('f')}, {http.fetch('u')}, {said}", equal, str(error)]
"""
    text, equal, why = await run(source)
    assert (text, equal) == ("Dear Ada, a line, a page, no", [True, True, True, False, True, False])
    assert 'reply == "yes"' in why


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("float('nan')", "result cannot be carried as JSON"), ("float('inf')", "result cannot be carried as JSON"), ("{'a': [object()]}", "result['a'][0]"),
        ("{'when': __import__('datetime').datetime.now()}", "result['when'] cannot be carried as JSON: datetime"), ("b'bytes'", "bytes"),
        ("{'out': {(1, 2): 3, 'x': {1, 2}}}", "result['out'] cannot be carried as JSON: keys must be"),
        ("(i for i in range(3))", "generator"), ("2**53", "2^53 - 1"), ("10**5000", "4300 digits"), ("'\\ud800'", "surrogate"), ("{1, 2}", "set"),
        ("__import__('functools').reduce(lambda x, _: [x], range(60), 0)", "nested deeper than 50"),
        ("(lambda a: (a.append(a), a)[1])([])", "Circular"), ("1e400", "cannot be carried as JSON"),
        ("{'a': {1: 'x', '1': 'y'}}", "the key '1' stands twice in one object"),
    ],
)  # fmt: skip
async def test_a_result_that_json_cannot_carry_is_an_error_that_says_where(run, value, said):
    with pytest.raises(GuestError) as failed:
        await run(f"def run():\n    return {value}")
    assert failed.value.code == "guest.result"
    assert said in failed.value.message


async def test_results_of_any_json_shape_come_back_equal(run):
    value = {"t": "ü\u0000\u2028 \U0001f600", "n": [0, -1, 2**53 - 1, 1.5, 1e-300, True, None], "e": {}, "d": {"": [[]]}}
    assert await run("def run(v):\n    return v", {"v": value}) == value


async def test_what_is_said_of_the_standard_library_before_a_run_is_what_the_guest_has(run):
    names = sorted(name for name in {*sys.stdlib_module_names, *ABSENT} if not name.startswith("_"))
    source = "import importlib\n\n\ndef has(name):\n    try:\n        importlib.import_module(name)\n    except ImportError:\n        return False\n    return True\n\n\n"

    had = await run(source + "def run(names):\n    return [name for name in names if has(name)]\n", {"names": names})

    assert had == [name for name in names if present(name)]
