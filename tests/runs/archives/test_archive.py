"""Archives of runs: complete, the same bytes each time, verified whole, and a source of runs like the ledger."""

import json

import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runloop.bundles import bundle_from_files
from runloop.effects.perform.ports import PersonAnswer
from runloop.errors import InvalidInput, RunloopError
from runloop.events import ERASED_KEY, canonical
from runloop.events.hashes import preimage
from runloop.openings import parse_opening
from runloop.runs.archives.archive import ArchiveAltered, open_archive, peek, read_archive
from runloop.runs.archives.container import ArchiveInvalid, pack, unpack
from runloop.runs.archives.imported import Imported
from runloop.runs.forking import ForkRequest
from runloop.runs.history import load_run
from runloop.runs.replay import Replayer
from runloop.runs.sources import find_source
from runloop.runs.submission import Submission
from runloop.sandbox import guest_digest
from runloop.sandbox.spec import Limits
from tests.runs.archives.conftest import INNER, RELAY
from tests.support.losing import lose


async def test_an_archive_holds_the_same_records_values_and_bundles_as_the_ledger(recorded, archived, public_key):
    async with recorded() as (b, run_id):
        (child,) = b.ledger.children(run_id)
        archive = read_archive(archived(b, run_id).data)

        assert (archive.root, archive.run_ids(), archive.children(run_id), archive.signer) == (run_id, [run_id, child], [child], public_key)
        for each in (run_id, child):
            assert list(archive.read_run(each)) == list(b.ledger.read_run(each))
            assert load_run(archive, each) == load_run(b.ledger, each)
        used = {bundle.digest for bundle in (b.services.resolve_agent(name, None) for name in ("relay", "quiet", "broken"))}
        assert archive.manifest.bundles.keys() == used
        assert archive.manifest.missing == []
        assert next(archive.read_run(run_id, after_seq=3)).payload["seq"] == 4


async def test_the_same_run_gives_the_same_bytes(recorded, archived):
    async with recorded() as (b, run_id):
        assert archived(b, run_id).data == archived(b, run_id).data


async def test_a_run_replays_from_its_archive_with_nothing_installed(recorded, archived, tmp_path):
    async with recorded() as (b, run_id):
        archive = read_archive(archived(b, run_id, key=None).data)

        def bundle_of(name, variant, digest):
            return bundle_from_files(archive.bundle_files(digest), root=tmp_path / "nowhere")

        report = await Replayer(b.pool, bundle_of, lambda _: Limits(), {}, guest_digest()).replay(archive, run_id)

        assert (report.matches, {each.verdict for each in report.attempts}) == (True, {"same", "skipped"})
        assert len(report.attempts) == 4


async def test_selected_nodes_come_with_the_runs_that_they_started_and_no_others(recorded, archived):
    async with recorded() as (b, run_id):
        talk = read_archive(archived(b, run_id, select=["talk"]).data)
        below = read_archive(archived(b, run_id, select=["below", "fails"]).data)

        assert (talk.manifest.selected, talk.run_ids()) == (["talk"], [run_id])
        assert {attempt.node for attempt in load_run(talk, run_id).attempts} == {"talk"}
        assert {entry.name for entry in talk.manifest.bundles.values()} == {"relay"}
        assert (below.run_ids(), {entry.name for entry in below.manifest.bundles.values()}) == (
            [run_id, *b.ledger.children(run_id)],
            {"quiet", "broken"},
        )


async def test_a_node_that_the_run_does_not_have_cannot_be_selected(recorded, archived):
    async with recorded() as (b, run_id):
        with pytest.raises(InvalidInput) as caught:
            archived(b, run_id, select=["tlak"])
        assert (caught.value.code, caught.value.hint) == ("archive.node", "its nodes: below, fails, talk")


async def forked(b, run_id):
    run = await b.manager.fork(b.ledger, ForkRequest(run_id, "fails"))
    await b.manager.drive(run)
    return run.run_id


async def test_a_node_that_a_fork_shares_with_its_parent_can_be_selected_and_nothing_else_of_either_comes(recorded, archived):
    async with recorded() as (b, run_id):
        fork = await forked(b, run_id)
        again = await forked(b, fork)

        for root in (fork, again):
            shared = read_archive(archived(b, root, select=["talk"]).data)
            own = read_archive(archived(b, root, select=["fails"]).data)

            assert {event.payload["meta"].get("node") for each in shared.run_ids() for event in shared.read_run(each)} == {None, "talk"}
            assert [attempt.node for attempt in load_run(shared, root).attempts] == ["talk"]
            assert {"talk", "below"}.isdisjoint(attempt.node for attempt in load_run(own, root).attempts)
            assert b.ledger.children(run_id)[0] not in (*shared.run_ids(), *own.run_ids())
        with pytest.raises(InvalidInput) as caught:
            archived(b, fork, select=["tlak"])
        assert (caught.value.code, caught.value.hint) == ("archive.node", "its nodes: below, fails, talk")


