"""The composition root of a process that runs openings: settings in, a run manager with everything behind it out."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import field
from functools import partial
from typing import TYPE_CHECKING

from runloop import __version__
from runloop.dataclass import dataclass
from runloop.kb import AsyncLedger
from runloop.runs.clock import Steady, clock_ms
from runloop.runs.disk import DiskLookup
from runloop.runs.grants import FILE as GRANTS
from runloop.runs.grants import StandingGrants
from runloop.runs.history import load_run
from runloop.runs.kept import DIRECTORY as KEPT
from runloop.runs.kept import KeptOnDisk
from runloop.runs.manager import RunManager
from runloop.runs.obeying import limits_from, model_limits, node_limits, rules_from
from runloop.runs.operator import Nobody
from runloop.runs.owners import Owner
from runloop.runs.performers import make_performers
from runloop.runs.places import load_at, open_knowledge, secret_store
from runloop.runs.pressure import Load, Pressure
from runloop.runs.services import Services
from runloop.runs.sources import OwnRuns
from runloop.runs.turns import InTurn, Turns
from runloop.sandbox import WorkerPool, guest_digest
from runloop.tasks import end_tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from runloop.config import Settings
    from runloop.effects.perform.secrets import SecretStore
    from runloop.kb import KnowledgeBase
    from runloop.kb.writer import StallListener
    from runloop.models.broker import Broker
    from runloop.runs.operator import Operator
    from runloop.runs.services import Lookup
    from runloop.runs.unfinished import Unfinished
    from runloop.sandbox import CompileProgress
    from runloop.sandbox.starting import Started


@dataclass(slots=True)
class Session:
    """What a process has while it runs openings."""

    manager: RunManager
    kb: KnowledgeBase
    pool: WorkerPool
    models: Turns
    """Turns of model calls."""
    pressure: Pressure
    owner: Owner
    """This process, as the records of its runs name it."""
    _world: _World

    def forget_guests(self, unfinished: Iterable[Unfinished]) -> None:
        """Remove kept Python guests of earlier versions that none of these runs needs. Blocking."""
        self._world.kept.forget_guests_but({each.guest for each in unfinished if each.guest is not None} | {guest_digest()})

    async def reconfigure(self, settings: Settings, lookup: Lookup) -> None:
        """Let new runs obey ``settings``; those that have begun keep what they began with.

        Raises what is wrong with the models, and changes nothing then.
        """
        self.manager.services = self._world.services(settings, lookup)
        self._world.fill(self.manager)
        self.pressure.obey(settings)
        self.manager.services.turns.allow(*node_limits(settings, self.pool, self.pressure))
        self.models.allow(*model_limits(settings))
        await self._world.close_old_brokers(used=bool(self.manager.active))


@asynccontextmanager
async def session(
    settings: Settings,
    operator: Operator | None = None,
    progress: Callable[[CompileProgress], None] | None = None,
    lookup: Lookup | None = None,
    on_stall: StallListener | None = None,
    started: list[Started] | None = None,
) -> AsyncIterator[Session]:
    """Open everything a run needs, and close it whatever happens; no process is left behind.

    ``on_stall`` is called on the loop: with the error when a full disk makes the ledger wait, with None when it goes on.
    ``started`` are workers that run already.
    """
    directories = settings.directories
    async with AsyncExitStack() as stack:
        kb = open_knowledge(settings)
        stack.callback(kb.close)
        kb.require_same_ledger()
        owner = Owner.take(directories.pog)
        stack.callback(owner.close)
        steady = Steady()
        stack.enter_context(steady.follows())
        pool = WorkerPool(
            directories.cache,
            kept=directories.pog / KEPT,
            workers=settings.get("sandbox.workers") or None,
            progress=progress,
            restarts_per_minute=settings.get("sandbox.restarts_per_minute"),
            ready_s=settings.get("runtime.spawn_ready_timeout_ms") / 1000,
            started=started,
            clock_s=steady.s,
        )
        turns, models = Turns(), Turns(*model_limits(settings))
        pressure = Pressure(Load(), turns.look_again)
        stack.callback(pressure.close)
        pressure.obey(settings)
        turns.allow(*node_limits(settings, pool, pressure))
        ledger = AsyncLedger(kb.ledger)
        stack.callback(ledger.hand_over)
        if on_stall is not None:
            ledger.watch(on_stall)
        grants = StandingGrants(settings.base.state / GRANTS)
        world = _World(kb, ledger, pool, operator or Nobody(), turns, models, owner, steady, grants)
        stack.push_async_callback(world.close_brokers)
        stack.push_async_callback(pool.close)
        pool.launch()  # the processes start while the rest is made
        starting = asyncio.ensure_future(pool.start())
        stack.push_async_callback(end_tasks, starting)
        manager = RunManager(world.services(settings, lookup or DiskLookup(settings)))
        world.fill(manager)
        await starting
        yield Session(manager, kb, pool, models, pressure, owner, world)
        await asyncio.to_thread(kb.sync)


@dataclass(slots=True)
class _World:
    """What outlives a change of the settings, and what is made anew by one."""

    kb: KnowledgeBase
    ledger: AsyncLedger
    pool: WorkerPool
    operator: Operator
    turns: Turns
    models: Turns
    owner: Owner
    steady: Steady
    grants: StandingGrants
    brokers: list[Broker] = field(default_factory=list)
    settings: Settings = field(init=False)
    store: SecretStore = field(init=False)
    kept: KeptOnDisk = field(init=False)

    def services(self, settings: Settings, lookup: Lookup) -> Services:
        """The services of runs that begin from now on, still without performers: see :meth:`fill`. Raises what is wrong with the models."""
        store = secret_store(settings)
        broker = _broker(settings, store)
        self.settings, self.store = settings, store
        self.kept = KeptOnDisk(settings.directories.pog / KEPT, DiskLookup(settings).narrowed, partial(load_at, settings))
        self.brokers.append(broker)
        runs = OwnRuns(self.kb)
        return Services(
            ledger=self.ledger,
            recorded=lambda run_id: asyncio.to_thread(load_run, runs, run_id),
            events=lambda event_ids: asyncio.to_thread(runs.those, event_ids),
            kept=self.kept,
            owner=self.owner.id,
            driven=self.owner.alive,
            guests=self.pool,
            resolve_agent=lookup.agent,
            resolve_opening=lookup.opening,
            limits_of=limits_from(settings),
            budget=broker.run_budget,
            operator=self.operator,
            clock_ms=clock_ms,
            steady_ms=self.steady.ms,
            fresh=os.urandom,
            runloop_version=__version__,
            guest_digest=guest_digest(),
            artifacts_dir=str(settings.directories.artifacts),
            rules=rules_from(settings),
            grants=self.grants,
            turns=self.turns,
        )

    def fill(self, manager: RunManager) -> None:
        """Give the manager's services their performers, some of which report to the manager."""
        from runloop.effects.perform.secrets import SecretHandles

        hosts = self.settings.get("security.secrets.hosts")
        handles = SecretHandles(self.store, lambda secret_id: hosts.get(secret_id, ()))
        performers = make_performers(self.settings, manager, self.operator, self.kb, self.ledger, self.brokers[-1], handles, self.store)
        for name in ("model.complete", "model.embed"):
            performers[name] = InTurn(performers[name], self.models)
        manager.services.performers.update(performers)

    async def close_old_brokers(self, *, used: bool) -> None:
        """Close all but the newest, unless runs may still use them."""
        if not used:
            old, self.brokers = self.brokers[:-1], self.brokers[-1:]
            for broker in old:
                await broker.aclose()

    async def close_brokers(self) -> None:
        """Close all."""
        for broker in self.brokers:
            await broker.aclose()


def _broker(settings: Settings, store: SecretStore) -> Broker:
    from runloop.models.broker import Broker
    from runloop.runs.model_settings import model_settings

    return Broker(model_settings(settings), store.get)
