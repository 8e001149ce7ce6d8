"""One pool for all sandbox tests, and short ways to run an agent in it."""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from runloop.sandbox import GuestResult, WorkerPool

sys.path.insert(0, str(Path(__file__).parent))  # pytest's importlib mode leaves it out, and child processes use the helpers too
from tests_sandbox_helpers import Host, python_spec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the coroutine tests of this folder on the loop that has the pool."""
    for item in items:
        if "tests/sandbox/" in item.path.as_posix() and isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.function):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def cache_dir(guest_cache: Path) -> Path:
    """The compiled Python guest is kept between test runs: its cache finds out by itself what is stale or broken."""
    return guest_cache / "runloop"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pool(cache_dir: Path) -> AsyncIterator[WorkerPool]:
    """The pool; a test that breaks a worker leaves a new one to the next."""
    async with WorkerPool(cache_dir) as made:
        await made.prepare()
        yield made


@pytest.fixture
def host() -> Host:
    """A host of the test's own."""
    return Host()


@pytest.fixture
def run(pool: WorkerPool, host: Host) -> Callable[..., Any]:
    """Run an agent and give its result as a value."""

    async def run_one(sources: Any, with_: dict[str, Any] | None = None, inputs: dict[str, list[Any]] | None = None, **rest: Any) -> Any:
        done: GuestResult = await pool.run(python_spec(sources, with_, inputs, **rest), host)
        return json.loads(done.result_json)

    return run_one
