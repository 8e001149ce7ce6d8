"""Replay: every attempt of a recorded run again, answered from its record, with nobody who could act."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass
from runloop.effects.catalogue import decode_args
from runloop.effects.journal import Diverged, Journal
from runloop.effects.types import CallError
from runloop.errors import InvalidInput, VerificationFailed, Where
from runloop.events import NodeResult, RunIdentity, final_hash, outputs_hash
from runloop.policy import OpeningPolicy
from runloop.runs.approvals import ApprovalDesk
from runloop.runs.attempt import AttemptSpec, failure_of, ports_of
from runloop.runs.crossings import AttemptIdentity, Crossings, RecordEnded
from runloop.runs.family import family
from runloop.runs.history import asked_by
from runloop.runs.jsondiff import MISSING, Difference, first_difference, shown
from runloop.runs.operator import Nobody
from runloop.runs.recorder import Recorder
from runloop.runs.services import RunRules
from runloop.runs.submitted import opening_in, opening_of
from runloop.runs.working import MOST_CRASHES, tape_of
from runloop.sandbox.spec import GuestError

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Iterable

    from runloop.bundles import Bundle
    from runloop.effects.journal import Crossing
    from runloop.effects.types import Performer
    from runloop.events import NewEvent, StoredEvent
    from runloop.openings import Opening
    from runloop.runs.history import RecordedAttempt, RecordedRun
    from runloop.runs.services import Guests
    from runloop.runs.sources import RunSource
    from runloop.sandbox.spec import Answer, Limits


ERASED = "erased"


@dataclass(frozen=True, slots=True)
class Divergence:
    """Where a re-run first left the record: at a ``call``, in its ``outputs``, or in how it ended; both values, and their place.

    ``erased`` is what a difference is where texts of the record were erased: nobody knows whether there would be one.
    """

    what: str
    call: int | None
    difference: Difference

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"what": self.what, "call": self.call, **self.difference.to_dict()}

    def __str__(self) -> str:
        if self.what == ERASED:
            return "texts of its record were erased: whether it would be the same is not known"
        place = f"call {self.call}" if self.call is not None else self.what
        expected, actual = shown(self.difference)
        return f"{place} differs at {self.difference.path}: expected {expected}, got {actual}"


@dataclass(frozen=True, slots=True)
class ReplayedAttempt:
    """One attempt of a replay: ``same``, ``differs``, ``cut`` (stopped from outside; its calls were the same) or ``skipped``.

    ``expected`` and ``actual`` are the hashes of the outputs, or ``error CODE``.
    """

    run_id: str
    node: str
    attempt: int
    verdict: str
    calls: int = 0
    expected: str | None = None
    actual: str | None = None
    detail: str = ""
    divergence: Divergence | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "run_id": self.run_id,
            "node": self.node,
            "attempt": self.attempt,
            "verdict": self.verdict,
            "calls": self.calls,
            "expected": self.expected,
            "actual": self.actual,
            "detail": self.detail,
            "divergence": None if self.divergence is None else self.divergence.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """A run and its child runs, replayed. ``final_hash`` is made anew from the replayed nodes, ``recorded_hash`` is the run's own."""

    run_id: str
    attempts: tuple[ReplayedAttempt, ...]
    recorded_hash: str | None
    final_hash: str | None

    @property
    def matches(self) -> bool:
        """Whether everything that could be compared is identical."""
        return self.final_hash == self.recorded_hash and all(each.verdict != "differs" for each in self.attempts)

    @property
    def unknown(self) -> bool:
        """Whether nothing differs but where texts were erased."""
        found = [each.divergence.what for each in self.attempts if each.divergence is not None]
        return bool(found) and set(found) == {ERASED}


class _NoLedger:
    """A replay writes nothing; a try to is a defect."""

    def append(self, events: Iterable[NewEvent], *, check: bool = True, urgent: bool = True) -> Future[list[StoredEvent]]:
        raise AssertionError("a replay must not record")


