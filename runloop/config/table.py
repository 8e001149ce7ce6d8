"""The table of every setting: the one place that knows a key's name, type, default, meaning and reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runloop.config.kinds import Boolean, Host, Integer, ListOf, MapOf, PathText, PublisherKind, Text
from runloop.config.registry import Key
from runloop.config.table_models import MODELS
from runloop.config.table_policy import ACTIONS, POLICY, SIGNER
from runloop.config.table_redaction import REDACTION
from runloop.config.table_vectors import VECTORS

SEARCH = "lookup of agents and openings by name"
APPROVALS = "admission of actions in every run"
DAEMON = "the daemon, and the verbs that look for it"
TURNS = "scheduling of nodes and runs"
LOG = "the log of the daemon"
GUESTS = "limits of every guest"
LEDGER = "the knowledge base"
MAIL = "mail.send over SMTP"
ROUTING = "rlp route and the shell"
MONITOR = "agtop"
TRACES = "the traces of the daemon"
SECRETS = "secrets of models, mail and agents"
_CASES = "the answers of models in tests are in the cases of `rlp agent test`"
_SECRET_PROVIDERS = {"stub": "env", "os-keyring": "auto", "secret-service": "keyring"}  # upstream's, as what does that here
_OTHER_STORES = dict.fromkeys(("pass", "age"), "Nothing reads that store here: use auto, keyring, env or file.")


def _sock_not_run(value: Any) -> tuple[Any, str]:
    """The old socket directory `.runloop/run` became `.runloop/sock`."""
    if isinstance(value, Path) and value.parts[-2:] == (".runloop", "run"):
        return value.with_name("sock"), "`.runloop/run` is now `.runloop/sock`"
    return value, ""


_TEXT = Text()
_ANY_TEXT = Text(blank=True)
_TEXTS = ListOf(_TEXT)
_FILE_NAME = Text(pattern=r"(?!\.{1,2}$)[^/\x00]+", wanted="a file name, without a directory")
_PATHS = ListOf(PathText())
_PERCENT = Integer(0, 100)

GENERAL: tuple[Key, ...] = (
    Key(
        "version",
        Integer(1, 1, wanted="unsupported config version {n}; expected 1"),
        "1",
        "Version of the configuration format.",
        effect="reading the file",
    ),
    Key("runtime.base", _TEXT, "debian", "Base system of agents.", instead="agents run in a sandbox, without a base system"),
    Key(
        "runtime.agent_container",
        Text(pattern="wasm32-wasip1", wanted='"wasm32-wasip1"'),
        "wasm32-wasip1",
        "Container of an agent whose manifest names none.",
        instead="without `kind` in its manifest an agent is `python`, with `entry_wasm` `wasm32-wasip1`",
        aliases=("RUNLOOP_RUNTIME_AGENT_CONTAINER",),
    ),
    Key(
        "runtime.workdir",
        PathText(),
        "{state}",
        "Directory under which `outbox` and `artifacts` lie.",
        effect="where artifacts and mail are saved",
    ),
    Key(
        "runtime.socket_path",
        PathText(empty_message="runtime.socket_path cannot be empty when specified"),
        None,
        "Socket of the daemon; when set, no other is tried.",
        effect=DAEMON,
        nullable=True,
    ),
    Key(
        "runtime.sockets_dir",
        PathText(may_be_blank=True),
        "{sockets}",
        "Directory of the daemon's first socket; the second is in `sock` of the state directory.",
        effect=DAEMON,
        rewrite=_sock_not_run,
    ),
    Key(
        "runtime.max_agents",
        Integer(0, 1_000_000),
        "0",
        "Most nodes at work at a time over all runs; one that waits for an answer does not count. 0 is what the workers take.",
        effect=TURNS,
        reload=True,
    ),
    Key("runtime.max_nodes_per_run", Integer(1, 10_000), "8", "Most nodes of one run at work at a time.", effect=TURNS, reload=True),
    Key("runtime.max_runs", Integer(1, 100_000), "64", "Most runs of the daemon under way; further ones queue.", effect=TURNS, reload=True),
    Key(
        "runtime.max_queued_runs",
        Integer(0, 1_000_000),
        "1000",
        "Most runs that queue in the daemon; further ones are refused with a time to try again.",
        effect=TURNS,
        reload=True,
    ),
    Key(
        "runtime.max_waiting_bytes",
        Integer(16_777_216, 1_099_511_627_776),
        "536870912",
        "Most that waits on the bus for connections to be read: of operators and agents together, and as much of all others. "
        "Of who would exceed it, the one with the most is sent away.",
        effect=DAEMON,
    ),
    Key(
        "runtime.drain_grace_ms",
        Integer(0, 3_600_000),
        "10000",
        "How long nodes that work may go on when the daemon stops.",
        effect=DAEMON,
        reload=True,
    ),
    Key(
        "runtime.evict_after_ms",
        Integer(0, 3_600_000),
        "1000",
        "How long a call may take before its agent is dropped from memory and rebuilt when the answer is there, or 2 ms for each call in "
        "its record where that is more; null keeps it.",
        nullable=True,
        effect=TURNS,
        reload=True,
    ),
    Key(
        "runtime.park_after_ms",
        Integer(0, 3_600_000),
        "5000",
        "How long a run of the daemon only waits before all of it is dropped from memory, or 1 ms for each of its records where that is "
        "more; null keeps it.",
        nullable=True,
        effect=TURNS,
        reload=True,
    ),
    Key(
        "runtime.pressure_threshold.cpu_pct",
        _PERCENT,
        "100",
        "Use of the machine's processors above which agents start one after the other; 100 is never.",
        effect=TURNS,
        reload=True,
    ),
    Key(
        "runtime.pressure_threshold.mem_pct",
        _PERCENT,
        "100",
        "Use of the machine's memory above which agents start one after the other; 100 is never.",
        effect=TURNS,
        reload=True,
    ),
    Key(
        "runtime.pressure_threshold.io_wait_pct",
        _PERCENT,
        "100",
        "Time in which something waited for the disk above which agents start one after the other; 100 is never.",
        effect=TURNS,
        reload=True,
    ),
    Key(
        "runtime.spawn_ready_timeout_ms",
        Integer(1, 3_600_000),
        "30000",
        "Time that a worker for agents has to start.",
        effect="the supervision of workers",
        aliases=("RUNLOOP_SPAWN_READY_TIMEOUT_MS",),
    ),
)

SANDBOX: tuple[Key, ...] = (
    Key("sandbox.workers", Integer(0, 256), "0", "Worker processes; 0 is one per core.", effect=GUESTS),
    Key(
        "sandbox.restarts_per_minute",
        Integer(1, 10_000),
        "30",
        "How often workers that died are replaced within a minute.",
        effect="the supervision of workers",
    ),
    Key("sandbox.memory_mb", Integer(8, 65_536), "256", "Most memory of a guest, in MiB.", effect=GUESTS, limit="policy.memory_mb"),
    Key("sandbox.wall_ms", Integer(10, 86_400_000), "300000", "Most wall time of a node attempt.", effect=GUESTS, limit="policy.wall_ms"),
    Key("sandbox.output_bytes", Integer(1024, 2**31), "8388608", "Most output of a guest.", effect=GUESTS, limit="policy.output_bytes"),
    Key("sandbox.hostcalls", Integer(1, 10_000_000), "10000", "Most hostcalls of a node attempt.", effect=GUESTS, limit="policy.hostcalls"),
    Key("sandbox.fuel", Integer(1), None, "Most WASM instructions of a node attempt.", effect=GUESTS, nullable=True),
)

KB: tuple[Key, ...] = (
    Key("kb.root_dir", PathText(), "{state}/pog", "Directory of the knowledge base.", effect=LEDGER, aliases=("RUNLOOP_KB_ROOT_DIR",)),
    Key("kb.events_db", _FILE_NAME, "events.sqlite", "File name of the ledger.", effect=LEDGER, deprecated=("kb.ledger",)),
    Key("kb.view_db", _FILE_NAME, "pog.sqlite", "File name of the projections.", effect=LEDGER, deprecated=("kb.materialized",)),
    Key("kb.wal", Boolean(), "true", "Write-ahead log.", instead="always on"),
    Key("kb.fts", Boolean(), "false", "Full-text search.", instead="always on"),
    Key(
        "kb.redaction.at_query_time",
        Boolean(),
        "true",
        "Mask in answers to queries.",
        instead="`security.redaction.enabled` switches masks",
    ),
    Key(
        "kb.redaction.materialize_masked_columns",
        Boolean(),
        "true",
        "Store masked columns.",
        instead="never: what is stored is stored as it was",
    ),
)

SECURITY: tuple[Key, ...] = (
    Key(
        "security.confirm_external_actions",
        Boolean(),
        "true",
        "Ask before an action that leaves the machine or cannot be undone.",
        effect=APPROVALS,
        aliases=("RUNLOOP_SECURITY_CONFIRM_EXTERNAL_ACTIONS",),
        limit="policy.confirm_external_actions",
    ),
    Key(
        "security.approve_in_advance",
        ListOf(Text(ACTIONS)),
        None,
        "Actions that `--yes` may approve when the opening allows it too; not set is whatever the opening allows.",
        effect=APPROVALS,
        nullable=True,
        limit="policy.approve_in_advance",
    ),
    Key(
        "security.allow_unsigned_agents",
        Boolean(),
        "true",
        "Install and run agents that nobody signed, or somebody who is not trusted.",
        effect="rlp agent install and every run",
        limit="policy.allow_unsigned_agents",
    ),
    Key(
        "security.allowed_agent_signers",
        ListOf(SIGNER),
        None,
        "Public keys of who may have signed an agent where unsigned ones are not allowed; those that come with Runloop need none.",
        effect="rlp agent install and every run",
        nullable=True,
        limit="policy.allowed_agent_signers",
    ),
    Key(
        "security.require_signed_messages",
        Boolean(never=True),
        "false",
        "Refuse unsigned frames; frames are never signed, so true is refused.",
        instead="the system says who connects, and who decides needs the operator token",
    ),
    Key("security.caps.audit_on_allow", Boolean(), "false", "Record allowed uses of capabilities, too.", effect="the ledger of every run"),
    Key("security.caps.audit_on_deny", Boolean(), "true", "Record denied uses of capabilities.", effect="the ledger of every run"),
    Key("security.caps.fail_on_empty", Boolean(), "false", "Refuse to run an agent without capabilities.", effect="every run"),
    Key(
        "security.secrets.provider",
        Text(("auto", "keyring", "env", "file"), unserved=_OTHER_STORES, others=_SECRET_PROVIDERS),
        "auto",
        "Where secrets are looked up: in the keyring, the environment, or files; auto is the first of them that has it, in this order. "
        "Upstream's `stub` is `env`, `os-keyring` is `auto`, `secret-service` is `keyring`.",
        effect=SECRETS,
    ),
    Key(
        "security.secrets.hosts",
        MapOf(ListOf(Host())),
        {},
        "Hosts that an agent may have a secret sent to, as `host` or `host:port`, by the secret's name; a secret that is not listed "
        "goes nowhere.",
        effect=SECRETS,
    ),
    Key(
        "security.approval_wait_ms",
        Integer(0, 30 * 24 * 3_600_000),
        "0",
        "How long the daemon waits for an approval while nobody at a terminal follows the run; 0 refuses at once.",
        effect=APPROVALS,
        reload=True,
    ),
    Key(
        "security.secrets.root",
        PathText(),
        "{state}/secrets",
        "Directory of secrets in files, each for its owner alone: models/openai is the file ROOT/models/openai.",
        effect=SECRETS,
    ),
    Key(
        "security.secrets.encryption",
        Text(("none",), unserved=dict.fromkeys(("age", "aes", "aes-gcm"), "The keyring encrypts what it keeps.")),
        "none",
        "Encryption of secrets in files; there is none.",
        instead="files are readable for their owner alone; the keyring encrypts what it keeps",
    ),
    Key(
        "security.secrets.master_key",
        _ANY_TEXT,
        None,
        "Master key of secrets in files.",
        instead="a key beside what it opens protects nothing; the keyring encrypts what it keeps",
        nullable=True,
        secret=True,
    ),
    Key(
        "security.secrets.allow_export",
        Boolean(),
        "false",
        "Let secrets be exported.",
        instead="never: a secret goes to the hosts of `security.secrets.hosts` only",
    ),
    Key("security.secrets.allow_list", Boolean(), "false", "Let the names of secrets be listed.", instead="never"),
    Key(
        "security.secrets.default_ttl",
        Integer(),
        "0",
        "Seconds that a secret is kept in memory; 0 is not at all.",
        instead="a secret is looked up each time that it is used, and not kept",
    ),
    Key("security.testing.broker_mode", _TEXT, None, "Mode of the broker in tests.", nullable=True, instead=_CASES),
    Key("security.testing.broker_seed", Integer(), None, "Seed of the broker in tests.", nullable=True, instead=_CASES),
    Key(
        "security.testing.allow_missing_secrets",
        Boolean(),
        "false",
        "Start agents whose secrets are missing.",
        instead="always: only a call that needs one fails, with `secrets.missing`",
    ),
    Key(
        "security.testing.expose_raw_secrets",
        Boolean(never=True),
        "false",
        "Hand secrets to agents as text; they get handles, so true is refused.",
        instead="never: agents get handles",
    ),
)

MAIL_KEYS: tuple[Key, ...] = (
    Key(
        "mail.from",
        Text(pattern=r"[^\r\n]*[^\s@<>]+@[^\s@<>]+>?\s*", wanted='an address: "ada@example.org" or "Ada <ada@example.org>"'),
        None,
        "Sender of mail.",
        effect="mail.send",
        nullable=True,
    ),
    Key("mail.smtp.host", Host("mail.smtp.port"), None, "Server that takes mail; not set is the outbox only.", effect=MAIL, nullable=True),
    Key(
        "mail.smtp.port",
        Integer(1, 65_535),
        None,
        "Port; not set is 587 with starttls, 465 with tls, 25 with none.",
        effect=MAIL,
        nullable=True,
    ),
    Key(
        "mail.smtp.tls",
        Text(("starttls", "tls", "none")),
        "starttls",
        "Encryption. `none` is refused together with a password.",
        effect=MAIL,
    ),
    Key("mail.smtp.user", _TEXT, None, "Name to log in with.", effect=MAIL, nullable=True),
    Key("mail.smtp.secret_id", _TEXT, "mail/smtp", "Name of the secret that is the password.", effect=MAIL),
    Key("mail.smtp.timeout_ms", Integer(100, 600_000), "30000", "Time that the server has for each answer.", effect=MAIL),
)

REST: tuple[Key, ...] = (
    Key(
        "router.fastpath_shell",
        Boolean(),
        "true",
        "Run known commands at once; off asks about every line.",
        effect=ROUTING,
        aliases=("RUNLOOP_ROUTER_SHELL_FASTPATH", "RUNLOOP_ROUTER_ALLOW_SHELL_FASTPATH"),
        deprecated=("router.allow_shell_fastpath", "router.shell_fastpath"),
        reload=True,
    ),
    Key(
        "router.default_opening",
        _TEXT,
        "assistant",
        "Opening that answers a request which no other fits; it takes the line as `question`, `prompt`, `request` or `text`.",
        effect="rlp ask",
        aliases=("RUNLOOP_ROUTER_DEFAULT_OPENING",),
        reload=True,
    ),
    Key(
        "router.sigil",
        Text(blank=True),
        "?",
        "What a line begins with that always is for agents; empty is nothing.",
        effect=ROUTING,
        reload=True,
    ),
    Key(
        "router.sentences",
        Text(("ask", "agent", "shell")),
        "ask",
        "What becomes of a sentence whose first word is a command.",
        effect=ROUTING,
        reload=True,
    ),
    Key(
        "router.rerank",
        Boolean(),
        "false",
        "Let a model, where one is configured, choose between openings that fit a request equally well; off asks you.",
        effect="rlp ask",
        reload=True,
    ),
    Key("router.allowlist", _TEXTS, [], "Texts that make any line that contains them a command.", effect=ROUTING, reload=True),
    Key(
        "router.denylist",
        _TEXTS,
        ["rm -rf /"],
        "Commands that no shell may be given, however they are written.",
        effect=ROUTING,
        reload=True,
    ),
    Key("router.known_commands", _TEXTS, [], "Names of further programs, which need not be installed.", effect=ROUTING, reload=True),
    Key("ui.theme", Text(("mono", "dark", "light", "contrast")), "mono", "Theme of agtop.", effect=MONITOR),
    Key(
        "ui.confirm_prompts",
        _TEXT,
        "inline",
        "Where approvals are asked.",
        reload=True,
        instead="asked at the terminal that follows the run, in agtop, and by `rlp approve`",
    ),
    Key(
        "logging.level",
        Text(("trace", "debug", "info", "warn", "error")),
        "info",
        "Least level that is logged.",
        effect=LOG,
        aliases=("RUNLOOP_LOG_LEVEL",),
        reload=True,
    ),
    Key("logging.file", PathText(), None, "File of the log; not set is stderr.", effect=LOG, nullable=True),
    Key("logging.format", Text(("auto", "json", "text")), "auto", "Form of the log; auto is text on a terminal.", effect=LOG),
    Key(
        "observability.traces.enabled",
        Boolean(),
        "false",
        "Export runs, nodes, attempts and what they ask for as spans, by OTLP over HTTP (extra `otlp`).",
        effect=TRACES,
    ),
    Key(
        "observability.traces.otlp_endpoint",
        Text(pattern=r"https?://[^\s/@?#]+(/[^\s?#]*)?", wanted="an address such as http://127.0.0.1:4318, without a user or a query"),
        None,
        "Where traces go, as `http://host:4318`; `/v1/traces` follows unless it is there. Not set, what the variables "
        "`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` and `OTEL_EXPORTER_OTLP_ENDPOINT` of the daemon say, else `http://localhost:4318`.",
        effect=TRACES,
        nullable=True,
    ),
    Key(
        "observability.traces.sampling",
        Text(pattern=r"parent|always_on|ratio:(0(\.[0-9]+)?|1(\.0+)?)", wanted="parent, always_on or ratio:N with N from 0 to 1"),
        "parent",
        "Which traces are exported: `parent`, those that their submitter keeps and those that have none; `always_on`, all; `ratio:N`, a "
        "share of them by their ids.",
        effect=TRACES,
    ),
    Key(
        "observability.metrics_interval_ms",
        Integer(100, 60_000, wanted="observability.metrics_interval_ms must be between 100 and 60000 (found {n})"),
        "1000",
        "How often metrics are published.",
        effect="the metrics of the daemon",
        reload=True,
    ),
    Key(
        "openings.search_dirs",
        _PATHS,
        ["{state}/openings", "/etc/runloop/openings"],
        "Where openings are looked up by name, in this order; then those that ship, then `./openings` and `./examples/openings`.",
        effect=SEARCH,
        reload=True,
    ),
    Key(
        "agents.search_dirs",
        _PATHS,
        ["{state}/agents", "/usr/lib/runloop/agents"],
        "Where agents are looked up by name, in this order; then those that ship, then `./agents`.",
        effect=SEARCH,
        reload=True,
    ),
    Key("agents.cache_dir", PathText(), "{cache}", "Where compiled guests are kept.", effect="the cache of compiled guests"),
    Key(
        "bus.auth.publishers.action_decision.allowed_kinds",
        ListOf(PublisherKind(("ui", "tui", "agent")), always=("ui", "tui")),
        ["ui", "tui"],
        "Kinds of client that may answer an approval; none is kept from it by its kind, so a list without one of these is refused.",
        instead="whoever has the operator token decides, and nobody else",
    ),
)

KEYS: tuple[Key, ...] = (*GENERAL, *SANDBOX, *MODELS, *KB, *VECTORS, *SECURITY, *REDACTION, *MAIL_KEYS, *POLICY, *REST)
