"""The hard limits: set by the system file for the whole machine, and only ever narrowed by the layers above it."""

from __future__ import annotations

from runloop.config.kinds import Boolean, Host, Integer, ListOf, Number, Text
from runloop.config.registry import Key

ACTIONS = ("mail.outbox", "mail.smtp", "files.write", "exec.run", "http.send", "kb.propose", "model.complete")
"""The actions that approvals name."""

SIGNER = Text(pattern=r"[0-9a-f]{64}", wanted="a public key in 64 hexadecimal digits, as `rlp agent sign` prints it")
_AGENTS = "rlp agent install and every run"
_RUN = "admission of actions in every run"
_GUEST = "limits of every guest"
_BUDGET = "budgets of every run"

POLICY: tuple[Key, ...] = (
    Key("policy.max_tokens", Integer(1), None, "Most tokens of one run.", effect=_BUDGET, nullable=True, tighten="min"),
    Key("policy.max_usd", Number(), None, "Most money of one run, in USD.", effect=_BUDGET, nullable=True, tighten="min"),
    Key("policy.memory_mb", Integer(8), None, "Most memory of a guest, in MiB.", effect=_GUEST, nullable=True, tighten="min"),
    Key("policy.wall_ms", Integer(10), None, "Most wall time of a node attempt.", effect=_GUEST, nullable=True, tighten="min"),
    Key("policy.output_bytes", Integer(1024), None, "Most output of a guest.", effect=_GUEST, nullable=True, tighten="min"),
    Key("policy.hostcalls", Integer(1), None, "Most hostcalls of a node attempt.", effect=_GUEST, nullable=True, tighten="min"),
    Key(
        "policy.confirm_external_actions",
        Boolean(),
        "false",
        "Always ask before external actions, whatever `security.confirm_external_actions` says.",
        effect=_RUN,
        tighten="any",
    ),
    Key(
        "policy.allow_unredacted_admin",
        Boolean(),
        "true",
        "Whether `security.redaction.allow_unredacted_admin` may allow `--unmasked` at all.",
        effect="--unmasked",
        tighten="all",
    ),
    Key("policy.allow_exec", Boolean(), "true", "Whether any agent may run commands.", effect=_RUN, tighten="all"),
    Key(
        "policy.allowed_hosts",
        ListOf(Host()),
        None,
        "Hosts that agents may reach, as `host` or `host:port`; not set is no limit beyond their own capabilities.",
        effect=_RUN,
        nullable=True,
        tighten="intersect",
    ),
    Key(
        "policy.allow_unsigned_agents",
        Boolean(),
        "true",
        "Whether `security.allow_unsigned_agents` may allow agents that nobody signed.",
        effect=_AGENTS,
        tighten="all",
    ),
    Key(
        "policy.allowed_agent_signers",
        ListOf(SIGNER),
        None,
        "Signers that `security.allowed_agent_signers` may name; not set is any.",
        effect=_AGENTS,
        nullable=True,
        tighten="intersect",
    ),
    Key("policy.deny_actions", ListOf(Text(ACTIONS)), [], "Actions that are always refused.", effect=_RUN, tighten="union"),
    Key(
        "policy.approve_in_advance",
        ListOf(Text(ACTIONS)),
        None,
        "Actions that `--yes` may approve at all; not set is no limit beyond the opening's own.",
        effect=_RUN,
        nullable=True,
        tighten="intersect",
    ),
)
