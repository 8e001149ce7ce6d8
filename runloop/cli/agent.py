"""`rlp agent`: find, check, write, test, build and install agents."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from runloop.cli import context, output
from runloop.cli.agent_from_run import write_case
from runloop.cli.agent_remarks import print_remarks, remarks_on
from runloop.cli.agent_views import (
    LIST_COLUMNS,
    inspection_json,
    listed_json,
    listed_row,
    print_bundle,
    print_case,
    print_granted,
    print_problems,
    problem_code,
)
from runloop.cli.link import waited
from runloop.cli.options import JsonOption, MaxColsOption, MaxRowsOption, NoWrapOption, TableOption
from runloop.errors import EXIT_FAILED, EXIT_OK, InvalidInput, Where
from runloop.links import followed

if TYPE_CHECKING:
    from collections.abc import Callable

    from runloop.bundles import Bundle, BundleStore
    from runloop.bundles.bundle import Inspection
    from runloop.bundles.manifest import Kind
    from runloop.errors import RunloopError

_GUEST_PYTHON = (3, 14)
_Found = TypeVar("_Found")

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="List, check, scaffold, test, build and install agents.",
)

RootOption = Annotated[Path | None, typer.Option("--root", metavar="DIR", help="Directory of agents to use first.")]
Targets = Annotated[list[str], typer.Argument(metavar="NAME|DIR...", help="Agents by name (NAME or NAME@VARIANT) or by directory.")]
Target = Annotated[str, typer.Argument(metavar="NAME|DIR", help="An agent by name (NAME or NAME@VARIANT) or by directory.")]


@app.command("list")
def list_agents(
    root: RootOption = None,
    json: JsonOption = False,
    table: TableOption = False,
    max_cols: MaxColsOption = None,
    max_rows: MaxRowsOption = None,
    no_wrap: NoWrapOption = False,
) -> None:
    """List the agents that can be used by name, and whether their files are what their manifests say."""
    store = _store(root)
    listed = store.list()
    output.print_rows(
        LIST_COLUMNS,
        [listed_row(each) for each in listed],
        as_json=json,
        as_table=table,
        style=output.TableStyle(max_cols, max_rows, fit=not no_wrap),
        empty=f"no agents found (searched: {', '.join(map(str, store.search_dirs))}); `rlp agent scaffold NAME` writes one",
        optional=("variant", "signer"),
        data={"agents": [listed_json(each) for each in listed], "search_dirs": [str(path) for path in store.search_dirs]},
    )


@app.command()
def show(target: Target, root: RootOption = None, json: JsonOption = False, table: TableOption = False) -> None:
    """Show one agent: what it takes and gives, what it may ask for after overrides, and its digests."""
    store = _store(root)
    bundle = _bundle(store, target)
    overrides = store.override_files(bundle.name, bundle.variant)
    print_bundle(bundle, overrides, as_json=output.wants_json(as_json=json, as_table=table))


@app.command()
def check(targets: Targets, root: RootOption = None, json: JsonOption = False, table: TableOption = False) -> int:
    """Report everything that is wrong with agents, without running them."""
    from runloop.bundles import inspect_bundle
    from runloop.bundles.lint import lint

    store = _store(root)
    found = []
    for target in targets:
        inspection = inspect_bundle(_place(store, target), home=_home(), env=os.environ)
        problems = [*_misnamed(target, inspection), *inspection.problems, *lint(inspection, _guest_compiles, _wasm_fault)]
        found.append((target, inspection, problems, remarks_on(inspection.root, inspection.bundle)))
    if output.wants_json(as_json=json, as_table=table):
        output.print_json({"agents": [inspection_json(*each) for each in found]})
    else:
        for _, inspection, problems, remarks in found:
            print_problems(inspection.root, problems)
            print_remarks(remarks)
    return max((problem_code(problems) for _, _, problems, _ in found), default=EXIT_OK)


@app.command()
def scaffold(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the new agent: lowercase letters, digits and underscores.")],
    description: Annotated[str | None, typer.Option("--description", help="One line that says what it does.")] = None,
    root: Annotated[
        Path | None, typer.Option("--root", metavar="DIR", help="Directory to write it into (default: your own agents).")
    ] = None,
    cap_fs: Annotated[str, typer.Option("--cap-fs", metavar="DIR,...", help="Directories that it may read.")] = "",
    cap_net: Annotated[str, typer.Option("--cap-net", metavar="HOST,...", help="Hosts that it may fetch from.")] = "",
    cap_kb_read: Annotated[str | None, typer.Option("--cap-kb-read", metavar="DOMAIN,...", help="Domains that it may read.")] = None,
    cap_kb_write: Annotated[str, typer.Option("--cap-kb-write", metavar="DOMAIN,...", help="Domains that it may add to.")] = "",
    model: Annotated[bool, typer.Option("--model/--no-model", help="Whether it may ask a model.")] = True,
    opening: Annotated[bool, typer.Option("--opening", help="Also write an opening with this one agent.")] = False,
    opening_path: Annotated[Path | None, typer.Option("--opening-path", metavar="FILE", help="Where to write the opening.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    json: JsonOption = False,
) -> None:
    """Write a new Python agent that works: manifest, policy, code, README and tests."""
    from runloop.bundles.scaffold import DEFAULT_DESCRIPTION, Grants, scaffold
    from runloop.config import ensure

    directories = context.settings().directories
    grants = Grants(
        fs=_comma_list(cap_fs),
        net=_comma_list(cap_net),
        kb_read=None if cap_kb_read is None else _domains(_comma_list(cap_kb_read)),
        kb_write=_comma_list(cap_kb_write),
        model=model,
    )
    done = scaffold(
        name,
        root or ensure(directories.agents),
        description=DEFAULT_DESCRIPTION if description is None else description,
        grants=grants,
        opening=opening_path or (ensure(directories.openings) / f"{name}.yaml" if opening else None),
        force=force,
        home=_home(),
        env=os.environ,
    )
    if json:
        output.print_json({"agent": name, "path": str(done.bundle), "opening": None if done.opening is None else str(done.opening)})
        return
    reference = name if root is None else str(done.bundle)
    output.print_line(f"created agent bundle at {done.bundle}")
    output.print_line(f"manifest: {done.bundle / 'manifest.toml'}")
    if done.opening:
        output.print_line(f"opening: {done.opening}")
    output.print_line(f"next: edit {done.bundle / 'agent.py'}, then `rlp agent build {reference}` and `rlp agent test {reference}`")


@app.command()
def build(target: Target, root: RootOption = None, json: JsonOption = False, table: TableOption = False) -> int:
    """Check an agent and write the digests of its files into its manifest."""
    from runloop.bundles import inspect_bundle
    from runloop.bundles.seal import seal

    place = _place(_store(root), target)
    sealed, problems = None, _misnamed(target, inspect_bundle(place, home=_home(), env=os.environ))
    if not problems:
        sealed, problems = seal(place, home=_home(), env=os.environ, compiles=_guest_compiles, wasm_fault=_wasm_fault)
    as_json = output.wants_json(as_json=json, as_table=table)
    if sealed is None:
        if as_json:
            output.print_json({"path": str(place), "built": False, "problems": [problem.to_dict() for problem in problems]})
        else:
            print_problems(place, problems)
        return problem_code(problems)
    remarks = remarks_on(place, inspect_bundle(place, home=_home(), env=os.environ).bundle)
    if as_json:
        changes = {"added": sealed.added, "changed": sealed.changed, "removed": sealed.removed, "unsigned": sealed.unsigned}
        digests = {"manifest_digest": sealed.manifest_digest, "digest": sealed.digest}
        output.print_json(
            {"path": str(place), "built": True, **changes, **digests, "problems": [], "remarks": [each.to_dict() for each in remarks]}
        )
        return EXIT_OK
    for word, paths in (("added", sealed.added), ("changed", sealed.changed), ("removed", sealed.removed)):
        for path in paths:
            output.print_line(f"{word}: {path}")
    if sealed.unsigned:
        output.print_line("removed: its signature, which was for what it was before; `rlp agent sign` signs it anew")
    output.print_line(f"built {place} ({sealed.digest[:12]})")
    print_remarks(remarks)
    return EXIT_OK


@app.command()
def install(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A directory, its manifest.toml, a .tar, .tar.gz or .tgz, or a file:// URL.")
    ],
    root: Annotated[
        Path | None, typer.Option("--root", metavar="DIR", help="Directory to install into (default: your own agents).")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the agent that is there.")] = False,
    json: JsonOption = False,
) -> None:
    """Verify an agent and put it where it is found by name."""
    from runloop.bundles.install import install
    from runloop.config import ensure
    from runloop.runs.places import agent_signers

    settings = context.settings()
    done = install(
        source,
        root or ensure(settings.directories.agents),
        force=force,
        signers=agent_signers(settings),
        home=_home(),
        env=os.environ,
    )
    if json:
        about = {"agent": done.bundle.ref, "version": done.bundle.version, "digest": done.bundle.digest, "signer": done.bundle.signer}
        output.print_json({**about, "path": str(done.path)})
        return
    output.print_line(f"installed {done.bundle.ref} {done.bundle.version} to {done.path}")
    if done.bundle.signer:
        output.print_line(f"signed with {done.bundle.signer}")
    print_granted(done.bundle)


@app.command()
def sign(target: Target, root: RootOption = None, json: JsonOption = False) -> None:
    """Sign an agent with your key: whoever trusts that key can know that it is as you left it."""
    from runloop.bundles import load_bundle
    from runloop.bundles.signature import sign
    from runloop.signatures import signing_key

    bundle = load_bundle(_place(_store(root), target), home=_home(), env=os.environ)
    signer = sign(bundle, signing_key(context.settings().directories.state / "keys"))
    if json:
        output.print_json({"agent": bundle.ref, "path": str(bundle.root), "digest": bundle.digest, "signer": signer})
        return
    output.print_line(f"signed {bundle.ref} {bundle.version} in {bundle.root}")
    output.print_line(f"with the key {signer}")
    output.print_line("who trusts it adds the key to security.allowed_agent_signers")


@app.command("test")
def run_tests(
    target: Target,
    root: RootOption = None,
    only: Annotated[str, typer.Option("--only", "-k", metavar="TEXT", help="Only the cases whose name contains this.")] = "",
    build: Annotated[bool, typer.Option("--build", help="Build the agent first.")] = False,
    from_run: Annotated[
        str | None,
        typer.Option("--from-run", metavar="RUN[:NODE]", help="Write a case from that run into tests/cases.yaml, build, and run it."),
    ] = None,
    json: JsonOption = False,
    table: TableOption = False,
) -> int:
    """Run an agent's own cases (tests/cases.yaml) in the sandbox, with recorded answers."""
    from runloop.testing import read_cases
    from runloop.testing.cases import CASES

    store = _store(root)
    if build:
        _seal(_place(store, target))
    bundle = _bundle(store, target)
    if from_run is not None:
        only = write_case(bundle, from_run)
        _seal(bundle.root)
        bundle = _bundle(store, target)
    content = bundle.files.get(CASES)
    if content is None:
        raise InvalidInput(
            f"{bundle.ref} has no {CASES}", code="agent.no_tests", hint="docs/agents.md shows one; `rlp agent scaffold` writes one"
        )
    cases = [case for case in read_cases(content.decode("utf-8", "replace"), file=f"{bundle.root}/{CASES}") if only in case.name]
    if not cases:
        raise InvalidInput(f"no case has {only!r} in its name", code="agent.no_tests", hint="leave --only out to run them all")
    as_json = output.wants_json(as_json=json, as_table=table)
    results = waited(_run_cases(bundle, cases, as_json=as_json))
    failed = [result for result in results if not result.ok]
    if as_json:
        shown = [
            {"name": each.name, "line": each.line, "ok": each.ok, "failures": each.failures, "hostcalls": each.hostcalls}
            for each in results
        ]
        output.print_json(
            {"agent": bundle.ref, "digest": bundle.digest, "passed": len(results) - len(failed), "failed": len(failed), "cases": shown}
        )
    else:
        output.print_line(f"{len(results) - len(failed)} passed, {len(failed)} failed")
    return EXIT_FAILED if failed else EXIT_OK


