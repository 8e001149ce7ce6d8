"""The tables of `pog.sqlite`: everything in them is derived from the ledger and can be rebuilt at any time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import apsw

VERSION = 5  # raise it with any change of a table or of a projection: older files are then rebuilt

_STATE = """
    CREATE TABLE IF NOT EXISTS state(
        one INTEGER PRIMARY KEY CHECK(one = 1), version INTEGER NOT NULL, ledger_id TEXT NOT NULL, watermark INTEGER NOT NULL,
        anchor_id INTEGER NOT NULL, anchor_chain BLOB NOT NULL
    ) STRICT
"""

_TABLES = {
    "contacts": """(
        contact_key TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL, emails TEXT NOT NULL, nicknames TEXT NOT NULL,
        org TEXT, trust REAL NOT NULL, names_folded TEXT NOT NULL, source TEXT, source_event INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "contact_emails": "(email TEXT NOT NULL, contact_key TEXT NOT NULL, PRIMARY KEY(email, contact_key)) STRICT, WITHOUT ROWID",
    "notes": """(
        path TEXT NOT NULL, part INTEGER NOT NULL, line INTEGER NOT NULL, end_line INTEGER NOT NULL, title TEXT, text TEXT NOT NULL,
        file_hash TEXT NOT NULL, parts INTEGER NOT NULL, source_event INTEGER NOT NULL, PRIMARY KEY(path, part)
    ) STRICT, WITHOUT ROWID""",
    "artifacts": """(
        artifact_key TEXT PRIMARY KEY, kind TEXT NOT NULL, path TEXT NOT NULL, summary TEXT, sha256 TEXT, blake3 TEXT, bytes INTEGER,
        run_id TEXT, node TEXT, sources TEXT NOT NULL, source_event INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "runs": """(
        run_id TEXT PRIMARY KEY, trace_id TEXT NOT NULL, opening_id TEXT NOT NULL, opening_name TEXT NOT NULL, parent_run_id TEXT,
        forked_from TEXT, status TEXT NOT NULL, mode TEXT, owner TEXT,
        submitted_ms INTEGER NOT NULL, started_ms INTEGER, finished_ms INTEGER, ms INTEGER,
        tokens INTEGER NOT NULL, usd REAL, final_hash TEXT, reason TEXT,
        why TEXT, why_ms INTEGER, until_ms INTEGER, last_seq INTEGER NOT NULL,
        words TEXT NOT NULL, first_event INTEGER NOT NULL, source_event INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "run_events": "(run_id TEXT NOT NULL, seq INTEGER NOT NULL, event_id INTEGER NOT NULL, PRIMARY KEY(run_id, seq)) STRICT, WITHOUT ROWID",
    "run_nodes": """(
        run_id TEXT NOT NULL, node_id TEXT NOT NULL, status TEXT NOT NULL, attempt INTEGER NOT NULL, agent TEXT, started_ms INTEGER,
        finished_ms INTEGER, duration_ms INTEGER, outputs_hash TEXT, error_code TEXT, error TEXT, tokens INTEGER NOT NULL,
        usd REAL, source_event INTEGER NOT NULL, PRIMARY KEY(run_id, node_id)
    ) STRICT, WITHOUT ROWID""",
    "effects": """(
        run_id TEXT NOT NULL, node_id TEXT NOT NULL, attempt INTEGER NOT NULL, call INTEGER NOT NULL, name TEXT NOT NULL,
        class TEXT NOT NULL, status TEXT NOT NULL, requested_ms INTEGER NOT NULL, ended_ms INTEGER, ms INTEGER, args_bytes INTEGER NOT NULL,
        result_bytes INTEGER, tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL, usd REAL, cached INTEGER NOT NULL,
        error_code TEXT, error TEXT, requested_event INTEGER NOT NULL, ended_event INTEGER, PRIMARY KEY(run_id, node_id, attempt, call)
    ) STRICT, WITHOUT ROWID""",
    "approvals": """(
        approval_id TEXT PRIMARY KEY, run_id TEXT NOT NULL, node_id TEXT, action TEXT, status TEXT NOT NULL, decision TEXT, decided_by TEXT,
        requested_ms INTEGER NOT NULL, decided_ms INTEGER, source_event INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "mails": """(
        event_id INTEGER PRIMARY KEY, subject TEXT NOT NULL, recipients TEXT NOT NULL, status TEXT, message_id TEXT, path TEXT,
        artifact_id INTEGER NOT NULL, sent_ms INTEGER NOT NULL
    ) STRICT""",
    "entity_history": "(entity_key TEXT NOT NULL, event_id INTEGER NOT NULL, PRIMARY KEY(entity_key, event_id)) STRICT, WITHOUT ROWID",
    "problems": "(event_id INTEGER PRIMARY KEY, kind TEXT NOT NULL, error TEXT NOT NULL) STRICT",
    "documents": "(id INTEGER PRIMARY KEY, domain TEXT NOT NULL, key TEXT NOT NULL, UNIQUE(domain, key)) STRICT",
}
_INDEXES = (
    "CREATE INDEX contact_emails_contact ON contact_emails(contact_key)",
    "CREATE INDEX notes_version ON notes(path, file_hash)",
    "CREATE INDEX artifacts_run ON artifacts(run_id)",
    "CREATE INDEX runs_started ON runs(submitted_ms)",
    "CREATE INDEX runs_open ON runs(submitted_ms) WHERE finished_ms IS NULL",
    "CREATE INDEX runs_parent ON runs(parent_run_id) WHERE parent_run_id IS NOT NULL",
    "CREATE INDEX runs_forked ON runs(forked_from) WHERE forked_from IS NOT NULL",
    "CREATE INDEX approvals_run ON approvals(run_id)",
)
_SEARCH = """CREATE VIRTUAL TABLE search USING fts5(
    title, body, content='', contentless_delete=1, tokenize="unicode61 remove_diacritics 2", prefix='2 3'
)"""


def create(db: apsw.Connection, ledger_id: str, genesis: bytes) -> None:
    """Make the tables of a new file; the caller holds the write lock."""
    db.execute(_STATE)
    db.execute("INSERT INTO state VALUES(1, ?, ?, 0, 0, ?)", (VERSION, ledger_id, genesis))
    _create_tables(db)


def recreate(db: apsw.Connection) -> None:
    """Empty every table and start over; what was noted of the ledger's head stays."""
    db.execute("DROP TABLE IF EXISTS search")
    for name in _TABLES:
        db.execute(f"DROP TABLE IF EXISTS {name}")
    _create_tables(db)
    db.execute("UPDATE state SET watermark = 0, version = ?", (VERSION,))


def _create_tables(db: apsw.Connection) -> None:
    for name, body in _TABLES.items():
        db.execute(f"CREATE TABLE {name}{body}")
    for index in _INDEXES:
        db.execute(index)
    db.execute(_SEARCH)


def table_names() -> list[str]:
    """Every derived table, for comparing two files."""
    return list(_TABLES)
