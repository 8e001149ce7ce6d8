"""Everything that can be found wrong with a bundle without running it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.bundles.errors import BundleInvalid
from runloop.bundles.manifest import MANIFEST
from runloop.bundles.python_entry import python_problems
from runloop.errors import RunloopError, Where

if TYPE_CHECKING:
    from collections.abc import Callable

    from runloop.bundles.bundle import Inspection
    from runloop.bundles.manifest import Kind
    from runloop.bundles.python_entry import Compiles

    WasmFault = Callable[[Kind, str, bytes], str | None]


def lint(inspection: Inspection, compiles: Compiles | None = None, wasm_fault: WasmFault | None = None) -> list[RunloopError]:
    """List what loading does not look at: the sources of a Python agent, the schema of ``with``, the form of a WebAssembly file.

    ``compiles`` and ``wasm_fault`` ask what runs such code: whether it takes a source, and why it does not take a file.
    """
    manifest = inspection.manifest
    if manifest is None:
        return []
    problems: list[RunloopError] = []
    if manifest.kind == "python":
        problems += python_problems(inspection.files, manifest.entry, manifest.ports_in, inspection.root, compiles)
    else:
        problems += _wasm_problems(inspection, manifest.kind, manifest.entry, wasm_fault)
    if manifest.with_schema is not None and (fault := schema_fault(manifest.with_schema)):
        where = Where(file=f"{inspection.root}/{MANIFEST}", key="schemas.with")
        problems.append(
            BundleInvalid(f"schemas.with cannot be used: {fault}", code="bundle.schema", where=where, hint="correct the schema")
        )
    return problems


def schema_fault(schema: object) -> str | None:
    """Why ``schema`` is not a self-contained JSON Schema (draft 2020-12); None if it is."""
    from runloop.schemas import faults, foreign_refs

    for message, _ in faults(schema):
        return message
    for ref, _ in foreign_refs(schema):
        return f"it refers to {ref!r}, and schemas are never fetched"
    return None


def _wasm_problems(inspection: Inspection, kind: Kind, entry: str, wasm_fault: WasmFault | None) -> list[RunloopError]:
    content = inspection.files.get(entry)
    if content is None:
        return []
    # The fifth byte on is the version: core modules are 1, components have layer 1 in the last two bytes.
    expected = b"\0asm\x01\0\0\0" if kind == "wasm32-wasip1" else b"\0asm\x0d\0\x01\0"
    what = "core WebAssembly module" if kind == "wasm32-wasip1" else "WebAssembly component"
    if content[:8] != expected:
        message = f"{entry!r} is not a {what}"
    elif wasm_fault is not None and (fault := wasm_fault(kind, entry, content)):
        message = f"{entry!r} is no valid {what}: {fault}"
    else:
        return []
    where = Where(file=f"{inspection.root}/{entry}")
    return [BundleInvalid(message, code="bundle.wasm", where=where, hint="build it for the kind that the manifest names")]
