"""Agent bundles: reading and checking them, finding them, sealing, scaffolding and installing them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.lazily import importing

if TYPE_CHECKING:
    from runloop.bundles.bundle import Bundle, Inspection, bundle_from_files, inspect_bundle, load_bundle
    from runloop.bundles.manifest import Limits, Manifest, Port
    from runloop.bundles.paths import agent_search_dirs, shipped_agents_dir, shipped_openings_dir
    from runloop.bundles.store import BundleStore, Listed, OverrideDirs

_HOMES = {
    "Bundle": "bundle",
    "BundleStore": "store",
    "Inspection": "bundle",
    "Limits": "manifest",
    "Listed": "store",
    "Manifest": "manifest",
    "OverrideDirs": "store",
    "Port": "manifest",
    "agent_search_dirs": "paths",
    "bundle_from_files": "bundle",
    "inspect_bundle": "bundle",
    "load_bundle": "bundle",
    "shipped_agents_dir": "paths",
    "shipped_openings_dir": "paths",
}

__all__ = [
    "Bundle",
    "BundleStore",
    "Inspection",
    "Limits",
    "Listed",
    "Manifest",
    "OverrideDirs",
    "Port",
    "agent_search_dirs",
    "bundle_from_files",
    "inspect_bundle",
    "load_bundle",
    "shipped_agents_dir",
    "shipped_openings_dir",
]

__getattr__ = importing(__name__, _HOMES)