async def test_an_item_can_be_selected_and_a_node_comes_with_all_of_its_items(bench, archived):
    async with bench() as b:
        b.agent("reader", "@agent\ndef run(page):\n    return {'out': page}\n", ports_in=("page",))
        nodes = '[{id: read, use: "agent:reader", for_each: {in: params.pages, as: page}}]'
        result = await b.run(f"version: 0\nname: pages\nparams: {{pages: [a, b]}}\nnodes: {nodes}\nedges: []\n")

        every = read_archive(archived(b, result.run_id, select=["read"]).data)
        one = read_archive(archived(b, result.run_id, select=["read[1]"]).data)

        assert {attempt.node for attempt in load_run(every, result.run_id).attempts} == {"read[0]", "read[1]"}
        assert {attempt.node for attempt in load_run(one, result.run_id).attempts} == {"read[1]"}


async def test_a_redacted_archive_says_nothing_and_no_guess_can_be_proven_by_it(recorded, archived):
    async with recorded() as (b, run_id):
        made = archived(b, run_id, redact=True)
        archive, whole = read_archive(made.data), read_archive(archived(b, run_id).data)
        masked, before = load_run(archive, run_id), load_run(b.ledger, run_id)

        assert archive.manifest.redacted > 20
        assert archive.manifest.bundles == {}
        for said in ("ada@example.org", "secret plan", "a secret reason", "answer 1", "31337", "é", "def run"):
            assert said.encode() not in made.data, said
        for event in whole.read_run(run_id):
            meta = event.payload["meta"]
            hashes = [event.content_hash.hex(), event.chain_hash.hex()]
            hashes += [meta[name] for name in ("args_hash", "inputs_hash", "outputs_hash", "result_hash", "final_hash") if meta.get(name)]
            assert [each for each in hashes if each.encode() in made.data] == []
        assert (masked.states, masked.status) == (before.states, before.status)
        for one, other in zip(masked.attempts, before.attempts, strict=True):
            assert (one.node, one.agent, one.status, one.ms, one.spent) == (other.node, other.agent, other.status, other.ms, other.spent)
            assert [call.name for call in one.crossings] == [call.name for call in other.crossings]


CHOOSES = """version: 0
name: chooses
params: {topic: hidden topic}
nodes:
  - {id: talk, use: "agent:relay", with: {topic: "{{params.topic}}"}}
  - {id: below, use: "opening:inner", gate: {ask: hidden question, options: [hidden one, hidden two], timeout: 1h, on_timeout: hidden two}}
edges: [{from: talk.out, to: below.in}]
"""


@pytest.mark.parametrize("redact", [False, True])
async def test_a_run_that_lost_texts_can_be_taken_to_another_machine_and_no_guess_can_be_proven_there(recorded, archived, tmp_path, redact):
    async with recorded() as (b, run_id):
        hashes = [each.hex() for event in lose(b.ledger, run_id, "secret plan") for each in (event.content_hash, event.chain_hash)]
        made = archived(b, run_id, redact=redact)
        Imported(tmp_path).add(read_archive(made.data))

        assert len(hashes) > 4
        assert [each for each in ("secret plan", *hashes) if each.encode() in made.data] == []
        archive = open_archive(Imported(tmp_path).runs()[run_id])
        assert load_run(archive, run_id).states == load_run(b.ledger, run_id).states
        lost = [event.id for event in b.ledger.read_run(run_id) if ERASED_KEY in event.payload]
        assert [event.id for event in archive.read_run(run_id) if ERASED_KEY in event.payload] == lost


