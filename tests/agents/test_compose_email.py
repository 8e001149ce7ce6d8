"""The shipped opening, driven by the real plan with the real agents' code; only the host's answers are made up."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from runloop.bundles.bundle import load_bundle
from runloop.openings import AgentPorts, Opening, Plan, check, parse_opening
from runloop.openings.states import Begin, NodeFailed, NodeSucceeded, RunDone, StartNode, State, Status
from runloop_agent import CallError, Unavailable
from runloop_agent.testing import answering

NOTE = """# Q4 launch plan

- Feature freeze is on **14 November**.
- The beta starts on 1 December.
"""
TODO = f"{NOTE}- The launch page needs lorem ipsum replaced by 20 November.\n"
PERSON = {"name": "Maria Lee", "email": "maria@acme.example", "org": "Acme"}
SENT = {"message_id": "<1@runloop>", "status": "outbox", "path": "/o/1.eml", "recipients": ["maria@acme.example"]}


@pytest.fixture(scope="module")
def text(agents: Path) -> str:
    return (agents.parent / "openings" / "compose_email.yaml").read_text()


def opening(text: str, **params: Any) -> Opening:
    return parse_opening(text, file="compose_email.yaml", params={"recipient": "Maria Lee", "topic": "Q4 launch plan", **params})


class Drive:
    """Runs every node that the plan starts, as the guest would."""

    def __init__(self, load: Any, note: str = NOTE) -> None:
        self._load = load
        self._modules: dict[str, ModuleType] = {}
        self.outputs: dict[str, Any] = {}
        self.sent: list[dict[str, Any]] = []
        self._note = {
            "domain": "notes",
            "key": "note:notes/plan.md#0",
            "title": "Q4 launch plan",
            "path": "notes/plan.md",
            "line": 1,
            "event_id": 5,
            "data": {"text": note, "line": 1},
        }

    def _search(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["domains"] == ["contacts"]:
            return {"hits": [{"domain": "contacts", "key": "c1", "title": PERSON["name"], "event_id": 3, "data": PERSON}]}
        return {"hits": [self._note] if re.search("q4|launch", request["query"], re.IGNORECASE) else []}

    def _send(self, request: dict[str, Any]) -> dict[str, Any]:
        self.sent.append(request)
        return SENT

    def _perform(self, start: StartNode, with_args: dict[str, Any]) -> dict[str, list[Any]]:
        name = start.use.removeprefix("agent:")
        function = self._load(name).run
        offered = {**with_args, **{port: values[0] if len(values) == 1 else values for port, values in start.inputs.items() if values}}
        result = function(**{key: value for key, value in offered.items() if key in inspect.signature(function).parameters})
        self.outputs[start.node] = result
        return {port: [value] for port, value in (result if {"out", "ok"} & result.keys() else {"out": result}).items()}

    def run(self, of: Opening) -> tuple[RunDone, dict[str, State]]:
        plan = Plan(of, b"seed")
        arguments = {node.id: node.with_args for node in of.nodes}
        waiting = [command for command in plan.step(Begin(), 0) if isinstance(command, StartNode)]
        answers = {"kb.search": self._search, "mail.send": self._send, "model.complete": Unavailable("no model is configured")}
        with answering(answers):
            while waiting:
                start = waiting.pop(0)
                try:
                    event: Any = NodeSucceeded(start.node, start.attempt, self._perform(start, arguments[start.node]))
                except (ValueError, LookupError, TypeError, CallError) as error:
                    event = NodeFailed(start.node, start.attempt, str(error))
                waiting += [command for command in plan.step(event, 0) if isinstance(command, StartNode)]
        assert plan.final is not None
        return plan.final, dict(plan.states)


def test_the_opening_fits_the_agents_that_ship(agents: Path, text: str) -> None:
    def resolve(name: str, _variant: str | None) -> AgentPorts:
        bundle = load_bundle(agents / name, home="/home/nobody", env={})
        return AgentPorts(frozenset(bundle.ports_in), frozenset(bundle.ports_out), dict(bundle.with_schema or {}))

    assert check(opening(text), resolve) == []


def test_a_first_draft_that_passes_is_sent_and_the_revision_is_skipped(load: Any, text: str) -> None:
    drive = Drive(load)
    done, states = drive.run(opening(text))
    assert (done.status, {node for node, state in states.items() if state is State.SKIPPED}) == (
        Status.SUCCEEDED,
        {"revise", "review_revised", "send_revised"},
    )
    (mail,) = drive.sent
    assert mail["to"] == [{"name": "Maria Lee", "email": "maria@acme.example"}]
    assert "- Feature freeze is on 14 November. [1]\n" in mail["text"]
    assert "[1] Q4 launch plan (notes/plan.md, line 3)\n" in mail["text"]
    assert set(done.saved) == {"draft.out"}


def test_a_draft_that_the_review_rejects_is_revised_once_and_then_sent(load: Any, text: str) -> None:
    drive = Drive(load, TODO)
    done, states = drive.run(opening(text))
    assert (done.status, states["send"], states["send_revised"]) == (Status.SUCCEEDED, State.SKIPPED, State.OK)
    assert [item["check"] for item in drive.outputs["review"]["review"]["suggestions"]] == ["leftover"]
    (mail,) = drive.sent
    assert ("lorem ipsum" in mail["text"], "Feature freeze" in mail["text"]) == (False, True)
    assert set(done.saved) == {"draft.out", "revise.out"}


def test_a_second_rejection_ends_the_run_as_failed_with_the_suggestions_in_its_reason(load: Any, text: str) -> None:
    drive = Drive(load)
    done, states = drive.run(opening(text, topic="Q4 launch plan, the password: hunter2"))
    assert (done.status, states["send"], states["send_revised"], drive.sent) == (Status.FAILED, State.SKIPPED, State.ERROR, [])
    assert "the review rejects this draft, so it was not sent; subject: This seems to hold a password or key." in str(done.reason)


def test_an_unknown_recipient_ends_the_run_before_anything_is_written(load: Any, text: str) -> None:
    drive = Drive(load)
    done, _ = drive.run(opening(text, recipient="Xavier Quill"))
    assert (done.status, drive.outputs.keys() & {"draft", "send"}, drive.sent) == (Status.FAILED, set(), [])
    assert "there is no contact 'Xavier Quill'" in str(done.reason)


def test_nothing_known_about_the_topic_gives_a_message_without_claims(load: Any, text: str) -> None:
    drive = Drive(load)
    done, _ = drive.run(opening(text, topic="sailing holidays"))
    assert (done.status, "Sources:" in drive.sent[0]["text"], drive.outputs["draft"]["sources"]) == (Status.SUCCEEDED, False, [])
