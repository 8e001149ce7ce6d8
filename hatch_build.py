"""The build hook: a wheel (and an editable install) carries the shared Python guest, built here with componentize-py."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class GuestBuildHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling's own examples leave it open
    """Builds ``runloop/data/guest`` unless it is up to date; the wheel stays independent of the platform."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the guest before files are collected."""
        root = Path(self.root)
        where = root / "runloop" / "sandbox" / "guest" / "build.py"
        spec = importlib.util.spec_from_file_location("runloop_guest_build", where)
        if spec is None or spec.loader is None:
            raise RuntimeError(f"{where} cannot be loaded")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.app.display_info("Building the Python guest (10 s when its sources have changed)")
        module.build(root)
        build_data["tag"] = "py3-none-any"
        build_data["pure_python"] = True
