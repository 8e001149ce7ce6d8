"""Two runs compared: what they did counts, what it cost and how long it took is told."""

from runloop.effects.perform.mail_message import mail_key
from runloop.effects.perform.ports import PersonAnswer
from runloop.effects.perform.secrets import SecretHandles, SecretsHandle, SecretStore
from runloop.effects.types import Outcome
from runloop.runs.diff import diff_runs
from runloop.runs.family import family
from runloop.runs.forking import ForkRequest
from runloop.runs.history import load_run
from runloop.runs.jsondiff import MISSING, Difference
from tests.support.losing import lose

RELAY = """@agent
def run(topic='tea'):
    said = model.complete('first').text
    return {'out': {'said': said, 'topic': topic}}
"""
TEXT = (
    'version: 0\nname: relay\nparams: {topic: tea}\nnodes: [{id: only, use: "agent:relay", with: {topic: "{{params.topic}}"}}]\nedges: []\n'
)


class Mailed:
    """An outbox that names messages as mail is named."""

    def __init__(self, outbox):
        self.prepare = outbox.prepare

    async def perform(self, prepared, ctx):
        key = mail_key(ctx.work_key)
        return Outcome({"message_id": f"<{key}@here.example>", "status": "outbox", "path": f"/outbox/{key}.eml", "recipients": []})


OUTER = 'version: 0\nname: outer\nnodes: [{id: below, use: "opening:inner"}]\nedges: []\n'


async def test_a_run_is_the_same_as_itself_and_as_a_later_one_that_did_the_same(bench):
    async with bench() as b:
        b.agent("relay", RELAY, caps="model = true")
        runs = []
        for _ in range(2):
            b.model.prompts.clear()  # the scripted model numbers its answers
            runs.append((await b.run(TEXT)).run_id)

        found = diff_runs(family(b.ledger, runs[0]), family(b.ledger, runs[1]))

        assert (found.same, [each.same for each in found.nodes]) == (True, [True])
        assert diff_runs(family(b.ledger, runs[0]), family(b.ledger, runs[0])).same is True


async def test_of_what_was_erased_nobody_knows_whether_it_was_the_same(bench):
    async with bench() as b:
        b.agent("relay", RELAY, caps="model = true")
        runs = []
        for topic in ("tea", "rum", "tea"):
            b.model.prompts.clear()
            runs.append((await b.run(TEXT.replace("topic: tea", f"topic: {topic}"))).run_id)
        for run_id, topic in zip(runs[:2], ("tea", "rum"), strict=True):
            lose(b.ledger, run_id, topic)

        lost = diff_runs(family(b.ledger, runs[0]), family(b.ledger, runs[1]))
        half = diff_runs(family(b.ledger, runs[0]), family(b.ledger, runs[2]))

        assert (lost.same, lost.lost, [(each.same, each.differs, each.lost) for each in lost.nodes]) == (
            False,
            True,
            [(False, False, True)],
        )
        assert (half.same, half.lost, half.differs) == (False, True, True)


async def test_what_an_answer_cost_makes_no_run_another_one(bench):
    async with bench() as b:
        b.agent("relay", RELAY, caps="model = true")
        runs = []
        for usage in ((10, 5, 250), (0, 0, None)):
            b.model.prompts.clear()
            b.model.usage = usage
            runs.append((await b.run(TEXT)).run_id)

        found = diff_runs(family(b.ledger, runs[0]), family(b.ledger, runs[1]))

        assert (found.same, found.nodes[0].tokens, found.nodes[0].first_call) == (True, (15, 0), None)


async def test_another_answer_is_named_and_what_came_of_it(bench):
    async with bench() as b:
        b.agent("relay", RELAY, caps="model = true")
        runs = [(await b.run(TEXT)).run_id for _ in range(2)]

        found = diff_runs(family(b.ledger, runs[0]), family(b.ledger, runs[1]))
        (node,) = found.nodes

        assert found.same is False
        assert (node.first_call.attempt, node.first_call.call, node.first_call.what) == (1, 1, "told")
        assert node.first_call.difference == Difference("$.result.text", "answer 1", "answer 2")
        assert node.outputs == (Difference("$.out[0].said", "answer 1", "answer 2"),)
        assert (node.tokens, node.usd, node.states) == ((15, 15), (0.00025, 0.00025), ("ok", "ok"))


