from __future__ import annotations

import os
import re
import shutil

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from runloop.errors import InvalidInput
from runloop.kb.importers import notes
from runloop.kb.importers.notes import import_notes
from runloop.kb.importers.passages import TARGET_CHARS, split_passages


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def stored(kb):
    with kb.reading() as db:
        return db.execute("SELECT path, part, line, end_line, title, text FROM notes ORDER BY path, part").fetchall()


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "notes"
    write(root / "plan.md", "# Plan\n\nThe launch is in March.\n\n## Risks\n\nBudget is tight.\n")
    write(root / "deep" / "er" / "todo.txt", "buy milk\n")
    return root


def test_every_text_file_becomes_passages_with_their_lines(kb, folder):
    report = import_notes(kb, folder)
    assert stored(kb) == [
        (str(folder / "deep/er/todo.txt"), 0, 1, 1, None, "buy milk"),
        (str(folder / "plan.md"), 0, 1, 3, "Plan", "# Plan\n\nThe launch is in March."),
        (str(folder / "plan.md"), 1, 5, 7, "Risks", "## Risks\n\nBudget is tight."),
    ]
    assert (report.taken, report.files, report.refused) == (3, 2, [])


def test_a_hit_leads_to_the_event_the_file_and_the_line(kb, folder):
    import_notes(kb, folder)
    [hit] = kb.search("budget", ["notes"])
    assert (hit.path, hit.title) == (str(folder / "plan.md"), "Risks")
    lines = (folder / "plan.md").read_text().split("\n")
    assert lines[hit.line - 1 :][: hit.excerpt.count("\n") + 1] == hit.excerpt.split("\n")
    event = kb.ledger.get(hit.event_id)
    assert event.payload["text"] == hit.data["text"]
    assert event.payload["file_hash"] == blake3((folder / "plan.md").read_bytes()).hexdigest()


def test_a_second_import_takes_nothing_new_and_writes_no_event(kb, folder):
    import_notes(kb, folder)
    events = kb.ledger.head().id
    again = import_notes(kb, folder)
    assert (again.taken, again.known, again.removed) == (0, 3, 0)
    assert kb.ledger.head().id == events


def test_a_changed_file_replaces_all_of_its_old_passages(kb, folder):
    import_notes(kb, folder)
    write(folder / "plan.md", "Everything is different.\n")
    report = import_notes(kb, folder)
    assert (report.taken, report.known) == (1, 1)
    assert [row[5] for row in stored(kb)] == ["buy milk", "Everything is different."]
    assert kb.search("budget") == []
    assert len(kb.why(f"note:{folder / 'plan.md'}")) == 3


def test_a_file_that_went_back_to_its_old_text_is_taken_again(kb, folder):
    old = (folder / "plan.md").read_text()
    for text in (old, "new", old):
        write(folder / "plan.md", text)
        import_notes(kb, folder)
    assert [row[5] for row in stored(kb) if row[0].endswith("plan.md")] == [
        "# Plan\n\nThe launch is in March.",
        "## Risks\n\nBudget is tight.",
    ]


def test_files_that_are_gone_or_empty_lose_their_passages(kb, folder):
    import_notes(kb, folder)
    (folder / "plan.md").unlink()
    write(folder / "deep/er/todo.txt", "\n \n")
    report = import_notes(kb, folder)
    assert (report.taken, report.removed) == (0, 2)
    assert stored(kb) == []
    assert import_notes(kb, folder).removed == 0


def test_notes_from_another_directory_are_left_alone(kb, folder, tmp_path):
    import_notes(kb, folder)
    write(tmp_path / "notes2" / "a.md", "other")
    import_notes(kb, tmp_path / "notes2")
    assert len(stored(kb)) == 4


def test_a_file_that_cannot_be_read_now_keeps_what_was_read_before(kb, folder):
    import_notes(kb, folder)
    write(folder / "plan.md", b"caf\xe9")
    report = import_notes(kb, folder)
    reason = "not UTF-8 text: byte 0xe9 at offset 3; name its encoding with --encoding"
    assert [(each.line, each.reason) for each in report.refused] == [(1, reason)]
    assert len(stored(kb)) == 3


