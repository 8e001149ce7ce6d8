"""The demo: its data, and the script as a person types it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from runloop.kb import KnowledgeBase
from runloop.kb.importers.contacts import import_contacts
from runloop.kb.importers.notes import import_notes

ROOT = Path(__file__).parents[2]
DATA = ROOT / "docs" / "examples" / "demo"
INSTALLED = (ROOT / ".venv/bin/rlp").exists() and Path(sys.prefix) == ROOT / ".venv" and (ROOT / ".venv/.installed-dev").exists()


def demo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    keep = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    command = [str(ROOT / "scripts" / "demo"), *arguments]
    return subprocess.run(command, env={**keep, **environment}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def test_every_contact_and_note_of_the_demo_is_taken_and_a_second_import_takes_nothing(tmp_path: Path) -> None:
    with KnowledgeBase.open(tmp_path / "pog") as kb:
        first = [import_contacts(kb, [DATA / "contacts.vcf"]), import_notes(kb, DATA / "notes")]
        second = [import_contacts(kb, [DATA / "contacts.vcf"]), import_notes(kb, DATA / "notes")]
    cards = (DATA / "contacts.vcf").read_text(encoding="utf-8").count("BEGIN:VCARD")
    assert [(report.taken > 0, report.known, report.refused) for report in first] == [(True, 0, [])] * 2
    assert (first[0].taken, [(report.taken, report.known) for report in second]) == (cards, [(0, report.taken) for report in first])


def test_the_demos_addresses_are_reserved_for_examples() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in DATA.rglob("*") if path.is_file())
    assert {address.rpartition(".")[2].lower() for address in re.findall(r"[\w.-]+@[\w.-]+\w", text)} == {"example"}


def test_help_says_what_the_demo_takes_and_does_nothing(tmp_path: Path) -> None:
    done = demo("--help", HOME=str(tmp_path))
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "Usage: scripts/demo [--yes] [--recipient NAME] [--topic TEXT]")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--nope",), "unknown argument: --nope"), (("--topic",), "--topic needs a value"), (("x",), "unknown argument: x")],
)
def test_what_the_demo_does_not_take_is_told_with_its_usage(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    done = demo(*arguments, HOME=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr.splitlines()[-1]) == (2, "", message)


@pytest.mark.skipif(not INSTALLED, reason="needs the environment that scripts/test makes, or it would install one")
@pytest.mark.slow
def test_the_demo_ends_with_a_message_a_trace_and_a_verified_ledger_and_can_be_repeated(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "RUNLOOP_DEMO_DIR": str(tmp_path / "demo"), "RUNLOOP_MODEL": "nonsense"}
    first, second = demo(**home), demo("--recipient", "Jonny", "--topic", "Berlin office move", **home)
    assert (first.returncode, first.stderr, second.returncode, second.stderr) == (0, "", 0, "")
    for expected in (
        "From: Alex Example <alex@sender.example>",
        "To: Maria Lee <",
        "] Q4 launch plan (notes/q4-launch-plan.md, line 12)",
        "run succeeded",
        "send → mail",
        "intact: ",
    ):
        assert expected in first.stdout
    for unexpected in ("harbour-2026", "evil@", "sourdough", "\x1b"):
        assert unexpected not in first.stdout
    assert ("To: John Smith <" in second.stdout, "contacts: 0 new, 10 known" in second.stdout) == (True, True)
    assert len(list((tmp_path / "demo").rglob("*.eml"))) == 2
