"""A verified bundle, and the one way to get it: every file read, every digest checked, policy and manifest understood."""

from __future__ import annotations

import os
from dataclasses import field
from typing import TYPE_CHECKING, Any, Final

from blake3 import blake3

from runloop.bundles.errors import BundleAltered, BundleInvalid, build_again
from runloop.bundles.manifest import MANIFEST, Kind, Limits, Manifest, Port, read_manifest
from runloop.bundles.paths import shipped_agents_dir
from runloop.bundles.tools import read_tools
from runloop.bundles.tree import SIGNATURE, Tree, bundle_digest, read_tree
from runloop.dataclass import dataclass
from runloop.errors import RunloopError, Where
from runloop.policy import Capabilities, read_override

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TESTS = "tests/"
DATA_BYTES: Final = 1024 * 1024
"""So much of files that are no sources is handed to a guest."""
_FOR_OTHERS: Final = (TESTS, MANIFEST, "README", "LICENSE")
NATIVE: Final = (".so", ".pyd", ".dylib")
_NO_DATA: Final = (".py", ".pyi", ".pyc", ".caps", *NATIVE)


@dataclass(frozen=True, slots=True)
class Bundle:
    """An agent as it was verified. It keeps the bytes that were hashed, so nothing is read again before it runs.

    ``manifest_digest`` is BLAKE3 of the manifest's bytes (upstream's agent digest); ``digest`` is over every file and is what
    runs record and what a signature signs. ``signer`` is the public key, in hexadecimal, that signed it; ``shipped`` agents come with
    Runloop itself. ``caps`` are after overrides.
    """

    name: str
    version: str
    variant: str | None
    kind: Kind
    description: str
    root: Path
    manifest_digest: str
    digest: str
    entry: str
    ports_in: Mapping[str, Port]
    ports_out: Mapping[str, Port]
    with_schema: Mapping[str, Any] | None
    limits: Limits
    caps: Capabilities
    tools: tuple[Mapping[str, Any], ...]
    files: Mapping[str, bytes] = field(repr=False)
    signer: str | None = None
    shipped: bool = False

    @property
    def ref(self) -> str:
        """``name`` or ``name@variant``."""
        return self.name if self.variant is None else f"{self.name}@{self.variant}"

    def sources(self) -> dict[str, str]:
        """Return the Python modules that the guest may import, by relative path; tests stay outside."""
        return {path: content.decode("utf-8") for path, content in self.files.items() if is_source(path)}

    def data(self) -> dict[str, bytes]:
        """Return the other files that the guest may read, by relative path; none where they are more than :data:`DATA_BYTES`."""
        found = data_files(self.files)
        return found if bytes_of(found) <= DATA_BYTES else {}

    def code(self) -> bytes:
        """Return the bytes of the entry: a WebAssembly component or module, or the Python entry."""
        return self.files[self.entry]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found in a directory: the bundle if it is sound, and everything that is wrong with it if not."""

    root: Path
    manifest: Manifest | None
    manifest_digest: str | None
    problems: tuple[RunloopError, ...]
    bundle: Bundle | None
    files: Mapping[str, bytes] = field(repr=False)

    @property
    def digest(self) -> str | None:
        """The digest of the files as they are, sound or not, as :attr:`Bundle.digest`; None where there is no manifest."""
        return None if self.manifest_digest is None else bundle_digest(self.files)

    @property
    def altered(self) -> bool:
        """Whether the files differ from what the manifest was sealed over."""
        return any(isinstance(problem, BundleAltered) for problem in self.problems)


def is_source(path: str) -> bool:
    """Whether a file of a Python bundle is handed to the guest as code."""
    return path.endswith(".py") and not path.startswith(TESTS)


def data_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of a Python bundle that are for its guest and no code."""
    return {
        path: content
        for path, content in files.items()
        if path != SIGNATURE and not path.endswith(_NO_DATA) and not path.startswith(_FOR_OTHERS)
    }


def bytes_of(files: Mapping[str, bytes]) -> int:
    """How many bytes they have together."""
    return sum(map(len, files.values()))


def load_bundle(root: Path, *, home: str | None = None, env: Mapping[str, str] | None = None) -> Bundle:
    """Load the bundle in ``root`` or raise the first problem that :func:`inspect_bundle` finds."""
    inspection = inspect_bundle(root, home=home, env=env)
    if inspection.bundle is None:
        raise inspection.problems[0]
    return inspection.bundle


def bundle_from_files(files: Mapping[str, bytes], *, root: Path, home: str | None = None, env: Mapping[str, str] | None = None) -> Bundle:
    """The bundle of files that lie in no directory, verified like any other; errors name them as if they lay in ``root``."""
    inspection = _inspect(Tree(dict(files)), root, home, env)
    if inspection.bundle is None:
        raise inspection.problems[0]
    return inspection.bundle


def inspect_bundle(root: Path, *, home: str | None = None, env: Mapping[str, str] | None = None) -> Inspection:
    """Read and verify the bundle in ``root``; never raises for what is wrong inside it, only for an unreadable directory.

    Digests come first: a policy or manifest that somebody changed is reported as altered before anything in it is believed.
    """
    return _inspect(read_tree(root), root, home, env)