def _seal(place: Path) -> None:
    from runloop.bundles.seal import seal

    _, problems = seal(place, home=_home(), env=os.environ, compiles=_guest_compiles, wasm_fault=_wasm_fault)
    if problems:
        raise problems[0]


async def _run_cases(bundle: Bundle, cases: list[Any], *, as_json: bool) -> list[Any]:
    from runloop.runs.obeying import limits_from
    from runloop.sandbox import WorkerPool
    from runloop.testing import run_cases

    settings = context.settings()
    limits = limits_from(settings)(bundle)
    results = []
    async with WorkerPool(settings.directories.cache, workers=1, progress=_say_compiling()) as pool:
        async for result in run_cases(bundle, cases, pool, limits):
            results.append(result)
            if not as_json:
                print_case(result)
    return results


def _guest_compiles(path: str, source: bytes) -> bool:
    """Ask the Python guest whether it compiles a source that this Python does not read; a newer Python than the guest's knows best."""
    if sys.version_info >= _GUEST_PYTHON:
        return False
    import json

    from runloop.errors import RunloopError
    from runloop.sandbox import Answer, CallError, GuestSpec, WorkerPool

    async def no_calls(_name: str, _args: str) -> Answer:
        return Answer(CallError("denied", "no calls"), 0)

    async def ask() -> bool:
        checker = {"agent.py": "def run(source, path):\n    compile(source, path, 'exec', dont_inherit=True)\n    return True\n"}
        request = json.dumps({"with": {"source": source.decode(), "path": path}, "inputs": {}, "run": {}})
        spec = GuestSpec("python", "syntax", "agent.py", request, bytes(32), 0, sources=checker)
        async with WorkerPool(context.settings().directories.cache, workers=1, progress=_say_compiling()) as pool:
            return (await pool.run(spec, no_calls)).result_json == "true"

    try:
        return waited(ask())
    except (RunloopError, UnicodeDecodeError):
        return False


