"""The bundles' own cases, in the sandbox that runs use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from runloop.bundles.bundle import inspect_bundle, load_bundle
from runloop.bundles.lint import lint
from runloop.sandbox import Limits, WorkerPool
from runloop.testing import read_cases, run_cases

NAMES = ("chooser", "contact_resolver", "context_gatherer", "critic", "mailer", "writer")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool(guest_cache: Path) -> AsyncIterator[WorkerPool]:
    async with WorkerPool(guest_cache / "runloop", workers=1) as made:
        yield made


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_bundle_is_sealed_and_sound(agents: Path, name: str) -> None:
    inspection = inspect_bundle(agents / name, home="/home/nobody", env={})
    assert [problem.to_dict() for problem in (*inspection.problems, *lint(inspection))] == []


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", NAMES)
async def test_the_cases_of_a_shipped_bundle_pass_in_the_sandbox(agents: Path, pool: WorkerPool, name: str) -> None:
    bundle = load_bundle(agents / name, home="/home/nobody", env={})
    cases = read_cases((agents / name / "tests" / "cases.yaml").read_text(encoding="utf-8"), file=name)
    results = [result async for result in run_cases(bundle, cases, pool, Limits())]
    assert {result.name: result.failures for result in results} == {case.name: () for case in cases}
