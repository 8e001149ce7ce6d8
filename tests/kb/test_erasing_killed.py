from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from runloop.kb import KnowledgeBase
from tests.kb.test_erasing import files_with

SECRET = "Zyzzogeton Quux"
SCRIPT = """
    import os, signal, sys
    from runloop.kb import KnowledgeBase, erasing, past, rebuilding

    place, root = sys.argv[1:]
    die = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
    kb = KnowledgeBase.open(root)
    kb.sync()
    take = erasing._take
    if place == "in the transaction":
        erasing._take = lambda db, changes, blobs, path: (take(db, changes[:1], blobs, path), die())
    elif place == "before the log is emptied":
        erasing.emptied = die
    elif place == "before the past goes":
        past.Past.forget = die
    elif place == "before the tables are made anew":
        rebuilding.built = die
    elif place == "before the tables are exchanged":
        rebuilding.views.carry_over = die
    elif place == "before their log is emptied":
        rebuilding.fold = die
    kb.erase([1, 2])
"""


@pytest.mark.parametrize(
    ("place", "erased"),
    [
        ("in the transaction", False),
        ("before the log is emptied", True),
        ("before the past goes", True),
        ("before the tables are made anew", True),
        ("before the tables are exchanged", True),
        ("before their log is emptied", True),
    ],
)
def test_a_process_that_is_killed_while_it_erases_has_erased_all_or_nothing(tmp_path, contact, place, erased):
    with KnowledgeBase.open(tmp_path) as kb:
        kb.ledger.append([contact(SECRET, "z@x"), contact("Other", "o@x", org=f"Friends of {SECRET}"), contact("Third", "t@x")])
        kb.sync()
        with kb.at(2) as then:
            assert len(then.search("Zyzzogeton")) == 2
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), place, str(tmp_path)],
        env={**os.environ},
        timeout=60,
        check=False,
        capture_output=True,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()

    with KnowledgeBase.open(tmp_path) as kb:
        names = [hit.title for hit in kb.search("Zyzzogeton")]
        assert kb.verify(views=True).broken is None
        assert bool(names) is not erased
        assert [hit.title for hit in kb.search("Third")] == ["Third"]
        if not erased:
            kb.erase([1, 2])
    assert files_with(tmp_path, SECRET) == []
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.endswith(".part")) == []
