from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.bundles.manifest import Limits, Manifest, Port, read_manifest
from runloop.bundles.units import SIZES, TIMES, amount
from runloop.errors import RunloopError

HEAD = '[agent]\nname = "reader"\nversion = "0.1.0"\n'
ZERO = "0" * 64


def problems(text: str) -> list[tuple[str, str]]:
    _, found = read_manifest(text, file="m.toml")
    return [(problem.message, str(problem.where).removeprefix("m.toml")) for problem in found]


def read(text: str) -> Manifest:
    manifest, found = read_manifest(text, file="m.toml")
    assert found == []
    return manifest


def test_every_key_of_the_manifest_is_read():
    text = f"""
    [agent]
    name = "reader"
    version = "1.2.3-rc.1"
    variant = "fast"
    kind = "component"
    entry = "bin/agent.wasm"
    description = "Reads."
    [ports.in]
    topic = "string"
    contact = {{ type = "artifact.contact.v1", description = "who" }}
    [ports.out]
    out = {{ }}
    [caps]
    file = "policy/read.caps"
    [schemas.with]
    type = "object"
    [limits]
    memory = "64 MiB"
    wall = "30 s"
    output = 1000
    fuel = 5
    hostcalls = 7
    tokens = 9
    usd = 0.05
    [artifacts.tools]
    path = "tools.json"
    version = 1
    blake3 = "{ZERO}"
    [files]
    "tools.json" = "{ZERO}"
    """
    assert read(text) == Manifest(
        name="reader",
        version="1.2.3-rc.1",
        variant="fast",
        kind="component",
        entry="bin/agent.wasm",
        description="Reads.",
        ports_in={"topic": Port("topic", "string"), "contact": Port("contact", "artifact.contact.v1", "who")},
        ports_out={"out": Port("out")},
        with_schema={"type": "object"},
        limits=Limits(64 << 20, 30_000, 5, 1000, 7, 9, 50_000),
        caps_file="policy/read.caps",
        tools_file="tools.json",
        files={"tools.json": ZERO},
    )


def test_a_short_manifest_is_a_python_agent_with_usual_names():
    assert read(HEAD) == Manifest("reader", "0.1.0", None, "python", "agent.py")


@pytest.mark.parametrize("place", ["[agent.entry_wasm]", "[entry_wasm]"])
def test_upstreams_wasm_entry_is_understood(place):
    manifest = read(f'{HEAD}{place}\npath = "bin/a.wasm"\nblake3 = "{ZERO}"\n[files]\n"bin/a.wasm" = "{ZERO}"\n')
    assert (manifest.kind, manifest.entry) == ("wasm32-wasip1", "bin/a.wasm")


