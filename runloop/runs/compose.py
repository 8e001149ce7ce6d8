"""The composition root of a process that runs openings: settings in, a run manager with everything behind it out."""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import field
from functools import lru_cache
from typing import TYPE_CHECKING

from runloop import __version__
from runloop.bundles import load_bundle
from runloop.bundles.signature import refused, trusted
from runloop.config.paths import SYSTEM_CONFIG
from runloop.dataclass import dataclass
from runloop.errors import Denied, Where
from runloop.kb import AsyncLedger
from runloop.kb.search import DOMAINS
from runloop.links import followed
from runloop.openings.budget import least
from runloop.policy import Capabilities
from runloop.runs.grants import FILE as GRANTS
from runloop.runs.grants import StandingGrants
from runloop.runs.history import load_run
from runloop.runs.kept import DIRECTORY as KEPT
from runloop.runs.kept import KeptOnDisk
from runloop.runs.lookup import OpeningText, named_opening
from runloop.runs.manager import RunManager
from runloop.runs.operator import Nobody
from runloop.runs.owners import Owner
from runloop.runs.places import agent_signers, bundle_store, kept_files, open_knowledge, opening_dirs, secret_store
from runloop.runs.ports import CapabilityLimits, KnowledgeForAgents, LedgerSentLog
from runloop.runs.pressure import Load, Pressure
from runloop.runs.reports import Reports
from runloop.runs.services import RunRules, Services
from runloop.runs.sources import OwnRuns
from runloop.runs.spawns import Spawn
from runloop.runs.turns import InTurn, Turns
from runloop.sandbox import WorkerPool, guest_digest
from runloop.sandbox.spec import MIB, Limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from pathlib import Path

    from runloop.bundles import Bundle
    from runloop.bundles.manifest import Limits as BundleLimits
    from runloop.config import Settings
    from runloop.effects.perform.mail import MailSettings
    from runloop.effects.perform.secrets import SecretHandles, SecretStore
    from runloop.effects.types import Performer
    from runloop.kb import KnowledgeBase
    from runloop.kb.writer import StallListener
    from runloop.models.broker import Broker
    from runloop.runs.operator import Operator
    from runloop.runs.services import Lookup
    from runloop.runs.turns import Limit
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
        """Let new runs obey ``settings``; those that have begun keep what they began with."""
        self._world.settings = settings
        self.manager.services = self._world.services(lookup)
        self._world.fill(self.manager)
        self.pressure.obey(settings)
        self.manager.services.turns.allow(*node_limits(settings, self.pool, self.pressure))
        self.models.allow(*model_limits(settings))
        await self._world.close_old_brokers(used=bool(self.manager.active))


def clock_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


def limits_from(settings: Settings) -> Callable[[Bundle], Limits]:
    """The limits of an agent: its manifest's, never above the configured ones."""
    memory, wall = settings.get("sandbox.memory_mb") * MIB, settings.get("sandbox.wall_ms")
    output, hostcalls, fuel = (settings.get(f"sandbox.{name}") for name in ("output_bytes", "hostcalls", "fuel"))

    @lru_cache(256)
    def capped(own: BundleLimits) -> Limits:
        return Limits(
            memory_bytes=least(own.memory_bytes, memory) or memory,
            wall_ms=least(own.wall_ms, wall) or wall,
            fuel=least(own.fuel, fuel),
            output_bytes=least(own.output_bytes, output) or output,
            hostcalls=hostcalls if own.hostcalls is None else min(own.hostcalls, hostcalls),
        )

    return lambda bundle: capped(bundle.limits)


def rules_from(settings: Settings) -> RunRules:
    """What the settings and hard limits say about every run."""
    usd = settings.get("policy.max_usd")
    in_advance = settings.get("security.approve_in_advance")
    return RunRules(
        confirm_external_actions=settings.get("security.confirm_external_actions"),
        audit_on_deny=settings.get("security.caps.audit_on_deny"),
        audit_on_allow=settings.get("security.caps.audit_on_allow"),
        max_parallel=settings.get("runtime.max_nodes_per_run"),
        max_tokens=settings.get("policy.max_tokens"),
        max_usd_micros=None if usd is None else round(usd * 1_000_000),
        denied_actions=frozenset(settings.get("policy.deny_actions")),
        approve_in_advance=None if in_advance is None else frozenset(in_advance),
        evict_after_ms=settings.get("runtime.evict_after_ms"),
        park_after_ms=settings.get("runtime.park_after_ms"),
    )


