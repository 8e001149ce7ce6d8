"""Where agents and openings are found by name, as the settings say: the one answer for runs and for every verb."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from runloop.config.paths import SYSTEM_CONFIG
from runloop.errors import InvalidInput

if TYPE_CHECKING:
    from runloop.bundles import Bundle, BundleStore
    from runloop.config import Settings
    from runloop.effects.perform.secrets import SecretProvider, SecretStore
    from runloop.effects.perform.storage import FileBlobs
    from runloop.kb import KnowledgeBase
    from runloop.kb.redaction import Rules
    from runloop.kb.writer import StallListener

LOCAL_AGENTS = ("agents",)
LOCAL_OPENINGS = ("openings", "examples/openings")
"""Looked into in the working directory, after everything else: a directory that somebody else filled may add names, never replace one."""


def opening_dirs(settings: Settings, workdir: Path | None = None) -> tuple[Path, ...]:
    """Where openings are looked up, first wins: the configured directories, what ships, then the working directory's."""
    from runloop.bundles import shipped_openings_dir

    local = ((workdir or Path.cwd()) / name for name in LOCAL_OPENINGS)
    return tuple(dict.fromkeys([*settings.get("openings.search_dirs"), shipped_openings_dir(), *local]))


def bundle_store(settings: Settings, root: Path | None = None, workdir: Path | None = None) -> BundleStore:
    """The agents that are installed here, narrowed by the override files of the system and of the user; ``root`` is looked into first.

    Raises:
        InvalidInput: ``agent.root`` where ``root`` is not there.

    """
    from runloop.bundles import BundleStore, OverrideDirs, agent_search_dirs

    if root is not None and not root.is_dir():
        raise InvalidInput(f"there is no directory {root}", code="agent.root", hint="give --root a directory that exists")
    local = ((workdir or Path.cwd()) / name for name in LOCAL_AGENTS)
    home = settings.base.home
    return BundleStore(
        tuple(dict.fromkeys([*agent_search_dirs(settings.get("agents.search_dirs"), override=root), *local])),
        overrides=OverrideDirs(system=SYSTEM_CONFIG / "policy-overrides", user=settings.base.state / "policy-overrides"),
        home=None if home is None else str(home),
        env=os.environ,
    )


def load_at(settings: Settings, root: Path) -> Bundle:
    """The sound bundle in a directory, as it is: its policy may name this home and this environment."""
    from runloop.bundles import load_bundle

    home = settings.base.home
    return load_bundle(root, home=None if home is None else str(home), env=os.environ)


def agent_signers(settings: Settings) -> frozenset[str] | None:
    """The public keys of which one must have signed an agent, None where agents that nobody signed are allowed, too."""
    if settings.get("security.allow_unsigned_agents"):
        return None
    return frozenset(settings.get("security.allowed_agent_signers") or ())


def places_of_secrets(settings: Settings) -> dict[str, SecretProvider]:
    """Where secrets are looked up, in that order, by name: ``keyring``, ``environment``, ``file``."""
    from runloop.effects.perform.secrets import secret_places

    return secret_places(settings.get("security.secrets.provider"), settings.get("security.secrets.root"))


def secret_store(settings: Settings) -> SecretStore:
    """Where secrets are looked up, as one."""
    from runloop.effects.perform.secrets import SecretStore

    return SecretStore(tuple(places_of_secrets(settings).values()))


def kept_files(settings: Settings) -> FileBlobs:
    """Where ``files.write`` keeps what it wrote over, and ``rlp undo`` finds it."""
    from runloop.effects.perform.storage import FileBlobs

    return FileBlobs(settings.directories.pog / "files")


def redaction_rules(settings: Settings) -> Rules:
    """What is masked where text leaves, as the settings say."""
    from runloop.kb.redaction import Rules

    switches = ("enabled", "email", "phone", "card", "iban", "keys", "url_params", "url_param_denylist", "drop_masked_rows")
    return Rules(**{name: settings.get(f"security.redaction.{name}") for name in switches})


def open_knowledge(settings: Settings, on_stall: StallListener | None = None) -> KnowledgeBase:
    """The knowledge base of these settings, made where it is missing; the caller closes it. ``on_stall``: see ``Ledger.watch``."""
    from runloop.kb import KnowledgeBase

    return KnowledgeBase.open(
        settings.get("kb.root_dir"),
        events_db=settings.get("kb.events_db"),
        view_db=settings.get("kb.view_db"),
        salt=settings.get("security.redaction.salt"),
        rules=redaction_rules(settings),
        on_stall=on_stall,
    )