def _inspect(tree: Tree, root: Path, home: str | None, env: Mapping[str, str] | None) -> Inspection:
    raw = tree.files.get(MANIFEST)
    if raw is None:
        problem = BundleInvalid(
            f"there is no {MANIFEST}", code="bundle.no_manifest", where=Where(file=str(root)), hint="`rlp agent scaffold` writes one"
        )
        return Inspection(root, None, None, (*tree.problems, problem), None, tree.files)
    digest = blake3(raw).hexdigest()
    try:
        manifest, problems = read_manifest(_utf8(raw, root, MANIFEST), file=f"{root}/{MANIFEST}")
    except RunloopError as error:
        return Inspection(root, None, digest, (*tree.problems, error), None, tree.files)
    problems = [*problems, *tree.problems, *_altered(tree, manifest, root)]
    caps = Capabilities()
    tools: tuple[Mapping[str, Any], ...] = ()
    try:
        policy = _file_text(tree, manifest.caps_file, root, "policy")
        override, refused = read_override(policy, file=f"{root}/{manifest.caps_file}", home=home, env=env)
        caps = override.caps
        problems.extend(refused)
    except RunloopError as error:
        problems.append(error)
    if manifest.tools_file is not None:
        try:
            tools = read_tools(_file_text(tree, manifest.tools_file, root, "tools file"), file=f"{root}/{manifest.tools_file}")
        except RunloopError as error:
            problems.append(error)
    problems.extend(_entry_problems(tree, manifest, root))
    bundle = None
    if not problems:
        try:
            bundle = _bundle(tree, manifest, root, digest, caps.also_at(os.path.realpath), tools)
        except BundleAltered as error:
            problems.append(error)
    return Inspection(root, manifest, digest, tuple(problems), bundle, tree.files)


def file_digests(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return the BLAKE3 of every file but the manifest and its signature, sorted by path: the ``[files]`` table."""
    return {path: blake3(files[path]).hexdigest() for path in sorted(files.keys() - {MANIFEST, SIGNATURE})}


def _altered(tree: Tree, manifest: Manifest, root: Path) -> list[RunloopError]:
    actual = file_digests(tree.files)
    if not manifest.files and actual:
        message = "the manifest lists no files, so nothing vouches for them"
        return [_alteration("bundle.unsealed", message, root, MANIFEST, f"run `{build_again(root)}` once you trust what is in the bundle")]
    found: list[RunloopError] = []
    for path in sorted(manifest.files.keys() | actual.keys()):
        if path not in actual:
            found.append(
                _alteration(
                    "bundle.file_missing", f"{path!r} is listed but not there", root, path, f"restore it, or run `{build_again(root)}`"
                )
            )
        elif path not in manifest.files:
            found.append(
                _alteration(
                    "bundle.file_extra", f"{path!r} is there but not listed", root, path, f"remove it, or run `{build_again(root)}`"
                )
            )
        elif actual[path] != manifest.files[path]:
            message = f"{path!r} has changed (expected {manifest.files[path][:12]}…, found {actual[path][:12]}…)"
            found.append(
                _alteration(
                    "bundle.digest_mismatch",
                    message,
                    root,
                    path,
                    f"if you changed it yourself, run `{build_again(root)}`; otherwise install it anew",
                )
            )
    return found


def _alteration(code: str, message: str, root: Path, path: str, hint: str) -> BundleAltered:
    return BundleAltered(message, code=code, where=Where(file=f"{root}/{path}"), hint=hint)


def _entry_problems(tree: Tree, manifest: Manifest, root: Path) -> list[RunloopError]:
    problems: list[RunloopError] = []
    if manifest.entry and manifest.entry not in tree.files:
        where = Where(file=f"{root}/{MANIFEST}", key="agent.entry")
        problems.append(
            BundleInvalid(
                f"the entry {manifest.entry!r} is not there", code="bundle.no_entry", where=where, hint="add it or correct the entry"
            )
        )
    if manifest.kind == "python":
        for path in filter(is_source, tree.files):
            try:
                _utf8(tree.files[path], root, path)
            except RunloopError as error:
                problems.append(error)
    return problems


def _file_text(tree: Tree, path: str, root: Path, what: str) -> str:
    if path not in tree.files:
        where = Where(file=f"{root}/{path}")
        raise BundleInvalid(f"the {what} {path!r} is not there", code="bundle.no_file", where=where, hint="add it or correct the manifest")
    return _utf8(tree.files[path], root, path)


def _utf8(content: bytes, root: Path, path: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BundleInvalid(
            f"{path!r} is not UTF-8", code="bundle.not_utf8", where=Where(file=f"{root}/{path}", line=line), hint="save it as UTF-8"
        ) from None


def _bundle(tree: Tree, manifest: Manifest, root: Path, digest: str, caps: Capabilities, tools: tuple[Mapping[str, Any], ...]) -> Bundle:
    whole = bundle_digest(tree.files)
    return Bundle(
        name=manifest.name,
        version=manifest.version,
        variant=manifest.variant,
        kind=manifest.kind,
        description=manifest.description,
        root=root,
        manifest_digest=digest,
        digest=whole,
        entry=manifest.entry,
        ports_in=manifest.ports_in,
        ports_out=manifest.ports_out,
        with_schema=manifest.with_schema,
        limits=manifest.limits,
        caps=caps,
        tools=tools,
        files=tree.files,
        signer=_signer(tree.files.get(SIGNATURE), whole, root),
        shipped=os.path.realpath(root).startswith(f"{os.path.realpath(shipped_agents_dir())}{os.sep}"),
    )


def _signer(signature: bytes | None, digest: str, root: Path) -> str | None:
    if signature is None:
        return None
    from runloop.bundles.signature import signer_of

    return signer_of(signature, digest, root)
