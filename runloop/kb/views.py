"""The tables of `pog.sqlite`: everything in them is derived from the ledger and can be rebuilt at any time."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import apsw

VERSION = 22  # raise it with any change of a table or of a projection: older files are then rebuilt

BULK_CACHE_KIB = 64 * 1024  # of pages, while everything is made anew

_STATE = """
    CREATE TABLE state(
        one INTEGER PRIMARY KEY CHECK(one = 1), version INTEGER NOT NULL, ledger_id TEXT NOT NULL, watermark INTEGER NOT NULL,
        anchor_id INTEGER NOT NULL, anchor_chain BLOB NOT NULL, outdated INTEGER NOT NULL
    ) STRICT
"""

_TABLES = {
    "contacts": """(
        contact_key TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL, emails TEXT NOT NULL, nicknames TEXT NOT NULL,
        org TEXT, phones TEXT NOT NULL, trust REAL NOT NULL, names_folded TEXT NOT NULL, source TEXT, path TEXT, line INTEGER,
        source_event INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "contact_emails": "(email TEXT NOT NULL, contact_key TEXT NOT NULL, PRIMARY KEY(email, contact_key)) STRICT, WITHOUT ROWID",
    "accounts": """(
        account_key TEXT PRIMARY KEY, service TEXT NOT NULL, handle TEXT NOT NULL, contact_key TEXT, url TEXT, source TEXT,
        path TEXT, line INTEGER, source_event INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
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
        result_bytes INTEGER, provider TEXT, model TEXT,
        tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL, usd REAL, cached INTEGER NOT NULL,
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
    "facts": """(
        fact_id INTEGER PRIMARY KEY, subject TEXT NOT NULL, predicate TEXT NOT NULL, value TEXT NOT NULL, status TEXT NOT NULL,
        said_by TEXT NOT NULL, stamp TEXT NOT NULL, spans TEXT NOT NULL, supersedes INTEGER, ended_event INTEGER, said_ms INTEGER NOT NULL
    ) STRICT""",
    "nodes": """(
        node_key TEXT PRIMARY KEY, kind TEXT NOT NULL, label TEXT NOT NULL, source_event INTEGER NOT NULL, ended_event INTEGER
    ) STRICT, WITHOUT ROWID""",
    "edges": """(
        source_key TEXT NOT NULL, relation TEXT NOT NULL, target_key TEXT NOT NULL, source_event INTEGER NOT NULL,
        PRIMARY KEY(source_key, relation, target_key)
    ) STRICT, WITHOUT ROWID""",
    "messages": """(
        message_key TEXT PRIMARY KEY, message_id TEXT, thread TEXT NOT NULL, subject TEXT NOT NULL, sender TEXT NOT NULL,
        people TEXT NOT NULL, sent_ms INTEGER, attachments TEXT NOT NULL, kept INTEGER NOT NULL,
        mailbox TEXT NOT NULL, path TEXT NOT NULL, line INTEGER, source_event INTEGER NOT NULL
    ) STRICT""",
    "appointments": """(
        appointment_key TEXT PRIMARY KEY, uid TEXT NOT NULL, occurrence TEXT, summary TEXT NOT NULL, location TEXT,
        starts TEXT, starts_ms INTEGER, ends TEXT, ends_ms INTEGER, zone TEXT, rules TEXT NOT NULL, people TEXT NOT NULL,
        status TEXT, path TEXT NOT NULL, line INTEGER NOT NULL, digest TEXT NOT NULL, source_event INTEGER NOT NULL
    ) STRICT""",
    "commits": """(
        commit_key TEXT PRIMARY KEY, repository TEXT NOT NULL, subject TEXT NOT NULL, author TEXT, author_email TEXT,
        authored_ms INTEGER NOT NULL, committed_ms INTEGER NOT NULL, files TEXT NOT NULL, source_event INTEGER NOT NULL
    ) STRICT""",
    "commands": """(
        command_key TEXT PRIMARY KEY, shell TEXT NOT NULL, text TEXT NOT NULL, at_ms INTEGER, seconds INTEGER, path TEXT NOT NULL,
        line INTEGER NOT NULL, source_event INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "entity_history": "(entity_key TEXT NOT NULL, event_id INTEGER NOT NULL, PRIMARY KEY(entity_key, event_id)) STRICT, WITHOUT ROWID",
    "clock": "(block INTEGER PRIMARY KEY, latest_ms INTEGER NOT NULL) STRICT",
    "problems": "(event_id INTEGER PRIMARY KEY, kind TEXT NOT NULL, error TEXT NOT NULL) STRICT",
    "erased_records": "(said TEXT PRIMARY KEY, event_id INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "contact_names": """(
        form TEXT NOT NULL, contact_key TEXT NOT NULL, sort TEXT NOT NULL, PRIMARY KEY(form, contact_key, sort)
    ) STRICT, WITHOUT ROWID""",
    "documents": """(
        id INTEGER PRIMARY KEY AUTOINCREMENT, domain TEXT NOT NULL, key TEXT NOT NULL, title TEXT NOT NULL, body TEXT,
        path TEXT, line INTEGER, ts_ms INTEGER NOT NULL, source_event INTEGER NOT NULL, digest BLOB NOT NULL, UNIQUE(domain, key)
    ) STRICT""",
}
_NOTED = {
    "snapshots": """(
        event_id INTEGER PRIMARY KEY, path TEXT NOT NULL, bytes INTEGER NOT NULL, made_ms INTEGER NOT NULL, used_ms INTEGER NOT NULL
    ) STRICT""",
}
_SQL_VIEWS = {
    "run_traces": """SELECT r.run_id, r.trace_id,
            (SELECT json_group_array(json_object('node', n.node_id, 'status', n.status, 'attempt', n.attempt, 'agent', n.agent,
                'outputs_hash', n.outputs_hash, 'error', n.error))
             FROM (SELECT * FROM run_nodes WHERE run_id = r.run_id ORDER BY finished_ms, node_id) n) AS trace_json,
            r.final_hash, r.status = 'succeeded' AS success, r.source_event
        FROM runs r WHERE r.finished_ms IS NOT NULL""",
    "costs": """SELECT run_id, node_id, provider, model, date(ended_ms / 1000, 'unixepoch') AS day, count(*) AS calls,
            sum(cached) AS cached, sum(tokens_in) AS tokens_in, sum(tokens_out) AS tokens_out,
            CASE WHEN count(*) = count(usd) THEN sum(usd) END AS usd, max(ended_event) AS source_event
        FROM effects WHERE model IS NOT NULL GROUP BY run_id, node_id, provider, model, day""",
    "embeddings": "SELECT domain, key, digest, source_event FROM documents",
    "meta": """SELECT 'schema' AS key, CAST(version AS TEXT) AS value FROM state
        UNION ALL SELECT 'ledger_id', ledger_id FROM state
        UNION ALL SELECT 'watermark', CAST(watermark AS TEXT) FROM state""",
}
_INDEXES = (  # what projections look up
    "CREATE INDEX contact_emails_contact ON contact_emails(contact_key)",
    "CREATE INDEX notes_version ON notes(path, file_hash)",
    "CREATE INDEX messages_id ON messages(message_id) WHERE message_id IS NOT NULL",
    "CREATE INDEX messages_thread ON messages(thread)",
    "CREATE INDEX nodes_source ON nodes(source_event)",
    "CREATE INDEX effects_mail ON effects(requested_event) WHERE name = 'mail.send'",
)
_READERS_INDEXES = {  # what only readers look up: by name, for they are made last where everything is made anew
    "documents_digest": "documents(digest)",
    "messages_mailbox": "messages(mailbox)",
    "appointments_path": "appointments(path)",
    "commits_repository": "commits(repository)",
    "artifacts_run": "artifacts(run_id)",
    "runs_newest": "runs(first_event)",
    "runs_started": "runs(submitted_ms)",
    "runs_open": "runs(first_event) WHERE finished_ms IS NULL",
    "runs_parent": "runs(parent_run_id) WHERE parent_run_id IS NOT NULL",
    "runs_forked": "runs(forked_from) WHERE forked_from IS NOT NULL",
    "approvals_run": "approvals(run_id)",
    "accounts_contact": "accounts(contact_key) WHERE contact_key IS NOT NULL",
    "effects_model": "effects(ended_ms) WHERE model IS NOT NULL",
    "edges_target": "edges(target_key, relation)",
}
_SEARCH = """CREATE VIRTUAL TABLE search USING fts5(
    title, body, domain, content='', contentless_delete=1, tokenize="unicode61 remove_diacritics 2", prefix='2 3'
)"""


_BULK_SEARCH = {"automerge": (0, 4), "crisismerge": (1999, 16), "hashsize": (8 << 20, 1 << 20)}  # while it is filled, and FTS5's own
_DROPS = (  # virtual tables before the rest: their shadow tables go with them, and only so
    ("VIEW", "type = 'view'"),
    ("TABLE", "type = 'table' AND sql LIKE 'CREATE VIRTUAL%'"),
    ("TABLE", "type = 'table'"),
)


def create(db: apsw.Connection, ledger_id: str, genesis: bytes) -> None:
    """Make the tables of a new file; the caller holds the write lock."""
    _create(db, ledger_id, 0, genesis)


def recreate(db: apsw.Connection) -> None:
    """Drop whatever the file holds, whichever version made it, and start over; what was noted of the ledger and its head stays."""
    ledger_id, anchor_id, anchor_chain = db.execute("SELECT ledger_id, anchor_id, anchor_chain FROM state").get
    for kind, which in _DROPS:
        sql = f"SELECT name FROM sqlite_schema WHERE {which} AND name NOT LIKE 'sqlite@_%' ESCAPE '@'"  # noqa: S608
        for (name,) in db.execute(sql).fetchall():
            quoted = str(name).replace('"', '""')
            db.execute(f'DROP {kind} "{quoted}"')
    _create(db, ledger_id, anchor_id, anchor_chain)


def _create(db: apsw.Connection, ledger_id: str, anchor_id: int, anchor_chain: bytes) -> None:
    db.execute(_STATE)
    db.execute("INSERT INTO state VALUES(1, ?, ?, 0, ?, ?, 0)", (VERSION, ledger_id, anchor_id, anchor_chain))
    _create_tables(db)


def _create_tables(db: apsw.Connection) -> None:
    for name, body in (*_TABLES.items(), *_NOTED.items()):
        db.execute(f"CREATE TABLE {name}{body}")
    for name, query in _SQL_VIEWS.items():
        db.execute(f"CREATE VIEW {name} AS {query}")
    for index in _INDEXES:
        db.execute(index)
    _create_readers_indexes(db)
    db.execute(_SEARCH)


def _create_readers_indexes(db: apsw.Connection) -> None:
    for name, what in _READERS_INDEXES.items():
        db.execute(f"CREATE INDEX {name} ON {what}")


@contextmanager
def in_bulk(db: apsw.Connection) -> Iterator[None]:
    """Fill new tables that nobody reads yet: what costs less once at the end is done then, and a crash leaves nothing of use."""
    db.pragma("journal_mode", "memory")
    db.pragma("synchronous", 0)
    db.pragma("cache_size", -BULK_CACHE_KIB)
    for name in _READERS_INDEXES:
        db.execute(f"DROP INDEX {name}")
    for option, value in _BULK_SEARCH.items():
        db.execute("INSERT INTO search(search, rank) VALUES(?, ?)", (option, value[0]))
    yield
    leave_bulk(db)


def leave_bulk(db: apsw.Connection) -> None:
    """Do what was left for the end: for tables that were filled :func:`in_bulk`, or a copy of them on the way."""
    _create_readers_indexes(db)
    db.execute("INSERT INTO search(search) VALUES('optimize')")
    for option, value in _BULK_SEARCH.items():
        db.execute("INSERT INTO search(search, rank) VALUES(?, ?)", (option, value[1]))


def carry_over(db: apsw.Connection, path: Path) -> None:
    """Take the tables that are not made from events out of the file that this one is to replace."""
    db.execute("ATTACH ? AS old", (str(path),))
    try:
        for name in _NOTED:
            db.execute(f"INSERT INTO main.{name} SELECT * FROM old.{name}")  # noqa: S608 - our own names
    finally:
        db.execute("DETACH old")


def table_names() -> list[str]:
    """Every derived table, for comparing two files."""
    return list(_TABLES)


def view_names() -> list[str]:
    """What SQL itself derives from those tables: nothing of it is stored."""
    return list(_SQL_VIEWS)
