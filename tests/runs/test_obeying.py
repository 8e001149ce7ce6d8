"""What the settings say of runs: an agent's limits and a run's rules are those that are set, and a manifest only narrows them."""

from types import SimpleNamespace

import pytest

from runloop.bundles.manifest import Limits as Declared
from runloop.config import load
from runloop.runs import obeying
from runloop.runs.services import RunRules
from runloop.sandbox.spec import MIB, Limits

SET = {"memory_mb": 100, "wall_ms": 5000, "output_bytes": 4000, "hostcalls": 30, "fuel": 1_000_000_000}


def settings(tmp_path, **values):
    return load({name.replace("__", "."): value for name, value in values.items()}, env={"HOME": str(tmp_path)})


@pytest.mark.parametrize(
    ("declared", "memory", "wall", "fuel", "output", "hostcalls"),
    [
        (Declared(), 100 * MIB, 5000, 1_000_000_000, 4000, 30),
        (Declared(memory_bytes=MIB, wall_ms=1, fuel=2, output_bytes=3, hostcalls=0), MIB, 1, 2, 3, 0),
        (
            Declared(memory_bytes=MIB << 10, wall_ms=6000, fuel=1 << 40, output_bytes=5000, hostcalls=31),
            100 * MIB,
            5000,
            1_000_000_000,
            4000,
            30,
        ),
    ],
)
def test_a_manifest_narrows_the_limits_and_widens_none(declared, memory, wall, fuel, output, hostcalls, tmp_path):
    limits_of = obeying.limits_from(settings(tmp_path, **{f"sandbox__{name}": value for name, value in SET.items()}))
    expected = Limits(memory_bytes=memory, wall_ms=wall, fuel=fuel, output_bytes=output, hostcalls=hostcalls)
    assert limits_of(SimpleNamespace(limits=declared)) == expected


def test_the_rules_of_a_run_are_what_is_set(tmp_path):
    rules = obeying.rules_from(
        settings(
            tmp_path, policy__max_usd=0.0000015, policy__max_tokens=77, runtime__evict_after_ms=11, runtime__park_after_ms=12,
            runtime__max_nodes_per_run=13, security__approve_in_advance=["mail.outbox"], policy__deny_actions=["exec.run"],
            security__caps__audit_on_allow=True, security__caps__audit_on_deny=False,
        )
    )  # fmt: skip
    assert rules == RunRules(
        confirm_external_actions=True, audit_on_deny=False, audit_on_allow=True, max_parallel=13, max_tokens=77, max_usd_micros=2,
        denied_actions=frozenset({"exec.run"}), approve_in_advance=frozenset({"mail.outbox"}), evict_after_ms=11, park_after_ms=12,
    )  # fmt: skip
    unset = obeying.rules_from(settings(tmp_path))
    assert (unset.max_usd_micros, unset.approve_in_advance) == (None, None)


@pytest.mark.parametrize(("most", "over", "beyond"), [(0, False, 64), (0, True, 0), (5, False, 0)])
def test_beside_the_places_of_the_workers_nodes_begin_only_where_no_number_is_set_and_memory_is_there(most, over, beyond, tmp_path):
    held = []
    pressure = SimpleNamespace(over=over, held=lambda number: held.append(number) or number)
    limits = obeying.node_limits(settings(tmp_path, runtime__max_agents=most), SimpleNamespace(places=8), pressure)
    assert (limits[0](), limits[2]()) == (most or 8, beyond)
    assert held == [most or 8]
