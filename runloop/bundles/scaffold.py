"""Writing a new agent that works: it passes ``rlp agent check`` and ``rlp agent test`` as it is."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from runloop.bundles import templates
from runloop.bundles.errors import BundleInvalid
from runloop.bundles.manifest import MANIFEST, NAME
from runloop.bundles.seal import seal
from runloop.dataclass import dataclass
from runloop.errors import InvalidInput, Where
from runloop.policy import parse_caps
from runloop.scratch import exchange, scratch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULT_DESCRIPTION = "Sums up what the knowledge base says about a topic."


@dataclass(frozen=True, slots=True)
class Grants:
    """What the new agent may ask for; each entry as in ``policy.caps``."""

    fs: Sequence[str] = ()
    net: Sequence[str] = ()
    kb_read: Sequence[str] | None = None
    kb_write: Sequence[str] = ()
    model: bool = True


@dataclass(frozen=True, slots=True)
class Scaffolded:
    """Where the new files are."""

    bundle: Path
    opening: Path | None


def check_name(name: str) -> None:
    """Raise unless ``name`` may name an agent (spec 18.3)."""
    if not NAME.fullmatch(name):
        raise BundleInvalid(
            f"invalid agent name {name!r} (use lowercase letters, digits, and underscores; must start with a letter)",
            code="agent.name",
            hint="for example: note_reader",
        )


def scaffold(
    name: str,
    root: Path,
    *,
    description: str = DEFAULT_DESCRIPTION,
    grants: Grants | None = None,
    opening: Path | None = None,
    force: bool = False,
    home: str | None = None,
    env: Mapping[str, str] | None = None,
) -> Scaffolded:
    """Write the agent ``name`` below ``root`` and, where ``opening`` names a file, an opening that runs it.

    Everything is written beside its place, sealed, and renamed when it is whole. With ``force`` an agent that is there is replaced.
    """
    check_name(name)
    if not description.strip() or not description.isprintable():
        raise InvalidInput("the description must be one printable line", code="agent.description", hint="give it a short sentence")
    grants = grants or Grants()
    policy = _policy(name, grants)
    parse_caps(policy, file="policy.caps (from the --cap options)", home=home, env=env)
    bundle = root / name
    for path in (bundle, *([opening] if opening else [])):
        if os.path.lexists(path) and not force:
            raise InvalidInput(
                f"path already exists: {path}",
                code="agent.exists",
                where=Where(file=str(path)),
                hint="choose another name, or pass --force",
            )
    values = {
        "@NAME@": name,
        "@DESCRIPTION_TEXT@": description,
        "@DESCRIPTION@": json.dumps(description, ensure_ascii=False),
        "@DOCSTRING@": description.replace("\\", "\\\\").replace('"', '\\"'),
    }
    texts = {
        MANIFEST: templates.MANIFEST_TOML,
        "policy.caps": policy,
        "agent.py": templates.AGENT_PY if grants.model else templates.AGENT_WITHOUT_MODEL_PY,
        "README.md": templates.README_MD,
        "tests/cases.yaml": templates.CASES_HEAD_YAML
        + (templates.CASES_OF_MODEL_YAML if grants.model else templates.CASES_WITHOUT_MODEL_YAML)
        + templates.CASES_YAML,
    }
    _write(bundle, {path: _filled(text, values) for path, text in texts.items()}, home=home, env=env)
    if opening:
        opening.parent.mkdir(parents=True, exist_ok=True)
        opening.write_text(_filled(templates.OPENING_YAML, values), "utf-8")
    return Scaffolded(bundle, opening)


def _policy(name: str, grants: Grants) -> str:
    kb_read = ["notes", "events"] if grants.kb_read is None else list(grants.kb_read)
    lines = [f"kb_read = {json.dumps(kb_read)}", *(["model   = true"] if grants.model else [])]
    for key, entries in (("fs", grants.fs), ("net", grants.net), ("kb_write", grants.kb_write)):
        if entries:
            lines.append(f"{key:<7} = {json.dumps(list(entries), ensure_ascii=False)}")
    return _filled(templates.POLICY_CAPS, {"@GRANTS@": "\n".join(lines), "@NAME@": name})


def _filled(text: str, values: Mapping[str, str]) -> str:
    for mark, value in values.items():
        text = text.replace(mark, value)
    return text


def _write(bundle: Path, texts: Mapping[str, str], *, home: str | None, env: Mapping[str, str] | None) -> None:
    try:
        bundle.parent.mkdir(parents=True, exist_ok=True)
        with scratch(bundle.parent) as part:
            staged = part / "bundle"
            for path, text in texts.items():
                (staged / path).parent.mkdir(parents=True, exist_ok=True)
                (staged / path).write_text(text, "utf-8")
            _, problems = seal(staged, home=home, env=env)
            if problems:
                raise problems[0]
            if os.path.lexists(bundle):
                exchange(staged, bundle)  # the old one goes with the scratch directory
            else:
                staged.rename(bundle)
    except OSError as error:
        place = Where(file=str(error.filename or bundle))
        raise InvalidInput(
            f"the agent cannot be written: {error.strerror}", code="agent.unwritable", where=place, hint="check the directory"
        ) from None
