"""The fuzz target's invariants hold for the seed corpus, so that a finding that was repaired stays repaired."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FUZZ = Path(__file__).parents[1] / "fuzz"
SEEDS = sorted((FUZZ / "corpus" / "rmp").iterdir())


@pytest.fixture(scope="module")
def invariants() -> ModuleType:
    spec: Any = importlib.util.spec_from_file_location("rmp_invariants", FUZZ / "rmp_invariants.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("seed", SEEDS, ids=lambda path: path.name)
def test_a_seed_breaks_no_invariant(invariants: ModuleType, seed: Path) -> None:
    invariants.check_input(seed.read_bytes())


def test_no_bytes_at_all_break_no_invariant(invariants: ModuleType) -> None:
    invariants.check_input(b"")


@pytest.mark.parametrize("first", [0x10, 0xA0], ids=["stream", "body"])
def test_the_invariants_notice_a_decoder_that_breaks_them(invariants: ModuleType, monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    def broken(*_arguments: object, **_options: object) -> object:
        raise KeyError("not one of ours")

    monkeypatch.setattr(invariants.rmp, "decode_frame", broken)
    with pytest.raises(KeyError):
        invariants.check_input(bytes([first]) + b"\x00")
