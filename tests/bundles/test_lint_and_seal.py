from __future__ import annotations

import pytest

from runloop.bundles import inspect_bundle, load_bundle
from runloop.bundles.errors import BundleInvalid
from runloop.bundles.lint import lint, schema_fault
from runloop.bundles.seal import seal

HEAD = '[agent]\nname = "reader"\nversion = "0.1.0"\n'


def faults(root):
    return [(problem.code, problem.where.line) for problem in lint(inspect_bundle(root))]


@pytest.mark.parametrize(
    "source",
    [
        "from runloop_agent import agent\n@agent\ndef run(topic): return 1\n",
        "from runloop_agent import agent as main, kb\n@main()\ndef go(topic): return 1\n",
        "import runloop_agent\n@runloop_agent.agent\ndef run(topic): return 1\n",
        "import runloop_agent as r\n@r.agent\ndef run(**everything): return 1\n",
        "from runloop_agent import agent\n@agent\ndef run(*, topic): return 1\n",
    ],
)
def test_the_mark_is_found_under_every_name_it_can_be_imported_by(write_bundle, source):
    assert faults(write_bundle(files={"agent.py": source}, sealed=False)) == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def run(topic): return 1\n", [("bundle.no_agent", None)]),
        ("def agent(f): return f\n@agent\ndef run(topic): return 1\n", [("bundle.no_agent", None)]),
        ("from elsewhere import agent\n@agent\ndef run(topic): return 1\n", [("bundle.no_agent", None)]),
        ("import elsewhere\n@elsewhere.agent\ndef run(topic): return 1\n", [("bundle.no_agent", None)]),
        ("from .runloop_agent import agent\n@agent\ndef run(topic): return 1\n", [("bundle.no_agent", None)]),
        (
            "from runloop_agent import agent\n@agent\ndef a(topic): return 1\n\n@agent\ndef b(topic): return 1\n",
            [("bundle.many_agents", 6)],
        ),
        ("from runloop_agent import agent\n@agent\nasync def run(topic): return 1\n", []),
        ("from runloop_agent import agent\n@agent\nasync def run(topic): yield 1\n", [("bundle.generator_agent", 3)]),
        ("from runloop_agent import agent\n@agent\ndef run(): return 1\n", [("bundle.port_not_taken", 3)]),
        ("from runloop_agent import agent\n@agent\ndef run(topic):\n    if topic:\n        yield 1\n", [("bundle.generator_agent", 3)]),
        ("from runloop_agent import agent\n@agent\ndef run(topic):\n    x = [(yield from topic)]\n", [("bundle.generator_agent", 3)]),
        ("from runloop_agent import agent\n@agent\ndef run(topic):\n    def inner(): yield 1\n    return list(inner())\n", []),
        ("from runloop_agent import agent\n@agent\n@list\ndef run(topic): yield 1\n", []),
        ("from runloop_agent import agent\n@agent\ndef run(a, /, topic): return 1\n", [("bundle.positional_agent", 3)]),
        ("from runloop_agent import agent\n@agent\n@log\ndef run(a, /, topic): return 1\n", []),
        ("def (:\n", [("bundle.python_syntax", 1)]),
        ("x = " + "-" * 20_000 + "1\n", [("bundle.python_syntax", None)]),
        ("@" + "not " * 900 + "x\ndef run(topic): return 1\n", [("bundle.no_agent", None)]),
        ("a = 1\nb = = 2\n", [("bundle.python_syntax", 2)]),
        ("a = '\0'\n", [("bundle.python_syntax", None)]),
    ],
)
def test_a_source_that_cannot_run_is_named_with_its_line(write_bundle, source, expected):
    assert faults(write_bundle(files={"agent.py": source}, sealed=False)) == expected


