"""Over random histories of every kind, with erasures: a copy that was made in two parts equals its original, rows and tables."""

from __future__ import annotations

import io
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_histories import STEPS, Base, contents

from runloop.kb import KnowledgeBase
from runloop.kb.exporting.events import export_events
from runloop.kb.exporting.taking import take_export

TABLES = ("events", "blobs", "event_blobs", "head")


def rows(kb):
    with kb.ledger.reading() as db:
        return {name: sorted(db.execute(f"SELECT * FROM {name}").fetchall(), key=repr) for name in TABLES}


def copy(base, root: Path):
    out = io.BytesIO()
    export_events(base.kb.ledger, out, mask=None)
    out.seek(0)
    take_export(out, "copy", root / "events.sqlite", [root / "pog.sqlite"])
    return out.getvalue()


@given(STEPS, st.integers(0, 30))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
def test_a_copy_made_in_two_parts_equals_its_original(tmp_path_factory, steps, half):
    folder = tmp_path_factory.mktemp("copies")
    base = Base(folder / "base")
    try:
        for number, (step, batch) in enumerate(steps):
            if number == half:
                copy(base, folder / "copy")
                with KnowledgeBase.open(folder / "copy") as copied:
                    copied.sync()
            base.do(*step)
            base.follow(batch)
        data = copy(base, folder / "copy")
        with KnowledgeBase.open(folder / "copy") as copied:
            assert rows(copied) == rows(base.kb)
            assert contents(copied) == contents(base.kb)
            again = io.BytesIO()
            export_events(copied.ledger, again, mask=None)
        if half >= len(steps):
            assert again.getvalue() == data
    finally:
        base.kb.close()
