"""Sealing: writing the digest of every file into the manifest, once its author vouches for them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from runloop.bundles.bundle import file_digests, inspect_bundle
from runloop.bundles.errors import BundleAltered, BundleInvalid
from runloop.bundles.lint import lint
from runloop.bundles.manifest import MANIFEST, read_manifest
from runloop.bundles.tree import SIGNATURE, bundle_digest
from runloop.bundles.writing import replace_file, writing
from runloop.dataclass import dataclass
from runloop.errors import RunloopError, Where
from runloop.policy.located import TomlDocument, parse_toml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from runloop.bundles.lint import WasmFault
    from runloop.bundles.python_entry import Compiles

#: What sealing puts right; every other problem has to be put right by the author.
_MENDED = frozenset(
    {
        f"bundle.{reason}"
        for reason in ("unsealed", "digest_mismatch", "digest_stale", "file_extra", "file_missing", "files_entry", "signature")
    }
)
_HEADER = re.compile(r"[ \t]*\[")


@dataclass(frozen=True, slots=True)
class Sealed:
    """What sealing changed, by path, the digests afterwards, and whether it took away a signature that was for something else."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    manifest_digest: str
    digest: str
    unsigned: bool


def seal(
    root: Path,
    *,
    home: str | None = None,
    env: Mapping[str, str] | None = None,
    compiles: Compiles | None = None,
    wasm_fault: WasmFault | None = None,
) -> tuple[Sealed | None, list[RunloopError]]:
    """Refresh ``[files]`` (and digests kept beside entry_wasm and tools), unless something else is wrong: then that, and no change."""
    inspection = inspect_bundle(root, home=home, env=env)
    manifest = inspection.manifest
    problems = [problem for problem in inspection.problems if problem.code not in _MENDED] + lint(inspection, compiles, wasm_fault)
    if problems or manifest is None:
        return None, problems
    before, after = manifest.files, file_digests(inspection.files)
    text = inspection.files[MANIFEST].decode("utf-8")
    sealed = _with_digests(text, after, f"{root}/{MANIFEST}")
    if not _reads_back(sealed, after):
        hint = "delete everything under [files]: it is written anew"
        where = Where(file=f"{root}/{MANIFEST}", key="files")
        raise BundleInvalid("[files] cannot be told from what is around it", code="bundle.files_form", where=where, hint=hint)
    if sealed != text:
        replace_file(root, MANIFEST, sealed)
    files = {**inspection.files, MANIFEST: sealed.encode("utf-8")}
    digest = bundle_digest(files)
    return (
        Sealed(
            added=tuple(sorted(after.keys() - before.keys())),
            changed=tuple(path for path in after if path in before and before[path] != after[path]),
            removed=tuple(sorted(before.keys() - after.keys())),
            manifest_digest=blake3(files[MANIFEST]).hexdigest(),
            digest=digest,
            unsigned=_unsigned(root, files.get(SIGNATURE), digest),
        ),
        [],
    )


def _reads_back(text: str, digests: Mapping[str, str]) -> bool:
    """Whether a manifest about to be written says what it should: the table was cut by its lines, not by its grammar."""
    try:
        manifest, faults = read_manifest(text)
    except RunloopError:
        return False
    return not faults and manifest.files == digests


def _with_digests(text: str, digests: Mapping[str, str], file: str) -> str:
    document = parse_toml(text, file=file, code="bundle.syntax")
    lines = text.replace("\r\n", "\n").split("\n")
    for path in (("agent", "entry_wasm"), ("entry_wasm",), ("artifacts", "tools")):
        _refresh(lines, document, path, digests)
    lines = _without_files(lines, document)
    while lines and not lines[-1].strip():
        lines.pop()
    table = [f'{_quoted(path)} = "{digest}"' for path, digest in digests.items()]
    return "\n".join([*lines, "", "[files]", *table, ""])


def _refresh(lines: list[str], document: TomlDocument, path: tuple[str, ...], digests: Mapping[str, str]) -> None:
    """Put the present digest in place of the one that a table keeps for the file it names."""
    table: Any = document.data
    for step in path:
        table = table.get(step, {})
    where = document.where(*path, "blake3")
    if "blake3" not in table or where.line is None or where.column is None:
        return
    index, start = where.line - 1, where.column - 1
    old, new = f'"{table["blake3"]}"', f'"{digests[table["path"]]}"'
    lines[index] = lines[index][:start] + lines[index][start:].replace(old, new, 1)


def _without_files(lines: list[str], document: TomlDocument) -> list[str]:
    if "files" not in document.data:
        return lines
    start = (document.where("files").line or 1) - 1
    if not _HEADER.match(lines[start]):
        hint = "write [files] on a line of its own, or delete it: it is written anew"
        raise BundleInvalid("files is not written as a table", code="bundle.files_form", where=document.where("files"), hint=hint)
    end = start + 1
    while end < len(lines) and not _HEADER.match(lines[end]):
        end += 1
    return lines[:start] + lines[end:]


def _quoted(path: str) -> str:
    return '"' + path.replace('"', '\\"') + '"'


def _unsigned(root: Path, signature: bytes | None, digest: str) -> bool:
    """Remove a signature that is none of the bundle as it is now; says whether there was one."""
    from runloop.bundles.signature import signer_of

    if signature is None:
        return False
    try:
        signer_of(signature, digest, root)
    except BundleAltered:
        with writing(root, SIGNATURE):
            (root / SIGNATURE).unlink()
        return True
    return False
