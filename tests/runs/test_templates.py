"""Every template run by the run manager, with agents in the sandbox and a model that says what the test wrote."""

import json

import pytest

from runloop.effects.types import EffectClass, Outcome, Prepared
from runloop.openings.templates import TEMPLATES, Cast, expand

THINKS = """
@agent
def run(task, instruction, input=None, results=None, errors=None, draft=None, review=None, item=None, vote=None, votes=None):
    heard = [value for value in (input, results, errors, draft, review, item, vote) if value is not None]
    return {{"{port}": model.complete(f"{name}: {{task}} {{instruction}} {{heard}}").text}}
"""
JUDGES = """
import json

@agent
def run(task, instruction, pro, con, feedback=None):
    said = model.complete(f"judge: {task} {instruction} pro {pro} con {con} feedback {feedback}").text
    return {"verdict": json.loads(said)}
"""
REVIEWS = """
@agent
def run(task, instruction, draft):
    said = model.complete(f"review: {draft}").text
    return {"ok": said == "good", "out": said}
"""
FAILS = "\n@agent\ndef run():\n    raise ValueError('no result')\n"
TAKES = ("input", "results", "errors", "draft", "review", "item", "vote", "votes")


class Script:
    """A model with answers for the prompts that contain a text: one after the other, the last of them from then on."""

    def __init__(self, lines=None):
        self.lines = {text: list(answers) for text, answers in (lines or {}).items()}
        self.prompts = []

    def prepare(self, args, ctx):
        return Prepared("model.complete", EffectClass.IDEMPOTENT, args["prompt"], data=dict(args))

    async def perform(self, prepared, ctx):
        prompt = prepared.data["prompt"]
        self.prompts.append(prompt)
        answers = next((answers for text, answers in self.lines.items() if text in prompt), [f"<{prompt.split(':')[0]}>"])
        text = answers.pop(0) if len(answers) > 1 else answers[0]
        used = {"tokens_in": 1, "tokens_out": 1, "usd": 0.0, "provider": "test", "model": "m", "finish_reason": "stop", "cached": False}
        return Outcome({"text": text, **used}, 1, 1, 0)

    def count(self, agent):
        return len([prompt for prompt in self.prompts if prompt.startswith(f"{agent}:")])


def thinker(bench, *names, port="out"):
    for name in names:
        bench.agent(name, THINKS.format(name=name, port=port), ports_in=TAKES, ports_out=(port,), caps="model = true")


async def played(bench, template, script, *, cast=None, change=lambda text: text, **options):
    bench.services.performers["model.complete"] = script
    return await bench.run(change(expand(TEMPLATES[template], template, cast or Cast(), **options)), params={"task": "tea"})


def states(bench):
    """How each node ended, its last attempt counting."""
    return {meta["node"]: meta["status"] for meta in bench.metas("node.finished")}


async def test_a_pipeline_hands_on_what_each_step_made(bench):
    async with bench() as b:
        thinker(b, "gather", "draft", "finish")

        script = Script({"gather:": ["notes"], "draft:": ["a draft"]})
        result = await played(b, "pipeline", script)

        assert (result.status, result.saved) == ("succeeded", {"finish.out": ["<finish>"]})
        assert [prompt.split(":")[0] for prompt in script.prompts] == ["gather", "draft", "finish"]
        assert script.prompts[1].endswith("['notes']")
        assert script.prompts[2].endswith("['a draft']")


async def test_parallel_combines_all_results_in_the_order_of_the_edges(bench):
    async with bench() as b:
        thinker(b, "worker", "combine")

        script = Script({"part 1 of 3": ["one"], "part 2 of 3": ["two"], "part 3 of 3": ["three"]})
        result = await played(b, "parallel", script)

        assert (result.status, script.prompts[-1].endswith("[['one', 'two', 'three']]")) == ("succeeded", True)


async def test_parallel_fails_with_its_first_failure(bench):
    async with bench() as b:
        thinker(b, "worker", "combine")
        b.agent("broken", FAILS)

        result = await played(b, "parallel", Script(), cast=Cast({"worker": ["worker", "broken"]}))

        assert (result.status, states(b)["combine"]) == ("failed", "skipped")


@pytest.mark.parametrize("broken", [1, 2])
async def test_fork_join_needs_more_than_half_of_its_workers(bench, broken):
    async with bench() as b:
        thinker(b, "worker", "join")
        b.agent("broken", FAILS)

        workers = ["broken"] * broken + ["worker"] * (3 - broken)
        script = Script()
        result = await played(b, "fork_join", script, cast=Cast({"worker": workers}))

        assert (result.status, script.count("join")) == (("succeeded", 1) if broken == 1 else ("failed", 0))


async def test_fork_join_with_first_ok_takes_one_result_and_stops_the_rest(bench):
    async with bench() as b:
        thinker(b, "worker", "join")
        b.agent("asleep", "@agent\ndef run():\n    timer.sleep(500)\n    return {'out': 'late'}\n", caps="time = true")

        def first_ok(text):
            return text.replace("merge: {at_least: 2}", "merge: first_ok")

        script = Script()
        result = await played(b, "fork_join", script, cast=Cast({"worker": ["asleep", "worker", "asleep"]}), change=first_ok)

        assert (result.status, script.prompts[-1].endswith("['<worker>']")) == ("succeeded", True)
        assert states(b) == {"worker_1": "cancelled", "worker_2": "ok", "worker_3": "cancelled", "join": "ok"}


