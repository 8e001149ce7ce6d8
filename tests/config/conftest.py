from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runloop.config import ConfigError, Settings, load


@dataclass
class Machine:
    """A home, a system directory and an environment of one's own."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("home", "etc", "work"):
            (self.root / name).mkdir()
        self.env["HOME"] = str(self.root / "home")

    def _write(self, path: Path, text: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def user(self, text: str) -> Path:
        return self._write(self.root / "home/.runloop/config.yaml", text)

    def xdg(self, text: str) -> Path:
        return self._write(self.root / "home/.config/runloop/config.yaml", text)

    def system(self, text: str) -> Path:
        return self._write(self.root / "etc/config.yaml", text)

    def file(self, name: str, text: str) -> Path:
        return self._write(self.root / name, text)

    def load(self, flags: Mapping[str, Any] | None = None, **env: str) -> Settings:
        return load(flags, env={**self.env, **env}, cwd=self.root / "work", system_dir=self.root / "etc")

    def refuse(self, flags: Mapping[str, Any] | None = None, **env: str) -> ConfigError:
        with pytest.raises(ConfigError) as caught:
            self.load(flags, **env)
        return caught.value


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def codes() -> Callable[[Settings], list[str]]:
    return lambda settings: [warning.code for warning in settings.warnings]