async def test_what_is_other_in_a_fork_and_the_texts_of_nested_openings_are_masked_too(bench, desk, archived):
    answers = [PersonAnswer(each, "operator") for each in ("hidden one", "hidden two")]
    async with bench(desk(answers=answers)) as b:
        b.agent("relay", RELAY, caps="model = true")
        b.agent("quiet", "@agent\ndef run():\n    return {'out': 7}\n")
        b.openings["inner"] = f"# hidden comment\n{INNER}"
        run = await b.manager.submit(Submission(parse_opening(CHOOSES, file="/hidden/chooses.yaml"), workdir="/hidden/directory"))
        parent = await b.manager.drive(run)
        changed = {"answers": {"talk/1/1": {"text": "hidden answer"}}, "params": {"topic": "hidden too"}}
        fork = await b.manager.fork(b.ledger, ForkRequest(parent.run_id, **changed))
        result = await b.manager.drive(fork)
        assert (parent.status, result.status) == ("succeeded", "succeeded")

        made = archived(b, result.run_id, redact=True)

        assert b"hidden" in archived(b, result.run_id).data
        assert b"hidden" not in made.data
        masked = load_run(read_archive(made.data), result.run_id)
        assert masked.submitted["overrides"] == {
            "answers": [{"node": "talk", "attempt": 1, "call": 1, "result": {"text": "[13 characters]"}}],
            "params": {"topic": "[10 characters]"},
        }
        assert [each.status for each in masked.attempts] == ["ok", "ok"]


async def test_a_bundle_that_is_gone_is_named_and_the_rest_is_exported(recorded, archived):
    async with recorded() as (b, run_id):
        digest = b.services.resolve_agent("relay", None).digest
        (b.agents_dir / "relay").rename(b.root / "moved")
        b.agent("relay", "@agent\ndef run():\n    return {'out': 1}\n")

        made = archived(b, run_id)

        assert (made.missing, read_archive(made.data).manifest.missing) == ((f"relay {digest[:12]}",), [digest])


async def test_the_code_with_which_a_fork_goes_on_with_an_attempt_comes_along(bench, archived):
    code = "@agent\ndef run():\n    said = model.complete('?').text\n    return {'out': said + model.complete('!').text}\n"
    async with bench() as b:
        b.agent("one", code, caps="model = true")
        parent = await b.run("version: 0\nname: o\nnodes: [{id: a, use: 'agent:one'}]\nedges: []\n")
        before = b.services.resolve_agent("one", None).digest
        (b.agents_dir / "one").rename(b.root / "moved")
        b.agent("one", code.replace("'!'", "'!!'"), caps="model = true")
        other = b.services.resolve_agent("one", None)
        first = next(event for event in b.ledger.read_run(parent.run_id) if event.kind == "effect.completed")
        fork = await b.manager.fork(b.ledger, ForkRequest(parent.run_id, str(first.payload["seq"]), agents={"one": other}))
        result = await b.manager.drive(fork)

        manifest = read_archive(archived(b, result.run_id).data).manifest

        assert load_run(b.ledger, result.run_id).attempts[0].agent["digest"] == other.digest
        assert (list(manifest.bundles), manifest.missing) == ([other.digest], [before])


async def test_an_archive_with_any_byte_changed_is_refused(recorded, archived):
    async with recorded() as (b, run_id):
        data = archived(b, run_id).data
        read_archive(data)

        @given(st.integers(0, len(data) - 1), st.integers(1, 255))
        @settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
        def check(at, flip):
            spoiled = bytearray(data)
            spoiled[at] ^= flip
            with pytest.raises((ArchiveInvalid, ArchiveAltered)) as caught:
                read_archive(bytes(spoiled))
            assert caught.value.exit_code == 5 or at < len("manifest.json")  # else it begins as nothing known

        check()


def lie(members, change):
    """The archive of ``members`` after a change by somebody who has no key."""
    members = {name: content for name, content in members.items() if name != "signature.json"}
    manifest = json.loads(members["manifest.json"])
    change(manifest, members)
    members["manifest.json"] = canonical(manifest)
    return pack(sorted(members.items(), key=lambda member: (member[0] != "manifest.json", member[0])))


def first_run(members):
    return next(name for name in members if name.startswith("runs/"))


def rewrite(manifest, members, change, *, fix=True):
    """Change the lines of the first run, and with ``fix`` its digest in the manifest."""
    name = first_run(members)
    members[name] = change(members[name])
    entry = next(entry for entry in manifest["runs"] if entry["run_id"] in name)
    if fix:
        entry["blake3"] = blake3(members[name]).hexdigest()
        entry["records"] = members[name].count(b"\n")


def drop_object(manifest, members):
    del members[next(name for name in members if name.startswith("objects/"))]


def add_object(manifest, members):
    members[f"objects/{blake3(b'more').hexdigest()}"] = b"more"


def swap_object(manifest, members):
    members[next(name for name in members if name.startswith("objects/"))] = b"other"