def _wasm_fault(kind: Kind, entry: str, code: bytes) -> str | None:
    """Why WebAssembly does not compile, None if it does: the first run finds it compiled then."""
    from runloop.sandbox import GuestSpec, WorkerPool
    from runloop.sandbox.cache import CompileFailed

    pool = WorkerPool(context.settings().directories.cache, workers=1, progress=_say_compiling())  # which only compiles: no worker starts
    try:
        waited(pool.prepare(GuestSpec(kind, "check", entry, "{}", bytes(32), 0, code=code)))
    except CompileFailed as failed:
        return failed.message
    return None


def _say_compiling() -> Any:
    """A callback that says once, on stderr, why the first run takes seconds."""
    said: list[bool] = []

    def progress(state: Any) -> None:
        if not said and not state.done:
            said.append(True)
            print(output.clean(f"compiling {state.name} (once per machine, about {state.expected_s:.0f} s)"), file=sys.stderr)

    return progress


def _store(root: Path | None) -> BundleStore:
    from runloop.runs.places import bundle_store

    return bundle_store(context.settings(), root)


def _home() -> str | None:
    home = context.settings().base.home
    return None if home is None else str(home)


def _is_path(target: str) -> bool:
    return os.sep in target or target in {".", ".."}


def _place(store: BundleStore, target: str) -> Path:
    """Find the directory of an agent, sound or not."""
    return followed(target) if _is_path(target) else _named(target, store.find)


