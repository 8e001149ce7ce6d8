"""Native programs as agents: work that is addressed to a name, answered on the topic that came with it (docs/protocol.md, "Agents")."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import runloop
from runloop.bus.errors import DeadlinePassed, Disconnected
from runloop.bus.topics import check_topic
from runloop.dataclass import dataclass
from runloop.errors import InvalidInput, RunloopError, Where
from runloop.rmp import EncodeError
from runloop.tasks import end_tasks

if TYPE_CHECKING:
    from runloop.bus.message import Message
    from runloop.client.client import Client

HELLO_TOPIC: Final = "rlp/runtime/hello"
HELLO: Final = "observation.agent.hello.v1"
REQUEST: Final = "intent.executor.agent.request.v1"
RESPONSE: Final = "toolresult.executor.agent.response.v1"
DEADLINE_S: Final = 30.0
MAX_DEADLINE_S: Final = 31 * 24 * 3600
_REASON: Final = 2_000
"""Characters of a reason; a longer one is cut."""
Ports = Mapping[str, list[Any]]
"""Values by port, in their order."""


class AgentFailed(RunloopError):  # noqa: N818 - named for what it is, like the rest of the tree
    """The agent says that it failed; ``retryable`` is its own word."""

    code = "agent.failed"


class BadWork(InvalidInput):
    """A request or an answer is not in the form that the protocol has."""

    code = "agent.envelope"


@dataclass(frozen=True, slots=True)
class Work:
    """One request to an agent. ``node`` is the node that asks, with at least its ``id``; ids are UUIDs as text; times are epoch ms."""

    node: Mapping[str, Any]
    inputs: Ports
    trace_id: str
    opening_id: str | None
    attempt: int
    reply_topic: str
    expires_at_ms: int


async def serve(client: Client, handler: Callable[[Work], Awaitable[Ports]], *, width: int = 8) -> None:
    """Announce the agent and answer its work with ``handler``, ``width`` at a time, until cancelled or the connection is lost for good.

    What the handler returns are the outputs by port. A RunloopError that it raises is the answer ``Failed``, with its ``retryable``; any
    other exception is a failure too, told without its text. Work that expires is cancelled, or not begun, and not answered.
    """
    name = client.agent
    if name is None:
        raise InvalidInput(
            "this client is no agent", code="client.no_agent", where=Where(key="agent"), hint="connect with Client(agent=NAME)"
        )
    if not callable(handler):
        raise InvalidInput("the handler cannot be called", code="client.serve", where=Where(key="handler"), hint="give an async function")
    if not isinstance(width, int) or width < 1:
        raise InvalidInput(
            f"with the width {width!r} no work would be done", code="client.serve", where=Where(key="width"), hint="use a number from 1 on"
        )
    agent_id = str(uuid.uuid4())
    work = await client.subscribe(f"agent/{name}")
    tasks: set[asyncio.Task[None]] = set()
    free = asyncio.Semaphore(width)

    def start(made: asyncio.Task[None]) -> None:
        tasks.add(made)
        made.add_done_callback(tasks.discard)

    def announce_again() -> None:
        start(asyncio.get_running_loop().create_task(_announce(client, name, agent_id)))

    client.bus.on_reconnect.append(announce_again)
    try:
        await _announce(client, name, agent_id)
        while True:
            await free.acquire()
            message = await anext(work, None)
            if message is None:
                return
            start(asyncio.create_task(_answer(client, name, message, handler, free)))
    finally:
        client.bus.on_reconnect.remove(announce_again)
        await end_tasks(*tasks)
        with suppress(RunloopError):
            await work.close()


async def _announce(client: Client, name: str, agent_id: str) -> None:
    hello = {"agent_id": agent_id, "name": name, "shim_version": runloop.__version__, "capabilities": {"bitmap": 0, "labels": []}}
    await client.publish(HELLO_TOPIC, HELLO, hello, ack=True)


async def _answer(
    client: Client, name: str, message: Message, handler: Callable[[Work], Awaitable[Ports]], free: asyncio.Semaphore
) -> None:
    try:
        try:
            work = read_work(message, name)
        except RunloopError:
            return  # nothing says where an answer would go
        left_s = (work.expires_at_ms - _now_ms()) / 1000
        if left_s <= 0:
            return  # it waited for others so long, and may have been given to somebody else since
        try:
            async with asyncio.timeout(left_s):
                answer = await _outcome(handler, work)
        except TimeoutError:
            return
        try:
            await client.bus.publish(work.reply_topic, RESPONSE, answer, ack=True, trace_id=message.trace_id)
        except EncodeError as error:  # outputs that RMP cannot carry
            await client.bus.publish(work.reply_topic, RESPONSE, _failed(error), ack=True, trace_id=message.trace_id)
    except RunloopError:
        return  # who asked sees that no answer comes
    finally:
        free.release()


async def _outcome(handler: Callable[[Work], Awaitable[Ports]], work: Work) -> dict[str, Any]:
    try:
        ports = await handler(work)
        return {"Completed": {"ports": read_ports(ports, "outputs")}}
    except RunloopError as error:
        return _failed(error)
    except Exception as error:  # noqa: BLE001 - whatever breaks in a handler is an answer, and the agent goes on
        return {"Failed": {"retryable": False, "reason": f"the agent broke: {type(error).__name__}"}}


def _failed(error: RunloopError) -> dict[str, Any]:
    return {"Failed": {"retryable": error.retryable, "reason": f"{error.code}: {error.message}"[:_REASON]}}


def read_work(message: Message, name: str) -> Work:
    """A request to the agent of that name; raises BadWork or an RmpError for anything else."""
    if message.type != REQUEST:
        raise _bad("type", f"work is a {REQUEST}")
    fields = message.payload if isinstance(message.payload, dict) else {}
    node, inputs, trace_id, opening_id, attempt, reply_topic = (
        fields.get(key) for key in ("node", "inputs", "trace_id", "opening_id", "attempt", "reply_topic")
    )
    if not isinstance(node, dict) or not isinstance(node.get("id"), str):
        raise _bad("node", "a map with the node's id")
    if not isinstance(trace_id, str) or not (opening_id is None or isinstance(opening_id, str)):
        raise _bad("trace_id", "ids are UUIDs as text")
    if not isinstance(attempt, int) or isinstance(attempt, bool) or attempt < 1:
        raise _bad("attempt", "attempts count from 1")
    levels = check_topic(reply_topic).split("/")
    if len(levels) != 6 or [*levels[:2], *levels[3:5]] != ["rlp", "runs", "agents", name]:
        raise _bad("reply_topic", f"answers of {name} go to rlp/runs/trace:<trace id>/agents/{name}/<UUID>")
    ports = read_ports(inputs.get("ports") if isinstance(inputs, dict) else None, "inputs.ports")
    return Work(node, ports, trace_id, opening_id, attempt, "/".join(levels), message.header.expires_at_ms)


def read_ports(value: Any, key: str) -> dict[str, list[Any]]:
    """Values by port; raises BadWork."""
    if not isinstance(value, Mapping) or not all(isinstance(port, str) and isinstance(each, list) for port, each in value.items()):
        raise _bad(key, "a map from each port to a list of values")
    return dict(value)


async def call(
    client: Client,
    name: str,
    inputs: Ports,
    *,
    node: str = "call",
    trace_id: str | None = None,
    opening_id: str | None = None,
    attempt: int = 1,
    deadline_s: float = DEADLINE_S,
) -> dict[str, list[Any]]:
    """Give work to a native agent; its outputs by port. Operators may.

    Raises:
        AgentFailed: the agent says so.
        BadWork: its answer is none.
        DeadlinePassed: there is no answer in time.
        Disconnected: ``bus.no_responder`` where no agent of that name is there.

    """
    trace = str(uuid.uuid4()) if trace_id is None else trace_id
    reply_topic = f"rlp/runs/trace:{trace}/agents/{name}/{uuid.uuid4()}"
    first: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

    def take(message: Message) -> None:
        if not first.done():
            first.set_result(message)

    request = {
        "node": {"id": node},
        "inputs": {"ports": read_ports(inputs, "inputs")},
        "trace_id": trace,
        "opening_id": opening_id,
        "attempt": attempt,
        "reply_topic": reply_topic,
    }
    try:
        number = uuid.UUID(trace).int
    except ValueError:
        raise _bad("trace_id", "a UUID as text") from None
    if not isinstance(deadline_s, int | float) or not 0 < deadline_s <= MAX_DEADLINE_S:
        raise _bad("deadline_s", f"a number of seconds, above 0 and at most {MAX_DEADLINE_S:,}")
    answers = await client.subscribe(reply_topic, max_messages=4, max_bytes=64 * 1024, on_message=take)
    try:
        async with asyncio.timeout(deadline_s):
            ttl_ms = max(1, int(deadline_s * 1000))
            if not await client.bus.publish(f"agent/{name}", REQUEST, request, ack=True, ttl_ms=ttl_ms, trace_id=number):
                raise Disconnected(f"no agent {name!r} is there", code="bus.no_responder", hint="is its program running?")
            message = await first
    except TimeoutError:
        raise DeadlinePassed(f"no answer of the agent {name!r} within {deadline_s} s", hint="ask again with a longer deadline") from None
    finally:
        with suppress(RunloopError):
            await answers.close()
    return _read_answer(message, name, number)


def _read_answer(message: Message, name: str, trace_id: int) -> dict[str, list[Any]]:
    if message.type != RESPONSE:
        raise _bad("type", f"agent response schema mismatch: {name} answered with a {message.type}")
    if message.trace_id != trace_id:
        raise _bad("trace_id", f"{name} answered for another trace")
    answer = message.payload
    failed = answer.get("Failed") if isinstance(answer, dict) else None
    if isinstance(failed, dict):
        reason = str(failed.get("reason", ""))[:_REASON]
        raise AgentFailed(f"the agent {name!r} failed: {reason}", retryable=failed.get("retryable") is True)
    completed = answer.get("Completed") if isinstance(answer, dict) else None
    return read_ports(completed.get("ports") if isinstance(completed, dict) else None, "Completed.ports")


def _bad(key: str, what: str) -> BadWork:
    return BadWork(f"{key} cannot be used: {what}", where=Where(key=key), hint="docs/protocol.md, Agents, has the form")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