def test_ports_may_be_listed_by_name_or_as_the_one_type_of_their_side():
    named = read(f'{HEAD}[ports]\nin = ["topic", "contact"]\nout = []\n')
    assert named.ports_in == {"topic": Port("topic"), "contact": Port("contact")}
    typed = read(f'{HEAD}[ports]\nin = ["intent.contact.lookup.v1"]\nout = ["artifact.contact.resolved.v1"]\n')
    assert typed.ports_in == {"in": Port("in", "intent.contact.lookup.v1")}
    assert typed.ports_out == {"out": Port("out", "artifact.contact.resolved.v1")}


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("", "missing [agent] table", ", key 'agent'"),
        ('agent = "x"', "agent must be a table", ":1:1, key 'agent'"),
        ('[agent]\nversion = "1"', "missing agent.name", ":1:1, key 'agent.name'"),
        ('[agent]\nname = "x"', "missing agent.version", ":1:1, key 'agent.version'"),
        ('[agent]\nname = "Reader"\nversion = "1"', "agent.name is 'Reader'", ":2:1, key 'agent.name'"),
        ('[agent]\nname = 3\nversion = "1"', "agent.name is 3", ":2:1, key 'agent.name'"),
        ('[agent]\nname = "x"\nversion = "a b"', "agent.version is 'a b'", ":3:1, key 'agent.version'"),
        (f'{HEAD}variant = "../x"', "agent.variant is '../x'", ":4:1, key 'agent.variant'"),
        (f"{HEAD}description = 1", "agent.description is 1", ":4:1, key 'agent.description'"),
        (f'{HEAD}kind = "pyhton"', "unknown kind 'pyhton'", ":4:1, key 'agent.kind'"),
        (f"{HEAD}kind = 1", "unknown kind 1", ":4:1, key 'agent.kind'"),
        (f'{HEAD}kind = "native-shim"', "unknown kind 'native-shim'", ":4:1, key 'agent.kind'"),
        (f'{HEAD}entry_native = {{ path = "a" }}', "entry_native would run outside the sandbox", ":4:1, key 'agent.entry_native'"),
        (f'{HEAD}[entry_native]\npath = "a"', "entry_native would run outside the sandbox", ":4:1, key 'entry_native'"),
        (f'{HEAD}entry = "agent.sh"', "the entry of a python agent must be a .py file", ":4:1, key 'agent.entry'"),
        (f'{HEAD}kind = "component"', "the entry of a component agent must be a .wasm file", ":1:1, key 'agent.entry'"),
        (f'{HEAD}entry = "../agent.py"', "'../agent.py' cannot be in a bundle: it contains '..'", ":4:1, key 'agent.entry'"),
        (f'{HEAD}[entry_wasm]\nfile = "a"', "entry_wasm needs a path", ":4:1, key 'entry_wasm'"),
        (f'{HEAD}nmae = "x"', "unknown key of [agent] 'nmae'", ":4:1, key 'agent.nmae'"),
        (f"{HEAD}[port]", "unknown table 'port'", ":4:1, key 'port'"),
        (f"{HEAD}[ports]\nint = []", "unknown key of [ports] 'int'", ":5:1, key 'ports.int'"),
        (f"{HEAD}[ports]\nin = 1", "ports.in must be a list or a table", ":5:1, key 'ports.in'"),
        (f'{HEAD}[ports]\nin = ["ok", "Not"]', "'Not' is not a port name", ":5:13, key 'ports.in[1]'"),
        (f"{HEAD}[ports]\nin = [1]", "1 is not a port name", ":5:7, key 'ports.in[0]'"),
        (f'{HEAD}[ports]\nin = ["a", "a"]', "the port 'a' is there twice", ":5:12, key 'ports.in[1]'"),
        (f'{HEAD}[ports]\nin = ["a.b.v1", "c.d.v1"]', "the port 'in' is there twice", ":5:17, key 'ports.in[1]'"),
        (f'{HEAD}[ports.in]\n"a-b" = "string"', "'a-b' is not a port name", ":5:1, key 'ports.in.a-b'"),
        (f"{HEAD}[ports.in]\na = 1", "the port 'a' must be a type or a table", ":5:1, key 'ports.in.a'"),
        (f'{HEAD}[ports.in]\na = {{ typ = "string" }}', "unknown key of a port 'typ'", ":5:7, key 'ports.in.a.typ'"),
        (f'{HEAD}[ports.in]\na = "Not a type"', "'Not a type' is not a type", ":5:1, key 'ports.in.a'"),
        (f"{HEAD}[schemas.wiht]", "unknown key of [schemas] 'wiht'", ":4:1, key 'schemas.wiht'"),
        (f"{HEAD}[schemas]\nwith = 1", "schemas.with must be a table", ":5:1, key 'schemas.with'"),
        (f"{HEAD}[schemas.with]\ndefault = 1979-05-27", "schemas.with holds a value that JSON has not", ":4:1, key 'schemas.with'"),
        (f"{HEAD}[schemas.with]\nmaximum = inf", "schemas.with holds a value that JSON has not", ":4:1, key 'schemas.with'"),
        (f"{HEAD}[limits]\nram = 1", "unknown limit 'ram'", ":5:1, key 'limits.ram'"),
        (f'{HEAD}[limits]\nmemory = "64 MB"', "limits.memory must be a positive whole number, or one with a unit: B, KiB, MiB, GiB",
         ":5:1, key 'limits.memory'"),
        (f"{HEAD}[limits]\nfuel = -1", "limits.fuel must be a positive whole number", ":5:1, key 'limits.fuel'"),
        (f"{HEAD}[limits]\nusd = true", "limits.usd must be an amount of dollars from 0 to 1000000", ":5:1, key 'limits.usd'"),
        (f"{HEAD}[limits]\nusd = nan", "limits.usd must be an amount of dollars from 0 to 1000000", ":5:1, key 'limits.usd'"),
        (f"{HEAD}[limits]\nusd = -0.1", "limits.usd must be an amount of dollars from 0 to 1000000", ":5:1, key 'limits.usd'"),
        (f'{HEAD}[caps]\nfile = "/etc/x"', "'/etc/x' cannot be in a bundle: it is absolute", ":5:1, key 'caps.file'"),
        (f"{HEAD}[caps]\nfiles = 1", "unknown key of [caps] 'files'", ":5:1, key 'caps.files'"),
        (f"{HEAD}[artifacts]\ntool = 1", "unknown key of [artifacts] 'tool'", ":5:1, key 'artifacts.tool'"),
        (f'{HEAD}[artifacts.tools]\npath = "t"\nversion = 2', "unsupported tools.json version 2 (supported: 1)",
         ":6:1, key 'artifacts.tools.version'"),
        (f"{HEAD}[artifacts.tools]", "missing artifacts.tools.path", ":4:1, key 'artifacts.tools.path'"),
        (f'{HEAD}[files]\n"../x" = "{ZERO}"', "'../x' cannot be in a bundle: it contains '..'", ":5:1, key 'files.../x'"),
        (f'{HEAD}[files]\n"manifest.toml" = "{ZERO}"', "the manifest cannot hold its own digest", ":5:1, key 'files.manifest.toml'"),
        (f'{HEAD}[files]\n"a" = "{"A" * 64}"', "the digest of 'a' is not 64 lowercase hex digits", ":5:1, key 'files.a'"),
        (f"{HEAD}[files]\na = 1", "the digest of 'a' is not 64 lowercase hex digits", ":5:1, key 'files.a'"),
        (f"{HEAD}files = 1", "unknown key of [agent] 'files'", ":4:1, key 'agent.files'"),
        (f'{HEAD}[artifacts.tools]\npath = "t"\nblake3 = "x"\n[files]\nt = "{ZERO}"',
         "the digest of 't' differs from the one under [files]", ":6:1, key 'artifacts.tools.blake3'"),
    ],
)  # fmt: skip
def test_a_wrong_key_or_value_says_what_is_wrong_and_where(text, message, place):
    assert problems(text)[0] == (message, place)


