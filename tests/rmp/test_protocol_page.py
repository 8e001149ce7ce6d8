"""docs/protocol.md says what the code does."""

import re
import subprocess
import sys
from pathlib import Path

from runloop import rmp
from runloop.rmp import registry

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of every table row under a heading, without header and rule."""
    section = PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    tables = re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split("|")] for table in tables for line in table.splitlines()[2:]]


def test_the_registry_table_is_the_one_of_the_code() -> None:
    code = "import sys; from runloop.cli.main import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code, "rmp", "registry", "--markdown"], capture_output=True, timeout=60, check=True)
    printed = done.stdout.decode()
    assert len(printed.splitlines()) == len(registry.all()) + 2
    assert PAGE.endswith(f"--markdown` -->\n{printed}")


def test_the_families_and_ranges_are_those_of_the_code() -> None:
    assert ", ".join(f"`{family}`" for family in registry.FAMILIES) in PAGE
    for low, high, use in registry.ID_RANGES:
        assert f"| 0x{low:04X}{'' if low == high else f' to 0x{high:04X}'} | {use} |" in PAGE


def test_the_table_of_errors_is_the_taxonomy() -> None:
    expected = [[error.name, f"`{error.code}`", "stream" if issubclass(error, rmp.FramingError) else "message"] for error in rmp.NAMED]
    assert [row[:3] for row in rows("Errors")] == expected


def test_the_fields_of_the_header_follow_each_other_and_fill_it() -> None:
    fields = [(int(row[0]), int(row[1])) for row in rows("The frame") if row[0].isdigit() and len(row) == 5]
    assert [offset for offset, _ in fields] == [sum(size for _, size in fields[:index]) for index in range(len(fields))]
    assert sum(size for _, size in fields) == rmp.HEADER_LEN


def test_the_limits_are_those_of_the_code() -> None:
    assert f"{rmp.DEFAULT_MAX_BODY:,} bytes" in PAGE
    assert f"{rmp.DEFAULT_TTL_MS:,} ms" in PAGE


def dumped() -> bytes:
    (dump,) = re.findall(r"```text\n(0000: .*?)```", PAGE, re.DOTALL)
    return bytes.fromhex("".join(line.split(":")[1] for line in dump.splitlines()))


def test_the_python_of_the_page_runs_and_makes_the_bytes_of_the_page() -> None:
    (source,) = re.findall(r"```python\n(.*?)```", PAGE.split("\n## The bus session\n")[0], re.DOTALL)
    names: dict[str, object] = {}
    exec(source, names)
    assert names["data"] == dumped()
