"""The table says for every key what reads it. Here the source is asked whether that is so, and whether all readers are in the table."""

import ast
import re
from pathlib import Path

from runloop.cli import values
from runloop.config import all_keys

SOURCE = Path(__file__).resolve().parents[2] / "runloop"


def reads():
    """What the source passes to `.get(…)`: patterns, an f-string's filled-in parts matching anything."""
    files = [path for path in SOURCE.rglob("*.py") if path.parent.name != "config" or path.name == "settings.py"]
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or getattr(node.func, "attr", "") != "get" or not node.args:
                continue
            argument = node.args[0]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield re.escape(argument.value)
            elif isinstance(argument, ast.JoinedStr):
                yield "".join(re.escape(part.value) if isinstance(part, ast.Constant) else "[a-z_.]+" for part in argument.values)


def test_every_key_with_a_reader_in_the_table_is_read_and_every_key_that_is_read_has_its_reader_there():
    patterns = {pattern for pattern in reads() if not pattern.startswith("[a-z_.]+") or "\\." in pattern}
    limits = {key.limit for key in all_keys().values()}
    read = {path for path in all_keys() if path == "version" or path in limits or any(re.fullmatch(pattern, path) for pattern in patterns)}
    claimed = {path for path, key in all_keys().items() if key.effect}
    directories_of_the_daemon = {"runtime.socket_path", "runtime.sockets_dir"}  # known here, opened by nobody yet
    assert sorted(claimed - read) == []
    assert sorted(read - claimed - directories_of_the_daemon) == []


def test_what_nothing_reads_is_not_offered_where_settings_are_completed():
    offered = {path for path, _ in values.settings("")}
    assert offered == {path for path, key in all_keys().items() if key.effect or key.tighten}