async def test_a_debate_answers_each_round_and_a_verdict_that_breaks_its_contract_is_sent_back(bench):
    async with bench() as b:
        thinker(b, "pro", "con")
        b.agent("judge", JUDGES, ports_in=("pro", "con"), ports_out=("verdict",), caps="model = true")
        good = {"winner": "pro", "reason": "two sources"}

        script = Script({"judge:": [json.dumps({"winner": "both", "reason": "fair"}), json.dumps(good)]})
        result = await played(b, "debate", script)

        assert (result.status, result.saved) == ("succeeded", {"judge.verdict": [good]})
        assert [script.count(agent) for agent in ("pro", "con", "judge")] == [2, 2, 2]
        answers = [prompt for prompt in script.prompts if "Answer the last argument" in prompt]
        assert sorted(prompt[-9:] for prompt in answers) == sorted(["['<con>']", "['<pro>']"])
        first, second = (prompt for prompt in script.prompts if prompt.startswith("judge"))
        assert "pro ['<pro>', '<pro>'] con ['<con>', '<con>'] feedback None" in first
        assert "'both' is not one of ['pro', 'con']" in second


async def test_a_judge_that_never_gives_a_verdict_fails_the_debate(bench):
    async with bench() as b:
        thinker(b, "pro", "con")
        b.agent("judge", JUDGES, ports_in=("pro", "con"), ports_out=("verdict",), caps="model = true")

        script = Script({"judge:": ['{"winner": "pro"}']})
        result = await played(b, "debate", script, rounds=1)

        assert (result.status, result.code, script.count("judge")) == ("failed", "output.invalid", 2)


@pytest.mark.parametrize("case", ["case_1", "case_3"])
async def test_exactly_one_branch_of_a_switch_runs(bench, case):
    async with bench() as b:
        thinker(b, "classify", port="case")
        thinker(b, "case", "finish")

        script = Script({"classify:": [case]})
        result = await played(b, "switch", script)

        assert (result.status, script.count("case"), script.count("finish")) == ("succeeded", 1, 1)
        others = {f"case_{number}": "skipped" for number in (1, 2, 3)}
        assert states(b) == {"classify": "ok", **others, case: "ok", "finish": "ok"}


async def test_an_answer_that_is_no_case_of_the_switch_is_sent_back_once(bench):
    async with bench() as b:
        thinker(b, "classify", port="case")
        thinker(b, "case", "finish")

        script = Script({"classify:": ["neither", "case_2"]})
        result = await played(b, "switch", script)

        assert (result.status, script.count("classify"), states(b)["case_2"]) == ("succeeded", 2, "ok")


@pytest.mark.parametrize(
    ("votes", "winner"),
    [(["green", "black", "green"], "green"), (["green", "black", "white"], None), (["green", "broken", "green"], "green")],
)
async def test_a_swarm_does_what_the_majority_of_the_votes_says_or_nothing(bench, votes, winner):
    async with bench() as b:
        for name in ("green", "black", "white"):
            thinker(b, name, port="vote")
        b.agent("broken", FAILS, ports_out=("vote",))
        thinker(b, "decide")

        script = Script({f"{name}:": [name] for name in ("green", "black", "white")})
        result = await played(b, "swarm", script, cast=Cast({"voter": votes}))

        assert (result.status, script.count("decide")) == (("succeeded", 1) if winner else ("failed", 0))
        if winner:
            assert f"'votes': 2, 'winner': '{winner}'" in script.prompts[-1]
        else:
            assert result.code == "vote.undecided"


async def test_a_draft_is_revised_until_the_review_accepts_it(bench):
    async with bench() as b:
        thinker(b, "draft")
        b.agent("review", REVIEWS, ports_in=("draft",), ports_out=("ok", "out"), caps="model = true")

        script = Script({"draft:": ["first", "second", "third"], "review:": ["too long", "good"]})
        result = await played(b, "iterate", script)

        assert (result.status, result.saved) == ("succeeded", {"draft_1.out": ["first"], "draft_2.out": ["second"]})
        assert [script.count("draft"), script.count("review")] == [2, 2]
        assert next(prompt for prompt in script.prompts if "Change the draft" in prompt).endswith("['first', 'too long']")


async def test_a_draft_that_is_never_accepted_is_a_failed_run(bench):
    async with bench() as b:
        thinker(b, "draft")
        b.agent("review", REVIEWS, ports_in=("draft",), ports_out=("ok", "out"), caps="model = true")

        script = Script({"review:": ["bad"]})
        result = await played(b, "iterate", script)

        assert (result.status, result.code, script.count("draft"), script.count("review")) == ("failed", "success", 3, 3)


async def test_every_item_is_mapped_and_the_results_are_reduced_in_order(bench):
    async with bench() as b:
        thinker(b, "map", "reduce")

        script = Script({"['first']": ["1"], "['second']": ["2"], "['third']": ["3"]})
        result = await played(b, "map_reduce", script)

        assert (result.status, script.count("map"), script.count("reduce")) == ("succeeded", 3, 1)
        assert script.prompts[-1].endswith("[['1', '2', '3'], []]")


async def test_an_item_that_fails_leaves_its_place_empty_and_its_error_beside(bench):
    async with bench() as b:
        picky = THINKS.format(name="map", port="out").replace(
            "    heard", "    if item == 'second':\n        raise ValueError('no')\n    heard", 1
        )
        b.agent("map", picky, ports_in=TAKES, ports_out=("out",), caps="model = true")
        thinker(b, "reduce")

        script = Script({"map:": ["done"]})
        result = await played(b, "map_reduce", script)

        assert result.status == "succeeded"
        assert "[['done', None, 'done'], [{'code': 'guest.exception', 'index': 1, " in script.prompts[-1]