def test_one_file_can_be_imported_by_its_name(kb, folder):
    report = import_notes(kb, folder / "plan.md")
    assert (report.taken, report.files) == (2, 1)


def test_what_is_not_text_or_leads_outside_is_refused_by_name_and_hidden_files_are_passed_over(kb, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(notes, "MAX_BYTES", 1000)
    outside = write(tmp_path / "secret.md", "a secret")
    write(tmp_path / "elsewhere" / "a.md", "elsewhere")
    write(folder / ".hidden.md", "hidden")
    write(folder / ".git" / "a.md", "hidden")
    write(folder / "picture.png", b"\x89PNG")
    write(folder / "binary.txt", b"a\nb\0c")
    write(folder / "big.md", "x" * 1001)
    (folder / "out.md").symlink_to(outside)
    (folder / "dir").symlink_to(tmp_path / "elsewhere")
    (folder / "loop").symlink_to(folder)
    (folder / "dangling.md").symlink_to(folder / "nowhere.md")
    (folder / "same.md").symlink_to(folder / "plan.md")
    os.mkfifo(folder / "pipe.txt")
    report = import_notes(kb, folder)
    assert sorted((each.file.removeprefix(str(folder) + "/"), each.line, each.reason) for each in report.refused) == [
        ("big.md", None, "1001 bytes; the limit is 1000"),
        ("binary.txt", 2, "binary, not text: it has NUL characters"),
        ("dangling.md", None, "No such file or directory"),
        ("dir", None, "a link to a directory; not followed"),
        ("loop", None, "a link to a directory; not followed"),
        ("out.md", None, "a link that leads out of the directory"),
        ("pipe.txt", None, "not a regular file"),
    ]
    assert sorted({row[0].removeprefix(str(folder) + "/") for row in stored(kb)}) == ["deep/er/todo.txt", "plan.md", "same.md"]
    assert kb.search("secret hidden elsewhere") == []


def test_a_file_whose_name_is_not_utf8_is_refused(kb, folder):
    with open(os.fsencode(folder) + b"/caf\xe9.md", "wb") as file:  # noqa: PTH123 - a path made of bytes
        file.write(b"text")
    report = import_notes(kb, folder)
    assert [(each.file, each.reason) for each in report.refused] == [(f"{folder}/caf\\xe9.md", "the file's name is not UTF-8")]
    assert report.taken == 3


def test_a_place_that_does_not_exist_is_an_error(kb, tmp_path):
    with pytest.raises(InvalidInput, match="does not exist"):
        import_notes(kb, tmp_path / "nowhere")


def test_a_directory_that_was_emptied_loses_everything(kb, folder):
    import_notes(kb, folder)
    shutil.rmtree(folder)
    folder.mkdir()
    assert import_notes(kb, folder).removed == 2
    assert stored(kb) == []


TEXTS = st.lists(
    st.sampled_from(
        ["", "", "word " * 30, "x", "# Heading", "## Other ##", "```", "```python", "~~~~", "    # no heading", "#tag", "y" * 1500, "  "]
    ),
    max_size=40,
).map("\n".join)


@given(TEXTS | st.text(st.characters(exclude_categories=["Cs"]), max_size=300), st.booleans())
def test_passages_are_exact_ordered_and_lose_no_line_with_text(text, markdown):
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    passages = split_passages(text, markdown=markdown)
    seen = []
    for passage in passages:
        assert passage.text == "\n".join(lines[passage.line - 1 : passage.end_line])
        assert passage.text.strip()
        seen += range(passage.line, passage.end_line + 1)
    assert seen == sorted(set(seen))
    assert {number for number, line in enumerate(lines, 1) if line.strip()} <= set(seen)


@given(TEXTS, st.booleans())
def test_a_passage_is_longer_than_its_target_only_where_one_line_is(text, markdown):
    for passage in split_passages(text, markdown=markdown):
        assert len(passage.text) <= TARGET_CHARS or passage.line == passage.end_line


@given(st.text(" \t#a\x0b\xa0-", max_size=12))
def test_a_heading_is_what_a_slow_expression_takes_for_one(line):
    found = re.match(r" {0,3}(#{1,6})\s+(.*?)\s*#*\s*$", line)
    titles = [each.title for each in split_passages(f"{line}\n\nx", markdown=True)]
    assert titles[-1:] == [(found[2] or None) if found else None]


def test_headings_give_titles_and_start_passages_but_not_inside_code():
    text = "intro\n\n# One\n\na\n\n```sh\n# not a heading\n\nb\n```\n\n## Two ##\nc\n#hashtag\n"
    assert [(each.line, each.end_line, each.title) for each in split_passages(text, markdown=True)] == [
        (1, 1, None),
        (3, 11, "One"),
        (13, 15, "Two"),
    ]
    assert [each.title for each in split_passages(text, markdown=False)] == [None]


def test_small_paragraphs_share_a_passage_and_large_ones_do_not():
    small, large = "s " * 200, "l " * 500
    lines = [small, "", small, "", large, "", small]
    assert [(each.line, each.end_line) for each in split_passages("\n".join(lines), markdown=False)] == [(1, 3), (5, 5), (7, 7)]


def test_a_file_of_headings_alone_is_taken_as_plain_text_and_a_remark_says_so(kb, tmp_path, monkeypatch):
    monkeypatch.setattr(notes, "MAX_PASSAGES", 9)
    write(tmp_path / "nine.md", "# a\n" * 9)
    write(tmp_path / "ten.md", "# a\n" * 10)
    report = import_notes(kb, tmp_path)
    why = "headings begin 10 passages in it, the limit is 9: it is taken as plain text, without titles"
    assert [tuple(each) for each in report.remarks] == [(str(tmp_path / "ten.md"), None, why)]
    assert [(row[1], row[2], row[3], row[4]) for row in stored(kb)] == [*((n, n + 1, n + 1, "a") for n in range(9)), (0, 1, 10, None)]
    assert import_notes(kb, tmp_path).taken == 0


def test_a_link_that_may_not_be_followed_costs_only_itself(kb, folder, monkeypatch):
    (folder / "closed").symlink_to("elsewhere")
    real = type(folder).is_dir

    def is_dir(self, **how):
        if self.name == "closed":
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, **how)

    monkeypatch.setattr(type(folder), "is_dir", is_dir)
    assert import_notes(kb, folder).taken == 3


