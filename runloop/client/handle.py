"""A run as its submitter sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from runloop.bus.errors import from_wire
from runloop.client.following import Following, Record
from runloop.dataclass import dataclass
from runloop.errors import RunloopError

if TYPE_CHECKING:
    from runloop.client.client import Client


def run_topic(run_id: str) -> str:
    """Where the records of a run that nobody spawned are published."""
    return f"rlp/runs/trace:{run_id}/events"


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended. ``status`` is succeeded, failed or cancelled; ``outputs`` are those of the nodes, by node and port."""

    run_id: str
    status: str
    reason: str
    error: RunloopError | None
    record: Mapping[str, Any]
    outputs: Mapping[str, Mapping[str, list[Any]]]

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return self.status == "succeeded"

    @property
    def code(self) -> str:
        """The failure's stable code, empty on success."""
        return "" if self.error is None else self.error.code


class RunHandle:
    """One run of the daemon: follow it, wait for it, change it. It holds no connection of its own and need not be closed."""

    def __init__(
        self,
        client: Client,
        run_id: str,
        topic: str,
        *,
        opening_name: str = "",
        from_seq: int = 1,
        attended: bool = False,
        last_seq: int | None = None,
    ) -> None:
        self._client = client
        self._from_seq = from_seq
        self._attended = attended
        self._last_seq = last_seq
        self._result: RunResult | None = None
        self.id = run_id
        self.topic = topic
        self.opening_name = opening_name

    def __repr__(self) -> str:
        return f"<RunHandle {self.id} {self.opening_name}>"

    def following(self, from_seq: int | None = None) -> Following:
        """The records as a context: once it is entered, nothing that comes is missed."""
        first = self._from_seq if from_seq is None else from_seq
        return Following(self._client, self.id, self.topic, first, attended=self._attended, last_seq=self._last_seq)

    async def records(self, from_seq: int | None = None) -> AsyncIterator[Record]:
        """Every record from the first one (or ``from_seq``) to the run's end, each once; raises as :class:`Following` says."""
        async with self.following(from_seq) as following:
            async for record in following:
                yield record

    async def result(self) -> RunResult:
        """Wait for the end. A run that failed is a result too; what raises is that no end can be seen."""
        if self._result is None:
            async with self.following(1) as following:
                async for _ in following:
                    pass
            self._result = await self.ended(following)
        return self._result

    async def ended(self, following: Following) -> RunResult:
        """The result of a run that was followed from its first record to its end, with what each node gave."""
        outputs = {node: await self._whole(value) for node, value in following.outputs.items()}
        return result_of(following.end or {}, outputs)

    async def outputs(self) -> Mapping[str, Mapping[str, list[Any]]]:
        """Wait for the end; what each node gave, by port. Raises the run's error where it did not succeed."""
        result = await self.result()
        if not result.ok:
            raise result.error or RunloopError(f"run {self.id} {result.status}: {result.reason}", code="run.failed")
        return result.outputs

    async def _whole(self, value: Any) -> Any:
        """A recorded value as it was given: a large one is fetched, an escape undone."""
        if isinstance(value, dict) and value.keys() == {"$blob", "bytes"}:
            return await self._client.blob(value["$blob"])
        return value["$data"] if isinstance(value, dict) and value.keys() == {"$data"} else value

    async def cancel(self, reason: str | None = None) -> dict[str, Any]:
        """Stop it: what works is interrupted, what waits is dropped, what is queued never starts."""
        return await self._client.ask("cancel", run=self.id, reason=reason)

    async def pause(self, reason: str | None = None) -> dict[str, Any]:
        """Let it begin nothing new."""
        return await self._client.ask("pause", run=self.id, reason=reason)

    async def resume(self, reason: str | None = None) -> dict[str, Any]:
        """Let it go on."""
        return await self._client.ask("resume", run=self.id, reason=reason)

    async def state(self) -> str:
        """queued, running, waiting, paused, succeeded, failed or cancelled; ``unfinished`` where it has no end and nobody drives it."""
        return str((await self._client.ask("attach", run=self.id))["state"])


def result_of(record: Mapping[str, Any], outputs: Mapping[str, Any] | None = None) -> RunResult:
    """How a run ended, from its last record."""
    meta = record["meta"]
    error = from_wire(meta["error"]) if meta.get("error") else None
    return RunResult(record["run_id"], meta["status"], meta.get("reason") or "", error, record, outputs or {})