def protected_paths(settings: Settings) -> tuple[str, ...]:
    """What belongs to Runloop itself, as named and as resolved: no policy file can grant an agent access to it."""
    directories, state = settings.directories, settings.base.state
    own = [
        *(directories.pog, directories.agents, directories.openings, directories.token, directories.outbox, directories.cache),
        *(state / name for name in ("secrets", "keys", "policy-overrides", "config.yaml", "sock", GRANTS)),
        settings.get("security.secrets.root"),
        *settings.base.user_files,
        SYSTEM_CONFIG,
    ]
    return tuple(dict.fromkeys(spelled for path in own for spelled in (str(path), os.path.realpath(path))))


def node_limits(settings: Settings, pool: WorkerPool, pressure: Pressure) -> tuple[Limit, int]:
    """How many nodes may work at a time over all runs, and of one run."""
    most = settings.get("runtime.max_agents")
    return lambda: pressure.held(most or pool.places), settings.get("runtime.max_nodes_per_run")


def model_limits(settings: Settings) -> tuple[int, int]:
    """How many model calls may be under way over all runs, and of one run."""
    return settings.get("models.broker.max_calls"), settings.get("models.broker.max_calls_per_run")


class DiskLookup:
    """Agents and openings as they lie on the disk now, as the settings say; ``workdir`` adds names of a working directory."""

    def __init__(self, settings: Settings, workdir: Path | None = None) -> None:
        self.settings = settings
        self.bundles = bundle_store(settings, workdir=workdir)
        self._limit = CapabilityLimits.of(settings)
        self._workdir = workdir

    def agent(self, name: str, variant: str | None) -> Bundle:
        """The verified bundle, narrowed by the hard limits."""
        return self._limit.narrow(_trusted(self.bundles.resolve(name, variant), self.settings))

    def narrowed(self, bundle: Bundle) -> Bundle:
        """A bundle that was verified elsewhere, cut down to what it may do here."""
        return self._limit.narrow(_trusted(self.bundles.narrowed(bundle), self.settings))

    def at(self, path: Path) -> Bundle:
        """The sound bundle in a directory, cut down like any other."""
        home = self.settings.base.home
        return self.narrowed(load_bundle(followed(path), home=None if home is None else str(home), env=os.environ))

    def opening(self, name: str) -> OpeningText:
        """The opening's text, by its name: agents ask for it, who may not read files."""
        return named_opening(name, opening_dirs(self.settings, self._workdir))


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
        pool = WorkerPool(
            directories.cache,
            kept=directories.pog / KEPT,
            workers=settings.get("sandbox.workers") or None,
            progress=progress,
            restarts_per_minute=settings.get("sandbox.restarts_per_minute"),
            ready_s=settings.get("runtime.spawn_ready_timeout_ms") / 1000,
            started=started,
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
        world = _World(settings, kb, ledger, pool, operator or Nobody(), turns, models, owner)
        stack.push_async_callback(world.close_brokers)
        stack.push_async_callback(pool.close)
        pool.launch()  # the processes start while the rest is made
        starting = asyncio.ensure_future(pool.start())
        stack.push_async_callback(_ended, starting)
        manager = RunManager(world.services(lookup or DiskLookup(settings)))
        world.fill(manager)
        await starting
        yield Session(manager, kb, pool, models, pressure, owner, world)
        await asyncio.to_thread(kb.sync)


async def _ended(task: asyncio.Future[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@dataclass(slots=True)
class _World:
    """What outlives a change of the settings, and what is made anew by one."""

    settings: Settings
    kb: KnowledgeBase
    ledger: AsyncLedger
    pool: WorkerPool
    operator: Operator
    turns: Turns
    models: Turns
    owner: Owner
    brokers: list[Broker] = field(default_factory=list)
    store: SecretStore = field(init=False)
    kept: KeptOnDisk = field(init=False)

    def services(self, lookup: Lookup) -> Services:
        """The services of runs that begin from now on, still without performers: see :meth:`fill`."""
        settings = self.settings
        self.kept = KeptOnDisk(settings.directories.pog / KEPT, DiskLookup(settings).narrowed, self._load_bundle)
        self.store = secret_store(settings)
        broker = _broker(settings, self.store)
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
            fresh=os.urandom,
            runloop_version=__version__,
            guest_digest=guest_digest(),
            artifacts_dir=str(settings.directories.artifacts),
            rules=rules_from(settings),
            grants=StandingGrants(settings.base.state / GRANTS),
            turns=self.turns,
        )

    def fill(self, manager: RunManager) -> None:
        """Give the manager's services their performers, some of which report to the manager."""
        from runloop.effects.perform.secrets import SecretHandles

        hosts = self.settings.get("security.secrets.hosts")
        handles = SecretHandles(self.store, lambda secret_id: hosts.get(secret_id, ()))
        performers = _performers(self.settings, manager, self.operator, self.kb, self.ledger, self.brokers[-1], handles, self.store)
        for name in ("model.complete", "model.embed"):
            performers[name] = InTurn(performers[name], self.models)
        manager.services.performers.update(performers)

    def _load_bundle(self, root: Path) -> Bundle:
        home = self.settings.base.home
        return load_bundle(root, home=None if home is None else str(home), env=os.environ)

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


def _trusted(bundle: Bundle, settings: Settings) -> Bundle:
    if settings.get("security.caps.fail_on_empty") and bundle.caps == Capabilities():
        raise Denied(
            f"agent {bundle.ref} has no capabilities, and security.caps.fail_on_empty is true",
            code="policy.denied.no_capabilities",
            where=Where(file=str(bundle.root), key="security.caps.fail_on_empty"),
            hint="grant it in policy.caps what it needs, or set it to false: an agent without capabilities can only compute",
        )
    signers = agent_signers(settings)
    if signers is not None and not trusted(bundle, signers):
        raise refused(bundle)
    return bundle


def _broker(settings: Settings, store: SecretStore) -> Broker:
    from runloop.models.broker import Broker
    from runloop.runs.model_settings import model_settings

    return Broker(model_settings(settings), store.get)


def _mail(settings: Settings) -> MailSettings:
    from runloop.effects.perform.mail import MailSettings
    from runloop.effects.perform.mail_message import local_identity
    from runloop.effects.perform.mail_smtp import SmtpSettings

    host = settings.get("mail.smtp.host")
    smtp = None
    if host is not None:
        keys = ("port", "tls", "user", "secret_id", "timeout_ms")
        smtp = SmtpSettings(host, *(settings.get(f"mail.smtp.{key}") for key in keys))
    local = local_identity(_user_name(), socket.gethostname())
    return MailSettings(settings.directories.outbox, local, settings.get("mail.from"), smtp)


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a uid without a passwd entry
        return f"uid{os.getuid()}"


def _performers(
    settings: Settings,
    manager: RunManager,
    operator: Operator,
    kb: KnowledgeBase,
    ledger: AsyncLedger,
    broker: Broker,
    handles: SecretHandles,
    store: SecretStore,
) -> dict[str, Performer]:
    from runloop.effects.perform.artifact import EmitArtifact
    from runloop.effects.perform.ask import AskPerson
    from runloop.effects.perform.emit import CheckpointMark, EmitLog, EmitProgress
    from runloop.effects.perform.exec import ExecRun
    from runloop.effects.perform.files import FilesList, FilesRead
    from runloop.effects.perform.files_write import FilesWrite
    from runloop.effects.perform.http import HttpFetch
    from runloop.effects.perform.kb import KbGet, KbPropose, KbQuery, KbSearch
    from runloop.effects.perform.mail import MailSend
    from runloop.effects.perform.model import ModelComplete, ModelEmbed
    from runloop.effects.perform.paths import PathRules
    from runloop.effects.perform.secrets import SecretsHandle
    from runloop.effects.perform.timer import TimerSleep

    directories = settings.directories
    knowledge = KnowledgeForAgents(kb)
    rules = PathRules(home=settings.base.home, protected=protected_paths(settings))
    blobs = kept_files(settings)
    reports = Reports(manager)
    return {
        "model.complete": ModelComplete(broker, reports.budget_of, reports),
        "model.embed": ModelEmbed(broker, reports.budget_of),
        "kb.search": KbSearch(knowledge, DOMAINS),
        "kb.get": KbGet(knowledge, DOMAINS),
        "kb.query": KbQuery(knowledge),
        "kb.propose": KbPropose(knowledge),
        "http.fetch": HttpFetch(handles),
        "files.read": FilesRead(rules),
        "files.list": FilesList(rules),
        "files.write": FilesWrite(rules, blobs),
        "exec.run": ExecRun(rules),
        "mail.send": MailSend(_mail(settings), LedgerSentLog(ledger, manager), store),
        "ask.person": AskPerson(operator),
        "secrets.handle": SecretsHandle(handles),
        "spawn.agent": Spawn(manager, "agent"),
        "spawn.opening": Spawn(manager, "opening"),
        "timer.sleep": TimerSleep(),
        "emit.progress": EmitProgress(reports),
        "emit.log": EmitLog(reports),
        "emit.artifact": EmitArtifact(directories.artifacts, reports),
        "checkpoint.mark": CheckpointMark(reports),
    }