def move_file(path):
    def change(manifest, members):
        bundle = next(iter(manifest["bundles"].values()))
        bundle["files"][path] = bundle["files"].pop("agent.py")

    return change


def retold(change):
    """The records of the root after ``change`` of their list, numbered and hashed anew."""

    def spoil(manifest, members):
        root = next(entry for entry in manifest["runs"] if entry["run_id"] == manifest["root"])
        name = f"runs/{manifest['root']}.jsonl"
        records = [json.loads(line) for line in members[name].splitlines()]
        change(root, records)
        for seq, record in enumerate(records, 1):
            record["payload"]["seq"] = seq
            hashed = preimage(
                record["kind"], record["actor"], record["scope"], canonical(record["payload"]), canonical(record["provenance"])
            )
            record["content"] = blake3(hashed).hexdigest()
        members[name] = b"".join(canonical(record) + b"\n" for record in records)
        root.update(blake3=blake3(members[name]).hexdigest(), records=len(records))

    return spoil


def own_parent(root, records):
    root["parent_run_id"] = root["run_id"]
    for record in records:
        record["payload"]["parent_run_id"] = root["run_id"]


def from_itself(root, records):
    records[0]["payload"]["meta"]["forked_from"] = {"run_id": root["run_id"], "seq": 2}


def named_by_an_object(root, records):
    holder = next(record["payload"]["meta"] for record in records if "outputs" in record["payload"]["meta"])
    holder["outputs"] = {"$blob": {}, "bytes": 1}


def without(kind):
    return lambda root, records: records.remove(next(record for record in records if record["kind"] == kind))


def no_final_line(data):
    return b"\n".join(data.split(b"\n")[:-2]) + b"\n"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda manifest, members: manifest.update(format="runloop.archive.v2"), "archive.manifest"),
        (lambda manifest, members: manifest.update(root="0" * 36), "archive.manifest"),
        (lambda manifest, members: manifest.update(more=1), "archive.manifest"),
        (lambda manifest, members: manifest["runs"].append(manifest["runs"][0]), "archive.manifest"),
        (lambda manifest, members: manifest["runs"].pop(), "archive.altered"),
        (lambda manifest, members: manifest["runs"][0].update(opening_name="other"), "archive.manifest"),
        (lambda manifest, members: manifest["runs"][0].update(blake3="0" * 64), "archive.altered"),
        (lambda manifest, members: members.pop(first_run(members)), "archive.altered"),
        (lambda manifest, members: manifest["bundles"].update({"0" * 64: manifest["bundles"].popitem()[1]}), "archive.altered"),
        (drop_object, "archive.altered"),
        (add_object, "archive.altered"),
        (swap_object, "archive.altered"),
        (move_file("../../agent.py"), "archive.path"),
        (move_file("/etc/agent.py"), "archive.path"),
        (move_file("other.py"), "archive.altered"),
        (lambda m, members: rewrite(m, members, lambda data: data.replace(b"ok", b"no"), fix=False), "archive.altered"),
        (lambda m, members: rewrite(m, members, lambda data: data.replace(b'"seq":2', b'"seq":9')), "archive.record"),
        (lambda m, members: rewrite(m, members, lambda data: data[:-1]), "archive.record"),
        (lambda m, members: rewrite(m, members, lambda data: data + b"{}\n"), "archive.record"),
        (lambda m, members: rewrite(m, members, lambda data: data + b"[" * 100_000 + b"\n"), "archive.record"),
        (lambda m, members: rewrite(m, members, lambda data: b" " + data), "archive.record"),
        (lambda m, members: rewrite(m, members, lambda data: data.split(b"\n", 1)[1]), "archive.record"),
        (lambda m, members: rewrite(m, members, no_final_line), "archive.manifest"),
        (lambda m, members: rewrite(m, members, lambda data: b""), "archive.record"),
        (lambda manifest, members: manifest.update(ledger_id=f"{manifest['ledger_id']} {'a' * 64}\nx"), "archive.manifest"),
        (lambda manifest, members: manifest.update(ledger_id="über"), "archive.manifest"),
        (lambda manifest, members: manifest.update(format="v" * 1_000_000), "archive.manifest"),
        (lambda manifest, members: manifest["runs"][0].update(status="v" * 1_000_000), "archive.manifest"),
        (lambda manifest, members: next(iter(manifest["bundles"].values())).update(name="n" * 9999, files={}), "archive.altered"),
        (retold(lambda root, records: records[1].update(kind="k" * 1_000_000)), "archive.record"),
        *(
            (retold(lambda root, records, erasure=each: records[1]["payload"].update({"$erased": erasure})), "archive.record")
            for each in (7, None, "x")
        ),
        (retold(own_parent), "archive.record"),
        (retold(from_itself), "archive.record"),
        (retold(without("node.started")), "archive.record"),
        (retold(named_by_an_object), "archive.record"),
        (retold(without("effect.requested")), "archive.record"),
    ],
)
async def test_an_archive_that_lies_is_refused_by_name(recorded, archived, change, code):
    async with recorded() as (b, run_id):
        members = unpack(archived(b, run_id).data)
    with pytest.raises(ArchiveAltered) as caught:
        read_archive(lie(members, change), file="run.rlz")
    assert (caught.value.code, caught.value.where.file, len(caught.value.message) < 1000) == (code, "run.rlz", True)


