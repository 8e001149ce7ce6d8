"""What must hold at every moment and at the end, whatever happened in between. Problems are collected, not raised."""

from __future__ import annotations

from collections import Counter, defaultdict

from runloop.effects.types import EffectClass

OUTCOMES = frozenset({"effect.completed", "effect.failed", "effect.unknown"})
ENDS = frozenset({"run.finished"})


class Check:
    """Watches one world."""

    def __init__(self, world):
        self.world = world
        self.problems = []
        self._crossings = defaultdict(Counter)
        self._ended = set()
        self._looked_at = 0
        self._seen = {}
        self._parked = []

    def problem(self, text):
        self.problems.append(text)
        self.world.note(self.world.now_ms, f"PROBLEM {text}")

    def _look(self):
        """Take in what became durable since the last time."""
        for event in self.world.disk.events[self._looked_at :]:
            meta = event.payload.get("meta") or {}
            if event.kind == "node.finished":
                self._ended.add((event.payload["run_id"], meta["node"], meta["attempt"]))
            if "call" in meta:
                kind = event.kind
                if kind == "approval.decided":
                    kind = f"approval.{meta['decision']}"
                self._crossings[event.payload["run_id"], meta["node"], meta["attempt"], meta["call"]][kind] += 1
        self._looked_at = len(self.world.disk.events)

    # ── while it runs ────────────────────────────────────────────────────────────────────────────────────────────────────

    def performing(self, name, prepared, ctx):
        """A call is about to be performed."""
        self._look()
        known = self._crossings[ctx.run_id, ctx.node, ctx.attempt, ctx.call]
        where = f"{name} of {ctx.node}/{ctx.attempt}/{ctx.call}"
        if prepared.klass is not EffectClass.READ and not known["effect.requested"]:
            self.problem(f"{where} is performed before its request is durable")
        if (ctx.run_id, ctx.node, ctx.attempt) in self._ended:
            self.problem(f"{where} is performed behind the end of its attempt")
        if any(known[kind] for kind in OUTCOMES):
            self.problem(f"{where} is performed although it has a recorded outcome")
        if prepared.external and not self.world.scenario.generous and not self._approved(ctx):
            self.problem(f"{where} is performed without an approval")

    def _approved(self, ctx):
        """Whether the person, or the opening in advance, approved this crossing; a retry that asks for the same makes the same crossing."""
        attempts = range(1, ctx.attempt + 1)
        return any(self._crossings[ctx.run_id, ctx.node, attempt, ctx.call]["approval.approved"] for attempt in attempts)

    def asked(self, request):
        """The person is asked to decide."""
        self._look()
        node, call, attempt = request.approval_id.split("/")[1:4]
        if self._crossings[request.run_id, node, int(attempt), int(call)]["approval.approved"]:
            self.problem(f"{request.approval_id} is asked although it was approved")

    def seen(self, record):
        """A record reached a subscriber."""
        if record["event_id"] is None:
            return
        stored = self.world.disk.get(record["event_id"])
        if stored is None or stored.kind != record["kind"]:
            self.problem(f"record {record['seq']} ({record['kind']}) was seen before it was durable")
        last = self._seen.get(record["run_id"], 0)
        if record["seq"] <= last:
            self.problem(f"record {record['seq']} of {record['run_id']} was seen after {last}")
        self._seen[record["run_id"]] = record["seq"]

    def parked(self, run):
        """A run and its children are being left to the ledger; what is stopped may take a while to be gone."""
        self._parked += [(each.recorder.identity, each.recorder.last_seq) for each in run.family()]

    def left_over(self, process):
        """A life ended by itself: nothing of it may be left behind."""
        left = [task for task in process.loop.left if task not in process.background]
        if left:
            self.problem(f"{len(left)} tasks are left: {sorted(task.get_coro().__qualname__ for task in left)}")
        for complaint in process.loop.complaints:
            self.problem(f"the loop complains: {complaint.get('message')} {complaint.get('exception')!r}")
        turns = process.manager.services.turns
        if (turns.at_work, turns.waiting, turns.away) != (0, 0, 0):
            self.problem(f"turns are out: {turns.at_work} at work, {turns.waiting} waiting, {turns.away} away")
        if process.live_guests:
            self.problem(f"{process.live_guests} guests are left")
        if process.error is not None:
            self.problem(f"the run broke off: {process.error!r}")

    # ── at the end ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def final(self):
        """Everything about the whole record, once the run has ended."""
        disk = self.world.disk
        if not disk.verify():
            self.problem("the chain does not verify")
        records = [event for event in disk.events if "v" in event.payload]
        self._pauses(records)
        runs = defaultdict(list)
        for event in records:
            runs[event.payload["run_id"]].append(event)
        for run_id, events in runs.items():
            self._run(run_id, events)
        for identity, last_seq in self._parked:
            following = [event.kind for event in runs[identity.run_id][last_seq : last_seq + 3]]
            if following[:1] == ["run.clock_set"]:  # who takes it up says first by what clock
                following = following[1:]
            if following[:1] == ["run.cancelling"]:  # that somebody cancelled it can be the first that it is taken up for
                following = following[1:]
            if following and following[0] != "run.recovered":
                self.problem(f"{identity.opening_name}: {following[0]} was recorded of a parked run before it was taken up")
        for (name, key), times in self.world.outside.done.items():
            if name == "mail.send" and times > 1 + self.world.outside.resent[key]:
                self.problem(f"mail {key} went out {times} times")

    def _run(self, run_id, events):
        name = events[0].payload["opening_name"]
        seqs = [event.payload["seq"] for event in events]
        if seqs != list(range(1, len(events) + 1)):
            self.problem(f"{name}: the numbers of the records are {seqs}")
        ends = [number for number, event in enumerate(events) if event.kind == "run.finished"]
        if ends != [len(events) - 1]:
            kinds = [event.kind for event in events[-3:]]
            self.problem(f"{name} {run_id}: run.finished at {ends} of {len(events)}, which end with {kinds}")
        if [event.kind for event in events if event.kind in ("run.submitted", "run.started")] not in (
            ["run.submitted", "run.started"],
            ["run.submitted"],
        ):
            self.problem(f"{name}: it was not submitted and started once")
        if any(event.kind == "run.cancelling" for event in events) and events[-1].payload["meta"].get("status") != "cancelled":
            self.problem(f"{name}: it was cancelled and ended otherwise")
        self._times(name, events)
        self._ends(name, events)

    def _times(self, name, events):
        """Time decides at a gate when it has come, and what the opening says."""
        asked = {event.payload["meta"]["approval_id"]: event.payload["meta"] for event in events if event.kind == "approval.requested"}
        for event in events:
            meta = event.payload["meta"]
            if event.kind == "approval.expired" and meta["decision"] != "expired":
                gate = asked[meta["approval_id"]]
                early = event.ts_ms < gate["deadline"] and not self.world.ahead_ms
                if meta["decision"] != gate["on_timeout"] or early:
                    self.problem(f"{name}: gate {meta['approval_id']} closed with {meta['decision']} at {event.ts_ms}, its time is {gate}")

    def _ends(self, name, events):
        """Everything that was begun has its end, once. A beginning counts one, an end a thousand."""
        calls, attempts, approvals = Counter(), Counter(), Counter()
        for event in events:
            meta = event.payload["meta"]
            if event.kind in ("effect.requested", "approval.requested") and attempts[meta["node"], meta["attempt"]] >= 1000:
                self.problem(f"{name}: {event.kind} of {meta['node']}/{meta['attempt']} stands behind the end of its attempt")
            if event.kind.startswith("effect."):
                calls[meta["node"], meta["attempt"], meta["call"]] += 1000 if event.kind in OUTCOMES else 1
            elif event.kind == "node.started":
                attempts[meta["node"], meta["attempt"]] += 1
            elif event.kind == "node.finished" and meta["attempt"] and not self._was_between(attempts, event):
                attempts[meta["node"], meta["attempt"]] += 1000
            elif event.kind.startswith("approval."):
                approvals[meta["approval_id"]] += 1 if event.kind == "approval.requested" else 1000
        for what, counted in (("call", calls), ("attempt", attempts)):
            for key, count in counted.items():
                if count != 1001 and not (what == "attempt" and count == 1000):  # a node of items has an end, but it is they that start
                    self.problem(f"{name}: {what} {key} has {count % 1000} beginnings and {count // 1000} ends")
        for key, count in approvals.items():
            if count != 1001:
                self.problem(f"{name}: approval {key} has {count % 1000} requests and {count // 1000} decisions")

    def _pauses(self, events):
        """While a run is paused, neither it nor its children begin anything outside: what is requested is refused, in the same commit."""
        parents = {event.payload["run_id"]: event.payload["parent_run_id"] for event in events}
        paused = set()
        for number, event in enumerate(events):
            run_id, meta = event.payload["run_id"], event.payload["meta"]
            if event.kind == "run.paused":
                paused.add(run_id)
            elif event.kind == "run.resumed":
                paused.discard(run_id)
            elif event.kind == "effect.requested" and meta["class"] not in ("read", "waiting") and self._above(run_id, parents) & paused:
                following = next((each for each in events[number + 1 :] if each.payload["run_id"] == run_id), None)
                if following is None or following.kind not in OUTCOMES or following.payload["meta"]["call"] != meta["call"]:
                    where = f"{meta['node']}/{meta['attempt']}/{meta['call']}"
                    self.problem(f"{event.payload['opening_name']}: {meta['name']} of {where} was begun in a pause")

    @staticmethod
    def _above(run_id, parents):
        """The run and those that it is a child of."""
        found = set()
        while run_id is not None:
            found.add(run_id)
            run_id = parents[run_id]
        return found

    @staticmethod
    def _was_between(attempts, event):
        """Whether a node ended between two attempts: its last attempt has its end already, with the pause that was to follow."""
        meta = event.payload["meta"]
        return meta["status"] == "cancelled" and attempts[meta["node"], meta["attempt"]] >= 1000


def outcome_of(world):
    """What a run came to, in a form that does not depend on when things happened."""
    runs = defaultdict(dict)
    for event in world.disk.events:
        if "v" not in event.payload or event.payload["parent_run_id"] is not None:
            continue
        meta = event.payload["meta"]
        if event.kind == "node.finished":
            error = meta.get("error") or {}
            runs["nodes"].setdefault(meta["node"], []).append(
                (meta["attempt"], meta["status"], meta.get("outputs_hash"), error.get("code"), meta.get("tokens"), meta.get("usd"))
            )
        elif event.kind == "run.finished":
            runs["end"] = {name: meta.get(name) for name in ("status", "reason", "final_hash", "tokens", "usd")}
            runs["end"]["code"] = (meta.get("error") or {}).get("code")
    return dict(runs)