async def test_another_parameter_another_question_and_another_code_are_named(bench):
    async with bench() as b:
        b.agent("relay", RELAY, caps="model = true")
        first = (await b.run(TEXT)).run_id
        (b.agents_dir / "relay").rename(b.root / "before")
        b.agent("relay", RELAY.replace("'first'", "'first about ' + topic"), caps="model = true")
        second = (await b.run(TEXT, params={"topic": "rum"})).run_id

        found = diff_runs(family(b.ledger, first), family(b.ledger, second))
        (node,) = found.nodes

        assert found.params == (Difference("$.params.topic", "tea", "rum"),)
        assert node.agents[0] != node.agents[1]
        assert (node.first_call.what, node.first_call.difference) == ("asked", Difference("$.args.prompt", "first", "first about rum"))
        assert found.to_dict()["nodes"][0]["first_call"]["path"] == "$.args.prompt"


async def test_a_call_that_only_one_run_made_has_no_other_side(bench):
    async with bench() as b:
        b.agent("relay", RELAY, caps="model = true")
        first = (await b.run(TEXT)).run_id
        (b.agents_dir / "relay").rename(b.root / "before")
        b.agent("relay", "@agent\ndef run(topic):\n    return {'out': 1}\n", caps="model = true")
        second = (await b.run(TEXT)).run_id

        call = diff_runs(family(b.ledger, first), family(b.ledger, second)).nodes[0].first_call

        assert (call.call, call.what, call.difference.actual) == (1, "asked", MISSING)


async def test_how_long_a_node_took_that_did_not_end_is_not_known(bench):
    async with bench() as b:
        b.agent("relay", RELAY, caps="model = true")
        ended = (await b.run(TEXT)).run_id
        left = await b.submit(TEXT)
        await b.left_at_the_model(left)

        [node] = diff_runs(family(b.ledger, left.run_id), family(b.ledger, ended)).nodes

        assert (node.states, node.attempts, node.ms[0]) == (("running", "ok"), (1, 1), None)
        assert node.ms[1] is not None


async def test_a_failure_and_more_attempts_are_named(bench):
    async with bench() as b:
        b.agent("relay", RELAY, caps="model = true")
        first = (await b.run(TEXT)).run_id
        (b.agents_dir / "relay").rename(b.root / "before")
        b.agent("relay", "@agent\ndef run(topic):\n    model.complete('first')\n    raise ValueError('no')\n", caps="model = true")
        retried = TEXT.replace('use: "agent:relay"', 'use: "agent:relay", retry: {max_attempts: 2, backoff_ms: 1}')
        second = (await b.run(retried)).run_id

        found = diff_runs(family(b.ledger, first), family(b.ledger, second))
        (node,) = found.nodes

        assert (found.states, node.states, node.attempts) == (("succeeded", "failed"), ("ok", "error"), (1, 2))
        assert node.errors.actual["code"] == "guest.exception"
        assert found.openings[0] != found.openings[1]


async def test_child_runs_are_compared_and_the_ids_of_runs_are_not(bench):
    async with bench() as b:
        b.agent("relay", RELAY, caps="model = true")
        b.openings["inner"] = TEXT
        runs = []
        for _ in range(2):
            b.model.prompts.clear()
            runs.append((await b.run(OUTER)).run_id)

        found = diff_runs(family(b.ledger, runs[0]), family(b.ledger, runs[1]))

        assert [(each.run, each.node, each.same) for each in found.nodes] == [("", "below", True), ("CHILD-1", "only", True)]


POST = """@agent
def run(word='one'):
    token = secrets.handle('a/token')
    mail.send([{'email': 'a@example.org'}], subject='hello', text=f'with {token}, {word}')
    return {'out': [token, emit.artifact('note', word).event_id is not None]}
"""


async def test_messages_handles_of_secrets_and_numbers_of_events_are_every_runs_own(bench, desk):
    async with bench(desk(True, True, True)) as b:
        b.services.performers["mail.send"] = Mailed(b.outbox)
        b.services.performers["secrets.handle"] = SecretsHandle(SecretHandles(SecretStore([]), lambda _secret: []))
        b.agent("post", POST, caps='mail = true\nsecrets = ["a/token"]')
        text = 'version: 0\nname: post\nparams: {w: one}\nnodes: [{id: a, use: "agent:post", with: {word: "{{params.w}}"}}]\nedges: []\n'
        runs = [(await b.run(text, params=params)).run_id for params in (None, None, {"w": "two"})]
        families = [family(b.ledger, run) for run in runs]

        (same,), (other,) = (diff_runs(families[0], each).nodes for each in families[1:])

        assert (same.calls, same.first_call, same.outputs) == ((2, 2), None, ())
        assert other.first_call.difference == Difference("$.args.text", "with RUN-SECRET-a-1-1-1, one", "with RUN-SECRET-a-1-1-1, two")


