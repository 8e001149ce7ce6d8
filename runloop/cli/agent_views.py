"""What `rlp agent` prints: rows, JSON forms and problem lists."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runloop.cli import output
from runloop.errors import EXIT_OK, RunloopError

if TYPE_CHECKING:
    from runloop.bundles import Bundle, Inspection, Listed
    from runloop.bundles.manifest import Port
    from runloop.testing import CaseResult

LIST_COLUMNS = ("agent", "variant", "version", "digest", "status", "signer", "source", "manifest")


def listed_row(listed: Listed) -> tuple[str | None, ...]:
    """A row of `rlp agent list`."""
    form = listed_json(listed)
    values = ("name", "variant", "version", "digest", "status", "signer", "source_dir", "manifest")
    return tuple(form[key] and form[key][:12] if key in ("digest", "signer") else form[key] for key in values)


def listed_json(listed: Listed) -> dict[str, Any]:
    """An entry of `rlp agent list --json` (spec 18.3)."""
    inspection = listed.inspection
    manifest = inspection.manifest
    return {
        "name": manifest.name if manifest and manifest.name else inspection.root.name,
        "variant": manifest.variant if manifest else None,
        "version": (manifest and manifest.version) or None,
        "digest": inspection.digest,
        "manifest_digest": inspection.manifest_digest,
        "manifest": str(inspection.root / "manifest.toml"),
        "status": listed.status,
        "signer": inspection.bundle.signer if inspection.bundle else None,
        "issues": [problem.message for problem in inspection.problems],
        "source_dir": str(listed.search_dir),
    }


def inspection_json(
    target: str, inspection: Inspection, problems: Sequence[RunloopError], remarks: Sequence[RunloopError]
) -> dict[str, Any]:
    """An entry of `rlp agent check --json`."""
    return {
        "agent": target, "path": str(inspection.root), "ok": not problems,
        "problems": [problem.to_dict() for problem in problems], "remarks": [remark.to_dict() for remark in remarks],
    }  # fmt: skip


def print_problems(root: Path, problems: Sequence[RunloopError]) -> None:
    """Print every problem on stderr in the form of all errors, or that there is none."""
    for problem in problems:
        output.print_error(problem)
    if not problems:
        output.print_line(f"{root}: ok")


def problem_code(problems: Sequence[RunloopError]) -> int:
    """The exit code of a list of problems: that of the first, 0 without any."""
    return problems[0].exit_code if problems else EXIT_OK


def print_bundle(bundle: Bundle, overrides: Sequence[Path], *, as_json: bool) -> None:
    """Print one bundle, for people or as JSON."""
    form = bundle_json(bundle, overrides)
    if as_json:
        output.print_json(form)
        return
    output.print_line(f"{bundle.ref} {bundle.version} ({bundle.kind})")
    if bundle.description:
        output.print_line(bundle.description)
    output.print_line()
    for label, ports in (("in", bundle.ports_in), ("out", bundle.ports_out)):
        for port in ports.values():
            output.print_line(f"{label:<4} {port.name}: {port.type or 'any'}  {port.description}".rstrip())
    print_granted(bundle)
    for key, value in form["limits"].items():
        if value is not None:
            output.print_line(f"limit {key} = {value}")
    for path in overrides:
        output.print_line(f"narrowed by {path}")
    output.print_line()
    output.print_line(f"path     {bundle.root}")
    output.print_line(f"digest   {bundle.digest}")
    output.print_line(f"manifest {bundle.manifest_digest}")
    if bundle.signer:
        output.print_line(f"signer   {bundle.signer}")
    output.print_line(f"files    {', '.join(bundle.files)}")


def print_granted(bundle: Bundle) -> None:
    """What an agent may do, a line each; of commands those apart that nobody is asked about."""
    for key, value in _granted(bundle).items():
        if key == "exec" and value:
            unasked = value.pop("read_only", [])
            asked = [argv for argv in value["commands"] if argv not in unasked]
            for how, commands in (("asking each time", asked), ("WITHOUT ASKING", unasked)):
                if commands:
                    output.print_line(f"may   run, {how}: {', '.join(f'{shlex.join(argv)} …' for argv in commands)}")
        elif value not in (False, [], {}):
            output.print_line(f"may   {key} = {output.to_json(value, indent=None)}")


def bundle_json(bundle: Bundle, overrides: Sequence[Path]) -> dict[str, Any]:
    """A bundle as `rlp agent show --json` prints it."""
    limits = bundle.limits
    return {
        "name": bundle.name,
        "variant": bundle.variant,
        "version": bundle.version,
        "kind": bundle.kind,
        "description": bundle.description,
        "entry": bundle.entry,
        "ports_in": _ports(bundle.ports_in),
        "ports_out": _ports(bundle.ports_out),
        "schema": bundle.with_schema,
        "capabilities": _granted(bundle),
        "limits": {name: getattr(limits, name) for name in limits.__slots__},
        "overrides": [str(path) for path in overrides],
        "tools": [tool["id"] for tool in bundle.tools],
        "path": str(bundle.root),
        "digest": bundle.digest,
        "manifest_digest": bundle.manifest_digest,
        "signer": bundle.signer,
        "files": list(bundle.files),
    }


def _granted(bundle: Bundle) -> dict[str, Any]:
    """The capabilities, with what is not granted left out of the nested ones."""
    granted = bundle.caps.to_dict()
    if not granted["net"]["hosts"]:
        granted["net"] = {}
    granted["exec"] = {key: value for key, value in granted["exec"].items() if value}
    return granted


def _ports(ports: Mapping[str, Port]) -> dict[str, Any]:
    return {name: {"type": port.type, "description": port.description} for name, port in ports.items()}


def print_case(result: CaseResult) -> None:
    """Print what became of a test case."""
    output.print_line(f"{'ok  ' if result.ok else 'FAIL'} {result.name}")
    for failure in result.failures:
        for line in failure.splitlines():
            output.print_line(f"     {line}")