@dataclass(frozen=True, slots=True)
class Replayer:
    """Re-runs recorded attempts. ``virtual`` performs the calls that follow from the run itself; nothing else can be performed.

    ``bundle_of(name, variant, digest)`` finds the bundle that ran, ``replaced`` holds other code for agents by name. ``kept_guest``
    tells whether a Python guest is kept here by digest: a run is replayed with the guest that it had. ``any_guest`` lets the installed
    one replay it where that is not kept: whatever differs because of it is a divergence like any other.
    """

    guests: Guests
    bundle_of: Callable[[str, str | None, str], Bundle]
    limits_of: Callable[[Bundle], Limits]
    virtual: Mapping[str, Performer]
    guest_digest: str
    replaced: Mapping[str, Bundle] = field(default_factory=dict)
    any_guest: bool = False
    kept_guest: Callable[[str], bool] = lambda _digest: False

    async def replay(self, source: RunSource, run_id: str, *, whole: bool = True) -> ReplayReport:
        """Every attempt of the run and of its child runs, in order; ``whole`` says that the source holds all of its nodes.

        Raises:
            VerificationFailed: it cannot even begin: ``replay.guest``, ``replay.bundle``.
            InvalidInput: ``replay.agent`` for other code for an agent that the run does not have.

        """
        run, *below = (each.run for each in family(source, run_id))
        verdicts = await self._attempts(source, run)
        recorded = run.final_hash if whole and not self.replaced else None
        made = None if recorded is None else self._final_hash(run, verdicts)
        for nested in below:
            verdicts += await self._attempts(source, nested)
        used = {attempt.agent.get("name") for each in (run, *below) for attempt in each.attempts}
        if unused := sorted(self.replaced.keys() - used):
            hint = f"its agents: {', '.join(sorted(filter(None, used)))}"
            raise InvalidInput(f"no node of the run is the agent {unused[0]!r}", code="replay.agent", where=Where(key="--with"), hint=hint)
        return ReplayReport(run_id, tuple(verdicts), recorded, made)

    async def _attempts(self, source: RunSource, run: RecordedRun) -> list[ReplayedAttempt]:
        guest = self._guest_of(run)
        openings = {run.run_id: opening_of(run.submitted)}
        for run_id in {attempt.ended_in for attempt in run.attempts} - {"", run.run_id}:  # what a fork shares ended there, as it was there
            openings[run_id] = opening_in(source, run_id)
        return [await self._judge(run, openings[each.ended_in or run.run_id], each, guest) for each in run.attempts]

    def _guest_of(self, run: RecordedRun) -> str | None:
        """The kept Python guest to replay the run with; None is the installed one."""
        recorded = run.submitted["versions"].get("guest")
        if recorded in {None, self.guest_digest}:
            return None
        if self.kept_guest(recorded):
            return str(recorded)
        if self.any_guest:
            return None
        raise VerificationFailed(
            f"the run was made with another Python guest ({recorded[:12]}, here {self.guest_digest[:12]})",
            code="replay.guest",
            hint="replay it with the Runloop version that made it, or with --any-guest and see whether it matters",
        )

    async def _judge(self, run: RecordedRun, opening: Opening, attempt: RecordedAttempt, guest: str | None) -> ReplayedAttempt:
        node = opening.node(attempt.node)
        place = (run.run_id, attempt.node, attempt.attempt)
        if node.kind != "agent":
            return ReplayedAttempt(*place, "skipped", detail="a nested opening is a run of its own")
        bundle = self._bundle(attempt, node.name, node.variant)
        crashes = 0
        while True:
            rerun = _Rerun(self, run, attempt, guest)
            judged = await rerun.judged(bundle, node.with_args)
            crashes += 1
            if not rerun.crashed or crashes > MOST_CRASHES:
                return judged

    def _bundle(self, attempt: RecordedAttempt, name: str, variant: str | None) -> Bundle:
        if name in self.replaced:
            return self.replaced[name]
        digest = str(attempt.agent.get("digest"))
        bundle = self.bundle_of(name, variant, digest)
        if bundle.digest != digest:
            raise VerificationFailed(
                f"agent {bundle.ref} changed since the run (then {digest[:12]}, now {bundle.digest[:12]})",
                code="replay.bundle",
                where=Where(node=attempt.node, file=str(bundle.root)),
                hint="install the version that the run used, or compare with the present one: --with NAME=DIR",
            )
        return bundle

    @staticmethod
    def _final_hash(run: RecordedRun, verdicts: Iterable[ReplayedAttempt]) -> str:
        """The run's final hash, over what the replayed nodes gave now."""
        results = dict(run.results)
        for each in verdicts:
            known = results.get(each.node)
            if each.verdict == "differs" and known is not None and known.outputs_hash is not None and each.actual is not None:
                results[each.node] = NodeResult(None, each.actual) if each.actual.startswith("error ") else NodeResult(each.actual)
        return final_hash(results[node.id] for node in opening_of(run.submitted).nodes if node.id in results)