async def test_a_child_run_that_only_one_has_differs(bench):
    async with bench() as b:
        b.agent("relay", RELAY, caps="model = true")
        b.openings["inner"] = TEXT
        run_id = (await b.run(OUTER)).run_id

        found = diff_runs(family(b.ledger, run_id), family(b.ledger, run_id)[:1])

        assert [(each.node, each.states) for each in found.nodes if not each.same][-1] == ("only", ("ok", None))


ENDS = """version: 0
name: ends
params: {items: [1, 2]}
nodes:
  - {id: each, use: "agent:same", for_each: {in: params.items, as: n}, gate: {ask: "Which?", options: [left, right]}}
  - {id: voted, use: "agent:same", merge: {vote: {of: n, quorum: 9}}, on_failure: skip}
edges:
  - {from: each.out, to: voted.n}
"""


async def test_what_a_node_ended_with_counts_also_where_its_attempts_did_the_same(bench, desk):
    answers = [PersonAnswer("left", "operator"), PersonAnswer("right", "operator")]
    async with bench(desk(answers=answers)) as b:
        b.agent("same", "@agent\ndef run(n):\n    return {'out': n}\n", ports_in=("n",))
        runs = [(await b.run(ENDS)).run_id for _ in range(2)]

        found = diff_runs(family(b.ledger, runs[0]), family(b.ledger, runs[1]))

        assert {node.node: node.same for node in found.nodes} == {"each": False, "each[0]": True, "each[1]": True, "voted": True}
        assert found.nodes[0].outputs == (Difference("$.gate[0]", "left", "right"),)


AROUND = """version: 0
name: around
nodes:
  - {id: below, use: "opening:inner"}
  - {id: asks, use: "agent:asks"}
edges: [{from: below.out, to: asks.said}]
"""
ASKS = "@agent\ndef run(said):\n    return {'out': [said, spawn.opening('inner').run_id]}\n"


async def test_child_runs_that_a_fork_shares_with_its_parent_are_those_of_both(bench):
    async with bench() as b:
        b.agent("relay", "@agent\ndef run(topic):\n    return {'out': topic}\n")
        b.agent("asks", ASKS, ports_in=("said",), caps="spawn = true")
        b.openings["inner"] = TEXT
        parent = (await b.run(AROUND)).run_id
        for seq in range(1, load_run(b.ledger, parent).last_seq + 1):
            run = await b.manager.fork(b.ledger, ForkRequest(parent, str(seq)))
            await b.manager.drive(run)

            found = diff_runs(family(b.ledger, parent), family(b.ledger, run.run_id))

            names = [f"{each.run}/{each.node}" for each in found.nodes]
            assert (seq, names, found.same) == (seq, ["/below", "/asks", "CHILD-1/only", "CHILD-2/only"], True)


TWO = """version: 0
name: two
params: {first: 10ms, second: 400ms}
nodes:
  - {id: tea, use: "opening:inner", with: {topic: tea}, wait: {for: "{{params.first}}"}}
  - {id: rum, use: "opening:inner", with: {topic: rum}, wait: {for: "{{params.second}}"}}
edges: []
"""


async def test_child_runs_are_compared_with_those_in_the_same_place_whichever_began_first(bench):
    async with bench() as b:
        b.agent("relay", "@agent\ndef run(topic):\n    return {'out': topic}\n")
        b.openings["inner"] = TEXT
        one = (await b.run(TWO)).run_id
        other = (await b.run(TWO, params={"first": "400ms", "second": "10ms"})).run_id

        found = diff_runs(family(b.ledger, one), family(b.ledger, other))

        assert [f"{each.run}/{each.node}" for each in found.nodes] == ["/tea", "/rum", "CHILD-1/only", "CHILD-2/only"]
        assert [each.node for each in found.nodes if not each.same] == []


async def test_a_fork_of_a_fork_has_the_child_runs_that_the_fork_had_taken_over(bench):
    async with bench() as b:
        b.agent("relay", "@agent\ndef run(topic):\n    timer.sleep(0.01)\n    return {'out': topic}\n", caps="time = true")
        b.openings["inner"] = TEXT
        parent = (await b.run(OUTER)).run_id
        started = next(event for event in b.ledger.read_run(parent) if event.kind == "node.started")
        fork = await b.manager.fork(b.ledger, ForkRequest(parent, str(started.payload["seq"])))
        await b.manager.drive(fork)
        again = await b.manager.fork(b.ledger, ForkRequest(fork.run_id, str(load_run(b.ledger, fork.run_id).last_seq)))
        await b.manager.drive(again)

        for other in (parent, again.run_id):
            found = diff_runs(family(b.ledger, fork.run_id), family(b.ledger, other))
            assert ([f"{each.run}/{each.node}" for each in found.nodes], found.same) == (["/below", "CHILD-1/only"], True)