def test_a_source_that_only_the_newer_python_of_the_guest_reads_is_no_fault(write_bundle):
    root = write_bundle(
        files={"agent.py": "from runloop_agent import agent\n@agent\ndef run(topic): return 1\n", "new.py": "not ( python"}, sealed=False
    )
    asked = []
    sealed, problems = seal(root, compiles=lambda path, source: asked.append((path, source)) or True)
    assert (sealed is not None, problems, asked) == (True, [], [("new.py", b"not ( python")])
    assert [problem.code for problem in seal(root, compiles=lambda *_: False)[1]] == ["bundle.python_syntax"]


def test_every_module_of_the_bundle_is_looked_at_but_not_its_tests(write_bundle):
    root = write_bundle(files={"lib/a.py": "x = = 1\n", "tests/b.py": "x = = 1\n"}, sealed=False)
    assert faults(root) == [("bundle.python_syntax", 1)]


@pytest.mark.parametrize(
    ("schema", "fault"),
    [
        ({"type": "object"}, None),
        ({"$ref": "#/$defs/x", "$defs": {"x": {}}}, None),
        ({"type": "objekt"}, "'objekt' is not valid under any of the given schemas"),
        ({"properties": {"x": {"pattern": "(a+)+"}}}, None),
        ({"properties": {"x": {"pattern": "(a"}}}, "pattern '(a': missing ): (a"),
        ({"$dynamicRef": "other.json"}, "it refers to 'other.json', and schemas are never fetched"),
        ({"anyOf": [{"$ref": "https://evil.example/schema"}]}, "it refers to 'https://evil.example/schema', and schemas are never fetched"),
        (3, "3 is not of type 'object', 'boolean'"),
    ],
)
def test_a_schema_is_checked_and_may_not_refer_outside(schema, fault):
    assert schema_fault(schema) == fault


def test_a_faulty_schema_is_a_fault_of_the_bundle(write_bundle):
    root = write_bundle(manifest=HEAD + '[schemas.with]\ntype = "objekt"\n', sealed=False)
    assert [problem.code for problem in lint(inspect_bundle(root))] == ["bundle.schema"]


@pytest.mark.parametrize(
    ("kind", "content", "expected"),
    [
        ("wasm32-wasip1", b"\0asm\x01\0\0\0", []),
        ("component", b"\0asm\x0d\0\x01\0", []),
        ("component", b"\0asm\x01\0\0\0", ["bundle.wasm"]),
        ("wasm32-wasip1", b"#!/bin/sh", ["bundle.wasm"]),
        ("wasm32-wasip1", None, []),
    ],
)
def test_a_webassembly_file_must_be_of_the_manifests_kind(write_bundle, kind, content, expected):
    manifest = HEAD + f'kind = "{kind}"\nentry = "a.wasm"\n'
    root = write_bundle(manifest=manifest, files={"a.wasm": content, "agent.py": None}, sealed=False)
    assert [problem.code for problem in lint(inspect_bundle(root))] == expected


def test_a_directory_without_a_readable_manifest_has_nothing_to_lint(write_bundle):
    assert lint(inspect_bundle(write_bundle(files={"manifest.toml": "["}, sealed=False))) == []


# -- sealing


def test_sealing_writes_every_digest_and_says_what_changed(write_bundle):
    root = write_bundle(files={"README.md": "a", "old.md": "x"})
    (root / "README.md").write_text("b")
    (root / "old.md").unlink()
    (root / "new.md").write_text("n")
    sealed, problems = seal(root)
    assert problems == []
    assert (sealed.added, sealed.changed, sealed.removed) == (("new.md",), ("README.md",), ("old.md",))
    bundle = load_bundle(root)
    assert (sealed.digest, sealed.manifest_digest) == (bundle.digest, bundle.manifest_digest)


def test_sealing_twice_changes_nothing(write_bundle):
    root = write_bundle()
    before = (root / "manifest.toml").read_bytes()
    sealed, _ = seal(root)
    assert (sealed.added, sealed.changed, sealed.removed) == ((), (), ())
    assert (root / "manifest.toml").read_bytes() == before


