"""What may be meant and is no fault: calls of an agent that its policy does not grant, modules and files that its guest does not have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runloop.cli import output
from runloop.errors import RunloopError, Where

if TYPE_CHECKING:
    from runloop.bundles import Bundle

_SURELY_TAKEN = 600 * 1024
"""Bytes of files that a guest is given in any case: JSON makes at most six of one."""
_SWITCHES = frozenset({"time", "model", "mail", "ask"})


def remarks_on(root: Path, bundle: Bundle | None) -> list[RunloopError]:
    """All remarks on a bundle."""
    return [*ungranted(root, bundle), *modules(root, bundle), *data_left_out(root, bundle), *too_large(root, bundle)]


def ungranted(root: Path, bundle: Bundle | None) -> list[RunloopError]:
    """The hostcalls that a Python agent's sources name and its policy does not grant; an agent may well handle a refusal."""
    from runloop.bundles.calls import named_calls
    from runloop.bundles.errors import BundleInvalid
    from runloop.effects.catalogue import CATALOGUE

    if bundle is None or bundle.kind != "python":
        return []
    found: list[RunloopError] = []
    for call, (path, line) in named_calls(bundle.files, CATALOGUE).items():
        key = CATALOGUE[call].capability
        if key != "none" and not bundle.caps.grants(key):
            hint = f"write {key} = {'true' if key in _SWITCHES else '[…]'} in policy.caps"
            message = f"{call} is called, and policy.caps grants no {key}: it will be denied"
            found.append(BundleInvalid(message, code="bundle.call_not_granted", where=Where(file=f"{root}/{path}", line=line), hint=hint))
    return found


def modules(root: Path, bundle: Bundle | None) -> list[RunloopError]:
    """The imports with which a Python agent ends before it begins, and the files that no import of it ever reaches."""
    from runloop.bundles.errors import BundleInvalid
    from runloop.bundles.modules import ABSENT, ABSENT_BELOW, INSTEAD, hidden, missing, natives

    if bundle is None or bundle.kind != "python":
        return []
    found: list[RunloopError] = []
    native = natives(bundle.files)
    for name, path, line in missing(bundle.files, bundle.entry):
        message = f"{name} is imported, and neither the guest nor the bundle has it: the agent ends there"
        hint = INSTEAD.get(name, "place the package beside agent.py, if it is pure Python")
        if name in native:
            message = f"{name} is imported, and it is native code, which no guest loads: the agent ends there"
            hint = "take a version of the package, or another package, that is pure Python"
        elif name in ABSENT | ABSENT_BELOW:
            stand_in = f"{name.replace('.', '/')}.py"
            instead = INSTEAD.get(name, "docs/effects.md lists the calls to use instead")
            hint = f"{instead}; where only a package imports it, a file {stand_in} beside agent.py can stand in for it"
        found.append(BundleInvalid(message, code="bundle.module_missing", where=Where(file=f"{root}/{path}", line=line), hint=hint))
    for path in hidden(bundle.files, bundle.entry):
        message = "it is never imported: the guest has a module of that name, which comes first"
        found.append(BundleInvalid(message, code="bundle.module_hidden", where=Where(file=f"{root}/{path}", line=1), hint="rename it"))
    return found


def data_left_out(root: Path, bundle: Bundle | None) -> list[RunloopError]:
    """That the files which a Python agent could read are too many bytes to be handed over with each run."""
    from runloop.bundles.bundle import DATA_BYTES, bytes_of, data_files
    from runloop.bundles.errors import BundleInvalid

    if bundle is None or bundle.kind != "python" or (size := bytes_of(data_files(bundle.files))) <= DATA_BYTES:
        return []
    message = f"its files that are no sources have {size:,} bytes; with more than {DATA_BYTES:,} the agent can open none of them"
    hint = "grant a directory (fs) in policy.caps and read it with runloop_agent.files, or keep less in the bundle"
    return [BundleInvalid(message, code="bundle.data_left_out", where=Where(file=str(root)), hint=hint)]


def too_large(root: Path, bundle: Bundle | None) -> list[RunloopError]:
    """That a Python agent's files are more bytes than a guest is given, so that no run of it begins."""
    from runloop.bundles.bundle import bytes_of

    if bundle is None or bundle.kind != "python" or bytes_of(bundle.files) <= _SURELY_TAKEN:
        return []
    from runloop.bundles.errors import BundleInvalid
    from runloop.sandbox.contents import Contents
    from runloop.sandbox.spec import MAX_REQUEST_BYTES

    sources = bundle.sources()
    given = Contents()
    size = len(given.of_sources(bundle.digest, sources)[0]) + len(given.of_data(bundle.digest, bundle.data()))
    if size <= MAX_REQUEST_BYTES:
        return []
    tests = sum(len(text) for path, text in sources.items() if "/tests/" in path)
    message = f"its files have {size:,} bytes as a guest gets them, and it gets at most {MAX_REQUEST_BYTES:,}: no run of it begins"
    hint = "remove what it does not import" + (f", such as the tests of its packages ({tests:,} bytes)" if tests else "")
    return [BundleInvalid(message, code="bundle.too_large", where=Where(file=str(root)), hint=hint)]


def print_remarks(remarks: Sequence[RunloopError]) -> None:
    """Print them as warnings."""
    for each in remarks:
        assert each.where is not None  # noqa: S101 - made above
        place = f"{each.where.file}:{each.where.line}" if each.where.line else each.where.file
        output.print_warning(each.code, f"{place}: {each.message}; {each.hint}")