def test_both_forms_of_entry_together_are_refused():
    text = f'{HEAD}entry = "a.wasm"\nentry_wasm = {{ path = "b.wasm" }}\n'
    assert problems(text)[0] == ("both entry and entry_wasm are given", ":4:1, key 'agent.entry'")


def test_everything_that_is_wrong_is_reported_at_once_from_top_to_bottom():
    text = '[agent]\nname = "X"\nverison = "1"\n[limits]\nfuel = 0\n[nope]\n'
    assert [place.split(",")[0] for _, place in problems(text)] == [":1:1", ":2:1", ":3:1", ":5:1", ":6:1"]


@given(st.text("[]{}=.\"'agentnmevrsioportlkfls01 \n", max_size=60))
def test_any_text_is_read_or_refused_with_our_error(text):
    try:
        _, found = read_manifest(text)
    except RunloopError:
        return
    assert all(isinstance(problem, RunloopError) for problem in found)


@pytest.mark.parametrize("table", ["agent", "ports", "caps", "schemas", "limits", "artifacts", "files", "entry_wasm"])
@pytest.mark.parametrize(
    "value", ["1", '"x"', "[]", "[[1]]", "true", "{ x = 1 }", "{ path = 1 }", "{ tools = 1 }", "{ in = {}, with = [] }"]
)
def test_no_shape_of_a_table_crashes_the_reader(table, value):
    _, found = read_manifest(f"{table} = {value}\n")
    assert found != []


@pytest.mark.parametrize(
    ("value", "units", "result"),
    [
        (1, {}, 1),
        (5, {}, 5),
        ("1 s", TIMES, 1000),
        ("5 B", SIZES, 5),
        ("64KiB", SIZES, 65536),
        ("2 GiB", SIZES, 2 << 30),
        ("90 s", TIMES, 90_000),
        ("2 min", TIMES, 120_000),
    ],
)
def test_amounts_have_units(value, units, result):
    assert amount(value, units) == result


@pytest.mark.parametrize(("usd", "micros"), [("0", 0), ("0.000001", 1), ("1_000_000", 10**12)])
def test_an_agent_may_be_held_to_any_amount_of_dollars_down_to_none(usd, micros):
    manifest, found = read_manifest(f"{HEAD}[limits]\nusd = {usd}\n")
    assert (manifest.limits.usd_micros, [problem.code for problem in found]) == (micros, [])


@pytest.mark.parametrize("value", [0, -1, True, 1.5, None, "", "5", "0 s", "5 s ", "5 S", "5  s", "-5 s", "\u0665 s", "9" * 16 + " s"])
def test_what_is_no_amount_is_refused(value):
    with pytest.raises(ValueError, match="positive whole number"):
        amount(value, TIMES)
