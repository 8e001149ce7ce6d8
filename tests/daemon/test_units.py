"""The units of systemd: understood by it, as closed as promised, and in step with what the daemon does."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "runloop" / "data" / "systemd"
SYSTEM, USER = UNITS / "runloopd.service", UNITS / "user" / "runloopd.service"
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here")


def settings(unit):
    lines = [line for line in unit.read_text().splitlines() if "=" in line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("unit", [SYSTEM, USER], ids=["system", "user"])
def test_a_unit_waits_for_the_daemons_word_watches_it_and_lets_compiled_code_run(unit):
    found = settings(unit)
    assert (found["Type"], found["WatchdogSec"], found["MemoryDenyWriteExecute"], found["NoNewPrivileges"]) == (
        "notify",
        "30s",
        "no",
        "yes",
    )
    assert found["ExecReload"] == "/bin/kill -HUP $MAINPID"


def test_the_daemon_has_more_time_to_stop_than_it_gives_its_nodes():
    from runloop.config import all_keys

    grace_s = int(all_keys()["runtime.drain_grace_ms"].default) / 1000
    assert all(int(settings(unit)["TimeoutStopSec"].removesuffix("s")) > grace_s for unit in (SYSTEM, USER))


@needs_systemd
@pytest.mark.parametrize("unit", [SYSTEM, USER], ids=["system", "user"])
def test_systemd_understands_every_line(unit, tmp_path):
    copy = tmp_path / unit.name
    copy.write_text(re.sub(r"ExecStart=\S+", f"ExecStart={shutil.which('true')}", unit.read_text()))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if str(copy) in line] == []


@needs_systemd
def test_the_system_unit_exposes_little():
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(SYSTEM)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "Overall exposure" not in done.stdout:
        pytest.skip("this systemd-analyze cannot judge a file")
    level = float(re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)[1])
    assert level <= 1.5