def test_sealing_keeps_comments_and_what_stands_after_the_digests(write_bundle):
    manifest = (
        '# mine\n[agent] # about\nname = "reader"\nversion = "0.1.0"\n\n[files] # old\n"gone" = "'
        + "0" * 64
        + '"\n# note\n\n[limits]\nfuel = 5\n'
    )
    root = write_bundle(manifest=manifest)
    text = (root / "manifest.toml").read_text()
    head, _, table = text.partition("\n[files]\n")
    assert head == '# mine\n[agent] # about\nname = "reader"\nversion = "0.1.0"\n\n[limits]\nfuel = 5\n'
    assert [line.split(" = ")[0] for line in table.splitlines()] == ['"agent.py"', '"policy.caps"']
    assert load_bundle(root).limits.fuel == 5


def test_sealing_renews_digests_kept_beside_an_entry(write_bundle):
    zero = "0" * 64
    manifest = HEAD + f'[entry_wasm]\npath = "a.wasm"\nblake3 = "{zero}"\n[artifacts.tools]\npath = "t.json"\nblake3 = "{zero}"\n'
    files = {"a.wasm": b"\0asm\x01\0\0\0", "t.json": '{"version": 1, "tools": []}', "agent.py": None}
    root = write_bundle(manifest=manifest, files=files)
    assert zero not in (root / "manifest.toml").read_text()
    assert load_bundle(root).kind == "wasm32-wasip1"


def test_sealing_mends_digests_that_are_nonsense(write_bundle):
    root = write_bundle(manifest=HEAD + '[files]\n"agent.py" = "nonsense"\n"../x" = "y"\n')
    assert load_bundle(root).name == "reader"


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"agent.py": "x = = 1"}, "bundle.python_syntax"),
        ({"policy.caps": "[capabilities]\nmodle = true\n"}, "policy.unknown_key"),
        ({"policy.caps": None}, "bundle.no_file"),
        ({"manifest.toml": HEAD + "nmae = 1\n"}, "bundle.unknown_key"),
    ],
)
def test_a_bundle_with_another_fault_is_not_sealed(write_bundle, files, code):
    root = write_bundle(files=files, sealed=False)
    before = (root / "manifest.toml").read_bytes()
    sealed, problems = seal(root)
    assert sealed is None
    assert [problem.code for problem in problems] == [code]
    assert (root / "manifest.toml").read_bytes() == before


def test_a_link_is_not_sealed(write_bundle):
    root = write_bundle()
    (root / "link.md").symlink_to("README.md")
    assert [problem.code for problem in seal(root)[1]] == ["bundle.link"]


def test_digests_that_are_not_a_table_are_left_to_the_author(write_bundle):
    root = write_bundle(sealed=False)
    (root / "manifest.toml").write_text("files = {}\n" + HEAD)
    with pytest.raises(BundleInvalid) as caught:
        seal(root)
    assert caught.value.code == "bundle.files_form"


def test_a_table_of_digests_whose_end_cannot_be_told_is_left_as_it_is(write_bundle):
    root = write_bundle(sealed=False)
    text = HEAD + '[files]\n"a" = [\n[1],\n[2]]\n'
    (root / "manifest.toml").write_text(text)
    with pytest.raises(BundleInvalid) as caught:
        seal(root)
    assert caught.value.message == "[files] cannot be told from what is around it"
    assert (root / "manifest.toml").read_text() == text


def test_a_manifest_that_cannot_be_written_is_an_error_and_leaves_nothing(write_bundle, monkeypatch):
    root = write_bundle(sealed=False)

    def refuse(self, target):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.replace", refuse)
    with pytest.raises(BundleInvalid) as caught:
        seal(root)
    assert caught.value.code == "bundle.unwritable"
    assert [path.name for path in root.parent.iterdir()] == ["reader"]