def test_a_directory_without_notes_says_so(kb, tmp_path):
    write(tmp_path / "notes" / "a.pdf", "x")
    report = import_notes(kb, tmp_path / "notes")
    assert [(each.file, each.reason) for each in report.remarks] == [
        (str(tmp_path / "notes"), "no file in it ends in .markdown, .md, .mdown, .org, .rst, .text, .txt")
    ]


def test_a_place_that_may_not_be_read_is_refused_by_name(kb, folder, monkeypatch):
    def stat(self, **how):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(type(folder), "stat", stat)
    with pytest.raises(InvalidInput, match="cannot be read: Permission denied"):
        import_notes(kb, folder)


def test_a_passage_that_was_erased_does_not_come_back_with_the_same_file(kb, folder):
    import_notes(kb, folder)
    [hit] = kb.search("launch", ["notes"])
    kb.erase([hit.event_id])
    report = import_notes(kb, folder)
    assert (report.taken, report.changed, report.known) == (0, 0, 3)
    assert kb.search("launch", ["notes"]) == []
    everything = [event.id for event in kb.ledger.read() if event.kind == "note.imported"]
    kb.erase([number for number in everything if number != hit.event_id])
    assert import_notes(kb, folder).taken == 0


UNDERLINED = """---
title: Journal
---

The plan
for spring
==========
Launch in March.

**Risks**
---
Budget is tight.
- a
- b
---

> quoted
---

a | b
--- | ---

~~~
no title
===
~~~
===
"""


def test_an_underlined_heading_is_a_title_too_and_a_rule_is_none():
    found = [(each.line, each.end_line, each.title) for each in split_passages(UNDERLINED, markdown=True)]
    assert found == [(1, 3, None), (5, 8, "The plan for spring"), (10, 27, "**Risks**")]
    assert [each.title for each in split_passages(UNDERLINED, markdown=False)] == [None]