@dataclass(slots=True)
class _Rerun:
    """One attempt on its way, between its record and its guest."""

    replayer: Replayer
    run: RecordedRun
    attempt: RecordedAttempt
    python_guest: str | None
    asked: tuple[str, str] | None = None
    """The guest's latest journaled call: name and arguments as it wrote them."""
    crashed: bool = False
    """It lost its worker, and the record says nothing of that: the kernel may have ended it for its memory, as in a run."""

    async def judged(self, bundle: Bundle, with_args: Mapping[str, Any]) -> ReplayedAttempt:
        """What became of it, compared with the record."""
        return await (self.cut if self.attempt.cut else self.whole)(bundle, with_args)

    async def whole(self, bundle: Bundle, with_args: Mapping[str, Any]) -> ReplayedAttempt:
        """Run to the end and compare what came out."""
        recorded = self.attempt
        gave = recorded.outputs is not None  # also where it was told afterwards that it broke its contract
        expected = f"error {recorded.error['code']}" if recorded.error is not None and not gave else self._hash()
        journal, crossings = self._prepare(bundle)
        actual: str | None = None
        try:
            ended = await self._end(bundle, with_args, crossings, self.attempt.crossings)
            journal.finish()
            actual = outputs_hash(ended["outputs"]) if "outputs" in ended else f"error {ended['error']['code']}"
            divergence = self._compare(ended, actual)
        except (RecordEnded, Diverged) as found:
            divergence = self._at_call(found)
        detail = "" if divergence is None else str(divergence)
        return self._result("same" if divergence is None else "differs", journal.asked, expected, actual, detail, divergence)

    async def cut(self, bundle: Bundle, with_args: Mapping[str, Any]) -> ReplayedAttempt:
        """Run to the last call of the record: what an attempt that was stopped would have done next is not known."""
        journal, crossings = self._prepare(bundle)
        recorded = len(self.attempt.crossings)
        refused = (self.attempt.error or {}).get("code") == "output.invalid"
        detail = f"its end is not in the record ({'its output was refused' if refused else 'stopped from outside'})"
        if not recorded:
            return self._result("cut", 0, None, None, detail)
        detail += f"; the same up to call {recorded}"
        try:
            before = self.attempt.crossings[:-1]  # answered ahead; the guest never goes on behind the last one
            ended = await self._end(bundle, with_args, _UpTo(crossings, journal, recorded), before)
        except RecordEnded:
            return self._result("cut", recorded, None, None, detail)
        except Diverged as found:
            divergence = self._at_call(found)
        else:
            if "error" in ended and ended["error"]["code"] == (self.attempt.error or {}).get("code"):
                return self._result("cut", journal.asked, None, None, detail)  # a guest that ends its worker does so again
            left = asked_by(self.attempt.crossings[journal.asked])
            divergence = Divergence("end", journal.asked + 1, Difference("$", left, ended))
        return self._result("differs", journal.asked, None, None, str(divergence), divergence)

    def _prepare(self, bundle: Bundle) -> tuple[Journal, Crossings]:
        run, attempt = self.run, self.attempt
        journal = Journal(attempt.node, attempt.attempt, attempt.crossings)
        recorder = Recorder(RunIdentity(run.run_id, "", "", run.opening_name), _NoLedger(), lambda: 0)
        desk = ApprovalDesk(recorder, Nobody(), OpeningPolicy(), RunRules())
        who = AttemptIdentity(attempt.run_id, attempt.node, attempt.attempt, bundle, None)
        return journal, Crossings(who, recorder, journal, self.replayer.virtual, desk, live=False)

    async def _end(
        self, bundle: Bundle, with_args: Mapping[str, Any], crossings: Crossings | _UpTo, ahead: list[Crossing]
    ) -> dict[str, Any]:
        """How the guest ended, ``outputs`` or ``error``; ``ahead`` are answered ahead.

        Raises what the crossings raise, and what keeps a guest from being run at all: that is no difference.
        """
        run, attempt = self.run, self.attempt
        spec = AttemptSpec(attempt.run_id, attempt.node, attempt.attempt, with_args, attempt.inputs, run.seed, attempt.start_ms)

        async def watched(name: str, args_json: str, /) -> Answer:
            self.asked = (name, args_json)
            return await crossings(name, args_json)

        try:
            guest = spec.guest(bundle, self.replayer.limits_of(bundle), self.python_guest)
            result = await self.replayer.guests.run(guest, watched, tape_of(ahead))
            return {"outputs": ports_of(json.loads(result.result_json), bundle.ports_out)}
        except GuestError as error:
            failed = failure_of(error, crossings.refusal)
            recorded = (attempt.error or {}).get("code")
            self.crashed = failed.code == "worker.crashed" and recorded != failed.code
            return {"error": {"code": failed.code, "message": failed.message}}

    def _compare(self, ended: Mapping[str, Any], actual: str) -> Divergence | None:
        recorded = self.attempt
        if recorded.error is not None and recorded.outputs is None:
            wanted: dict[str, Any] = {"error": {"code": recorded.error["code"], "message": recorded.error["message"]}}
        else:
            wanted = {"outputs": recorded.outputs}
            if recorded.outputs is not None and (kept := outputs_hash(recorded.outputs)) != self._hash():
                return Divergence("record", None, Difference("$.outputs_hash", recorded.outputs_hash, kept))
            if actual == self._hash():
                return None
        found = first_difference(wanted, ended)
        if found is None:
            return None
        return Divergence("outputs" if found.path.startswith("$.outputs") else "end", None, found)

    def _hash(self) -> str | None:
        """The recorded hash of the outputs; where outputs were recorded without one (they broke their contract), it is made of them."""
        recorded = self.attempt
        return outputs_hash(recorded.outputs) if recorded.outputs_hash is None and recorded.outputs is not None else recorded.outputs_hash

    def _at_call(self, found: RecordEnded | Diverged) -> Divergence:
        """The call at which the guest and the record part: what was asked then, and what is asked now."""
        calls = self.attempt.crossings
        wanted = asked_by(calls[found.call - 1]) if found.call <= len(calls) else MISSING
        if isinstance(found, Diverged) and found.actual == "the end of the attempt":
            return Divergence("call", found.call, Difference("$", wanted, MISSING))
        asked = _as_asked(self.asked)
        return Divergence("call", found.call, first_difference(wanted, asked) or Difference("$", wanted, asked))

    def _result(
        self, verdict: str, calls: int, expected: str | None, actual: str | None, detail: str, divergence: Divergence | None = None
    ) -> ReplayedAttempt:
        place = (self.run.run_id, self.attempt.node, self.attempt.attempt)
        if divergence is not None and self.run.lost & {"", self.attempt.node}:
            divergence = Divergence(ERASED, divergence.call, Difference(divergence.difference.path, MISSING, MISSING))
            detail = str(divergence)
        return ReplayedAttempt(*place, verdict, calls, expected, actual, detail, divergence)


@dataclass(slots=True)
class _UpTo:
    """Answers calls until the record's last one was asked; then it says that the record ended."""

    crossings: Crossings
    journal: Journal
    last: int

    @property
    def refusal(self) -> CallError | None:
        return self.crossings.refusal

    async def __call__(self, name: str, args_json: str, /) -> Answer:
        answer = await self.crossings(name, args_json)
        if self.journal.asked >= self.last:
            raise RecordEnded(self.crossings.who.node, self.crossings.who.attempt, self.last + 1, None)
        return answer


def _as_asked(asked: tuple[str, str] | None) -> Any:
    """A guest's call in the form in which the record has it; arguments that cannot be read stay text."""
    if asked is None:
        return MISSING
    name, args_json = asked
    try:
        return {"name": name, "args": decode_args(name, args_json)}
    except CallError:
        return {"name": name, "args": args_json}
