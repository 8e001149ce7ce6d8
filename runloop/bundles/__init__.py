"""Agent bundles: reading and checking them, finding them, sealing, scaffolding and installing them."""

from runloop.bundles.bundle import Bundle, Inspection, bundle_from_files, inspect_bundle, load_bundle
from runloop.bundles.manifest import Limits, Manifest, Port
from runloop.bundles.paths import agent_search_dirs, shipped_agents_dir, shipped_openings_dir
from runloop.bundles.store import BundleStore, Listed, OverrideDirs

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
