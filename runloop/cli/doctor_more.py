"""The checks of `rlp doctor` beside what a run needs: knowledge base, vectors, space, grants, shell integration."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from runloop.cli.doctor import Finding

if TYPE_CHECKING:
    from runloop.config import Settings

_LARGE_SHARE = 0.5
"""Of the free space: a base that takes more cannot be backed up or rebuilt twice over."""


def _knowledge(settings: Settings) -> Finding:
    if not _base_there(settings):
        return Finding("knowledge", "ok", "nothing is in it yet; `rlp kb import` brings something in")
    from runloop.runs.places import open_knowledge

    with open_knowledge(settings) as kb:
        synced, aside = kb.sync(), kb.problems()
        counts = kb.query(
            "SELECT (SELECT count(*) FROM contacts), (SELECT count(DISTINCT path) FROM notes), (SELECT count(*) FROM runs)"
        ).rows[0]
    detail = f"{counts[0]} contacts, {counts[1]} notes, {counts[2]} runs; derived up to event {synced.watermark}"
    if aside:
        return Finding(
            "knowledge",
            "warn",
            f"{detail}; {len(aside)} events are set aside",
            "`rlp kb poison list` says why, `rlp kb poison retry` tries again",
        )
    return Finding("knowledge", "ok", detail)


def _vectors(settings: Settings) -> Finding:
    from runloop.runs.meaning import meaning

    chosen = meaning(settings)
    if chosen is None:
        return Finding("vectors", "ok", "off: search goes by words alone")
    if not _base_there(settings):
        return Finding("vectors", "ok", f"by {chosen.embedder.identity}; none yet")
    from runloop.runs.places import open_knowledge

    with open_knowledge(settings) as kb:
        kb.sync()
        now = kb.vectors.status(chosen.domains, counted=True)
    if now.embedder not in {None, chosen.embedder.identity}:
        detail = f"made by {now.embedder}, and {chosen.embedder.identity} is set"
        return Finding("vectors", "warn", detail, "`rlp kb embed` makes them anew; the daemon does it in the background")
    if now.embedded < now.documents:
        detail = f"{now.embedded} of {now.documents} documents, by {chosen.embedder.identity}"
        return Finding("vectors", "warn", detail, "`rlp kb embed` makes the others; the daemon does it in the background")
    return Finding("vectors", "ok", f"all {now.documents} documents, by {chosen.embedder.identity}")


def _space(settings: Settings) -> Finding:
    state = settings.base.state
    places = [settings.directories.pog, state, settings.directories.cache]
    files = {
        path.resolve(): path for place in places if place.is_dir() for path in place.rglob("*") if path.is_file() and not path.is_symlink()
    }
    taken = sum(path.stat().st_size for path in files)
    place = next(each for each in (state, *state.parents) if each.exists())
    free = shutil.disk_usage(place).free
    detail = f"Runloop takes {taken / 1e9:.2f} GB"
    if taken > _LARGE_SHARE * free:
        return Finding(
            "space",
            "warn",
            f"{detail}, and {free / 1e9:.2f} GB are free",
            "`rlp kb prune --older-than 90d` archives old runs, `rlp kb stats` says what takes it",
        )
    return Finding("space", "ok", detail)


def _grants(settings: Settings) -> Finding:
    from runloop.runs.grants import FILE, StandingGrants

    given = StandingGrants(settings.base.state / FILE).all()
    if not given:
        return Finding("grants", "ok", "nothing is approved beyond its run")
    return Finding("grants", "ok", f"{len(given)} approvals stand beyond their run; `rlp inbox --grants` lists them")


def _shell(_settings: Settings) -> Finding:
    from runloop.cli import shell

    name = Path(os.environ.get("SHELL", "")).name
    if name not in ("bash", "zsh", "fish"):
        return Finding("shell", "ok", "SHELL is none of bash, zsh and fish; there is nothing to integrate")
    if not shell.enabled_in(name):
        return Finding("shell", "ok", f"not in {name}; `rlp shell enable` lets requests at the prompt go to agents")
    source = shell.snippet_of(name)
    if source is not None and not source.is_file():
        return Finding(
            "shell", "fail", f"{shell.rc_file(name, os.environ)} reads {source}, which is gone", f"`rlp shell enable --shell {name}`"
        )
    if shutil.which("rlp") is None:
        return Finding(
            "shell", "warn", f"it is in {name}, and no `rlp` is in PATH", f"add its directory to PATH in {shell.rc_file(name, os.environ)}"
        )
    return Finding("shell", "ok", f"on in {name}")


def _base_there(settings: Settings) -> bool:
    return bool((settings.directories.pog / settings.get("kb.events_db")).exists())


MORE: tuple[Callable[[Settings], Finding], ...] = (_knowledge, _vectors, _space, _grants, _shell)
