"""Agents and openings as they lie on the disk, and what of them the settings let in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.bundles.signature import refused, trusted
from runloop.errors import Denied, Where
from runloop.links import followed
from runloop.policy import Capabilities
from runloop.runs.lookup import OpeningText, named_opening
from runloop.runs.places import agent_signers, bundle_store, load_at, opening_dirs
from runloop.runs.ports import CapabilityLimits

if TYPE_CHECKING:
    from pathlib import Path

    from runloop.bundles import Bundle
    from runloop.config import Settings


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
        return self.narrowed(load_at(self.settings, followed(path)))

    def opening(self, name: str) -> OpeningText:
        """The opening's text, by its name: agents ask for it, who may not read files."""
        return named_opening(name, opening_dirs(self.settings, self._workdir))


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