def _named(target: str, find: Callable[[str, str | None], _Found]) -> _Found:
    """What is found under a name; who meant a directory beside them is told how to say so."""
    from runloop.bundles.errors import BundleNotFound

    name, at, variant = target.partition("@")
    try:
        return find(name, variant if at else None)
    except BundleNotFound as error:
        if not Path(target, "manifest.toml").is_file():
            raise
        raise BundleNotFound(error.message, hint=f"say ./{target} for the directory; a word without a / is a name") from None


def _misnamed(target: str, inspection: Inspection) -> list[RunloopError]:
    """What keeps an agent that was asked for by name from being found by it; a directory may have any name."""
    from runloop.bundles.store import misnamed

    if _is_path(target) or inspection.manifest is None:
        return []
    name, at, variant = target.partition("@")
    fault = misnamed(inspection.root, inspection.manifest, name, variant if at else None)
    return [] if fault is None else [fault]


def _bundle(store: BundleStore, target: str) -> Bundle:
    from runloop.bundles import load_bundle

    if _is_path(target):
        return store.narrowed(load_bundle(followed(target), home=_home(), env=os.environ))
    return _named(target, store.resolve)


def _domains(names: list[str]) -> list[str]:
    """The names, all of domains that can be read. Raises InvalidInput ``kb.unknown_domain``."""
    from runloop.kb.derived import DOMAINS
    from runloop.policy.names import EVENTS, ONLY_BY_NAME

    known = (*DOMAINS, EVENTS, *sorted(ONLY_BY_NAME))
    if unknown := [name for name in names if name not in known]:
        place = Where(key="--cap-kb-read")
        raise InvalidInput(f"unknown domain {unknown[0]!r}", code="kb.unknown_domain", where=place, hint=f"use {', '.join(known)}")
    return names


def _comma_list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
