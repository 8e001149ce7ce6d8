"""Replaying a run that was found: its bundles, its guests, and the one event that a replay leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runloop.bundles import Bundle, bundle_from_files
from runloop.errors import RunloopError, VerificationFailed
from runloop.events import NewEvent
from runloop.links import followed
from runloop.runs.kept import DIRECTORY as KEPT
from runloop.runs.kept import KeptOnDisk
from runloop.runs.places import bundle_store, load_at

if TYPE_CHECKING:
    from runloop.config import Settings
    from runloop.runs.archives.archive import Archive
    from runloop.runs.replay import ReplayReport
    from runloop.runs.sources import FoundRun

_NOWHERE = "/nowhere"


class _AnyVariable(dict[str, str]):
    """An environment in which every variable is set: a bundle from elsewhere may name directories by variables of its own machine."""

    def get(self, _key: str, _default: Any = None) -> str:
        """Somewhere that is nowhere: a replay opens no file."""
        return _NOWHERE


def bundle_in(archive: Archive, digest: str) -> Bundle | None:
    """The verified bundle that an archive holds, or None. It is for replays: its paths are those of another machine."""
    files = archive.bundle_files(digest)
    return None if files is None else bundle_from_files(files, root=Path(f"bundle-{digest[:12]}"), home=_NOWHERE, env=_AnyVariable())


def bundle_finder(settings: Settings, found: FoundRun, agents_dir: Path | None = None) -> Callable[[str, str | None, str], Bundle]:
    """How the bundles of a run are found: in its archive, else kept since it ran, else in ``agents_dir`` or installed."""
    store = bundle_store(settings, agents_dir)

    def bundle_of(name: str, variant: str | None, digest: str) -> Bundle:
        there = _kept(settings, digest) if found.archive is None else bundle_in(found.archive, digest)
        return there or store.resolve(name, variant)

    return bundle_of


def _kept(settings: Settings, digest: str) -> Bundle | None:
    """The bundle of that digest as it is kept for runs, or None."""
    try:
        return KeptOnDisk(settings.directories.pog / KEPT, bundle_store(settings).narrowed, partial(load_at, settings)).bundle(digest)
    except RunloopError:
        return None


def bundle_exactly(settings: Settings) -> Callable[[str, str | None, str], Bundle | None]:
    """Finds a bundle that is exactly the one that ran, kept or installed, or None."""
    store = bundle_store(settings)

    def bundle_of(name: str, variant: str | None, digest: str) -> Bundle | None:
        if (kept := _kept(settings, digest)) is not None:
            return kept
        try:
            bundle = store.resolve(name, variant)
        except RunloopError:
            return None
        return bundle if bundle.digest == digest else None

    return bundle_of


def bundle_at(settings: Settings, path: Path) -> Bundle:
    """The sound bundle in a directory, narrowed as installed ones are."""
    return bundle_store(settings).narrowed(load_at(settings, followed(path)))


async def replay_found(
    settings: Settings,
    found: FoundRun,
    *,
    agents_dir: Path | None = None,
    replaced: Mapping[str, Bundle] | None = None,
    any_guest: bool = False,
) -> ReplayReport:
    """Replay a run in a worker of its own, which has nobody who could act.

    Raises:
        VerificationFailed: ``archive.redacted``, and as :meth:`Replayer.replay`.

    """
    from runloop.effects.perform.secrets import SecretHandles, SecretsHandle, SecretStore
    from runloop.runs.obeying import limits_from
    from runloop.runs.replay import Replayer
    from runloop.sandbox import WorkerPool, guest_digest
    from runloop.sandbox.kept import kept_path

    archive = found.archive
    if archive is not None and archive.manifest.redacted is not None:
        raise VerificationFailed(
            f"the archive was redacted ({archive.manifest.redacted} values are masked): its answers are not those that the agents got",
            code="archive.redacted",
            hint="show, trace and diff work on it; for a replay ask for the archive without --redact",
        )
    handles = SecretHandles(SecretStore(()), lambda _secret_id: ())
    kept = settings.directories.pog / KEPT
    async with WorkerPool(settings.directories.cache, workers=1, kept=kept) as pool:
        replayer = Replayer(
            pool,
            bundle_finder(settings, found, agents_dir),
            limits_from(settings),
            {"secrets.handle": SecretsHandle(handles)},
            guest_digest(),
            replaced or {},
            any_guest=any_guest,
            kept_guest=lambda digest: kept_path(kept, digest).exists(),
        )
        return await replayer.replay(found.source, found.run_id, whole=archive is None or archive.manifest.selected is None)


def report_event(found: FoundRun, report: ReplayReport, replaced: Mapping[str, Bundle]) -> NewEvent:
    """The event that says how a replay went."""
    payload = {
        "run": report.run_id,
        "origin": "own" if found.origin == "archived" else found.origin,
        "matches": report.matches,
        "attempts": [attempt.to_dict() for attempt in report.attempts],
        "recorded_hash": report.recorded_hash,
        "final_hash": report.final_hash,
        "agents": {name: bundle.digest for name, bundle in replaced.items()} or None,
        "archive": None if found.archive is None else found.archive.digest,
    }
    return NewEvent("replay.reported", {key: value for key, value in payload.items() if value is not None}, "user")