async def test_members_out_of_order_are_refused(recorded, archived):
    async with recorded() as (b, run_id):
        members = unpack(archived(b, run_id).data)
    with pytest.raises(ArchiveAltered) as caught:
        read_archive(pack(reversed(members.items())))
    assert caught.value.code == "archive.order"


async def test_a_signature_of_another_archive_is_refused(recorded, archived):
    async with recorded() as (b, run_id):
        one, other = unpack(archived(b, run_id).data), unpack(archived(b, run_id, select=["talk"]).data)
    with pytest.raises(ArchiveAltered) as caught:
        read_archive(pack({**one, "signature.json": other["signature.json"]}.items()))
    assert caught.value.code == "archive.signature"


async def test_importing_twice_changes_nothing_and_another_archive_of_the_run_is_refused(recorded, archived, tmp_path):
    async with recorded() as (b, run_id):
        whole, part = (read_archive(archived(b, run_id, select=select).data) for select in ((), ["talk"]))
        imported = Imported(tmp_path / "imported")

        assert [imported.add(whole), imported.add(whole)] == [True, False]
        with pytest.raises(InvalidInput) as caught:
            imported.add(part)
        assert (caught.value.code, open_archive(imported.runs()[run_id]).data) == ("archive.other_import", whole.data)
        assert imported.add(part, replace=True) is True
        assert open_archive(imported.runs()[run_id]).data == part.data


async def test_a_run_is_found_in_the_ledger_then_among_the_imported_then_in_a_file(recorded, archived, tmp_path):
    async with recorded() as (b, run_id):
        (child,) = b.ledger.children(run_id)
        imported, file = Imported(tmp_path / "imported"), tmp_path / "run.rlz"
        file.write_bytes(archived(b, run_id).data)
        nothing = Imported(tmp_path / "none")

        assert find_source("last", b.ledger, nothing).run_id in {run_id, child}
        assert find_source(run_id, b.ledger, nothing).origin == "own"
        with pytest.raises(InvalidInput) as caught:
            find_source(run_id, None, imported)
        assert caught.value.code == "run.unknown"
        imported.add(open_archive(file))
        assert [(found.run_id, found.origin) for found in (find_source(ref, None, imported) for ref in (run_id, child, str(file)))] == [
            (run_id, "imported"),
            (child, "imported"),
            (run_id, "file"),
        ]
        assert find_source(f"trace:{run_id}", b.ledger, imported).origin == "own"


async def test_letters_that_begin_several_runs_are_ambiguous(recorded, archived, tmp_path):
    async with recorded() as (b, _):
        imported = Imported(tmp_path / "imported")
        await b.run("version: 0\nname: other\nnodes: [{id: only, use: 'agent:quiet'}]\nedges: []\n")
        for each in b.ledger.run_ids("00000000"):
            imported.add(read_archive(archived(b, each).data))
        with pytest.raises(InvalidInput) as caught:
            find_source("0000", None, imported)
        assert caught.value.code == "run.ambiguous"


def test_files_that_are_no_archives_are_errors_and_passed_over_among_the_imported(tmp_path):
    (tmp_path / "a.rlz").write_bytes(b"nonsense")
    for attempt in (lambda: open_archive(tmp_path / "a.rlz"), lambda: peek(tmp_path / "b.rlz"), lambda: open_archive(tmp_path)):
        with pytest.raises(RunloopError) as caught:
            attempt()
        assert (caught.value.exit_code, caught.value.code in {"archive.member", "archive.unreadable"}) == (2, True)
    assert list(Imported(tmp_path).manifests()) == []
